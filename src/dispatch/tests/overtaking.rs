//! A sink that has already sent later records of a key when an earlier one turns out to need another
//! attempt, and so reports them as accepted.

use std::collections::{BTreeSet, HashSet};
use std::mem::take;
use std::task::{Context, Poll, Waker};

use bytestring::ByteString;
use proptest::prelude::*;

use super::*;
use crate::testing::bench::awaited;

/// How many copies of records arrived beyond the first of each. Asserts that just these records arrived,
/// and that the last copies of each key ascend.
fn copies_in_order(arrived: &[Arc<Record>], expected: impl Iterator<Item = u64>) -> usize {
    let mut seen = BTreeSet::new();
    let mut behind: BTreeMap<_, Position> = BTreeMap::new();
    for record in arrived.iter().rev().filter(|record| seen.insert(record.position)) {
        let Some(key) = &record.event.key else { continue };
        let next = behind.insert((&record.topic, key), record.position);
        assert!(next.is_none_or(|next| record.position < next), "{} ends after {next:?}", record.position);
    }
    assert_eq!(seen, expected.map(Position).collect());
    arrived.len() - seen.len()
}

/// How many batches [`Hasty`] sends before it reports what failed in the first.
const BATCHES_BEHIND: usize = 4;
/// The keys whose first record fails once.
const FAILING: [&str; 2] = ["k1", "k3"];

/// Sends every record at once and accepts it, except that a record of some keys fails, which it reports
/// late.
#[derive(Default)]
struct Hasty {
    ledger: Arc<Ledger>,
    sent: Mutex<Sent>,
}

#[derive(Default)]
struct Sent {
    batches: usize,
    arrived: Vec<Arc<Record>>,
    failed: HashSet<ByteString>,
    unreported: Vec<(usize, usize)>,
}

impl Sink for Hasty {
    fn publish(&self, batch: Vec<Arc<Record>>) -> Publication {
        let mut sent = self.sent.lock();
        let (number, publication) = self.ledger.open(&batch);
        for (index, record) in batch.iter().enumerate() {
            let key = record.event.key.clone().expect("every event has one");
            if self.ledger.is_held(record) {
                self.ledger.settle(number, index, Outcome::retry(Cause::HELD, ""));
            } else if FAILING.contains(&&*key) && sent.failed.insert(key) {
                sent.unreported.push((number, index));
            } else {
                sent.arrived.push(Arc::clone(record));
                self.ledger.settle(number, index, Outcome::ACCEPTED);
            }
        }
        self.ledger.seal(number);
        sent.batches += 1;
        if sent.batches >= BATCHES_BEHIND {
            for (number, index) in take(&mut sent.unreported) {
                self.ledger.settle(number, index, Outcome::Retry(trouble()));
            }
        }
        publication
    }
}

