//! Writing over a file that still holds old bytes.
//!
//! Where only a part of a page is written, the system has to read the rest of the page from the disk first.
//! So groups are written in whole pages: from the start of the page in which the frames end, which is
//! written again as it is, to the end of the page in which the group ends.

use std::io;

use crate::disk::{DiskFile, write_all_at};
use crate::spool::frame::Seed;
use crate::spool::segment::{self, PAGE_BYTES};
use crate::spool::writer::GROUP_BYTES_MAX;

/// Memory that is kept from one group to the next.
const KEPT_BYTES: usize = GROUP_BYTES_MAX + 64 * 1024;

/// What is written; between two groups, the frames in the page that is not full.
pub(super) struct WholePages {
    seed: Seed,
    pages: Vec<u8>,
}

impl WholePages {
    /// The pages of a file that begins with these bytes, which are no whole page.
    pub(super) fn after(bytes: Vec<u8>, seed: Seed) -> Self {
        debug_assert!((bytes.len() as u64) < PAGE_BYTES, "{} bytes are a page", bytes.len());
        Self { seed, pages: bytes }
    }

    /// Writes a group behind the frames, which end at `offset`, in a file of this length. After an error
    /// nothing can be written in whole pages any more.
    pub(super) fn write(
        &mut self,
        file: &dyn DiskFile,
        group: &[u8],
        offset: u64,
        file_len: u64,
    ) -> io::Result<()> {
        let Self { seed, pages } = self;
        let begin = offset - pages.len() as u64;
        debug_assert!(begin.is_multiple_of(PAGE_BYTES), "{offset} is not behind {} bytes", pages.len());
        pages.reserve(group.len() + 2 * PAGE_BYTES as usize);
        pages.extend_from_slice(group);
        let end = offset + group.len() as u64;
        segment::end_page(pages, *seed, end, file_len);
        write_all_at(file, pages, begin)?;
        let frames = (end - begin) as usize;
        let whole = frames - (end % PAGE_BYTES) as usize;
        pages.copy_within(whole..frames, 0);
        pages.truncate(frames - whole);
        pages.shrink_to(KEPT_BYTES);
        Ok(())
    }
}
