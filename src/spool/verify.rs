//! Checks the spool of a bridge that is not running, and reports what is in it, segment by segment.
//!
//! It reads every byte and writes none; it holds the directory's lock, so that nobody writes meanwhile. It
//! finds what a start finds that cannot use a footer, because both use the same scan. It repairs nothing: a
//! start repairs what can be repaired.

use std::io;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};

use super::dir_lock::{LOCK_FILE, lock_to_read};
use super::error::failed;
use super::scan::{ScanDepth, ScanObserver, ScannedSegment, list_segments, scan_log};
use super::segment;
use super::{STATE_FILE, SpoolError};
use crate::clock::Moment;
use crate::disk::Disk;
use crate::event::Position;

pub use super::scan::FooterState;

/// What is in a spool's directory.
#[derive(Clone, Debug, Default)]
pub struct SpoolReport {
    /// The segments, oldest first.
    pub segments: Vec<SegmentReport>,
    /// Positions without an entry, between entries that are there or up to a cursor.
    pub missing: Vec<RangeInclusive<u64>>,
    /// The first position of the oldest segment; `None` if there is no segment.
    pub begin: Option<Position>,
    /// The last position that the segments account for.
    pub end: Position,
    /// The cursors of all readers that ever committed one.
    pub cursors: Vec<CursorReport>,
    /// What else is wrong or unknown, in sentences.
    pub problems: Vec<String>,
}

/// How far a reader of the log has got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CursorReport {
    /// The reader's name: a sink's, or that of the quarantine.
    pub reader: String,
    /// The last position that the reader has passed.
    pub at: Position,
    /// Whether the log is kept for the reader.
    pub claim: CursorClaim,
    /// Positions that the reader has not passed and that are before the oldest segment.
    pub undelivered: Option<RangeInclusive<u64>>,
}

/// Whether the log is kept for a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CursorClaim {
    /// Everything that the reader has not passed must be there.
    Waits,
    /// The reader skips entries rather than hold a full spool back (`on_full: detach_sink`).
    GivesWay,
    /// The reader is no longer configured.
    Gone,
    /// It is not known whether the reader is still configured.
    Unknown,
}

/// The verdict on the whole spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpoolVerdict {
    /// Every entry that was ever acknowledged, and not pruned since, is there.
    Clean,
    /// Nothing is known to be missing, but of some cursors it cannot be told.
    Unknown,
    /// Something is damaged or missing, or cannot be read.
    Damaged,
}

/// What is in one segment.
#[derive(Clone, Debug)]
pub struct SegmentReport {
    /// The segment's file.
    pub path: PathBuf,
    /// The positions of its first and last entry; `None` if it has no whole entry.
    pub positions: Option<RangeInclusive<u64>>,
    /// How many whole entries it holds.
    pub entries: u64,
    /// The file's length in bytes.
    pub bytes: u64,
    /// Bytes that should hold entries and do not, as offsets in the file.
    pub damaged: Vec<Range<u64>>,
    /// Bytes of an entry that was being written when the process or the power ended; the next start
    /// cuts them off. Only the newest segment can have them.
    pub torn_tail: Option<Range<u64>>,
    /// How many whole entries are at positions that entries elsewhere have. The ones elsewhere count.
    pub repeated: u64,
    /// What is behind the last entry of a closed segment.
    pub footer: FooterState,
}

impl SpoolReport {
    /// Whether every entry that was ever acknowledged, and not pruned since, is there.
    pub fn is_clean(&self) -> bool {
        self.verdict() == SpoolVerdict::Clean
    }

    /// The verdict. A torn tail does not count as damage: nothing in it was acknowledged.
    pub fn verdict(&self) -> SpoolVerdict {
        let clean = |segment: &SegmentReport| segment.damaged.is_empty() && segment.repeated == 0;
        let is_there = self.problems.is_empty() && self.missing.is_empty() && self.segments.iter().all(clean);
        let lacks =
            |claim| self.cursors.iter().any(|cursor| cursor.claim == claim && cursor.undelivered.is_some());
        match () {
            () if !is_there || lacks(CursorClaim::Waits) => SpoolVerdict::Damaged,
            () if lacks(CursorClaim::Unknown) => SpoolVerdict::Unknown,
            () => SpoolVerdict::Clean,
        }
    }

