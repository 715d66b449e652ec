//! Why the spool does not do what it was asked for.

use std::io;
use std::path::{Path, PathBuf};

use super::options::ENTRY_BYTES_MAX;
use super::segment;

/// Why an append was refused. The entry is not stored, and its duplicate key is not remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The entry will never fit: refuse it for good.
    #[error("entry is longer than {ENTRY_BYTES_MAX} bytes")]
    TooLarge,
    /// The spool cannot store anything now: append the entry again later.
    #[error("spool cannot store: {reason}")]
    Full {
        /// A short, bounded word for metrics and people.
        reason: &'static str,
    },
    /// The disk can no longer be trusted, or the writer has ended: stop.
    #[error("spool has failed: nothing is stored until the next start")]
    Failed,
}

/// Why nothing can be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The spool was closed or has failed, and all that is durable has been read: stop.
    #[error("spool has stopped")]
    Stopped,
    /// Reading failed for another reason than a bad sector: try again.
    #[error("cannot read segment {path}: {source}")]
    Io {
        /// The segment's file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Why a spool cannot be opened. Its directory is unchanged.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// Another process has locked the directory: exit code 75. Start again when that process has ended.
    #[error("spool directory {0} is in use by another process, expected to be its only user")]
    Locked(PathBuf),
    /// A later release wrote the segment: exit code 78.
    #[error(
        "segment {path} has format {found}, expected at most {newest}: run the release that wrote it",
        newest = segment::FORMAT_VERSION
    )]
    NewerFormat {
        /// The segment's file.
        path: PathBuf,
        /// The format version in its header.
        found: u32,
    },
    /// The disk failed: exit code 74.
    #[error("cannot {what} {path}")]
    Io {
        /// What was tried, as a verb with its object, for the message.
        what: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Makes the error for a disk call that failed, of what was tried and with which path.
pub(super) fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SpoolError {
    let path = path.to_owned();
    move |source| SpoolError::Io { what, path, source }
}
