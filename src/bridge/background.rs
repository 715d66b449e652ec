//! Writes the event types seen, and a configuration that found no space, to the state every two seconds,
//! tells the spool the state file's size, and paused sinks how long their events wait.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::rules::UnnotedConfiguration;
use super::unread::look_behind_cursors;
use crate::health::Health;
use crate::source::types_seen::TypesSeen;
use crate::spool::Spool;
use crate::state::{State, StateError};
use crate::telemetry::Episode;

/// How long the types seen stay in memory only.
const NOTE_EVERY: Duration = Duration::from_secs(2);

/// Writes the types seen to the state every two seconds, and once more at the stop. Looks each time how long
/// the events of paused sinks wait.
///
/// Types that cannot be written stay in memory. A panic in the work is a panic of this task. Ends before
/// the stop if the state file is gone, which the bridge then treats as a failure: no cursor and no dead
/// letter could be kept any more.
pub(super) async fn keep(
    (types, unnoted): (Arc<TypesSeen>, UnnotedConfiguration),
    (spool, state): (Spool, State),
    health: Arc<Health>,
    stop: CancellationToken,
) {
    let mut unwritten = Episode::reminding();
    loop {
        let stopped = tokio::time::timeout(NOTE_EVERY, stop.cancelled()).await.is_ok();
        let (types, spool, state) = (Arc::clone(&types), spool.clone(), state.clone());
        let (health, unnoted) = (Arc::clone(&health), unnoted.clone());
        let noting = tokio::task::spawn_blocking(move || {
            let noted = write_down(&types, &state).and_then(|()| unnoted.note(&spool, &state));
            spool.set_other_bytes(state.file_bytes()?);
            if !stopped {
                look_behind_cursors(&health, &spool);
            }
            noted
        });
        match noting.await {
            // The state itself logs that it waits for disk space.
            Ok(Err(StateError::NoRoom { .. })) if !stopped => {}
            // Cursors and dead letters would be written to a file that has no name any more.
            Ok(Err(StateError::Gone { .. })) => return,
            Ok(Err(error)) => {
                let news = unwritten.happens(error.to_string(), Instant::now());
                if news.is_some() || stopped {
                    tracing::error!(
                        seconds = news.and_then(|news| news.seconds()),
                        %error,
                        "the event types seen cannot be written to the state: they stay in memory"
                    );
                }
            }
            Ok(Ok(())) => {
                if let Some(end) = unwritten.over(Instant::now()) {
                    let seconds = end.seconds();
                    tracing::info!(seconds, "the event types seen are written to the state again");
                }
            }
            Err(broken) => std::panic::resume_unwind(broken.into_panic()),
        }
        if stopped {
            return;
        }
    }
}

/// Moves the types seen from memory to the state; if that fails they stay in memory.
pub(super) fn write_down(types: &TypesSeen, state: &State) -> Result<(), StateError> {
    let drained = types.drain();
    let rows = drained.to_rows();
    let written = if rows.is_empty() {
        Ok(())
    } else {
        state.record_types_beside(&rows, &|provider, name| types.is_catalogued(provider, name))
    };
    if written.is_err() {
        types.put_back(drained);
    }
    written
}
