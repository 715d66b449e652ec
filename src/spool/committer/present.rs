//! The files of a spool that is open: whether they are all there, as it knows them.

use crate::event::Position;
use crate::spool::disk::FileId;
use crate::spool::held::LOCK_FILE;
use crate::spool::place::{self, Fate, Place};
use crate::spool::segment;
use crate::spool::shared::Reader;

/// Closed segments that one look takes in: a few milliseconds. The next look goes on behind them.
pub(super) const LOOKS_AT_ONCE: usize = 1024;

/// A segment as it is known.
struct Known {
    base: Position,
    id: Option<FileId>,
    len: u64,
}

impl Reader {
    /// Looks whether directory, lock, the newest segment and as many others behind `after` are what they
    /// were, and says how far it has got: the position to go on behind.
    ///
    /// # Errors
    /// What is the matter, what was done about it and what is to be done.
    pub(super) fn look_over(&self, after: Position, count: usize) -> Result<Position, String> {
        place::look_at_dir(&*self.disk, &self.dir, self.dir_id).map_err(|fate| {
            format!("{} {fate}: what it held and no sink had got is lost with it", self.dir.display())
        })?;
        self.look_at_lock()?;
        let (newest, others) = self.known(after, count);
        if let Some(newest) = newest {
            self.look_at_newest(&newest)?;
        }
        for known in &others {
            self.look_at_closed(known)?;
        }
        Ok(if others.len() < count { Position(0) } else { others.last().map_or(after, |known| known.base) })
    }

    /// Looks at everything.
    ///
    /// # Errors
    /// As [`Reader::look_over`].
    pub(in crate::spool) fn look_over_all(&self) -> Result<(), String> {
        self.look_over(Position(0), usize::MAX).map(drop)
    }

    fn known(&self, after: Position, count: usize) -> (Option<Known>, Vec<Known>) {
        let view = self.view();
        let known = |segment: &crate::spool::catalogue::Segment| Known {
            base: segment.base,
            id: segment.id,
            len: segment.len,
        };
        let newest = view.catalogue.newest().map(known);
        let is_closed = |known: &Known| newest.as_ref().is_none_or(|newest| known.base < newest.base);
        let others = view.catalogue.following(after, count).map(known).filter(is_closed).collect();
        (newest, others)
    }

    fn look_at_lock(&self) -> Result<(), String> {
        let path = self.dir.join(LOCK_FILE);
        let looked = match self.lock.id() {
            Ok(None) => Ok(()),
            Ok(Some(id)) => place::look(&*self.disk, &path, id, None),
            Err(error) => Err(Fate::Unknown(error)),
        };
        looked.map_err(|fate| {
            format!("{} {fate}: another process could take the directory as well", path.display())
        })
    }

    fn look_at_newest(&self, known: &Known) -> Result<(), String> {
        let open = self.open();
        match open.as_ref().filter(|place| known.id == Some(place.id())) {
            Some(place) => place.look(Some(known.len)).map_err(|fate| place.mend(&fate, known.len)),
            None => self.look_at_closed(known),
        }
    }

    fn look_at_closed(&self, known: &Known) -> Result<(), String> {
        let path = segment::path(&self.dir, known.base);
        let Some(id) = known.id else { return Ok(()) };
        place::look(&*self.disk, &path, id, Some(known.len)).map_err(|fate| {
            format!(
                "{} {fate}: put it back as it was before you start again, or what no sink had got of it is lost",
                path.display()
            )
        })
    }
}

/// What is the matter with the file that a group was just written to, if anything is.
pub(super) fn displaced(place: &Place, len: u64) -> Result<(), String> {
    place.look(Some(len)).map_err(|fate| place.mend(&fate, len))
}
