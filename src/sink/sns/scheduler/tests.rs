use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytestring::ByteString;
use proptest::prelude::*;

use super::*;
use crate::dispatch::unsettled::{SendPermission, Unsettled, UnsettledBounds};
use crate::event::{Placement, Position};
use crate::sink::Publication;
use crate::sink::sns::lanes::ENTRIES_MAX;
use crate::testing::events::event;

const BATCH_BYTES_MAX: usize = 100;
const PROBE: usize = 8;

/// A desk between a dispatcher, which is the real window, and a service that answers at will.
struct World {
    desk: Scheduler,
    outcomes: Arc<OutcomeTable>,
    window: Unsettled,
    publications: VecDeque<(Vec<Arc<Record>>, Publication)>,
    published: u64,
    resolved: u64,
    start: Instant,
    now: Instant,
    out: Vec<OutgoingBatch>,
    offered: u64,
    /// What the service has carried out, in its order.
    log: Vec<Arc<Record>>,
    refused: BTreeSet<Position>,
    settled: BTreeMap<Position, Outcome>,
}

#[derive(Clone, Debug)]
enum Step {
    /// The dispatcher reads on.
    Offer { records: u8, topics: u8, keys: u8 },
    /// Whatever may leave does.
    Leave,
    /// A request comes back.
    Return { which: u8, answer: Answer },
    /// Time passes.
    Pass { millis: u16 },
}

#[derive(Clone, Debug)]
enum Answer {
    /// Entry by entry: 0 published, 1 failed, 2 throttled, 3 refused, 4 trouble, others published.
    Entries(Vec<u8>),
    Throttled,
    Suspect,
    Trouble,
    Unclear {
        carried_out: bool,
    },
}

/// The id that the service gives the record of this position.
fn place(position: Position) -> Placement {
    Placement::Message(u128::from(position.0).to_be_bytes())
}

fn reason(cause: Cause) -> Reason {
    Reason::new(cause, "")
}

impl World {
    fn new() -> Self {
        let outcomes = Arc::new(OutcomeTable::default());
        let start = Instant::now();
        Self {
            desk: Scheduler::new(SnsLanes::new(BATCH_BYTES_MAX), Pace::new(4, 7), Arc::clone(&outcomes)),
            outcomes,
            window: Unsettled::new(Position(0), UnsettledBounds { records_max: 10_000, bytes_max: 1 << 30 }),
            publications: VecDeque::new(),
            published: 0,
            resolved: 0,
            start,
            now: start,
            out: Vec::new(),
            offered: 0,
            log: Vec::new(),
            refused: BTreeSet::new(),
            settled: BTreeMap::new(),
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Offer { records, topics, keys } => self.offer(records, topics, keys),
            Step::Leave => self.leave(),
            Step::Return { which, answer } if !self.out.is_empty() => {
                let departure = self.out.remove(usize::from(which) % self.out.len());
                self.give_back(departure, answer);
            }
            Step::Return { .. } => {}
            Step::Pass { millis } => self.now += Duration::from_millis(millis.into()),
        }
        self.dispatch();
    }

    fn offer(&mut self, records: u8, topics: u8, keys: u8) {
        let mut open = Vec::new();
        for _ in 0..records {
            self.offered += 1;
            let mut event = event("");
            let key = (self.offered * 7) % u64::from(keys + 2);
            event.key = (key > 0).then(|| ByteString::from(key.to_string()));
            let topic = format!("t{}", (self.offered * 3) % u64::from(topics + 1));
            let record = Arc::new(Record {
                position: Position(self.offered),
                topic: topic.into(),
                event: event.into(),
            });
            if self.window.admit(&record) == SendPermission::Open {
                open.push(record);
            }
        }
        self.publish(open);
    }

    fn publish(&mut self, records: Vec<Arc<Record>>) {
        if records.is_empty() {
            return;
        }
        self.published += 1;
        let (number, publication) = self.outcomes.open(&records);
        // Every fifth record is half a batch by itself.
        let bytes = |record: &Record| if record.position.0.is_multiple_of(5) { 50 } else { 1 };
        self.desk.hand_over(number, records.clone(), bytes, self.now);
        self.publications.push_back((records, publication));
    }

    fn leave(&mut self) {
        while let Some(departure) = self.desk.next(self.now) {
            let bytes: usize = departure.records.iter().map(|waiting| waiting.bytes).sum();
            assert!((1..=ENTRIES_MAX).contains(&departure.records.len()) && bytes <= BATCH_BYTES_MAX);
            let alone = departure.records.iter().any(|waiting| waiting.alone);
            assert!(!alone || departure.records.len() == 1);
            self.out.push(departure);
            let lanes: Vec<_> = self.out.iter().flat_map(|departure| &departure.records).collect();
            let lanes = lanes
                .iter()
                .filter_map(|waiting| Some((&waiting.record.topic, waiting.record.event.key.as_ref()?)));
            let (count, lanes) = (lanes.clone().count(), lanes.collect::<BTreeSet<_>>());
            assert_eq!(count, lanes.len(), "a key is on its way once");
        }
        assert!(self.out.len() <= 4);
    }

