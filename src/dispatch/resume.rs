//! Where each reader of the spool continues after a start, and the warnings about skipped records.
//!
//! A reader continues at its committed cursor; a new sink begins where its `from` says. If there is no
//! cursor at all but the spool has records, the state file was lost. Then every sink begins with the
//! oldest record, because nobody knows what was delivered, and a duplicate is better than a loss.
//! Every change of configuration that can make a sink miss events is logged as one warning. Events
//! for one sink only are an exception: when the sink is removed, the quarantine keeps them as dead
//! letters.

use std::collections::BTreeMap;

use crate::event::Position;
use crate::sink::StartFrom;
use crate::spool::{ReadError, Spool};
use crate::state::{CursorOwner, Progress, State, StateError};

/// Where all readers continue.
#[derive(Debug, PartialEq, Eq)]
pub struct Resumption {
    /// The configured sinks, in the order in which they were given.
    pub sinks: Vec<Start>,
    /// The cursor of the quarantine.
    pub quarantine: Position,
    /// The sinks that have a cursor but are no longer configured.
    pub gone: Vec<RemovedSink>,
}

/// Where a sink continues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// The sink's committed cursor.
    pub cursor: Position,
    /// Position up to which events for this sink only became dead letters while the sink was not
    /// configured.
    pub buried: Position,
}

/// A sink that is no longer configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemovedSink {
    /// The sink's name.
    pub sink: String,
    /// Position up to which events for this sink only were delivered or are dead letters.
    pub through: Position,
}

/// Why it is not known where readers continue.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// The state file cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The log cannot be searched for the moment with which a new sink begins.
    #[error(transparent)]
    Log(#[from] ReadError),
}

/// The stored cursors, the ends of the log, and what is to be stored of readers that are new.
struct StoredCursors<'s> {
    spool: &'s Spool,
    rows: BTreeMap<String, Position>,
    /// The last position that was removed from the log, and the newest one.
    lost: Position,
    newest: Position,
    new: Vec<Progress>,
}

/// Where the quarantine and these sinks continue, or begin if they are new. The cursors of new readers are
/// committed together, so that after a crash in between a lost state does not look like a new sink.
///
/// # Errors
/// See [`ResumeError`].
pub fn resume(sinks: &[(&str, StartFrom)], spool: &Spool, state: &State) -> Result<Resumption, ResumeError> {
    let mut known = StoredCursors::read(spool, state)?;
    let (lost, newest) = (known.lost, known.newest);
    if known.rows.is_empty() && newest > lost {
        tracing::warn!(
            records = newest.0 - lost.0,
            "the state file has no cursor, as after a loss of `state.redb`: all records in the spool are \
             delivered to every sink, some of them perhaps again"
        );
    }
    let names: Vec<&str> = sinks.iter().map(|(name, _)| *name).collect();
    let left = known.rows.iter().filter(|(name, _)| is_left_behind(name, &names));
    let left: Vec<_> = left.map(|(name, cursor)| (name.clone(), *cursor)).collect();
    left.iter().for_each(|(name, cursor)| warn_of_left_behind(name, *cursor, lost, newest));

    let starts = sinks.iter().map(|(name, from)| known.start(name, *from)).collect::<Result<_, _>>()?;
    // The quarantine begins with the oldest record in any case: no other reader keeps those deliveries.
    let quarantine = known.begin(&CursorOwner::Quarantine.to_string(), StartFrom::Earliest)?;
    let gone = |(sink, cursor): (String, Position)| RemovedSink {
        through: known.buried(&sink).max(cursor).min(newest),
        sink,
    };
    let gone = left.into_iter().map(gone).collect();
    known.store(state)?;
    Ok(Resumption { sinks: starts, quarantine, gone })
}

/// Where sinks continue, or begin if they are new, that are added to a running bridge.
///
/// # Errors
/// See [`ResumeError`]; then nothing is stored.
pub fn resume_added(
    sinks: &[(&str, StartFrom)],
    spool: &Spool,
    state: &State,
) -> Result<Vec<Start>, ResumeError> {
    let mut known = StoredCursors::read(spool, state)?;
    let starts = sinks.iter().map(|(name, from)| known.start(name, *from)).collect::<Result<_, _>>()?;
    known.store(state)?;
    Ok(starts)
}

impl<'s> StoredCursors<'s> {
    fn read(spool: &'s Spool, state: &State) -> Result<Self, StateError> {
        let rows = state.cursors()?.into_iter().collect();
        let (lost, newest) = (Position(spool.first().0.saturating_sub(1)), spool.head());
        Ok(Self { spool, rows, lost, newest, new: Vec::new() })
    }

    /// Where a sink continues, or begins if it is new.
    fn start(&mut self, sink: &str, from: StartFrom) -> Result<Start, ResumeError> {
        Ok(Start { cursor: self.begin(sink, from)?, buried: self.buried(sink) })
    }

