//! Copies what no sink will deliver from the log to the dead letters: quarantined deliveries, and
//! events whose only sink is no longer configured.
//!
//! Quarantined deliveries go through the log so that they are durable before they are answered, share
//! the group's fdatasync and the duplicate window, and need no database transaction on the way in. A
//! redriven event for one sink is only in the log, and every other sink skips it. The quarantine
//! copies both out in one transaction with the cursor that passes them; it does not read other
//! events.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::future::OptionFuture;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use super::checkpoint::Checkpoint;
use super::resume::RemovedSink;
use super::unreadable::Unreadable;
use super::{DispatchError, LogReader, READ_AGAIN_AFTER, Reading};
use crate::event::{Entry, Event, Position, Quarantined, Timestamp};
use crate::spool::{EntryBatch, ReadError, Spool};
use crate::state::{CursorOwner, NewDeadLetter, StateError};
use crate::telemetry::{LogLimit, Shown, SinkReason};

/// Reason of a dead letter whose only sink is no longer configured.
const SINK_GONE: &str = "sink_gone";
const BATCH_RECORDS_MAX: usize = 4096;
const BATCH_BYTES_MAX: usize = 1 << 20;
/// How often the cursor passes other events when there is nothing to copy. A restart reads again what
/// lies after the cursor, which costs time only.
const PASS_EVERY: Duration = Duration::from_secs(1);

/// The positions from which the quarantine copies.
pub struct QuarantineScope {
    /// Cursor for quarantined deliveries, and for events of a removed sink that has no cursor.
    pub cursor: Position,
    /// The removed sinks, each with the position up to which its own events were copied.
    pub gone: Vec<RemovedSink>,
    /// Names of the configured sinks, which deliver their own events.
    pub configured: Vec<String>,
    /// Counts events that become dead letters, by sink and reason.
    pub dead_letters: Family<SinkReason, Counter>,
}

/// A change of what is configured while the quarantine runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScopeChange {
    /// This sink delivers its own events from now on.
    Added(String),
    /// This sink delivers nothing more.
    Removed(RemovedSink),
}

/// Tells the quarantine what changes. Clones tell the same one.
#[derive(Clone, Debug)]
pub struct ScopeChanges(mpsc::Sender<ToldChange>);

/// The changes that a quarantine is told.
#[derive(Debug)]
pub struct ToldChanges(mpsc::Receiver<ToldChange>);

/// A change, and who waits for the position up to which the sink's own events are dead letters.
type ToldChange = (ScopeChange, oneshot::Sender<Position>);

impl ScopeChanges {
    /// For one quarantine.
    pub fn new() -> (Self, ToldChanges) {
        let (tell, told) = mpsc::channel(1);
        (Self(tell), ToldChanges(told))
    }

    /// Tells a change, and waits until it has taken effect. Returns the position up to which events for the
    /// sink alone are dead letters; `None` if the quarantine has ended.
    pub async fn tell(&self, change: ScopeChange) -> Option<Position> {
        let (answer, answered) = oneshot::channel();
        self.0.send((change, answer)).await.ok()?;
        answered.await.ok()
    }
}

impl QuarantineScope {
    /// The lowest of all positions: the reader begins there.
    pub fn begin(&self) -> Position {
        self.gone.iter().map(|gone| gone.through).fold(self.cursor, Position::min)
    }

    /// Takes a change. What this scope has is a dead letter up to `copied`.
    fn change(&mut self, change: ScopeChange, copied: Position) -> Position {
        self.cursor = self.cursor.max(copied);
        self.gone.iter_mut().for_each(|gone| gone.through = gone.through.max(copied));
        match change {
            ScopeChange::Added(sink) => {
                let gone = self.gone.iter().find(|gone| gone.sink == sink);
                let through = gone.map_or(self.cursor, |gone| gone.through);
                self.gone.retain(|gone| gone.sink != sink);
                self.configured.push(sink);
                through
            }
            ScopeChange::Removed(removed) => {
                let through = removed.through;
                self.configured.retain(|name| *name != removed.sink);
                self.gone.push(removed);
                through
            }
        }
    }

    fn rows(&self) -> Vec<(String, Position)> {
        let gone =
            self.gone.iter().map(|gone| (CursorOwner::RemovedSink(&gone.sink).to_string(), gone.through));
        [(CursorOwner::Quarantine.to_string(), self.cursor)].into_iter().chain(gone).collect()
    }

    /// The removed sink for which alone this event is, if its events were not copied up to this
    /// position.
    fn gone_sink<'a>(&self, position: Position, event: &'a Event) -> Option<&'a str> {
        let sink = &**event.only_sink.as_ref()?;
        let gone = self.gone.iter().find(|gone| gone.sink == sink);
        let through = gone.map_or(self.cursor, |gone| gone.through);
        (position > through && !self.configured.iter().any(|name| name == sink)).then_some(sink)
    }
}

