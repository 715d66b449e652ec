//! A spool and a state in a directory of their own.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::dedup::DuplicatesOptions;
use crate::disk::{Disk, RealDisk};
use crate::event::{Entry, Event, Position};
use crate::health::Health;
use crate::spool::{Appended, LockedDir, Spool, SpoolOptions};
use crate::state::{FILE_NAME, State};
use crate::telemetry::Metrics;
use crate::testing::failing::{self, Faults};

/// How long a test waits for what has to come.
pub const LIMIT: Duration = Duration::from_secs(20);

/// An empty spool and a state that knows no cursor.
pub struct Bench {
    pub spool: Spool,
    pub state: State,
    pub metrics: Metrics,
    pub health: Health,
    dir: tempfile::TempDir,
}

impl Bench {
    /// On the disk of this machine.
    pub fn new() -> Self {
        Self::on(Arc::new(RealDisk::default()), 64 << 10)
    }

    /// With a log that keeps released segments for so long.
    pub fn retaining(retain: Duration) -> Self {
        Self::with(Arc::new(RealDisk::default()), 64 << 10, retain)
    }

    /// With its log on a disk of the test's own; so many bytes of it are read from memory.
    pub fn on(disk: Arc<dyn Disk>, tail_bytes_max: usize) -> Self {
        Self::with(disk, tail_bytes_max, Duration::ZERO)
    }

    fn with(disk: Arc<dyn Disk>, tail_bytes_max: usize, retain: Duration) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let held = LockedDir::take(dir.path(), disk).expect("the directory");
        let options = SpoolOptions {
            bytes_max: 1 << 30,
            free_bytes_min: 0,
            segment_bytes: 64 << 10,
            retain,
            duplicates: DuplicatesOptions { window: Duration::ZERO, events_max: 1000, ..Default::default() },
            tail_bytes_max,
            answer_within: Duration::from_secs(60),
            ..SpoolOptions::default()
        };
        let (spool, _) = Spool::open(held, options, Arc::default()).expect("a spool");
        let state = State::open(&dir.path().join(FILE_NAME)).expect("a state");
        Self { spool, state, metrics: Metrics::new(), health: Health::default(), dir }
    }

    /// With a state whose bytes can be made to fail.
    pub fn failing() -> (Self, Faults) {
        let bench = Self::new();
        let Self { state, dir, .. } = bench;
        drop(state);
        let (state, faults) = failing::opened(&dir.path().join(FILE_NAME));
        (Self { state, dir, ..bench }, faults)
    }

    pub async fn append(&self, event: Event) -> Position {
        self.append_entry(event.into()).await
    }

    pub async fn append_entry(&self, entry: Entry) -> Position {
        match self.spool.append(entry, None).await.expect("room") {
            Appended::Stored(position) => position,
            Appended::Duplicate | Appended::StoredElsewhere => unreachable!("no key was given"),
        }
    }

    /// Appends so many copies of an event, all at once.
    pub async fn append_many(&self, count: u64, event: &Event) {
        let append = |spool: Spool, event: Event| async move { spool.append(event.into(), None).await };
        let appends: JoinSet<_> = (0..count).map(|_| append(self.spool.clone(), event.clone())).collect();
        for done in appends.join_all().await {
            done.expect("room");
        }
    }

    /// How many segments of the log are on disk.
    pub fn segments(&self) -> usize {
        let entries = std::fs::read_dir(self.dir.path()).expect("a directory");
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        names.filter(|name| name.to_string_lossy().ends_with(".log")).count()
    }
}

/// Waits for a condition, which is to come true in time.
pub async fn awaited(mut condition: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !condition() {
        assert!(begun.elapsed() < LIMIT, "waited {LIMIT:?} in vain");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
