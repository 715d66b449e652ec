//! Counts what a replay would send of the log that a stopped bridge has left.

use std::collections::BTreeSet;

use super::super::explain::stopped::{explainer, unread};
use super::super::running::{LeftOnDisk, of_stopped, unread_state};
use super::super::{Exit, Failure, chain, notice};
use super::known_by;
use crate::admin::ReplayRequest;
use crate::config::{Config, did_you_mean};
use crate::event::Position;
use crate::explain::{AskedEvent, ExplainScope};
use crate::replay::{NewReplay, RATE_DEFAULT, ReplayCount, ReplayError, count_of_stopped};
use crate::sink::SinkOptions;
use crate::telemetry::Shown;

/// Counts for a bridge that did not answer, which `silent` tells.
///
/// # Errors
/// See [`of_stopped`]; exit code 1 if there is no such sink or event.
pub(super) fn count(
    config: &Config,
    request: ReplayRequest,
    silent: Failure,
) -> Result<ReplayCount, Failure> {
    let count = of_stopped(config, silent, || {
        let sink = sink(config, &request.sink)?;
        let mut new = NewReplay {
            sink: request.sink,
            events: request.events,
            select_all: request.select_all,
            rate: request.rate.unwrap_or(RATE_DEFAULT),
        };
        new.events.ids = whole_ids(config, &new)?;
        let LeftOnDisk { log, state } = LeftOnDisk::open(config)?;
        let cursor = state.cursor(&sink.name).map_err(|error| unread_state(&error))?.unwrap_or_default();
        let sources: Vec<String> =
            config.sources.iter().map(|source| source.event_source().to_string()).collect();
        let count = |after| {
            let sink = (&sink.selection, cursor);
            count_of_stopped(log.clone(), &sources, sink, &new, after).map_err(|error| refused(&error))
        };
        let mut counted = count(Position(0))?;
        while !counted.complete {
            let more = count(Position(counted.through))?;
            counted.add(more);
        }
        Ok(counted)
    })?;
    notice("the bridge is stopped; this is what its log and cursors prove");
    Ok(count)
}

fn sink<'c>(config: &'c Config, name: &str) -> Result<&'c SinkOptions, Failure> {
    let found = config.sinks.iter().find(|sink| sink.name == name);
    found.ok_or_else(|| {
        let names = || config.sinks.iter().map(|sink| sink.name.as_str());
        let (meant, known) = (did_you_mean(name, names()), names().collect::<Vec<_>>().join(", "));
        Failure::new(Exit::Failed, format!("unknown sink `{}`{meant} (configured: {known})", Shown(name)))
    })
}

/// The whole ids of the events whose ids begin as was asked.
fn whole_ids(config: &Config, new: &NewReplay) -> Result<BTreeSet<String>, Failure> {
    let mut whole = BTreeSet::new();
    if new.events.ids.is_empty() {
        return Ok(whole);
    }
    let explainer = explainer(config, LeftOnDisk::open(config)?)?;
    let source = new.events.sources.first().filter(|_| new.events.sources.len() == 1).cloned();
    let scope = ExplainScope { source, ..ExplainScope::default() };
    for asked in &new.events.ids {
        // What is no beginning of an id can still be a whole one.
        let Ok(id @ AskedEvent::Id(_)) = asked.parse() else {
            whole.insert(asked.clone());
            continue;
        };
        let told = explainer.event(&id, &scope).map_err(|error| unread(&error))?;
        whole.insert(known_by(told, asked)?);
    }
    Ok(whole)
}

fn refused(error: &ReplayError) -> Failure {
    match error {
        ReplayError::State(error) => unread_state(error),
        ReplayError::Log(error) => Failure::new(Exit::Io, chain(error)),
        error => Failure::new(Exit::Failed, error.to_string()),
    }
}
