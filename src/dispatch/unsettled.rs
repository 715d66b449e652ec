//! The records that a dispatcher has read and not yet committed: the settled prefix, and held topics
//! (pure).
//!
//! Records enter and leave in spool order; in between each is in flight, waiting or settled. The
//! cursor is the end of the settled prefix, so it passes only records that the sink has or that became dead
//! letters.
//! When a record has to be tried again, its whole topic is held: nothing is published to the topic until
//! all earlier publications have resolved and the backoff is over; then the waiting records go again by
//! position, which keeps the order of a key. The records are bounded in records and bytes beyond the
//! *committed* cursor, which also bounds the duplicates after a crash.
//!
//! Later records of the key can have left before the dispatcher knew. Publications resolve in the order in
//! which they were handed over, and between two republications of a topic its records leave in ascending
//! order; so the outcome of each comes after those of all earlier ones of its key. One that is accepted
//! when an earlier one has come back has overtaken it ([`Unsettled::in_order`]): both are published again,
//! and the key ends in the right order at the price of a duplicate.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::mem::replace;
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;

use crate::backoff::HELD_TOPIC;
use crate::event::{Position, Record, Timestamp};
use crate::sink::{Cause, Outcome, Reason};

/// The limits of what one sink's dispatcher has read and not committed.
#[derive(Clone, Copy, Debug)]
pub struct UnsettledBounds {
    /// Most records beyond the committed cursor.
    pub records_max: usize,
    /// Most bytes of unsettled records in memory.
    pub bytes_max: usize,
}

/// The records between the committed cursor and the last record read.
#[derive(Debug)]
pub struct Unsettled {
    bounds: UnsettledBounds,
    slots: VecDeque<Slot>,
    /// Number of settled slots at the front.
    settled: usize,
    bytes: usize,
    read: Position,
    committed: Position,
    holds: HashMap<Arc<str>, TopicHold>,
}

#[derive(Debug)]
struct Slot {
    position: Position,
    /// When it arrived; `None` of a replayed event, whose age says nothing about the sink.
    arrived: Option<Timestamp>,
    /// How often the record has to be tried again so far.
    retries: u32,
    /// `None` once settled.
    record: Option<Arc<Record>>,
}

/// A topic that is held because one of its records has to be tried again.
#[derive(Debug)]
struct TopicHold {
    waiting: BTreeSet<Position>,
    /// The keys of which a record has come back since the topic was last published again.
    failed_keys: HashSet<ByteString>,
    /// Number of a publication: all up to it have to be resolved before a record of the topic is
    /// published again, because they can still contain records of the topic.
    barrier: u64,
    /// Whether a first batch is out again or went through: no record of it has come back.
    probing: bool,
    probes_failed: u32,
    attempts: u32,
    since: Duration,
    retry_at: Duration,
    reason: Reason,
}

/// A held topic, for metrics, log and health.
#[derive(Clone, Copy, Debug)]
pub struct HeldTopic<'u> {
    /// The topic's name.
    pub topic: &'u str,
    /// Why one of its records has to be tried again.
    pub reason: &'u Reason,
    /// Number of failed probes since the topic is held.
    pub probes_failed: u32,
    /// Number of times that a record of it had to be tried again, each after a longer backoff.
    pub attempts: u32,
    /// When the topic began to be held, in the time of [`Unsettled::retry_later`].
    pub since: Duration,
    /// When its records are published again at the earliest, in the same time.
    pub retry_at: Duration,
    /// The first record that waits, if one does.
    pub first: Option<Position>,
}

/// Whether a record can be published at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendPermission {
    /// Publish the record now.
    Open,
    /// Its topic is held; [`Unsettled::due`] returns the record later.
    Held,
}

