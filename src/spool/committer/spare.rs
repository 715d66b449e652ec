//! The spare: the file of a pruned segment, kept so that the next segment is written over it.
//!
//! A file that grows needs new blocks, and each fdatasync of it writes the file system's own records, too.
//! A file that is written over has its blocks already. So the file of a released segment is not always
//! removed: if there is no spare, it gets the spare's name, and the next segment is begun in it.
//!
//! The old bytes in it, what the former segment left, are never read as an entry: the checksums of the next
//! one start with another seed. The former segment's name is durably gone before its first byte is written
//! over, and the next one's header is durable before the file has the next one's name. A spare holds nothing
//! that anybody was promised: it is the first that is given up when space is short, and a start removes it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Committer;
use crate::clock::Moment;
use crate::disk::{DiskFile, FileId, write_all_at};
use crate::spool::frame::Seed;
use crate::spool::segment::{self, HEADER_BYTES, Header, PAGE_BYTES};
use crate::spool::segments::SegmentInfo;

/// The spare's name beside the segments; no segment has it.
pub(in crate::spool) const SPARE_FILE: &str = "next.spare";

/// The file of a pruned segment.
pub(super) struct Spare {
    id: FileId,
    len: u64,
    /// The seed of the segment that it was.
    seed: Seed,
}

impl Spare {
    /// The file of this segment, if the next segment can be written over it: it holds bytes of one segment
    /// only, whose seed is known and whose entries are all there, and is so long that it will hardly grow.
    pub(super) fn of(segment: &SegmentInfo, segment_bytes: u64) -> Option<Self> {
        let (Some(id), Some(seed), len) = (segment.id, segment.seed, segment.len) else { return None };
        let is_whole = segment.old_bytes == 0 && segment.base.0 + segment.entries == segment.last.next().0;
        (is_whole && len >= segment_bytes.max(PAGE_BYTES)).then_some(Self { id, len, seed })
    }
}

impl Committer {
    pub(super) fn spare_path(&self) -> PathBuf {
        self.shared.dir.join(SPARE_FILE)
    }

    /// Prunes a segment for its file, if there is no spare: one that is past retention, or one that would be
    /// pruned for want of room before the next segment is full.
    pub(super) fn prune_for_spare(&mut self, now: Moment) {
        if !self.shared.recycles || self.spare.is_some() || self.failed {
            return;
        }
        let next = self.shared.options.segment_bytes + self.group_reserve();
        if self.oldest_is_past_retention(now.steady) || self.capacity() < next {
            self.prune_released();
        }
    }

    /// Notes what the spare is by now.
    pub(super) fn set_spare(&mut self, spare: Option<Spare>) {
        self.shared.spare_bytes.store(spare.as_ref().map_or(0, |spare| spare.len), Ordering::Relaxed);
        self.spare = spare;
    }

    /// Makes the spare the segment with this header, under its name, and returns the file and its length.
    /// `None` if there is no spare, or a leftover has that name already, which a link would not replace.
    /// Whatever fails here: the spare held nothing, and a file that grows can be made. Chooses another id for
    /// the header if its seed were that of the spare's former segment.
    pub(super) fn take_spare(&mut self, header: &mut Header) -> Option<(Arc<dyn DiskFile>, u64)> {
        let spare = self.spare.take_if(|_| !self.leftover)?;
        while header.seed() == spare.seed {
            header.id = header.id.wrapping_add(1);
        }
        let begun = self.begin_in_spare(&spare, header);
        if let Err(error) = &begun {
            let path = self.spare_path();
            tracing::warn!(
                %error,
                path = %path.display(),
                "the file of a former segment cannot become the next one, so what has its name is removed, \
                 and another file is made"
            );
            // If it cannot be removed either, a start does that, or the next spare replaces it.
            let _ = self.shared.disk.remove(&path);
            self.free_sampled = None;
        }
        self.set_spare(None);
        begun.ok().map(|file| (file, spare.len))
    }

    /// Writes the header, durably, before the file gets the name of a segment.
    fn begin_in_spare(&self, spare: &Spare, header: &Header) -> io::Result<Arc<dyn DiskFile>> {
        let (disk, path) = (&*self.shared.disk, self.spare_path());
        let file = disk.open(&path)?;
        let found = disk.look(&path)?;
        if (file.id()?, found.id, found.len) != (spare.id, spare.id, spare.len) {
            return Err(io::Error::other("it was replaced or changed under the bridge by something else"));
        }
        if found.names > 1 {
            return Err(io::Error::other(
                "it has a second name: a backup by hard links must stay what it is",
            ));
        }
        let mut page = header.encode();
        segment::end_page(&mut page, header.seed(), HEADER_BYTES, spare.len);
        write_all_at(&*file, &page, 0)?;
        file.sync_data()?;
        // A file that has this name already is not replaced.
        disk.link(&path, &segment::path(&self.shared.dir, header.base))?;
        // If the other name stays, the file has two, is not recycled again, and a start takes that name away.
        let _ = disk.remove(&path);
        Ok(file.into())
    }

    /// Removes the spare, if there is one, and says whether there was.
    pub(super) fn give_up_spare(&mut self) -> bool {
        if self.spare.is_none() {
            return false;
        }
        match self.shared.disk.remove(&self.spare_path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                self.note_unremovable(&self.spare_path(), &error);
                return false;
            }
            _ => self.set_spare(None),
        }
        // Its blocks are free once that is durable.
        if let Err(error) = self.shared.disk.sync_dir(&self.shared.dir) {
            self.fail(format!("cannot make the removal of a former segment's file durable: {error}"));
        }
        self.free_sampled = None;
        !self.failed
    }
}
