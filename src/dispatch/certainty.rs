//! From where on it is certain which events a sink has, for sinks that answers wait for.
//!
//! A duplicate is acknowledged because its first copy is known to be accepted. Of a copy that was stored
//! before the sink was there, or while the sink selected other types, that is not known. So the state keeps
//! for each such sink the position behind which it was given all that its present selection takes. The
//! position moves to the head when the selection changes, because what is in the log then is judged by the
//! former one. It moves as well when the sink skips records that are no longer in the log, and when a bridge
//! has run in which no answer waited for the sink. A sink for which answers never waited has no such row.

use crate::ack::{AwaitedSink, AwaitedSinks};
use crate::dedup::DuplicateKey;
use crate::event::Position;
use crate::spool::Spool;
use crate::state::{ConfigurationRow, CursorOwner, DeadFilter, DeadLetterInfo, Progress, State, StateError};

/// The fingerprint in the row of a sink for which no answer waits.
const NONE: &str = "-";
/// How many dead letters are read at once.
const LETTERS_MAX: usize = 4096;

/// Begins the sinks that answers wait for, before any dispatcher and any source. `sinks` are all sinks, each
/// with the cursor behind which it continues.
///
/// # Errors
/// When the state file cannot be used.
pub fn begin(
    sinks: &[(&str, Position)],
    awaited: &AwaitedSinks,
    spool: &Spool,
    state: &State,
) -> Result<(), StateError> {
    let known = state.cursors()?;
    let configurations = state.configurations()?;
    let head = spool.head();
    let mut changed = Vec::new();
    for (name, cursor) in sinks {
        let sink = awaited.get(name);
        let rows: Vec<_> = known.iter().filter_map(|(row, position)| of(row, name, *position)).collect();
        let selection = sink.map(|sink| hex::encode(sink.fingerprint()));
        let from = certain_from(&rows, selection.as_deref(), head);
        let selected_otherwise = |row: &ConfigurationRow| {
            row.sinks.get(*name).zip(sink).is_some_and(|(former, sink)| former != sink.selection())
        };
        let has_changed = !rows.is_empty() || configurations.iter().any(selected_otherwise);
        let now = if has_changed { head } else { *cursor };
        if let Certain::Now(selection) = from {
            let sink = CursorOwner::Acceptance { selection, sink: name }.to_string();
            changed.push(Progress { sink, cursor: now, dead: Vec::new() });
        }
        if let Some(sink) = sink {
            let from = if let Certain::Since(position) = from { position } else { now };
            // The duplicate window knows only events that are in the log.
            let doubt = (spool.first() <= from).then_some(from);
            sink.begin(*cursor, doubt, rejected(state, name, spool.first())?);
        }
    }
    if changed.is_empty() { Ok(()) } else { state.commit(&changed) }
}

/// The row of a sink that answers wait for.
pub(super) fn row(sink: &AwaitedSink) -> String {
    let selection = hex::encode(sink.fingerprint());
    CursorOwner::Acceptance { selection: &selection, sink: sink.name() }.to_string()
}

/// The selection and position of a row, if it is of this sink.
fn of<'r>(row: &'r str, name: &str, position: Position) -> Option<(&'r str, Position)> {
    match CursorOwner::of(row) {
        CursorOwner::Acceptance { selection, sink } if sink == name => Some((selection, position)),
        _ => None,
    }
}

/// From where on it is certain what a sink has.
#[derive(Debug, PartialEq, Eq)]
enum Certain<'s> {
    /// Behind this position.
    Since(Position),
    /// Behind where the sink is now, which has to be stored under this selection.
    Now(&'s str),
    /// Nobody asks.
    Unasked,
}

/// What the rows of a sink say for its present selection; `None` while no answer waits for it. Of several
/// rows the furthest is the one written last. Where two are equally far, nobody can tell which. None is
/// behind the head of the log.
fn certain_from<'s>(rows: &[(&str, Position)], selection: Option<&'s str>, head: Position) -> Certain<'s> {
    let asked = selection.unwrap_or(NONE);
    let of_it = rows.iter().find(|(other, _)| *other == asked).map(|(_, position)| *position);
    let others = rows.iter().filter(|(other, _)| *other != asked).map(|(_, position)| *position).max();
    match of_it {
        Some(position) if others.is_none_or(|other| other < position) && position <= head => {
            Certain::Since(position)
        }
        None if selection.is_none() && rows.is_empty() => Certain::Unasked,
        _ => Certain::Now(asked),
    }
}

/// The events among a sink's dead letters, each with its position, of those that are in the log: no duplicate
/// comes of any other, and letters that nobody ever removes would crowd out the rest. A replayed copy says
/// nothing about its event, which the sink had settled before.
fn rejected(state: &State, sink: &str, first: Position) -> Result<Vec<(DuplicateKey, Position)>, StateError> {
    let filter = DeadFilter { sink: Some(sink.to_owned()), ..DeadFilter::default() };
    let (mut keys, mut after) = (Vec::new(), 0);
    loop {
        let letters = state.dead_letters(&filter, after, LETTERS_MAX)?;
        let Some(last) = letters.last() else { return Ok(keys) };
        after = last.id;
        let is_of_event = |letter: &&DeadLetterInfo| letter.position >= first && letter.replay_id.is_none();
        keys.extend(letters.iter().filter(is_of_event).map(|letter| (key_of(letter), letter.position)));
    }
}

/// The duplicate key of a dead letter's event.
pub fn key_of(letter: &DeadLetterInfo) -> DuplicateKey {
    DuplicateKey::of(&letter.source, &letter.event_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Option<&str> = Some("a");

    fn at(position: u64) -> Position {
        Position(position)
    }

    #[test]
    fn a_sink_is_certain_from_where_it_was_first_waited_for_with_its_selection() {
        assert_eq!(certain_from(&[], A, at(7)), Certain::Now("a"), "what came before is not known");
        assert_eq!(certain_from(&[("a", at(7))], A, at(9)), Certain::Since(at(7)));
        assert_eq!(certain_from(&[("a", at(7))], Some("b"), at(9)), Certain::Now("b"), "another selection");
        let both = [("a", at(7)), ("b", at(9))];
        assert_eq!(certain_from(&both, Some("b"), at(9)), Certain::Since(at(9)));
        assert_eq!(certain_from(&both, A, at(12)), Certain::Now("a"), "meanwhile it selected otherwise");
        let tie = [("a", at(9)), ("b", at(9))];
        assert_eq!(certain_from(&tie, A, at(12)), Certain::Now("a"), "either may have been the last");
        assert_eq!(certain_from(&[("a", at(12))], A, at(9)), Certain::Now("a"), "an older log was put back");
    }

    #[test]
    fn a_time_in_which_nothing_waited_for_the_sink_is_noted_and_a_sink_never_waited_for_has_no_row() {
        assert_eq!(certain_from(&[], None, at(7)), Certain::Unasked);
        assert_eq!(certain_from(&[("a", at(7))], None, at(9)), Certain::Now("-"));
        let since = [("a", at(7)), ("-", at(9))];
        assert_eq!(certain_from(&since, None, at(12)), Certain::Since(at(9)));
        assert_eq!(certain_from(&since, A, at(12)), Certain::Now("a"));
    }
}