    /// Adds a cursor to the account: everything it has passed was there, so a log that ends before it has
    /// lost its newest segments.
    pub fn account_to(&mut self, cursor: Position) {
        if cursor > self.end {
            self.missing.push(self.end.next().0..=cursor.0);
            self.end = cursor;
        }
    }

    /// Adds a reader to the account: everything behind its cursor must still be there, if the log is kept for
    /// it.
    pub fn account_from(&mut self, reader: String, at: Position, claim: CursorClaim) {
        let begin = self.begin.filter(|begin| at.next() < *begin);
        let undelivered = begin.map(|begin| at.next().0..=begin.0 - 1);
        self.cursors.push(CursorReport { reader, at, claim, undelivered });
    }

    /// How many whole entries all segments hold.
    pub fn entries(&self) -> u64 {
        self.segments.iter().map(|segment| segment.entries).sum()
    }

    /// Bytes of all segment files.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }
}

/// Checks the spool in a directory that no process has open.
///
/// # Errors
/// When the directory cannot be read, holds no spool, or is in use.
pub fn verify(dir: &Path, disk: &dyn Disk) -> Result<SpoolReport, SpoolError> {
    let _lock = lock_to_read(disk, dir)?;
    let names = disk.list(dir).map_err(failed("list", dir))?;
    if !names.iter().any(|name| is_of_a_spool(name)) {
        let what = "the directory has no segment, no lock and no state";
        let nothing = io::Error::new(io::ErrorKind::NotFound, what);
        return Err(failed("find a spool in", dir)(nothing));
    }
    let listed = list_segments(disk, dir)?;
    let scan = scan_log(disk, listed, Moment::default(), ScanDepth::Frames, &mut Nobody)?;
    let begin = scan.segments.first().map(|scanned| scanned.segment.base);
    let end = scan.segments.last().map(|scanned| scanned.segment.last).unwrap_or_default();
    let segments = scan.segments.into_iter().map(|scanned| SegmentReport::of(dir, scanned)).collect();
    Ok(SpoolReport { segments, missing: scan.missing, begin, end, ..SpoolReport::default() })
}

/// What the headers of the segments in a directory say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SeenHeaders {
    /// How many segments there are, none of a later release.
    pub segments: usize,
    /// How many of them have no header that verifies: none of their entries can be read.
    pub lost: usize,
}

/// Reads the headers of the segments in a directory, which a bridge can have open.
///
/// # Errors
/// When the directory cannot be read, a segment was removed meanwhile, or a later release wrote one.
pub fn look_at_headers(dir: &Path, disk: &dyn Disk) -> Result<SeenHeaders, SpoolError> {
    let listed = list_segments(disk, dir)?;
    let lost = listed.iter().filter(|listed| listed.header == segment::HeaderState::Lost).count();
    Ok(SeenHeaders { segments: listed.len(), lost })
}

/// The keys of a spool that is verified are not needed.
struct Nobody;

impl ScanObserver for Nobody {}

fn is_of_a_spool(name: &str) -> bool {
    name == LOCK_FILE || name == STATE_FILE || segment::base_of(name).is_some()
}

impl SegmentReport {
    fn of(dir: &Path, scanned: ScannedSegment) -> Self {
        let ScannedSegment { segment, file_bytes, damage, tail, repeated, footer, draft: _ } = scanned;
        Self {
            path: segment::path(dir, segment.base),
            positions: segment.first_entry().map(|first| first.0..=segment.last.0),
            entries: segment.entries,
            bytes: file_bytes,
            damaged: damage,
            torn_tail: tail,
            repeated,
            footer,
        }
    }
}
