//! Scanning the spool's directory: every segment, read from end to end.
//!
//! A scan only reads. Recovery acts on it and `verify` prints it, so both see the same. Which positions are
//! missing follows from the others: positions rise by one, and each segment's name says where the segment
//! before it ends. A scan does not judge damage, except that only the newest segment can have a torn tail:
//! an unreadable end of any other is damage.

use std::io;
use std::ops::{Range, RangeInclusive};
use std::path::Path;

use super::error::failed;
use super::segment::{self, Found, Frame, HEADER_BYTES, Header, HeaderState, Scanner};
use super::segments::{SegmentInfo, before};
use super::{SpoolError, codec};
use crate::clock::Moment;
use crate::dedup::DuplicateKey;
use crate::disk::Disk;
use crate::event::{Entry, Position, Timestamp};

/// Bytes read at once (1 MiB): few system calls, little memory.
const CHUNK_BYTES: usize = 1 << 20;

/// One segment file as it was found.
#[derive(Debug)]
pub(super) struct ScannedSegment {
    pub(super) segment: SegmentInfo,
    /// Bytes of the file, including those behind the last entry.
    pub(super) file_bytes: u64,
    /// Damaged stretches with a whole entry behind them.
    pub(super) damage: Vec<Range<u64>>,
    /// The bytes behind the last whole entry, if there are any.
    pub(super) tail: Option<Range<u64>>,
    /// How many entries are at positions that other entries have.
    pub(super) repeated: u64,
}

/// All segment files as they were found, by position.
#[derive(Debug, Default)]
pub(super) struct LogScan {
    pub(super) segments: Vec<ScannedSegment>,
    /// Positions without an entry between entries that are there.
    pub(super) missing: Vec<RangeInclusive<u64>>,
}

/// Reads every segment of the directory and changes nothing. `on_key` is called with the duplicate key and
/// the arrival of every whole entry, in order.
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
    let mut scan = SegmentScan { disk, now, on_key, last, limit: None, missing: Vec::new() };
    let mut segments = Vec::with_capacity(bases.len());
    for (at, (&base, header)) in bases.iter().zip(headers).enumerate() {
        scan.limit = bases.get(at + 1).copied();
        let path = segment::path(dir, base);
        let mut scanned = scan.scan(&path, base, header).map_err(failed("read segment", &path))?;
        if scan.limit.is_some() {
            // Only the newest segment can end within an entry; anywhere else that is damage.
            scanned.damage.extend(scanned.tail.take());
        }
        segments.push(scanned);
    }
    Ok(LogScan { segments, missing: scan.missing })
}

/// Reads all headers before anything else: a directory with a newer format must not be changed.
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

/// Scans the segments in order, and keeps account of positions across them.
struct SegmentScan<'a> {
    disk: &'a dyn Disk,
    now: Moment,
    on_key: &'a mut dyn FnMut(DuplicateKey, Timestamp),
    /// The last position that is accounted for.
    last: Position,
    /// The base of the next segment. It was begun when every acknowledged entry of this one was durable, so
    /// no entry here at its base or behind it was ever acknowledged.
    limit: Option<Position>,
    missing: Vec<RangeInclusive<u64>>,
}

impl SegmentScan<'_> {
    fn scan(&mut self, path: &Path, base: Position, header: HeaderState) -> io::Result<ScannedSegment> {
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
        let mut scanned = ScannedSegment { segment, file_bytes, damage, tail: None, repeated: 0 };
        let mut scanner = Scanner::new(&*file, header.seed(), HEADER_BYTES..file_bytes, CHUNK_BYTES);
        while let Some(found) = scanner.next()? {
            match found {
                Found::Damage(range) => {
                    let start = scanned.tail.map_or(range.start, |tail| tail.start);
                    scanned.tail = Some(start..range.end);
                }
                Found::Frame(frame) => {
                    scanned.damage.extend(scanned.tail.take());
                    self.take(&frame, &mut scanned);
                }
            }
        }
        Ok(scanned)
    }

    fn take(&mut self, frame: &Frame, scanned: &mut ScannedSegment) {
        let ScannedSegment { segment, repeated, .. } = scanned;
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

    /// Counts the positions up to this one that have no entry so far as missing.
    fn account_to(&mut self, position: Position) {
        if position > self.last {
            self.missing.push(self.last.0 + 1..=position.0);
            self.last = position;
        }
    }
}

/// The right key for a quarantined delivery that an earlier release wrote under the key of an event. Under
/// that key, the event that the delivery becomes later would be taken for a duplicate of it.
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

/// A segment whose header is lost. If it is no longer than a header, it is merely torn; what a longer one
/// held is unknown.
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
