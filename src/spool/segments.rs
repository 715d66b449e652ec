//! Which segments there are, what they hold, and which can be pruned.
//!
//! The directory as it is known in memory: enough to find a position on disk in one look (a sparse
//! index, one point every 64 KiB), to account for bytes, and to name the next segment that can be
//! pruned. It does no I/O. Every segment but the newest is closed and never written again; the
//! newest is never pruned, because its name tells how far the positions have got.

use std::collections::VecDeque;

use super::footer::Footer;
use super::frame::Seed;
use super::segment::HEADER_BYTES;
use crate::clock::{Moment, Steady};
use crate::disk::FileId;
use crate::event::Position;

/// Bytes between two points of the index: a reader scans past at most so many, and each point takes 16 bytes
/// of memory.
const INDEX_EVERY_BYTES: u64 = 64 * 1024;

/// What is known of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SegmentInfo {
    /// The first position that the segment can hold; its file is named after it.
    pub(super) base: Position,
    /// The last position that the segment accounts for; the one before `base` while it is empty.
    pub(super) last: Position,
    /// The seed of its frames' checksums. `None` if its header is lost and nothing in it can be read.
    pub(super) seed: Option<Seed>,
    /// Bytes of the file that are accounted for: header and durable frames, and the footer if there is one.
    pub(super) len: u64,
    /// Bytes of the file behind these: old ones, in a recycled file that is not closed.
    pub(super) old_bytes: u64,
    /// How many bytes of `len` are behind the last frame: those of the footer, or of what is left of one.
    pub(super) footer_bytes: u64,
    /// How many whole entries it holds.
    pub(super) entries: u64,
    /// When its newest entry arrived.
    pub(super) newest: Steady,
    /// The identity of its file; `None` if it is not known.
    pub(super) id: Option<FileId>,
    /// Whether this process has read every frame of it, or written it.
    pub(super) verified: bool,
    /// The number in the duplicate window of the first key in its footer; `None` if the window did not take
    /// the keys from there.
    pub(super) first_key: Option<u32>,
    index: Vec<(Position, u64)>,
}

impl SegmentInfo {
    /// A segment with a header and no entry.
    pub(super) fn new(base: Position, seed: Option<Seed>, created: Steady) -> Self {
        Self {
            base,
            last: before(base),
            seed,
            len: HEADER_BYTES,
            old_bytes: 0,
            footer_bytes: 0,
            entries: 0,
            newest: created,
            id: None,
            verified: true,
            first_key: None,
            index: Vec::new(),
        }
    }

    /// A closed segment of which its footer, which ends with the file, was read and not its frames.
    pub(super) fn of_footer(
        base: Position,
        seed: Seed,
        footer: Footer,
        file_bytes: u64,
        now: Moment,
    ) -> Self {
        Self {
            base,
            last: footer.last,
            seed: Some(seed),
            len: file_bytes,
            old_bytes: 0,
            footer_bytes: file_bytes - footer.begin,
            entries: footer.last.next().0 - base.0,
            newest: now.steady_of(footer.newest),
            id: None,
            verified: false,
            first_key: None,
            index: footer.index,
        }
    }

    /// The length of its file.
    pub(super) fn file_len(&self) -> u64 {
        self.len + self.old_bytes
    }

    /// The offset at which the frames end.
    pub(super) fn frames_end(&self) -> u64 {
        self.len - self.footer_bytes
    }

    /// The sparse index: positions, and the offsets of their frames.
    pub(super) fn index(&self) -> &[(Position, u64)] {
        &self.index
    }

    /// Whether it holds no entry, and no damage that can have been one.
    pub(super) fn is_empty(&self) -> bool {
        self.len <= HEADER_BYTES
    }

    /// The position of its first whole entry.
    pub(super) fn first_entry(&self) -> Option<Position> {
        self.index.first().map(|&(position, _)| position)
    }

    /// Counts an entry at this offset, and adds it to the index if one is due.
    pub(super) fn note(&mut self, position: Position, offset: u64) {
        self.last = position;
        self.entries += 1;
        let due = self.index.last().is_none_or(|&(_, indexed)| offset >= indexed + INDEX_EVERY_BYTES);
        if due {
            self.index.push((position, offset));
        }
    }

    /// An offset at or before the entry at this position, where a frame begins.
    pub(super) fn offset_before(&self, position: Position) -> u64 {
        let behind = self.index.partition_point(|&(indexed, _)| indexed <= position);
        behind.checked_sub(1).map_or(HEADER_BYTES, |at| self.index[at].1)
    }

    /// An offset behind the entry at this position, where a frame begins or the frames end.
    pub(super) fn offset_behind(&self, position: Position) -> u64 {
        let behind = self.index.partition_point(|&(indexed, _)| indexed <= position);
        self.index.get(behind).map_or(self.frames_end(), |&(_, offset)| offset)
    }
}

/// The position before this one.
pub(super) fn before(position: Position) -> Position {
    Position(position.0.saturating_sub(1))
}

/// The segments, oldest first, by rising positions.
#[derive(Debug, Default)]
pub(super) struct Segments {
    segments: VecDeque<SegmentInfo>,
    bytes: u64,
}

