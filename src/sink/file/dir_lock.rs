//! The lock on a file sink's directory: one sink has the directory, by whatever path another one
//! reaches it.

use std::fs::{File, OpenOptions};
use std::io::Result;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use crate::files::{FileId, attempt_for, has_lock};

/// The file whose lock makes a sink the directory's owner. No topic can have this name, and a reader
/// that looks for topics skips names that begin with a full stop.
pub(super) const LOCK_FILE: &str = ".lock~";
/// How long to wait for another process to release the directory, as in a rolling update, in which
/// the old process is still stopping.
const LOCK_WAIT: Duration = Duration::from_secs(2);

/// A held lock. The kernel releases it when the file is closed, even if the process is killed.
#[derive(Debug)]
pub(super) struct DirLock {
    _file: File,
}

impl DirLock {
    /// Locks an existing directory; `None` if another process holds the lock for longer than
    /// [`LOCK_WAIT`].
    pub fn take(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join(LOCK_FILE);
        attempt_for(LOCK_WAIT, || {
            let file = open(&path)?;
            // A lock on a file that was removed meanwhile does not count: another process could lock the
            // new file.
            let is_ours = has_lock(file.try_lock())? && has_name(&file, &path);
            Ok(is_ours.then_some(Self { _file: file }))
        })
    }
}

fn open(path: &Path) -> Result<File> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .custom_flags(super::no_follow())
        .open(path)?;
    if !file.metadata()?.is_file() {
        let problem = format!("{} is not a regular file: remove it", path.display());
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, problem));
    }
    Ok(file)
}

fn has_name(file: &File, path: &Path) -> bool {
    matches!((FileId::of(file), FileId::at(path)), (Ok(file), Ok(path)) if file == path)
}