#[tokio::test]
async fn records_that_left_before_an_earlier_one_of_their_key_was_known_to_fail_are_published_behind_it() {
    const OF_EACH_KEY: u64 = 1200;
    let bench = Bench::new();
    let of_key = |key: &'static str| Event { key: Some(key.into()), ..of_family("a") };
    let events = ["k0", "k1", "k2", "k3", "k4"].map(of_key);
    for event in &events {
        bench.append_many(OF_EACH_KEY / 2, event).await;
    }
    for event in &events {
        bench.append_many(OF_EACH_KEY / 2, event).await;
    }
    let sink = Arc::new(Hasty::default());
    let (stop, never) = (CancellationToken::new(), CancellationToken::new());
    let running = tokio::spawn(bench.dispatcher(sink.clone(), Selection::All).run(stop.clone(), never));
    awaited(|| bench.cursor() == bench.spool.head()).await;
    stop.cancel();
    bench.spool.close().await;
    running.await.expect("no panic").expect("no error");

    let sent = sink.sent.lock();
    let copies = copies_in_order(&sent.arrived, 1..=5 * OF_EACH_KEY);
    assert!(copies > 0, "no record had left before the failure was known");
    let of_key = |key: &str| {
        let of_key = sent.arrived.iter().filter(|record| record.event.key.as_deref() == Some(key));
        of_key.count() as u64
    };
    let well = ["k0", "k2", "k4"].map(of_key);
    assert_eq!(well, [OF_EACH_KEY; 3], "a key without a failure is published once");
    let counted = format!(r#"fanbridge_sink_retries_total{{sink="lake",reason="overtook"}} {copies}"#);
    let text = bench.metrics.render();
    assert!(text.lines().any(|line| line == counted), "{counted} is not in\n{text}");
}

/// The records of a dispatcher before a sink that sends each at once, and whose outcomes come at any time
/// and in any order.
#[derive(Default)]
struct World {
    ledger: Arc<Ledger>,
    arrived: Vec<Arc<Record>>,
    /// Records that were sent and have no outcome yet, with what it will be.
    sent: Vec<(usize, usize, Outcome)>,
    publications: VecDeque<PublishingBatch>,
    published: u64,
    resolved: u64,
    offered: u64,
    now: Duration,
    settled: BTreeMap<Position, Outcome>,
}

#[derive(Clone, Debug)]
enum Step {
    /// The dispatcher reads records of these keys; the dice decide the fate of each that is sent.
    Read { keys: Vec<u8>, dice: u64 },
    /// One outcome comes.
    Report { which: usize },
    /// Time passes, and held topics are published again; the dice decide as before.
    Pass { millis: u64, dice: u64 },
}

/// Dice by which everything succeeds.
const ALL_WELL: u64 = 0;
const PROBE: usize = 3;

/// Whether a record that is sent arrives, and what is reported of it.
fn fate(record: &Record, dice: u64) -> (bool, Outcome) {
    match hash(record.position.0, dice) % 10 {
        _ if dice == ALL_WELL => (true, Outcome::ACCEPTED),
        0 | 1 => (false, Outcome::Retry(trouble())),
        2 => (true, Outcome::retry(Cause::TIMED_OUT, "")),
        3 => (false, Outcome::rejected(Cause::TOO_LARGE, "")),
        _ => (true, Outcome::ACCEPTED),
    }
}

impl World {
    fn step(&mut self, unsettled: &mut Unsettled, step: Step) {
        match step {
            Step::Read { keys, dice } => self.read(unsettled, keys, dice),
            Step::Report { which } if !self.sent.is_empty() => {
                let (number, index, outcome) = self.sent.remove(which % self.sent.len());
                self.ledger.settle(number, index, outcome);
            }
            Step::Report { .. } => {}
            Step::Pass { millis, dice } => {
                self.now += Duration::from_millis(millis);
                let due = unsettled.due(self.now, self.resolved, PROBE);
                unsettled.published_again(&due, self.published + 1);
                self.publish(due, dice);
            }
        }
        self.resolve(unsettled);
    }

    fn read(&mut self, unsettled: &mut Unsettled, keys: Vec<u8>, dice: u64) {
        let mut open = Vec::new();
        for key in keys {
            self.offered += 1;
            let position = Position(self.offered);
            let topic = if key % 2 == 0 { "even" } else { "odd" }.into();
            let event = Event { key: (key > 0).then(|| key.to_string().into()), ..event("") }.into();
            let record = Arc::new(Record { position, topic, event });
            if unsettled.admit(&record) == SendPermission::Open {
                open.push(record);
            }
        }
        self.publish(open, dice);
    }

    fn publish(&mut self, records: Vec<Arc<Record>>, dice: u64) {
        if records.is_empty() {
            return;
        }
        self.published += 1;
        let (number, publication) = self.ledger.open(&records);
        for (index, record) in records.iter().enumerate() {
            if self.ledger.is_held(record) {
                self.ledger.settle(number, index, Outcome::retry(Cause::HELD, ""));
                continue;
            }
            let (arrives, outcome) = fate(record, dice);
            if arrives {
                self.arrived.push(Arc::clone(record));
            }
            self.sent.push((number, index, outcome));
        }
        self.ledger.seal(number);
        self.publications.push_back(PublishingBatch { records, publication, told: 0, trace: None });
    }

    /// As [`Dispatcher::resolve`] does.
    fn resolve(&mut self, unsettled: &mut Unsettled) {
        let mut cx = Context::from_waker(Waker::noop());
        while let Some(oldest) = self.publications.front_mut() {
            let Poll::Ready(outcomes) = Pin::new(&mut oldest.publication).poll(&mut cx) else { return };
            let Some(PublishingBatch { records, .. }) = self.publications.pop_front() else { return };
            self.resolved += 1;
            for (record, reported) in records.iter().zip(outcomes) {
                match unsettled.in_order(record, reported) {
                    Outcome::Retry(reason) => {
                        unsettled.retry_later(record, &reason, self.now, self.published);
                    }
                    outcome => {
                        unsettled.settle(record.position);
                        let before = self.settled.insert(record.position, outcome);
                        assert_eq!(before, None, "a record has one fate");
                    }
                }
            }
        }
    }

    /// From now on everything succeeds.
    fn heal(&mut self, unsettled: &mut Unsettled) {
        for _ in 0..1000 {
            while !self.sent.is_empty() {
                self.step(unsettled, Step::Report { which: 0 });
            }
            if unsettled.is_settled() {
                return;
            }
            self.step(unsettled, Step::Pass { millis: 1000, dice: ALL_WELL });
        }
        panic!("{} records are never settled", unsettled.unsettled());
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let dice = || 1..u64::MAX;
    let keys = prop::collection::vec(0..5_u8, 1..8);
    let step = prop_oneof![
        2 => (keys, dice()).prop_map(|(keys, dice)| Step::Read { keys, dice }),
        5 => any::<usize>().prop_map(|which| Step::Report { which }),
        1 => (0..200_u64, dice()).prop_map(|(millis, dice)| Step::Pass { millis, dice }),
    ];
    prop::collection::vec(step, 0..80)
}

proptest! {
    #[test]
    fn in_whatever_order_outcomes_come_nothing_is_lost_and_each_key_ends_in_order(steps in steps()) {
        let bounds = UnsettledBounds { records_max: 10_000, bytes_max: 1 << 30 };
        let (mut world, mut unsettled) = (World::default(), Unsettled::new(Position(0), bounds));
        steps.into_iter().for_each(|step| world.step(&mut unsettled, step));
        world.heal(&mut unsettled);
        assert_eq!(world.settled.len() as u64, world.offered);
        let accepted = world.settled.iter().filter(|(_, outcome)| outcome.is_accepted());
        let accepted: BTreeSet<u64> = accepted.map(|(position, _)| position.0).collect();
        // A record can have arrived, been tried again for want of an answer, and then been rejected.
        world.arrived.retain(|record| accepted.contains(&record.position.0));
        copies_in_order(&world.arrived, accepted.iter().copied());
    }
}
