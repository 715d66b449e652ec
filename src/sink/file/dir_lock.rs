//! A directory that one sink has for itself, whatever name each of two sinks knows it by.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Result;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

/// The file whose lock makes a sink the directory's owner. No topic can have this name, and a reader
/// that looks for topics passes over what begins with a full stop.
const LOCK_FILE: &str = ".lock~";
/// How long to wait for another process to give the directory up: as in a rolling update, where the
/// old one is still stopping.
const LOCK_WAIT: Duration = Duration::from_secs(2);
/// How often a held lock is tried again; there is no way to wait for one with a deadline.
const LOCK_RETRY: Duration = Duration::from_millis(50);

/// The lock. The kernel drops it with the last handle of the open file, also if the process is killed.
#[derive(Debug)]
pub(super) struct DirLock {
    _file: File,
}

impl DirLock {
    /// Takes an existing directory; `None` if somebody else keeps it for as long as this waits.
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
                return Err(std::io::ErrorKind::InvalidInput.into());
            }
            match file.try_lock() {
                // Whoever removed the file meanwhile would let the next one lock another.
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
