//! Recovery: from whatever is in the directory to a spool that can be written, without asking anybody.
//!
//! It acts on a survey: refuses a newer format before anything is touched, cuts a torn tail off the
//! newest segment, makes durable what an earlier process may have left in the page cache, and removes
//! files that hold nothing. Damage is left in place and reported; nothing that holds a record is ever
//! deleted here.

use std::io;
use std::ops::{Range, RangeInclusive};
use std::path::Path;
use std::time::Duration;

use super::SpoolError;
use super::frame::FRAME_HEADER_BYTES;
use super::scan::{ScannedSegment, scan_log};
use super::segment::{self, HEADER_BYTES};
use super::segments::{SegmentInfo, Segments};
use crate::clock::{Moment, Steady};
use crate::dedup::DuplicateKey;
use crate::dedup::local::{KeySighting, LocalWindow};
use crate::disk::Disk;
use crate::event::{Position, Timestamp};

/// What was found when the spool was opened.
#[derive(Clone, Debug, Default)]
pub struct Recovery {
    /// Segment files kept.
    pub segments: usize,
    /// Whole records.
    pub records: u64,
    /// Bytes of the segment files.
    pub bytes: u64,
    /// 1 if the newest segment ended within a record that was never promised, else 0.
    pub torn_tails: u64,
    /// Bytes that hold no record and should.
    pub damaged: Vec<Damage>,
    /// Positions between the oldest and the newest that are gone.
    pub missing: Vec<RangeInclusive<u64>>,
    /// How long it took.
    pub seconds: f64,
}

/// A damaged stretch of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The segment, by the position in its file's name.
    pub segment: Position,
    /// The damaged bytes, as offsets in the file.
    pub bytes: Range<u64>,
}

/// What a spool starts from.
pub(super) struct Recovered {
    pub(super) catalogue: Segments,
    pub(super) window: LocalWindow,
    /// The position that the next record gets.
    pub(super) next: Position,
    /// A file without records that has the next record's name.
    pub(super) leftover: bool,
    pub(super) report: Recovery,
}

/// Surveys the directory, puts the newest segment in order, and says what there is to go on from.
pub(super) fn recover(
    disk: &dyn Disk,
    dir: &Path,
    mut window: LocalWindow,
    now: Moment,
) -> Result<Recovered, SpoolError> {
    let mut survey = scan_log(disk, dir, now, &mut |key, arrived| remember(&mut window, key, now, arrived))?;
    window.expire(now.steady);
    keep_ages_apart_from_the_clock(&mut survey.segments, now);
    let mut report = Recovery { missing: std::mem::take(&mut survey.missing), ..Recovery::default() };
    let newest = survey.segments.pop();
    let mut catalogue = Segments::default();
    for surveyed in survey.segments {
        keep_closed(disk, dir, surveyed, &mut catalogue, &mut report)?;
    }
    let mut next = catalogue.newest().map_or(Position(1), |segment| segment.last.next());
    let mut leftover = false;
    if let Some(surveyed) = newest {
        let base = surveyed.segment.base;
        let segment = mend_newest(disk, dir, surveyed, &mut report)?;
        next = next.max(base).max(segment.last.next());
        leftover = segment.is_empty() && base == next;
        if !segment.is_empty() {
            catalogue.push(segment);
        }
    }
    report.segments = catalogue.len();
    report.bytes = catalogue.bytes();
    Ok(Recovered { catalogue, window, next, leftover, report })
}

/// Counts the age of segments from the newest record of all, and not from what the wall clock says at
/// this start: one that is years ahead would have all that is retained removed. The time that the bridge was
/// down does not count then. A segment is no older than those before it, whatever the clock said
/// when it was written.
fn keep_ages_apart_from_the_clock(segments: &mut [ScannedSegment], now: Moment) {
    let newest = segments.iter().map(|surveyed| surveyed.segment.newest).max().unwrap_or(now.steady);
    let since = Duration::from_nanos(now.steady.0.saturating_sub(newest.0).max(0).unsigned_abs());
    let mut before = Steady(i64::MIN);
    for ScannedSegment { segment, .. } in segments {
        segment.newest = segment.newest.plus(since).max(before);
        before = segment.newest;
    }
}

fn remember(window: &mut LocalWindow, key: DuplicateKey, now: Moment, arrived: Timestamp) {
    let at = now.steady_of(arrived);
    // As it was when the record came: an earlier copy may have left the window by then.
    window.expire(at);
    if window.sighting(key) == KeySighting::New {
        window.stage(key);
        window.commit(at);
    }
}

fn keep_closed(
    disk: &dyn Disk,
    dir: &Path,
    mut surveyed: ScannedSegment,
    catalogue: &mut Segments,
    report: &mut Recovery,
) -> Result<(), SpoolError> {
    report.note(&surveyed);
    if surveyed.segment.is_empty() && surveyed.damage.is_empty() {
        // Made and never written to; later segments tell how far the positions got.
        let path = segment::path(dir, surveyed.segment.base);
        disk.remove(&path).map_err(failed("remove", &path))?;
        return disk.sync_dir(dir).map_err(failed("sync directory", dir));
    }
    surveyed.segment.len = surveyed.file_bytes;
    catalogue.push(surveyed.segment);
    Ok(())
}

/// Cuts the torn tail, and makes durable what is left: an earlier process may have been killed
/// between its write and its fdatasync, and readers take what is here for durable.
fn mend_newest(
    disk: &dyn Disk,
    dir: &Path,
    surveyed: ScannedSegment,
    report: &mut Recovery,
) -> Result<SegmentInfo, SpoolError> {
    report.note(&surveyed);
    let ScannedSegment { mut segment, file_bytes, tail, .. } = surveyed;
    let path = segment::path(dir, segment.base);
    let file = disk.open(&path).map_err(failed("open segment", &path))?;
    if let Some(tail) = tail {
        report.torn_tails += 1;
        segment.len = tail.start;
        tracing::warn!(segment = %path.display(), cut_bytes = file_bytes - tail.start, "cut a torn tail");
        file.truncate(tail.start).map_err(failed("truncate segment", &path))?;
    }
    if segment.records == 0 && !segment.is_empty() {
        // Nothing in it can be read. It accounts for as many records as would fit, so that no position
        // is given twice.
        let records_max = (file_bytes - HEADER_BYTES) / FRAME_HEADER_BYTES as u64 + 1;
        segment.last = Position(segment.base.0.saturating_add(records_max));
    }
    file.sync_all().map_err(failed("sync segment", &path))?;
    disk.sync_dir(dir).map_err(failed("sync directory", dir))?;
    Ok(segment)
}

impl Recovery {
    fn note(&mut self, surveyed: &ScannedSegment) {
        let segment = surveyed.segment.base;
        self.records += surveyed.segment.records;
        for bytes in &surveyed.damage {
            tracing::error!(segment = segment.0, from = bytes.start, to = bytes.end, "segment is damaged");
            self.damaged.push(Damage { segment, bytes: bytes.clone() });
        }
        if surveyed.repeated > 0 {
            tracing::error!(segment = segment.0, records = surveyed.repeated, "positions are there twice");
        }
    }
}

/// Says what was tried with which path, when the disk says no.
pub(super) fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SpoolError {
    let path = path.to_owned();
    move |source| SpoolError::Io { what, path, source }
}
