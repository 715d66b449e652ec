//! What a dispatcher tells the deliveries that wait for its sink.

use std::time::Duration;

use super::*;
use crate::ack::{AckOptions, AwaitedSinks, Awaiting, Sought, Unaccepted, WaitingBounds};
use crate::dedup::DuplicateKey;
use crate::dispatch::certainty;
use crate::event::REPLAY_EXTENSION;

/// A sink `lake` that answers wait for, at the cursor of a bench.
fn awaited(bench: &Bench, selection: &Selection) -> AwaitedSinks {
    let (window, most) = (Duration::from_secs(60), WaitingBounds::of(4096, 256 << 20));
    let awaited = AwaitedSinks::new([("lake", selection)], window, most, &bench.metrics);
    let cursor = bench.state.cursor("lake").expect("readable").unwrap_or_default();
    certainty::begin(&[("lake", cursor)], &awaited, &bench.spool, &bench.state).expect("writable");
    awaited
}

fn numbered(number: u64, family: &'static str) -> Event {
    Event { id: format!("id-{number}").into(), ..of_family(family) }
}

/// What waits for an event of this number.
fn waits(awaited: &AwaitedSinks, number: u64) -> Awaiting {
    let event = numbered(number, "a");
    let options = AckOptions { after: vec!["lake".into()], within: Duration::from_secs(5) };
    let after = awaited.after(&options).expect("it waits for the sink");
    after.begin(&event, DuplicateKey::of(&event.source, &event.id)).expect("the sink takes the event")
}

fn start(bench: &Bench, awaited: &AwaitedSinks, sink: Arc<dyn Sink>) -> Running {
    let dispatcher = bench.dispatcher(sink, Selection::All).awaited(awaited.get("lake"));
    let stop = CancellationToken::new();
    let task = tokio::spawn(dispatcher.run(stop.clone(), CancellationToken::new()));
    Running { stop, task }
}

struct Running {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<Result<(), DispatchError>>,
}

impl Running {
    async fn end(self, bench: &Bench) {
        self.stop.cancel();
        bench.spool.close().await;
        self.task.await.expect("no panic").expect("no error");
    }
}

