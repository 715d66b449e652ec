//! The spare: the file of a pruned segment, kept so that the next segment is written over it.
//!
//! A file that grows needs new blocks, and each fdatasync of it writes the file system's own records, too.
//! A file that is written over has its blocks already. So the file of a released segment is not always
//! removed: if there is no spare, it gets the spare's name, and the next segment is begun in it.
//!
//! What the former segment left in it is never read as an entry: the checksums of the next one start with
//! another seed. Its name is durably gone before its first byte is written over, and the next one's header
//! is durable before the file has the next one's name. A spare holds nothing that anybody was promised: it is
//! the first that is given up when space is short, and a start removes it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Committer;
use crate::clock::Moment;
use crate::disk::named_file::{NameFate, look};
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
    /// The file of this segment, if the next segment can be written over it: it must be as long as a whole
    /// one, so that nothing older than the segment is left in it.
    pub(super) fn of(segment: &SegmentInfo, segment_bytes: u64) -> Option<Self> {
        let len = segment.file_len();
        let (Some(id), Some(seed)) = (segment.id, segment.seed) else { return None };
        (len >= segment_bytes.max(PAGE_BYTES)).then_some(Self { id, len, seed })
    }
}

impl Committer {
    pub(super) fn spare_path(&self) -> PathBuf {
        self.shared.dir.join(SPARE_FILE)
    }

    /// Prunes a segment for its file, if there is no spare: one that is past retention, or one that would be
    /// pruned for want of room before the next segment is full.
    pub(super) fn seek_spare(&mut self, now: Moment) {
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
    /// `None` if there is no spare. Whatever fails here: the spare held nothing, and a file that grows can be
    /// made. Chooses another id for the header if its seed were that of the spare's former segment.
    pub(super) fn take_spare(&mut self, header: &mut Header) -> Option<(Arc<dyn DiskFile>, u64)> {
        let spare = self.spare.take_if(|_| !self.leftover)?;
        while header.seed() == spare.seed {
            header.id = header.id.wrapping_add(1);
        }
        let begun = self.begin_in(&spare, header);
        if let Err(error) = &begun {
            let path = self.spare_path();
            tracing::warn!(
                %error,
                path = %path.display(),
                "the file of a former segment cannot become the next one, so another is made"
            );
            // If it cannot be removed either, a start does that, or the next spare replaces it.
            let _ = self.shared.disk.remove(&path);
            self.free_sampled = None;
        }
        self.set_spare(None);
        begun.ok().map(|file| (file, spare.len))
    }

    /// The header is durable before the file has the name of a segment.
    fn begin_in(&self, spare: &Spare, header: &Header) -> io::Result<Arc<dyn DiskFile>> {
        let (disk, path) = (&*self.shared.disk, self.spare_path());
        match look(disk, &path, spare.id, Some(spare.len)) {
            Ok(()) => {}
            Err(NameFate::Unknown(error)) => return Err(error),
            Err(fate) => return Err(io::Error::other(format!("it {fate}"))),
        }
        let file = disk.open(&path)?;
        if file.id()? != spare.id {
            return Err(io::Error::other("it was replaced under the bridge by something else"));
        }
        let mut page = header.encode();
        segment::end_page(&mut page, header.seed(), HEADER_BYTES, spare.len);
        write_all_at(&*file, &page, 0)?;
        file.sync_data()?;
        // A file that has this name already is not replaced.
        disk.link(&path, &segment::path(&self.shared.dir, header.base))?;
        // If the other name stays, it is the next spare's, or a start takes it away.
        let _ = disk.remove(&path);
        Ok(file.into())
    }

    /// Removes the spare, if there is one, and says whether there was.
    pub(super) fn give_up_spare(&mut self) -> bool {
        if self.spare.is_none() {
            return false;
        }
        let path = self.spare_path();
        if let Err(error) = self.shared.disk.remove(&path) {
            tracing::warn!(%error, path = %path.display(), "cannot remove the file of a former segment");
        }
        self.set_spare(None);
        // Its blocks are free once that is durable.
        if let Err(error) = self.shared.disk.sync_dir(&self.shared.dir) {
            self.fail(format!("cannot make the removal of a former segment's file durable: {error}"));
        }
        self.free_sampled = None;
        !self.failed
    }
}