/// Runs until stopped, then commits until `cut` is cancelled. The reader has to begin at
/// [`QuarantineScope::begin`].
///
/// # Errors
/// When the dead letters cannot be committed.
pub async fn keep(
    reader: LogReader,
    mut scope: QuarantineScope,
    mut changes: ToldChanges,
    stop: CancellationToken,
    cut: CancellationToken,
) -> Result<(), DispatchError> {
    let LogReader { share, spool, state } = reader;
    let mut cursor = share.cursor();
    let name = CursorOwner::Quarantine.to_string();
    let mut unreadable = Unreadable::new(&name);
    let begun = |scope: &QuarantineScope| {
        Checkpoint::new(&name, state.clone(), share.clone(), PASS_EVERY).under(scope.rows())
    };
    let mut checkpoint = begun(&scope);
    let mut pass = tokio::time::interval(PASS_EVERY);
    let mut reading: Option<Reading> = None;
    // Set when the log is closed and read to its end.
    let mut exhausted = false;
    let log_limit = LogLimit::default();
    loop {
        // Dead letters that wait for space on the disk must not fill the memory.
        if reading.is_none() && !exhausted && checkpoint.dead_bytes() < BATCH_BYTES_MAX {
            reading = Some(read(&spool, cursor, Duration::ZERO));
        }
        let commit_at = checkpoint.begin_if_due(cursor, checkpoint.dead_bytes() > 0);
        tokio::select! {
            () = stop.cancelled() => {
                return finish(&mut checkpoint, spool.pass_shared_entries(cursor), &cut).await;
            }
            // As at a restart: what was copied is committed, and the scope that is now begins behind that.
            Some((change, answer)) = changes.0.recv() => {
                finish(&mut checkpoint, cursor, &cut).await?;
                let through = scope.change(change, share.cursor());
                cursor = scope.begin();
                share.commit(cursor);
                (checkpoint, reading, exhausted) = (begun(&scope), None, false);
                let _ = answer.send(through);
            }
            _ = pass.tick() => {
                let passed = spool.pass_shared_entries(cursor);
                if passed > cursor {
                    // A read that is underway waits for the next single-sink entry, so the later cursor
                    // is as good for it.
                    (cursor, reading) = (passed, None);
                }
            }
            batch = async { reading.as_mut().expect("guarded").await }, if reading.is_some() => {
                reading = None;
                match batch {
                    Ok(batch) => {
                        unreadable.succeeded();
                        cursor = batch.through;
                        add_dead_letters(batch, &scope, &mut checkpoint, &log_limit);
                    }
                    Err(ReadError::Stopped) => exhausted = true,
                    Err(error @ ReadError::Io { .. }) => {
                        unreadable.failed(&error);
                        reading = Some(read(&spool, cursor, READ_AGAIN_AFTER));
                    }
                }
            }
            kept = checkpoint.done() => drop(kept?),
            Some(()) = OptionFuture::from(commit_at.map(sleep_until)) => {}
        }
    }
}

/// The last commit. Without space for it the next start copies the same records again, and keeps each
/// once.
async fn finish(
    checkpoint: &mut Checkpoint,
    cursor: Position,
    cut: &CancellationToken,
) -> Result<(), DispatchError> {
    match checkpoint.finish(cursor, cut).await {
        Err(DispatchError::Commit { source: StateError::NoRoom { .. }, .. }) => Ok(()),
        finished => finished,
    }
}

/// Starts to read the records after this position, after a pause.
fn read(spool: &Spool, after: Position, pause: Duration) -> Reading {
    let spool = spool.clone();
    Box::pin(async move {
        tokio::time::sleep(pause).await;
        spool.read_single_sink(after, BATCH_RECORDS_MAX, BATCH_BYTES_MAX).await
    })
}

fn add_dead_letters(
    batch: EntryBatch,
    scope: &QuarantineScope,
    checkpoint: &mut Checkpoint,
    log_limit: &LogLimit,
) {
    let now = Timestamp::from(SystemTime::now());
    for (position, entry) in batch.entries {
        match entry {
            Entry::Quarantined(quarantined) if position > scope.cursor => {
                log_quarantined(&quarantined, log_limit);
                checkpoint.add_dead_letter(dead_lettered_through(position, quarantined, now));
            }
            Entry::Event(event) => {
                let Some(sink) = scope.gone_sink(position, &event) else { continue };
                log_gone(sink, log_limit);
                let labels = SinkReason { sink: sink.to_owned(), reason: SINK_GONE.to_owned() };
                scope.dead_letters.get_or_create(&labels).inc();
                checkpoint.add_dead_letter(dead_letter_of_gone_sink(position, sink, &event, now));
            }
            // It was copied before, as a dead letter that might have been dropped since.
            Entry::Quarantined(_) => {}
        }
    }
}