impl Unsettled {
    /// No records, at a committed cursor.
    pub fn new(committed: Position, bounds: UnsettledBounds) -> Self {
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

    /// How many more records can be read now.
    pub fn left(&self) -> usize {
        if self.bytes >= self.bounds.bytes_max {
            return 0;
        }
        self.bounds.records_max.saturating_sub(self.slots.len())
    }

    /// Adds the next record to publish. Positions ascend.
    pub fn admit(&mut self, record: &Arc<Record>) -> SendPermission {
        debug_assert!(record.position > self.read, "records enter in spool order");
        self.read = record.position;
        self.bytes += cost(record);
        self.slots.push_back(Slot {
            position: record.position,
            arrived: record.event.replay_id().is_none().then_some(record.event.arrived),
            retries: 0,
            record: Some(Arc::clone(record)),
        });
        match self.holds.get_mut(&record.topic) {
            Some(hold) => {
                hold.waiting.insert(record.position);
                SendPermission::Held
            }
            None => SendPermission::Open,
        }
    }

    /// Notes that all records up to this position were read, also those that are not for this sink.
    pub fn read_through(&mut self, position: Position) {
        self.read = self.read.max(position);
    }

    /// The last position read.
    pub fn read(&self) -> Position {
        self.read
    }

    /// Settles a record: the sink accepted it, or it is a dead letter now. Returns how often it was handed to
    /// the sink.
    pub fn settle(&mut self, position: Position) -> u32 {
        let Some(slot) = self.slot(position) else { return 1 };
        let attempts = slot.retries + 1;
        if let Some(record) = slot.record.take() {
            self.bytes -= cost(&record);
            if let Some(hold) = self.holds.get_mut(&record.topic) {
                hold.waiting.remove(&position);
            }
        }
        while self.slots.get(self.settled).is_some_and(|slot| slot.record.is_none()) {
            self.settled += 1;
        }
        attempts
    }

    /// Notes that a record has to be tried again: its topic is held for a backoff from `now` on, and until
    /// every publication up to number `barrier` is resolved. Returns how often the record was handed to the
    /// sink.
    pub fn retry_later(&mut self, record: &Record, reason: &Reason, now: Duration, barrier: u64) -> u32 {
        let hold = self.holds.entry(Arc::clone(&record.topic)).or_insert_with(|| TopicHold {
            waiting: BTreeSet::new(),
            failed_keys: HashSet::new(),
            barrier,
            probing: false,
            probes_failed: 0,
            attempts: 0,
            since: now,
            retry_at: now,
            reason: reason.clone(),
        });
        hold.waiting.insert(record.position);
        hold.failed_keys.extend(record.event.key.clone());
        // A record that only stood behind another one says nothing about the topic.
        if !reason.cause.is_waiting() || hold.reason.cause.is_waiting() {
            hold.reason.clone_from(reason);
        }
        hold.barrier = barrier;
        hold.probes_failed += u32::from(replace(&mut hold.probing, false));
        if hold.retry_at <= now {
            hold.attempts += 1;
            hold.retry_at = now + HELD_TOPIC.step(hold.attempts);
        }
        self.slot(record.position).map_or(1, |slot| {
            slot.retries += 1;
            slot.retries
        })
    }

    /// What follows from the outcome that a sink reported of a record, once those of all records that were
    /// published before it are noted: an accepted record that has overtaken an earlier one of its key is
    /// tried again, as that one is. A rejected record becomes a dead letter all the same.
    pub fn in_order(&self, record: &Record, reported: Outcome) -> Outcome {
        let Some(hold) = self.holds.get(&record.topic) else { return reported };
        let behind = record.event.key.as_ref().is_some_and(|key| hold.failed_keys.contains(key));
        match reported {
            Outcome::Accepted(_) if behind => Outcome::retry(
                Cause::OVERTOOK,
                "published before an earlier record of its key that is tried again",
            ),
            reported => reported,
        }
    }

    /// When [`Unsettled::due`] has to be called next, if a topic is held whose publications are resolved
    /// (`resolved` is the number of the last resolved publication).
    pub fn next_retry(&self, resolved: u64) -> Option<Duration> {
        self.holds.values().filter(|hold| hold.barrier <= resolved).map(|hold| hold.retry_at).min()
    }

    /// The records of held topics to publish again now, in spool order. For a topic whose backoff is
    /// over: a first batch of `probe_records`, to probe the topic. For a topic whose probe succeeded:
    /// all waiting records, and the topic is no longer held.
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

    /// The records of held topics that are in no publication which is not resolved yet (`resolved` as for
    /// [`Unsettled::next_retry`]).
    pub fn waiting(&self, resolved: u64) -> impl Iterator<Item = &Arc<Record>> {
        let holds = self.holds.values().filter(move |hold| hold.barrier <= resolved);
        holds.flat_map(|hold| &hold.waiting).filter_map(move |position| self.record(*position))
    }

    /// Notes that [due](Unsettled::due) records are published again, in the publication of this number.
    pub fn published_again(&mut self, records: &[Arc<Record>], publication: u64) {
        for record in records {
            if let Some(hold) = self.holds.get_mut(&record.topic) {
                hold.barrier = publication;
                hold.probing = true;
                hold.failed_keys.clear();
            }
        }
    }

    /// The held topics.
    pub fn held(&self) -> impl Iterator<Item = HeldTopic<'_>> {
        self.holds.iter().map(|(topic, hold)| HeldTopic {
            topic,
            reason: &hold.reason,
            probes_failed: hold.probes_failed,
            attempts: hold.attempts,
            since: hold.since,
            retry_at: hold.retry_at,
            first: hold.waiting.first().copied(),
        })
    }

    /// The end of the settled prefix: every record up to it was accepted or is a dead letter.
    pub fn cursor(&self) -> Position {
        match self.slots.get(self.settled) {
            Some(slot) => Position(slot.position.0 - 1),
            None => self.read,
        }
    }

