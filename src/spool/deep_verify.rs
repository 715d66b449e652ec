//! Deep verification: reads the frames of the segments that a start took by their footers, in the background.
//!
//! It reads oldest first, at a bounded rate, and leaves out what is pruned meanwhile. Readers verify every
//! frame anyway; this finds damage where nobody reads. What it finds is counted and logged as a start does
//! that scans the segment, and the duplicate window forgets the keys of entries that are lost, so that they
//! can be delivered again. A segment that cannot be read stays unverified and is reported as that.

use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::scan::{ListedSegment, ScanObserver, ScannedSegment, SegmentScan};
use super::segment;
use super::segments::{SegmentInfo, before};
use super::shared_log::{AppendGate, SharedLog};
use crate::clock::Moment;
use crate::dedup::DuplicateKey;
use crate::disk::DiskFile;
use crate::event::{Position, Timestamp};

/// Bytes that are verified in a second at most: a fraction of what a disk reads, so that the log and its
/// readers hardly notice. 20 GiB take five and a half minutes.
const BYTES_PER_SECOND: u64 = 64 << 20;

/// Bytes after which the verification pauses.
const BYTES_AT_ONCE: u64 = 1 << 20;

/// How long a pause lasts before it is looked whether the spool is being closed.
const PAUSE_AT_ONCE: Duration = Duration::from_millis(20);

/// The lowest priority of a thread.
const NICE: i32 = 19;

/// Verifies the segments that a start took by their footers.
pub struct DeepVerify {
    shared: Arc<SharedLog>,
    bytes_per_second: Option<u64>,
}

/// What has been verified so far.
#[derive(Default)]
struct Account {
    segments: u64,
    bytes: u64,
    /// Stretches of bytes that hold no readable entry.
    damaged: u64,
    /// Positions whose entries are gone.
    lost: u64,
    /// Segments that could not be read.
    unread: u64,
}

impl DeepVerify {
    /// Verifies at a bounded rate; for a thread of its own.
    pub(super) fn paced(shared: Arc<SharedLog>) -> Self {
        Self { shared, bytes_per_second: Some(BYTES_PER_SECOND) }
    }

    /// Verifies as fast as the disk reads.
    pub fn unpaced(shared: Arc<SharedLog>) -> Self {
        Self { shared, bytes_per_second: None }
    }

    /// Runs until every segment was looked at, or the spool is closed or has failed.
    pub fn run(self) {
        if self.bytes_per_second.is_some() {
            // On Linux this is the priority of the calling thread. Without it the rate bounds it still.
            let _ = rustix::process::setpriority_process(None, NICE);
        }
        let begun = Instant::now();
        let mut account = Account::default();
        let mut after = Position(0);
        while let Some(segment) = self.next_behind(after) {
            after = segment.base;
            match self.verify(&segment) {
                _ if is_closing(&self.shared) => return,
                _ if self.shared.view().segments.at(segment.base).is_none() => {}
                Ok((scanned, missing)) => {
                    self.note(&scanned, &missing, &mut account);
                    // While its key is known, a copy of a lost entry is answered as a duplicate of it.
                    let lost = if missing.is_empty() { Ok(Vec::new()) } else { self.lost_keys(&segment) };
                    self.shared.lost_keys.lock().extend(lost.unwrap_or_default());
                }
                Err(error) => {
                    account.unread += 1;
                    let path = segment::path(&self.shared.dir, segment.base);
                    tracing::warn!(
                        path = %path.display(),
                        %error,
                        "a segment cannot be verified: it is not known whether all of its entries can be read"
                    );
                }
            }
        }
        account.log(begun.elapsed());
    }

    fn next_behind(&self, after: Position) -> Option<SegmentInfo> {
        self.shared.view().segments.unverified().find(|segment| segment.base > after).cloned()
    }

    fn open(&self, known: &SegmentInfo) -> io::Result<(Box<dyn DiskFile>, ListedSegment)> {
        let path = segment::path(&self.shared.dir, known.base);
        let file = self.shared.disk.open_read(&path)?;
        if known.id != Some(file.id()?) && !segment::is_copy(&*file, known.base, known.seed)? {
            return Err(io::Error::other("the file was replaced under the bridge by something else"));
        }
        let listed = ListedSegment::read(&*file, path, known.base)?;
        Ok((file, listed))
    }

