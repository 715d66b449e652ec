//! Recovery: from whatever is in the directory to a spool that can be written, without asking anybody.
//!
//! Recovery acts on a [`LogScan`](super::scan::LogScan), which takes closed segments by their footers and
//! reads the others. It refuses a newer format before it changes anything, cuts a torn tail off the newest
//! segment, makes durable what an earlier process can have left in the page cache, and removes segments that
//! hold nothing. Damage is left in place and reported; no file that holds an entry is ever deleted here. The
//! frames of segments that were taken by their footers are verified afterwards ([`super::deep_verify`]).

use std::ops::{Range, RangeInclusive};
use std::path::Path;
use std::time::Duration;

use super::SpoolError;
use super::committer::SPARE_FILE;
use super::error::failed;
use super::footer::FooterDraft;
use super::frame::FRAME_HEADER_BYTES;
use super::scan::{ListedSegment, ScanDepth, ScanObserver, ScannedSegment, list_segments, scan_log};
use super::segment::{self, HEADER_BYTES};
use super::segments::{SegmentInfo, Segments};
use crate::clock::{Moment, Steady};
use crate::dedup::DuplicateKey;
use crate::dedup::local::{LocalWindow, RecalledWindow};
use crate::disk::Disk;
use crate::event::{Position, Timestamp};

/// What was found when the spool was opened.
#[derive(Clone, Debug, Default)]
pub struct Recovery {
    /// How many segment files there are.
    pub segments: usize,
    /// How many segment files were taken by their footers, so that their frames are still to be verified.
    pub by_footer: usize,
    /// How many segment files were read from end to end.
    pub scanned: usize,
    /// How many whole entries they hold; of a segment that was taken by its footer, how many it says.
    pub entries: u64,
    /// Bytes of the segment files.
    pub bytes: u64,
    /// 1 if the newest segment ended within an entry, whose append was never answered, else 0.
    pub torn_tails: u64,
    /// Stretches of bytes that should hold entries and do not.
    pub damaged: Vec<Damage>,
    /// Positions between the oldest and the newest whose entries are gone.
    pub missing: Vec<RangeInclusive<u64>>,
    /// How long recovery took.
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

/// What a spool starts with.
pub(super) struct Recovered {
    pub(super) segments: Segments,
    pub(super) window: LocalWindow,
    /// The position that the next entry gets.
    pub(super) next: Position,
    /// Whether there is a file without entries that has the next segment's name.
    pub(super) leftover: bool,
    /// What the footer of the newest segment is made of, if it can have one and has none yet.
    pub(super) draft: Option<FooterDraft>,
    pub(super) report: Recovery,
}

/// Fills the duplicate window with the keys that a scan finds.
struct Remember {
    window: RecalledWindow,
    now: Moment,
}

impl ScanObserver for Remember {
    fn on_key(&mut self, key: DuplicateKey, arrived: Timestamp) {
        self.window.recall(key, self.now.steady_of(arrived));
    }

