//! Moves quarantined deliveries from the log to the dead letters.
//!
//! They travel through the log so that they are durable before their answer, share the group's
//! fsync and the duplicate window, and need no database transaction on the way in. Here they are
//! copied out, in one transaction with the cursor that passes them. Accepted events pass by unread.

use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;

use super::{DispatchError, READ_AGAIN_AFTER, Reader};
use crate::event::{Entry, Position, Quarantined, Timestamp};
use crate::spool::ReadError;
use crate::spool::state::{NewDeadLetter, Progress, State, StateError};
use crate::telemetry::{LogLimit, Shown};

/// The name under which the cursor is kept; no sink can have it, since sinks have no parentheses.
pub const CURSOR: &str = "(quarantine)";
const BATCH_RECORDS_MAX: usize = 4096;
const BATCH_BYTES_MAX: usize = 1 << 20;
/// How often the cursor passes accepted events when there is nothing else: a restart reads those
/// again, which costs time and nothing else.
const PASS_EVERY: Duration = Duration::from_secs(1);

/// Runs until stopped.
///
/// # Errors
/// When the dead letters cannot be kept.
pub async fn keep(reader: Reader, stop: CancellationToken) -> Result<(), DispatchError> {
    let Reader { share, spool, state } = reader;
    let committing = |source| DispatchError::Commit { sink: CURSOR.to_owned(), source };
    let mut cursor = share.cursor();
    let mut pass = tokio::time::interval(PASS_EVERY);
    // The log was closed, and all of it read.
    let mut exhausted = false;
    let log_limit = LogLimit::default();
    loop {
        let mut dead = Vec::new();
        let mut passing = false;
        tokio::select! {
            () = stop.cancelled() => {
                let cursor = spool.pass_events(cursor);
                return commit(&state, cursor, dead).await.map_err(committing);
            }
            _ = pass.tick() => {
                cursor = spool.pass_events(cursor);
                passing = true;
            }
            batch = spool.read_quarantined(cursor, BATCH_RECORDS_MAX, BATCH_BYTES_MAX), if !exhausted => {
                let batch = match batch {
                    Ok(batch) => batch,
                    Err(ReadError::Stopped) => {
                        exhausted = true;
                        continue;
                    }
                    Err(error @ ReadError::Io { .. }) => {
                        tracing::error!(%error, "cannot read the spool, trying again");
                        tokio::time::sleep(READ_AGAIN_AFTER).await;
                        continue;
                    }
                };
                cursor = batch.through;
                let now = Timestamp::from(SystemTime::now());
                dead.extend(batch.entries.iter().filter_map(|(position, entry)| match entry {
                    Entry::Event(_) => None,
                    Entry::Quarantined(quarantined) => {
                        tell(quarantined, &log_limit);
                        Some(buried(*position, quarantined, now))
                    }
                }));
            }
        }
        if !dead.is_empty() || (passing && cursor > share.cursor()) {
            commit(&state, cursor, dead).await.map_err(committing)?;
            share.commit(cursor);
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

fn buried(position: Position, quarantined: &Quarantined, now: Timestamp) -> NewDeadLetter {
    NewDeadLetter {
        sink: None,
        reason: quarantined.reason.to_string(),
        detail: quarantined.detail.to_string(),
        attempts: 1,
        first: quarantined.arrived,
        last: now,
        position,
        topic: None,
        entry: Entry::Quarantined(quarantined.clone()),
    }
}

async fn commit(state: &State, cursor: Position, dead: Vec<NewDeadLetter>) -> Result<(), StateError> {
    let state = state.clone();
    let progress = Progress { sink: CURSOR.to_owned(), cursor, dead };
    tokio::task::spawn_blocking(move || state.commit(&[progress]))
        .await
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}