    fn pace(&self) -> Pace<'_> {
        Pace { shared: &self.shared, bytes_per_second: self.bytes_per_second, bytes: 0, keys: None }
    }

    /// Reads a segment from end to end. Returns what it holds, and which of its positions have no entry.
    fn verify(&self, known: &SegmentInfo) -> io::Result<(ScannedSegment, Vec<RangeInclusive<u64>>)> {
        let (file, listed) = self.open(known)?;
        let mut pace = self.pace();
        let mut scan = SegmentScan::new(Moment::default(), before(known.base), &mut pace);
        scan.limit = Some(known.last.next());
        let scanned = scan.scan(&*file, listed);
        // What is read for this alone must not push out of memory what others read.
        file.drop_cached();
        let scanned = scanned?;
        scan.account_to(known.last);
        Ok((scanned, scan.missing))
    }

    /// The duplicate keys of a segment whose entries are lost: those in its footer that no whole entry has.
    fn lost_keys(&self, known: &SegmentInfo) -> io::Result<Vec<DuplicateKey>> {
        let (file, listed) = self.open(known)?;
        let keys = match (&listed.footer, known.seed) {
            (Some(footer), Some(seed)) => footer.read_keys(&*file, seed)?.unwrap_or_default(),
            _ => return Ok(Vec::new()),
        };
        let mut pace = Pace { keys: Some(Vec::new()), ..self.pace() };
        SegmentScan::new(Moment::default(), before(known.base), &mut pace).scan(&*file, listed)?;
        let mut whole = pace.keys.unwrap_or_default().into_iter().peekable();
        Ok(keys.iter().map(|(key, _)| key).filter(|key| whole.next_if_eq(key).is_none()).collect())
    }

    /// Counts and logs what was found in a segment.
    fn note(&self, scanned: &ScannedSegment, missing: &[RangeInclusive<u64>], account: &mut Account) {
        scanned.log_damage();
        let kept = self.shared.first().0;
        // A reader can have counted them before.
        let new: u64 = missing.iter().map(|range| self.shared.lost.add(range, kept)).sum();
        let damaged = scanned.damage.len() as u64;
        self.shared.metrics.spool_corrupt.inc_by(if missing.is_empty() { damaged } else { new });
        account.segments += 1;
        account.bytes += scanned.file_bytes;
        account.damaged += damaged;
        account.lost += missing.iter().map(|range| range.end() - range.start() + 1).sum::<u64>();
        self.shared.view().segments.note_verified(scanned.segment.base);
    }
}

impl Account {
    fn log(&self, elapsed: Duration) {
        let Self { segments, bytes, damaged, lost, unread } = *self;
        let seconds = elapsed.as_secs_f64();
        match (segments, unread) {
            (0, 0) => {}
            (_, 0) if damaged == 0 && lost == 0 => tracing::info!(
                segments,
                bytes,
                seconds,
                "the segments that the start took by their footers are verified: every entry in them can be \
                 read"
            ),
            _ => tracing::warn!(
                segments,
                bytes,
                damaged,
                lost,
                unread,
                seconds,
                "the segments that the start took by their footers are verified: {lost} entries in them are \
                 lost, {damaged} stretches of bytes are damaged, and {unread} more segments cannot be read"
            ),
        }
    }
}

/// Bounds the rate of a scan, and ends it when the spool is being closed.
struct Pace<'a> {
    shared: &'a SharedLog,
    bytes_per_second: Option<u64>,
    /// Bytes read since the last pause.
    bytes: u64,
    /// The keys of whole entries, if they are wanted.
    keys: Option<Vec<DuplicateKey>>,
}

impl ScanObserver for Pace<'_> {
    fn on_key(&mut self, key: DuplicateKey, _arrived: Timestamp) {
        if let Some(keys) = &mut self.keys {
            keys.push(key);
        }
    }

    fn on_bytes(&mut self, bytes: u64) -> io::Result<()> {
        self.bytes += bytes;
        if self.bytes < BYTES_AT_ONCE {
            return Ok(());
        }
        let bytes = std::mem::take(&mut self.bytes);
        let pause = |rate: u64| Duration::from_secs_f64(bytes as f64 / rate as f64);
        let mut left = self.bytes_per_second.map_or(Duration::ZERO, pause);
        loop {
            if is_closing(self.shared) {
                return Err(io::Error::other("the spool is being closed"));
            }
            if left.is_zero() {
                return Ok(());
            }
            thread::sleep(left.min(PAUSE_AT_ONCE));
            left = left.saturating_sub(PAUSE_AT_ONCE);
        }
    }
}

fn is_closing(shared: &SharedLog) -> bool {
    shared.gate() >= AppendGate::Closing
}
