//! Checks that the files of an open spool are still the files that it wrote.
//!
//! A file that was removed, replaced or resized fails the spool, before a cursor passes what it held. Two
//! changes are harmless: a segment was removed that every cursor has passed, and a closed segment was
//! replaced by a copy of itself.

use std::io;
use std::path::Path;
use std::time::Duration;

use crate::disk::named_file::{self, NameFate, NamedFile};
use crate::disk::{DiskFile, FileId};
use crate::event::Position;
use crate::spool::dir_lock::LOCK_FILE;
use crate::spool::failure::{MissingSegment, SpoolFailure};
use crate::spool::frame::Seed;
use crate::spool::segment;
use crate::spool::segments::SegmentInfo;
use crate::spool::shared_log::SharedLog;

/// How many closed segments one check looks at: a few milliseconds. The next check goes on behind them.
pub(super) const LOOKS_AT_ONCE: usize = 1024;

/// How often all files are checked at the end while the system does not say whether one is there, and the
/// pause between two checks.
const LOOKS_AT_END: usize = 10;
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// What is wrong with a file that a check looked at.
#[derive(Debug)]
pub(super) enum Displaced {
    /// The system does not say whether a file is there.
    Unseen {
        /// The error it answers with.
        error: io::Error,
        /// The failure to report if that lasts.
        failure: SpoolFailure,
    },
    /// A file was removed, replaced or resized.
    Failed(SpoolFailure),
}

impl Displaced {
    fn new(fate: NameFate, failure: impl FnOnce(&NameFate) -> SpoolFailure) -> Self {
        let failure = failure(&fate);
        match fate {
            NameFate::Unknown(error) => Self::Unseen { error, failure },
            NameFate::Removed | NameFate::Replaced | NameFate::Resized(_) => Self::Failed(failure),
        }
    }
}

/// How far a check has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Looked {
    /// The base of the last segment checked: the next check goes on behind it.
    pub(super) through: Position,
    /// The newest segment was removed, and every cursor has passed it.
    pub(super) newest_is_gone: bool,
}

/// A segment as the spool knows it.
struct Known {
    base: Position,
    /// The last position that it accounts for.
    last: Position,
    id: Option<FileId>,
    seed: Option<Seed>,
    /// How much of its file is accounted for, and the length of the file.
    durable: u64,
    len: u64,
}

impl Known {
    fn of((segment, last): (&SegmentInfo, Position)) -> Self {
        let (durable, len) = (segment.len, segment.file_len());
        Self { base: segment.base, last, id: segment.id, seed: segment.seed, durable, len }
    }
}

/// What the check of a closed segment has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// The file that the spool knows.
    Same,
    /// A copy of that file, which the spool uses from now on.
    Copy,
    /// Nothing, and every cursor has passed the segment.
    Nothing,
}

impl SharedLog {
    /// Checks the directory, the lock, the newest segment and up to `count` others behind `after`, and says
    /// how far it has got.
    ///
    /// # Errors
    /// Which file was changed, what was done about it and what a person has to do.
    pub(super) fn verify_files(&self, after: Position, count: usize) -> Result<Looked, Displaced> {
        let misplaced = |fate: &NameFate| named_file::dir_mended(&self.dir, fate).into();
        named_file::look_at_dir(&*self.disk, &self.dir, self.dir_id)
            .map_err(|fate| Displaced::new(fate, misplaced))?;
        self.look_at_lock()?;
        let (newest, others) = self.known(after, count);
        let newest_is_gone = match newest {
            Some(newest) => self.look_at_newest(&newest)? == Found::Nothing,
            None => false,
        };
        let mut through = after;
        for known in &others {
            let found = self.look_at_closed(known)?;
            through = known.base;
            // A copy was synced, which takes time: at most one in each check.
            if found == Found::Copy && count < usize::MAX {
                return Ok(Looked { through, newest_is_gone });
            }
        }
        let through = if others.len() < count { Position(0) } else { through };
        Ok(Looked { through, newest_is_gone })
    }

    /// Checks all files, repeatedly while the system does not say whether one is there: a bridge that ends
    /// without an answer cannot report that every event is safe.
    ///
    /// # Errors
    /// As [`Self::verify_files`].
    pub(in crate::spool) fn verify_all_files(&self) -> Result<(), SpoolFailure> {
        let mut looks = 1;
        loop {
            match self.verify_files(Position(0), usize::MAX) {
                Ok(_) => return Ok(()),
                Err(Displaced::Unseen { .. }) if looks < LOOKS_AT_END => looks += 1,
                Err(Displaced::Unseen { failure, .. } | Displaced::Failed(failure)) => return Err(failure),
            }
            std::thread::sleep(LOOK_AGAIN_AFTER);
        }
    }

