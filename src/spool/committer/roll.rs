//! One segment after the other: the newest is closed with its footer, and the next one is begun.
//!
//! The footer is written behind frames that are durable, and is not made durable itself: no answer waits for
//! it, and a start scans a segment whose footer was torn. It takes space like everything else, but nothing is
//! refused for it: if there is no space, or the write fails, the segment goes without. What a recycled file
//! still holds behind the frames is cut off.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::sync::Arc;
use std::time::Instant;

use super::Committer;
use super::active::Active;
use super::commit_error::{CommitError, full_or_broken};
use super::pages::WholePages;
use crate::clock::Moment;
use crate::disk::named_file::NamedFile;
use crate::disk::{DiskFile, is_full, write_all_at};
use crate::scarce::Scarce;
use crate::spool::footer::FooterDraft;
use crate::spool::frame::Seed;
use crate::spool::segment::{self, HEADER_BYTES, Header};
use crate::spool::segments::SegmentInfo;
use crate::spool::shared_log::AppendGate;

/// The newest segment while it is being closed.
struct Closing {
    file: Arc<dyn DiskFile>,
    segment: SegmentInfo,
    draft: FooterDraft,
}

impl Committer {
    /// Closes the newest segment in an orderly end, so that the next start need not scan it, and removes the
    /// spare.
    pub fn close(&mut self) {
        if self.failed {
            return;
        }
        if let Err(CommitError::Broken(failure)) = self.close_segment() {
            return self.fail(failure);
        }
        self.give_up_spare();
    }

    /// Closes the newest segment and begins the next. The file of the new one and its directory entry are
    /// durable before a group is written to it.
    pub(super) fn begin_segment(&mut self, now: Moment) -> Result<Seed, CommitError> {
        self.close_segment()?;
        self.prune_for_spare(now);
        if self.failed {
            return Err(CommitError::broken("the spool failed while a segment was begun"));
        }
        let base = self.shared.view().next;
        let id = RandomState::new().build_hasher().finish();
        let mut header = Header::new(id, base, now.wall);
        let (disk, dir) = (Arc::clone(&self.shared.disk), self.shared.dir.clone());
        let (file, file_len) = match self.take_spare(&mut header) {
            Some(recycled) => recycled,
            None => (self.make_file(&header, now)?, HEADER_BYTES),
        };
        // Syncing the directory can need a descriptor, which can be waited for. After any other error of a
        // sync it is unknown what is durable.
        let undurable = |error: io::Error| match Scarce::of(&error) {
            Some(Scarce::Descriptors) => CommitError::Full(AppendGate::Descriptors),
            _ => CommitError::broken(format!("cannot make a new segment durable: {error}")),
        };
        self.leftover = true;
        if let Err(error) = file.sync_all().and_then(|()| disk.sync_dir(&dir)) {
            // It is no segment yet, and nobody accounts for its bytes.
            let _ = file.truncate(HEADER_BYTES);
            return Err(undurable(error));
        }
        let path = segment::path(&dir, base);
        let named = NamedFile::of(disk, self.shared.dir_id, path, Arc::clone(&file))
            .map_err(|error| CommitError::broken(format!("cannot look up a new segment's file: {error}")))?;
        let (seed, named) = (header.seed(), Arc::new(named));
        let mut segment = SegmentInfo::new(base, Some(seed), now.steady);
        segment.id = Some(named.id());
        segment.old_bytes = file_len - HEADER_BYTES;
        let pages = (segment.old_bytes > 0).then(|| WholePages::after(header.encode(), seed));
        self.shared.view().segments.push(segment);
        self.shared.set_open(Arc::clone(&named));
        let draft = FooterDraft::new(base, now.wall);
        let durable_len = HEADER_BYTES;
        self.active = Some(Active { file, named, seed, durable_len, file_len, pages, draft });
        self.leftover = false;
        Ok(seed)
    }