    /// The durable cursor.
    pub fn committed(&self) -> Position {
        self.committed
    }

    /// Notes that the cursor is durable up to here, and drops the records before it.
    pub fn commit(&mut self, cursor: Position) {
        debug_assert!(cursor <= self.cursor(), "only a settled prefix is committed");
        self.committed = cursor;
        while self.slots.front().is_some_and(|slot| slot.position <= cursor) {
            self.slots.pop_front();
            self.settled -= 1;
        }
    }

    /// Whether every record is accepted or a dead letter.
    pub fn is_settled(&self) -> bool {
        self.settled == self.slots.len()
    }

    /// Number of records that are neither accepted nor dead letters.
    pub fn unsettled(&self) -> usize {
        self.slots.iter().skip(self.settled).filter(|slot| slot.record.is_some()).count()
    }

    /// When the oldest unsettled record arrived at the bridge that is not a replayed event.
    pub fn oldest_pending(&self) -> Option<Timestamp> {
        let slots = self.slots.iter().skip(self.settled);
        slots.filter(|slot| slot.record.is_some()).find_map(|slot| slot.arrived)
    }

    fn record(&self, position: Position) -> Option<&Arc<Record>> {
        let index = self.slots.binary_search_by_key(&position, |slot| slot.position).ok()?;
        self.slots.get(index)?.record.as_ref()
    }

    fn slot(&mut self, position: Position) -> Option<&mut Slot> {
        let index = self.slots.binary_search_by_key(&position, |slot| slot.position).ok()?;
        self.slots.get_mut(index)
    }
}

