//! The state of the bridge: cursors, dead letters, the event types seen and their shapes, the paused sinks,
//! the replays and the configurations.
//!
//! The state is one redb file beside the log's segments; nothing else uses redb. Its one promise: a dead
//! letter and the cursor that passes it are committed together, durably, or not at all; so a segment can be
//! removed once the commit that passes it has returned. Want of space is no failure: committed rows stay,
//! and a caller that could not commit tries again. Nothing here is on the hot path, and nothing here
//! decides: the callers know why they commit.
//!
//! **Every call blocks** on the disk: call from a blocking thread.

mod configurations;
mod cursor_owner;
mod dead_groups;
mod dead_letters;
mod file;
mod no_space;
mod paused;
mod replays;
mod row;
mod shapes;
mod storage;
mod types_seen;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use redb::{ReadTransaction, ReadableTable, TableDefinition, WriteTransaction};

use crate::disk::named_file::NamedFile;
use crate::disk::{Disk, RealDisk, RealFile};
use crate::event::Position;
use crate::telemetry::Metrics;
use file::{StateFile, corrupted};

pub use configurations::{BegunConfiguration, CONFIGURATIONS_MAX, ConfigurationRow, WhenFull};
pub use cursor_owner::CursorOwner;
pub use dead_groups::{DeadGroup, DeadGroups};
pub use no_space::Shortage;
pub use paused::PausedSince;
pub use replays::{ReplayRow, ReplaySelection, ReplayState};
pub use row::{DeadCount, DeadFilter, DeadLetterInfo, NewDeadLetter, Progress, Reassessment, TypeSeen};
pub use shapes::{ChangeShown, KnownShape, SHAPES_MAX, ShapeRow};
pub use types_seen::{OTHER_TYPE, TYPE_NAME_BYTES_MAX, TYPE_NAMES_MAX};

/// The file's name in the spool directory.
pub const FILE_NAME: &str = crate::spool::STATE_FILE;

/// The version of the tables' layout: it rises with every change that an older release would misread.
const FORMAT: u64 = 1;

/// The newest format of the state file that this release reads, and the one that it writes.
pub const NEWEST_FORMAT: u64 = FORMAT;

/// A file is not compacted up to this size (64 MiB) beyond what its dead letters need.
const SLACK_BYTES: u64 = 64 << 20;
/// A file is not compacted while it is no larger than this many times what its dead letters need: the library
/// takes pages in powers of two, and can use up to three times the bytes of the rows.
const FREE_FACTOR: u64 = 4;
/// About how many bytes a dead letter needs besides its payload.
const ROW_BYTES: u64 = 1 << 10;

/// `format`, `last_dead_letter`, `type_names`.
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
/// Sink → its cursor, and a checksum of both: the library verifies its pages only when it repairs, and a
/// cursor that is read wrong loses events silently.
const CURSORS: TableDefinition<&str, (u64, u32)> = TableDefinition::new("cursors");

/// Why the state cannot be used. Each error asks for another remedy.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A later release wrote the file, which is unchanged: exit code 78.
    #[error("state file {path} has format {found}, expected at most {FORMAT}: run the release that wrote it")]
    Newer {
        /// The file.
        path: PathBuf,
        /// The format version in the file.
        found: u64,
    },
    /// Another process has the file open: exit code 75.
    #[error("state file {0} is in use by another process, expected to be its only user")]
    Locked(PathBuf),
    /// There is no such file, and the call does not make one.
    #[error("state file {0} does not exist: nothing has run in this spool directory")]
    Missing(PathBuf),
    /// The content cannot be read.
    #[error(
        "state file {path} is damaged ({found}): restore it from a backup, or move it away and start again: \
         its dead letters are then lost, and every event that the spool still holds is delivered again"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with the file.
        found: String,
    },
    /// The file cannot be written for now, for want of space, of descriptors or of an answer from its disk:
    /// all that was committed before is there, and the write can be tried again.
    #[error(
        "state file {path} cannot be written for now, and nothing is lost: if its file system or the quota \
         is full, free space"
    )]
    NoRoom {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file was removed or replaced under the bridge: exit code 74, or 78 if a person has to move its
    /// content before the next start.
    #[error("{text}")]
    Gone {
        /// What happened, and what a person has to do.
        text: String,
        /// Whether the next start would begin without its content.
        needs_person: bool,
    },
    /// The disk failed, and nothing written since can be trusted: exit code 74.
    #[error(
        "state file {path} cannot be read or written: check the disk, its space and permissions, then restart"
    )]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The open state file. Clones share it; the last one dropped closes it.
