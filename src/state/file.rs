//! The database file: opened, read and written, and opened again after a write that found no space.
//!
//! After an error of its storage, the library refuses everything until the file is opened again. After want
//! of space that is done here: the failed commit has left nothing behind, and all that was committed before
//! is there. After any other error nothing is tried again.

use parking_lot::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use redb::{
    Database, DatabaseError, ReadTransaction, ReadableDatabase, StorageBackend, StorageError,
    WriteTransaction,
};

use super::no_space::NoSpace;
use super::storage::{self, Opener, StorageCondition, Watch, Watched};
use super::{FORMAT, StateError, format_of};
use crate::disk::named_file::{Mended, NameFate, NamedFile, UNSEEN_MAX};
use crate::disk::open_itself;
use crate::disk::outstanding::Outstanding;
use crate::scarce::Scarce;

/// The library's cache in bytes (8 MiB; its default is 1 GiB): cursors are few, and dead letters are read
/// rarely.
const CACHE_BYTES: usize = 8 << 20;

/// An open database file.
pub(super) struct StateFile {
    slot: RwLock<Slot>,
    opener: Opener,
    pub(super) space: NoSpace,
    pub(super) outstanding: Outstanding,
    /// The file with its name, if it is one that is written.
    named: Option<NamedFile>,
    /// When the system first did not say whether the file is there; `None` while it does.
    unseen_since: Mutex<Option<Instant>>,
    /// What became of the file, once it has lost its name: nothing is read or written any more.
    gone: OnceLock<Mended>,
    pub(super) path: PathBuf,
}

/// The open database. It is locked for writing only while the file is opened again or compacted.
struct Slot {
    /// `None` after opening the file again has failed, and while this is dropped.
    database: Option<Database>,
    watch: Arc<Watch>,
}

impl Slot {
    fn is_sound(&self) -> bool {
        self.database.is_some() && self.watch.condition() == StorageCondition::Sound
    }
}

impl Drop for StateFile {
    fn drop(&mut self) {
        close(self.slot.get_mut());
    }
}

impl StateFile {
    /// Opens the file that the opener opens. Errors name `path`. A file that is written has to keep its
    /// name: `named` is for checking that.
    pub(super) fn open(path: &Path, opener: Opener, named: Option<NamedFile>) -> Result<Self, StateError> {
        let watch = Arc::new(Watch::default());
        let database = database(&opener, &watch).map_err(|error| classify(path, error, &watch))?;
        let slot = RwLock::new(Slot { database: Some(database), watch });
        let (space, outstanding, gone) = (NoSpace::default(), Outstanding::default(), OnceLock::new());
        let unseen_since = Mutex::default();
        Ok(Self { slot, opener, space, outstanding, named, unseen_since, gone, path: path.to_owned() })
    }

    /// Opens a copy of the file, so that a file that was not closed in order can be repaired without being
    /// changed.
    pub(super) fn open_copy(path: &Path) -> Result<Self, StateError> {
        Self::open_copied(path, storage::copy)
    }

    /// The same of a copy that is made without a lock.
    pub(super) fn open_snapshot(path: &Path) -> Result<Self, StateError> {
        Self::open_copied(path, storage::snapshot)
    }

    fn open_copied(path: &Path, copy: fn(&Path) -> io::Result<Opener>) -> Result<Self, StateError> {
        let copied = copy(path).map_err(|source| match source.kind() {
            io::ErrorKind::WouldBlock => StateError::Locked(path.to_owned()),
            io::ErrorKind::NotFound => StateError::Missing(path.to_owned()),
            _ => StateError::Io { path: path.to_owned(), source },
        });
        Self::open(path, copied?, None)
    }

    /// Checks that the file still has its name. If not, its content is put back under its name.
    pub(super) fn look(&self) -> Result<(), StateError> {
        self.is_there()?;
        let Some(named) = &self.named else { return Ok(()) };
        let fate = match named.look(None) {
            Ok(()) => {
                *self.unseen_since() = None;
                return Ok(());
            }
            // The caller tries again, as after want of space.
            Err(NameFate::Unknown(source)) if self.is_unseen_for_now(&source) => {
                return Err(StateError::NoRoom { path: self.path.clone(), source });
            }
            Err(fate) => fate,
        };
        let mut slot = self.slot_to_change();
        // Of several threads that find this out, one puts the file back.
        self.is_there()?;
        // A database is whole on disk only when it is closed.
        close(&mut slot);
        slot.watch.worsen(StorageCondition::Broken);
        let len = named.len().map_err(|source| StateError::Io { path: self.path.clone(), source })?;
        let mended = named.mend(&fate, len);
        tracing::error!(
            gone = mended.text,
            "the state file was removed or replaced: no cursor and no dead letter is committed any more, and \
             the bridge stops"
        );
        let _ = self.gone.set(mended);
        self.is_there()
    }

