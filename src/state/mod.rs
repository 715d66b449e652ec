//! The transactional, cold part of the spool: cursors, dead letters and the event types seen.
//!
//! One redb file beside the log's segments, and the only user of redb. Its one promise: a dead
//! letter and the cursor that passes it are committed together, durably, or not at all; a segment
//! may be unlinked once the commit that passes it has returned. Want of room is no failure: what was
//! kept stays, and who could not commit tries again. Nothing here is on the hot path, and nothing
//! here decides: whoever commits knows why.
//!
//! **Every call blocks** on the disk: call from a blocking thread.

mod aside;
mod cursor_owner;
mod dead_letters;
mod file;
mod no_space;
mod row;
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

pub use cursor_owner::CursorOwner;
pub use no_space::Shortage;
pub use row::{DeadCount, DeadFilter, DeadLetterInfo, NewDeadLetter, Progress, Reassessment, TypeSeen};
pub use types_seen::{OTHER_TYPE, TYPE_NAME_BYTES_MAX, TYPE_NAMES_MAX};

/// The file's name in the spool directory.
pub const FILE_NAME: &str = "state.redb";

/// The layout of the tables; one more for every change that an older release would misread.
const FORMAT: u64 = 1;

/// A file up to this size is not made smaller.
const SLACK_BYTES: u64 = 64 << 20;
/// Nor is one up to so many times what its dead letters need: pages come in powers of two, and full
/// ones make up to three times.
const FREE_FACTOR: u64 = 4;
/// What a dead letter needs beside its payload, about.
const ROW_BYTES: u64 = 1 << 10;

/// `format`, `last_dead_letter`, `type_names`.
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
/// Sink → the end of its settled prefix, and the checksum of both: the library checks its pages
/// only when it repairs, and a cursor that is read wrong loses events silently.
const CURSORS: TableDefinition<&str, (u64, u32)> = TableDefinition::new("cursors");

