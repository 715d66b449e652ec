//! Moves what no sink will deliver from the log to the dead letters: quarantined deliveries, and events
//! for one sink alone that is no longer configured.
//!
//! Quarantined deliveries travel through the log so that they are durable before their answer, share
//! the group's fsync and the duplicate window, and need no database transaction on the way in. A
//! redriven event is in the log alone, and every other sink passes it by. Here both are copied out, in
//! one transaction with the cursor that passes them; all other events pass by unread.

use std::time::{Duration, SystemTime};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use tokio_util::sync::CancellationToken;

use super::keeper::Keeper;
use super::resume::{Gone, gone_name};
use super::{DispatchError, READ_AGAIN_AFTER, Reader, Reading, sleep_until};
use crate::event::{Entry, Event, Position, Quarantined, Timestamp};
use crate::spool::state::{NewDeadLetter, StateError};
use crate::spool::{Batch, ReadError, Spool};
use crate::telemetry::{LogLimit, Shown, SinkReason};

/// The name under which the cursor is kept; no sink can have it, since sinks have no parentheses.
pub const CURSOR: &str = "(quarantine)";
/// Why an event is a dead letter that was for a sink alone which is gone.
const SINK_GONE: &str = "sink_gone";
const BATCH_RECORDS_MAX: usize = 4096;
const BATCH_BYTES_MAX: usize = 1 << 20;
/// How often the cursor passes accepted events when there is nothing else: a restart reads those
/// again, which costs time and nothing else.
const PASS_EVERY: Duration = Duration::from_secs(1);

/// What is looked after, and from where on.
pub struct Care {
    /// Quarantined deliveries, and events for a sink that nobody remembers, behind this cursor.
    pub cursor: Position,
    /// Events for these sinks alone, behind where each was looked after last.
    pub gone: Vec<Gone>,
    /// The sinks that look after themselves.
    pub configured: Vec<String>,
    /// Counts events that become dead letters.
    pub dead_letters: Family<SinkReason, Counter>,
}

impl Care {
    /// Where to begin to read.
    pub fn begin(&self) -> Position {
        self.gone.iter().map(|gone| gone.through).fold(self.cursor, Position::min)
    }

    fn rows(&self) -> Vec<(String, Position)> {
        let gone = self.gone.iter().map(|gone| (gone_name(&gone.sink), gone.through));
        [(CURSOR.to_owned(), self.cursor)].into_iter().chain(gone).collect()
    }

    /// The sink for which alone an event is, if nobody else looks after it.
    fn gone_sink<'a>(&self, position: Position, event: &'a Event) -> Option<&'a str> {
        let sink = &**event.only_sink.as_ref()?;
        let gone = self.gone.iter().find(|gone| gone.sink == sink);
        let through = gone.map_or(self.cursor, |gone| gone.through);
        (position > through && !self.configured.iter().any(|name| name == sink)).then_some(sink)
    }
}

/// Runs until stopped; then commits, until it is cut short. The reader stands where the care begins.
///
/// # Errors
/// When the dead letters cannot be kept.
pub async fn keep(
    reader: Reader,
    care: Care,
    stop: CancellationToken,
    cut: CancellationToken,
) -> Result<(), DispatchError> {
    let Reader { share, spool, state } = reader;
    let mut cursor = share.cursor();
    let mut keeper = Keeper::new(CURSOR, state, share, PASS_EVERY).under(care.rows());
    let mut pass = tokio::time::interval(PASS_EVERY);
    let mut reading: Option<Reading> = None;
    // The log was closed, and all of it read.
    let mut exhausted = false;
    let log_limit = LogLimit::default();
    loop {
        // What waits for room must not fill the memory.
        if reading.is_none() && !exhausted && keeper.dead_bytes() < BATCH_BYTES_MAX {
            reading = Some(read(&spool, cursor, Duration::ZERO));
        }
        let commit_at = keeper.begin_if_due(cursor, keeper.dead_bytes() > 0);
        tokio::select! {
            () = stop.cancelled() => return finish(keeper, spool.pass_events(cursor), &cut).await,
            _ = pass.tick() => {
                let passed = spool.pass_events(cursor);
                if passed > cursor {
                    // Who reads waits for the next one; no need to begin further back then.
                    (cursor, reading) = (passed, None);
                }
            }
            batch = async { reading.as_mut().expect("guarded").await }, if reading.is_some() => {
                reading = None;
                match batch {
                    Ok(batch) => {
                        cursor = batch.through;
                        bury(batch, &care, &mut keeper, &log_limit);
                    }
                    Err(ReadError::Stopped) => exhausted = true,
                    Err(error @ ReadError::Io { .. }) => {
                        tracing::error!(%error, "cannot read the spool, trying again");
                        reading = Some(read(&spool, cursor, READ_AGAIN_AFTER));
                    }
                }
            }
            kept = keeper.done() => drop(kept?),
            () = sleep_until(commit_at), if commit_at.is_some() => {}
        }
    }
}

