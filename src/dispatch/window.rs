//! What a dispatcher has read and not yet committed: the settled prefix, and topics on hold (pure).
//!
//! Records enter in spool order and leave in spool order; in between each is in flight, waiting
//! or settled. The cursor is the end of the settled prefix, so it never passes a record that the
//! sink does not have. When a record is put off, its whole topic is held: nothing later may be
//! published to it until the record has gone, which is what keeps the order of a key. Bounded in
//! records and bytes beyond the *committed* cursor, which is also the bound on duplicates after a
//! crash.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::mem::replace;
use std::sync::Arc;
use std::time::Duration;

use crate::event::{Position, Reason, Record, Timestamp};
use crate::sink::PASSING;

/// The bounds of a window.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Records published beyond the committed cursor.
    pub records_max: usize,
    /// Bytes of unsettled records held in memory.
    pub bytes_max: usize,
}

/// Everything between the committed cursor and the last record read.
#[derive(Debug)]
pub struct Window {
    bounds: Bounds,
    slots: VecDeque<Slot>,
    /// How many slots at the front are settled.
    settled: usize,
    bytes: usize,
    read: Position,
    committed: Position,
    holds: HashMap<Arc<str>, Hold>,
}

#[derive(Debug)]
struct Slot {
    position: Position,
    arrived: Timestamp,
    /// How often the record was put off.
    put_off: u32,
    /// `None` once settled.
    record: Option<Arc<Record>>,
}

/// A topic that is held because a record for it was put off.
#[derive(Debug)]
struct Hold {
    waiting: BTreeSet<Position>,
    /// Publications up to this number must have been resolved before anything is published again:
    /// they may still bring home records of this topic.
    barrier: u64,
    /// A first batch was published again and nothing of it has been put off so far.
    probing: bool,
    probes_failed: u32,
    attempts: u32,
    retry_at: Duration,
    reason: Reason,
}

/// A topic that is held, from outside.
#[derive(Clone, Copy, Debug)]
pub struct Held<'w> {
    /// Its name.
    pub topic: &'w str,
    /// Why a record of it was put off last.
    pub reason: &'w Reason,
    /// How often it was probed since it is held, and failed again.
    pub probes_failed: u32,
}

/// Where a record may go now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entrance {
    /// Publish it.
    Open,
    /// Its topic is held; the window gives it back through [`Window::due`].
    Held,
}

impl Window {
    /// An empty window behind a committed cursor.
    pub fn new(committed: Position, bounds: Bounds) -> Self {
        Self {
            bounds,
            slots: VecDeque::new(),
            settled: 0,
            bytes: 0,
            read: committed,
            committed,
            holds: HashMap::new(),
        }
    }

    /// How many records may be read now.
    pub fn room(&self) -> usize {
        if self.bytes >= self.bounds.bytes_max {
            return 0;
        }
        self.bounds.records_max.saturating_sub(self.slots.len())
    }

    /// Takes in the next record to publish. Positions ascend.
    pub fn enter(&mut self, record: &Arc<Record>) -> Entrance {
        debug_assert!(record.position > self.read, "records enter in spool order");
        self.read = record.position;
        self.bytes += cost(record);
        self.slots.push_back(Slot {
            position: record.position,
            arrived: record.event.arrived,
            put_off: 0,
            record: Some(Arc::clone(record)),
        });
        match self.holds.get_mut(&record.topic) {
            Some(hold) => {
                hold.waiting.insert(record.position);
                Entrance::Held
            }
            None => Entrance::Open,
        }
    }

    /// Notes that everything up to here was read, whether or not it entered.
    pub fn read_through(&mut self, position: Position) {
        self.read = self.read.max(position);
    }

    /// The last position read.
    pub fn read(&self) -> Position {
        self.read
    }

    /// A record reached its end: accepted by the sink, or now a dead letter.
    pub fn settle(&mut self, position: Position) {
        let Some(slot) = self.slot(position) else { return };
        if let Some(record) = slot.record.take() {
            self.bytes -= cost(&record);
            if let Some(hold) = self.holds.get_mut(&record.topic) {
                hold.waiting.remove(&position);
            }
        }
        while self.slots.get(self.settled).is_some_and(|slot| slot.record.is_none()) {
            self.settled += 1;
        }
    }

    /// A record was put off: its topic is held until `now` plus a backoff, and until every
    /// publication up to number `barrier` has been resolved.
    pub fn put_off(&mut self, record: &Record, reason: &Reason, now: Duration, barrier: u64) {
        let hold = self.holds.entry(Arc::clone(&record.topic)).or_insert_with(|| Hold {
            waiting: BTreeSet::new(),
            barrier,
            probing: false,
            probes_failed: 0,
            attempts: 0,
            retry_at: now,
            reason: reason.clone(),
        });
        hold.waiting.insert(record.position);
        // What only stood behind another record says nothing of the topic.
        if !PASSING.contains(&reason.word) || PASSING.contains(&hold.reason.word) {
            hold.reason.clone_from(reason);
        }
        hold.barrier = barrier;
        hold.probes_failed += u32::from(replace(&mut hold.probing, false));
        if hold.retry_at <= now {
            hold.attempts += 1;
            hold.retry_at = now + backoff(hold.attempts);
        }
        if let Some(slot) = self.slot(record.position) {
            slot.put_off += 1;
        }
    }

