//! The durable cursors of all readers of the log, which come and go. Segments that all sinks have passed are
//! released. If the spool is full, segments can be removed that all readers without `on_full: detach_sink`
//! have passed. What a replay has yet to read outlives `retain`, as long as there is space; so does what a
//! sink that is added later has yet to read of what was released before.

use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::event::Position;
use crate::spool::Spool;

/// What the log keeps for a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReaderKind {
    /// All that it has not read, also if the spool is full.
    Holding,
    /// What it has not read, until the spool is full: `on_full: detach_sink`.
    Detaching,
    /// What every sink has passed and it has yet to read, until the spool is full: a replay.
    Replaying,
}

/// A reader's durable cursor, and what is kept for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReaderPosition {
    /// The reader's committed cursor.
    pub cursor: Position,
    /// What the log keeps for it.
    pub kind: ReaderKind,
}

/// The durable cursors of all readers. Clones share them.
#[derive(Clone)]
pub struct Cursors {
    readers: Arc<Mutex<Readers>>,
    spool: Spool,
}

#[derive(Debug, Default)]
struct Readers {
    positions: BTreeMap<u64, ReaderPosition>,
    /// The number of the reader that comes next.
    next: u64,
    /// What the log was told that all readers have passed.
    released: Position,
}

/// One reader's handle on the durable cursors. What is kept for the reader stays when the handle is dropped:
/// a reader that ends with the process goes on after the next start. One that goes for good has to
/// [leave](CursorHandle::leave).
#[derive(Clone)]
pub struct CursorHandle {
    cursors: Cursors,
    number: u64,
}

impl Cursors {
    /// The cursors of these readers, with a handle for each. They are made together, so that no reader is
    /// forgotten while another one commits. Records that all of them have passed are released at once.
    pub fn new(spool: &Spool, readers: &[ReaderPosition]) -> (Self, Vec<CursorHandle>) {
        let positions: BTreeMap<_, _> = (0..).zip(readers.iter().copied()).collect();
        let next = positions.len() as u64;
        let readers = Readers { positions, next, released: Position(0) };
        let cursors = Self { readers: Arc::new(Mutex::new(readers)), spool: spool.clone() };
        cursors.settle(&mut cursors.readers());
        let handles = (0..next).map(|number| CursorHandle { cursors: cursors.clone(), number }).collect();
        (cursors, handles)
    }

    /// Adds a reader. What was removed from the log before cannot be kept for it any more; what was released
    /// and is still there is, until the spool is full.
    pub fn add(&self, position: ReaderPosition) -> CursorHandle {
        let mut readers = self.readers();
        let number = readers.next;
        readers.next += 1;
        readers.positions.insert(number, position);
        self.settle(&mut readers);
        CursorHandle { cursors: self.clone(), number }
    }

    fn readers(&self) -> MutexGuard<'_, Readers> {
        self.readers.lock()
    }

    /// Tells the log what it has to keep.
    fn settle(&self, readers: &mut Readers) {
        let slowest = |is_one: &dyn Fn(&ReaderPosition) -> bool| {
            let readers = readers.positions.values().filter(|reader| is_one(reader));
            readers.map(|reader| reader.cursor).min()
        };
        // What is kept first: what is released below must not go before the log knows of it.
        let is_kept = |reader: &ReaderPosition| {
            reader.kind == ReaderKind::Replaying || reader.cursor < readers.released
        };
        self.spool.keep_behind(slowest(&is_kept));
        let released = slowest(&|reader| reader.kind != ReaderKind::Replaying);
        released.into_iter().for_each(|cursor| self.spool.release(cursor));
        let prunable = slowest(&|reader| reader.kind == ReaderKind::Holding);
        prunable.into_iter().for_each(|cursor| self.spool.allow_pruning_in_need(cursor));
        readers.released = readers.released.max(released.unwrap_or_default());
    }
}

impl CursorHandle {
    /// The durable cursor of this reader.
    pub fn cursor(&self) -> Position {
        let readers = self.cursors.readers();
        readers.positions.get(&self.number).map_or(Position(u64::MAX), |reader| reader.cursor)
    }

    /// Notes that this reader's cursor is durable up to here, and releases the records that all readers
    /// have passed.
    pub fn commit(&self, cursor: Position) {
        let mut readers = self.cursors.readers();
        if let Some(reader) = readers.positions.get_mut(&self.number) {
            reader.cursor = cursor;
        }
        self.cursors.settle(&mut readers);
    }

