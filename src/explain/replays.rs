//! Which replays have sent an event again, and what became of the copies.
//!
//! A replay's row tells exactly which entries it has sent: those that it has looked at and that are as it
//! asked for. So nothing is searched for.

use super::configuration::ConfiguredSink;
use super::document::{ExplainedReplay, ExplainedSink, KnownFrom, SinkStanding};
use super::remembered::Remembered;
use super::sinks::{delivered, rejected};
use super::{ExplainError, Explainer};
use crate::event::{Entry, Event, Position};
use crate::spool::SearchedEntry;
use crate::state::{DeadLetterInfo, ReplayRow, ReplayState};

/// Most replays of one explanation: the newest.
const REPLAYS_MAX: usize = 10;

impl Explainer {
    /// The replays that have sent the event of this entry again, newest first. `letters` are the event's and
    /// those of its copies.
    pub(super) fn replays(
        &self,
        found: &SearchedEntry,
        (letters, remembered): (&[DeadLetterInfo], &Remembered),
    ) -> Result<Vec<ExplainedReplay>, ExplainError> {
        let Entry::Event(event) = &found.entry else { return Ok(Vec::new()) };
        // A copy is not replayed.
        if !found.first_copy {
            return Ok(Vec::new());
        }
        let mut replays = Vec::new();
        for row in self.state.replays()?.into_iter().rev() {
            let Some(sink) = self.configuration.sink(&row.sink) else { continue };
            if replays.len() < REPLAYS_MAX && has_sent(&row, found.position, event, sink) {
                let passed = self.state.cursor(&row.sink)?.is_some_and(|cursor| cursor >= row.last);
                replays.push(explained(&row, sink, (letters, remembered), passed));
            }
        }
        Ok(replays)
    }
}

/// Whether a replay has sent the event at this position.
fn has_sent(row: &ReplayRow, position: Position, event: &Event, sink: &ConfiguredSink) -> bool {
    let events = &row.events;
    let is_among =
        |names: &std::collections::BTreeSet<String>, name: &str| names.is_empty() || names.contains(name);
    row.begun_at < position
        && position <= row.read
        && events.since.is_none_or(|since| event.arrived >= since)
        && events.until.is_none_or(|until| event.arrived < until)
        && is_among(&events.types, &event.event_type)
        && is_among(&events.families, &event.family)
        && is_among(&events.sources, &event.source_name)
        && is_among(&events.ids, &event.id)
        && (row.select_all || sink.selection.selection.takes(&event.event_type))
}

fn explained(
    row: &ReplayRow,
    sink: &ConfiguredSink,
    (letters, remembered): (&[DeadLetterInfo], &Remembered),
    passed: bool,
) -> ExplainedReplay {
    let copy = ExplainedSink { sink: row.sink.clone(), ..ExplainedSink::default() };
    let is_its = |letter: &&DeadLetterInfo| {
        letter.sink.as_ref() == Some(&row.sink) && letter.replay_id.as_ref() == Some(&row.replay_id)
    };
    // A replay to a sink begins when the one before it has ended, so what is in between is its own.
    let first = Position(row.first.0.saturating_sub(1));
    let published = remembered.replayed(&row.sink, (first.max(row.end), row.last));
    let copy = match (letters.iter().find(is_its), published) {
        (Some(letter), _) => rejected(copy, letter),
        (None, Some(published)) => delivered(copy, &published, &sink.place),
        (None, None) => {
            let state = match (passed, row.state) {
                // It was delivered before the replay was cancelled, or passed over.
                (_, ReplayState::Cancelled) => SinkStanding::Unknown,
                (true, _) => SinkStanding::DeliveredBefore,
                (false, _) => SinkStanding::Pending,
            };
            ExplainedSink { state, known_from: KnownFrom::State, ..copy }
        }
    };
    ExplainedReplay { replay: row.id, replay_id: row.replay_id.clone(), state: row.state, copy }
}
