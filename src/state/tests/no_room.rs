//! The file without room: what was kept stays, what was not is kept as soon as there is.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::*;
use crate::testing::failing::{self, Fault, Faults};

/// A state on bytes that can be made to fail.
struct Bench {
    state: State,
    faults: Faults,
    dir: TempDir,
}

impl Bench {
    fn new() -> Self {
        let (dir, state) = opened();
        drop(state);
        let (state, faults) = failing::opened(&dir.path().join(FILE_NAME));
        Self { state, faults, dir }
    }

    fn set(&self, fault: Fault) {
        self.faults.set(fault);
    }

    /// A commit that does not rest after the last one that failed.
    fn commit(&self, progress: &Progress) -> Result<(), StateError> {
        self.state.file.space.wrote(&[], Instant::now());
        self.state.commit(std::slice::from_ref(progress))
    }

    fn kept(&self) -> (Option<Position>, usize) {
        (self.state.cursor("lake").unwrap(), all(&self.state).len())
    }
}

#[test]
fn a_commit_without_room_at_any_of_its_writes_changes_nothing_and_succeeds_when_there_is() {
    let bench = Bench::new();
    bench.commit(&progress("lake", 1, vec![letter(Some("lake"), 1, "too_large")])).unwrap();
    let mut tried = 0;
    for writes in 0.. {
        let before = bench.kept();
        // Large, so that the file has to grow as well.
        let mut dead = letter(Some("lake"), writes + 2, "too_large");
        if let Entry::Event(event) = &mut dead.entry {
            let event = Arc::make_mut(event);
            event.body = vec![b'x'; 200_000].into();
        }
        let step = progress("lake", writes + 2, vec![dead]);
        bench.set(Fault::OneIn(writes));

        let failed = bench.commit(&step);

        if failed.is_ok() {
            break;
        }
        assert!(matches!(failed, Err(StateError::NoRoom { .. })), "write {writes}: {failed:?}");
        assert_eq!(bench.kept(), before, "after write {writes}: what was there, and nothing half");
        assert_eq!(bench.state.shortage().unwrap().waiting, ["lake"]);
        bench.commit(&step).unwrap();
        bench.commit(&step).unwrap();
        assert_eq!(bench.kept(), (Some(Position(writes + 2)), before.1 + 1), "once");
        assert_eq!(bench.state.shortage(), None);
        tried = writes + 1;
    }
    assert!(tried > 5, "a commit of {tried} writes is not one of the library's");

    // And on the disk it is as the bridge believes.
    let Bench { state, dir, .. } = bench;
    let kept = (state.cursor("lake").unwrap(), all(&state).len());
    drop(state);
    let state = State::open(&dir.path().join(FILE_NAME)).unwrap();
    assert_eq!((state.cursor("lake").unwrap(), all(&state).len()), kept);
}

#[test]
fn a_file_that_cannot_even_be_opened_again_is_there_as_soon_as_there_is_room() {
    let bench = Bench::new();
    bench.commit(&progress("lake", 9, Vec::new())).unwrap();
    bench.set(Fault::All);
    for _ in 0..3 {
        let failed = bench.commit(&progress("lake", 10, Vec::new()));
        assert!(matches!(failed, Err(StateError::NoRoom { .. })), "{failed:?}");
        assert!(matches!(bench.state.cursor("lake"), Err(StateError::NoRoom { .. })));
    }
    let at_once = bench.state.commit(&[progress("billing", 3, Vec::new())]);
    assert!(matches!(at_once, Err(StateError::NoRoom { .. })), "it rests: {at_once:?}");
    assert_eq!(bench.state.shortage().unwrap().waiting, ["billing", "lake"]);

    bench.set(Fault::None);
    bench.commit(&progress("lake", 10, Vec::new())).unwrap();
    bench.commit(&progress("billing", 3, Vec::new())).unwrap();
    assert_eq!(
        bench.state.cursors().unwrap(),
        [("billing".into(), Position(3)), ("lake".into(), Position(10))]
    );
    assert_eq!(bench.state.shortage(), None);
}

#[test]
fn an_fsync_that_finds_no_room_is_as_final_as_any_that_fails() {
    let bench = Bench::new();
    bench.commit(&progress("lake", 9, Vec::new())).unwrap();
    bench.set(Fault::OneSync);
    // The disk would now say that all is well: it is not asked.
    for _ in 0..2 {
        let failed = bench.commit(&progress("lake", 10, Vec::new()));
        assert!(matches!(failed, Err(StateError::Io { .. })), "{failed:?}");
    }
    assert!(matches!(bench.state.cursor("lake"), Err(StateError::Io { .. })));
    assert_eq!(bench.state.shortage(), None, "there is nothing to wait for");
}

#[test]
fn every_write_without_room_is_counted() {
    let (bench, metrics) = (Bench::new(), Metrics::new());
    bench.state.count_in(&metrics);
    bench.set(Fault::All);
    for _ in 0..2 {
        bench.commit(&progress("lake", 10, Vec::new())).unwrap_err();
        bench.state.commit(&[progress("lake", 10, Vec::new())]).unwrap_err();
    }
    assert_eq!(metrics.state_no_room.get(), 2, "those that were turned away have not been tried");
}

#[test]
fn who_only_reads_notices_nothing_of_writes_without_room() {
    let bench = Bench::new();
    bench.commit(&progress("lake", 1, Vec::new())).unwrap();
    let (done, reads) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut last = Position(1);
            while !done.load(Ordering::Relaxed) {
                let cursor = bench.state.cursor("lake").unwrap().unwrap();
                assert!(cursor >= last, "{cursor} after {last}");
                last = cursor;
                reads.fetch_add(1, Ordering::Relaxed);
            }
        });
        for round in 2..100 {
            bench.set(Fault::OneIn(round % 7));
            while bench.commit(&progress("lake", round, Vec::new())).is_err() {
                bench.set(Fault::None);
            }
        }
        done.store(true, Ordering::Relaxed);
        reader.join().unwrap();
    });
    assert!(reads.into_inner() > 0);
    assert_eq!(bench.state.cursor("lake").unwrap(), Some(Position(99)));
}
