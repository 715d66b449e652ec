//! A dispatcher that leaves while the bridge goes on: another one takes its place, or its sink is removed.

use super::super::leave::{LeaveNotice, LeaveOrder};
use super::super::pause::Pausing;
use super::*;
use crate::testing::bench::awaited;

/// A dispatcher that runs and can be told to leave.
struct Leaving {
    leave: LeaveNotice,
    stop: CancellationToken,
    cut: CancellationToken,
    running: tokio::task::JoinHandle<Result<(), DispatchError>>,
}

impl Leaving {
    fn start(dispatcher: Dispatcher) -> Self {
        let leave = LeaveNotice::default();
        let (stop, cut) = (CancellationToken::new(), CancellationToken::new());
        let running = tokio::spawn(dispatcher.leaving(leave.clone()).run(stop.clone(), cut.clone()));
        Self { leave, stop, cut, running }
    }

    async fn leave(self, order: LeaveOrder) {
        match order {
            LeaveOrder::Replaced => self.leave.replace(),
            LeaveOrder::Removed(through) => self.leave.remove(through),
        }
        self.stop.cancel();
        tokio::time::timeout(LIMIT, self.running)
            .await
            .expect("in time")
            .expect("no panic")
            .expect("no error");
    }
}

#[tokio::test]
async fn one_that_is_replaced_reads_nothing_more_and_the_next_one_goes_on_with_each_record_once() {
    let bench = Bench::new();
    let mut accepted = Vec::new();
    for _ in 0..5 {
        bench.append_many(300, &of_family("a")).await;
        let sink = Scripted::new(|_, _| Outcome::ACCEPTED);
        let dispatcher = Leaving::start(bench.dispatcher(sink.clone(), Selection::All));
        awaited(|| sink.accepted_count.load(Ordering::Relaxed) > 0).await;
        dispatcher.leave(LeaveOrder::Replaced).await;
        accepted.extend(sink.accepted("a"));
        assert_eq!(bench.cursor().0, accepted.len() as u64, "all that it was given is settled and committed");
    }
    let last = Scripted::new(|_, _| Outcome::ACCEPTED);
    bench.drain(&last, Selection::All).await;
    accepted.extend(last.accepted("a"));
    assert_eq!(accepted, (1..=1500).collect::<Vec<_>>());
}

#[tokio::test]
async fn one_that_has_caught_up_leaves_at_once_and_not_with_the_next_event() {
    let bench = Bench::new();
    bench.append(of_family("a")).await;
    for order in [LeaveOrder::Replaced, LeaveOrder::Removed(bench.spool.head())] {
        let sink = Scripted::new(|_, _| Outcome::ACCEPTED);
        let dispatcher = Leaving::start(bench.dispatcher(sink, Selection::All));
        awaited(|| bench.cursor() == Position(1)).await;
        let begun = Instant::now();
        dispatcher.leave(order).await;
        assert!(begun.elapsed() < STALL_AT_STOP, "{order:?} took {:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn one_whose_sink_is_removed_delivers_what_the_log_held_by_then_and_nothing_behind_it() {
    let bench = Bench::new();
    bench.append_many(2500, &of_family("a")).await;
    let sink = Scripted::new(|_, _| Outcome::ACCEPTED);
    let dispatcher = Leaving::start(bench.dispatcher(sink.clone(), Selection::All));
    dispatcher.leave(LeaveOrder::Removed(Position(2001))).await;
    assert_eq!(sink.accepted("a"), (1..=2001).collect::<Vec<_>>());
    assert_eq!(bench.cursor(), Position(2001));
}

#[tokio::test(start_paused = true)]
async fn one_whose_sink_puts_everything_off_leaves_soon_and_keeps_what_was_settled() {
    let bench = Bench::new();
    for order in [LeaveOrder::Replaced, LeaveOrder::Removed(Position(10))] {
        let sink = bench.stuck_behind(5).await;
        let dispatcher = Leaving::start(bench.dispatcher_behind(Position(0), sink.clone(), Selection::All));
        while sink.offers(6) < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let begun = Instant::now();
        dispatcher.leave(order).await;
        assert!(begun.elapsed() < 2 * STALL_AT_STOP, "{order:?} took {:?}", begun.elapsed());
        assert_eq!(bench.cursor(), Position(5));
    }
}

#[tokio::test]
async fn one_whose_sink_answers_nothing_is_cut_short() {
    let bench = Bench::new();
    bench.append(of_family("a")).await;
    let dispatcher = Leaving::start(bench.dispatcher(Arc::new(Mute::default()), Selection::All));
    let begun = Instant::now();
    dispatcher.cut.cancel();
    dispatcher.leave(LeaveOrder::Removed(Position(1))).await;
    assert!(begun.elapsed() < STALL_AT_STOP, "{:?}", begun.elapsed());
    assert_eq!(bench.cursor(), Position(0));
}

#[tokio::test(start_paused = true)]
async fn one_whose_sink_is_paused_leaves_at_once_and_publishes_nothing() {
    let bench = Bench::new();
    bench.append_many(10, &of_family("a")).await;
    let sink = Scripted::new(|_, _| Outcome::ACCEPTED);
    let pausing = Pausing::new(bench.state.clone());
    let switch = pausing.add(("lake", false), &[], &bench.health, &bench.metrics);
    pausing.pause("lake", "a while", false).expect("room");
    let dispatcher = bench.dispatcher(sink.clone(), Selection::All).pausing(switch);
    let begun = Instant::now();
    Leaving::start(dispatcher).leave(LeaveOrder::Removed(Position(10))).await;
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!((sink.offers(1), bench.cursor()), (0, Position(0)));

    let next = bench.dispatcher(sink.clone(), Selection::All).pausing(pausing.switch("lake"));
    let next = Leaving::start(next);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(sink.offers(1), 0, "the next one is paused, too");
    pausing.resume("lake").expect("room").expect("it was paused");
    awaited(|| bench.cursor() == Position(10)).await;
    next.leave(LeaveOrder::Replaced).await;
}
