//! Replays over a real spool and state, with a sink whose cursor the test moves.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::dedup::DuplicateKey;
use crate::event::{Entry, Event, REDRIVEN_EXTENSION, REPLAY_EXTENSION};
use crate::health::PausedStatus;
use crate::testing::bench::{Bench, awaited};
use crate::testing::events::event;
use crate::testing::failing::Fault;

/// An hour, in nanoseconds.
const HOUR: i64 = 3_600_000_000_000;
/// More than any of these tests sends in its time.
const FAST: u32 = RATE_MAX;

/// A log, and the replays to the sinks `lake` and `billing`; `billing` takes `call.ended` only.
struct Replaying {
    bench: Bench,
    lake: CursorHandle,
    replays: Replays,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Replaying {
    /// On this log, with `lake` behind this position.
    fn new(bench: Bench, cursor: Position) -> Self {
        Self::with_sources(bench, cursor, &["/stream/default"])
    }

    fn with_sources(bench: Bench, cursor: Position, sources: &[&str]) -> Self {
        let resumed: Vec<ReplayRow> = bench.state.replays().expect("readable");
        let resumed = resumed.into_iter().filter(|row| row.state == ReplayState::Running);
        let resumed: Vec<ReplayRow> = resumed.collect();
        let holding = ReaderPosition { cursor, kind: ReaderKind::Holding };
        let kept = resumed.iter();
        let kept = kept.map(|row| ReaderPosition { cursor: row.read, kind: ReaderKind::Replaying });
        let positions: Vec<_> = [holding].into_iter().chain(kept).collect();
        let (cursors, mut handles) = Cursors::new(&bench.spool, &positions);
        let running = |(row, read): (ReplayRow, CursorHandle)| {
            (row.id, RunningReplay { sink: row.sink, end: row.end, read })
        };
        let kept = resumed.into_iter().zip(handles.split_off(1)).map(running).collect();
        let sinks = vec![
            ReplaySink {
                name: "lake".into(),
                selection: Selection::All,
                cursor: handles[0].clone(),
                status: bench.health.add_sink("lake"),
            },
            ReplaySink {
                name: "billing".into(),
                selection: Selection::Only(["call.ended".to_owned()].into()),
                cursor: handles[0].clone(),
                status: bench.health.add_sink("billing"),
            },
        ];
        let log = (bench.state.clone(), bench.spool.clone());
        let sources = sources.iter().map(|source| (*source).to_owned()).collect();
        let kept = (kept, CancelledReplays::default());
        let replays = Replays::new(log, cursors, sinks, sources, kept, bench.metrics.replay.clone());
        let stop = CancellationToken::new();
        let running = tokio::spawn(replays.clone().run(stop.clone()));
        Self { bench, lake: handles.remove(0), replays, stop, running }
    }

    /// Stops the runners; what is left goes on with the next [`Replaying::new`].
    async fn end(self) -> Bench {
        self.stop.cancel();
        self.running.await.expect("no panic");
        self.bench
    }

    fn begin(&self, new: NewReplay) -> ReplayRow {
        self.replays.begin(&new).expect("it can be asked for")
    }

    fn row(&self, id: u64) -> ReplayRow {
        self.replays.show(id).expect("there is one").0
    }

    /// Waits for the end of a replay, with a sink that takes whatever comes.
    async fn done(&self, id: u64) -> ReplayRow {
        awaited(|| {
            self.lake.commit(self.bench.spool.head());
            self.row(id).state != ReplayState::Running
        })
        .await;
        self.row(id)
    }

    /// The copies in the log, with their positions.
    async fn copies(&self) -> Vec<(Position, Arc<Event>)> {
        copies(&self.bench).await
    }
}

async fn copies(bench: &Bench) -> Vec<(Position, Arc<Event>)> {
    let (mut read, mut copies) = (Position(0), Vec::new());
    while read < bench.spool.head() {
        let batch = bench.spool.read(read, 1000, 1 << 20).await.expect("readable");
        read = batch.through;
        for (position, entry) in batch.entries {
            match entry {
                Entry::Event(event) if event.replay_id().is_some() => copies.push((position, event)),
                Entry::Event(_) | Entry::Quarantined(_) => {}
            }
        }
    }
    copies
}

/// Takes in events of two types by turns, one each minute from the first hour on.
async fn taken(bench: &Bench, count: i64) {
    for number in 0..count {
        let event_type = if number % 2 == 0 { "call.created" } else { "call.ended" };
        let taken = Event {
            id: format!("evt-{number:05}").into(),
            event_type: event_type.into(),
            arrived: Timestamp(HOUR + number * HOUR / 60),
            ..event("k")
        };
        let key = DuplicateKey::of(&taken.source, &taken.id);
        bench.spool.append(taken.into(), Some(key)).await.expect("room");
    }
}

fn to(sink: &str, events: ReplaySelection) -> NewReplay {
    NewReplay { sink: sink.into(), events, select_all: false, rate: FAST }
}

fn since(hours: i64) -> ReplaySelection {
    ReplaySelection { since: Some(Timestamp(hours * HOUR)), ..ReplaySelection::default() }
}

#[tokio::test]
async fn exactly_the_events_that_were_asked_for_are_copied_for_one_sink_and_in_their_order() {
    let bench = Bench::new();
    taken(&bench, 300).await;
    let replaying = Replaying::new(bench, Position(300));
    let events = ReplaySelection {
        until: Some(Timestamp(3 * HOUR)),
        types: ["call.ended".to_owned()].into(),
        ..since(2)
    };
    let begun = replaying.begin(to("lake", events.clone()));
    let counted = replaying.replays.count(&to("lake", events), Position(0)).expect("readable");
    assert_eq!((counted.events, counted.complete, counted.not_selected), (30, true, 0));
    assert_eq!(counted.types, [("call.ended".to_owned(), 30)].into());
    assert_eq!(counted.hours, [("1970-01-01T02Z".to_owned(), 30)].into());
    let row = replaying.done(begun.id).await;
    assert_eq!((row.state, row.sent, row.lost, row.not_selected), (ReplayState::Done, 30, 0, 0));

    let copies = replaying.copies().await;
    let expected: Vec<String> = (0..30).map(|number| format!("evt-{:05}", 61 + 2 * number)).collect();
    assert_eq!(copies.iter().map(|(_, copy)| copy.id.to_string()).collect::<Vec<_>>(), expected);
    for (_, copy) in &copies {
        assert_eq!(copy.only_sink.as_deref(), Some("lake"));
        assert_eq!(copy.replay_id().map(|id| &**id), Some(&*row.replay_id));
        assert!((2 * HOUR..3 * HOUR).contains(&copy.arrived.0), "the arrival is the original's");
        assert!(copy.extensions.contains(&("webhookid".into(), "w".into())), "{:?}", copy.extensions);
    }
    assert_eq!((row.replay_id.len(), row.last), (12, copies[29].0));
    replaying.end().await;
}

#[tokio::test]
async fn what_the_sink_does_not_select_is_counted_and_sent_only_if_that_is_asked_for() {
    let bench = Bench::new();
    taken(&bench, 40).await;
    let replaying = Replaying::new(bench, Position(40));
    let counted = replaying.replays.count(&to("billing", since(0)), Position(0)).expect("readable");
    assert_eq!((counted.events, counted.not_selected), (20, 20));
    let all = NewReplay { select_all: true, ..to("billing", since(0)) };
    assert_eq!(replaying.replays.count(&all, Position(0)).expect("readable").events, 40);

    let begun = replaying.begin(to("billing", since(0)));
    awaited(|| replaying.row(begun.id).sent == 20).await;
    assert_eq!(replaying.row(begun.id).not_selected, 20);
    let copies = replaying.copies().await;
    assert!(copies.iter().all(|(_, copy)| copy.event_type == "call.ended"), "{copies:?}");
    replaying.end().await;
}

#[tokio::test]
async fn copies_are_not_replayed_again_and_neither_is_what_was_redriven() {
    let bench = Bench::new();
    taken(&bench, 10).await;
    let redriven = (REDRIVEN_EXTENSION.into(), "1".into());
    let only_sink = Some("lake".into());
    bench.append(Event { extensions: vec![redriven], only_sink, ..event("k") }).await;
    let replaying = Replaying::new(bench, Position(11));
    for replay in 1..=3 {
        let begun = replaying.begin(to("lake", since(0)));
        assert_eq!(begun.id, replay);
        assert_eq!(replaying.done(begun.id).await.sent, 10, "replay {replay}");
    }
    let copies = replaying.copies().await;
    let marks = |event: &Event| {
        let is_mark = |name: &str| name == REPLAY_EXTENSION || name == REDRIVEN_EXTENSION;
        event.extensions.iter().filter(|(name, _)| is_mark(name)).count()
    };
    assert_eq!(copies.len(), 30);
    assert!(copies.iter().all(|(_, copy)| marks(copy) == 1));
    let names: std::collections::BTreeSet<_> = copies.iter().map(|(_, copy)| copy.replay_id()).collect();
    assert_eq!(names.len(), 3, "each replay has a name of its own");
    replaying.end().await;
}

#[tokio::test]
async fn of_replays_that_are_begun_together_each_knows_which_copies_are_its_own() {
    let bench = Bench::new();
    taken(&bench, 100).await;
    let replaying = Replaying::new(bench, Position(100));
    let begun = [(); 2].map(|()| replaying.begin(to("lake", since(0))));
    assert_eq!(begun[0].end, begun[1].end);
    for replay in begun {
        let row = replaying.done(replay.id).await;
        let copies = replaying.copies().await;
        let own = copies.iter().filter(|(_, copy)| copy.replay_id().is_some_and(|id| **id == *row.replay_id));
        let own: Vec<Position> = own.map(|(position, _)| *position).collect();
        assert_eq!((row.first, row.last), (own[0], own[99]));
        let between = copies.iter().filter(|(position, _)| (row.first..=row.last).contains(position));
        assert_eq!(between.count(), 100, "and none of another");
    }
    replaying.end().await;
}

#[tokio::test]
async fn a_replay_waits_while_its_sink_is_behind_with_the_copies_so_that_live_events_come_first() {
    let bench = Bench::new();
    taken(&bench, 3000).await;
    let replaying = Replaying::new(bench, Position(3000));
    let begun = replaying.begin(NewReplay { rate: 1000, ..to("lake", since(0)) });
    awaited(|| replaying.replays.show(begun.id).expect("there is one").1.is_some()).await;
    let (row, waits_for) = replaying.replays.show(begun.id).expect("there is one");
    let most = 512 + pace::BATCH_MAX as u64;
    assert!((512..=most).contains(&row.sent), "{} copies wait for the sink", row.sent);
    let words = format!("lake is {} entries of the log behind the last copy", row.sent);
    assert_eq!(waits_for, Some(words));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(replaying.row(begun.id).sent, row.sent, "and no more come");
    let (since, reason) = (Timestamp(0), "a while".to_owned());
    replaying.bench.health.sinks()[0].pause(Some(PausedStatus { since, reason }));
    awaited(|| {
        let (row, waits_for) = replaying.replays.show(begun.id).expect("there is one");
        waits_for == Some(format!("lake is paused, and {} entries of the log behind the last copy", row.sent))
    })
    .await;
    let row = replaying.done(begun.id).await;
    assert_eq!((row.state, row.sent), (ReplayState::Done, 3000));
    replaying.end().await;
}

#[tokio::test]
async fn a_replay_that_is_interrupted_goes_on_without_a_gap() {
    let mut bench = Bench::new();
    taken(&bench, 4000).await;
    let mut id = None;
    let (mut lives, mut cursor) = (0, Position(4000));
    loop {
        let replaying = Replaying::new(bench, cursor);
        let id =
            *id.get_or_insert_with(|| replaying.begin(NewReplay { rate: 20_000, ..to("lake", since(0)) }).id);
        let before = replaying.row(id).sent;
        awaited(|| {
            replaying.lake.commit(replaying.bench.spool.head());
            let row = replaying.row(id);
            row.sent >= before + 300 || row.state == ReplayState::Done
        })
        .await;
        lives += 1;
        let ended = replaying.row(id).state == ReplayState::Done;
        cursor = replaying.lake.cursor();
        bench = replaying.end().await;
        if ended {
            break;
        }
    }
    assert!(lives > 5, "{lives}");
    let ids: Vec<String> = copies(&bench).await.iter().map(|(_, copy)| copy.id.to_string()).collect();
    assert_eq!(ids, (0..4000).map(|number| format!("evt-{number:05}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_replay_that_finds_no_room_to_note_how_far_it_is_appends_nothing_twice() {
    let (bench, faults) = Bench::failing();
    taken(&bench, 1000).await;
    let replaying = Replaying::new(bench, Position(1000));
    let begun = replaying.begin(NewReplay { rate: 1000, ..to("lake", since(0)) });
    awaited(|| replaying.row(begun.id).sent > 100).await;
    faults.set(Fault::All);
    let head = replaying.bench.spool.head();
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let waits_for = replaying.replays.0.waiting.lock().get(&begun.id).cloned().expect("it waits");
    assert!(
        waits_for.starts_with("the state, in which its progress is noted, cannot be used"),
        "{waits_for}"
    );
    let more = replaying.bench.spool.head().0 - head.0;
    assert!(more <= pace::BATCH_MAX as u64, "{more} copies without a note of them");
    faults.set(Fault::None);
    let row = replaying.done(begun.id).await;
    assert_eq!((row.state, row.sent), (ReplayState::Done, 1000));
    assert_eq!(replaying.copies().await.len(), 1000, "each once");
    replaying.end().await;
}

#[tokio::test]
async fn of_a_batch_that_is_appended_in_part_exactly_what_is_in_front_of_the_rest_is_counted() {
    let bench = Bench::new();
    taken(&bench, 40).await;
    let replaying = Replaying::new(bench, Position(40));
    let row = replaying.begin(NewReplay { rate: 1, ..to("billing", since(0)) });
    let (shared, stop) = (Arc::clone(&replaying.replays.0), CancellationToken::new());
    let runner = run::Runner { shared, name: "billing".into(), stop };
    let page = runner.page(&row, 20).await.expect("readable");
    assert_eq!((page.originals[9], page.passed.not_selected), (Position(20), 10));
    let part = runner.part(&row, page.originals[3], page.passed).await;
    assert_eq!(part, run::PassedPart { through: Position(8), lost: 0, not_selected: 4 });
    let rest = ReplayRow { read: part.through, ..row };
    assert_eq!(runner.page(&rest, 12).await.expect("readable").passed.not_selected, 6);
    replaying.end().await;
}

#[tokio::test]
async fn a_replay_that_is_cancelled_while_it_keeps_its_pace_sends_nothing_more() {
    let bench = Bench::new();
    taken(&bench, 100).await;
    let replaying = Replaying::new(bench, Position(100));
    let begun = replaying.begin(NewReplay { rate: 1, ..to("lake", since(0)) });
    // The runner waits a second for its first event.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let sent = replaying.replays.cancel(begun.id).expect("it runs").sent;
    let copies = replaying.copies().await.len();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(replaying.copies().await.len(), copies, "not the batch that was next, either");
    assert_eq!((replaying.row(begun.id).sent, copies as u64), (sent, sent));

    let sent = ReplayRow { sent: 7, last: Position(107), ..begun };
    assert_eq!(replaying.replays.0.record(sent).expect("room"), run::Going::No);
    let row = replaying.row(1);
    assert_eq!(
        (row.state, row.sent, row.last),
        (ReplayState::Cancelled, 7, Position(107)),
        "what was under way"
    );
    replaying.end().await;
}

#[tokio::test]
async fn a_cancellation_that_finds_no_room_is_refused_and_nobody_is_said_to_wait_for_it() {
    let (bench, faults) = Bench::failing();
    taken(&bench, 100).await;
    let replaying = Replaying::new(bench, Position(100));
    // Its first event comes after a second, and until then it writes nothing by itself.
    let begun = replaying.begin(NewReplay { rate: 1, ..to("lake", since(0)) });
    faults.set(Fault::All);
    let refused = replaying.replays.cancel(begun.id).expect_err("there is no room");
    assert!(matches!(refused, ReplayError::State(StateError::NoRoom { .. })), "{refused}");
    assert_eq!(replaying.bench.state.shortage().map(|shortage| shortage.waiting), None);
    faults.set(Fault::None);
    replaying.end().await;
}

#[tokio::test]
async fn what_a_replay_has_yet_to_read_outlives_its_retention_until_the_replay_ends() {
    let bench = Bench::new();
    taken(&bench, 2000).await;
    let segments = bench.segments();
    assert!(segments > 3, "{segments}");
    let replaying = Replaying::new(bench, Position(2000));
    let begun = replaying.begin(NewReplay { rate: 1, ..to("lake", since(0)) });
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(replaying.bench.segments() >= segments, "retention is over, and the replay has not read them");
    let cancelled = replaying.replays.cancel(begun.id).expect("it runs");
    assert_eq!(cancelled.state, ReplayState::Cancelled);
    assert!(matches!(replaying.replays.cancel(begun.id), Err(ReplayError::Ended(1))));
    assert!(replaying.bench.metrics.render().contains(r#"replay_pending{sink="lake"} 0"#));
    let sent = replaying.row(begun.id).sent;
    awaited(|| replaying.bench.segments() < 3).await;
    assert_eq!(replaying.row(begun.id).sent, sent, "a cancelled replay sends nothing more");
    replaying.end().await;
}

#[tokio::test]
async fn single_events_are_replayed_by_their_ids_and_an_id_that_is_not_there_is_named() {
    let bench = Bench::new();
    taken(&bench, 100).await;
    let replaying = Replaying::new(bench, Position(100));
    let ids = |ids: &[&str]| ReplaySelection {
        ids: ids.iter().map(|id| (*id).to_owned()).collect(),
        ..ReplaySelection::default()
    };
    let begun = replaying.begin(to("lake", ids(&["evt-00042", "evt-00007"])));
    assert_eq!((begun.begun_at, begun.end), (Position(7), Position(43)), "only that part is looked through");
    assert_eq!(replaying.done(begun.id).await.sent, 2);
    let copies = replaying.copies().await;
    assert_eq!(copies.iter().map(|(_, copy)| &*copy.id).collect::<Vec<_>>(), ["evt-00007", "evt-00042"]);

    let missing =
        replaying.replays.begin(&to("lake", ids(&["evt-00001", "evt-0"]))).expect_err("one is not there");
    assert!(missing.to_string().starts_with("the log has no event with the id `evt-0`"), "{missing}");
    replaying.end().await;
}

#[tokio::test]
async fn events_that_are_named_by_their_ids_are_sent_although_their_source_was_removed_meanwhile() {
    let bench = Bench::new();
    taken(&bench, 100).await;
    let replaying = Replaying::new(bench, Position(100));
    let ids = ["evt-00007".to_owned(), "evt-00042".to_owned()].into();
    let ids = ReplaySelection { ids, ..ReplaySelection::default() };
    let begun = replaying.begin(NewReplay { rate: 1, ..to("lake", ids) });
    let bench = replaying.end().await;
    assert_eq!(copies(&bench).await.len(), 0);
    let replaying = Replaying::with_sources(bench, Position(100), &[]);
    assert_eq!(replaying.done(begun.id).await.sent, 2);
    replaying.end().await;
}

#[tokio::test]
async fn what_a_sink_has_yet_to_get_for_the_first_time_is_not_sent_to_it_by_a_replay_too() {
    let bench = Bench::new();
    taken(&bench, 300).await;
    let replaying = Replaying::new(bench, Position(200));
    let counted = replaying.replays.count(&to("lake", since(0)), Position(0)).expect("readable");
    assert_eq!((counted.events, counted.through, counted.complete), (200, 200, true));
    let later = replaying.replays.count(&to("lake", since(5)), Position(0)).expect("readable");
    assert_eq!((later.events, later.complete), (0, true), "all of it is behind the sink's cursor");
    let ids = ["evt-00250".to_owned()].into();
    let one = ReplaySelection { ids, ..ReplaySelection::default() };
    let refused = replaying.replays.begin(&to("lake", one)).expect_err("lake gets it anyway").to_string();
    assert!(refused.starts_with("lake has not passed the event with the id `evt-00250` yet"), "{refused}");

    let begun = replaying.begin(to("lake", since(0)));
    assert_eq!((begun.begun_at, begun.end), (Position(0), Position(200)));
    assert_eq!(replaying.done(begun.id).await.sent, 200);
    let copies = replaying.copies().await;
    assert_eq!(copies.last().map(|(_, copy)| copy.id.to_string()), Some("evt-00199".into()));
    replaying.end().await;
}

#[tokio::test]
async fn what_cannot_be_replayed_is_refused_with_what_is_wrong() {
    let replaying = Replaying::new(Bench::new(), Position(0));
    let refused = |new: NewReplay| replaying.replays.begin(&new).expect_err("it is refused").to_string();
    assert_eq!(refused(to("like", since(0))), "no sink is named `like` (configured: lake, billing)");
    let everything = refused(to("lake", ReplaySelection::default()));
    assert_eq!(everything, "say which events: since, until, types, families, sources or ids");
    let until = Some(Timestamp(HOUR));
    assert!(refused(to("lake", ReplaySelection { until, ..since(1) })).contains("`until` is not behind"));
    for rate in [0, RATE_MAX + 1] {
        assert!(refused(NewReplay { rate, ..to("lake", since(0)) }).contains("expected 1 to 100000"));
    }
    let ids = (0..=IDS_MAX).map(|id| id.to_string()).collect();
    assert!(refused(to("lake", ReplaySelection { ids, ..ReplaySelection::default() })).contains("101 ids"));
    assert!(matches!(replaying.replays.show(1), Err(ReplayError::Unknown(1))));
    assert!(matches!(replaying.replays.cancel(1), Err(ReplayError::Unknown(1))));
    assert_eq!(replaying.bench.state.replays().expect("readable"), []);
    // A log without events has nothing to send.
    let begun = replaying.begin(to("lake", since(0)));
    assert_eq!(replaying.done(begun.id).await.sent, 0);
    replaying.end().await;
}