    fn known(&self, after: Position, count: usize) -> (Option<Known>, Vec<Known>) {
        let view = self.view();
        let newest = view.segments.newest().map(|newest| Known::of((newest, newest.last)));
        let is_closed = |known: &Known| newest.as_ref().is_none_or(|newest| known.base < newest.base);
        let others = view.segments.following(after, count).map(Known::of).filter(is_closed).collect();
        (newest, others)
    }

    fn look_at_lock(&self) -> Result<(), Displaced> {
        let path = self.dir.join(LOCK_FILE);
        let looked = match self.lock.id() {
            Ok(None) => Ok(()),
            Ok(Some(id)) => named_file::look(&*self.disk, &path, id, None),
            Err(error) => Err(NameFate::Unknown(error)),
        };
        let could_be_shared = |fate: &NameFate| {
            format!("{} {fate}: another process could take the directory as well", path.display()).into()
        };
        looked.map_err(|fate| Displaced::new(fate, could_be_shared))
    }

    fn look_at_newest(&self, known: &Known) -> Result<Found, Displaced> {
        let open = self.open();
        match open.as_ref().filter(|file| known.id == Some(file.id())) {
            Some(file) => displaced(file, known.durable, known.len).map(|()| Found::Same),
            None => self.look_at_closed(known),
        }
    }

    fn look_at_closed(&self, known: &Known) -> Result<Found, Displaced> {
        let path = segment::path(&self.dir, known.base);
        let Some(id) = known.id else { return Ok(Found::Same) };
        let Err(fate) = named_file::look(&*self.disk, &path, id, Some(known.len)) else {
            return Ok(Found::Same);
        };
        let released = self.released();
        let is_released = known.last <= released;
        let failure = |fate: &NameFate| match is_released {
            true => {
                let path = path.display();
                format!("{path} {fate}; every sink has passed it: remove the file that is there now").into()
            }
            false => SpoolFailure::SegmentMissing(MissingSegment {
                fate: fate.to_string(),
                first: known.base.max(released.next()),
                last: known.last,
                path: path.clone(),
            }),
        };
        match fate {
            NameFate::Removed if is_released => {
                self.view().segments.take_out(known.base);
                tracing::warn!(
                    path = %path.display(),
                    "somebody removed a segment that every sink has passed: no event is lost, but after a \
                     restart the bridge does not recognise duplicates of the events in it; keep other \
                     programs out of this directory"
                );
                Ok(Found::Nothing)
            }
            NameFate::Replaced => match self.copy_of(known, &path) {
                Ok(Some(copy)) => self.adopt(known, &path, &*copy).map(|()| Found::Copy),
                Ok(None) => Err(Displaced::Failed(failure(&fate))),
                // It cannot be told what is there, possibly for want of descriptors or memory.
                Err(error) => Err(Displaced::Unseen { failure: failure(&fate), error }),
            },
            fate => Err(Displaced::new(fate, failure)),
        }
    }

    /// The file that is there now, if it is a copy of the segment. Its entries are verified when they are
    /// read, as those of any segment.
    fn copy_of(&self, known: &Known, path: &Path) -> io::Result<Option<Box<dyn DiskFile>>> {
        let file = self.disk.open_read(path)?;
        let is_copy = segment::is_copy(&*file, known.base, known.seed)? && file.len()? == known.len;
        Ok(is_copy.then_some(file))
    }

    /// Makes a copy of the segment durable and uses it from now on. An fsync that fails is not repeated: the
    /// system reports a lost write once, and would call the next fsync a success.
    fn adopt(&self, known: &Known, path: &Path, copy: &dyn DiskFile) -> Result<(), Displaced> {
        let synced = copy.sync_all().and_then(|()| self.disk.sync_dir(&self.dir)).and_then(|()| copy.id());
        let id = synced.map_err(|error| {
            let text = format!("{} is a copy that cannot be made durable: {error}", path.display());
            Displaced::Failed(text.into())
        })?;
        self.view().segments.moved(known.base, id);
        tracing::warn!(
            path = %path.display(),
            "somebody replaced a closed segment by a copy of it: the copy is used from now on; keep other \
             programs out of this directory"
        );
        Ok(())
    }
}

/// Checks that the newest segment's file still has its name and is `len` bytes long. If it has not, the
/// `durable` bytes of it are put back, without a group that was just written.
pub(super) fn displaced(file: &NamedFile, durable: u64, len: u64) -> Result<(), Displaced> {
    file.look(Some(len)).map_err(|fate| Displaced::new(fate, |fate| file.mend(fate, durable).into()))
}