#[derive(Clone)]
pub struct State {
    file: Arc<StateFile>,
}

impl State {
    /// Checks, without changing a byte, that no later release wrote the state file. It need not exist.
    ///
    /// # Errors
    /// [`StateError::Newer`] if one did; also when the file cannot be read.
    pub fn refuse_newer(path: &Path) -> Result<(), StateError> {
        match file::refuse_newer(path) {
            Err(StateError::Missing(_)) => Ok(()),
            refused => refused,
        }
    }

    /// Opens the state file, or makes an empty one.
    ///
    /// # Errors
    /// See [`StateError`]. A file of a later format is not touched.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        match Self::open_existing(path) {
            Err(StateError::Missing(_)) => {
                file::create(path, create_tables)?;
                Self::open_existing(path)
            }
            opened => opened,
        }
    }

    /// Opens the state file of an earlier run.
    ///
    /// # Errors
    /// See [`StateError`]. A file of a later format is not touched.
    pub fn open_existing(path: &Path) -> Result<Self, StateError> {
        file::refuse_newer(path)?;
        let io = |source| StateError::Io { path: path.to_owned(), source };
        let (opener, file) = storage::file(path).map_err(io)?;
        let named = named(path, file).map_err(io)?;
        let state = Self::opened(path, StateFile::open(path, opener, Some(named))?)?;
        state.reclaim()?;
        Ok(state)
    }

    fn opened(path: &Path, file: StateFile) -> Result<Self, StateError> {
        let state = Self { file: Arc::new(file) };
        match state.file.read(format_of)? {
            FORMAT => Ok(state),
            found if found > FORMAT => Err(StateError::Newer { path: path.to_owned(), found }),
            found => Err(StateError::Damaged { path: path.to_owned(), found: format!("format {found}") }),
        }
    }

    /// Counts every write that finds no space in these metrics, from now on.
    pub fn count_in(&self, metrics: &Metrics) {
        self.file.space.count_in(metrics.state_no_room.clone());
    }

    /// The writes that wait for space, if any do. They are tried again until they take effect.
    pub fn shortage(&self) -> Option<Shortage> {
        self.file.space.shortage(Instant::now())
    }

    /// How long the transaction that is being written has been waiting for the disk; `None` if there is none.
    pub fn outstanding(&self) -> Option<Duration> {
        self.file.outstanding.elapsed()
    }

    /// A sink's cursor; `None` if it never committed one.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn cursor(&self, sink: &str) -> Result<Option<Position>, StateError> {
        self.file.read(|read| {
            let cursor = read.open_table(CURSORS)?.get(sink)?;
            cursor.map(|row| checked_cursor(sink, row.value())).transpose()
        })
    }

    /// All cursors by sink, including those of sinks that are no longer configured.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn cursors(&self) -> Result<Vec<(String, Position)>, StateError> {
        self.file.read(cursors)
    }

    /// All cursors in the file of an earlier run, without changing a byte of it.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn cursors_left(path: &Path) -> Result<Vec<(String, Position)>, StateError> {
        file::refuse_newer(path)?;
        match file::peek(path, cursors)? {
            Some(cursors) => Ok(cursors),
            None => StateFile::open_copy(path)?.read(cursors),
        }
    }

    /// Opens the state file of an earlier run for reading only. No byte of it is changed, so it can lie on a
    /// read-only file system: a copy of it is read, in the directory for temporary files.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn open_to_read(path: &Path) -> Result<Self, StateError> {
        file::refuse_newer(path)?;
        Self::opened(path, StateFile::open_copy(path)?)
    }

    /// The same without a lock on the file, so that a bridge can open it meanwhile. Whoever reads a snapshot
    /// makes sure afterwards that none has.
    ///
    /// # Errors
    /// See [`StateError`]; [`StateError::Locked`] if the file was written meanwhile.
    pub fn open_snapshot(path: &Path) -> Result<Self, StateError> {
        Self::opened(path, StateFile::open_snapshot(path)?)
    }

    /// Commits cursors, together with the dead letters that they pass, in one durable transaction: all of it
    /// is on stable storage when this returns, or none of it is.
    ///
    /// Repeating a commit is harmless: a dead letter is known by its sink and position, and stored once. A
    /// cursor is also allowed to move back. Quarantined deliveries have no sink, so only one reader may
    /// commit them.
    ///
    /// # Errors
    /// See [`StateError`]. After an error it is unknown whether the transaction took effect.
    pub fn commit(&self, progress: &[Progress]) -> Result<(), StateError> {
        let who: Vec<&str> = progress.iter().map(|step| step.sink.as_str()).collect();
        self.file.write(&who, |write| {
            let mut cursors = write.open_table(CURSORS)?;
            for step in progress {
                let checksum = cursor_checksum(&step.sink, step.cursor.0);
                cursors.insert(step.sink.as_str(), (step.cursor.0, checksum))?;
            }
            if progress.iter().any(|step| !step.dead.is_empty()) {
                dead_letters::add(write, progress.iter().flat_map(|step| &step.dead))?;
            }
            Ok(())
        })
    }

    /// Checks that the file still has its name. If not, its content is put back under its name, and nothing
    /// can be read or written any more.
    ///
    /// # Errors
    /// [`StateError::Gone`].
    pub fn look(&self) -> Result<(), StateError> {
        self.file.look()
    }

    /// The file's size in bytes.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn file_bytes(&self) -> Result<u64, StateError> {
        self.look()?;
        let path = &self.file.path;
        let metadata = fs::metadata(path).map_err(|source| StateError::Io { path: path.clone(), source })?;
        Ok(metadata.len())
    }

    /// Compacts the file if most of it is free. The library reuses free pages and never gives them back, but
    /// the file counts towards the spool's `bytes_max`: after a great many dead letters were dropped, there
    /// would be no capacity for events.
    fn reclaim(&self) -> Result<(), StateError> {
        let used: u64 =
            self.dead_letter_counts()?.iter().map(|count| count.bytes + count.count * ROW_BYTES).sum();
        if self.file_bytes()? <= SLACK_BYTES + used.saturating_mul(FREE_FACTOR) {
            return Ok(());
        }
        match self.file.compact() {
            // Compacting needs space itself, to move pages. The next start or drop tries again.
            Err(StateError::NoRoom { .. }) => Ok(()),
            compacted => compacted,
        }
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("State").field(&self.file.path).finish()
    }
}

