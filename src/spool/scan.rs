//! Scanning the spool's directory: what each segment holds, by its footer or from end to end.
//!
//! A scan only reads. Recovery acts on it and `verify` prints it, so both see the same. Which positions are
//! missing follows from the others: positions rise by one, and each segment's name says where the segment
//! before it ends. A scan does not judge damage, except that only the newest segment can have a torn tail:
//! an unreadable end of any other is damage, unless every position is there. Then it is what is left of a
//! footer, with which nothing is lost.

use std::io;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};

use super::SpoolError;
use super::error::failed;
use super::footer::{Footer, FooterDraft};
use super::frame::FRAME_HEADER_BYTES;
use super::segment::{self, Found, Frame, HEADER_BYTES, Header, HeaderState, Scanner};
use super::segments::{SegmentInfo, before};
use crate::clock::Moment;
use crate::dedup::DuplicateKey;
use crate::disk::{Disk, DiskFile, FileId};
use crate::event::{Position, Timestamp};

/// Bytes read at once (1 MiB): few system calls, little memory.
const CHUNK_BYTES: usize = 1 << 20;

/// A segment file of which header and footer were read.
#[derive(Debug)]
pub(super) struct ListedSegment {
    pub(super) base: Position,
    pub(super) path: PathBuf,
    pub(super) file_bytes: u64,
    /// The footer, if there is one that verifies.
    pub(super) footer: Option<Footer>,
    id: FileId,
    pub(super) header: HeaderState,
}

/// One segment file as it was found.
#[derive(Debug)]
pub(super) struct ScannedSegment {
    pub(super) segment: SegmentInfo,
    /// Bytes of the file, including those behind the last entry.
    pub(super) file_bytes: u64,
    /// Damaged stretches with a whole entry behind them.
    pub(super) damage: Vec<Range<u64>>,
    /// The bytes behind the last whole entry, if there are any, they are no footer, and the end is not clean.
    pub(super) tail: Option<Range<u64>>,
    /// How many entries are at positions that other entries have.
    pub(super) repeated: u64,
    pub(super) footer: FooterState,
    /// What a footer can be made of, if this is the newest segment and it has none yet.
    pub(super) draft: Option<FooterDraft>,
}

/// What was found behind the frames of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FooterState {
    /// Nothing: the segment was not closed, there was no space for a footer, or an earlier release wrote it.
    Missing,
    /// A footer as it was written.
    Whole,
    /// These bytes are a footer that does not verify, or a part of one. A start scans the segment, and
    /// nothing is lost.
    Damaged(Range<u64>),
}

/// All segment files as they were found, by position.
#[derive(Debug, Default)]
pub(super) struct LogScan {
    pub(super) segments: Vec<ScannedSegment>,
    /// Positions without an entry between entries that are there.
    pub(super) missing: Vec<RangeInclusive<u64>>,
}

/// Who follows a scan.
pub(super) trait ScanObserver {
    /// Called with the duplicate key and the arrival of every whole entry, in order.
    fn on_key(&mut self, _key: DuplicateKey, _arrived: Timestamp) {}

    /// The number that the next key gets in the duplicate window; `None` if the keys do not go there.
    fn next_number(&self) -> Option<u32> {
        None
    }
}

/// How much of the log is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScanDepth {
    /// Everything.
    Frames,
    /// A segment with a good footer is taken by its footer. The observer gets the keys of the segments from
    /// this index on.
    Footers {
        /// The index of the first segment whose keys are wanted.
        keys_from: usize,
    },
}

