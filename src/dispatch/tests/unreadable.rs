//! A log that for a while cannot be read, as when the process has no descriptors left.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Scripted, of_family};
use crate::disk::{Disk, DiskFile, DiskLock, FileId, Free, Look, RealDisk};
use crate::dispatch::{READ_AGAIN_AFTER, quarantine};
use crate::event::Position;
use crate::selection::Selection;
use crate::sink::Outcome;
use crate::state::{CursorOwner, DeadFilter};
use crate::testing::bench::{Bench, awaited};
use crate::testing::events::quarantined;

/// The disk of this machine, but for a number of times in which no file is opened for reading.
#[derive(Default)]
struct Unreadable {
    disk: RealDisk,
    refusals: AtomicU32,
    tries: AtomicU32,
}

impl Unreadable {
    /// A bench with a log on such a disk, of which nothing is read from memory.
    fn bench() -> (Arc<Self>, Bench) {
        let disk = Arc::new(Self::default());
        (disk.clone(), Bench::on(disk, 0))
    }

    fn refuse(&self, times: u32) {
        self.refusals.store(times, Ordering::SeqCst);
        self.tries.store(0, Ordering::SeqCst);
    }

    fn tries(&self) -> u32 {
        self.tries.load(Ordering::SeqCst)
    }
}

impl Disk for Unreadable {
    fn open_read(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        const EMFILE: i32 = 24;
        if self.tries.fetch_add(1, Ordering::SeqCst) < self.refusals.load(Ordering::SeqCst) {
            return Err(io::Error::from_raw_os_error(EMFILE));
        }
        self.disk.open_read(path)
    }

    fn create_dirs(&self, dir: &Path) -> io::Result<()> {
        self.disk.create_dirs(dir)
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.disk.create_new(path)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.disk.open(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }

    fn free(&self, dir: &Path) -> io::Result<Free> {
        self.disk.free(dir)
    }

    fn look(&self, path: &Path) -> io::Result<Look> {
        self.disk.look(path)
    }

    fn dir_id(&self, dir: &Path) -> io::Result<FileId> {
        self.disk.dir_id(dir)
    }

    fn link(&self, path: &Path, second: &Path) -> io::Result<()> {
        self.disk.link(path, second)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn DiskLock>>> {
        self.disk.lock(path)
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_that_cannot_be_read_is_tried_again_after_a_rest_and_all_of_it_arrives() {
    let (disk, bench) = Unreadable::bench();
    bench.append_many(10, &of_family("a")).await;
    let sink = Scripted::new(|_, _| Outcome::ACCEPTED);
    disk.refuse(3);
    let begun = Instant::now();
    bench.drain(&sink, Selection::All).await;
    assert_eq!(sink.accepted("a"), (1..=10).collect::<Vec<_>>());
    assert_eq!(disk.tries(), 4, "three in vain, and one for all ten");
    assert!(begun.elapsed() >= 3 * READ_AGAIN_AFTER, "tried again within {:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn quarantined_deliveries_that_cannot_be_read_are_tried_again_after_a_rest() {
    let (disk, bench) = Unreadable::bench();
    bench.append_entry(quarantined().into()).await;
    disk.refuse(3);
    let (stop, never) = (CancellationToken::new(), CancellationToken::new());
    let begun = Instant::now();
    let running = tokio::spawn(quarantine::keep(
        bench.reader(Position(0)),
        bench.scope(),
        quarantine::ScopeChanges::new().1,
        stop.clone(),
        never,
    ));
    let letters = || bench.state.dead_letters(&DeadFilter::default(), 0, 10).expect("readable").len();
    awaited(|| letters() == 1).await;
    assert_eq!(disk.tries(), 4);
    assert!(begun.elapsed() >= 3 * READ_AGAIN_AFTER, "tried again within {:?}", begun.elapsed());
    stop.cancel();
    running.await.expect("no panic").expect("no error");
}

#[tokio::test(start_paused = true)]
async fn a_rest_before_the_log_is_read_again_does_not_hold_the_end_up() {
    let (disk, bench) = Unreadable::bench();
    bench.append_entry(quarantined().into()).await;
    disk.refuse(u32::MAX);
    let (stop, never) = (CancellationToken::new(), CancellationToken::new());
    let running = tokio::spawn(quarantine::keep(
        bench.reader(Position(0)),
        bench.scope(),
        quarantine::ScopeChanges::new().1,
        stop.clone(),
        never,
    ));
    awaited(|| disk.tries() > 0).await;
    let stopped = Instant::now();
    stop.cancel();
    running.await.expect("no panic").expect("no error");
    assert!(stopped.elapsed() < READ_AGAIN_AFTER / 2, "ended after {:?}", stopped.elapsed());
    assert_eq!(
        bench.state.cursor(&CursorOwner::Quarantine.to_string()).expect("readable"),
        None,
        "nothing was passed"
    );
}
