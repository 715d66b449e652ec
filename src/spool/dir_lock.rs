//! The lock on the spool's directory, which a start takes before it reads or writes anything else.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::SpoolError;
use super::error::failed;
use crate::disk::{Disk, DiskLock, FileId};

/// The name of the file whose lock makes a process the directory's owner.
pub(super) const LOCK_FILE: &str = "lock";

/// A spool's directory, locked for this process until this value and everything that was opened from it is
/// dropped.
pub struct LockedDir {
    pub(super) dir: PathBuf,
    pub(super) dir_id: FileId,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) lock: Box<dyn DiskLock>,
}

impl LockedDir {
    /// Locks the directory, which is made if it is missing. Blocks for as long as the disk was told to wait
    /// for another process.
    ///
    /// # Errors
    /// [`SpoolError::Locked`] when another process has locked it.
    pub fn take(dir: &Path, disk: Arc<dyn Disk>) -> Result<Self, SpoolError> {
        disk.create_dirs(dir).map_err(failed("make", dir))?;
        let lock = lock(&*disk, dir)?;
        disk.hold_dir(dir).map_err(failed("open", dir))?;
        let dir_id = disk.dir_id(dir).map_err(failed("look at", dir))?;
        Ok(Self { dir: dir.to_owned(), dir_id, disk, lock })
    }
}

/// Locks an existing directory for this process alone.
fn lock(disk: &dyn Disk, dir: &Path) -> Result<Box<dyn DiskLock>, SpoolError> {
    let path = dir.join(LOCK_FILE);
    let lock = disk.lock(&path).map_err(failed("lock", &path))?;
    lock.ok_or_else(|| SpoolError::Locked(dir.to_owned()))
}

/// Locks an existing directory for reading, without writing to it, together with other readers. `None` if
/// there is no lock file: a bridge makes it before anything else, so none has ever used the directory.
///
/// # Errors
/// [`SpoolError::Locked`] when a bridge has locked it.
pub fn lock_to_read(disk: &dyn Disk, dir: &Path) -> Result<Option<Box<dyn DiskLock>>, SpoolError> {
    let path = dir.join(LOCK_FILE);
    match disk.lock_existing(&path) {
        Ok(Some(lock)) => Ok(Some(lock)),
        Ok(None) => Err(SpoolError::Locked(dir.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("lock", &path)(error)),
    }
}
