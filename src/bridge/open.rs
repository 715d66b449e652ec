//! What the bridge keeps, opened: the directory first, then the log and the state in it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::BridgeError;
use crate::config::SpoolConfig;
use crate::disk::RealDisk;
use crate::spool::{LockedDir, Recovery, Spool};
use crate::state::{self, State};
use crate::telemetry::Metrics;

/// How long to wait for another process to give the spool up: as in a rolling update, where the
/// old one is still stopping.
const LOCK_WAIT: Duration = Duration::from_secs(2);

/// Takes the directory, before anything else: who has the addresses, too, is then told who has it. The
/// lock guards the state file as well, which is looked at before the log is mended: data of a later
/// release stays as it is, all of it, if that release had time to close the file.
pub(super) async fn take(config: SpoolConfig) -> Result<LockedDir, BridgeError> {
    blocking(move || {
        let held = LockedDir::take(&config.dir, Arc::new(RealDisk::waiting(LOCK_WAIT)))?;
        warn_of_others(&config.dir);
        State::refuse_newer(&config.dir.join(state::FILE_NAME))?;
        Ok(held)
    })
    .await
}

/// Opens and recovers log and state.
pub(super) async fn open(
    held: LockedDir,
    config: SpoolConfig,
    metrics: Arc<Metrics>,
) -> Result<(Spool, State, Recovery), BridgeError> {
    blocking(move || {
        let (spool, recovery) = Spool::open(held, config.options, Arc::clone(&metrics))?;
        let state = State::open(&config.dir.join(state::FILE_NAME))?;
        state.count_in(&metrics);
        // The furthest stands for all of them.
        let furthest = state.cursors()?.into_iter().map(|(_, cursor)| cursor).max();
        furthest.iter().for_each(|cursor| spool.resume_after(*cursor));
        spool.set_other_bytes(state.file_bytes()?);
        Ok((spool, state, recovery))
    })
    .await
}

/// Warns of a directory that was there before and lets others in. One that a start makes is for its owner
/// alone, and so are the files.
fn warn_of_others(dir: &Path) {
    let Ok(metadata) = fs::metadata(dir) else { return };
    let mode = metadata.mode() & 0o7777;
    // In somebody else's directory it may be the bridge itself that is let in that way.
    let ours = metadata.uid() == rustix::process::geteuid().as_raw();
    if mode & 0o007 != 0 && ours {
        let what = if lets_others_remove(mode) { "remove files of" } else { "list" };
        let (dir, mode) = (dir.display(), format_args!("{mode:04o}"));
        tracing::warn!(%dir, %mode, "anybody on this machine may {what} the spool's directory: `chmod o=` on it keeps them out");
    }
}

/// Whether others may remove what is not theirs: writable, and not sticky.
fn lets_others_remove(mode: u32) -> bool {
    mode & 0o002 != 0 && mode & 0o1000 == 0
}

/// Leaves the runtime's threads alone with work that waits for the disk.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BridgeError> + Send + 'static,
) -> Result<T, BridgeError> {
    let working = tokio::task::spawn_blocking(work);
    working.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}
