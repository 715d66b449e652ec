//! kill -9, again and again, at moments nobody chose.

use std::ops::Range;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::outlet::Outlet;
use crate::support::dice::Dice;
use crate::support::load::{Load, Shape};
use crate::support::oracle::Judgement;
use crate::support::{Tier, turns};

/// The most records that a crash or an outage may repeat of a sink that keeps up with the load.
pub const IN_FLIGHT_RECORDS_MAX: usize = 1024;
/// The same of any sink: what is published before the cursor is committed behind it.
const WINDOW: usize = 8192;

#[test]
fn a_bridge_killed_again_and_again_under_load_keeps_every_promise() {
    let _turn = turns::in_company();
    let kills = Tier::of_this_run().pick(12, 100, 1000);
    let (judgement, seen) = kill_again_and_again(kills, 20..600, &Outlet::files());
    judgement.assert_kept(kills, IN_FLIGHT_RECORDS_MAX);
    assert!(seen.duplicate_answers >= 1.0, "no retry met its first copy: {seen:?}");
}

/// A producer may take half a second to get its identity from a broker. Lives that are shorter leave
/// a backlog to the next one, which publishes as much of it at once as the window holds.
#[test]
fn a_bridge_killed_again_and_again_while_it_publishes_to_kafka_keeps_every_promise() {
    let _turn = turns::in_company();
    let Some(outlet) = Outlet::kafka("killed") else { return };
    let kills = Tier::of_this_run().pick(10, 20, 200);
    let (judgement, _) = kill_again_and_again(kills, 20..1200, &outlet);
    judgement.assert_kept(kills, WINDOW);
    assert!(judgement.duplicates > 0, "no kill fell between a publication and its commit: {judgement}");
}

/// Kills a bridge under load after so many milliseconds each time; what came of it in the end.
fn kill_again_and_again(kills: usize, moments: Range<u64>, outlet: &Outlet) -> (Judgement, Sometimes) {
    let home = &outlet.home;
    let mut dice = Dice::thrown_for("moments of the kills");
    let mut bridge = home.start();
    let shape = Shape {
        name: "crash",
        senders: 8,
        keys_per_sender: 3,
        body_bytes: 400,
        pause: Duration::from_millis(4),
    };
    let load = Load::start(home.http, shape);
    let mut seen = Sometimes::default();
    let mut slowest_restart = Duration::ZERO;
    for _ in 0..kills {
        std::thread::sleep(Duration::from_millis(dice.within(moments.clone())));
        seen.duplicate_answers += bridge.metric("fanbridge_events_total", &["verdict=\"duplicate\""]);
        seen.torn_tails += bridge.metric("fanbridge_spool_torn_tails_total", &[]);
        let unanswered = load.tally.unanswered.load(Ordering::Relaxed);
        bridge.kill();
        let restart = Instant::now();
        bridge = home.start();
        slowest_restart = slowest_restart.max(restart.elapsed());
        let cut_off = load.tally.unanswered.load(Ordering::Relaxed) - unanswered;
        seen.kills_with_requests_in_flight += usize::from(cut_off > 0);
    }
    let (ledger, tally) = load.finish();
    let arrivals = outlet.drained(&ledger);
    bridge.stop();

    println!("{kills} kills, slowest restart {slowest_restart:?}, {seen:?}");
    let judgement = ledger.judge(&arrivals);

    // A run that met none of what it is about has proved nothing.
    assert!(tally.acknowledged.load(Ordering::Relaxed) > kills * 20, "too little load: {judgement}");
    assert!(seen.kills_with_requests_in_flight * 2 > kills, "too few kills cut a request off: {seen:?}");
    (judgement, seen)
}

/// What a run must have met to mean something.
#[derive(Debug, Default)]
struct Sometimes {
    kills_with_requests_in_flight: usize,
    duplicate_answers: f64,
    torn_tails: f64,
}
