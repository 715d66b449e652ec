//! A start by footers knows what a scan of the frames knows.

#![allow(clippy::unwrap_used)]
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::recovery::{Recovered, recover};
use super::scan::{ScanDepth, ScanObserver, list_segments, scan_log};
use super::segments::SegmentInfo;
use super::*;
use crate::clock::Steady;
use crate::dedup::DuplicatesOptions;
use crate::dedup::local::KeySighting;
use crate::disk::RealDisk;
use crate::event::{Event, Timestamp};
use crate::testing::events;

const SECOND: i64 = 1_000_000_000;
const EPOCH: i64 = 1_800_000_000 * SECOND;
const WINDOW: Duration = Duration::from_secs(128);

/// What a random life does next.
#[derive(Clone, Debug)]
enum Step {
    /// Appends a group: the length of each body, and by how many milliseconds the arrival is before now.
    Append(Vec<(usize, i64)>),
    Advance(i64),
    /// Stops in order and opens again.
    Restart,
    /// Opens again without a stop.
    Kill,
}

fn step() -> impl Strategy<Value = Step> {
    let group = proptest::collection::vec((0_usize..40_000, 0_i64..900), 1..6);
    prop_oneof![
        12 => group.prop_map(Step::Append),
        3 => (1_i64..40).prop_map(Step::Advance),
        1 => Just(Step::Restart),
        1 => Just(Step::Kill),
    ]
}

/// A log on the disk of this machine, and what was appended to it.
struct Log {
    dir: tempfile::TempDir,
    options: SpoolOptions,
    second: i64,
    opened_at: i64,
    committer: Option<Committer>,
    /// The key of each entry that has one, and its arrival.
    keys: Vec<(DuplicateKey, Timestamp)>,
    appended: u64,
}

impl Log {
    fn new(events_max: usize) -> Self {
        let duplicates = DuplicatesOptions { window: WINDOW, events_max, ..Default::default() };
        let options = SpoolOptions {
            bytes_max: 1 << 30,
            free_bytes_min: 0,
            segment_bytes: 200_000,
            retain: Duration::from_secs(1_000_000),
            duplicates,
            ..SpoolOptions::default()
        };
        let dir = tempfile::tempdir().unwrap();
        let (second, opened_at) = (0, 0);
        let mut log =
            Self { dir, options, second, opened_at, committer: None, keys: Vec::new(), appended: 0 };
        log.open();
        log
    }

    fn now(&self) -> Moment {
        let steady = Steady((self.second - self.opened_at) * SECOND);
        Moment { wall: Timestamp(EPOCH + self.second * SECOND), steady }
    }

    fn open(&mut self) {
        self.committer = None;
        self.opened_at = self.second;
        let locked = LockedDir::take(self.dir.path(), Arc::new(RealDisk::default())).unwrap();
        let opened = Committer::open(locked, self.options.clone(), Arc::default(), self.now());
        self.committer = Some(opened.unwrap().0);
    }

    fn close(&mut self) {
        self.committer.as_mut().unwrap().close();
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Append(group) => self.append(group),
            Step::Advance(seconds) => self.second += seconds,
            Step::Restart => {
                self.close();
                self.open();
            }
            Step::Kill => self.open(),
        }
    }

    fn append(&mut self, group: &[(usize, i64)]) {
        let now = self.now();
        let mut appends = Vec::new();
        let mut answers = Vec::new();
        for &(bytes, ago) in group {
            self.appended += 1;
            let arrived = Timestamp(now.wall.0 - ago * (SECOND / 1000));
            let entry = Event { arrived, body: Bytes::from(vec![7; bytes]), ..events::event("c7") };
            // Every ninth has no key.
            let key = DuplicateKey::of("/stream/default", &self.appended.to_string());
            let key = (!self.appended.is_multiple_of(9)).then_some(key);
            self.keys.extend(key.map(|key| (key, arrived)));
            let (answer, answered) = oneshot::channel();
            appends.push(Append { entry: entry.into(), duplicate: key, confirm: true, answer });
            answers.push(answered);
        }
        self.committer.as_mut().unwrap().commit(&mut appends, now);
        answers
            .iter_mut()
            .for_each(|answer| assert!(matches!(answer.try_recv(), Ok(Ok(Appended::Stored(_))))));
    }
}

