//! The files of a spool that is open: whether they are all there, as it knows them.
//!
//! What is not there as it was ends the spool, before a cursor passes it. Two things are no harm: a segment
//! that nobody waits for is gone, and a copy of a closed one is in its place.

use std::io;
use std::path::Path;
use std::time::Duration;

use crate::disk::FileId;
use crate::disk::named_file::{self, NameFate, NamedFile};
use crate::event::Position;
use crate::spool::dir_lock::LOCK_FILE;
use crate::spool::failure::{SpoolFailure, Taken};
use crate::spool::frame::Seed;
use crate::spool::segment;
use crate::spool::segments::SegmentInfo;
use crate::spool::shared_log::SharedLog;

/// Closed segments that one look takes in: a few milliseconds. The next look goes on behind them.
pub(super) const LOOKS_AT_ONCE: usize = 1024;

/// How often all is looked at once more at the end while the system does not say what is there, and how long
/// each time is waited for.
const LOOKS_AT_END: usize = 10;
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Why a look has not found everything as it was.
#[derive(Debug)]
pub(super) enum Displaced {
    /// The system does not say whether a file is there.
    Unseen {
        /// What it says instead.
        error: io::Error,
        /// What it comes to if that lasts.
        failure: SpoolFailure,
    },
    /// A file is not there, or not as it was.
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

/// How far a look has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Looked {
    /// The base of the segment to go on behind.
    pub(super) through: Position,
    /// The newest segment is gone, and nobody waited for it.
    pub(super) newest_is_gone: bool,
}

/// A segment as it is known.
struct Known {
    base: Position,
    /// The last position that it accounts for.
    last: Position,
    id: Option<FileId>,
    seed: Option<Seed>,
    len: u64,
}

impl Known {
    fn of((segment, last): (&SegmentInfo, Position)) -> Self {
        Self { base: segment.base, last, id: segment.id, seed: segment.seed, len: segment.len }
    }
}

/// What a look at a closed segment has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// The file that is known.
    Same,
    /// A copy of it, which is known from now on.
    Copy,
    /// Nothing, and nobody waits for it.
    Nothing,
}

impl SharedLog {
    /// Looks whether directory, lock, the newest segment and as many others behind `after` are what they
    /// were, and says how far it has got.
    ///
    /// # Errors
    /// What is the matter, what was done about it and what is to be done.
    pub(super) fn verify_files(&self, after: Position, count: usize) -> Result<Looked, Displaced> {
        let lost = |fate: &NameFate| {
            format!("{} {fate}: what it held and no sink had got is lost with it", self.dir.display()).into()
        };
        named_file::look_at_dir(&*self.disk, &self.dir, self.dir_id)
            .map_err(|fate| Displaced::new(fate, lost))?;
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
            // A copy was made durable first: one at a time, so that nobody waits long.
            if found == Found::Copy && count < usize::MAX {
                return Ok(Looked { through, newest_is_gone });
            }
        }
        let through = if others.len() < count { Position(0) } else { through };
        Ok(Looked { through, newest_is_gone })
    }

    /// Looks at everything, more than once while the system does not say what is there: who ends then cannot
    /// say that all is well.
    ///
    /// # Errors
    /// As [`Reader::look_over`].
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
        let newest = view.catalogue.newest().map(|newest| Known::of((newest, newest.last)));
        let is_closed = |known: &Known| newest.as_ref().is_none_or(|newest| known.base < newest.base);
        let others = view.catalogue.following(after, count).map(Known::of).filter(is_closed).collect();
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
        match open.as_ref().filter(|place| known.id == Some(place.id())) {
            Some(place) => displaced(place, known.len).map(|()| Found::Same),
            None => self.look_at_closed(known),
        }
    }

    fn look_at_closed(&self, known: &Known) -> Result<Found, Displaced> {
        let path = segment::path(&self.dir, known.base);
        let Some(id) = known.id else { return Ok(Found::Same) };
        let Err(fate) = named_file::look(&*self.disk, &path, id, Some(known.len)) else {
            return Ok(Found::Same);
        };
        let settled = self.released();
        let nobody_waits = known.last <= settled;
        let failure = |fate: &NameFate| match nobody_waits {
            true => {
                format!("{} {fate}; every sink has got past it: take away what is there now", path.display())
                    .into()
            }
            false => SpoolFailure::Taken(Taken {
                fate: fate.to_string(),
                first: known.base.max(settled.next()),
                last: known.last,
                path: path.clone(),
            }),
        };
        match fate {
            NameFate::Removed if nobody_waits => {
                self.view().catalogue.take_out(known.base);
                tracing::warn!(
                    path = %path.display(),
                    "somebody removed a segment that every sink has got past: nothing is lost, but behind a restart \
                     what it held is no longer known for repetitions; keep everything else out of this directory"
                );
                Ok(Found::Nothing)
            }
            NameFate::Replaced => match self.adopt(known, &path) {
                Ok(true) => Ok(Found::Copy),
                Ok(false) => Err(Displaced::Failed(failure(&fate))),
                // Opening and making it durable can fail for want of something.
                Err(error) => Err(Displaced::Unseen { failure: failure(&fate), error }),
            },
            fate => Err(Displaced::new(fate, failure)),
        }
    }

    /// Takes what is there now for the segment, if it is a copy of it, and makes it durable. What is in its
    /// records is checked when they are read, as of any segment.
    fn adopt(&self, known: &Known, path: &Path) -> io::Result<bool> {
        let file = self.disk.open_read(path)?;
        if !segment::is_copy(&*file, known.base, known.seed)? || file.len()? != known.len {
            return Ok(false);
        }
        file.sync_all()?;
        self.disk.sync_dir(&self.dir)?;
        self.view().catalogue.moved(known.base, file.id()?);
        tracing::warn!(
            path = %path.display(),
            "a copy was put in the place of a closed segment, and is used from now on; keep everything else out \
             of this directory"
        );
        Ok(true)
    }
}

/// What is the matter with the file that a group was just written to, if anything is.
pub(super) fn displaced(place: &NamedFile, len: u64) -> Result<(), Displaced> {
    place.look(Some(len)).map_err(|fate| Displaced::new(fate, |fate| place.mend(fate, len).into()))
}