/// Reads header and footer of every segment, by position, before anything else: a directory with a newer
/// format must not be changed.
pub(super) fn list_segments(disk: &dyn Disk, dir: &Path) -> Result<Vec<ListedSegment>, SpoolError> {
    let names = disk.list(dir).map_err(failed("list", dir))?;
    let mut bases: Vec<Position> = names.iter().filter_map(|name| segment::base_of(name)).collect();
    bases.sort_unstable();
    let list = |base: Position| {
        let path = segment::path(dir, base);
        let file = disk.open_read(&path).map_err(failed("open segment", &path))?;
        let listed =
            ListedSegment::read(&*file, path.clone(), base).map_err(failed("read segment", &path))?;
        match listed.header {
            HeaderState::Newer(found) => Err(SpoolError::NewerFormat { path, found }),
            _ => Ok(listed),
        }
    };
    bases.into_iter().map(list).collect()
}

/// Reads the segments and changes nothing.
pub(super) fn scan_log(
    disk: &dyn Disk,
    listed: Vec<ListedSegment>,
    now: Moment,
    depth: ScanDepth,
    observer: &mut dyn ScanObserver,
) -> Result<LogScan, SpoolError> {
    let bases: Vec<Position> = listed.iter().map(|listed| listed.base).collect();
    let last = bases.first().map_or(Position(0), |&base| before(base));
    let mut scan = SegmentScan::new(now, last, observer);
    let mut segments = Vec::with_capacity(bases.len());
    for (at, mut listed) in listed.into_iter().enumerate() {
        scan.limit = bases.get(at + 1).copied();
        let path = std::mem::take(&mut listed.path);
        let read = |scan: &mut SegmentScan| {
            if let ScanDepth::Footers { keys_from } = depth {
                scan.wants_keys = at >= keys_from;
                if let Some(scanned) = scan.by_footer(disk, &path, &mut listed)? {
                    return Ok(scanned);
                }
            }
            scan.scan(&*disk.open_read(&path)?, listed)
        };
        segments.push(read(&mut scan).map_err(failed("read segment", &path))?);
    }
    Ok(LogScan { segments, missing: scan.missing })
}

impl ListedSegment {
    /// Reads header and footer of the segment that is named after `base`.
    pub(super) fn read(file: &dyn DiskFile, path: PathBuf, base: Position) -> io::Result<Self> {
        let (id, file_bytes) = (file.id()?, file.len()?);
        let header = Header::read(file, base)?;
        let footer = match header {
            HeaderState::Whole(header) | HeaderState::Damaged(header) if header.takes_footer() => {
                Footer::read(file, header.seed(), file_bytes)?
            }
            _ => None,
        };
        Ok(Self { base, path, file_bytes, footer, id, header })
    }
}

/// Scans segments in order, and keeps account of positions across them.
pub(super) struct SegmentScan<'a> {
    now: Moment,
    observer: &'a mut dyn ScanObserver,
    /// Whether the observer gets the keys of the segment.
    wants_keys: bool,
    /// The last position that is accounted for.
    last: Position,
    /// The base of the next segment. It was begun when every acknowledged entry of this one was durable, so
    /// no entry here at its base or behind it was ever acknowledged.
    pub(super) limit: Option<Position>,
    pub(super) missing: Vec<RangeInclusive<u64>>,
}

impl<'a> SegmentScan<'a> {
    /// A scan of what is behind `last`.
    pub(super) fn new(now: Moment, last: Position, observer: &'a mut dyn ScanObserver) -> Self {
        Self { now, observer, wants_keys: true, last, limit: None, missing: Vec::new() }
    }