    /// How often an unsettled record was handed to the sink.
    pub fn attempts(&mut self, position: Position) -> u32 {
        self.slot(position).map_or(1, |slot| slot.put_off + 1)
    }

    /// When [`Window::due`] should be asked next, if any topic is held and its publications are
    /// home (`resolved` is the number of the last publication resolved).
    pub fn next_retry(&self, resolved: u64) -> Option<Duration> {
        self.holds.values().filter(|hold| hold.barrier <= resolved).map(|hold| hold.retry_at).min()
    }

    /// The records of held topics to publish again now, in spool order: of a topic whose time has
    /// come a first batch of `probe_records` to probe it; of a topic whose probe went through all
    /// that waits, and the hold is lifted.
    pub fn due(&mut self, now: Duration, resolved: u64, probe_records: usize) -> Vec<Arc<Record>> {
        let mut positions = BTreeSet::new();
        self.holds.retain(|_, hold| {
            if hold.barrier > resolved || hold.retry_at > now {
                return true;
            }
            let lifted = hold.probing || hold.waiting.is_empty();
            positions.extend(hold.waiting.iter().take(if lifted { usize::MAX } else { probe_records }));
            !lifted
        });
        positions.iter().filter_map(|position| self.slot(*position)?.record.clone()).collect()
    }

    /// Notes that records which were [due](Window::due) were published, as this publication.
    pub fn published_again(&mut self, records: &[Arc<Record>], publication: u64) {
        for record in records {
            if let Some(hold) = self.holds.get_mut(&record.topic) {
                hold.barrier = publication;
                hold.probing = true;
            }
        }
    }

    /// The topics that are held.
    pub fn held(&self) -> impl Iterator<Item = Held<'_>> {
        self.holds.iter().map(|(topic, hold)| Held {
            topic,
            reason: &hold.reason,
            probes_failed: hold.probes_failed,
        })
    }

    /// The end of the settled prefix: everything at or before it is accounted for.
    pub fn cursor(&self) -> Position {
        match self.slots.get(self.settled) {
            Some(slot) => Position(slot.position.0 - 1),
            None => self.read,
        }
    }

    /// The cursor that is known to be durable.
    pub fn committed(&self) -> Position {
        self.committed
    }

    /// Notes that the cursor is durable up to here, which makes room.
    pub fn commit(&mut self, cursor: Position) {
        debug_assert!(cursor <= self.cursor(), "only a settled prefix is committed");
        self.committed = cursor;
        while self.slots.front().is_some_and(|slot| slot.position <= cursor) {
            self.slots.pop_front();
            self.settled -= 1;
        }
    }

    /// Whether every record read is accepted or a dead letter.
    pub fn is_settled(&self) -> bool {
        self.settled == self.slots.len()
    }

    /// How many records are neither accepted nor dead letters.
    pub fn unsettled(&self) -> usize {
        self.slots.iter().skip(self.settled).filter(|slot| slot.record.is_some()).count()
    }

    /// When the oldest unsettled record arrived.
    pub fn oldest_pending(&self) -> Option<Timestamp> {
        self.slots.get(self.settled).map(|slot| slot.arrived)
    }

    fn slot(&mut self, position: Position) -> Option<&mut Slot> {
        let index = self.slots.binary_search_by_key(&position, |slot| slot.position).ok()?;
        self.slots.get_mut(index)
    }
}

/// What a record holds in memory, about.
fn cost(record: &Record) -> usize {
    const ATTRIBUTES_BYTES: usize = 512;
    record.event.body.len() + ATTRIBUTES_BYTES
}

