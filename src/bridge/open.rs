//! Opens what the bridge keeps on disk: locks the spool's directory, then opens the log and the state in it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::BridgeError;
use crate::disk::RealDisk;
use crate::spool::{LockedDir, Recovery, Spool, SpoolOptions};
use crate::state::{self, State};
use crate::telemetry::Metrics;

/// How long to wait for another process to release the spool: in a rolling update the old process is
/// still stopping.
pub(super) const LOCK_WAIT: Duration = Duration::from_secs(2);

/// Locks the spool's directory. This comes first, so that a second process for the same spool is told
/// about the spool and not about an address in use. The lock guards the state file as well. The state
/// file's version is checked before recovery changes the log, so that data of a later release stays
/// untouched, if that release had time to close the file. Another process is waited for as long as this.
pub(super) async fn take(options: SpoolOptions, lock_wait: Duration) -> Result<LockedDir, BridgeError> {
    blocking(move || {
        let dir = LockedDir::take(&options.dir, Arc::new(RealDisk::waiting(lock_wait)))?;
        warn_of_others(&options.dir);
        State::refuse_newer(&options.dir.join(state::FILE_NAME))?;
        Ok(dir)
    })
    .await
}

/// Opens and recovers log and state.
pub(super) async fn open(
    dir: LockedDir,
    options: SpoolOptions,
    metrics: Arc<Metrics>,
) -> Result<(Spool, State, Recovery), BridgeError> {
    blocking(move || {
        let path = options.dir.join(state::FILE_NAME);
        let (spool, recovery) = Spool::open(dir, options, Arc::clone(&metrics))?;
        let state = State::open(&path)?;
        state.count_in(&metrics);
        // The log is told the furthest cursor only.
        let furthest = state.cursors()?.into_iter().map(|(_, cursor)| cursor).max();
        furthest.iter().for_each(|cursor| spool.resume_after(*cursor));
        spool.set_other_bytes(state.file_bytes()?);
        Ok((spool, state, recovery))
    })
    .await
}

/// Warns if the spool's directory gives access to other users. A directory that the bridge makes, and every
/// file in it, is for its owner alone.
fn warn_of_others(dir: &Path) {
    let Ok(metadata) = fs::metadata(dir) else { return };
    let mode = metadata.mode() & 0o7777;
    // In a directory of another owner, these permissions can be how the bridge itself has access.
    let ours = metadata.uid() == rustix::process::geteuid().as_raw();
    if mode & 0o007 != 0 && ours {
        let what = if lets_others_remove(mode) { "remove files of" } else { "list" };
        let (dir, mode) = (dir.display(), format_args!("{mode:04o}"));
        tracing::warn!(
            %dir,
            %mode,
            "any user of this machine can {what} the spool's directory: run `chmod o=` on it to prevent this"
        );
    }
}

/// Whether other users can remove files that are not theirs: the directory is writable and not sticky.
fn lets_others_remove(mode: u32) -> bool {
    mode & 0o002 != 0 && mode & 0o1000 == 0
}

/// Runs work that waits for the disk on a thread of its own, so that it blocks no thread of the runtime.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BridgeError> + Send + 'static,
) -> Result<T, BridgeError> {
    let working = tokio::task::spawn_blocking(work);
    working.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}