    /// The cursor of a reader, which is to be stored if the reader is new.
    fn begin(&mut self, name: &str, from: StartFrom) -> Result<Position, ResumeError> {
        let (lost, newest) = (self.lost, self.newest);
        if let Some(cursor) = self.rows.get(name) {
            warn_of_gap(name, *cursor, lost);
            // No cursor is beyond the newest record, because positions are never reused; `min` makes
            // sure of it.
            return Ok((*cursor).min(newest));
        }
        let cursor = match from {
            _ if self.rows.is_empty() => lost,
            StartFrom::Earliest => lost,
            StartFrom::Next => newest,
            StartFrom::Moment(moment) => self.spool.search().position_at(moment)?.clamp(lost, newest),
        };
        if from != StartFrom::Next && CursorOwner::of(name) != CursorOwner::Quarantine {
            let records = newest.0 - cursor.0;
            tracing::info!(sink = name, after = cursor.0, records, "a new sink begins where `from` says");
        }
        self.new.push(Progress { sink: name.to_owned(), cursor, dead: Vec::new() });
        Ok(cursor)
    }

    /// Position up to which events for this sink only became dead letters while it was not configured.
    fn buried(&self, sink: &str) -> Position {
        self.rows.get(&CursorOwner::RemovedSink(sink).to_string()).copied().unwrap_or_default()
    }

    fn store(self, state: &State) -> Result<(), StateError> {
        if self.new.is_empty() { Ok(()) } else { state.commit(&self.new) }
    }
}

/// Whether a stored cursor belongs to a sink that is no longer configured.
fn is_left_behind(name: &str, sinks: &[&str]) -> bool {
    matches!(CursorOwner::of(name), CursorOwner::Sink(sink) if !sinks.contains(&sink))
}

/// Warns about a sink that was removed or renamed before it delivered all records, if the spool still
/// has some of them.
fn warn_of_left_behind(name: &str, cursor: Position, lost: Position, newest: Position) {
    let records = newest.0.saturating_sub(cursor.max(lost).0);
    if records > 0 {
        tracing::warn!(
            sink = name,
            records,
            "the sink was removed from the configuration with undelivered records: configure it again \
             under this name to deliver them"
        );
    }
}

fn warn_of_gap(name: &str, cursor: Position, lost: Position) {
    if cursor < lost {
        tracing::error!(
            sink = name,
            records = lost.0 - cursor.0,
            "records after this sink's cursor are no longer in the log, so the sink skips them; they were \
             damaged, expired or pruned, or the spool directory was replaced"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dedup::DuplicateKey;
    use crate::event::{Event, Timestamp};
    use crate::testing::bench::Bench;
    use crate::testing::events::event;

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
        let sinks: Vec<_> = sinks.iter().map(|name| (*name, StartFrom::Next)).collect();
        let resumption = resume(&sinks, &bench.spool, &bench.state).expect("readable");
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
    async fn a_new_sink_begins_where_it_is_told_to_and_a_known_one_where_it_was() {
        let bench = Bench::new();
        for hour in 0..6_i64 {
            let arrived = Timestamp(hour * 3_600_000_000_000);
            let taken = Event { id: format!("evt-{hour}").into(), arrived, ..event("k") };
            let key = DuplicateKey::of(&taken.source, &taken.id);
            bench.spool.append(taken.into(), Some(key)).await.expect("room");
        }
        known(&bench, &[("lake", 2)]);
        let at = |hours: i64| StartFrom::Moment(Timestamp(hours * 3_600_000_000_000));
        let sinks = [
            ("next", StartFrom::Next),
            ("earliest", StartFrom::Earliest),
            ("third", at(3)),
            ("before", at(-1)),
            ("later", at(9)),
            ("lake", at(5)),
        ];
        let begun = resume(&sinks, &bench.spool, &bench.state).expect("readable");
        let cursors =
            |resumption: &Resumption| resumption.sinks.iter().map(|start| start.cursor.0).collect::<Vec<_>>();
        assert_eq!(cursors(&begun), [6, 0, 3, 0, 6, 2]);
        let otherwise = sinks.map(|(name, _)| (name, StartFrom::Next));
        let again = resume(&otherwise, &bench.spool, &bench.state).expect("readable");
        assert_eq!(cursors(&again), cursors(&begun), "none of them is new any more");
    }

    #[tokio::test]
    async fn a_sink_that_is_gone_is_remembered_by_how_far_it_was_looked_after() {
        let rows = [("lake", 1), ("billing", 1), ("(gone) billing", 2), ("(quarantine)", 3)];
        let (bench, resumption) = resumed(&rows, &[]).await;
        let gone = |sink: &str, through| RemovedSink { sink: sink.into(), through: Position(through) };
        assert_eq!(resumption.gone, [gone("billing", 2), gone("lake", 1)]);

        let back = resume(&[("billing", StartFrom::Earliest)], &bench.spool, &bench.state).expect("readable");
        assert_eq!(back.sinks, [Start { cursor: Position(1), buried: Position(2) }]);
        assert_eq!(back.gone, [gone("lake", 1)]);
    }
}