/// How long a held topic rests before the nth attempt: 50, 100, 200, 400, 800, then 1,000 ms each.
/// The last is below the two seconds within which a healed topic has to deliver again.
fn backoff(attempts: u32) -> Duration {
    Duration::from_millis(25 << attempts.min(6)).min(Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::tests::event;

    const BOUNDS: Bounds = Bounds { records_max: 4, bytes_max: 1 << 20 };
    const TROUBLE: Reason = Reason { word: "unknown_topic", detail: String::new() };

    fn record(position: u64, topic: &str) -> Arc<Record> {
        Arc::new(Record { position: Position(position), topic: topic.into(), event: event("k") })
    }

    fn entered(window: &mut Window, records: &[(u64, &str)]) -> Vec<Arc<Record>> {
        records
            .iter()
            .map(|(position, topic)| {
                let record = record(*position, topic);
                window.enter(&record);
                record
            })
            .collect()
    }

    fn positions(records: &[Arc<Record>]) -> Vec<u64> {
        records.iter().map(|record| record.position.0).collect()
    }

    #[test]
    fn the_cursor_never_passes_a_record_that_is_not_settled() {
        let mut window = Window::new(Position(10), BOUNDS);
        entered(&mut window, &[(11, "a"), (13, "a"), (14, "b")]);
        window.settle(Position(14));
        window.settle(Position(13));
        assert_eq!(window.cursor(), Position(10), "11 is still out");
        window.settle(Position(11));
        assert_eq!(window.cursor(), Position(14));
    }

    #[test]
    fn the_cursor_passes_what_was_read_and_not_for_this_sink() {
        let mut window = Window::new(Position(0), BOUNDS);
        window.read_through(Position(7));
        assert_eq!(window.cursor(), Position(7));
        entered(&mut window, &[(9, "a")]);
        window.read_through(Position(12));
        assert_eq!(window.cursor(), Position(8), "up to just before the record that is out");
    }

    #[test]
    fn room_comes_back_with_the_commit_and_not_before() {
        let mut window = Window::new(Position(0), BOUNDS);
        entered(&mut window, &[(1, "a"), (2, "a"), (3, "a"), (4, "a")]);
        assert_eq!(window.room(), 0);
        for position in 1..=4 {
            window.settle(Position(position));
        }
        assert_eq!(window.room(), 0, "settled but not durable: a crash would publish them again");
        window.commit(Position(3));
        assert_eq!(window.room(), 3);
        assert_eq!((window.committed(), window.cursor()), (Position(3), Position(4)));
    }

    #[test]
    fn a_record_that_was_put_off_holds_its_topic_and_no_other() {
        let mut window = Window::new(Position(0), BOUNDS);
        let out = entered(&mut window, &[(1, "a"), (2, "b")]);
        window.put_off(&out[0], &TROUBLE, Duration::ZERO, 1);
        assert_eq!(window.enter(&record(3, "a")), Entrance::Held);
        assert_eq!(window.enter(&record(4, "b")), Entrance::Open);
    }

    #[test]
    fn a_record_that_only_stood_behind_another_does_not_hide_why_its_topic_is_held() {
        let mut window = Window::new(Position(0), BOUNDS);
        let out = entered(&mut window, &[(1, "a"), (2, "a"), (3, "a")]);
        let behind = Reason { word: "held", detail: String::new() };
        for (record, reason) in out.iter().zip([&behind, &TROUBLE, &behind]) {
            window.put_off(record, reason, Duration::ZERO, 1);
        }
        assert_eq!(window.held().map(|held| held.reason.word).collect::<Vec<_>>(), ["unknown_topic"]);
    }

    #[test]
    fn a_held_topic_is_published_again_in_order_after_its_rest_and_once_its_publications_are_home() {
        let mut window = Window::new(Position(0), Bounds { records_max: 100, ..BOUNDS });
        let out = entered(&mut window, &[(1, "a"), (2, "a")]);
        window.put_off(&out[1], &TROUBLE, Duration::ZERO, 2);
        window.put_off(&out[0], &TROUBLE, Duration::ZERO, 2);
        entered(&mut window, &[(3, "a")]);
        let rested = window.next_retry(2).expect("the topic is held");
        assert!(rested > Duration::ZERO);
        assert_eq!(window.next_retry(1), None, "publication 2 is still out");
        assert!(window.due(rested, 1, 10).is_empty(), "publication 2 is still out");
        assert!(window.due(Duration::ZERO, 2, 10).is_empty(), "the topic still rests");
        assert_eq!(positions(&window.due(rested, 2, 2)), [1, 2], "a first batch probes it");
    }

    #[test]
    fn a_probe_that_goes_through_lifts_the_hold_and_one_that_fails_rests_longer() {
        let mut window = Window::new(Position(0), Bounds { records_max: 100, ..BOUNDS });
        let out = entered(&mut window, &[(1, "a"), (2, "a"), (3, "a")]);
        window.put_off(&out[0], &TROUBLE, Duration::ZERO, 1);
        window.put_off(&out[1], &TROUBLE, Duration::ZERO, 1);
        window.put_off(&out[2], &TROUBLE, Duration::ZERO, 1);
        let first = window.next_retry(1).expect("held");
        let probe = window.due(first, 1, 1);
        window.published_again(&probe, 2);
        assert_eq!(window.next_retry(1), None, "the probe is out");
        window.put_off(&probe[0], &TROUBLE, first, 2);
        let second = window.next_retry(2).expect("held");
        assert!(second - first > first, "the second rest is longer than the first");

        assert_eq!(window.held().map(|held| held.probes_failed).collect::<Vec<_>>(), [1]);

        let probe = window.due(second, 2, 1);
        window.published_again(&probe, 3);
        window.settle(Position(1));
        assert_eq!(positions(&window.due(second, 3, 1)), [2, 3], "all that waits, at once");
        assert_eq!(window.held().count(), 0);
        assert_eq!(window.enter(&record(4, "a")), Entrance::Open);
    }

    #[test]
    fn a_rest_never_exceeds_one_second() {
        assert_eq!(backoff(1), Duration::from_millis(50));
        assert_eq!(backoff(5), Duration::from_millis(800));
        assert!((6..200).all(|attempts| backoff(attempts) == Duration::from_secs(1)));
    }
}
