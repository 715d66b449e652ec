//! Deep verification: reads the frames of the segments that a start took by their footers, in the background.
//!
//! It reads newest first, because what was stored last is most likely to be delivered again, at a bounded
//! rate, and leaves out what is pruned meanwhile. Readers verify every frame anyway; this finds damage where
//! nobody reads. What it finds is counted and logged as a start does that scans the segment. Before a segment
//! counts as verified, the duplicate window forgets the keys of the entries that are lost in it, unless
//! another entry has them as well, so that they can be delivered again. A segment that cannot be read stays
//! unverified, is reported as that, and is tried again.

use std::io;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::footer::FooterKeys;
use super::frame::Seed;
use super::scan::{ListedSegment, ScanObserver, ScannedSegment, SegmentScan};
use super::segment;
use super::segments::{SegmentInfo, before};
use super::shared_log::{AppendGate, SharedLog};
use crate::backoff::VERIFY_SEGMENT;
use crate::clock::Moment;
use crate::dedup::DuplicateKey;
use crate::dedup::local::RecalledKey;
use crate::disk::{DiskFile, FileId};
use crate::event::{Position, Timestamp};
use crate::telemetry::Episode;

/// Bytes that are verified in a second at most: a fifth of what a small volume of a cloud reads (125 MB/s),
/// so that the log and its readers hardly notice. 20 GiB take a quarter of an hour.
const BYTES_PER_SECOND: u64 = 24 << 20;

/// How long a pause lasts before it is looked whether the spool is being closed.
const PAUSE_AT_ONCE: Duration = Duration::from_millis(20);

/// Verifies the segments that a start took by their footers.
pub struct DeepVerify {
    shared: Arc<SharedLog>,
    bytes_per_second: Option<u64>,
}

/// The time in which segments cannot be read.
#[derive(Default)]
struct Trouble {
    /// How many attempts failed in a row.
    failures: u32,
    errors: Episode<String>,
}

impl Trouble {
    fn happens(&mut self, path: &Path, error: &io::Error) {
        self.failures = self.failures.saturating_add(1);
        if let Some(news) = self.errors.happens(error.to_string(), Instant::now()) {
            tracing::warn!(
                path = %path.display(),
                seconds = news.seconds(),
                %error,
                "a segment cannot be verified yet: it is not known whether all of its entries can be read; \
                 it is tried again"
            );
        }
    }
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
    /// Segments that could not be read in the present round.
    unread: u64,
}

impl DeepVerify {
    /// Verifies at a bounded rate, and tries again what cannot be read; for a thread of its own. The thread
    /// has the priority of any other, because it takes locks for which the writer and the readers wait.
    pub(super) fn paced(shared: Arc<SharedLog>) -> Self {
        Self { shared, bytes_per_second: Some(BYTES_PER_SECOND) }
    }

    /// Looks at each segment once, as fast as the disk reads.
    pub fn unpaced(shared: Arc<SharedLog>) -> Self {
        Self { shared, bytes_per_second: None }
    }

    /// Runs until every segment is verified, or the spool is closed or has failed.
    pub fn run(self) {
        let begun = Instant::now();
        let mut account = Account::default();
        let mut trouble = Trouble::default();
        for round in 1_u64.. {
            account.unread = 0;
            self.go_round(&mut account, &mut trouble);
            let is_over = account.unread == 0 || self.bytes_per_second.is_none();
            if is_closing(&self.shared) {
                return;
            }
            if is_over || round == 1 {
                account.log(begun.elapsed());
            }
            if is_over {
                return;
            }
        }
    }

    /// Verifies what is unverified, and leaves what cannot be read for the next round.
    fn go_round(&self, account: &mut Account, trouble: &mut Trouble) {
        let mut before = Position(u64::MAX);
        while let Some(segment) = self.next_before(before) {
            before = segment.base;
            match self.verify(segment) {
                _ if is_closing(&self.shared) => return,
                _ if self.shared.view().segments.at(segment.base).is_none() => {}
                Ok(verified) => {
                    trouble.failures = 0;
                    self.note(verified, account);
                }
                Err(error) => {
                    account.unread += 1;
                    trouble.happens(&segment::path(&self.shared.dir, segment.base), &error);
                    if self.bytes_per_second.is_some() {
                        wait(&self.shared, VERIFY_SEGMENT.step(trouble.failures));
                    }
                }
            }
        }
    }

    /// The newest unverified segment before this position.
    fn next_before(&self, before: Position) -> Option<Unverified> {
        let view = self.shared.view();
        view.segments.unverified().rev().find(|segment| segment.base < before).map(Unverified::of)
    }

