//! A sink that is paused: nothing is read or published, what is on its way is settled, and a stop waits for
//! nothing.

use super::super::pause::{PauseError, Pausing};
use super::*;
use crate::state::PausedSince;
use crate::testing::bench::awaited;

/// The pausing of the sink `lake`, and what its dispatcher looks at.
fn pausing(bench: &Bench, awaited: bool) -> (Pausing, PauseSwitch) {
    let pausing = Pausing::new(bench.state.clone());
    let paused = bench.state.paused().expect("readable");
    let switch = pausing.add(("lake", awaited), &paused, &bench.health, &bench.metrics);
    (pausing, switch)
}

/// Waits so long that a dispatcher which publishes would have.
async fn a_while() {
    tokio::time::sleep(Duration::from_millis(300)).await;
}

#[tokio::test]
async fn a_paused_dispatcher_publishes_nothing_until_it_is_resumed_and_then_each_record_once() {
    let bench = Bench::new();
    let sink = Scripted::new(|_, _| Outcome::ACCEPTED);
    let dispatcher = bench.dispatcher(sink.clone(), Selection::All);
    let (pausing, switch) = pausing(&bench, false);
    let (stop, never) = (CancellationToken::new(), CancellationToken::new());
    let running = tokio::spawn(dispatcher.pausing(switch).run(stop.clone(), never));
    bench.append_many(10, &of_family("a")).await;
    awaited(|| bench.cursor() == Position(10)).await;

    pausing.pause("lake", "the consumers are moved", false).expect("room");
    a_while().await;
    bench.append_many(10, &of_family("a")).await;
    a_while().await;
    assert_eq!(sink.accepted_count.load(Ordering::Relaxed), 10);
    let paused = bench.health.sinks()[0].paused().expect("it is paused");
    assert_eq!(paused.reason, "the consumers are moved");
    assert!(bench.metrics.render().contains(r#"sink_paused{sink="lake"} 1"#));

    pausing.resume("lake").expect("room").expect("it was paused");
    awaited(|| bench.cursor() == Position(20)).await;
    assert_eq!(sink.accepted("a"), (1..=20).collect::<Vec<_>>());
    assert!(bench.metrics.render().contains(r#"sink_paused{sink="lake"} 0"#));
    assert_eq!(pausing.resume("lake").expect("readable"), None, "it goes on already");
    stop.cancel();
    bench.spool.close().await;
    running.await.expect("no panic").expect("no error");
}

#[tokio::test]
async fn what_waits_to_be_tried_again_waits_for_the_end_of_the_pause_too_and_is_no_trouble() {
    let bench = Bench::new();
    let sink = Scripted::new(|_, offered| match offered {
        0..3 => Outcome::Retry(Reason::new(Cause::TIMED_OUT, "")),
        _ => Outcome::ACCEPTED,
    });
    bench.append(of_family("a")).await;
    let dispatcher = bench.dispatcher(sink.clone(), Selection::All);
    let (pausing, switch) = pausing(&bench, false);
    let (stop, never) = (CancellationToken::new(), CancellationToken::new());
    let running = tokio::spawn(dispatcher.pausing(switch).run(stop.clone(), never));
    awaited(|| sink.offers(1) > 0).await;
    pausing.pause("lake", "a while", false).expect("room");
    // What is under way when the pause begins is offered all the same, once.
    a_while().await;
    let offers = sink.offers(1);
    a_while().await;
    assert_eq!((sink.offers(1), bench.cursor()), (offers, Position(0)));
    pausing.resume("lake").expect("room");
    awaited(|| bench.cursor() == Position(1)).await;
    stop.cancel();
    bench.spool.close().await;
    running.await.expect("no panic").expect("no error");
}

#[tokio::test(start_paused = true)]
async fn a_paused_dispatcher_ends_at_once_when_it_is_told_to_and_is_paused_after_the_start() {
    let bench = Bench::new();
    bench.append_many(10, &of_family("a")).await;
    pausing(&bench, false).0.pause("lake", "a while", false).expect("room");
    bench.spool.close().await;
    let sink = Scripted::new(|_, _| Outcome::ACCEPTED);
    let (stop, never) = (CancellationToken::new(), CancellationToken::new());
    stop.cancel();
    let (_pausing, switch) = pausing(&bench, false);
    let begun = Instant::now();
    bench.dispatcher(sink.clone(), Selection::All).pausing(switch).run(stop, never).await.expect("no error");
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!((sink.offers(1), bench.cursor()), (0, Position(0)));
}

#[tokio::test]
async fn a_pause_needs_a_reason_a_sink_and_force_if_answers_wait() {
    let bench = Bench::new();
    let (pausing, _switch) = pausing(&bench, true);
    let refused =
        |name: &str, reason: &str, force| pausing.pause(name, reason, force).expect_err("it is refused");
    assert!(matches!(refused("lake", "a while", false), PauseError::Awaited(_)));
    assert!(matches!(refused("lake", " ", true), PauseError::Reason));
    assert!(matches!(refused("lake", &"x".repeat(301), true), PauseError::Reason));
    let unknown = refused("like", "a while", true).to_string();
    assert_eq!(unknown, "no sink is named `like` (configured: lake)");
    assert_eq!(bench.state.paused().expect("readable"), [], "none of it has changed anything");

    let first = pausing.pause("lake", "a while", true).expect("room");
    let again = pausing.pause("lake", " longer ", true).expect("room");
    assert_eq!((again.since, &*again.reason), (first.since, "longer"), "it is paused since it was first");
    assert_eq!(bench.state.paused().expect("readable"), [("lake".to_owned(), again)]);
}

#[tokio::test]
async fn a_pause_that_took_effect_in_the_state_alone_is_gone_once_the_sink_is_resumed() {
    let bench = Bench::new();
    let (pausing, _switch) = pausing(&bench, false);
    // As after a write that ended in an error although it was durable.
    let since = PausedSince { since: std::time::SystemTime::now().into(), reason: "a while".into() };
    bench.state.pause("lake", &since).expect("room");
    assert_eq!(pausing.resume("lake").expect("room"), None, "it was never paused in this process");
    assert_eq!(bench.state.paused().expect("readable"), [], "and is not by the next start");
}
