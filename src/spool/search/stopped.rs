//! The log of a stopped bridge, read where it lies.
//!
//! No byte is written, nothing is mended, and the directory's lock is held for a moment only, to ask whether
//! a bridge has it: a start waits longer for the lock than that. So a bridge can start at any time, and go on
//! in the log while it is searched. What was found is then not to be trusted, because segments can have been
//! removed or written over: whoever searches asks [`lock_to_read`] again behind the search.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::LogSearch;
use crate::clock::Moment;
use crate::disk::{Disk, DiskLock, FileId};
use crate::event::Position;
use crate::spool::dir_lock::lock_to_read;
use crate::spool::error::failed;
use crate::spool::scan::{LogScan, ScanDepth, ScanObserver, list_segments, scan_log};
use crate::spool::segments::Segments;
use crate::spool::shared_log::{SharedLog, View};
use crate::spool::tail::Tail;
use crate::spool::{SpoolError, SpoolOptions};
use crate::telemetry::Metrics;

impl LogSearch {
    /// Finds entries in the log that a stopped bridge has left in a directory. Blocks while it reads the
    /// footers of the closed segments, and every segment without a good one.
    ///
    /// # Errors
    /// [`SpoolError::Locked`] when a bridge has it; also when it cannot be read.
    pub fn of_stopped(disk: Arc<dyn Disk>, dir: &Path) -> Result<Self, SpoolError> {
        drop(lock_to_read(&*disk, dir)?);
        let listed = list_segments(&*disk, dir)?;
        // The keys are read by each search.
        let depth = ScanDepth::Footers { keys_from: usize::MAX };
        let view = view_of(scan_log(&*disk, listed, Moment::default(), depth, &mut NoKeys)?);
        let dir_id = disk.dir_id(dir).map_err(failed("look at", dir))?;
        // Nobody appends, so nothing of this counts.
        let options = SpoolOptions { recycle_segments: false, ..SpoolOptions::default() };
        let (dir, metrics) = ((dir.to_owned(), dir_id), Arc::new(Metrics::new()));
        let log = SharedLog::new(disk, dir, options, metrics, view, Box::new(NotLocked));
        Ok(Self(Arc::new(log)))
    }
}

/// The segments as a start finds them, without what it mends: behind the last whole entry of the newest one
/// nothing was ever acknowledged.
fn view_of(scan: LogScan) -> View {
    let (mut segments, mut next) = (Segments::default(), Position(1));
    let count = scan.segments.len();
    for (at, scanned) in scan.segments.into_iter().enumerate() {
        let mut segment = scanned.segment;
        match scanned.tail {
            Some(tail) if at + 1 == count => segment.len = tail.start,
            _ if at + 1 == count => {}
            _ => segment.len = scanned.file_bytes,
        }
        next = next.max(segment.base).max(segment.last.next());
        if !segment.is_empty() || !scanned.damage.is_empty() {
            segments.push(segment);
        }
    }
    View { segments, tail: Tail::new(0), next }
}

/// The duplicate keys of a log to which nobody appends are not needed.
struct NoKeys;

impl ScanObserver for NoKeys {}

/// The lock of a directory that is not locked.
struct NotLocked;

impl DiskLock for NotLocked {
    fn id(&self) -> io::Result<Option<FileId>> {
        Ok(None)
    }
}
