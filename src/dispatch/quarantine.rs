//! Moves quarantined deliveries from the log to the dead letters.
//!
//! They travel through the log so that they are durable before their answer, share the group's
//! fsync and the duplicate window, and need no database transaction on the way in. Here they are
//! copied out, in one transaction with the cursor that passes them. Accepted events pass by unread.

use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;

use super::keeper::Keeper;
use super::{DispatchError, READ_AGAIN_AFTER, Reader, Reading, sleep_until};
use crate::event::{Entry, Position, Quarantined, Timestamp};
use crate::spool::state::{NewDeadLetter, StateError};
use crate::spool::{Batch, ReadError, Spool};
use crate::telemetry::{LogLimit, Shown};

/// The name under which the cursor is kept; no sink can have it, since sinks have no parentheses.
pub const CURSOR: &str = "(quarantine)";
const BATCH_RECORDS_MAX: usize = 4096;
const BATCH_BYTES_MAX: usize = 1 << 20;
/// How often the cursor passes accepted events when there is nothing else: a restart reads those
/// again, which costs time and nothing else.
const PASS_EVERY: Duration = Duration::from_secs(1);

/// Runs until stopped; then commits, until it is cut short.
///
/// # Errors
/// When the dead letters cannot be kept.
pub async fn keep(
    reader: Reader,
    stop: CancellationToken,
    cut: CancellationToken,
) -> Result<(), DispatchError> {
    let Reader { share, spool, state } = reader;
    let mut cursor = share.cursor();
    let mut keeper = Keeper::new(CURSOR, state, share, PASS_EVERY);
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
                        bury(batch, &mut keeper, &log_limit);
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
        spool.read_quarantined(after, BATCH_RECORDS_MAX, BATCH_BYTES_MAX).await
    })
}

fn bury(batch: Batch, keeper: &mut Keeper, log_limit: &LogLimit) {
    let now = Timestamp::from(SystemTime::now());
    for (position, entry) in batch.entries {
        if let Entry::Quarantined(quarantined) = entry {
            tell(&quarantined, log_limit);
            keeper.bury(buried(position, quarantined, now));
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