    /// Takes a segment by its footer; `None` if it must be scanned. Reads the keys only if they are wanted.
    fn by_footer(
        &mut self,
        disk: &dyn Disk,
        path: &Path,
        listed: &mut ListedSegment,
    ) -> io::Result<Option<ScannedSegment>> {
        let HeaderState::Whole(header) = listed.header else { return Ok(None) };
        let in_place = |footer: &Footer| {
            footer.has_index
                && footer.last >= listed.base
                && self.limit.is_none_or(|limit| footer.last < limit)
        };
        if !listed.footer.as_ref().is_some_and(in_place) {
            return Ok(None);
        }
        let first_key = self.observer.next_number().filter(|_| self.wants_keys);
        if self.wants_keys
            && let Some(footer) = &listed.footer
        {
            let Some(keys) = footer.read_keys(&*disk.open_read(path)?, header.seed())? else {
                return Ok(None);
            };
            keys.iter().for_each(|(key, arrived)| self.observer.on_key(key, arrived));
        }
        let Some(footer) = listed.footer.take() else { return Ok(None) };
        self.account_to(before(listed.base));
        self.last = footer.last;
        let mut segment =
            SegmentInfo::of_footer(listed.base, header.seed(), footer, listed.file_bytes, self.now);
        (segment.id, segment.first_key) = (Some(listed.id), first_key);
        let mut scanned = ScannedSegment::new(segment, listed.file_bytes);
        scanned.footer = FooterState::Whole;
        Ok(Some(scanned))
    }

    /// Reads a segment from end to end.
    pub(super) fn scan(&mut self, file: &dyn DiskFile, listed: ListedSegment) -> io::Result<ScannedSegment> {
        let ListedSegment { base, file_bytes, footer, id, header, .. } = listed;
        self.account_to(before(base));
        let mut segment = SegmentInfo::new(base, None, self.now.steady);
        segment.id = Some(id);
        segment.last = self.last;
        let (header, header_damage) = match header {
            HeaderState::Whole(header) => (header, None),
            HeaderState::Damaged(header) => (header, Some(0..HEADER_BYTES.min(file_bytes))),
            HeaderState::Lost | HeaderState::Newer(_) => return Ok(unreadable(segment, file_bytes)),
        };
        segment.seed = Some(header.seed());
        segment.newest = self.now.steady_of(header.created);
        let mut scanned = ScannedSegment::new(segment, file_bytes);
        scanned.damage.extend(header_damage);
        let can_be_closed = header.takes_footer() && self.limit.is_none() && footer.is_none();
        scanned.draft = can_be_closed.then(|| FooterDraft::new(base, header.created));

        let frames = HEADER_BYTES..footer.as_ref().map_or(file_bytes, |footer| footer.begin);
        let mut scanner = Scanner::new(file, header.seed(), frames, CHUNK_BYTES);
        while let Some(found) = scanner.next()? {
            match found {
                Found::Damage(range) => {
                    let start = scanned.tail.map_or(range.start, |tail| tail.start);
                    scanned.tail = Some(start..range.end);
                }
                Found::Frame(frame) if self.is_out_of_place(&frame, &scanned) => {
                    let start = scanned.tail.map_or(frame.offset, |tail| tail.start);
                    scanned.tail = Some(start..frame.offset + frame.header.frame_len() as u64);
                }
                Found::Frame(frame) => {
                    scanned.damage.extend(scanned.tail.take());
                    self.take(&frame, &mut scanned);
                }
            }
        }
        match footer {
            Some(footer) => {
                let is_whole = footer.has_index && footer.read_keys(file, header.seed())?.is_some();
                self.end_at_footer(&mut scanned, &footer, is_whole);
            }
            None => {
                let is_clean = scanned.tail.is_some()
                    && segment::has_end_mark(file, header.seed(), scanned.segment.len)?;
                self.end_without_footer(&mut scanned, header.takes_footer(), is_clean);
            }
        }
        Ok(scanned)
    }

    /// Ends the scan of a segment with a footer, which knows where the frames end and which position is the
    /// last.
    fn end_at_footer(&mut self, scanned: &mut ScannedSegment, footer: &Footer, is_whole: bool) {
        scanned.damage.extend(scanned.tail.take());
        let ScannedSegment { segment, file_bytes, .. } = scanned;
        let last = self.limit.map_or(footer.last, |limit| footer.last.min(before(limit)));
        self.account_to(last);
        segment.last = self.last;
        segment.len = *file_bytes;
        segment.footer_bytes = *file_bytes - footer.begin;
        let range = footer.begin..*file_bytes;
        scanned.footer = if is_whole { FooterState::Whole } else { FooterState::Damaged(range) };
    }