    /// Whether it is too early to give up on a file of which the system does not say whether it is there:
    /// want of descriptors or memory is waited for without limit, anything else up to [`UNSEEN_MAX`].
    fn is_unseen_for_now(&self, error: &io::Error) -> bool {
        let since = *self.unseen_since().get_or_insert_with(Instant::now);
        Scarce::of(error).is_some() || since.elapsed() < UNSEEN_MAX
    }

    fn unseen_since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.unseen_since.lock()
    }

    fn is_there(&self) -> Result<(), StateError> {
        match self.gone.get().cloned() {
            Some(Mended { text, needs_person }) => Err(StateError::Gone { text, needs_person }),
            None => Ok(()),
        }
    }

    pub(super) fn read<T>(
        &self,
        f: impl Fn(&ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StateError> {
        let once = || {
            self.is_there()?;
            self.mend()?;
            let slot = self.slot();
            let result = contained(|| f(&slot.database.as_ref().ok_or_else(closed)?.begin_read()?));
            result.map_err(|error| classify(&self.path, error, &slot.watch))
        };
        match once() {
            // Another thread's write found no space meanwhile. What is committed can be read all the same.
            Err(StateError::NoRoom { .. }) => once(),
            result => result,
        }
    }

    /// Changes the file in one transaction, which is durable when this returns. If there is no space, the
    /// writers `who` try again, and are listed as waiting until they have written; nobody is listed for a
    /// change that its caller does not repeat by itself.
    pub(super) fn write<T>(
        &self,
        who: &[&str],
        f: impl FnOnce(&WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StateError> {
        let begun = Instant::now();
        if !self.space.may_try(begun) {
            self.space.deferred(who);
            return Err(self.no_space());
        }
        // A commit to a file that has lost its name is not durable.
        let result = self.is_there().and_then(|()| self.mend()).and_then(|()| self.write_once(f));
        let result = result.and_then(|value| self.look().map(|()| value));
        match &result {
            Ok(_) => self.space.wrote(who, Instant::now()),
            Err(StateError::NoRoom { source, .. }) => {
                // The file is opened again at once, so that others can read, and so that the rest is as long
                // as this takes requires. If opening fails, the next read or write tries again.
                let _ = self.mend();
                let now = Instant::now();
                self.space.failed(who, source.to_string(), now.duration_since(begun), now);
            }
            Err(_) => {}
        }
        result
    }

    fn write_once<T>(
        &self,
        f: impl FnOnce(&WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StateError> {
        let slot = self.slot();
        let result = contained(|| {
            let write = slot.database.as_ref().ok_or_else(closed)?.begin_write()?;
            // There is one writer at a time.
            let _underway = self.outstanding.begin();
            let value = f(&write)?;
            // Commits of the default durability return after an fsync.
            write.commit()?;
            Ok(value)
        });
        result.map_err(|error| classify(&self.path, error, &slot.watch))
    }

    /// Gives free pages back to the file system.
    pub(super) fn compact(&self) -> Result<(), StateError> {
        self.mend()?;
        let mut slot = self.slot_to_change();
        let Slot { database, watch } = &mut *slot;
        let compacted = contained(|| {
            database.as_mut().ok_or_else(closed)?.compact()?;
            Ok(())
        });
        compacted.map_err(|error| classify(&self.path, error, watch))
    }

    /// Opens the file again after a write that found no space.
    fn mend(&self) -> Result<(), StateError> {
        if self.slot().is_sound() {
            return Ok(());
        }
        let mut slot = self.slot_to_change();
        match slot.watch.condition() {
            StorageCondition::Sound if slot.database.is_some() => return Ok(()),
            StorageCondition::Broken => {
                return Err(classify(&self.path, redb::Error::PreviousIo, &slot.watch));
            }
            StorageCondition::Sound | StorageCondition::Short => {}
        }
        if slot.database.is_none() && !self.space.may_try(Instant::now()) {
            return Err(self.no_space());
        }
        close(&mut slot);
        slot.watch = Arc::default();
        let opened = database(&self.opener, &slot.watch);
        slot.database = Some(opened.map_err(|error| match classify(&self.path, error, &slot.watch) {
            // A tool that reads the file has opened it in between, and will close it soon.
            StateError::Locked(path) => {
                StateError::NoRoom { path, source: io::Error::other("another process is reading the file") }
            }
            // Opening the file takes a descriptor, and there can be one again by the next time.
            StateError::Io { path, source } if Scarce::of(&source).is_some() => {
                StateError::NoRoom { path, source }
            }
            error => error,
        })?);
        Ok(())
    }

    fn no_space(&self) -> StateError {
        StateError::NoRoom { path: self.path.clone(), source: io::Error::other(self.space.detail()) }
    }

    fn slot(&self) -> RwLockReadGuard<'_, Slot> {
        self.slot.read()
    }

    fn slot_to_change(&self) -> RwLockWriteGuard<'_, Slot> {
        self.slot.write()
    }
}

fn database(opener: &Opener, watch: &Arc<Watch>) -> Result<Database, redb::Error> {
    let bytes = Watched::new(opener()?, Arc::clone(watch));
    if bytes.len()? == 0 {
        // The library would make a new database of an empty file.
        return Err(corrupted("it is empty"));
    }
    contained(|| Ok(redb::Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(bytes)?))
}

/// Closes the database, which writes to the file and so can panic on damage like any other call.
fn close(slot: &mut Slot) {
    let _: Result<(), redb::Error> = contained(|| {
        drop(slot.database.take());
        Ok(())
    });
}

/// Makes an empty state file, in which `fill` makes the tables. The file gets its name only when it is
/// whole, so that a crash on the way leaves nothing that a later start would have to call damaged.
pub(super) fn create(
    path: &Path,
    fill: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>,
) -> Result<(), StateError> {
    let create = || {
        let unfinished = path.with_extension("redb.new");
        // The file holds bodies of events, so only this user can read it.
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).mode(0o600);
        let file = open_itself(&mut options, &unfinished)?;
        let database = redb::Builder::new().set_cache_size(CACHE_BYTES).create_file(file)?;
        let write = database.begin_write()?;
        fill(&write)?;
        write.commit()?;
        drop(database);
        fs::rename(&unfinished, path)?;
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(dir)?.sync_all()?;
        Ok(())
    };
    create().map_err(|error| classify(path, error, &Watch::default()))
}

/// Checks, without writing, that no later release wrote the file.
pub(super) fn refuse_newer(path: &Path) -> Result<(), StateError> {
    match peek(path, format_of)? {
        Some(found) if found > FORMAT => Err(StateError::Newer { path: path.to_owned(), found }),
        // A file that was not closed in order needs repair to be read; opening it checks the format again.
        _ => Ok(()),
    }
}

/// Reads from a file without writing to it: opening a redb file for writing already changes it. `None` if
/// the file was not closed in order, because then it has to be repaired before it can be read.
pub(super) fn peek<T>(
    path: &Path,
    f: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error>,
) -> Result<Option<T>, StateError> {
    open_itself(OpenOptions::new().read(true), path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => StateError::Missing(path.to_owned()),
        _ => StateError::Io { path: path.to_owned(), source },
    })?;
    let found = contained(|| match redb::Builder::new().set_cache_size(CACHE_BYTES).open_read_only(path) {
        Ok(database) => f(&database.begin_read()?).map(Some),
        Err(DatabaseError::RepairAborted) => Ok(None),
        Err(error) => Err(error.into()),
    });
    found.map_err(|error| classify(path, error, &Watch::default()))
}

/// Runs a call of the library and makes an error of its panic: it follows the numbers in its pages, and
/// panics when damaged ones lead it astray.
fn contained<T>(f: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, redb::Error> {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|_| Err(corrupted("its pages contradict each other")))
}

pub(super) fn corrupted(what: impl ToString) -> redb::Error {
    redb::Error::from(StorageError::Corrupted(what.to_string()))
}

fn closed() -> redb::Error {
    redb::Error::DatabaseClosed
}

/// The state's error for an error of the library. After a write that found no space, every error counts as
/// want of space until the file is opened again, because the library fails all calls by then.
fn classify(path: &Path, error: redb::Error, watch: &Watch) -> StateError {
    let path = path.to_owned();
    if watch.condition() == StorageCondition::Short {
        let source = match error {
            redb::Error::Io(source) => source,
            other => io::Error::other(other),
        };
        return StateError::NoRoom { path, source };
    }
    match error {
        redb::Error::DatabaseAlreadyOpen => StateError::Locked(path),
        redb::Error::Io(source) if source.kind() == io::ErrorKind::NotFound => StateError::Missing(path),
        // The library reports a file that is too short, or that is no database, with these kinds.
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