/// Why the state cannot be used. Each asks for something different to be done.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A later release wrote the file. It is as it was.
    #[error("state file {path} has format {found}, expected at most {FORMAT}: run the release that wrote it")]
    Newer {
        /// The file.
        path: PathBuf,
        /// The format it is in.
        found: u64,
    },
    /// Another process has the file open: exit code 75.
    #[error("state file {0} is in use by another process, expected to be its only user")]
    Locked(PathBuf),
    /// There is no such file, and none was to be made.
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
        /// What is wrong with it.
        found: String,
    },
    /// There was no room for a write: all that was kept before is there, and the write may be tried
    /// again.
    #[error("no room to write state file {path}: make room on its file system, or raise the quota")]
    NoRoom {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is no longer what its name stands for: exit code 74, or 78 if a person has to move its bytes
    /// before the next start.
    #[error("{text}")]
    Gone {
        /// What became of the file and what a person has to do.
        text: String,
        /// Whether the next start would begin without its bytes.
        needs_person: bool,
    },
    /// The disk failed: nothing written since can be trusted, exit code 74.
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
pub struct State(Arc<StateFile>);

impl State {
    /// Looks, without changing a byte, whether an earlier or this release wrote the state file, if
    /// there is one.
    ///
    /// # Errors
    /// [`StateError::Newer`] when not; also when it cannot be read.
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

    /// Opens the state file that a bridge has left behind.
    ///
    /// # Errors
    /// See [`StateError`]. A file of a later format is not touched.
    pub fn open_existing(path: &Path) -> Result<Self, StateError> {
        file::refuse_newer(path)?;
        let io = |source| StateError::Io { path: path.to_owned(), source };
        let (opener, file) = storage::file(path).map_err(io)?;
        let place = place_of(path, file).map_err(io)?;
        Self::opened(path, StateFile::open(path, opener, Some(place))?)
    }

    fn opened(path: &Path, file: StateFile) -> Result<Self, StateError> {
        let state = Self(Arc::new(file));
        match state.read(format_of)? {
            FORMAT => state.reclaim().map(|()| state),
            found if found > FORMAT => Err(StateError::Newer { path: path.to_owned(), found }),
            found => Err(StateError::Damaged { path: path.to_owned(), found: format!("format {found}") }),
        }
    }

    /// Counts every write that finds no room in these metrics, from now on.
    pub fn count_in(&self, metrics: &Metrics) {
        self.0.room.count_in(metrics.state_no_room.clone());
    }

    /// What cannot be kept for want of room, if anything: it is tried again all the time.
    pub fn shortage(&self) -> Option<Shortage> {
        self.0.room.shortage(Instant::now())
    }

    /// How long the change that is being written has been out, if one is.
    pub fn outstanding(&self) -> Option<Duration> {
        self.0.outstanding.elapsed()
    }

    /// The end of a sink's settled prefix; `None` if it never committed one.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn cursor(&self, sink: &str) -> Result<Option<Position>, StateError> {
        self.read(|read| {
            let cursor = read.open_table(CURSORS)?.get(sink)?;
            cursor.map(|row| checked_cursor(sink, row.value())).transpose()
        })
    }

    /// All cursors by sink, also of sinks that are no longer configured.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn cursors(&self) -> Result<Vec<(String, Position)>, StateError> {
        self.read(cursors)
    }

    /// All cursors in the file that a bridge has left behind, of which no byte is changed.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn cursors_left(path: &Path) -> Result<Vec<(String, Position)>, StateError> {
        file::refuse_newer(path)?;
        match file::peek(path, cursors)? {
            Some(cursors) => Ok(cursors),
            None => {
                let io = |source| StateError::Io { path: path.to_owned(), source };
                StateFile::open(path, aside::file(path).map_err(io)?, None)?.read(cursors)
            }
        }
    }

    /// Opens the state file that a bridge has left behind to be read only: not a byte of it is changed, so
    /// that it may lie on a file system that takes no writes. What is written stays in memory.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn open_to_read(path: &Path) -> Result<Self, StateError> {
        file::refuse_newer(path)?;
        let io = |source| StateError::Io { path: path.to_owned(), source };
        let state = Self(Arc::new(StateFile::open(path, aside::file(path).map_err(io)?, None)?));
        match state.read(format_of)? {
            FORMAT => Ok(state),
            found if found > FORMAT => Err(StateError::Newer { path: path.to_owned(), found }),
            found => Err(StateError::Damaged { path: path.to_owned(), found: format!("format {found}") }),
        }
    }

    /// Moves cursors, together with the dead letters that they pass, in one durable transaction:
    /// all of it is on stable storage when this returns, or none of it is.
    ///
    /// May be repeated: a dead letter is known by its sink and position, and kept once. A cursor may
    /// move back. Quarantined deliveries have no sink: one reader alone may commit them.
    ///
    /// # Errors
    /// See [`StateError`]. After one it is unknown whether the transaction took effect.
    pub fn commit(&self, progress: &[Progress]) -> Result<(), StateError> {
        let who: Vec<&str> = progress.iter().map(|step| step.sink.as_str()).collect();
        self.0.write(&who, |write| {
            let mut cursors = write.open_table(CURSORS)?;
            for step in progress {
                let checksum = cursor_checksum(&step.sink, step.cursor.0);
                cursors.insert(step.sink.as_str(), (step.cursor.0, checksum))?;
            }
            if progress.iter().any(|step| !step.dead.is_empty()) {
                dead_letters::bury(write, progress.iter().flat_map(|step| &step.dead))?;
            }
            Ok(())
        })
    }

    /// Looks whether the file still has its name. If not, what it holds is put back under it, and
    /// nothing can be read or written any more.
    ///
    /// # Errors
    /// [`StateError::Gone`].
    pub fn look(&self) -> Result<(), StateError> {
        self.0.look()
    }

    /// The file's size in bytes.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn file_bytes(&self) -> Result<u64, StateError> {
        self.look()?;
        let path = &self.0.path;
        let metadata = fs::metadata(path).map_err(|source| StateError::Io { path: path.clone(), source })?;
        Ok(metadata.len())
    }

    /// Makes the file smaller if most of it is free. The library reuses what is free and never
    /// gives it back, but the file counts against the spool's bound: after a mountain of dead
    /// letters was dropped, the bridge would have no room for events.
    fn reclaim(&self) -> Result<(), StateError> {
        let used: u64 =
            self.dead_letter_counts()?.iter().map(|count| count.bytes + count.count * ROW_BYTES).sum();
        if self.file_bytes()? <= SLACK_BYTES + used.saturating_mul(FREE_FACTOR) {
            return Ok(());
        }
        match self.0.compact() {
            // Pages move before the file gets smaller. Another time will do.
            Err(StateError::NoRoom { .. }) => Ok(()),
            compacted => compacted,
        }
    }

    fn read<T>(&self, f: impl Fn(&ReadTransaction) -> Result<T, redb::Error>) -> Result<T, StateError> {
        self.0.read(f)
    }

    /// A change that nobody repeats of their own accord.
    fn write<T>(&self, f: impl FnOnce(&WriteTransaction) -> Result<T, redb::Error>) -> Result<T, StateError> {
        self.0.write(&[], f)
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("State").field(&self.0.path).finish()
    }
}

fn place_of(path: &Path, file: fs::File) -> io::Result<NamedFile> {
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
    format.map(|format| format.value()).ok_or_else(|| corrupted("it has no format"))
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
pub(crate) mod tests;
