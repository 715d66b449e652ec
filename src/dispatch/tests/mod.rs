//! The loop over a real spool and state, with a sink that follows a script.

use futures_util::future::join_all;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use super::low_watermark::{Cursors, ReaderKind, ReaderPosition};
use super::quarantine::QuarantineScope;
use super::rules::{Rules, SinkRules};
use super::*;
use crate::event::Fingerprint;
use crate::routing::TopicTemplate;
use crate::selection::Selection;
use crate::sink::LINGER;
use crate::sink::file::FileSinkOptions;
use crate::sink::outcomes::OutcomeTable as Ledger;
use crate::sink::{CarriedAttributes, Cause, Output, Reason, StartFrom};
use crate::state::DeadFilter;
use crate::testing::bench::{Bench, LIMIT};
use crate::testing::events::event;

mod answers;
mod judged;
mod leaving;
mod overtaking;
mod paused;
mod replayed;
mod slow;
mod steps;
mod unreadable;

/// What a sink answers: by record and by how often it was offered before.
type Script = dyn Fn(&Record, u32) -> Outcome + Send + Sync;

/// Keeps what it accepted, in order, and follows a script about what that is.
pub struct Scripted {
    script: Box<Script>,
    ledger: Arc<Ledger>,
    offered: Mutex<BTreeMap<Position, u32>>,
    accepted: Mutex<Vec<(Arc<str>, Position)>>,
    held: Mutex<BTreeMap<Arc<str>, Position>>,
    pub accepted_count: AtomicU64,
}

impl Scripted {
    pub fn new(script: impl Fn(&Record, u32) -> Outcome + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            script: Box::new(script),
            ledger: Arc::default(),
            offered: Mutex::default(),
            accepted: Mutex::default(),
            held: Mutex::default(),
            accepted_count: AtomicU64::new(0),
        })
    }

    fn accepted(&self, topic: &str) -> Vec<u64> {
        let accepted = self.accepted.lock();
        accepted.iter().filter(|(to, _)| **to == *topic).map(|(_, position)| position.0).collect()
    }

    pub fn offers(&self, position: u64) -> u32 {
        self.offered.lock().get(&Position(position)).copied().unwrap_or(0)
    }
}

impl Sink for Scripted {
    /// As the contract has it: once a record was put off, nothing later of its topic is accepted
    /// before that record is offered again.
    fn publish(&self, batch: Vec<Arc<Record>>) -> Publication {
        let mut offered = self.offered.lock();
        let mut accepted = self.accepted.lock();
        let mut held = self.held.lock();
        let (number, publication) = self.ledger.open(&batch);
        for (index, record) in batch.iter().enumerate() {
            let before = offered.entry(record.position).or_default();
            let waits = held.get(&record.topic).is_some_and(|first| *first < record.position);
            let outcome = if waits { Outcome::Retry(trouble()) } else { (self.script)(record, *before) };
            *before += 1;
            match &outcome {
                Outcome::Retry(_) if waits => {}
                Outcome::Retry(_) => drop(held.insert(Arc::clone(&record.topic), record.position)),
                Outcome::Accepted(_) | Outcome::Rejected(_) => drop(held.remove(&record.topic)),
            }
            if outcome.is_accepted() {
                accepted.push((Arc::clone(&record.topic), record.position));
                self.accepted_count.fetch_add(1, Ordering::Relaxed);
            }
            self.ledger.settle(number, index, outcome);
        }
        self.ledger.seal(number);
        publication
    }
}

fn trouble() -> Reason {
    Reason::new(Cause::UNKNOWN_TOPIC, "it is not there")
}

impl Bench {
    /// The quarantine's care for all there is, beside the sink `lake`.
    pub fn scope(&self) -> QuarantineScope {
        QuarantineScope {
            cursor: Position(0),
            gone: Vec::new(),
            configured: vec!["lake".to_owned()],
            dead_letters: self.metrics.dead_letters.clone(),
        }
    }

    /// A reader of the log, the only one, that has got this far.
    pub fn reader(&self, cursor: Position) -> LogReader {
        let position = ReaderPosition { cursor, kind: ReaderKind::Holding };
        let share = Cursors::new(&self.spool, &[position]).1.remove(0);
        LogReader { share, spool: self.spool.clone(), state: self.state.clone() }
    }

    fn dispatcher(&self, sink: Arc<dyn Sink>, selection: Selection) -> Dispatcher {
        self.dispatcher_behind(self.cursor(), sink, selection)
    }