    /// Makes a file that grows, with this header.
    fn make_file(&mut self, header: &Header, now: Moment) -> Result<Arc<dyn DiskFile>, CommitError> {
        loop {
            match segment::create(&*self.shared.disk, &self.shared.dir, header, self.leftover) {
                Ok(file) => {
                    self.spend_free(HEADER_BYTES);
                    return Ok(file.into());
                }
                Err(error) if is_full(&error) => {
                    self.leftover = true;
                    if !self.give_up_spare() && !self.prune_in_need(HEADER_BYTES) {
                        return Err(CommitError::Full(self.why_full(now)));
                    }
                }
                Err(error) => {
                    // Whatever there is of the file by now is used again.
                    self.leftover = true;
                    return Err(full_or_broken("cannot create a segment", &error));
                }
            }
        }
    }

    /// Ends the newest segment with its footer, if it has none. Nothing is appended to it from then on.
    fn close_segment(&mut self) -> Result<(), CommitError> {
        let Some(Closing { file, segment, draft }) = self.closing() else { return Ok(()) };
        let footer = segment.seed.and_then(|seed| draft.finish(seed, &segment)).unwrap_or_default();
        let bytes = self.write_footer(&*file, &segment, &footer)?;
        let len = segment.len + bytes;
        if !file.len().is_ok_and(|found| found == len) {
            file.truncate(len).map_err(|error| {
                CommitError::broken(format!("cannot cut a closed segment behind its end: {error}"))
            })?;
            self.read_free();
        }
        self.shared.view().segments.grow_newest(|newest| {
            (newest.len, newest.footer_bytes, newest.old_bytes) = (len, bytes, 0);
        });
        self.spend_free(bytes);
        Ok(())
    }

    /// Writes the footer behind the segment's frames, and returns how many bytes it has: none if there is no
    /// space for it, or the write fails.
    fn write_footer(
        &mut self,
        file: &dyn DiskFile,
        segment: &SegmentInfo,
        footer: &[u8],
    ) -> Result<u64, CommitError> {
        let bytes = footer.len() as u64;
        let fits = bytes == 0 || self.has_capacity_for_footer(bytes);
        if self.failed {
            return Err(CommitError::broken("the spool failed while a segment was closed"));
        }
        if !fits {
            if self.no_footers.happens((), Instant::now()).is_some() {
                tracing::info!(
                    segment = segment.base.0,
                    bytes,
                    "there is no space for the footers of segments, from this one on: a start reads these \
                     segments as a whole, and no event is lost"
                );
            }
            return Ok(0);
        }
        if let Err(error) = write_all_at(file, footer, segment.len) {
            tracing::warn!(
                segment = segment.base.0,
                %error,
                "the footer of a segment cannot be written: a start reads the segment as a whole; no event \
                 is lost"
            );
            return Ok(0);
        }
        if bytes > 0
            && let Some(end) = self.no_footers.over(Instant::now())
        {
            let (seconds, segments) = (end.seconds(), end.times);
            tracing::info!(seconds, segments, "there is space for the footers of segments again");
        }
        Ok(bytes)
    }

    /// The newest segment with its file and its draft; `None` if it gets no footer.
    fn closing(&mut self) -> Option<Closing> {
        let newest = self.shared.view().segments.newest().cloned();
        let (active, unclosed) = (self.active.take(), self.unclosed.take());
        let segment = newest.filter(|newest| newest.footer_bytes == 0)?;
        let (file, draft) = match active {
            Some(Active { file, draft, .. }) => (file, draft),
            None => {
                let draft = unclosed?;
                let path = segment::path(&self.shared.dir, segment.base);
                (self.shared.disk.open(&path).ok()?.into(), draft)
            }
        };
        // Somebody can have removed or replaced the file: then the newest segment is another.
        let is_its_file =
            file.id().ok() == segment.id && file.len().is_ok_and(|len| len == segment.file_len());
        is_its_file.then_some(Closing { file, segment, draft })
    }
}
