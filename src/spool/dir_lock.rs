//! A directory that one process has for itself: the first thing of a start.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::SpoolError;
use super::recovery::failed;
use crate::disk::{Disk, DiskLock, FileId};

/// The name of the file whose lock makes a process the directory's owner.
pub(super) const LOCK_FILE: &str = "lock";

/// A spool's directory, held until this, and everything that was opened from it, is dropped.
pub struct LockedDir {
    pub(super) dir: PathBuf,
    pub(super) dir_id: FileId,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) lock: Box<dyn DiskLock>,
}

impl LockedDir {
    /// Takes the directory, which is made if it is missing. Blocks for as long as the disk was told to
    /// wait for another process.
    ///
    /// # Errors
    /// [`SpoolError::Locked`] when another process has it.
    pub fn take(dir: &Path, disk: Arc<dyn Disk>) -> Result<Self, SpoolError> {
        disk.create_dirs(dir).map_err(failed("make", dir))?;
        let lock = lock(&*disk, dir)?;
        disk.hold_dir(dir).map_err(failed("open", dir))?;
        let dir_id = disk.dir_id(dir).map_err(failed("look at", dir))?;
        Ok(Self { dir: dir.to_owned(), dir_id, disk, lock })
    }
}

/// Takes an existing directory for this process.
fn lock(disk: &dyn Disk, dir: &Path) -> Result<Box<dyn DiskLock>, SpoolError> {
    let path = dir.join(LOCK_FILE);
    let lock = disk.lock(&path).map_err(failed("lock", &path))?;
    lock.ok_or_else(|| SpoolError::Locked(dir.to_owned()))
}

/// Takes an existing directory without writing to it, beside others who only read. `None` if it was never
/// taken: whoever owns it has made the file of the lock before anything else.
///
/// # Errors
/// [`SpoolError::Locked`] when a bridge has it.
pub fn lock_to_read(disk: &dyn Disk, dir: &Path) -> Result<Option<Box<dyn DiskLock>>, SpoolError> {
    let path = dir.join(LOCK_FILE);
    match disk.lock_existing(&path) {
        Ok(Some(lock)) => Ok(Some(lock)),
        Ok(None) => Err(SpoolError::Locked(dir.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("lock", &path)(error)),
    }
}
