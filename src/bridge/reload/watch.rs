//! Asks for a reload when the file of the configuration changes.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::admin::{ReloadTrigger, Reloader};
use crate::config::ConfigurationFile;

/// The time between two looks at the file.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Looks at the file again and again until `stop` is cancelled, as long as `is_watched`.
pub(in crate::bridge) async fn follow(
    file: Option<Arc<ConfigurationFile>>,
    reloader: Reloader,
    is_watched: Arc<AtomicBool>,
    stop: CancellationToken,
) {
    let Some(file) = file else { return stop.cancelled().await };
    while timeout(LOOK_EVERY, stop.cancelled()).await.is_err() {
        if !is_watched.load(Ordering::Relaxed) {
            continue;
        }
        let looked = Arc::clone(&file);
        let looking = spawn_blocking(move || looked.has_changed());
        let has_changed = tokio::select! {
            () = stop.cancelled() => return,
            looked = looking => looked.unwrap_or_else(|broken| resume_unwind(broken.into_panic())),
        };
        if has_changed {
            // What became of it is in the log. While another reload is under way, the next look finds out
            // whether that one has read the change.
            let reloading = reloader.reload(ReloadTrigger::File, false);
            tokio::select! {
                () = stop.cancelled() => return,
                _ = reloading => {}
            }
        }
    }
}