    fn give_back(&mut self, departure: OutgoingBatch, answer: Answer) {
        let count = departure.records.len();
        let all = |fate: EntryFate| vec![fate; count];
        let fates = match &answer {
            Answer::Entries(entries) => departure
                .records
                .iter()
                .enumerate()
                .map(|(index, waiting)| {
                    match entries.get(index) {
                        // One and the same record is refused each time, as a service would.
                        _ if self.refused.contains(&waiting.record.position) => {
                            EntryFate::Refused(reason(Cause::TOO_LARGE))
                        }
                        Some(1) => EntryFate::Failed("failed".into()),
                        Some(2) => EntryFate::Throttled("slower".into()),
                        Some(3) => EntryFate::Refused(reason(Cause::TOO_LARGE)),
                        Some(4) => EntryFate::Trouble(reason(Cause::UNKNOWN_TOPIC)),
                        _ => EntryFate::Published(place(waiting.record.position)),
                    }
                })
                .collect(),
            Answer::Throttled => all(EntryFate::Throttled("slower".into())),
            Answer::Suspect if count > 1 => all(EntryFate::Suspect),
            Answer::Suspect => all(EntryFate::Refused(reason(Cause::INVALID_PARAMETER))),
            Answer::Trouble => all(EntryFate::Trouble(reason(Cause::TOPIC_FORBIDDEN))),
            Answer::Unclear { .. } => all(EntryFate::Unclear(reason(Cause::TIMED_OUT))),
        };
        for (waiting, fate) in departure.records.iter().zip(&fates) {
            match (fate, &answer) {
                (EntryFate::Published(_), _)
                | (EntryFate::Unclear(_), Answer::Unclear { carried_out: true }) => {
                    self.log.push(Arc::clone(&waiting.record));
                }
                (EntryFate::Refused(_), _) => {
                    self.refused.insert(waiting.record.position);
                }
                _ => {}
            }
        }
        self.desk.on_response(departure, fates, self.now);
    }

    /// What a dispatcher does with what is known by now.
    fn dispatch(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        while let Some((_, publication)) = self.publications.front_mut() {
            let Poll::Ready(outcomes) = Pin::new(publication).poll(&mut cx) else { break };
            let (records, _) = self.publications.pop_front().expect("it was there");
            self.resolved += 1;
            for (record, reported) in records.into_iter().zip(outcomes) {
                let outcome = self.window.in_order(&record, reported);
                if let Outcome::Retry(reason) = &outcome {
                    self.window.retry_later(&record, reason, self.now - self.start, self.published);
                } else {
                    self.window.settle(record.position);
                    let before = self.settled.insert(record.position, outcome);
                    assert_eq!(before, None, "a record has one fate");
                }
            }
        }
        let due = self.window.due(self.now - self.start, self.resolved, PROBE);
        self.window.published_again(&due, self.published + 1);
        self.publish(due);
    }

    /// From now on everything succeeds.
    fn heal(&mut self) {
        for _ in 0..100_000 {
            if self.window.is_settled() {
                return;
            }
            self.step(Step::Leave);
            match self.out.is_empty() {
                false => self.step(Step::Return { which: 0, answer: Answer::Entries(Vec::new()) }),
                true => self.step(Step::Pass { millis: 50 }),
            }
        }
        panic!("{} records are never settled", self.window.unsettled());
    }

