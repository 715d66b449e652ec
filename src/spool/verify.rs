//! Looks a stopped spool over and says what is in it, segment by segment.
//!
//! Reads every byte and writes none; it holds the directory's lock, so that nobody writes meanwhile. It
//! finds exactly what a start would find, because it is the same survey. It repairs nothing: a start
//! does what can be done.

use std::io;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};

use super::SpoolError;
use super::dir_lock::{LOCK_FILE, lock_to_read};
use super::recovery::failed;
use super::scan::{ScannedSegment, scan_log};
use super::segment;
use crate::clock::Moment;
use crate::disk::Disk;
use crate::event::Position;
use crate::state;

/// What is in a spool's directory.
#[derive(Clone, Debug, Default)]
pub struct SpoolReport {
    /// The segments, oldest first.
    pub segments: Vec<SegmentReport>,
    /// Positions that are gone, between records that are there or up to a cursor.
    pub missing: Vec<RangeInclusive<u64>>,
    /// Where the log begins, if it has any segment.
    pub begin: Option<Position>,
    /// Where the log ends: the last position that its segments account for.
    pub end: Position,
    /// The cursors of all readers that there ever were.
    pub cursors: Vec<CursorReport>,
    /// What else is wrong, or cannot be told.
    pub problems: Vec<String>,
}

/// How far a reader of the log has got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CursorReport {
    /// Whose it is.
    pub reader: String,
    /// The last position that it has got past.
    pub at: Position,
    /// Whether the log is kept for it.
    pub claim: CursorClaim,
    /// Positions before the log begins that it has not got past.
    pub undelivered: Option<RangeInclusive<u64>>,
}

/// Whether the log is kept for a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CursorClaim {
    /// What it has not got must be there.
    Waits,
    /// It would rather miss events than hold others up.
    GivesWay,
    /// It is no longer configured.
    Gone,
    /// It is not known whether it is still configured.
    Unknown,
}

/// What it all comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CursorVerdict {
    /// Every record that was ever promised, and not pruned since, is there.
    Clean,
    /// All that can be judged is, and of the rest it cannot be told.
    Unknown,
    /// Something is damaged or missing, or cannot be read.
    Damaged,
}

/// What is in one segment.
#[derive(Clone, Debug)]
pub struct SegmentReport {
    /// Its file.
    pub path: PathBuf,
    /// Its first and last record's positions; `None` if it has no whole record.
    pub positions: Option<RangeInclusive<u64>>,
    /// Whole records.
    pub records: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// Bytes that hold no record and should, as offsets in the file.
    pub damaged: Vec<Range<u64>>,
    /// Bytes of a record that was being written when the process or the power ended; the next start
    /// cuts them off. Only the newest segment can have them.
    pub torn_tail: Option<Range<u64>>,
    /// Whole records at positions that records elsewhere have; those are the ones that count.
    pub repeated: u64,
}

impl SpoolReport {
    /// Whether every record that was ever promised, and not pruned since, is there.
    pub fn is_clean(&self) -> bool {
        self.verdict() == CursorVerdict::Clean
    }

    /// What it all comes to. A torn tail does not count: nothing in it was promised.
    pub fn verdict(&self) -> CursorVerdict {
        let clean = |segment: &SegmentReport| segment.damaged.is_empty() && segment.repeated == 0;
        let is_there = self.problems.is_empty() && self.missing.is_empty() && self.segments.iter().all(clean);
        let lacks =
            |claim| self.cursors.iter().any(|cursor| cursor.claim == claim && cursor.undelivered.is_some());
        match () {
            () if !is_there || lacks(CursorClaim::Waits) => CursorVerdict::Damaged,
            () if lacks(CursorClaim::Unknown) => CursorVerdict::Unknown,
            () => CursorVerdict::Clean,
        }
    }

    /// Takes into account how far a cursor has got: what it has passed was there, so that a log which
    /// ends before it has lost its newest segments.
    pub fn account_to(&mut self, cursor: Position) {
        if cursor > self.end {
            self.missing.push(self.end.next().0..=cursor.0);
            self.end = cursor;
        }
    }

    /// Takes into account how far this reader has got: what is behind that must be there still, if the log
    /// is kept for it.
    pub fn account_from(&mut self, reader: String, at: Position, claim: CursorClaim) {
        let begin = self.begin.filter(|begin| at.next() < *begin);
        let undelivered = begin.map(|begin| at.next().0..=begin.0 - 1);
        self.cursors.push(CursorReport { reader, at, claim, undelivered });
    }

    /// Whole records in all.
    pub fn records(&self) -> u64 {
        self.segments.iter().map(|segment| segment.records).sum()
    }

    /// Bytes of all segment files.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }
}

/// Looks over the spool in a directory that no process has open.
///
/// # Errors
/// When the directory cannot be read, holds no spool, or is in use.
pub fn verify(dir: &Path, disk: &dyn Disk) -> Result<SpoolReport, SpoolError> {
    let _lock = lock_to_read(disk, dir)?;
    let names = disk.list(dir).map_err(failed("list", dir))?;
    if !names.iter().any(|name| is_of_a_spool(name)) {
        let nothing = io::Error::new(io::ErrorKind::NotFound, "it has no segment, no lock and no state");
        return Err(failed("find a spool in", dir)(nothing));
    }
    let survey = scan_log(disk, dir, Moment::default(), &mut |_, _| {})?;
    let begin = survey.segments.first().map(|surveyed| surveyed.segment.base);
    let end = survey.segments.last().map(|surveyed| surveyed.segment.last).unwrap_or_default();
    let segments = survey.segments.into_iter().map(|surveyed| SegmentReport::of(dir, surveyed)).collect();
    Ok(SpoolReport { segments, missing: survey.missing, begin, end, ..SpoolReport::default() })
}

fn is_of_a_spool(name: &str) -> bool {
    name == LOCK_FILE || name == state::FILE_NAME || segment::base_of(name).is_some()
}

impl SegmentReport {
    fn of(dir: &Path, surveyed: ScannedSegment) -> Self {
        let ScannedSegment { segment, file_bytes, damage, tail, repeated } = surveyed;
        Self {
            path: segment::path(dir, segment.base),
            positions: segment.first_record().map(|first| first.0..=segment.last.0),
            records: segment.records,
            bytes: file_bytes,
            damaged: damage,
            torn_tail: tail,
            repeated,
        }
    }
}
