//! The database file: opened, asked and changed, and opened again when it had no room.
//!
//! The library refuses everything after an error of its storage until the file is opened again. For
//! want of room that is done here: the commit that failed has left nothing behind, and all that was
//! committed before is there. After any other error nothing is tried again.

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
use super::storage::{Opener, StorageCondition, Watch, Watched};
use super::{FORMAT, StateError, format_of};
use crate::disk::named_file::{Mended, NameFate, NamedFile, UNSEEN_MAX};
use crate::disk::open_itself;
use crate::disk::outstanding::Outstanding;
use crate::scarce::Scarce;

/// The library would take up to 1 GiB. Cursors are few, and dead letters are read rarely.
const CACHE_BYTES: usize = 8 << 20;

/// An open database file.
pub(super) struct StateFile {
    slot: RwLock<Slot>,
    opener: Opener,
    pub(super) room: NoSpace,
    pub(super) outstanding: Outstanding,
    /// Where the file is, if it is one.
    place: Option<NamedFile>,
    /// Since when the system has not said whether it is there.
    unseen_since: Mutex<Option<Instant>>,
    /// What became of it, once it has lost its name: nothing is read or written any more.
    gone: OnceLock<Mended>,
    pub(super) path: PathBuf,
}

/// Locked for writing only while the file is opened again or made smaller.
struct Slot {
    /// Not there if opening it again failed, and when it is dropped.
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
    /// Opens the file whose bytes the opener has; the path is what errors call it, and the place is where
    /// it has to stay, if it is one that is written.
    pub(super) fn open(path: &Path, opener: Opener, place: Option<NamedFile>) -> Result<Self, StateError> {
        let watch = Arc::new(Watch::default());
        let database = database(&opener, &watch).map_err(|error| classify(path, error, &watch))?;
        let slot = RwLock::new(Slot { database: Some(database), watch });
        let (room, outstanding, gone) = (NoSpace::default(), Outstanding::default(), OnceLock::new());
        let unseen_since = Mutex::default();
        Ok(Self { slot, opener, room, outstanding, place, unseen_since, gone, path: path.to_owned() })
    }

    /// Looks whether the file still has its name. If not, its bytes are put back under it.
    pub(super) fn look(&self) -> Result<(), StateError> {
        self.is_there()?;
        let Some(place) = &self.place else { return Ok(()) };
        let fate = match place.look(None) {
            Ok(()) => {
                *self.unseen_since() = None;
                return Ok(());
            }
            // Whoever could not be told tries again, as for want of room.
            Err(NameFate::Unknown(source)) if self.may_be_unseen(&source) => {
                return Err(StateError::NoRoom { path: self.path.clone(), source });
            }
            Err(fate) => fate,
        };
        let mut slot = self.slot_to_change();
        // Of several who find out, one does something about it.
        self.is_there()?;
        // Closed, it is whole.
        close(&mut slot);
        slot.watch.worsen(StorageCondition::Broken);
        let len = place.len().map_err(|source| StateError::Io { path: self.path.clone(), source })?;
        let mended = place.mend(&fate, len);
        tracing::error!(gone = mended.text, "the state file is not what it was: nothing is kept any more");
        let _ = self.gone.set(mended);
        self.is_there()
    }

    /// Whether it may be unknown for now whether the file is there: for a while, or for want of something.
    fn may_be_unseen(&self, error: &io::Error) -> bool {
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
            // Somebody's write found no room meanwhile. What is there can be read all the same.
            Err(StateError::NoRoom { .. }) => once(),
            result => result,
        }
    }

    /// Changes the file, durably once this returns. `who` will try again if there is no room, and is
    /// named until that has been done.
    pub(super) fn write<T>(
        &self,
        who: &[&str],
        f: impl FnOnce(&WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StateError> {
        let begun = Instant::now();
        if !self.room.may_try(begun) {
            self.room.deferred(who);
            return Err(self.no_room());
        }
        // What was kept in a file that has lost its name is not kept.
        let result = self.is_there().and_then(|()| self.mend()).and_then(|()| self.write_once(f));
        let result = result.and_then(|value| self.look().map(|()| value));
        match &result {
            Ok(_) => self.room.wrote(who, Instant::now()),
            Err(StateError::NoRoom { source, .. }) => {
                // At once, so that others can read, and the rest is measured by what this takes.
                // If it fails, it is tried again when the file is next needed.
                let _ = self.mend();
                let now = Instant::now();
                self.room.failed(who, source.to_string(), now.duration_since(begun), now);
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

    /// Opens the file again if it had no room.
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
        if slot.database.is_none() && !self.room.may_try(Instant::now()) {
            return Err(self.no_room());
        }
        close(&mut slot);
        slot.watch = Arc::default();
        let opened = database(&self.opener, &slot.watch);
        slot.database = Some(opened.map_err(|error| match classify(&self.path, error, &slot.watch) {
            // A tool that looks at the file has come in between; it will be gone soon.
            StateError::Locked(path) => {
                StateError::NoRoom { path, source: io::Error::other("another process looks at the file") }
            }
            // Opening it takes a descriptor, which others may have given back by the next time.
            StateError::Io { path, source } if Scarce::of(&source).is_some() => {
                StateError::NoRoom { path, source }
            }
            error => error,
        })?);
        Ok(())
    }

    fn no_room(&self) -> StateError {
        StateError::NoRoom { path: self.path.clone(), source: io::Error::other(self.room.detail()) }
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
        // The library would make a new database of it.
        return Err(corrupted("it is empty"));
    }
    contained(|| Ok(redb::Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(bytes)?))
}

/// Closing writes, and so meets damage like everything else.
fn close(slot: &mut Slot) {
    let _: Result<(), redb::Error> = contained(|| {
        drop(slot.database.take());
        Ok(())
    });
}

/// Makes an empty state file, in which `fill` makes the tables. It appears under its name only when
/// it is whole, so that a crash on the way leaves nothing that a later start would have to call damaged.
pub(super) fn create(
    path: &Path,
    fill: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>,
) -> Result<(), StateError> {
    let create = || {
        let unfinished = path.with_extension("redb.new");
        // Bodies are kept in here: nobody else's business.
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

/// Looks at the format without writing.
pub(super) fn refuse_newer(path: &Path) -> Result<(), StateError> {
    match peek(path, format_of)? {
        Some(found) if found > FORMAT => Err(StateError::Newer { path: path.to_owned(), found }),
        // One that was not closed in order was open in a release that could open it.
        _ => Ok(()),
    }
}

/// Asks a file without writing: opening for writing already changes a redb file. `None` if it was not
/// closed in order, and only mending it would tell.
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

/// The library follows the numbers in its pages, and panics when damage leads it astray.
fn contained<T>(f: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, redb::Error> {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|_| Err(corrupted("its pages contradict each other")))
}

pub(super) fn corrupted(what: impl ToString) -> redb::Error {
    redb::Error::from(StorageError::Corrupted(what.to_string()))
}

fn closed() -> redb::Error {
    redb::Error::DatabaseClosed
}

/// What an error asks for. Once bytes had no room, whatever follows comes of that, until they are
/// opened again.
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
