//! A directory that one sink has for itself, whatever name each of two sinks knows it by.

use std::fs::{File, OpenOptions};
use std::io::Result;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use crate::files::{FileId, attempt_for, has_lock};

/// The file whose lock makes a sink the directory's owner. No topic can have this name, and a reader
/// that looks for topics passes over what begins with a full stop.
const LOCK_FILE: &str = ".lock~";
/// How long to wait for another process to give the directory up: as in a rolling update, where the
/// old one is still stopping.
const LOCK_WAIT: Duration = Duration::from_secs(2);

/// The lock. The kernel drops it with the last handle of the open file, also if the process is killed.
#[derive(Debug)]
pub(super) struct DirLock {
    _file: File,
}

impl DirLock {
    /// Takes an existing directory; `None` if somebody else keeps it for as long as this waits.
    pub fn take(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join(LOCK_FILE);
        attempt_for(LOCK_WAIT, || {
            let file = open(&path)?;
            // Whoever removed the file meanwhile would let the next one lock another.
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
        return Err(std::io::ErrorKind::InvalidInput.into());
    }
    Ok(file)
}

fn has_name(file: &File, path: &Path) -> bool {
    matches!((FileId::of(file), FileId::at(path)), (Ok(file), Ok(path)) if file == path)
}
