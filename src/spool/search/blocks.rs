//! A segment as a search reads it: its footer, and its frames in blocks, so that it can go through them
//! newest first and stop after each.
//!
//! Every position of a block either has a frame there or is a gap.

use std::io;
use std::ops::{Range, RangeInclusive};

use crate::disk::DiskFile;
use crate::event::Position;
use crate::spool::footer::{Footer, FooterKeys};
use crate::spool::segment::{Found, Frame, HEADER_BYTES, Scanner};
use crate::spool::segments::{SegmentInfo, before};
use crate::spool::stretch::Stretch;

/// About how many bytes of a block there are, and bytes read from disk at once (1 MiB).
const BLOCK_BYTES: u64 = 1 << 20;

/// Some positions of a segment, and the bytes in which their frames are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SearchBlock {
    pub(super) first: Position,
    pub(super) last: Position,
    bytes: Range<u64>,
}

impl SearchBlock {
    pub(super) fn len(&self) -> u64 {
        self.bytes.end - self.bytes.start
    }

    /// What of the block is behind one position and not behind the other; `None` if nothing is.
    pub(super) fn between(self, after: Position, through: Position) -> Option<Self> {
        let (first, last) = (self.first.max(after.next()), self.last.min(through));
        (first <= last).then_some(Self { first, last, ..self })
    }
}

/// A segment whose file is open.
pub(super) struct OpenSegment {
    pub(super) info: SegmentInfo,
    /// Where its file is, and what the file has to be.
    pub(super) stretch: Stretch,
    pub(super) file: Box<dyn DiskFile>,
}

impl OpenSegment {
    /// Its footer, if it was closed with one that verifies.
    pub(super) fn footer(&self) -> io::Result<Option<Footer>> {
        if self.info.footer_bytes == 0 {
            return Ok(None);
        }
        let footer = Footer::read(&*self.file, self.stretch.seed, self.info.len)?;
        Ok(footer.filter(|footer| footer.begin == self.info.frames_end()))
    }

    /// The duplicate keys in its footer, if they verify.
    pub(super) fn keys(&self, footer: &Footer) -> io::Result<Option<FooterKeys>> {
        footer.read_keys(&*self.file, self.stretch.seed)
    }

    /// The block of these positions.
    pub(super) fn block(&self, first: Position, last: Position) -> SearchBlock {
        SearchBlock { first, last, bytes: self.info.offset_before(first)..self.info.offset_behind(last) }
    }

    /// Its blocks, oldest first: every position that the segment accounts for is in one of them.
    pub(super) fn blocks(&self) -> Vec<SearchBlock> {
        let (base, through) = (self.info.base, self.stretch.through);
        let mut begins = vec![(base, HEADER_BYTES)];
        for &(position, offset) in self.info.index() {
            let last = begins.last().map_or(HEADER_BYTES, |&(_, offset)| offset);
            if offset >= last + BLOCK_BYTES {
                begins.push((position, offset));
            }
        }
        let ends = begins.iter().skip(1).map(|&(position, offset)| (before(position), offset));
        let ends = ends.chain([(through, self.info.frames_end())]);
        let block = |(&(first, begin), (last, end))| SearchBlock { first, last, bytes: begin..end };
        begins.iter().zip(ends).map(block).filter(|block| block.first <= block.last).collect()
    }

    /// Reads the frames of a block.
    pub(super) fn frames(&self, block: &SearchBlock) -> BlockFrames<'_> {
        let bytes = block.bytes.clone();
        BlockFrames {
            scanner: Scanner::new(&*self.file, self.stretch.seed, bytes, BLOCK_BYTES as usize),
            last: before(block.first),
            end: block.last,
            gaps: Vec::new(),
        }
    }
}

/// The frames of a block, in order.
pub(super) struct BlockFrames<'a> {
    scanner: Scanner<'a>,
    /// The last position that is accounted for.
    last: Position,
    /// The last position of the block.
    end: Position,
    /// Positions without an entry that can be read, among those that are accounted for.
    pub(super) gaps: Vec<RangeInclusive<u64>>,
}

impl BlockFrames<'_> {
    /// The next frame; `None` at the end of the block.
    pub(super) fn next(&mut self) -> io::Result<Option<Frame>> {
        while self.last < self.end
            && let Some(found) = self.scanner.next()?
        {
            // Only positions of the block count, and only while they rise, whatever is on disk.
            let Found::Frame(frame) = found else { continue };
            let position = frame.header.position;
            if position > self.last && position <= self.end {
                self.account_to(before(position));
                self.last = position;
                return Ok(Some(frame));
            }
        }
        self.account_to(self.end);
        Ok(None)
    }

    /// Counts the position of the frame that was returned last as a gap.
    pub(super) fn note_unreadable(&mut self) {
        self.gaps.push(self.last.0..=self.last.0);
    }

    fn account_to(&mut self, position: Position) {
        if position > self.last {
            self.gaps.push(self.last.0 + 1..=position.0);
            self.last = position;
        }
    }
}
