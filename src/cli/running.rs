//! The running bridge, for verbs that change what only it can change; and what a stopped one has left, for
//! verbs that only look.

use std::sync::Arc;

use super::client::Client;
use super::{Exit, Failure, chain};
use crate::config::Config;
use crate::disk::RealDisk;
use crate::spool::{LogSearch, SpoolError, lock_to_read};
use crate::state::{FILE_NAME, State, StateError};

/// The running bridge of this configuration. `what` is what the verb changes, for the message if none runs.
///
/// # Errors
/// Exit code 75 if no bridge runs, 74 if that cannot be told or it does not answer.
pub(super) async fn running(config: &Config, what: &str) -> Result<Client, Failure> {
    let unanswered = |why: Failure| match lock_to_read(&RealDisk::default(), &config.spool.dir) {
        Err(SpoolError::Locked(_)) => unheard(config, &why),
        Err(error) => unopened(config, &error),
        Ok(_) => {
            let advice =
                format!("only a running bridge can change its {what}: start it with `fanbridge run`");
            Failure::new(Exit::Temporary, format!("no bridge is running, and {advice} ({})", why.message))
        }
    };
    Client::admin(&config.admin).await.map_err(unanswered)
}

/// Reads what a stopped bridge has left on disk; `silent` tells that none answered. No lock is held
/// meanwhile, so a bridge can start: it is kept from nothing, and what was read is then not returned.
///
/// # Errors
/// Exit code 74 if nothing was left, or a bridge runs that does not answer; 75 if one has started; and what
/// `read` fails with.
pub(super) fn of_stopped<T>(
    config: &Config,
    silent: Failure,
    read: impl FnOnce() -> Result<T, Failure>,
) -> Result<T, Failure> {
    let dir = &config.spool.dir;
    match lock_to_read(&RealDisk::default(), dir).map(|lock| lock.is_some()) {
        Ok(true) => {}
        // No bridge has ever run here.
        Ok(false) => return Err(silent),
        Err(SpoolError::Locked(_)) => return Err(unheard(config, &silent)),
        Err(error) => return Err(unopened(config, &error)),
    }
    let left = read();
    match lock_to_read(&RealDisk::default(), dir) {
        Err(SpoolError::Locked(_)) => {
            let message = format!("a bridge has started on the spool in {} meanwhile", dir.display());
            Err(Failure::new(Exit::Temporary, format!("{message}: ask again")))
        }
        _ => left,
    }
}

/// What a stopped bridge has left, under [`of_stopped`].
pub(super) struct LeftOnDisk {
    pub(super) log: LogSearch,
    pub(super) state: State,
}

impl LeftOnDisk {
    /// Opens log and state for reading.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(super) fn open(config: &Config) -> Result<Self, Failure> {
        let dir = &config.spool.dir;
        let log = LogSearch::of_stopped(Arc::new(RealDisk::default()), dir);
        let log = log.map_err(|error| unopened(config, &error))?;
        let state = State::open_snapshot(&dir.join(FILE_NAME)).map_err(|error| unread_state(&error))?;
        Ok(Self { log, state })
    }
}

/// The failure of a verb that cannot read the state that a bridge has left.
pub(super) fn unread_state(error: &StateError) -> Failure {
    let exit = match error {
        StateError::Locked(_) => Exit::Temporary,
        StateError::Newer { .. } => Exit::Config,
        StateError::Missing(_)
        | StateError::Damaged { .. }
        | StateError::NoRoom { .. }
        | StateError::Gone { .. }
        | StateError::Io { .. } => Exit::Io,
    };
    Failure::new(exit, chain(error))
}

/// Whether a bridge runs cannot be told.
pub(super) fn unopened(config: &Config, error: &SpoolError) -> Failure {
    Failure::io(format_args!("cannot open the spool in {}", config.spool.dir.display()), error)
}

/// A bridge has locked its files, and so runs, but did not answer.
pub(super) fn unheard(config: &Config, why: &Failure) -> Failure {
    let dir = config.spool.dir.display();
    let advice = "see its log, and whether it was started with another `admin.listen`";
    let running =
        format!("a bridge is running on the spool in {dir}, but its admin listener does not answer");
    Failure::new(why.exit, format!("{running}: {} ({advice})", why.message))
}