    fn judge(&self) {
        assert_eq!(self.settled.len() as u64, self.offered);
        let mut last: BTreeMap<_, Position> = BTreeMap::new();
        let mut first_seen = BTreeSet::new();
        for record in &self.log {
            let Some(key) = &record.event.key else { continue };
            if first_seen.insert(record.position) {
                let before = last.insert((&record.topic, key), record.position);
                assert!(before < Some(record.position), "{before:?} before {}", record.position);
            }
        }
        let arrived: BTreeSet<_> = self.log.iter().map(|record| record.position).collect();
        for (position, outcome) in &self.settled {
            let Outcome::Accepted(placement) = outcome else { continue };
            assert!(arrived.contains(position), "{position} was accepted and never arrived");
            assert_eq!(*placement, place(*position), "{position} is where another one is");
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let answer = prop_oneof![
        6 => prop::collection::vec(0..12_u8, 0..=ENTRIES_MAX).prop_map(Answer::Entries),
        1 => Just(Answer::Throttled),
        1 => Just(Answer::Suspect),
        1 => Just(Answer::Trouble),
        1 => any::<bool>().prop_map(|carried_out| Answer::Unclear { carried_out }),
    ];
    let step = prop_oneof![
        2 => (1..40_u8, 0..3_u8, 0..12_u8)
            .prop_map(|(records, topics, keys)| Step::Offer { records, topics, keys }),
        4 => Just(Step::Leave),
        4 => (any::<u8>(), answer).prop_map(|(which, answer)| Step::Return { which, answer }),
        3 => (0..300_u16).prop_map(|millis| Step::Pass { millis }),
    ];
    prop::collection::vec(step, 0..150)
}

proptest! {
    #[test]
    fn whatever_the_service_answers_nothing_is_lost_and_no_key_is_reordered(steps in steps()) {
        let mut world = World::new();
        steps.into_iter().for_each(|step| world.step(step));
        world.heal();
        world.judge();
    }
}

/// A world with so many records of as many keys, and the first requests on their way.
fn world(records: u8) -> World {
    let mut world = World::new();
    world.step(Step::Offer { records, topics: 0, keys: 200 });
    world.step(Step::Leave);
    world
}

#[test]
fn a_throttled_request_is_a_pause_for_all_and_no_failure_of_its_records() {
    let mut world = world(100);
    assert_eq!(world.out.len(), 4);
    let records: usize = world.out.iter().map(|departure| departure.records.len()).sum();
    for _ in 0..4 {
        world.step(Step::Return { which: 0, answer: Answer::Throttled });
    }
    world.leave();
    assert!(world.out.is_empty(), "in a pause nothing leaves");
    let pause = world.desk.wake_at().expect("the pause ends") - world.now;
    assert!(pause <= Duration::from_millis(20), "{pause:?}");
    world.step(Step::Pass { millis: 20 });
    world.leave();
    assert_eq!(world.out.len(), 2, "half as many as before");
    assert!(world.out.iter().flat_map(|departure| &departure.records).all(|waiting| waiting.failures == 0));
    assert_eq!(world.desk.complaint(world.now), Some("slower".into()));
    assert_eq!(world.desk.complaint(world.now + COMPLAINT_HOLDS), None);
    let effort = Effort { repeated: vec![("throttled", records as u64)], requests_allowed: Some(2) };
    assert_eq!(world.desk.effort(), effort, "but it is counted");
    assert_eq!(world.desk.effort().repeated, [], "once");
    world.heal();
    world.judge();
}

#[test]
fn a_service_that_throttles_for_long_is_an_obstacle_until_it_is_calm() {
    let mut world = world(100);
    let since = world.now;
    while world.now - since < Duration::from_secs(5) {
        assert_eq!(world.desk.obstacle(world.now), None, "{:?}", world.now - since);
        while !world.out.is_empty() {
            world.step(Step::Return { which: 0, answer: Answer::Throttled });
        }
        world.step(Step::Pass { millis: 250 });
        world.step(Step::Leave);
    }
    let obstacle = world.desk.obstacle(world.now).expect("it throttles");
    assert!(obstacle.cause == Cause::THROTTLED && obstacle.detail.contains("slower"), "{obstacle:?}");
    world.heal();
    world.step(Step::Pass { millis: 3000 });
    assert_eq!(world.desk.obstacle(world.now), None);
    world.judge();
}

#[test]
fn a_topic_that_does_not_exist_costs_one_request_for_all_that_waits() {
    let mut world = world(100);
    let departure = world.out.swap_remove(0);
    world.give_back(departure, Answer::Trouble);
    world.leave();
    assert_eq!(world.out.len(), 3, "only what was already on its way");
    while !world.out.is_empty() {
        world.step(Step::Return { which: 0, answer: Answer::Trouble });
    }
    let held: Vec<_> = world.window.held().map(|held| (held.topic, held.reason.word())).collect();
    assert_eq!(held, [("t0", "topic_forbidden")]);
    world.step(Step::Pass { millis: 50 });
    world.leave();
    assert_eq!(world.out.len(), 1, "the dispatcher's probe");
}

#[test]
fn a_record_that_fails_again_and_again_holds_its_topic_in_the_end() {
    let mut world = world(1);
    for failure in 1..=FAILURES_MAX {
        assert_eq!(world.out.len(), 1, "failure {failure}");
        world.step(Step::Return { which: 0, answer: Answer::Entries(vec![1]) });
        if failure < FAILURES_MAX {
            world.step(Step::Pass { millis: 1000 });
            world.step(Step::Leave);
        }
    }
    assert_eq!(world.window.held().map(|held| held.reason.word()).collect::<Vec<_>>(), ["entry_failed"]);
    let repeated = u64::from(FAILURES_MAX) - 1;
    assert_eq!(
        world.desk.effort().repeated,
        [("entry_failed", repeated)],
        "the last one the dispatcher counts"
    );
}

#[test]
fn the_records_of_a_refused_request_travel_alone_until_the_refused_one_is_found() {
    let mut world = world(10);
    let records = world.out[0].records.len() as u64;
    world.step(Step::Return { which: 0, answer: Answer::Suspect });
    world.step(Step::Leave);
    assert_eq!(world.out.iter().map(|departure| departure.records.len()).collect::<Vec<_>>(), [1, 1, 1, 1]);
    world.step(Step::Return { which: 0, answer: Answer::Suspect });
    assert_eq!(world.desk.effort().repeated, [("refused_in_company", records)]);
    world.heal();
    world.judge();
    let rejected = world.settled.values().filter(|outcome| matches!(outcome, Outcome::Rejected(_))).count();
    assert_eq!(rejected, 1);
}
