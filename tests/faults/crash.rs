//! kill -9, again and again, at moments nobody chose.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::support::bridge::Home;
use crate::support::dice::Dice;
use crate::support::load::{Load, Shape};
use crate::support::{Tier, readers, turns};

/// The most records that a sink's dispatcher publishes before the cursor is committed behind
/// them; as many may be published again after each crash.
pub const IN_FLIGHT_RECORDS_MAX: usize = 1024;

#[test]
fn a_bridge_killed_again_and_again_under_load_keeps_every_promise() {
    let _turn = turns::in_company();
    let kills = Tier::of_this_run().pick(12, 100, 1000);
    let mut dice = Dice::thrown_for("moments of the kills");
    let home = Home::new();
    home.configure_files();

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
        std::thread::sleep(Duration::from_millis(dice.within(20..600)));
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
    let arrivals =
        readers::drained(&ledger, Duration::from_secs(10), || readers::files(&home.path("topics")));
    bridge.stop();

    println!("{kills} kills, slowest restart {slowest_restart:?}, {seen:?}");
    let judgement = ledger.judge(&arrivals);
    judgement.assert_kept(kills, IN_FLIGHT_RECORDS_MAX);

    // A run that met none of what it is about has proved nothing.
    assert!(tally.acknowledged.load(Ordering::Relaxed) > kills * 20, "too little load: {judgement}");
    assert!(seen.kills_with_requests_in_flight * 2 > kills, "too few kills cut a request off: {seen:?}");
    assert!(seen.duplicate_answers >= 1.0, "no retry met its first copy: {seen:?}");
}

/// What a run must have met to mean something.
#[derive(Debug, Default)]
struct Sometimes {
    kills_with_requests_in_flight: usize,
    duplicate_answers: f64,
    torn_tails: f64,
}