impl Segments {
    /// Adds a segment behind all others.
    pub(super) fn push(&mut self, segment: SegmentInfo) {
        self.bytes += segment.file_len();
        self.segments.push_back(segment);
    }

    /// Changes the newest segment, and keeps the sum of bytes right.
    pub(super) fn grow_newest(&mut self, grow: impl FnOnce(&mut SegmentInfo)) {
        if let Some(segment) = self.segments.back_mut() {
            let before = segment.file_len();
            grow(segment);
            self.bytes = self.bytes - before + segment.file_len();
        }
    }

    /// Takes the oldest segment out of the list.
    pub(super) fn pop_oldest(&mut self) -> Option<SegmentInfo> {
        let segment = self.segments.pop_front()?;
        self.bytes -= segment.file_len();
        Some(segment)
    }

    /// Puts back the segment that [`Segments::pop_oldest`] took out.
    pub(super) fn restore_oldest(&mut self, segment: SegmentInfo) {
        self.bytes += segment.file_len();
        self.segments.push_front(segment);
    }

    /// The oldest segment, if it is not the newest and holds no position behind `through`. Damaged entries
    /// count like others: the readers that passed them have counted them.
    pub(super) fn prunable(&self, through: Position) -> Option<&SegmentInfo> {
        let next = self.segments.get(1)?;
        self.segments.front().filter(|_| before(next.base) <= through)
    }

    /// Bytes of all the segments that can be pruned, one after the other, if positions up to `through` can.
    /// The newest can if `through` is behind all of it: another segment is begun first.
    pub(super) fn prunable_bytes(&self, through: Position) -> u64 {
        if self.newest().is_none_or(|newest| newest.last <= through) {
            return self.bytes;
        }
        let nexts = self.segments.iter().skip(1);
        let prunable = self.segments.iter().zip(nexts).take_while(|(_, next)| before(next.base) <= through);
        prunable.map(|(segment, _)| segment.file_len()).sum()
    }

    /// Bytes of all segments' files.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes of the newest one's file that are not accounted for.
    pub(super) fn old_bytes(&self) -> u64 {
        self.newest().map_or(0, |newest| newest.old_bytes)
    }

    /// How many segments there are.
    pub(super) fn len(&self) -> usize {
        self.segments.len()
    }

    /// At most `count` segments behind the one with this base, oldest first, each with the last position
    /// that it accounts for.
    pub(super) fn following(
        &self,
        base: Position,
        count: usize,
    ) -> impl Iterator<Item = (&SegmentInfo, Position)> {
        let start = self.segments.partition_point(|segment| segment.base <= base);
        let lasts = self.segments.iter().skip(start + 1).map(|next| before(next.base));
        let lasts = lasts.chain(self.newest().map(|newest| newest.last));
        self.segments.range(start..).take(count).zip(lasts)
    }

    /// Takes the segment with this base out of the list, wherever it is.
    pub(super) fn take_out(&mut self, base: Position) -> Option<SegmentInfo> {
        let at = self.segments.binary_search_by_key(&base, |segment| segment.base).ok()?;
        let segment = self.segments.remove(at)?;
        self.bytes -= segment.file_len();
        Some(segment)
    }

    /// The segment with this base, if it is still kept.
    pub(super) fn at(&self, base: Position) -> Option<&SegmentInfo> {
        let at = self.segments.binary_search_by_key(&base, |segment| segment.base).ok()?;
        self.segments.get(at)
    }

    /// The segments whose frames this process has not read yet, oldest first.
    pub(super) fn unverified(&self) -> impl DoubleEndedIterator<Item = &SegmentInfo> {
        self.segments.iter().filter(|segment| !segment.verified)
    }

    /// Notes that every frame of the segment with this base was read.
    pub(super) fn note_verified(&mut self, base: Position) {
        if let Ok(at) = self.segments.binary_search_by_key(&base, |segment| segment.base) {
            self.segments[at].verified = true;
        }
    }

    /// Notes that the segment with this base is in another file now.
    pub(super) fn moved(&mut self, base: Position, id: FileId) {
        if let Ok(at) = self.segments.binary_search_by_key(&base, |segment| segment.base) {
            self.segments[at].id = Some(id);
        }
    }

    /// The oldest segment.
    pub(super) fn oldest(&self) -> Option<&SegmentInfo> {
        self.segments.front()
    }

    /// The newest segment.
    pub(super) fn newest(&self) -> Option<&SegmentInfo> {
        self.segments.back()
    }

    /// The newest segment that begins before this position, and the base of the segment after it; `None` if
    /// it is the newest.
    pub(super) fn begun_before(&self, position: Position) -> Option<(&SegmentInfo, Option<Position>)> {
        let at = self.segments.partition_point(|segment| segment.base < position).checked_sub(1)?;
        let segment = self.segments.get(at)?;
        Some((segment, self.segments.get(at + 1).map(|next| next.base)))
    }

    /// The oldest segment that accounts for a position behind `after`, and the base of the segment after it;
    /// `None` if it is the newest.
    pub(super) fn behind(&self, after: Position) -> Option<(&SegmentInfo, Option<Position>)> {
        let at = self.segments.partition_point(|segment| segment.last <= after);
        let segment = self.segments.get(at)?;
        Some((segment, self.segments.get(at + 1).map(|next| next.base)))
    }
}
