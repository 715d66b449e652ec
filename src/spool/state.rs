//! The transactional, cold part of the spool: cursors, dead letters and the event types seen.
//!
//! One redb file beside the log's segments, and the only user of redb. Its one promise: a dead
//! letter and the cursor that passes it are committed together, durably, or not at all; a segment
//! may be unlinked once the commit that passes it has returned. Nothing here is on the hot path,
//! and nothing here decides: whoever commits knows why.
//!
//! **Every call blocks** on the disk: call from a blocking thread.

mod dead_letters;
mod row;
mod types_seen;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use redb::{
    Database, DatabaseError, ReadTransaction, ReadableDatabase, ReadableTable, StorageError, TableDefinition,
    WriteTransaction,
};

use crate::event::Position;

pub use row::{DeadCount, DeadFilter, DeadLetterInfo, NewDeadLetter, Progress, Reassessment, TypeSeen};
pub use types_seen::{OTHER_TYPE, TYPE_NAME_BYTES_MAX, TYPE_NAMES_MAX};

/// The file's name in the spool directory.
pub const FILE_NAME: &str = "state.redb";

/// The layout of the tables; one more for every change that an older release would misread.
const FORMAT: u64 = 1;
/// The library would take up to 1 GiB. Cursors are few, and dead letters are read rarely.
const CACHE_BYTES: usize = 8 << 20;

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
pub struct State(Arc<Open>);

struct Open {
    /// There until it is dropped. Locked for writing only while the file is made smaller.
    database: RwLock<Option<Database>>,
    path: PathBuf,
}

impl Drop for Open {
    fn drop(&mut self) {
        // Closing writes, and so meets damage like everything else.
        let _: Result<(), redb::Error> = contained(|| {
            drop(self.database.get_mut().unwrap_or_else(PoisonError::into_inner).take());
            Ok(())
        });
    }
}

impl State {
    /// Opens the state file, or makes an empty one.
    ///
    /// # Errors
    /// See [`StateError`]. A file of a later format is not touched.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        match Self::open_existing(path) {
            Err(StateError::Missing(_)) => {
                create(path).map_err(|error| classify(path, error))?;
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
        refuse_newer(path)?;
        let opened = contained(|| Ok(redb::Builder::new().set_cache_size(CACHE_BYTES).open(path)?));
        let database = opened.map_err(|error| classify(path, error))?;
        let state = Self(Arc::new(Open { database: RwLock::new(Some(database)), path: path.to_owned() }));
        match state.read(format_of)? {
            FORMAT => state.reclaim().map(|()| state),
            found if found > FORMAT => Err(StateError::Newer { path: path.to_owned(), found }),
            found => Err(StateError::Damaged { path: path.to_owned(), found: format!("format {found}") }),
        }
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
        self.read(|read| {
            let mut cursors = Vec::new();
            for row in read.open_table(CURSORS)?.iter()? {
                let (sink, cursor) = row?;
                cursors.push((sink.value().to_owned(), checked_cursor(sink.value(), cursor.value())?));
            }
            Ok(cursors)
        })
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
        self.write(|write| {
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

    /// The file's size in bytes.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn file_bytes(&self) -> Result<u64, StateError> {
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
        let compacted = contained(|| {
            let mut database = self.0.database.write().map_err(|_| closed())?;
            database.as_mut().ok_or_else(closed)?.compact()?;
            Ok(())
        });
        compacted.map_err(|error| classify(&self.0.path, error))
    }

    fn database(&self) -> Result<RwLockReadGuard<'_, Option<Database>>, redb::Error> {
        self.0.database.read().map_err(|_| closed())
    }

    fn read<T>(&self, f: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error>) -> Result<T, StateError> {
        let result = contained(|| f(&self.database()?.as_ref().ok_or_else(closed)?.begin_read()?));
        result.map_err(|error| classify(&self.0.path, error))
    }

    fn write<T>(&self, f: impl FnOnce(&WriteTransaction) -> Result<T, redb::Error>) -> Result<T, StateError> {
        let result = contained(|| {
            let database = self.database()?;
            let write = database.as_ref().ok_or_else(closed)?.begin_write()?;
            let value = f(&write)?;
            // Commits of the default durability return after an fsync.
            write.commit()?;
            Ok(value)
        });
        result.map_err(|error| classify(&self.0.path, error))
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("State").field(&self.0.path).finish()
    }
}

/// Makes an empty state file. It appears under its name only when it is whole, so that a crash on
/// the way leaves nothing that a later start would have to call damaged.
fn create(path: &Path) -> Result<(), redb::Error> {
    let unfinished = path.with_extension("redb.new");
    // Bodies are kept in here: nobody else's business.
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&unfinished)?;
    let database = redb::Builder::new().set_cache_size(CACHE_BYTES).create_file(file)?;
    let write = database.begin_write()?;
    write.open_table(META)?.insert("format", FORMAT)?;
    write.open_table(CURSORS)?;
    dead_letters::create_tables(&write)?;
    types_seen::create_tables(&write)?;
    write.commit()?;
    drop(database);
    fs::rename(&unfinished, path)?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(dir)?.sync_all()?;
    Ok(())
}

/// Looks at the format without writing: opening for writing already changes a redb file.
fn refuse_newer(path: &Path) -> Result<(), StateError> {
    if !path.try_exists().map_err(|source| StateError::Io { path: path.to_owned(), source })? {
        return Err(StateError::Missing(path.to_owned()));
    }
    let found = contained(|| {
        match redb::Builder::new().set_cache_size(CACHE_BYTES).open_read_only(path) {
            Ok(database) => format_of(&database.begin_read()?),
            // Not closed in order, which only a release that could open it can have done.
            Err(DatabaseError::RepairAborted) => Ok(FORMAT),
            Err(error) => Err(error.into()),
        }
    });
    match found.map_err(|error| classify(path, error))? {
        found if found > FORMAT => Err(StateError::Newer { path: path.to_owned(), found }),
        _ => Ok(()),
    }
}

/// The library follows the numbers in its pages, and panics when damage leads it astray.
fn contained<T>(f: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, redb::Error> {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|_| Err(corrupted("its pages contradict each other")))
}

fn format_of(read: &ReadTransaction) -> Result<u64, redb::Error> {
    let format = read.open_table(META)?.get("format")?;
    format.map(|format| format.value()).ok_or_else(|| corrupted("it has no format"))
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

fn closed() -> redb::Error {
    redb::Error::DatabaseClosed
}

fn corrupted(what: impl ToString) -> redb::Error {
    redb::Error::from(StorageError::Corrupted(what.to_string()))
}

fn classify(path: &Path, error: redb::Error) -> StateError {
    let path = path.to_owned();
    match error {
        redb::Error::DatabaseAlreadyOpen => StateError::Locked(path),
        redb::Error::Io(source) if source.kind() == io::ErrorKind::NotFound => StateError::Missing(path),
        // The library reports a file that is too short or not its own as these.
        redb::Error::Io(source)
            if matches!(source.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) =>
        {
            StateError::Damaged { path, found: source.to_string() }
        }
        redb::Error::Io(source) => StateError::Io { path, source },
        redb::Error::PreviousIo => {
            StateError::Io { path, source: io::Error::other("an earlier write or fsync failed") }
        }
        other => StateError::Damaged { path, found: other.to_string() },
    }
}

#[cfg(test)]
mod tests;