    fn next_number(&self) -> Option<u32> {
        Some(self.window.next_number())
    }
}

/// Scans the directory, mends the newest segment, and returns what the spool starts with.
pub(super) fn recover(
    disk: &dyn Disk,
    dir: &Path,
    window: LocalWindow,
    now: Moment,
) -> Result<Recovered, SpoolError> {
    let listed = list_segments(disk, dir)?;
    remove_spare(disk, dir)?;
    let keys_from = keys_needed_from(&listed, &window, now);
    let mut remember = Remember { window: RecalledWindow::new(window), now };
    let mut scan = scan_log(disk, listed, now, ScanDepth::Footers { keys_from }, &mut remember)?;
    let window = remember.window.finish(now.steady);
    count_ages_from_the_newest_entry(&mut scan.segments, now);
    let mut report = Recovery { missing: std::mem::take(&mut scan.missing), ..Recovery::default() };
    let newest = scan.segments.pop();
    let mut segments = Segments::default();
    for scanned in scan.segments {
        keep_closed(disk, dir, scanned, &mut segments, &mut report)?;
    }
    let mut next = segments.newest().map_or(Position(1), |segment| segment.last.next());
    let (mut leftover, mut draft) = (false, None);
    if let Some(mut scanned) = newest {
        let base = scanned.segment.base;
        draft = scanned.draft.take().filter(|_| scanned.damage.is_empty() && scanned.repeated == 0);
        let segment = mend_newest(disk, dir, scanned, &mut report)?;
        next = next.max(base).max(segment.last.next());
        leftover = segment.is_empty() && base == next;
        if segment.is_empty() {
            draft = None;
        } else {
            segments.push(segment);
        }
    }
    report.segments = segments.len();
    report.bytes = segments.bytes();
    Ok(Recovered { segments, window, next, leftover, draft, report })
}

/// The index of the first segment whose keys the duplicate window needs. Those before it are older than the
/// window, or so many keys follow that the window forgets theirs. What a segment without a footer holds is
/// not known before it is scanned.
fn keys_needed_from(listed: &[ListedSegment], window: &LocalWindow, now: Moment) -> usize {
    let horizon = window.horizon(now.steady);
    let is_recent = |listed: &ListedSegment| {
        listed.footer.as_ref().is_none_or(|footer| now.steady_of(footer.newest) >= horizon)
    };
    let mut keys = 0;
    let fills_window = |listed: &ListedSegment| {
        keys += listed.footer.as_ref().map_or(0, |footer| footer.keys);
        keys >= window.keys_max() as u64
    };
    let recent = listed.iter().position(is_recent).unwrap_or(listed.len());
    recent.max(listed.iter().rposition(fills_window).unwrap_or(0))
}

/// Counts the age of segments from the newest entry of all, and not from the wall clock at this start: a
/// clock that is years ahead would have every retained segment removed. So the time that the bridge was down
/// does not count. A segment is no older than those before it, whatever the clock said when it was written.
fn count_ages_from_the_newest_entry(segments: &mut [ScannedSegment], now: Moment) {
    let newest = segments.iter().map(|scanned| scanned.segment.newest).max().unwrap_or(now.steady);
    let since = Duration::from_nanos(now.steady.0.saturating_sub(newest.0).max(0).unsigned_abs());
    let mut before = Steady(i64::MIN);
    for ScannedSegment { segment, .. } in segments {
        segment.newest = segment.newest.plus(since).max(before);
        before = segment.newest;
    }
}

fn keep_closed(
    disk: &dyn Disk,
    dir: &Path,
    mut scanned: ScannedSegment,
    segments: &mut Segments,
    report: &mut Recovery,
) -> Result<(), SpoolError> {
    report.note(&scanned);
    if scanned.segment.is_empty() && scanned.damage.is_empty() {
        // The segment was begun and never written to; later segments tell how far the positions have got.
        let path = segment::path(dir, scanned.segment.base);
        disk.remove(&path).map_err(failed("remove", &path))?;
        return disk.sync_dir(dir).map_err(failed("sync directory", dir));
    }
    scanned.segment.len = scanned.file_bytes;
    segments.push(scanned.segment);
    Ok(())
}

/// Removes the file in which the next segment was to be begun. It can be the newest segment's under a second
/// name.
fn remove_spare(disk: &dyn Disk, dir: &Path) -> Result<(), SpoolError> {
    let names = disk.list(dir).map_err(failed("list", dir))?;
    if !names.iter().any(|name| name == SPARE_FILE) {
        return Ok(());
    }
    let path = dir.join(SPARE_FILE);
    disk.remove(&path).map_err(failed("remove", &path))?;
    disk.sync_dir(dir).map_err(failed("sync directory", dir))
}

/// Cuts a torn tail or a recycled file's old bytes off the newest segment, and makes the rest durable: an
/// earlier process can have been killed between its write and its fdatasync, and readers take what is here
/// for durable.
fn mend_newest(
    disk: &dyn Disk,
    dir: &Path,
    scanned: ScannedSegment,
    report: &mut Recovery,
) -> Result<SegmentInfo, SpoolError> {
    report.note(&scanned);
    let ScannedSegment { mut segment, file_bytes, tail, .. } = scanned;
    let path = segment::path(dir, segment.base);
    let file = disk.open(&path).map_err(failed("open segment", &path))?;
    if let Some(tail) = tail {
        report.torn_tails += 1;
        segment.len = tail.start;
        tracing::warn!(
            segment = %path.display(),
            cut_bytes = file_bytes - tail.start,
            "cut an unfinished write off the newest segment: it was a footer, or no delivery in it was ever \
             acknowledged"
        );
    }
    if segment.len < file_bytes {
        file.truncate(segment.len).map_err(failed("truncate segment", &path))?;
    }
    if segment.entries == 0 && segment.footer_bytes == 0 && !segment.is_empty() {
        // Nothing in the segment can be read. It accounts for as many entries as would fit, so that no
        // position is given twice.
        let entries_max = (file_bytes - HEADER_BYTES) / FRAME_HEADER_BYTES as u64 + 1;
        segment.last = Position(segment.base.0.saturating_add(entries_max));
    }
    file.sync_all().map_err(failed("sync segment", &path))?;
    disk.sync_dir(dir).map_err(failed("sync directory", dir))?;
    Ok(segment)
}

impl Recovery {
    fn note(&mut self, scanned: &ScannedSegment) {
        scanned.log_damage();
        self.by_footer += usize::from(!scanned.segment.verified);
        self.scanned += usize::from(scanned.segment.verified);
        self.entries += scanned.segment.entries;
        let segment = scanned.segment.base;
        self.damaged.extend(scanned.damage.iter().cloned().map(|bytes| Damage { segment, bytes }));
    }
}