    pub fn dispatcher_behind(
        &self,
        cursor: Position,
        sink: Arc<dyn Sink>,
        selection: Selection,
    ) -> Dispatcher {
        let sinks = [("lake".to_owned(), SinkRules { selection, topic: template("{family}") })].into();
        let rules = Rules { fingerprint: Fingerprint([1; 6]), sinks };
        self.judging(Arc::new(RuleBook::new(rules, [])), cursor, sink)
    }

    /// A dispatcher that judges by these rules.
    pub fn judging(&self, rules: Arc<RuleBook>, cursor: Position, sink: Arc<dyn Sink>) -> Dispatcher {
        let config = SinkOptions {
            name: "lake".into(),
            // What the rules say counts.
            topic: template("unused"),
            selection: Selection::none(),
            from: StartFrom::Next,
            detaches: false,
            linger: LINGER,
            attributes: CarriedAttributes::default(),
            output: Output::File(FileSinkOptions { dir: "unused".into(), rotate_bytes: 1 }),
        };
        let reader = self.reader(cursor);
        Dispatcher::new(&config, rules, sink, reader, Position(0), &self.metrics, &self.health)
    }

    /// Ten events, and a sink that takes those up to this position and puts the others off.
    async fn stuck_behind(&self, last: u64) -> Arc<Scripted> {
        for _ in 0..10 {
            self.append(of_family("a")).await;
        }
        Scripted::new(move |record, _| match record.position.0 <= last {
            true => Outcome::ACCEPTED,
            false => Outcome::Retry(trouble()),
        })
    }

