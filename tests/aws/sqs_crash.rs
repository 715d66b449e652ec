//! kill -9 while a queue is read, again and again.

use std::time::Duration;

use crate::inlet::{DEADLINE, Inlet, events, texts};
use crate::support::Tier;
use crate::support::aws::{Aws, messages};
use crate::support::dice::Dice;

/// What a file sink's dispatcher may publish again after each crash.
const IN_FLIGHT_RECORDS_MAX: usize = 1024;

#[test]
fn a_bridge_killed_again_and_again_loses_and_repeats_nothing_of_its_queue() {
    let Some(aws) = Aws::connect("kills while a queue is read") else { return };
    let (count, kills) = Tier::of_this_run().pick((2_000, 5), (20_000, 50), (20_000, 200));
    let queue = aws.queue("killed", &[]);
    let load = events("killed", count);
    queue.send(&messages(texts(&load)));
    let mut dice = Dice::thrown_for("moments of the kills");
    // The messages that a dead bridge held come back soon.
    let inlet = Inlet::new(aws.endpoint(), &queue.url, "visibility_timeout: 2s", "");

    let mut amid_work = 0;
    for _ in 0..kills {
        let bridge = inlet.start();
        std::thread::sleep(Duration::from_millis(dice.within(20..400)));
        amid_work += usize::from(queue.depth().in_flight > 0);
        bridge.kill();
    }
    let bridge = inlet.start();
    queue.await_empty(DEADLINE * 3);
    let arrivals = inlet.await_arrivals(count, DEADLINE);
    let again = bridge.metric("fanbridge_events_total", &["verdict=\"duplicate\""]);
    bridge.stop();

    let mut once: Vec<&str> = arrivals.iter().map(|arrival| arrival.id.as_str()).collect();
    once.sort_unstable();
    once.dedup();
    let repeated = arrivals.len() - once.len();
    println!(
        "{kills} kills, {amid_work} amid the work, {repeated} published again, {again} received again by the last"
    );
    assert_eq!(once.len(), count, "nothing is lost");
    assert!(load.iter().all(|delivery| once.binary_search(&delivery.id.as_str()).is_ok()));
    // One event has one place in the spool, however often its message came.
    let mut places: Vec<_> = arrivals.iter().map(|arrival| (&arrival.id, arrival.sequence)).collect();
    places.sort_unstable();
    places.dedup();
    assert_eq!(places.len(), count, "accepted once each");
    assert!(repeated <= kills * IN_FLIGHT_RECORDS_MAX, "{repeated} published again");
    assert!(amid_work * 4 > kills, "too few kills met messages in flight: {amid_work} of {kills}");
}
