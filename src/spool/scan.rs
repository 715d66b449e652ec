//! What is in the directory: every segment, read from end to end.
//!
//! A survey only reads. Recovery acts on it and `verify` prints it, so both see the same. What it calls
//! missing follows from the positions: they rise by one, and each segment's name says where the one
//! before it ends. It judges nothing: whether a bad end is a torn tail or damage is known only of the
//! newest segment.

use std::io;
use std::ops::{Range, RangeInclusive};
use std::path::Path;

use super::recovery::failed;
use super::segment::{self, Found, Frame, HEADER_BYTES, Header, HeaderState, Scanner};
use super::segments::{SegmentInfo, before};
use super::{SpoolError, codec};
use crate::clock::Moment;
use crate::dedup::DuplicateKey;
use crate::disk::Disk;
use crate::event::{Entry, Position, Timestamp};

/// Bytes read at once: few system calls, little memory.
const CHUNK_BYTES: usize = 1 << 20;

/// One segment file as found.
#[derive(Debug)]
pub(super) struct ScannedSegment {
    pub(super) segment: SegmentInfo,
    /// Bytes of the file, with what is behind the last record.
    pub(super) file_bytes: u64,
    /// Damaged stretches with something whole behind them.
    pub(super) damage: Vec<Range<u64>>,
    /// What is behind the last whole record, if anything is.
    pub(super) tail: Option<Range<u64>>,
    /// Records at positions that other records have.
    pub(super) repeated: u64,
}

/// All segment files as found, by position.
#[derive(Debug, Default)]
pub(super) struct LogScan {
    pub(super) segments: Vec<ScannedSegment>,
    /// Positions that are gone, between records that are there.
    pub(super) missing: Vec<RangeInclusive<u64>>,
}

/// Reads every segment of the directory and changes nothing. `on_key` is told the duplicate keys and
/// arrivals of all whole records, in order.
pub(super) fn scan_log(
    disk: &dyn Disk,
    dir: &Path,
    now: Moment,
    on_key: &mut dyn FnMut(DuplicateKey, Timestamp),
) -> Result<LogScan, SpoolError> {
    let names = disk.list(dir).map_err(failed("list", dir))?;
    let mut bases: Vec<Position> = names.iter().filter_map(|name| segment::base_of(name)).collect();
    bases.sort_unstable();
    let headers = read_headers(disk, dir, &bases)?;

    let last = bases.first().map_or(Position(0), |&base| before(base));
    let mut surveyor = SegmentScan { disk, now, on_key, last, limit: None, missing: Vec::new() };
    let mut segments = Vec::with_capacity(bases.len());
    for (at, (&base, header)) in bases.iter().zip(headers).enumerate() {
        surveyor.limit = bases.get(at + 1).copied();
        let path = segment::path(dir, base);
        let mut surveyed = surveyor.survey(&path, base, header).map_err(failed("read segment", &path))?;
        if surveyor.limit.is_some() {
            // Only the newest may end within a record; anywhere else that is damage.
            surveyed.damage.extend(surveyed.tail.take());
        }
        segments.push(surveyed);
    }
    Ok(LogScan { segments, missing: surveyor.missing })
}

/// All headers, before anything else is looked at: a newer format means hands off.
fn read_headers(disk: &dyn Disk, dir: &Path, bases: &[Position]) -> Result<Vec<HeaderState>, SpoolError> {
    let read = |&base: &Position| {
        let path = segment::path(dir, base);
        let file = disk.open_read(&path).map_err(failed("open segment", &path))?;
        match Header::read(&*file, base).map_err(failed("read segment", &path))? {
            HeaderState::Newer(found) => Err(SpoolError::NewerFormat { path, found }),
            state => Ok(state),
        }
    };
    bases.iter().map(read).collect()
}