/// Memory of a record in bytes, roughly.
fn cost(record: &Record) -> usize {
    const ATTRIBUTES_BYTES: usize = 512;
    record.event.body.len() + ATTRIBUTES_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, Placement};
    use crate::testing::events::event;

    const BOUNDS: UnsettledBounds = UnsettledBounds { records_max: 4, bytes_max: 1 << 20 };
    const TROUBLE: Reason = Reason { cause: Cause::UNKNOWN_TOPIC, detail: String::new() };

    fn record(position: u64, topic: &str) -> Arc<Record> {
        Arc::new(Record { position: Position(position), topic: topic.into(), event: event("k").into() })
    }

    fn entered(window: &mut Unsettled, records: &[(u64, &str)]) -> Vec<Arc<Record>> {
        records
            .iter()
            .map(|(position, topic)| {
                let record = record(*position, topic);
                window.admit(&record);
                record
            })
            .collect()
    }

    fn positions(records: &[Arc<Record>]) -> Vec<u64> {
        records.iter().map(|record| record.position.0).collect()
    }

    #[test]
    fn the_cursor_never_passes_a_record_that_is_not_settled() {
        let mut window = Unsettled::new(Position(10), BOUNDS);
        entered(&mut window, &[(11, "a"), (13, "a"), (14, "b")]);
        window.settle(Position(14));
        window.settle(Position(13));
        assert_eq!(window.cursor(), Position(10), "11 is still out");
        window.settle(Position(11));
        assert_eq!(window.cursor(), Position(14));
    }

    #[test]
    fn the_cursor_passes_what_was_read_and_not_for_this_sink() {
        let mut window = Unsettled::new(Position(0), BOUNDS);
        window.read_through(Position(7));
        assert_eq!(window.cursor(), Position(7));
        entered(&mut window, &[(9, "a")]);
        window.read_through(Position(12));
        assert_eq!(window.cursor(), Position(8), "up to just before the record that is out");
    }

    #[test]
    fn room_comes_back_with_the_commit_and_not_before() {
        let mut window = Unsettled::new(Position(0), BOUNDS);
        entered(&mut window, &[(1, "a"), (2, "a"), (3, "a"), (4, "a")]);
        assert_eq!(window.left(), 0);
        for position in 1..=4 {
            window.settle(Position(position));
        }
        assert_eq!(window.left(), 0, "settled but not durable: a crash would publish them again");
        window.commit(Position(3));
        assert_eq!(window.left(), 3);
        assert_eq!((window.committed(), window.cursor()), (Position(3), Position(4)));
    }

    #[test]
    fn a_record_that_was_put_off_holds_its_topic_and_no_other() {
        let mut window = Unsettled::new(Position(0), BOUNDS);
        let out = entered(&mut window, &[(1, "a"), (2, "b")]);
        window.retry_later(&out[0], &TROUBLE, Duration::ZERO, 1);
        assert_eq!(window.admit(&record(3, "a")), SendPermission::Held);
        assert_eq!(window.admit(&record(4, "b")), SendPermission::Open);
    }

    #[test]
    fn a_record_that_only_stood_behind_another_does_not_hide_why_its_topic_is_held() {
        let mut window = Unsettled::new(Position(0), BOUNDS);
        let out = entered(&mut window, &[(1, "a"), (2, "a"), (3, "a")]);
        let behind = Reason::new(Cause::HELD, "");
        for (record, reason) in out.iter().zip([&behind, &TROUBLE, &behind]) {
            window.retry_later(record, reason, Duration::ZERO, 1);
        }
        assert_eq!(window.held().map(|held| held.reason.word()).collect::<Vec<_>>(), ["unknown_topic"]);
    }

    #[test]
    fn a_held_topic_is_published_again_in_order_after_its_rest_and_once_its_publications_are_home() {
        let mut window = Unsettled::new(Position(0), UnsettledBounds { records_max: 100, ..BOUNDS });
        let out = entered(&mut window, &[(1, "a"), (2, "a")]);
        window.retry_later(&out[1], &TROUBLE, Duration::ZERO, 2);
        window.retry_later(&out[0], &TROUBLE, Duration::ZERO, 2);
        entered(&mut window, &[(3, "a")]);
        let rested = window.next_retry(2).expect("the topic is held");
        assert!(rested > Duration::ZERO);
        assert_eq!(window.next_retry(1), None, "publication 2 is still out");
        assert!(window.due(rested, 1, 10).is_empty(), "publication 2 is still out");
        assert!(window.due(Duration::ZERO, 2, 10).is_empty(), "the topic still rests");
        assert_eq!(positions(&window.due(rested, 2, 2)), [1, 2], "a first batch probes it");
    }

    fn keyed(position: u64, key: Option<&'static str>) -> Arc<Record> {
        let event = Event { key: key.map(Into::into), ..event("") };
        Arc::new(Record { position: Position(position), topic: "a".into(), event: event.into() })
    }

    #[test]
    fn an_accepted_record_behind_one_of_its_key_that_goes_again_goes_again_too() {
        let mut window = Unsettled::new(Position(0), UnsettledBounds { records_max: 100, ..BOUNDS });
        let keys = [Some("k"), Some("other"), Some("k"), None, Some("k")];
        let out: Vec<_> = (1..).zip(keys).map(|(position, key)| keyed(position, key)).collect();
        for record in &out {
            window.admit(record);
        }
        let placed = || Outcome::Accepted(Placement::offset(1, 42));
        assert_eq!(window.in_order(&out[0], placed()), placed(), "nothing has failed");
        window.retry_later(&out[0], &TROUBLE, Duration::ZERO, 1);
        for well in [&out[1], &out[3]] {
            assert_eq!(window.in_order(well, placed()), placed(), "another key, and none");
        }
        let overtook = window.in_order(&out[2], placed());
        let Outcome::Retry(reason) = &overtook else { panic!("{overtook:?}") };
        assert_eq!(reason.cause, Cause::OVERTOOK);
        window.retry_later(&out[2], reason, Duration::ZERO, 1);
        let refused = Outcome::rejected(Cause::TOO_LARGE, "");
        assert_eq!(window.in_order(&out[4], refused.clone()), refused, "it becomes a dead letter");

        let rested = window.next_retry(1).expect("the topic is held");
        let probe = window.due(rested, 1, 10);
        window.published_again(&probe, 2);
        for again in [&out[0], &out[2]] {
            assert_eq!(window.in_order(again, placed()), placed(), "in order this time");
        }
    }

    #[test]
    fn a_probe_that_goes_through_lifts_the_hold_and_one_that_fails_rests_longer() {
        let mut window = Unsettled::new(Position(0), UnsettledBounds { records_max: 100, ..BOUNDS });
        let out = entered(&mut window, &[(1, "a"), (2, "a"), (3, "a")]);
        window.retry_later(&out[0], &TROUBLE, Duration::ZERO, 1);
        window.retry_later(&out[1], &TROUBLE, Duration::ZERO, 1);
        window.retry_later(&out[2], &TROUBLE, Duration::ZERO, 1);
        let first = window.next_retry(1).expect("held");
        let probe = window.due(first, 1, 1);
        window.published_again(&probe, 2);
        assert_eq!(window.next_retry(1), None, "the probe is out");
        window.retry_later(&probe[0], &TROUBLE, first, 2);
        let second = window.next_retry(2).expect("held");
        assert!(second - first > first, "the second rest is longer than the first");

        assert_eq!(window.held().map(|held| held.probes_failed).collect::<Vec<_>>(), [1]);

        let probe = window.due(second, 2, 1);
        window.published_again(&probe, 3);
        window.settle(Position(1));
        assert_eq!(positions(&window.due(second, 3, 1)), [2, 3], "all that waits, at once");
        assert_eq!(window.held().count(), 0);
        assert_eq!(window.admit(&record(4, "a")), SendPermission::Open);
    }
}
