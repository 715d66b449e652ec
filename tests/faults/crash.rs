//! kill -9, again and again, at moments nobody chose.

use std::ops::Range;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::outlet::Outlet;
use crate::support::dice::Dice;
use crate::support::load::{Load, Shape};
use crate::support::oracle::Judgement;
use crate::support::{Tier, turns};

/// The most records that a crash or an outage may repeat of a sink that keeps up with the load.
pub const IN_FLIGHT_RECORDS_MAX: usize = 1024;
/// The same of any sink: what is published before the cursor is committed behind it.
const WINDOW: usize = 8192;

/// How long the spool may take to be there again after a kill, by the bridge's own clock: the start
/// of a process on a busy machine is not its fault.
const RECOVERY_SECONDS_MAX: f64 = 2.0;

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
    for _ in 0..kills {
        std::thread::sleep(Duration::from_millis(dice.within(moments.clone())));
        seen.duplicate_answers += bridge.metric("fanbridge_events_total", &["verdict=\"duplicate\""]);
        let unanswered = load.tally.unanswered.load(Ordering::Relaxed);
        bridge.kill();
        bridge = home.start();
        let cut_off = load.tally.unanswered.load(Ordering::Relaxed) - unanswered;
        seen.kills_with_requests_in_flight += usize::from(cut_off > 0);
    }
    let (ledger, tally) = load.finish();
    let arrivals = outlet.drained(&ledger);
    let recoveries = recovery_seconds(&bridge.log());
    bridge.stop();

    let slowest = recoveries.iter().copied().fold(0.0, f64::max);
    println!("{kills} kills, slowest recovery {slowest:.3} s, {seen:?}");
    assert!(recoveries.len() * 10 > kills * 9, "{} of {kills} lives say it", recoveries.len());
    assert!(slowest < RECOVERY_SECONDS_MAX, "a recovery took {slowest} s");
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
}

/// What each life in a home says of its recovery, in the line that says that it is ready.
fn recovery_seconds(log: &str) -> Vec<f64> {
    let ready = log.lines().filter(|line| line.contains("the bridge is ready: deliveries are taken"));
    // A life may have ended in the middle of saying it.
    let documents = ready.filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    documents.map(|document| document["recovery_seconds"].as_f64().expect("a number of seconds")).collect()
}