#[tokio::test(start_paused = true)]
async fn a_held_topic_holds_up_the_answers_to_its_own_events_and_no_others() {
    let bench = Bench::new();
    let awaited = awaited(&bench, &Selection::All);
    let sink = Scripted::new(|record, _| match &*record.topic {
        "held" => Outcome::Retry(trouble()),
        _ => Outcome::ACCEPTED,
    });
    let running = start(&bench, &awaited, sink);
    let held = Sought::At(bench.append(numbered(1, "held")).await);
    let other = bench.append(numbered(2, "a")).await;
    assert_eq!(waits(&awaited, 2).accepted(Sought::At(other)).await, Ok(true));
    assert_eq!(waits(&awaited, 2).accepted(Sought::At(other)).await, Ok(true), "and again");
    assert_eq!(waits(&awaited, 1).accepted(held).await, Err(Unaccepted::Late));
    let unknown = Sought::Through(other);
    assert_eq!(waits(&awaited, 2).accepted(unknown).await, Err(Unaccepted::Late), "it may be the held one");
    running.end(&bench).await;
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_takes_nothing_holds_up_no_answer_to_what_others_have_taken() {
    let bench = Bench::new();
    let awaited = awaited(&bench, &Selection::All);
    let sink = slow::Slow::up_to(9, |position| (position != 1).then_some(Outcome::ACCEPTED));
    let stuck = Sought::At(bench.append(numbered(1, "a")).await);
    let beside = Sought::At(bench.append(numbered(2, "a")).await);
    let running = start(&bench, &awaited, sink);
    assert_eq!(waits(&awaited, 2).accepted(beside).await, Ok(true), "of one publication");
    let behind = Sought::At(bench.append(numbered(3, "a")).await);
    assert_eq!(waits(&awaited, 3).accepted(behind).await, Ok(true), "of a later one");
    assert_eq!(waits(&awaited, 1).accepted(stuck).await, Err(Unaccepted::Late));
    running.end(&bench).await;
}

#[tokio::test(start_paused = true)]
async fn a_rejected_event_is_refused_also_by_the_next_start_and_until_its_redriven_copy_is_accepted() {
    let bench = Bench::new();
    let first = awaited(&bench, &Selection::All);
    let rejects = || Scripted::new(|_, _| Outcome::rejected(Cause::TOO_LARGE, "a byte more than it takes"));
    let running = start(&bench, &first, rejects());
    let position = bench.append(numbered(1, "a")).await;
    assert_eq!(waits(&first, 1).accepted(Sought::At(position)).await, Err(Unaccepted::Rejected));
    crate::testing::bench::awaited(|| bench.state.cursor("lake").ok() == Some(Some(position))).await;
    running.stop.cancel();
    running.task.abort();
    let _ = running.task.await;

    let second = awaited(&bench, &Selection::All);
    let unknown = Sought::Through(bench.spool.head());
    assert_eq!(waits(&second, 1).accepted(unknown).await, Err(Unaccepted::Rejected));
    let sink = Scripted::new(|_, _| Outcome::ACCEPTED);
    let running = start(&bench, &second, sink);
    bench.append(Event { only_sink: Some("lake".into()), ..numbered(1, "a") }).await;
    let other = Sought::At(bench.append(numbered(2, "a")).await);
    assert_eq!(waits(&second, 2).accepted(other).await, Ok(true));
    let unknown = Sought::Through(bench.spool.head());
    assert_eq!(waits(&second, 1).accepted(unknown).await, Ok(true), "redriven and accepted");
    running.end(&bench).await;
}

#[tokio::test(start_paused = true)]
async fn an_accepted_event_stays_accepted_when_its_replayed_copy_is_rejected_also_for_the_next_start() {
    let bench = Bench::new();
    let first = awaited(&bench, &Selection::All);
    let sink = Scripted::new(|record, _| match record.event.replay_id() {
        Some(_) => Outcome::rejected(Cause::TOO_LARGE, "a byte more than it takes"),
        None => Outcome::ACCEPTED,
    });
    let running = start(&bench, &first, sink);
    let position = bench.append(numbered(1, "a")).await;
    assert_eq!(waits(&first, 1).accepted(Sought::At(position)).await, Ok(true));
    let mut copy = Event { only_sink: Some("lake".into()), ..numbered(1, "a") };
    copy.extensions.push((REPLAY_EXTENSION.into(), "0a1b2c3d4e5f".into()));
    let position = bench.append(copy).await;
    crate::testing::bench::awaited(|| bench.state.cursor("lake").ok() == Some(Some(position))).await;
    let dead = bench.state.dead_letters(&DeadFilter::default(), 0, 10).expect("readable");
    assert_eq!(
        dead.iter().map(|letter| letter.replay_id.as_deref()).collect::<Vec<_>>(),
        [Some("0a1b2c3d4e5f")]
    );
    let retried = Sought::Through(bench.spool.head());
    assert_eq!(waits(&first, 1).accepted(retried).await, Ok(true), "a provider that sends it again");
    running.end(&bench).await;

    let second = awaited(&bench, &Selection::All);
    assert_eq!(waits(&second, 1).accepted(retried).await, Ok(true));
}

#[tokio::test]
async fn dead_letters_of_events_that_are_gone_from_the_log_are_not_remembered_by_the_next_start() {
    let bench = Bench::new();
    let first = awaited(&bench, &Selection::All);
    let rejects = Scripted::new(|_, _| Outcome::rejected(Cause::TOO_LARGE, "a byte more than it takes"));
    let running = start(&bench, &first, rejects);
    let large = |number| Event { body: vec![b'x'; 4 << 10].into(), ..numbered(number, "a") };
    for number in 1..=100 {
        bench.append(large(number)).await;
    }
    crate::testing::bench::awaited(|| bench.state.cursor("lake").ok() == Some(Some(Position(100)))).await;
    bench.spool.release(Position(50));
    crate::testing::bench::awaited(|| bench.spool.first() > Position(1)).await;

    let second = awaited(&bench, &Selection::All);
    let head = Sought::Through(bench.spool.head());
    assert_eq!(waits(&second, 100).accepted(head).await, Err(Unaccepted::Rejected));
    assert_eq!(waits(&second, 1).accepted(head).await, Ok(true), "its first copy is long gone");
    running.end(&bench).await;
}

#[tokio::test(start_paused = true)]
async fn of_events_from_before_the_sink_was_waited_for_nobody_can_tell() {
    let bench = Bench::new();
    let position = bench.append(numbered(1, "a")).await;
    bench.state.commit(&[progress(position)]).expect("writable");
    let first = awaited(&bench, &Selection::All);
    assert_eq!(waits(&first, 1).accepted(Sought::Through(position)).await, Ok(false));
    let running = start(&bench, &first, Scripted::new(|_, _| Outcome::ACCEPTED));
    let new = Sought::At(bench.append(numbered(2, "a")).await);
    assert_eq!(waits(&first, 2).accepted(new).await, Ok(true));
    running.end(&bench).await;
}

#[tokio::test]
async fn of_records_that_the_sink_had_to_skip_nobody_can_tell_and_the_state_remembers_it() {
    let bench = Bench::new();
    let large = |number| Event { body: vec![b'x'; 4 << 10].into(), ..numbered(number, "a") };
    for number in 1..=200 {
        bench.append(large(number)).await;
    }
    bench.spool.release(Position(100));
    crate::testing::bench::awaited(|| bench.spool.first() > Position(1)).await;
    let lost = Position(bench.spool.first().0 - 1);
    let (gone, last) = (Sought::At(Position(1)), Sought::At(Position(200)));
    let first = awaited(&bench, &Selection::All);
    let running = start(&bench, &first, Scripted::new(|_, _| Outcome::ACCEPTED));
    assert_eq!(waits(&first, 200).accepted(last).await, Ok(true));
    assert_eq!(waits(&first, 1).accepted(gone).await, Ok(false), "passed, and never given to the sink");
    let unknown = Sought::Through(bench.spool.head());
    assert_eq!(waits(&first, 1).accepted(unknown).await, Ok(false), "it may be one of them");
    running.end(&bench).await;

    let rows = bench.state.cursors().expect("readable");
    let certain = rows.iter().find(|(name, _)| name.starts_with("(accepts ")).map(|(_, from)| *from);
    assert!(certain >= Some(lost), "{rows:?}");
}

fn progress(cursor: Position) -> crate::state::Progress {
    crate::state::Progress { sink: "lake".into(), cursor, dead: Vec::new() }
}

#[tokio::test(start_paused = true)]
async fn of_what_was_in_the_log_when_the_selection_changed_nobody_can_tell() {
    let bench = Bench::new();
    let position = bench.append(Event { configuration: Some(EARLIER), ..numbered(1, "a") }).await;
    let former = crate::state::ConfigurationRow {
        fingerprint: EARLIER,
        began: crate::event::Timestamp(7),
        head: Position(0),
        select: Selection::All,
        sinks: [("lake".to_owned(), Selection::none())].into(),
    };
    bench.state.begin_configuration(&former, Position(1), crate::state::WhenFull::Refuse).expect("writable");
    bench.state.commit(&[progress(Position(0))]).expect("writable");

    // The sink never gets the event, which its former selection has left out.
    let awaited = awaited(&bench, &Selection::All);
    let rules = Rules {
        fingerprint: Fingerprint([1; 6]),
        sinks: [("lake".to_owned(), SinkRules { selection: Selection::All, topic: template("{family}") })]
            .into(),
    };
    let book = RuleBook::new(rules, [(EARLIER, former.sinks)]);
    let sink = Scripted::new(|_, _| Outcome::ACCEPTED);
    let dispatcher = bench.judging(Arc::new(book), Position(0), sink.clone()).awaited(awaited.get("lake"));
    let stop = CancellationToken::new();
    let task = tokio::spawn(dispatcher.run(stop.clone(), CancellationToken::new()));
    assert_eq!(waits(&awaited, 1).accepted(Sought::Through(position)).await, Ok(false));
    Running { stop, task }.end(&bench).await;
    assert!(sink.accepted("a").is_empty());
}

/// The configuration under which an event was admitted before this start.
const EARLIER: Fingerprint = Fingerprint([0xe; 6]);
