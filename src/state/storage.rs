//! The storage under the database, watched for how it fails.
//!
//! After any error of its storage, the library refuses everything until the file is opened again, and does
//! not say which call failed. But that decides whether the file can be opened again: a write or a new length
//! that found no space leaves the disk unchanged; after a failed fsync, the kernel takes pages for written
//! that are not, and a database that is opened again would trust them.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Bound;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};

use crate::disk::{is_full, open_itself};
use crate::scarce::Scarce;

/// Opens the same file once more.
pub(super) type Opener = Box<dyn Fn() -> io::Result<Box<dyn StorageBackend>> + Send + Sync>;

/// An opener of an existing file, and the file. The file stays open between two uses of the opener, so that
/// the next fsync reports an error of writing back that no call has reported yet.
pub(super) fn file(path: &Path) -> io::Result<(Opener, File)> {
    let file = open_itself(OpenOptions::new().read(true).write(true), path)?;
    let kept = file.try_clone()?;
    let opener: Opener = Box::new(move || {
        let backend = FileBackend::new(file.try_clone()?).map_err(io::Error::other)?;
        Ok(Box::new(backend))
    });
    Ok((opener, kept))
}

/// An opener of a copy of a file, which need not be writable. The copy is in the directory for temporary
/// files, only this user can read it, and it has no name, so that it is gone when this process ends. Fails
/// with `WouldBlock` if another process has the file open: it could be writing to it.
pub(super) fn copy(path: &Path) -> io::Result<Opener> {
    let file = open_itself(OpenOptions::new().read(true), path)?;
    file.try_lock_shared()?;
    copied(&file)
}

/// The same without a lock, which keeps nobody from opening the file. Fails with `WouldBlock` if the file has
/// changed meanwhile.
pub(super) fn snapshot(path: &Path) -> io::Result<Opener> {
    let file = open_itself(OpenOptions::new().read(true), path)?;
    let before = version(&file)?;
    let copied = copied(&file)?;
    if version(&file)? == before { Ok(copied) } else { Err(io::ErrorKind::WouldBlock.into()) }
}

/// What of a file changes when it is written.
fn version(file: &File) -> io::Result<(u64, i64, i64)> {
    let metadata = file.metadata()?;
    Ok((metadata.len(), metadata.mtime(), metadata.mtime_nsec()))
}

fn copied(mut file: &File) -> io::Result<Opener> {
    let copied = tempfile::tempfile().and_then(|mut copy| io::copy(&mut file, &mut copy).map(|_| copy));
    let copied = copied.map_err(|error| {
        let (dir, bytes) = (std::env::temp_dir(), file.metadata().map_or(0, |metadata| metadata.len()));
        let advice = "set TMPDIR to a directory with room for it";
        let dir = dir.display();
        io::Error::other(format!(
            "its {bytes} bytes cannot be copied to {dir} to be read ({error}): {advice}"
        ))
    })?;
    Ok(Box::new(move || Ok(Box::new(FileBackend::new(copied.try_clone()?).map_err(io::Error::other)?))))
}

/// The condition of the storage since it was opened. It only gets worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum StorageCondition {
    /// No call has failed.
    Sound,
    /// A write found no space: open the file again.
    Short,
    /// Another call failed: never trust the file again.
    Broken,
}

/// A [`StorageCondition`] that the storage worsens and the state file reads.
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

/// A storage whose errors a [`Watch`] notes.
#[derive(Debug)]
pub(super) struct Watched {
    bytes: Box<dyn StorageBackend>,
    watch: Arc<Watch>,
}

impl Watched {
    pub(super) fn new(bytes: Box<dyn StorageBackend>, watch: Arc<Watch>) -> Self {
        Self { bytes, watch }
    }

    /// Notes the error of a write or of a new length.
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
        // Wrapped, so that an error of an fsync is never taken for a write that found no space.
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
