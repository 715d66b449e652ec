//! A replayed event on its way: delivered like any other, and counted apart.

use super::super::cancelled::CancelledReplays;
use super::*;
use crate::event::{REDRIVEN_EXTENSION, REPLAY_EXTENSION, Timestamp};
use crate::testing::bench::awaited;

/// A copy for `lake` of an event that arrived long ago.
fn copy() -> Event {
    let mut copy = of_family("a");
    copy.only_sink = Some("lake".into());
    copy.extensions.push((REPLAY_EXTENSION.into(), "0a1b2c3d4e5f".into()));
    copy
}

#[tokio::test]
async fn a_replayed_event_is_delivered_like_any_other_and_counted_apart() {
    let bench = Bench::new();
    for _ in 0..3 {
        bench.append(of_family("a")).await;
        bench.append(copy()).await;
    }
    let sink = Scripted::new(|_, _| Outcome::ACCEPTED);
    bench.drain(&sink, Selection::Only(Default::default())).await;
    assert_eq!(sink.accepted("a"), [2, 4, 6], "whatever the sink selects");
    let text = bench.metrics.render();
    assert!(text.contains(r#"replayed_total{sink="lake"} 3"#), "{text}");
    assert!(!text.contains("delivered_total{"), "{text}");
    assert!(text.contains(r#"delivery_duration_seconds_count{sink="lake"} 0"#), "{text}");
}

#[tokio::test]
async fn the_age_of_a_replayed_event_is_not_taken_for_that_of_a_sink_that_is_behind() {
    let bench = Bench::new();
    bench.append(copy()).await;
    let now = Timestamp::from(std::time::SystemTime::now());
    bench.append(Event { arrived: now, ..of_family("a") }).await;
    let mut dispatcher = bench.dispatcher(Arc::new(Mute::default()), Selection::All);
    let batch = bench.spool.read(Position(0), 10, BATCH_BYTES_MAX).await.expect("readable");
    dispatcher.take_in(batch);
    assert_eq!(dispatcher.unsettled.oldest_pending(), Some(now));
}

#[tokio::test]
async fn a_copy_that_waits_does_not_pass_off_a_settled_event_behind_it_as_one_that_waits() {
    let bench = Bench::new();
    bench.append(copy()).await;
    let (first, second) = (Timestamp(1_700_000_000_000_000_000), Timestamp(1_700_000_100_000_000_000));
    bench.append(Event { arrived: first, ..of_family("b") }).await;
    bench.append(Event { arrived: second, ..of_family("b") }).await;
    let mut dispatcher = bench.dispatcher(Arc::new(Mute::default()), Selection::All);
    let batch = bench.spool.read(Position(0), 10, BATCH_BYTES_MAX).await.expect("readable");
    dispatcher.take_in(batch);
    dispatcher.unsettled.settle(Position(2));
    assert_eq!(dispatcher.unsettled.oldest_pending(), Some(second), "the first is settled");
    dispatcher.unsettled.settle(Position(3));
    assert_eq!(dispatcher.unsettled.oldest_pending(), None, "only the copy waits");
}

#[tokio::test]
async fn a_redriven_copy_is_delivered_also_if_its_replay_was_cancelled() {
    let bench = Bench::new();
    let mut redriven = copy();
    redriven.extensions.push((REDRIVEN_EXTENSION.into(), "1".into()));
    bench.append(copy()).await;
    bench.append(redriven).await;
    bench.append(of_family("a")).await;
    let cancelled = CancelledReplays::default();
    cancelled.add("0a1b2c3d4e5f");
    let sink = Scripted::new(|_, _| Outcome::ACCEPTED);
    let dispatcher = bench.dispatcher(sink.clone(), Selection::All).passing_over(cancelled);
    let (stop, never) = (CancellationToken::new(), CancellationToken::new());
    let running = tokio::spawn(dispatcher.run(stop.clone(), never));
    awaited(|| bench.cursor() == Position(3)).await;
    assert_eq!(sink.accepted("a"), [2, 3], "its letter is gone, so this was the last of it");
    stop.cancel();
    bench.spool.close().await;
    running.await.expect("no panic").expect("no error");
}

#[tokio::test]
async fn copies_of_a_cancelled_replay_that_wait_are_passed_over_and_hold_up_nobody() {
    let bench = Bench::new();
    let held = || Event { family: "missing".into(), ..copy() };
    for _ in 0..3 {
        bench.append(held()).await;
        bench.append(of_family("a")).await;
    }
    let sink = Scripted::new(|record, _| match &*record.topic {
        "missing" => Outcome::Retry(trouble()),
        _ => Outcome::ACCEPTED,
    });
    let cancelled = CancelledReplays::default();
    let dispatcher = bench.dispatcher(sink.clone(), Selection::All).passing_over(cancelled.clone());
    let (stop, never) = (CancellationToken::new(), CancellationToken::new());
    let running = tokio::spawn(dispatcher.run(stop.clone(), never));
    awaited(|| sink.accepted("a").len() == 3 && sink.offers(1) > 1).await;
    assert_eq!(bench.cursor(), Position(0), "the first copy holds it up");
    cancelled.add("ffffffffffff");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(bench.cursor(), Position(0), "another replay was cancelled");

    cancelled.add("0a1b2c3d4e5f");
    awaited(|| bench.cursor() == Position(6)).await;
    let offered = sink.offers(1);
    bench.append(held()).await;
    bench.append(of_family("a")).await;
    awaited(|| bench.cursor() == Position(8)).await;
    assert_eq!((sink.accepted("a"), sink.accepted("missing")), (vec![2, 4, 6, 8], vec![]));
    assert_eq!((sink.offers(1), sink.offers(7)), (offered, 0), "no copy is offered any more");
    let dead = bench.state.dead_letters(&DeadFilter::default(), 0, 10).expect("readable");
    assert_eq!(dead, [], "nothing is wrong with them");
    stop.cancel();
    bench.spool.close().await;
    running.await.expect("no panic").expect("no error");
}