    /// Reads a segment from end to end.
    fn verify(&self, known: Unverified) -> io::Result<Verified> {
        let path = segment::path(&self.shared.dir, known.base);
        let file = self.shared.disk.open_read(&path)?;
        let file = Paced { file, shared: &self.shared, bytes_per_second: self.bytes_per_second };
        if known.id != Some(file.id()?) && !segment::is_copy(&file, known.base, known.seed)? {
            return Err(io::Error::other("the file was replaced under the bridge by something else"));
        }
        let listed = ListedSegment::read(&file, path, known.base)?;
        let footer = listed.footer.clone();
        let mut whole = WholeKeys { keys: Vec::new(), are_wanted: known.first_key.is_some() };
        let mut scan = SegmentScan::new(Moment::default(), before(known.base), &mut whole);
        scan.limit = Some(known.last.next());
        let scanned = scan.scan(&file, listed)?;
        scan.account_to(known.last);
        let missing = scan.missing;
        let lost_keys = match (known.first_key, known.seed, footer) {
            _ if missing.is_empty() => Some(Vec::new()),
            // The duplicate window has none of them.
            (None, ..) => Some(Vec::new()),
            (Some(first), Some(seed), Some(footer)) => {
                footer.read_keys(&file, seed)?.and_then(|keys| lost_keys(first, &keys, &whole.keys))
            }
            _ => None,
        };
        Ok(Verified { scanned, missing, lost_keys })
    }

    /// Counts and logs what was found in a segment.
    fn note(&self, verified: Verified, account: &mut Account) {
        let Verified { scanned, missing, lost_keys } = verified;
        scanned.log_damage();
        let segment = scanned.segment.base;
        let kept = self.shared.first().0;
        // A reader can have counted them before.
        let new: u64 = missing.iter().map(|range| self.shared.lost.add(range, kept)).sum();
        let damaged = scanned.damage.len() as u64;
        self.shared.metrics.spool_corrupt.inc_by(if missing.is_empty() { damaged } else { new });
        account.segments += 1;
        account.bytes += scanned.file_bytes;
        account.damaged += damaged;
        account.lost += missing.iter().map(|range| range.end() - range.start() + 1).sum::<u64>();
        if lost_keys.is_none() {
            tracing::warn!(
                segment = segment.0,
                "the duplicate keys of lost entries cannot be read from the footer of their segment: events \
                 that are delivered again for them are taken for duplicates while the window lasts"
            );
        }
        // Who sees that the segment is verified can rely on it that a copy of a lost entry is stored.
        self.shared.lost_keys.lock().extend(lost_keys.unwrap_or_default());
        self.shared.view().segments.note_verified(segment);
    }
}

/// A segment that is to be verified: what is needed of it, so that the list of segments is locked only for
/// the moment in which this is copied.
#[derive(Clone, Copy)]
struct Unverified {
    base: Position,
    last: Position,
    seed: Option<Seed>,
    id: Option<FileId>,
    first_key: Option<u32>,
}

impl Unverified {
    fn of(&SegmentInfo { base, last, seed, id, first_key, .. }: &SegmentInfo) -> Self {
        Self { base, last, seed, id, first_key }
    }
}

/// What was found in a segment.
struct Verified {
    scanned: ScannedSegment,
    /// The positions without an entry.
    missing: Vec<RangeInclusive<u64>>,
    /// The duplicate keys of lost entries that the window recalled; `None` if they cannot be told.
    lost_keys: Option<Vec<RecalledKey>>,
}

/// The keys in a footer that no whole entry has; `None` if the whole entries have keys that the footer lacks.
/// Both are in the order of positions, and the window numbered those of the footer from `first` on.
fn lost_keys(first: u32, keys: &FooterKeys, whole: &[(DuplicateKey, Timestamp)]) -> Option<Vec<RecalledKey>> {
    let mut whole = whole.iter().peekable();
    let numbered = (0..).map(|at| first.wrapping_add(at)).zip(keys.iter());
    let lost = numbered.filter(|(_, key)| whole.next_if_eq(&key).is_none());
    let lost = lost.map(|(number, (key, _))| RecalledKey { key, number }).collect();
    whole.peek().is_none().then_some(lost)
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
                 lost, {damaged} stretches of bytes are damaged, and {unread} more segments cannot be \
                 read yet"
            ),
        }
    }
}

/// Collects the keys of whole entries, if they are wanted: 24 bytes of memory for each.
struct WholeKeys {
    keys: Vec<(DuplicateKey, Timestamp)>,
    are_wanted: bool,
}

impl ScanObserver for WholeKeys {
    fn on_key(&mut self, key: DuplicateKey, arrived: Timestamp) {
        if self.are_wanted {
            self.keys.push((key, arrived));
        }
    }
}

/// A file that is read at a bounded rate, and no more once the spool is being closed.
struct Paced<'a> {
    file: Box<dyn DiskFile>,
    shared: &'a SharedLog,
    bytes_per_second: Option<u64>,
}

impl DiskFile for Paced<'_> {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        if is_closing(self.shared) {
            return Err(io::Error::other("the spool is being closed"));
        }
        let read = self.file.read_at(bytes, offset)?;
        let pause = |rate: u64| Duration::from_secs_f64(read as f64 / rate as f64);
        wait(self.shared, self.bytes_per_second.map_or(Duration::ZERO, pause));
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.file.write_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.file.truncate(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn id(&self) -> io::Result<FileId> {
        self.file.id()
    }
}

/// Waits that long, or until the spool is being closed.
fn wait(shared: &SharedLog, mut left: Duration) {
    while !left.is_zero() && !is_closing(shared) {
        thread::sleep(left.min(PAUSE_AT_ONCE));
        left = left.saturating_sub(PAUSE_AT_ONCE);
    }
}

fn is_closing(shared: &SharedLog) -> bool {
    shared.gate() >= AppendGate::Closing
}
