//! The bytes under the database, watched for how they fail.
//!
//! After any error of theirs the library refuses everything until the file is opened again, and
//! does not say which call it was. That decides whether the file may be opened again: a write or a
//! new length that found no room leaves on the disk what was there; after a failed fsync the kernel
//! takes pages for written that are not, and a file that is opened again would believe it.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};

use crate::disk::{is_full, open_itself};
use crate::scarce::Scarce;

/// Opens the same bytes once more.
pub(super) type Opener = Box<dyn Fn() -> io::Result<Box<dyn StorageBackend>> + Send + Sync>;

/// An opener of a file that is there, and the file. It stays open between one time and the next, so that
/// an error of writing back which nobody has heard of is told to the next fsync.
pub(super) fn file(path: &Path) -> io::Result<(Opener, File)> {
    let file = open_itself(OpenOptions::new().read(true).write(true), path)?;
    let kept = file.try_clone()?;
    let opener: Opener = Box::new(move || {
        let backend = FileBackend::new(file.try_clone()?).map_err(io::Error::other)?;
        Ok(Box::new(backend))
    });
    Ok((opener, kept))
}

/// What is known of some bytes since they were opened. It only gets worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum StorageCondition {
    /// Nothing has failed.
    Sound,
    /// A write found no room: open them again.
    Short,
    /// Anything else failed: trust them no more.
    Broken,
}

/// A [`Condition`] that is written where things fail, and read where that matters.
#[derive(Debug, Default)]
pub(super) struct Watch(AtomicU8);

impl Watch {
    pub(super) fn condition(&self) -> StorageCondition {
        match self.0.load(Ordering::Acquire) {
            0 => StorageCondition::Sound,
            1 => StorageCondition::Short,
            _ => StorageCondition::Broken,
        }
    }

    pub(super) fn worsen(&self, to: StorageCondition) {
        self.0.fetch_max(to as u8, Ordering::AcqRel);
    }
}

/// Bytes under watch.
#[derive(Debug)]
pub(super) struct Watched {
    bytes: Box<dyn StorageBackend>,
    watch: Arc<Watch>,
}

impl Watched {
    pub(super) fn new(bytes: Box<dyn StorageBackend>, watch: Arc<Watch>) -> Self {
        Self { bytes, watch }
    }

    /// Notes why bytes could not be put where they belong.
    fn unwritten(&self, error: io::Error) -> io::Error {
        let short = is_full(&error) || Scarce::of(&error).is_some();
        self.watch.worsen(if short { StorageCondition::Short } else { StorageCondition::Broken });
        error
    }

    fn broken(&self, error: io::Error) -> io::Error {
        self.watch.worsen(StorageCondition::Broken);
        error
    }
}

impl StorageBackend for Watched {
    fn len(&self) -> io::Result<u64> {
        self.bytes.len().map_err(|error| self.broken(error))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.bytes.read(offset, out).map_err(|error| self.broken(error))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.bytes.set_len(len).map_err(|error| self.unwritten(error))
    }

    fn sync_data(&self) -> io::Result<()> {
        // In another guise, so that no error of an fsync passes for a write without room.
        self.bytes.sync_data().map_err(|error| io::Error::other(self.broken(error)))
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.bytes.write(offset, data).map_err(|error| self.unwritten(error))
    }

    fn close(&self) -> io::Result<()> {
        self.bytes.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.bytes.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.bytes.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.bytes.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.bytes.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.bytes.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.bytes.query_lock_range(start, end)
    }
}
