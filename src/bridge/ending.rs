//! The end of a stop: how long it can take, whether the acknowledged events are still on disk, and which
//! sinks wait for events that are not.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::BridgeError;
use super::open::blocking;
use crate::dispatch::resume::ResumeError;
use crate::event::Position;
use crate::spool::{Spool, SpoolFailure};
use crate::state::{State, StateError};

/// How much longer than its grace a stop can take for the last commits, if the disk answers.
pub(super) const LATE_MAX: Duration = Duration::from_secs(5);
/// How often it is checked during that time whether the disk answers.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Resolves when the bridge ends without waiting for its stop: at the deadline if the disk does not
/// answer, otherwise up to five seconds later. Returns a sentence that says what the stop waited for.
pub(super) async fn given_up(spool: Spool, state: State, deadline: Instant) -> String {
    sleep_until(deadline).await;
    let out = loop {
        let out = spool.outstanding().max(state.outstanding());
        let hangs = out.is_some_and(|out| out > spool.answer_within());
        if hangs || Instant::now() > deadline + LATE_MAX {
            break out.filter(|_| hangs);
        }
        sleep(LOOK_EVERY).await;
    };
    // Dropping these could close their files, and hang.
    std::mem::forget((spool, state));
    match out {
        Some(out) => format!(
            "the disk under the spool has not answered for {} s, so the bridge ends without it. Every \
             acknowledged event is on the disk; events that were delivered lately can be delivered again",
            out.as_secs()
        ),
        None => "a part of the bridge did not stop within the grace: the bridge ends without it".to_owned(),
    }
}

/// Checks that the files of the log and of the state are still in place. Events in a log file that was
/// taken away are an error that names the readers that have not passed them.
pub(super) async fn look_over(spool: Spool, state: State, readers: Vec<String>) -> Result<(), BridgeError> {
    blocking(move || {
        match spool.verify_files() {
            Err(SpoolFailure::SegmentMissing(segment)) => match behind(&state, &readers, segment.last) {
                Ok(waiting) if waiting.is_empty() => {
                    return Err(BridgeError::SpoolFailed(format!("{segment}, which every sink has passed")));
                }
                waiting => {
                    return Err(BridgeError::SegmentMissing { segment, waiting: waiting.unwrap_or(readers) });
                }
            },
            looked => looked?,
        }
        state.look().map_err(BridgeError::State)
    })
    .await
}

/// The readers among these whose cursor has not passed this position.
fn behind(state: &State, readers: &[String], last: Position) -> Result<Vec<String>, StateError> {
    let cursors = state.cursors()?;
    let is_behind = |reader: &&String| {
        let cursor = cursors.iter().find(|(name, _)| name == *reader);
        cursor.is_none_or(|(_, cursor)| *cursor < last)
    };
    Ok(readers.iter().filter(is_behind).cloned().collect())
}

/// The names of sinks, for a message.
pub(super) fn named(readers: &[String]) -> String {
    match readers {
        [] => "some sink".to_owned(),
        names => format!("`{}`", names.join("`, `")),
    }
}

/// Leads to the error that made the bridge stop, if there is one.
pub(super) fn had_to_stop(first: &Option<Box<BridgeError>>) -> &'static str {
    if first.is_some() { "; it had to stop because of this" } else { "" }
}

impl From<ResumeError> for BridgeError {
    fn from(error: ResumeError) -> Self {
        match error {
            ResumeError::State(error) => error.into(),
            ResumeError::Log(error) => Self::From(error),
        }
    }
}

impl From<SpoolFailure> for BridgeError {
    fn from(failure: SpoolFailure) -> Self {
        match failure {
            SpoolFailure::Broken(reason) => Self::SpoolFailed(reason.to_string()),
            SpoolFailure::Misplaced(reason) => Self::Misplaced(reason.to_string()),
            SpoolFailure::SegmentMissing(segment) => Self::SegmentMissing { segment, waiting: Vec::new() },
        }
    }
}

/// The error to report, of the one that ended the bridge and the one that its stop found. Events that were
/// taken away are graver than any other error, and the stop knows best which sinks wait for them.
pub(super) fn graver(
    first: Result<(), BridgeError>,
    second: Result<(), BridgeError>,
) -> Result<(), BridgeError> {
    match (first, second) {
        (Err(BridgeError::SegmentMissing { .. }), Err(second)) => Err(second),
        (_, Err(second @ (BridgeError::SegmentMissing { .. } | BridgeError::Misplaced(_)))) => Err(second),
        (first, second) => first.and(second),
    }
}
