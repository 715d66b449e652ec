//! Explains an event of a stopped bridge, from what it has left on disk.

use std::sync::Arc;

use super::super::running::{LeftOnDisk, of_stopped, unread_state};
use super::super::{Exit, Failure, chain};
use crate::config::Config;
use crate::dead_letter::body_of;
use crate::explain::{AskedEvent, ExplainError, ExplainScope, Explainer, Explanation};

/// Explains an event of a bridge that did not answer, which `silent` tells.
///
/// # Errors
/// See [`of_stopped`].
pub(super) fn explain(
    config: &Config,
    asked: &AskedEvent,
    scope: &ExplainScope,
    with_payload: bool,
    silent: Failure,
) -> Result<Explanation, Failure> {
    if with_payload && !config.admin.show_payloads {
        let message = "bodies of events are not shown: set `admin.show_payloads: true`";
        return Err(Failure::new(Exit::Failed, message));
    }
    of_stopped(config, silent, || {
        let explainer = explainer(config, LeftOnDisk::open(config)?)?;
        let mut explanation = explainer.event(asked, scope).map_err(|error| unread(&error))?;
        if with_payload
            && let Some(body) = explainer.body(&explanation, scope).map_err(|error| unread(&error))?
        {
            (explanation.data, explanation.data_base64) = body_of(&body);
        }
        Ok(explanation)
    })
}

/// What explains events by what a stopped bridge has left.
pub(in crate::cli) fn explainer(config: &Config, left: LeftOnDisk) -> Result<Explainer, Failure> {
    let LeftOnDisk { log, state } = left;
    let explainer = Explainer::of_stopped(log, state, Arc::new(config.explained()));
    explainer.map_err(|error| unread_state(&error))
}

/// The failure of a verb that has no explanation.
pub(in crate::cli) fn unread(error: &ExplainError) -> Failure {
    match error {
        ExplainError::UnknownSource(_) => Failure::new(Exit::Failed, error.to_string()),
        ExplainError::State(error) => unread_state(error),
        ExplainError::Log(error) => Failure::new(Exit::Io, chain(error)),
    }
}