/// The last commit. Without room for it the next start reads the same once more, and keeps it once.
async fn finish(mut keeper: Keeper, cursor: Position, cut: &CancellationToken) -> Result<(), DispatchError> {
    match keeper.finish(cursor, cut).await {
        Err(DispatchError::Commit { source: StateError::NoRoom { .. }, .. }) => Ok(()),
        finished => finished,
    }
}

/// Begins to read what follows, after a pause.
fn read(spool: &Spool, after: Position, pause: Duration) -> Reading {
    let spool = spool.clone();
    Box::pin(async move {
        tokio::time::sleep(pause).await;
        spool.read_apart(after, BATCH_RECORDS_MAX, BATCH_BYTES_MAX).await
    })
}

fn bury(batch: Batch, care: &Care, keeper: &mut Keeper, log_limit: &LogLimit) {
    let now = Timestamp::from(SystemTime::now());
    for (position, entry) in batch.entries {
        match entry {
            Entry::Quarantined(quarantined) if position > care.cursor => {
                tell(&quarantined, log_limit);
                keeper.bury(buried(position, quarantined, now));
            }
            Entry::Event(event) => {
                let Some(sink) = care.gone_sink(position, &event) else { continue };
                tell_gone(sink, log_limit);
                let labels = SinkReason { sink: sink.to_owned(), reason: SINK_GONE.to_owned() };
                care.dead_letters.get_or_create(&labels).inc();
                keeper.bury(buried_event(position, sink, &event, now));
            }
            // It is a dead letter already, or was one.
            Entry::Quarantined(_) => {}
        }
    }
}

/// One line a minute for each source and reason.
fn tell(quarantined: &Quarantined, log_limit: &LogLimit) {
    let (source, reason) = (&*quarantined.intake, &*quarantined.reason);
    if let Some(unsaid) = log_limit.admit(&format!("{source} {reason}")) {
        let detail = Shown(&quarantined.detail);
        tracing::warn!(source, reason, %detail, unsaid, "a delivery cannot be used, kept as a dead letter (`fanbridge dead list`)");
    }
}

fn tell_gone(sink: &str, log_limit: &LogLimit) {
    if let Some(unsaid) = log_limit.admit(sink) {
        tracing::warn!(
            sink,
            unsaid,
            "an event was redriven for a sink that is no longer configured, kept as a dead letter again"
        );
    }
}

fn buried_event(position: Position, sink: &str, event: &Event, now: Timestamp) -> NewDeadLetter {
    NewDeadLetter {
        sink: Some(sink.to_owned()),
        reason: SINK_GONE.to_owned(),
        detail: format!("sink `{sink}` left the configuration before it had this event"),
        attempts: 0,
        first: event.arrived,
        last: now,
        position,
        topic: None,
        entry: Entry::Event(event.detached()),
    }
}

fn buried(position: Position, quarantined: Quarantined, now: Timestamp) -> NewDeadLetter {
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
    use crate::dispatch::tests::bench::{Bench, awaited};
    use crate::event::tests::{event, quarantined};
    use crate::spool::state::DeadFilter;

    /// Seven records: unusable, for `lake`, for `retired`, for all, for `retired`, for a sink that
    /// nobody remembers, unusable.
    async fn spooled() -> Bench {
        let bench = Bench::new();
        let for_sink = |sink: &'static str| Event { only_sink: Some(sink.into()), ..event("k") };
        bench.append_entry(Entry::Quarantined(quarantined())).await;
        bench.append(for_sink("lake")).await;
        bench.append(for_sink("retired")).await;
        bench.append(event("k")).await;
        bench.append(for_sink("retired")).await;
        bench.append(for_sink("forgotten")).await;
        bench.append_entry(Entry::Quarantined(quarantined())).await;
        bench
    }

    /// The dead letters, by position, after the quarantine has looked at all seven from these cursors.
    async fn kept(bench: &Bench, cursor: u64, retired: u64) -> Vec<(u64, String, String)> {
        let gone = vec![Gone { sink: "retired".into(), through: Position(retired) }];
        let care = Care { cursor: Position(cursor), gone, ..bench.care() };
        let reader = bench.reader(care.begin());
        let (stop, never) = (CancellationToken::new(), CancellationToken::new());
        let running = tokio::spawn(keep(reader, care, stop.clone(), never));
        awaited(|| bench.state.cursor("(gone) retired").expect("readable") == Some(Position(7))).await;
        stop.cancel();
        running.await.expect("no panic").expect("no error");
        let letters = bench.state.dead_letters(&DeadFilter::default(), 0, 10).expect("readable");
        let row = |letter: crate::spool::state::DeadLetterInfo| {
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
        assert_eq!(bench.state.cursor(CURSOR).expect("readable"), None, "its own cursor was not moved back");
    }
}