#[derive(Default)]
struct Keys(Vec<(DuplicateKey, Timestamp)>);

impl ScanObserver for Keys {
    fn on_key(&mut self, key: DuplicateKey, arrived: Timestamp) {
        self.0.push((key, arrived));
    }
}

/// A copy of the log without footers.
fn without_footers(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for listed in list_segments(&RealDisk::default(), dir).unwrap() {
        let mut bytes = fs::read(&listed.path).unwrap();
        if let Some(footer) = listed.footer {
            bytes.truncate(footer.begin as usize);
        }
        fs::write(copy.path().join(listed.path.file_name().unwrap()), bytes).unwrap();
    }
    copy
}

/// What is known of a segment, apart from its file.
fn known(segment: &SegmentInfo) -> SegmentInfo {
    let mut known = segment.clone();
    known.len = segment.frames_end();
    (known.footer_bytes, known.id, known.verified) = (0, None, true);
    known
}

fn scan(dir: &Path, now: Moment, depth: ScanDepth) -> (Vec<SegmentInfo>, usize, Keys) {
    let disk = RealDisk::default();
    let mut keys = Keys::default();
    let scan = scan_log(&disk, list_segments(&disk, dir).unwrap(), now, depth, &mut keys).unwrap();
    assert!(scan.missing.is_empty());
    let by_footer = scan.segments.iter().filter(|scanned| !scanned.segment.verified).count();
    (scan.segments.iter().map(|scanned| known(&scanned.segment)).collect(), by_footer, keys)
}

fn recovered(dir: &Path, log: &Log, now: Moment) -> Recovered {
    let window = LocalWindow::new(WINDOW, log.options.duplicates.events_max);
    recover(&RealDisk::default(), dir, window, now).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_start_by_footers_knows_what_a_scan_knows(
        steps in proptest::collection::vec(step(), 1..40),
        events_max in 1_usize..150,
        stops_in_order in any::<bool>(),
    ) {
        let mut log = Log::new(events_max);
        steps.iter().for_each(|step| log.run(step));
        if stops_in_order {
            log.close();
        }
        log.committer = None;
        let now = Moment { wall: log.now().wall, steady: Steady::default() };
        let (dir, copy) = (log.dir.path(), without_footers(log.dir.path()));

        let (scanned, none, all_keys) = scan(copy.path(), now, ScanDepth::Frames);
        let (by_footers, some, same_keys) = scan(dir, now, ScanDepth::Footers { keys_from: 0 });
        prop_assert_eq!(none, 0);
        prop_assert!(some + 1 >= by_footers.len(), "{} of {}", some, by_footers.len());
        prop_assert!(by_footers == scanned, "{by_footers:#?} is not {scanned:#?}");
        prop_assert!(same_keys.0 == all_keys.0 && all_keys.0 == log.keys);
        // A footer adds nothing to what a scan of its segment finds.
        prop_assert!(scan(dir, now, ScanDepth::Frames).0 == scanned);

        let (one, other) = (recovered(dir, &log, now), recovered(copy.path(), &log, now));
        prop_assert_eq!((one.next, one.leftover), (other.next, other.leftover));
        prop_assert_eq!(one.report.entries, other.report.entries);
        prop_assert!(one.window.len() <= events_max);
        let window_begins = Timestamp(now.wall.0 - WINDOW.as_nanos() as i64);
        for (newer, &(key, arrived)) in log.keys.iter().rev().enumerate() {
            let is_known = |recovered: &Recovered| recovered.window.sighting(key) == KeySighting::Durable;
            if arrived >= window_begins && newer < events_max {
                prop_assert!(is_known(&one) && is_known(&other), "the window has the key of {arrived:?}");
            }
            // A key lives a 128th of the window longer, and counts from the one before it if that is later.
            let is_old = arrived.0 < window_begins.0 - 3 * SECOND;
            prop_assert!(!(is_known(&one) && (is_old || newer >= events_max)), "a key of {arrived:?}");
        }
    }
}
