//! What is noted in memory and written down now and then: the types seen, and the state file's size.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::source::types_seen::TypesSeen;
use crate::spool::Spool;
use crate::state::{State, StateError};

/// How often.
const NOTE_EVERY: Duration = Duration::from_secs(2);

/// Writes down now and then what is noted in memory.
///
/// What cannot be written is kept in memory; a fault of our own is one of the process. Ends when the
/// state file is gone, as if it broke down: then nothing is kept any more.
pub(super) async fn keep(types: Arc<TypesSeen>, spool: Spool, state: State, stop: CancellationToken) {
    loop {
        let stopped = tokio::time::timeout(NOTE_EVERY, stop.cancelled()).await.is_ok();
        let (types, spool, state) = (Arc::clone(&types), spool.clone(), state.clone());
        let noting = tokio::task::spawn_blocking(move || {
            let noted = write_down(&types, &state);
            spool.set_other_bytes(state.file_bytes()?);
            noted
        });
        match noting.await {
            // The state says so itself, once for all that waits for room.
            Ok(Err(StateError::NoRoom { .. })) if !stopped => {}
            // Cursors and dead letters would go on into a file that nobody can find again.
            Ok(Err(StateError::Gone { .. })) => return,
            Ok(Err(error)) => tracing::error!(%error, "cannot note the types seen"),
            Ok(Ok(())) => {}
            Err(broken) => std::panic::resume_unwind(broken.into_panic()),
        }
        if stopped {
            return;
        }
    }
}

/// Moves what is noted of the types seen from memory to the state; what cannot be kept there stays.
pub(super) fn write_down(types: &TypesSeen, state: &State) -> Result<(), StateError> {
    let drained = types.drain();
    let rows = drained.to_rows();
    let kept = if rows.is_empty() {
        Ok(())
    } else {
        state.record_types_beside(&rows, &|provider, name| types.is_catalogued(provider, name))
    };
    if kept.is_err() {
        types.put_back(drained);
    }
    kept
}