    /// Changes what is kept for this reader from now on.
    pub fn keep_as(&self, kind: ReaderKind) {
        let mut readers = self.cursors.readers();
        if let Some(reader) = readers.positions.get_mut(&self.number) {
            reader.kind = kind;
        }
        self.cursors.settle(&mut readers);
    }

    /// Takes the reader out for good: nothing more is kept for it.
    pub fn leave(self) {
        let mut readers = self.cursors.readers();
        readers.positions.remove(&self.number);
        self.cursors.settle(&mut readers);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::event::Event;
    use crate::testing::bench::{Bench, awaited};
    use crate::testing::events::event;

    /// Longer than the spool takes to look for segments that are past their retention, which is none.
    const TICKS: Duration = Duration::from_millis(1500);

    /// A log of several segments.
    async fn bench() -> Bench {
        filled(Bench::new()).await
    }

    async fn filled(bench: Bench) -> Bench {
        let large = Event { body: vec![b'x'; 4 << 10].into(), ..event("k") };
        for _ in 0..10 {
            bench.append_many(20, &large).await;
        }
        assert!(bench.segments() > 4, "{} segments", bench.segments());
        bench
    }

    fn at(cursor: u64, kind: ReaderKind) -> ReaderPosition {
        ReaderPosition { cursor: Position(cursor), kind }
    }

    #[tokio::test]
    async fn a_reader_that_goes_holds_no_segment_any_more() {
        let bench = bench().await;
        let segments = bench.segments();
        let readers = [at(200, ReaderKind::Holding), at(0, ReaderKind::Holding)];
        let (_cursors, mut handles) = Cursors::new(&bench.spool, &readers);
        tokio::time::sleep(TICKS).await;
        assert_eq!(bench.segments(), segments, "one of them has read nothing");
        // A handle that is dropped is that of a reader which goes on after the next start.
        let slow = handles.remove(1);
        drop(slow.clone());
        slow.leave();
        awaited(|| bench.segments() == 1).await;
    }

    #[tokio::test]
    async fn a_reader_that_comes_is_known_before_anything_is_pruned() {
        let bench = bench().await;
        let segments = bench.segments();
        let (cursors, handles) = Cursors::new(&bench.spool, &[at(0, ReaderKind::Holding)]);
        let replay = cursors.add(at(0, ReaderKind::Replaying));
        handles[0].commit(Position(200));
        tokio::time::sleep(TICKS).await;
        assert_eq!(bench.segments(), segments, "the replay has read nothing");
        replay.commit(Position(100));
        awaited(|| bench.segments() < segments).await;
        assert!(bench.spool.first() <= Position(101), "{:?}", bench.spool.first());
        tokio::time::sleep(TICKS).await;
        assert!(bench.segments() > 1, "it has half of it to read");
        replay.leave();
        awaited(|| bench.segments() == 1).await;
    }

    #[tokio::test]
    async fn a_sink_that_comes_late_has_what_was_released_and_is_still_there_kept_from_its_age() {
        let bench = filled(Bench::retaining(Duration::from_secs(3))).await;
        let segments = bench.segments();
        let (cursors, handles) = Cursors::new(&bench.spool, &[at(0, ReaderKind::Holding)]);
        handles[0].commit(Position(200));
        let late = cursors.add(at(0, ReaderKind::Holding));
        tokio::time::sleep(Duration::from_secs(3) + TICKS).await;
        assert_eq!(bench.segments(), segments, "it has read nothing");
        late.commit(Position(200));
        awaited(|| bench.segments() == 1).await;
    }

    #[tokio::test]
    async fn a_replay_that_comes_late_keeps_what_is_left_and_gives_way_when_the_spool_is_full() {
        let bench = bench().await;
        let (cursors, handles) = Cursors::new(&bench.spool, &[at(0, ReaderKind::Holding)]);
        let free = bench.spool.capacity();
        let replay = cursors.add(at(0, ReaderKind::Replaying));
        assert_eq!(bench.spool.capacity(), free, "it takes no room from anybody");
        handles[0].commit(Position(200));
        let whole = bench.spool.capacity();
        assert!(whole.left > free.left, "all of it can be pruned in need: {whole:?} {free:?}");
        drop(replay);
    }
}