    /// Ends the scan of a segment without a footer that can be read. What is behind the last frame of a
    /// closed segment is damage, unless no entry is missing: then it is what is left of a footer. Behind a
    /// clean end there are only old bytes of a recycled file.
    fn end_without_footer(&mut self, scanned: &mut ScannedSegment, takes_footer: bool, is_clean: bool) {
        let Some(limit) = self.limit else {
            scanned.tail.take_if(|_| is_clean);
            return;
        };
        let Some(tail) = scanned.tail.take().filter(|_| !is_clean) else { return };
        if takes_footer && scanned.segment.entries > 0 && self.last.next() == limit {
            scanned.segment.len = tail.end;
            scanned.segment.footer_bytes = tail.end - tail.start;
            scanned.footer = FooterState::Damaged(tail);
        } else {
            scanned.damage.push(tail);
        }
    }

    /// Whether more entries would be missing in front of a frame than its offset has room for. Then somebody
    /// has guessed the segment's seed for bytes in a body, and a scan has come upon them behind an end.
    fn is_out_of_place(&self, frame: &Frame, scanned: &ScannedSegment) -> bool {
        let skipped = scanned.tail.as_ref().map_or(0, |tail| tail.end - tail.start);
        frame.header.position.0 > self.last.0.saturating_add(skipped / FRAME_HEADER_BYTES as u64 + 1)
    }

    fn take(&mut self, frame: &Frame, scanned: &mut ScannedSegment) {
        let ScannedSegment { segment, repeated, draft, .. } = scanned;
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
        let arrived = frame.header.arrived;
        let key = frame.key();
        if let Some(draft) = draft {
            draft.note(key, arrived);
        }
        if let Some(key) = key.filter(|_| self.wants_keys) {
            self.observer.on_key(key, arrived);
        }
    }

    /// Counts the positions up to this one that have no entry so far as missing.
    pub(super) fn account_to(&mut self, position: Position) {
        if position > self.last {
            self.missing.push(self.last.0 + 1..=position.0);
            self.last = position;
        }
    }
}

impl ScannedSegment {
    fn new(segment: SegmentInfo, file_bytes: u64) -> Self {
        Self {
            segment,
            file_bytes,
            damage: Vec::new(),
            tail: None,
            repeated: 0,
            footer: FooterState::Missing,
            draft: None,
        }
    }

    /// Logs what is wrong with the segment.
    pub(super) fn log_damage(&self) {
        let segment = self.segment.base.0;
        for bytes in &self.damage {
            tracing::error!(
                segment,
                from = bytes.start,
                to = bytes.end,
                "a segment is damaged: its bytes {} to {} hold no readable entry; sinks skip what was there",
                bytes.start,
                bytes.end
            );
        }
        if self.repeated > 0 {
            tracing::error!(
                segment,
                entries = self.repeated,
                "a segment holds entries at positions that other entries have: these copies are ignored"
            );
        }
        if let FooterState::Damaged(bytes) = &self.footer {
            tracing::warn!(
                segment,
                from = bytes.start,
                to = bytes.end,
                "the footer of a segment cannot be used, as after a power failure while it was written: a \
                 start that needs it reads this segment as a whole until it is pruned; no event is lost"
            );
        }
    }
}

/// A segment whose header is lost. If it is no longer than a header, it is merely torn; what a longer one
/// held is unknown.
fn unreadable(mut segment: SegmentInfo, file_bytes: u64) -> ScannedSegment {
    segment.len = file_bytes;
    let whole = 0..file_bytes;
    let mut scanned = ScannedSegment::new(segment, file_bytes);
    if scanned.segment.is_empty() {
        scanned.tail = (file_bytes > 0).then_some(whole);
    } else {
        scanned.damage.push(whole);
    }
    scanned
}
