//! The lock on a file sink's directory: one sink has the directory, by whatever path another one
//! reaches it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Result;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

/// The file whose lock makes a sink the directory's owner. No topic can have this name, and a reader
/// that looks for topics skips names that begin with a full stop.
const LOCK_FILE: &str = ".lock~";
/// How long to wait for another process to release the directory, as in a rolling update, in which
/// the old process is still stopping.
const LOCK_WAIT: Duration = Duration::from_secs(2);
/// Interval between attempts to lock; there is no call that waits for a lock with a deadline.
const LOCK_RETRY: Duration = Duration::from_millis(50);

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
        let deadline = Instant::now() + LOCK_WAIT;
        loop {
            let file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .mode(0o600)
                .custom_flags(super::no_follow())
                .open(&path)?;
            if !file.metadata()?.is_file() {
                let problem = format!("{} is not a regular file: remove it", path.display());
                return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, problem));
            }
            match file.try_lock() {
                // A lock on a file that was removed meanwhile does not count: another process could
                // lock the new file.
                Ok(()) if has_name(&file, &path) => return Ok(Some(Self { _file: file })),
                Err(TryLockError::Error(error)) => return Err(error),
                Ok(()) | Err(TryLockError::WouldBlock) if Instant::now() >= deadline => return Ok(None),
                Ok(()) | Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_RETRY),
            }
        }
    }
}

fn has_name(file: &File, path: &Path) -> bool {
    let of = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
    match (file.metadata(), std::fs::symlink_metadata(path)) {
        (Ok(file), Ok(path)) => of(file) == of(path),
        _ => false,
    }
}