fn named(path: &Path, file: fs::File) -> io::Result<NamedFile> {
    let disk = Arc::new(RealDisk::default());
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    NamedFile::of(disk.clone(), disk.dir_id(dir)?, path.to_owned(), Arc::new(RealFile(file)))
}

fn create_tables(write: &WriteTransaction) -> Result<(), redb::Error> {
    write.open_table(META)?.insert("format", FORMAT)?;
    write.open_table(CURSORS)?;
    dead_letters::create_tables(write)?;
    types_seen::create_tables(write)
}

fn format_of(read: &ReadTransaction) -> Result<u64, redb::Error> {
    let format = read.open_table(META)?.get("format")?;
    format.map(|format| format.value()).ok_or_else(|| corrupted("it has no format version"))
}

fn cursors(read: &ReadTransaction) -> Result<Vec<(String, Position)>, redb::Error> {
    let mut cursors = Vec::new();
    for row in read.open_table(CURSORS)?.iter()? {
        let (sink, cursor) = row?;
        cursors.push((sink.value().to_owned(), checked_cursor(sink.value(), cursor.value())?));
    }
    Ok(cursors)
}

fn cursor_checksum(sink: &str, cursor: u64) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&cursor.to_le_bytes()), sink.as_bytes())
}

fn checked_cursor(sink: &str, (cursor, checksum): (u64, u32)) -> Result<Position, redb::Error> {
    if checksum == cursor_checksum(sink, cursor) {
        Ok(Position(cursor))
    } else {
        Err(corrupted(format!("the cursor of sink `{sink}` does not match its checksum")))
    }
}

#[cfg(test)]
mod tests;
