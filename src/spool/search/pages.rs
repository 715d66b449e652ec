//! Going through the entries of the log, newest first or oldest first, a page at a time.

use std::io;
use std::ops::{ControlFlow, RangeInclusive};

use super::blocks::{OpenSegment, SearchBlock};
use super::{LogSearch, SearchBudget, SearchFor, SearchPage, SearchedEntry};
use crate::event::{Position, Timestamp};
use crate::spool::ReadError;
use crate::spool::footer::END_BYTES;
use crate::spool::segments::{SegmentInfo, before as previous};

/// What was read of a block.
struct BlockRead {
    found: Vec<SearchedEntry>,
    gaps: Vec<RangeInclusive<u64>>,
}

/// Whether a page is at its end.
type Flow = ControlFlow<()>;

impl LogSearch {
    /// The entries before a position, newest first. The next page is that before `through` of this one.
    ///
    /// # Errors
    /// The disk cannot be read.
    pub fn newest_first(
        &self,
        wanted: &SearchFor,
        before: Position,
        budget: &SearchBudget,
    ) -> Result<SearchPage, ReadError> {
        let mut page = SearchPage::new(before);
        while let Some(segment) = self.begun_before(page.through) {
            if budget.is_spent(&page) {
                return Ok(page);
            }
            let (base, looked) = (segment.0.base, (Position(0), previous(page.through)));
            if let Some(segment) = self.open_counting(segment, looked, &mut page)?
                && self.backwards(&segment, wanted, budget, &mut page)?.is_break()
            {
                return Ok(page);
            }
            page.through = base;
        }
        page.complete = true;
        Ok(page)
    }

    /// The entries behind a position and up to another one, oldest first. The next page is that behind
    /// `through` of this one.
    ///
    /// # Errors
    /// The disk cannot be read.
    pub fn oldest_first(
        &self,
        wanted: &SearchFor,
        after: Position,
        through: Position,
        budget: &SearchBudget,
    ) -> Result<SearchPage, ReadError> {
        let mut page = SearchPage::new(after);
        while page.through < through
            && let Some(segment) = self.behind(page.through)
        {
            let base = segment.0.base;
            // Nothing is in front of a segment but what was removed, or what is looked through already.
            page.pass_gone(previous(base).min(through));
            if base > through {
                break;
            }
            if budget.is_spent(&page) {
                return Ok(page);
            }
            let (last, looked) = (segment.1.min(through), (page.through, through));
            if let Some(segment) = self.open_counting(segment, looked, &mut page)?
                && self.forwards(&segment, wanted, through, budget, &mut page)?.is_break()
            {
                return Ok(page);
            }
            if self.0.view().segments.at(base).is_none() {
                page.pass_gone(last);
            }
            page.through = page.through.max(last);
        }
        page.complete = true;
        Ok(page)
    }

    /// Opens a segment. If its header is lost, all that is looked through of it is lost: what is behind the
    /// one position, up to the other.
    fn open_counting(
        &self,
        segment: (SegmentInfo, Position),
        (after, through): (Position, Position),
        page: &mut SearchPage,
    ) -> Result<Option<OpenSegment>, ReadError> {
        let (info, last) = &segment;
        if info.seed.is_none() {
            let (first, last) = (info.base.max(after.next()), through.min(*last));
            page.lost += last.next().0.saturating_sub(first.0);
        }
        self.open(segment)
    }

