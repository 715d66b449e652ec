//! How the bridge ends: whether what it was trusted with is still there, who waits for what is not, and how
//! long anybody waits for the end.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::BridgeError;
use super::open::blocking;
use crate::event::Position;
use crate::spool::{Spool, SpoolFailure};
use crate::state::{State, StateError};

/// How much longer than its grace a stop may take, for the last commits, if the disk answers.
const LATE_MAX: Duration = Duration::from_secs(5);
/// How often it is looked meanwhile whether it does.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Resolves when nobody waits for the stop any longer: at the deadline if the disk does not answer, and
/// a little later otherwise. Says what is not waited for.
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
    // Dropped, it might close the file, and hang.
    std::mem::forget((spool, state));
    match out {
        Some(out) => format!(
            "the disk under the spool has not answered for {} s: the bridge ends without it. What was \
             acknowledged is there, and what was delivered lately may be delivered again",
            out.as_secs()
        ),
        None => "a part of the bridge did not end in its time: the bridge ends without it".to_owned(),
    }
}

/// Looks whether what was acknowledged, and how far each of these readers has got, is still where it was
/// kept.
pub(super) async fn look_over(spool: Spool, state: State, readers: Vec<String>) -> Result<(), BridgeError> {
    blocking(move || {
        match spool.verify_files() {
            Err(SpoolFailure::Taken(taken)) => match behind(&state, &readers, taken.last) {
                Ok(waiting) if waiting.is_empty() => {
                    return Err(BridgeError::SpoolFailed(format!("{taken}, which every sink has got past")));
                }
                waiting => return Err(BridgeError::Taken { taken, waiting: waiting.unwrap_or(readers) }),
            },
            looked => looked?,
        }
        state.look().map_err(BridgeError::State)
    })
    .await
}

/// Those of these readers that have not got past this position.
fn behind(state: &State, readers: &[String], last: Position) -> Result<Vec<String>, StateError> {
    let cursors = state.cursors()?;
    let is_behind = |reader: &&String| {
        let cursor = cursors.iter().find(|(name, _)| name == *reader);
        cursor.is_none_or(|(_, cursor)| *cursor < last)
    };
    Ok(readers.iter().filter(is_behind).cloned().collect())
}

/// The names of readers, for people.
pub(super) fn named(readers: &[String]) -> String {
    match readers {
        [] => "some sink".to_owned(),
        names => format!("`{}`", names.join("`, `")),
    }
}

/// What is told in front of the reason for which a bridge had to stop, if there is one.
pub(super) fn had_to_stop(first: &Option<Box<BridgeError>>) -> &'static str {
    if first.is_some() { "; it had to stop because of this" } else { "" }
}

impl From<SpoolFailure> for BridgeError {
    fn from(failure: SpoolFailure) -> Self {
        match failure {
            SpoolFailure::Broken(reason) => Self::SpoolFailed(reason.to_string()),
            SpoolFailure::Misplaced(reason) => Self::Misplaced(reason.to_string()),
            SpoolFailure::Taken(taken) => Self::Taken { taken, waiting: Vec::new() },
        }
    }
}

/// What counts of what ended the bridge and what its stop has found: the stop knows best who waits for what
/// is not there any more.
pub(super) fn graver(
    first: Result<(), BridgeError>,
    second: Result<(), BridgeError>,
) -> Result<(), BridgeError> {
    match (first, second) {
        (Err(BridgeError::Taken { .. }), Err(second)) => Err(second),
        (_, Err(second @ (BridgeError::Taken { .. } | BridgeError::Misplaced(_)))) => Err(second),
        (first, second) => first.and(second),
    }
}