    /// Runs a dispatcher until its committed cursor has passed everything, then stops it.
    async fn drain(&self, sink: &Arc<Scripted>, selection: Selection) {
        let (stop, cut) = (CancellationToken::new(), CancellationToken::new());
        let dispatcher = self.dispatcher(sink.clone(), selection);
        let running = tokio::spawn(dispatcher.run(stop.clone(), cut.clone()));
        let head = self.spool.head();
        tokio::time::timeout(LIMIT, async {
            while self.cursor() < head {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .expect("the sink catches up in time");
        stop.cancel();
        cut.cancel();
        running.await.expect("no panic").expect("no error");
    }

    fn cursor(&self) -> Position {
        self.state.cursor("lake").expect("readable").unwrap_or_default()
    }
}

pub fn template(text: &str) -> TopicTemplate {
    TopicTemplate::parse(text).expect("a template")
}

pub fn of_family(family: &'static str) -> Event {
    Event { family: family.into(), ..event("k") }
}

#[tokio::test]
async fn everything_arrives_once_and_in_order_and_the_cursor_is_kept() {
    let bench = Bench::new();
    for n in 0..3000 {
        bench.append(of_family(if n % 3 == 0 { "a" } else { "b" })).await;
    }
    let sink = Scripted::new(|_, _| Outcome::ACCEPTED);
    bench.drain(&sink, Selection::All).await;
    assert_eq!(sink.accepted("a"), (1..=3000).step_by(3).collect::<Vec<_>>());
    assert_eq!(sink.accepted_count.load(Ordering::Relaxed), 3000);

    bench.append(of_family("a")).await;
    let again = Scripted::new(|_, _| Outcome::ACCEPTED);
    bench.drain(&again, Selection::All).await;
    assert_eq!(again.accepted("a"), [3001], "a restart goes on behind the cursor");
}

#[tokio::test]
async fn a_topic_in_trouble_keeps_its_order_and_lets_the_others_go_on() {
    let bench = Bench::new();
    for n in 0..500 {
        bench.append(of_family(if n % 2 == 0 { "sick" } else { "well" })).await;
    }
    let sink = Scripted::new(|record, offered| match (&*record.topic, offered) {
        ("sick", 0..3) => Outcome::Retry(trouble()),
        _ => Outcome::ACCEPTED,
    });
    bench.drain(&sink, Selection::All).await;
    assert_eq!(sink.accepted("sick"), (1..=500).step_by(2).collect::<Vec<_>>());
    assert_eq!(sink.accepted("well"), (2..=500).step_by(2).collect::<Vec<_>>());
    assert!(sink.offers(1) > 3, "the first of the sick was offered until it was taken");
    assert_eq!(sink.offers(2), 1, "the well were offered once");
}

/// Takes records and never reports on them.
#[derive(Default)]
struct Mute {
    ledger: Arc<Ledger>,
}

impl Sink for Mute {
    fn publish(&self, batch: Vec<Arc<Record>>) -> Publication {
        self.ledger.open(&batch).1
    }

    fn complaint(&self) -> Option<String> {
        Some("connection refused".into())
    }
}

#[tokio::test]
async fn a_sink_that_gives_no_answer_is_degraded_and_says_why() {
    let bench = Bench::new();
    bench.append(of_family("a")).await;
    let mut dispatcher = bench.dispatcher(Arc::new(Mute::default()), Selection::All);
    let batch = bench.spool.read(Position(0), 1, BATCH_BYTES_MAX).await.expect("readable");
    dispatcher.take_in(batch);
    dispatcher.report(false);
    assert_eq!(bench.health.sinks()[0].trouble(), None, "it has had no time yet");
    dispatcher.quiet_since = Instant::now() - gauges::SILENCE_MAX;
    dispatcher.report(false);
    assert_eq!(bench.health.sinks()[0].trouble(), Some("no_answer: connection refused".into()));
    let text = bench.metrics.render();
    for line in [r#"sink_degraded{sink="lake"} 1"#, r#"sink_in_flight{sink="lake"} 1"#] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn a_sink_that_has_caught_up_is_healthy_again() {
    let bench = Bench::new();
    bench.append(of_family("sick")).await;
    let sink =
        Scripted::new(|_, offered| if offered < 2 { Outcome::Retry(trouble()) } else { Outcome::ACCEPTED });
    let (stop, never) = (CancellationToken::new(), CancellationToken::new());
    let running = tokio::spawn(bench.dispatcher(sink.clone(), Selection::All).run(stop.clone(), never));
    let status = &bench.health.sinks()[0];
    let awaited = async |degraded: bool| {
        while status.trouble().is_some() != degraded {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, awaited(true)).await.expect("the trouble is noted");
    tokio::time::timeout(LIMIT, awaited(false)).await.expect("nothing is left to be tried again");
    assert_eq!(sink.accepted("sick"), [1]);
    stop.cancel();
    running.await.expect("no panic").expect("no error");
}

#[tokio::test]
async fn a_refused_record_is_a_dead_letter_once_and_its_neighbours_arrive() {
    let bench = Bench::new();
    for _ in 0..10 {
        bench.append(of_family("a")).await;
    }
    let too_large = || Reason::new(Cause::TOO_LARGE, "9 bytes, at most 8");
    let sink = Scripted::new(move |record, _| match record.position.0 {
        4 => Outcome::Rejected(too_large()),
        _ => Outcome::ACCEPTED,
    });
    bench.drain(&sink, Selection::All).await;
    assert_eq!(sink.accepted("a"), [1, 2, 3, 5, 6, 7, 8, 9, 10]);
    let dead = bench.state.dead_letters(&DeadFilter::default(), 0, 10).expect("readable");
    let [letter] = &dead[..] else { panic!("one dead letter, found {}", dead.len()) };
    assert_eq!(
        (letter.position, letter.reason.as_str(), letter.sink.as_deref()),
        (Position(4), "too_large", Some("lake"))
    );
}

#[tokio::test]
async fn what_a_sink_does_not_select_never_reaches_it_and_the_cursor_passes_it() {
    let bench = Bench::new();
    bench.append(event("k")).await;
    bench.append(Event { event_type: "call.ended".into(), ..of_family("a") }).await;
    bench
        .append(Event { only_sink: Some("other".into()), event_type: "call.ended".into(), ..of_family("a") })
        .await;
    let for_us = Event { only_sink: Some("lake".into()), ..of_family("a") };
    bench.append(for_us).await;
    let sink = Scripted::new(|_, _| Outcome::ACCEPTED);
    bench.drain(&sink, Selection::Only(["call.ended".to_owned()].into())).await;
    assert_eq!(sink.accepted("a"), [2, 4], "the selected one, and the one redriven to this very sink");
}

#[tokio::test(start_paused = true)]
async fn a_stopping_dispatcher_gives_up_on_a_sink_that_only_puts_off_and_keeps_what_was_settled() {
    let bench = Bench::new();
    let sink = bench.stuck_behind(5).await;
    let (stop, never) = (CancellationToken::new(), CancellationToken::new());
    stop.cancel();
    let begun = Instant::now();
    bench.dispatcher(sink.clone(), Selection::All).run(stop, never).await.expect("no error");
    assert!(sink.offers(6) > 1, "it was tried again before it was given up");
    assert!(begun.elapsed() < 2 * STALL_AT_STOP, "ended after {:?}", begun.elapsed());
    assert_eq!(bench.cursor(), Position(5));
}

#[tokio::test]
async fn a_dispatcher_that_is_cut_short_keeps_what_was_settled() {
    let bench = Bench::new();
    let sink = bench.stuck_behind(5).await;
    let (stop, cut) = (CancellationToken::new(), CancellationToken::new());
    let running = tokio::spawn(bench.dispatcher(sink.clone(), Selection::All).run(stop, cut.clone()));
    while sink.offers(6) < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    cut.cancel();
    running.await.expect("no panic").expect("no error");
    assert_eq!(bench.cursor(), Position(5));
}

#[test]
fn a_restart_suspects_as_many_records_as_a_window_holds_however_far_apart_they_are() {
    let mut suspects = MaybeDuplicates::new(2, Position(1_000_000));
    assert!(!suspects.take(Position(1_000_001)), "it came after the restart");
    assert!(suspects.take(Position(7)) && suspects.take(Position(900_000)));
    assert!(!suspects.take(Position(900_001)), "a window holds two");
}

#[tokio::test(start_paused = true)]
async fn a_dispatcher_waits_for_more_to_come_only_if_it_has_read_all_there_is_and_longer_if_many_are_for_it()
{
    let bench = Bench::new();
    let sink = Scripted::new(|_, _| Outcome::ACCEPTED);
    let dispatcher_for = |taken: bool| {
        let selection = if taken { Selection::All } else { Selection::Only([].into()) };
        let mut dispatcher = bench.dispatcher(sink.clone(), selection);
        dispatcher.linger = Linger::new(LINGER);
        dispatcher
    };
    bench.append_many(500, &of_family("a")).await;
    for taken in [true, false] {
        let mut dispatcher = dispatcher_for(taken);
        tokio::time::advance(LINGER).await;
        let batch = bench.spool.read(Position(0), 500, usize::MAX).await.expect("readable");
        assert_eq!(batch.through, Position(500));
        dispatcher.take_in(batch);
        // 500 came, and none of them for the other.
        let longest = if taken { LINGER } else { LINGER / 10 };
        assert!(dispatcher.lingering() > Duration::ZERO && dispatcher.lingering() <= longest, "{taken}");
    }
    let mut dispatcher = dispatcher_for(true);
    tokio::time::advance(LINGER).await;
    dispatcher.take_in(bench.spool.read(Position(0), 400, usize::MAX).await.expect("readable"));
    assert_eq!(dispatcher.lingering(), Duration::ZERO, "it is behind the log");

    let (begun, pause) = (Instant::now(), LINGER / 2);
    let read = dispatcher.read(pause).expect("there is more").await.expect("readable");
    assert_eq!((read.entries.len(), begun.elapsed() >= pause), (100, true));
}

#[tokio::test]
async fn whatever_the_sink_answers_nothing_is_lost_and_no_topic_is_reordered() {
    // Side by side, because most of their time is spent waiting to try again.
    join_all((0..20).map(a_life_in_which_trouble_comes_and_goes)).await;
}

async fn a_life_in_which_trouble_comes_and_goes(seed: u64) {
    let bench = Bench::new();
    let families = (0..400).map(|n| ["a", "b", "c", "d"][(hash(n, seed) % 4) as usize]);
    join_all(families.map(|family| bench.append(of_family(family)))).await;
    // By topic and attempt; some records are refused for good.
    let sink =
        Scripted::new(move |record, offered| match hash(record.position.0, seed ^ u64::from(offered)) % 10 {
            0 => Outcome::Rejected(trouble()),
            1..4 if offered < 4 => Outcome::Retry(trouble()),
            _ => Outcome::ACCEPTED,
        });
    bench.drain(&sink, Selection::All).await;
    let dead = bench.state.dead_letters(&DeadFilter::default(), 0, 1000).expect("readable").len();
    assert_eq!(sink.accepted_count.load(Ordering::Relaxed) as usize + dead, 400, "seed {seed}");
    for topic in ["a", "b", "c", "d"] {
        let accepted = sink.accepted(topic);
        assert!(accepted.is_sorted(), "seed {seed}, topic {topic}: {accepted:?}");
    }
}

/// A number that looks random and is the same in every run.
fn hash(n: u64, seed: u64) -> u64 {
    let mixed =
        (n ^ seed.rotate_left(32)).wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ (mixed >> 31)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 33
}