/// Logs a quarantined delivery, at most once a minute for each source and reason.
fn log_quarantined(quarantined: &Quarantined, log_limit: &LogLimit) {
    let (source, reason) = (&*quarantined.source_name, &*quarantined.reason);
    if let Some(unsaid) = log_limit.admit(&format!("{source} {reason}")) {
        let detail = Shown(&quarantined.detail);
        tracing::warn!(
            source,
            reason,
            %detail,
            unsaid,
            "a delivery cannot be used and was kept as a dead letter: see `fanbridge dead list`"
        );
    }
}

fn log_gone(sink: &str, log_limit: &LogLimit) {
    if let Some(unsaid) = log_limit.admit(sink) {
        tracing::warn!(
            sink,
            unsaid,
            "an event was redriven or replayed for this sink, which is no longer configured: the copy is a \
             dead letter; configure the sink again to redrive it"
        );
    }
}

fn dead_letter_of_gone_sink(position: Position, sink: &str, event: &Event, now: Timestamp) -> NewDeadLetter {
    NewDeadLetter {
        sink: Some(sink.to_owned()),
        reason: SINK_GONE.to_owned(),
        detail: format!("sink `{sink}` was removed from the configuration before it delivered this event"),
        attempts: 0,
        first: event.arrived,
        last: now,
        position,
        topic: None,
        entry: event.detached().into(),
    }
}

fn dead_lettered_through(position: Position, quarantined: Arc<Quarantined>, now: Timestamp) -> NewDeadLetter {
    NewDeadLetter {
        sink: None,
        reason: quarantined.reason.to_string(),
        detail: quarantined.detail.to_string(),
        attempts: 1,
        first: quarantined.arrived,
        last: now,
        position,
        topic: None,
        entry: Entry::Quarantined(quarantined),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::DeadFilter;
    use crate::testing::bench::{Bench, awaited};
    use crate::testing::events::{event, quarantined};

    /// Seven records: unusable, for `lake`, for `retired`, for all, for `retired`, for a sink that
    /// nobody remembers, unusable.
    async fn spooled() -> Bench {
        let bench = Bench::new();
        let for_sink = |sink: &'static str| Event { only_sink: Some(sink.into()), ..event("k") };
        bench.append_entry(quarantined().into()).await;
        bench.append(for_sink("lake")).await;
        bench.append(for_sink("retired")).await;
        bench.append(event("k")).await;
        bench.append(for_sink("retired")).await;
        bench.append(for_sink("forgotten")).await;
        bench.append_entry(quarantined().into()).await;
        bench
    }

    /// The dead letters, by position, after the quarantine has looked at all seven from these cursors.
    async fn kept(bench: &Bench, cursor: u64, retired: u64) -> Vec<(u64, String, String)> {
        let gone = vec![RemovedSink { sink: "retired".into(), through: Position(retired) }];
        let scope = QuarantineScope { cursor: Position(cursor), gone, ..bench.scope() };
        let reader = bench.reader(scope.begin());
        let (stop, never) = (CancellationToken::new(), CancellationToken::new());
        let running = tokio::spawn(keep(reader, scope, ScopeChanges::new().1, stop.clone(), never));
        awaited(|| bench.state.cursor("(gone) retired").expect("readable") == Some(Position(7))).await;
        stop.cancel();
        running.await.expect("no panic").expect("no error");
        let letters = bench.state.dead_letters(&DeadFilter::default(), 0, 10).expect("readable");
        let row = |letter: crate::state::DeadLetterInfo| {
            (letter.position.0, letter.sink.unwrap_or_default(), letter.reason)
        };
        letters.into_iter().map(row).collect()
    }

    fn row(position: u64, sink: &str, reason: &str) -> (u64, String, String) {
        (position, sink.into(), reason.into())
    }

    #[tokio::test]
    async fn what_nobody_will_deliver_becomes_a_dead_letter_and_nothing_else_does() {
        let bench = spooled().await;
        let expected = [
            row(1, "", "json"),
            row(3, "retired", SINK_GONE),
            row(5, "retired", SINK_GONE),
            row(6, "forgotten", SINK_GONE),
            row(7, "", "json"),
        ];
        assert_eq!(kept(&bench, 0, 0).await, expected);
        let text = bench.metrics.render();
        assert!(text.contains(r#"dead_letters_total{sink="retired",reason="sink_gone"} 2"#), "{text}");
    }

    #[tokio::test]
    async fn a_sink_that_goes_has_its_events_taken_from_where_it_stood_and_no_other_letter_comes_back() {
        // The letters of the first two were dropped meanwhile: the quarantine is past them.
        let bench = spooled().await;
        assert_eq!(kept(&bench, 6, 3).await, [row(5, "retired", SINK_GONE), row(7, "", "json")]);
        let bench = spooled().await;
        assert_eq!(kept(&bench, 7, 2).await, [row(3, "retired", SINK_GONE), row(5, "retired", SINK_GONE)]);
        assert_eq!(
            bench.state.cursor(&CursorOwner::Quarantine.to_string()).expect("readable"),
            None,
            "its own cursor was not moved back"
        );
    }
}