    fn backwards(
        &self,
        segment: &OpenSegment,
        wanted: &SearchFor,
        budget: &SearchBudget,
        page: &mut SearchPage,
    ) -> Result<Flow, ReadError> {
        if !self.can_hold(segment, wanted.arrived, page)? {
            return Ok(Flow::Continue(()));
        }
        let end = previous(page.through);
        for block in segment.blocks().into_iter().rev().filter_map(|block| block.between(Position(0), end)) {
            if budget.is_spent(page) {
                return Ok(Flow::Break(()));
            }
            let Some(read) = self.read_block(segment, &block, wanted, page)? else { break };
            page.through = block.first;
            for entry in read.found.into_iter().rev() {
                let position = entry.position;
                page.found.push(entry);
                if budget.is_full(page) {
                    page.through = position;
                    break;
                }
            }
            let through = page.through.0;
            page.note_lost(read.gaps.iter().filter(|gap| *gap.start() >= through));
            if budget.is_full(page) {
                return Ok(Flow::Break(()));
            }
        }
        Ok(Flow::Continue(()))
    }

    fn forwards(
        &self,
        segment: &OpenSegment,
        wanted: &SearchFor,
        through: Position,
        budget: &SearchBudget,
        page: &mut SearchPage,
    ) -> Result<Flow, ReadError> {
        if !self.can_hold(segment, wanted.arrived, page)? {
            return Ok(Flow::Continue(()));
        }
        let after = page.through;
        for block in segment.blocks().into_iter().filter_map(|block| block.between(after, through)) {
            if budget.is_spent(page) {
                return Ok(Flow::Break(()));
            }
            let Some(read) = self.read_block(segment, &block, wanted, page)? else { break };
            page.through = block.last;
            for entry in read.found {
                let position = entry.position;
                page.found.push(entry);
                if budget.is_full(page) {
                    page.through = position;
                    break;
                }
            }
            let through = page.through.0;
            page.note_lost(read.gaps.iter().filter(|gap| *gap.end() <= through));
            if budget.is_full(page) {
                return Ok(Flow::Break(()));
            }
        }
        Ok(Flow::Continue(()))
    }

    /// Reads a block, and counts for everybody what is lost in it. `None` if the segment was pruned
    /// meanwhile.
    fn read_block(
        &self,
        segment: &OpenSegment,
        block: &SearchBlock,
        wanted: &SearchFor,
        page: &mut SearchPage,
    ) -> Result<Option<BlockRead>, ReadError> {
        page.bytes_read += block.len();
        let mut read = || -> io::Result<BlockRead> {
            let (mut frames, mut found) = (segment.frames(block), Vec::new());
            while let Some(frame) = frames.next()? {
                page.note_arrival(frame.header.arrived);
                match wanted.entry_of(&frame) {
                    Ok(entry) => found.extend(entry),
                    Err(_) => frames.note_unreadable(),
                }
            }
            Ok(BlockRead { found, gaps: frames.gaps })
        };
        let base = segment.info.base;
        let read = self.unless_pruned(base, read())?;
        if let Some(read) = &read {
            self.0.count_lost(base, &read.gaps);
        }
        Ok(read)
    }

    /// Whether there can be an entry in a segment that arrived within this time. Its footer tells, unless it
    /// holds copies without a duplicate key: the footer does not have their arrivals.
    fn can_hold(
        &self,
        segment: &OpenSegment,
        (since, until): (Option<Timestamp>, Option<Timestamp>),
        page: &mut SearchPage,
    ) -> Result<bool, ReadError> {
        if since.is_none() && until.is_none() {
            return Ok(true);
        }
        let base = segment.info.base;
        let mut can_hold = || -> io::Result<bool> {
            let Some(footer) = segment.footer()? else { return Ok(true) };
            page.bytes_read += END_BYTES.min(segment.info.len);
            if since.is_some_and(|since| footer.newest < since) {
                return Ok(false);
            }
            if footer.keyless(base) > 0 {
                return Ok(true);
            }
            page.bytes_read += footer.keys_bytes();
            let span = segment.keys(&footer)?.and_then(|keys| keys.span());
            Ok(span.is_none_or(|(earliest, latest)| {
                since.is_none_or(|since| latest >= since) && until.is_none_or(|until| earliest < until)
            }))
        };
        Ok(self.unless_pruned(base, can_hold())?.unwrap_or(false))
    }
}
