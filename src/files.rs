//! The identity of files, and locks on files, for the spool's directory and the file sink.

use std::fs::{self, File, Metadata, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::Errno;

/// The pause before a lock that somebody else holds is tried again; the system cannot wait for a lock with a
/// deadline.
const LOCK_RETRY: Duration = Duration::from_millis(50);

/// The identity of a file: while the file is open, no other one has the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileId {
    /// The device number of the file system.
    pub device: u64,
    /// The file's number in its file system.
    pub inode: u64,
}

impl From<&Metadata> for FileId {
    fn from(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

impl FileId {
    /// The identity of an open file, whatever its name is by now.
    pub fn of(file: &File) -> io::Result<Self> {
        Ok(Self::from(&file.metadata()?))
    }

    /// The identity of what has this name, which can be a symbolic link.
    pub fn at(path: &Path) -> io::Result<Self> {
        Ok(Self::from(&fs::symlink_metadata(path)?))
    }

    /// The identity of what this path leads to, through symbolic links.
    pub fn behind(path: &Path) -> io::Result<Self> {
        Ok(Self::from(&fs::metadata(path)?))
    }
}

/// Whether an attempt to lock a file succeeded; `false` if somebody else holds the lock.
///
/// # Errors
/// When the file cannot be locked at all, with an explanation if the file system gives no locks.
pub fn has_lock(attempt: Result<(), TryLockError>) -> io::Result<bool> {
    match attempt {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(explained(error)),
    }
}

fn explained(error: io::Error) -> io::Error {
    match Errno::from_io_error(&error) {
        Some(Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS) => io::Error::new(
            error.kind(),
            format!(
                "its file system gives no lock ({error}): NFS needs version 4, or the mount option local_lock"
            ),
        ),
        _ => error,
    }
}

/// Repeats the attempt until it returns something, or until `patience` is over; at least once.
///
/// # Errors
/// The first error of an attempt.
pub fn attempt_for<T>(
    patience: Duration,
    mut attempt: impl FnMut() -> io::Result<Option<T>>,
) -> io::Result<Option<T>> {
    let deadline = Instant::now() + patience;
    loop {
        match attempt()? {
            Some(got) => return Ok(Some(got)),
            None if Instant::now() >= deadline => return Ok(None),
            None => std::thread::sleep(LOCK_RETRY),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_itself_and_not_by_its_name() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, link) = (dir.path().join("file"), dir.path().join("link"));
        let file = File::create(&path).expect("made");
        std::os::unix::fs::symlink(&path, &link).expect("made");
        let id = FileId::of(&file).expect("known");
        assert_eq!((FileId::at(&path).ok(), FileId::behind(&link).ok()), (Some(id), Some(id)));
        assert_ne!(FileId::at(&link).ok(), Some(id));
        fs::rename(&path, dir.path().join("elsewhere")).expect("moved");
        File::create(&path).expect("made");
        assert_eq!(FileId::of(&file).ok(), Some(id));
        assert_ne!(FileId::at(&path).ok(), Some(id));
    }

    #[test]
    fn a_lock_is_waited_for_and_one_that_cannot_be_is_said_at_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let open = || File::create(dir.path().join("lock")).expect("made");
        let (held, other) = (open(), open());
        assert!(has_lock(held.try_lock()).expect("locked"));
        let mut attempts = 0;
        let got = attempt_for(Duration::from_secs(60), || {
            attempts += 1;
            if attempts == 3 {
                held.unlock()?;
            }
            Ok(has_lock(other.try_lock())?.then_some(attempts))
        });
        assert_eq!(got.expect("no error"), Some(3));
        assert_eq!(
            attempt_for(Duration::ZERO, || Ok(has_lock(held.try_lock())?.then_some(()))).ok(),
            Some(None)
        );

        let refused = || Err(TryLockError::Error(io::Error::from(Errno::NOLCK)));
        let error = attempt_for(Duration::from_secs(60), || Ok(has_lock(refused())?.then_some(())));
        let said = error.expect_err("no lock at all").to_string();
        assert!(said.contains("gives no lock") && said.contains("NFS needs version 4"), "{said}");
    }
}
