//! The running bridge, for verbs that change what only it can change.

use super::client::Client;
use super::{Exit, Failure};
use crate::config::Config;
use crate::disk::RealDisk;
use crate::spool::{SpoolError, lock_to_read};

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
