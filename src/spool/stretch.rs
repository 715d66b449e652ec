//! A stretch of a segment's file, in which a reader finds the entries that it has looked up.
//!
//! It is looked up under the view's lock and read without it. By then the segment can have been pruned and
//! its file can be gone or written over, or somebody can have replaced the file: [`Stretch::is_in`] says so.

use std::io;
use std::path::{Path, PathBuf};

use super::frame::Seed;
use super::segment;
use super::segments::SegmentInfo;
use crate::disk::{DiskFile, FileId};
use crate::event::Position;

/// A stretch of a segment file.
pub(super) struct Stretch {
    pub(super) base: Position,
    pub(super) path: PathBuf,
    pub(super) seed: Seed,
    pub(super) offset: u64,
    pub(super) end: u64,
    /// The position that a reader has reached when it has read the stretch to its end.
    pub(super) through: Position,
    id: Option<FileId>,
}

impl Stretch {
    /// The stretch of a segment in the spool's directory that holds the entries behind `after`, up to
    /// `through`. `None` if the segment's header is lost: nothing in it can be read.
    pub(super) fn behind(
        dir: &Path,
        segment: &SegmentInfo,
        after: Position,
        through: Position,
    ) -> Option<Self> {
        Some(Self {
            base: segment.base,
            path: segment::path(dir, segment.base),
            seed: segment.seed?,
            offset: segment.offset_before(after.next()),
            end: segment.frames_end(),
            through,
            id: segment.id,
        })
    }

    /// Checks that the file is the segment's, or a copy of it, and holds all of the stretch.
    pub(super) fn is_in(&self, file: &dyn DiskFile) -> io::Result<()> {
        let is_another = self.id.is_some_and(|id| file.id().is_ok_and(|found| found != id));
        if is_another && !segment::is_copy(file, self.base, Some(self.seed))? {
            return Err(io::Error::other("the file was replaced under the bridge by something else"));
        }
        if file.len()? < self.end {
            return Err(io::Error::other("the file was cut short under the bridge"));
        }
        Ok(())
    }
}
