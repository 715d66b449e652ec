//! The spool: a durable, bounded log between sources and sinks.
//!
//! A source appends an entry, and answers the provider once the append has been answered: the entry is
//! then on stable storage. A dispatcher reads on from its own cursor. No other process touches the
//! directory.
//!
//! ```text
//! Spool::append ─▶ writer (one thread) ─▶ committer: window? encode, write, fdatasync ─▶ answers
//!                                            │ durable
//!                                            ▼
//! Spool::read ◀── tail (memory) or segment files (disk, found by a sparse index)
//! ```
//!
//! Positions in the log (docs/ARCHITECTURE.md explains each of them; [`SharedLog`] asserts what the log
//! itself can know):
//!
//! ```text
//!  oldest ≤ … ≤ released ≤ min(committed cursors) ≤ committed ≤ settled prefix ≤ read ≤ durable head < next
//!               (retention may take)          per sink: durable    in memory       taken in    fdatasync'd
//! ```
//!
//! - `next` is the position that the next entry gets; `head` is the newest durable position.
//! - Segments up to `released` are removed when they are older than `retain` and the duplicate window.
//! - Segments up to `prunable_in_need`, which is never less than `released`, are removed only while the log
//!   is full. So `oldest` can pass the cursors of sinks with `on_full: detach_sink`, and no others.
//!
//! Invariants: nothing is answered before it is durable; nothing is trusted after a failed fsync;
//! disk and memory are bounded, and at the bound appends are refused, never entries dropped, except for
//! sinks that detach; damage is contained and counted, never silent. The spool knows no cursors: their
//! owner releases positions. Replicas can share a duplicate window: it is asked before an append waits for
//! the writer.

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

use std::io;
use std::path::{Path, PathBuf};

use crate::event::{Entry, Position};

pub use committer::{Append, Committer};
pub use dir_lock::{LockedDir, lock_to_read};
pub use failure::{MissingSegment, SpoolFailure};
pub use log::Spool;
pub use options::{ENTRY_BYTES_MAX, SpoolOptions};
pub use recovery::{Damage, Recovery};
pub use shared_log::SharedLog;

/// The file beside the segments in which the owner of the log keeps its state.
pub const STATE_FILE: &str = "state.redb";

/// What became of an append. Either way the event is on stable storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// The event was stored as the entry at this position.
    Stored(Position),
    /// An earlier copy of the event, within the duplicate window, is already stored.
    Duplicate,
}

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

/// Entries that a reader asked for.
#[derive(Clone, Debug, Default)]
pub struct EntryBatch {
    /// Entries in order, by position.
    pub entries: Vec<(Position, Entry)>,
    /// The position up to which everything is accounted for: read on behind it. Never less than the
    /// position of the last entry.
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

/// How many bytes a spool can still write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Bytes that can still be written, by `bytes_max` and by the free space of the file system.
    pub left: u64,
    /// `left` plus the bytes that cannot be pruned.
    pub whole: u64,
}

/// The space that a spool uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of all segments.
    pub bytes: u64,
    /// Bytes of the owner's other files.
    pub other_bytes: u64,
    /// The most bytes that both take together.
    pub bytes_max: u64,
    /// How many segment files there are.
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

/// Makes the error for a disk call that failed, of what was tried and with which path.
fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SpoolError {
    let path = path.to_owned();
    move |source| SpoolError::Io { what, path, source }
}
