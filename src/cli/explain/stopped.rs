//! Explains an event of a stopped bridge, from what it has left on disk.

use std::sync::Arc;

use super::super::running::{unheard, unopened};
use super::super::{Exit, Failure, chain};
use crate::config::Config;
use crate::dead_letter::body_of;
use crate::disk::RealDisk;
use crate::explain::{AskedEvent, ExplainError, ExplainScope, Explainer, Explanation};
use crate::spool::{LogSearch, SpoolError, lock_to_read};
use crate::state::{FILE_NAME, State, StateError};

/// Explains an event of a bridge that did not answer, which `silent` tells. A bridge can start meanwhile: it
/// is kept from nothing, and what was read is then not said.
///
/// # Errors
/// Exit code 74 if nothing can be read, or a bridge runs that does not answer; 75 if one has started.
pub(super) fn explain(
    config: &Config,
    asked: &AskedEvent,
    scope: &ExplainScope,
    with_payload: bool,
    silent: Failure,
) -> Result<Explanation, Failure> {
    let dir = &config.spool.dir;
    if with_payload && !config.admin.show_payloads {
        let message = "bodies of events are not shown: set `admin.show_payloads: true`";
        return Err(Failure::new(Exit::Failed, message));
    }
    match lock_to_read(&RealDisk::default(), dir).map(|lock| lock.is_some()) {
        Ok(true) => {}
        // No bridge has ever run here.
        Ok(false) => return Err(silent),
        Err(SpoolError::Locked(_)) => return Err(unheard(config, &silent)),
        Err(error) => return Err(unopened(config, &error)),
    }
    let explained = read(config, asked, scope, with_payload);
    match lock_to_read(&RealDisk::default(), dir) {
        Err(SpoolError::Locked(_)) => {
            let message = format!("a bridge has started on the spool in {} meanwhile", dir.display());
            Err(Failure::new(Exit::Temporary, format!("{message}: ask again")))
        }
        _ => explained,
    }
}

/// Reads log and state, and explains by them.
fn read(
    config: &Config,
    asked: &AskedEvent,
    scope: &ExplainScope,
    with_payload: bool,
) -> Result<Explanation, Failure> {
    let dir = &config.spool.dir;
    let search = LogSearch::of_stopped(Arc::new(RealDisk::default()), dir)
        .map_err(|error| unopened(config, &error))?;
    let state = State::open_snapshot(&dir.join(FILE_NAME)).map_err(|error| unread(&error.into()))?;
    let configuration = Arc::new(config.explained());
    let explainer =
        Explainer::of_stopped(search, state, configuration).map_err(|error| unread(&error.into()))?;
    let mut explanation = explainer.event(asked, scope).map_err(|error| unread(&error))?;
    if with_payload && let Some(body) = explainer.body(&explanation, scope).map_err(|error| unread(&error))? {
        (explanation.data, explanation.data_base64) = body_of(&body);
    }
    Ok(explanation)
}

fn unread(error: &ExplainError) -> Failure {
    let exit = match error {
        ExplainError::UnknownSource(_) => Exit::Failed,
        ExplainError::State(StateError::Locked(_)) => Exit::Temporary,
        ExplainError::State(StateError::Newer { .. }) => Exit::Config,
        ExplainError::Log(_) | ExplainError::State(_) => Exit::Io,
    };
    Failure::new(exit, chain(error))
}
