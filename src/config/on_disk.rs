//! The file of a running bridge's configuration: read again when that is asked for, or when it changes.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use parking_lot::Mutex;

use super::aws_secrets::FetchedSecrets;
use super::load::{Loaded, load_bytes_with, read_configuration};
use super::{Config, Environment, Report};
use crate::reference::read_file;

/// A configuration file, and how it looked when it was last read.
#[derive(Debug)]
pub struct ConfigurationFile {
    path: PathBuf,
    read: Mutex<Option<FileStamp>>,
}

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileStamp {
    device: u64,
    inode: u64,
    modified: (i64, i64),
    bytes: u64,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read {}", .path.display())]
    Unreadable {
        /// Its path.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// It has errors.
    #[error("the configuration has errors and cannot be used")]
    Refused(Report),
}

impl ConfigurationFile {
    /// The file at this path. It is not read yet.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), read: Mutex::new(None) }
    }

    /// Its path, as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads and checks it against the process's environment, and asks AWS for the secrets that it keeps.
    /// Blocks on the disk, and on the network if there are such secrets.
    ///
    /// # Errors
    /// When it cannot be read, or has errors; if AWS cannot answer now, the errors say that they pass.
    pub fn load(&self) -> Result<Loaded, LoadError> {
        self.load_with(true)
    }

    /// The same for what needs no secret: AWS is not asked, as in [`load`](super::load()).
    ///
    /// # Errors
    /// When it cannot be read, or has errors.
    pub fn load_without_aws(&self) -> Result<Loaded, LoadError> {
        self.load_with(false)
    }

    fn load_with(&self, asks_aws: bool) -> Result<Loaded, LoadError> {
        // Looked at first: what is written while it is read is a change.
        *self.read.lock() = FileStamp::of(&self.path);
        let bytes = read_configuration(&self.path)
            .map_err(|source| LoadError::Unreadable { path: self.path.clone(), source })?;
        let now = SystemTime::now().into();
        let outside = Environment { env: &|name| std::env::var(name).ok(), read: &read_file, now };
        let path = self.path.to_string_lossy();
        let load = |fetched: Option<&FetchedSecrets>| {
            load_bytes_with(&path, &bytes, &outside, fetched).map_err(LoadError::Refused)
        };
        let loaded = load(None)?;
        if !asks_aws || loaded.config.aws_secrets.is_empty() {
            return Ok(loaded);
        }
        let Config { aws, aws_secrets, .. } = &loaded.config;
        load(Some(&FetchedSecrets::fetch(aws, aws_secrets)))
    }

    /// Whether the file is another one than was last read. One that is away is not: whoever replaces it may
    /// be about to put the new one there. Blocks on the disk.
    pub fn has_changed(&self) -> bool {
        let now = FileStamp::of(&self.path);
        now.is_some() && now != *self.read.lock()
    }
}

impl FileStamp {
    /// The stamp of a regular file; a pipe would be empty the second time.
    fn of(path: &Path) -> Option<Self> {
        let file = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
        Some(Self {
            device: file.dev(),
            inode: file.ino(),
            modified: (file.mtime(), file.mtime_nsec()),
            bytes: file.len(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_has_changed_once_it_is_another_one_or_was_written_and_not_while_it_is_away() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("fanbridge.yaml");
        let text = "sources: {}\n";
        fs::write(&path, text).expect("the directory takes a file");
        let file = ConfigurationFile::new(&path);
        assert!(matches!(file.load(), Err(LoadError::Refused(_))));
        assert!(!file.has_changed());

        let other = dir.path().join("other");
        fs::write(&other, text).expect("the directory takes a file");
        fs::remove_file(&path).expect("it is there");
        assert!(!file.has_changed(), "it is away");
        fs::rename(&other, &path).expect("it is there");
        assert!(file.has_changed(), "another file of the same text");
        assert!(file.load().is_err() && !file.has_changed());

        fs::write(&path, format!("{text}\n")).expect("it can be written");
        assert!(file.has_changed());
        fs::remove_file(&path).expect("it is there");
        let error = file.load().expect_err("it is away");
        assert!(error.to_string().starts_with("cannot read "), "{error}");
    }
}
