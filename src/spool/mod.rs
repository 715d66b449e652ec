//! The spool: a durable, bounded log between sources and sinks.
//!
//! A source appends and may say yes when the answer comes: the record is then on stable storage.
//! A dispatcher reads on from its own cursor and settles. Nobody else touches the directory.
//!
//! ```text
//! Spool::append ─▶ writer (one thread) ─▶ committer: window? encode, write, fdatasync ─▶ answers
//!                                            │ durable
//!                                            ▼
//! Spool::read ◀── tail (memory) or segments (disk, over the sparse index of the catalogue)
//! ```
//!
//! Invariants: nothing is answered before it is durable; nothing is trusted after a failed fsync;
//! disk and memory are bounded, and at the bound appends are refused, never records dropped; damage
//! is contained and counted, never silent. It knows no cursors: their owner tells what is settled.
//! Replicas may share a duplicate window: it is asked before an append waits for the writer.

pub mod codec;
pub mod options;
pub mod verify;

mod committer;
mod dir_lock;
mod failure;
mod frame;
mod log;
mod lost;
mod noted;
mod read;
mod recovery;
mod scan;
mod segment;
mod segments;
mod shared_log;
mod tail;
mod writer;

use std::path::PathBuf;

use crate::event::{Entry, Position};

pub use committer::{Append, Committer};
pub use dir_lock::{LockedDir, lock_to_read};
pub use failure::{SpoolFailure, Taken};
pub use log::Spool;
pub use options::{RECORD_BYTES_MAX, SpoolOptions};
pub use recovery::{Damage, Recovery};
pub use shared_log::SharedLog;

/// What became of an append. Either way the event is on stable storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It is the record at this position.
    Stored(Position),
    /// An earlier copy, within the duplicate window, is.
    Duplicate,
}

/// Why an append was refused. Nothing is stored, and nothing remembered of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// It will never fit: refuse it for good.
    #[error("entry is longer than {RECORD_BYTES_MAX} bytes")]
    TooLarge,
    /// Not now: ask for it again later.
    #[error("spool cannot store: {reason}")]
    Full {
        /// A short, bounded word for metrics and people.
        reason: &'static str,
    },
    /// The disk can no longer be trusted, or the writer has ended: stop.
    #[error("spool has failed")]
    Failed,
}

/// Records that a reader asked for.
#[derive(Clone, Debug, Default)]
pub struct RecordBatch {
    /// Records in order, by position.
    pub entries: Vec<(Position, Entry)>,
    /// How far the reader has got: read on behind this. Never before the last entry.
    pub through: Position,
    /// Positions behind `after` and up to `through` that have no entry here, because they are
    /// damaged, lost or pruned.
    pub damaged: u64,
}

/// Why nothing can be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The spool was closed or has failed, and all that is durable has been read: stop.
    #[error("spool has stopped")]
    Stopped,
    /// Reading failed for want of something other than good sectors: try again.
    #[error("cannot read segment {path}")]
    Io {
        /// The segment's file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Why a spool cannot be opened. Its directory is as it was.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// Another process has it: exit code 75, try again when that one has ended.
    #[error("spool directory {0} is in use by another process, expected to be its only user")]
    Locked(PathBuf),
    /// A later release wrote it: use that one.
    #[error("segment {path} has format {found}, expected at most {newest}", newest = segment::FORMAT_VERSION)]
    NewerFormat {
        /// The segment's file.
        path: PathBuf,
        /// The format it is in.
        found: u32,
    },
    /// The disk failed: exit code 74.
    #[error("cannot {what} {path}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// With which file or directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// How much a spool may still write, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// What may still be written, by the bound of the spool and that of the disk.
    pub left: u64,
    /// That, and what can not give way to it.
    pub whole: u64,
}

/// What a spool takes up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of all segments.
    pub bytes: u64,
    /// Bytes of the owner's other files.
    pub other_bytes: u64,
    /// Bytes that both may take together.
    pub bytes_max: u64,
    /// Segment files.
    pub segments: usize,
    /// The oldest position that is kept.
    pub first: Position,
    /// The newest durable position.
    pub head: Position,
    /// Bytes the file system had left when the writer last looked.
    pub free_bytes: u64,
    /// Keys in the duplicate window.
    pub window_events: usize,
}