/// Goes through the segments in order, and knows where it stands.
struct SegmentScan<'a> {
    disk: &'a dyn Disk,
    now: Moment,
    on_key: &'a mut dyn FnMut(DuplicateKey, Timestamp),
    /// The last position accounted for.
    last: Position,
    /// Where the next segment begins. It was begun when all before it was durable, and no other
    /// record of this one was ever promised.
    limit: Option<Position>,
    missing: Vec<RangeInclusive<u64>>,
}

impl SegmentScan<'_> {
    fn survey(&mut self, path: &Path, base: Position, header: HeaderState) -> io::Result<ScannedSegment> {
        let file = self.disk.open_read(path)?;
        let file_bytes = file.len()?;
        self.account_to(before(base));
        let mut segment = SegmentInfo::new(base, None, self.now.steady);
        segment.id = Some(file.id()?);
        segment.last = self.last;
        let (header, header_damage) = match header {
            HeaderState::Whole(header) => (header, None),
            HeaderState::Damaged(header) => (header, Some(0..HEADER_BYTES.min(file_bytes))),
            HeaderState::Lost | HeaderState::Newer(_) => return Ok(unreadable(segment, file_bytes)),
        };
        segment.seed = Some(header.seed());
        segment.newest = self.now.steady_of(header.created);
        let damage = header_damage.into_iter().collect();
        let mut surveyed = ScannedSegment { segment, file_bytes, damage, tail: None, repeated: 0 };
        let mut scanner = Scanner::new(&*file, header.seed(), HEADER_BYTES..file_bytes, CHUNK_BYTES);
        while let Some(found) = scanner.next()? {
            match found {
                Found::Damage(range) => {
                    let start = surveyed.tail.map_or(range.start, |tail| tail.start);
                    surveyed.tail = Some(start..range.end);
                }
                Found::Frame(frame) => {
                    surveyed.damage.extend(surveyed.tail.take());
                    self.take(&frame, &mut surveyed);
                }
            }
        }
        Ok(surveyed)
    }

    fn take(&mut self, frame: &Frame, surveyed: &mut ScannedSegment) {
        let ScannedSegment { segment, repeated, .. } = surveyed;
        segment.len = frame.offset + frame.header.frame_len() as u64;
        segment.newest = segment.newest.max(self.now.steady_of(frame.header.arrived));
        let position = frame.header.position;
        if position <= self.last || self.limit.is_some_and(|limit| position >= limit) {
            *repeated += 1;
            return;
        }
        self.account_to(before(position));
        self.last = position;
        segment.note(position, frame.offset);
        if let Some(key) = frame.header.key {
            (self.on_key)(letter_key(key, frame).unwrap_or(key), frame.header.arrived);
        }
    }

    /// Up to this position there is no record that has not been seen.
    fn account_to(&mut self, position: Position) {
        if position > self.last {
            self.missing.push(self.last.0 + 1..=position.0);
            self.last = position;
        }
    }
}

/// The key of a quarantined delivery that an earlier release has written under the key of an event:
/// the event that it becomes would be taken for a duplicate of it.
fn letter_key(written: DuplicateKey, frame: &Frame) -> Option<DuplicateKey> {
    if !codec::is_quarantined(&frame.payload) {
        return None;
    }
    match codec::decode(frame.payload.clone()) {
        Ok(Entry::Quarantined(delivery)) if written == DuplicateKey::of(&delivery.source, &delivery.id) => {
            Some(DuplicateKey::of_letter(&delivery.source, &delivery.id))
        }
        _ => None,
    }
}

/// A segment whose header is lost. One that never got beyond its header is merely torn; in a longer
/// one there is no telling what was in it.
fn unreadable(mut segment: SegmentInfo, file_bytes: u64) -> ScannedSegment {
    segment.len = file_bytes;
    let whole = 0..file_bytes;
    let (damage, tail) = if segment.is_empty() {
        (Vec::new(), (file_bytes > 0).then_some(whole))
    } else {
        (vec![whole], None)
    };
    ScannedSegment { segment, file_bytes, damage, tail, repeated: 0 }
}
