//! Where each reader of the spool goes on after a start, and what the log tells about it.
//!
//! Behind its committed cursor; a sink that is new, with the next event. That there is no cursor at
//! all means that the state was lost, if the spool holds anything: then everybody begins with the
//! oldest record, because what was delivered is not known, and a duplicate is better than a loss.
//! Every way in which an event could be missed by a change of configuration is one warning, but for
//! events that were meant for one sink alone: the quarantine looks after those of a sink that is gone.

use std::collections::BTreeMap;

use super::quarantine;
use crate::event::Position;
use crate::spool::Spool;
use crate::spool::state::{Progress, State, StateError};

/// Where all readers go on.
#[derive(Debug, PartialEq, Eq)]
pub struct Resumption {
    /// The sinks, in the order of their names.
    pub sinks: Vec<Start>,
    /// The quarantine's cursor.
    pub quarantine: Position,
    /// The sinks that are no longer configured, as far as anybody remembers them.
    pub gone: Vec<Gone>,
}

/// Where a sink goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// Its committed cursor.
    pub cursor: Position,
    /// Up to here, what was meant for it alone and it had not got has become a dead letter, while it
    /// was not configured.
    pub buried: Position,
}

/// A sink that is no longer configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gone {
    /// Its name.
    pub sink: String,
    /// Up to here, what was meant for it alone was delivered to it or is a dead letter.
    pub through: Position,
}

/// Under this name the state keeps how far it was looked after what was meant for a sink alone while
/// that was not configured. No sink has it, since sinks have no parentheses.
pub fn gone_name(sink: &str) -> String {
    format!("(gone) {sink}")
}

/// Where the quarantine and the sinks with these names go on. The cursors of new readers are committed
/// together, so that a crash in between cannot make a lost state look like a new sink.
///
/// # Errors
/// When the state cannot be used.
pub fn resume(sinks: &[&str], spool: &Spool, state: &State) -> Result<Resumption, StateError> {
    let known: BTreeMap<String, Position> = state.cursors()?.into_iter().collect();
    // The last position that is no longer kept, and the last one that is.
    let (lost, newest) = (Position(spool.first().0.saturating_sub(1)), spool.head());
    if known.is_empty() && newest > lost {
        tracing::warn!(
            records = newest.0 - lost.0,
            "no cursor is known: all that the spool holds is delivered, perhaps again"
        );
    }
    let left: Vec<_> = known.iter().filter(|(name, _)| is_left_behind(name, sinks)).collect();
    left.iter().for_each(|(name, cursor)| warn_of_left_behind(name, **cursor, lost, newest));

    let mut new = Vec::new();
    let mut cursor_of = |name: &str| match known.get(name) {
        Some(cursor) => {
            warn_of_gap(name, *cursor, lost);
            // The spool never gives a position up to a cursor again; this is for certainty.
            (*cursor).min(newest)
        }
        None => {
            // The quarantine begins with the oldest in any case: nobody else looks after those.
            let from_oldest = known.is_empty() || name == quarantine::CURSOR;
            let cursor = if from_oldest { lost } else { newest };
            new.push(Progress { sink: name.to_owned(), cursor, dead: Vec::new() });
            cursor
        }
    };
    let buried = |sink: &str| known.get(&gone_name(sink)).copied().unwrap_or_default();
    let start = |name: &&str| Start { cursor: cursor_of(name), buried: buried(name) };
    let starts = sinks.iter().map(start).collect();
    let quarantine = cursor_of(quarantine::CURSOR);
    if !new.is_empty() {
        state.commit(&new)?;
    }
    let gone = |(name, cursor): (&String, &Position)| Gone {
        sink: name.clone(),
        through: buried(name).max(*cursor).min(newest),
    };
    Ok(Resumption { sinks: starts, quarantine, gone: left.into_iter().map(gone).collect() })
}

/// Whether a cursor is that of a sink which is no longer configured.
fn is_left_behind(name: &str, sinks: &[&str]) -> bool {
    !name.starts_with('(') && !sinks.contains(&name)
}

/// Warns of a sink that was removed or renamed while it was behind, as long as the spool still holds
/// what it has not got.
fn warn_of_left_behind(name: &str, cursor: Position, lost: Position, newest: Position) {
    if (lost..newest).contains(&cursor) {
        tracing::warn!(
            sink = name,
            records = newest.0 - cursor.0,
            "a sink that is no longer configured has not got these: under its old name it goes on with them"
        );
    }
}

fn warn_of_gap(name: &str, cursor: Position, lost: Position) {
    if cursor < lost {
        tracing::error!(
            sink = name,
            records = lost.0 - cursor.0,
            "records behind this sink's cursor are gone: it cannot deliver those that were for it"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::tests::bench::Bench;
    use crate::event::tests::event;

    fn at(cursor: u64) -> Start {
        Start { cursor: Position(cursor), buried: Position(0) }
    }

    fn known(bench: &Bench, rows: &[(&str, u64)]) {
        let row = |(name, cursor): &(&str, u64)| Progress {
            sink: (*name).into(),
            cursor: Position(*cursor),
            dead: Vec::new(),
        };
        bench.state.commit(&rows.iter().map(row).collect::<Vec<_>>()).expect("writable");
    }

    /// What follows for these sinks from three records and these cursors.
    async fn resumed(rows: &[(&str, u64)], sinks: &[&str]) -> (Bench, Resumption) {
        let bench = Bench::new();
        bench.append_many(3, &event("k")).await;
        known(&bench, rows);
        let resumption = resume(sinks, &bench.spool, &bench.state).expect("readable");
        (bench, resumption)
    }

    #[tokio::test]
    async fn a_state_that_was_lost_makes_every_sink_begin_with_the_oldest_record() {
        let (bench, resumption) = resumed(&[], &["lake"]).await;
        let oldest = Resumption { sinks: vec![at(0)], quarantine: Position(0), gone: Vec::new() };
        assert_eq!(resumption, oldest);
        assert_eq!(bench.state.cursors().expect("readable").len(), 2, "both are kept, at once");
    }

    #[tokio::test]
    async fn a_new_sink_beside_a_known_one_begins_with_the_next_event() {
        let (_, resumption) = resumed(&[("lake", 2)], &["lake", "new"]).await;
        let expected = Resumption { sinks: vec![at(2), at(3)], quarantine: Position(0), gone: Vec::new() };
        assert_eq!(resumption, expected);
    }

    #[tokio::test]
    async fn a_sink_that_is_gone_is_remembered_by_how_far_it_was_looked_after() {
        let rows = [("lake", 1), ("billing", 1), ("(gone) billing", 2), ("(quarantine)", 3)];
        let (bench, resumption) = resumed(&rows, &[]).await;
        let gone = |sink: &str, through| Gone { sink: sink.into(), through: Position(through) };
        assert_eq!(resumption.gone, [gone("billing", 2), gone("lake", 1)]);

        let back = resume(&["billing"], &bench.spool, &bench.state).expect("readable");
        assert_eq!(back.sinks, [Start { cursor: Position(1), buried: Position(2) }]);
        assert_eq!(back.gone, [gone("lake", 1)]);
    }
}
