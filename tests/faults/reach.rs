//! A broker that is not there is told of without an event, and in the bridge's own words.

use std::time::Duration;

use crate::support::bridge::{Bridge, Home};
use crate::support::servers::Broker;
use crate::support::{await_until, turns};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_broker_that_cannot_be_reached_degrades_its_sink_before_the_first_event_and_heals_it() {
    let _turn = turns::in_company();
    let Some(broker) = Broker::start("a broker that is not there") else { return };
    broker.stop();
    let home = Home::new();
    home.configure("", &format!("sinks:\n  lake: {{ kafka: {{ brokers: \"{}\" }} }}\n", broker.address));
    // Not there at the start, and gone later on.
    let bridge = home.start();
    let trouble = await_until("the sink is degraded", PATIENCE, || bridge.degraded_because());
    assert!(trouble.starts_with("no_answer: ") && trouble.contains("Connection refused"), "{trouble}");
    broker.start_again();
    await_healthy(&bridge);
    broker.stop();
    await_until("the sink is degraded again", PATIENCE, || bridge.degraded_because());
    broker.start_again();
    await_healthy(&bridge);
    assert_eq!(bridge.metric("fanbridge_events_total", &[]), 0.0, "no event was needed for that");
    let stopped = bridge.log();
    println!("an idle bridge stopped in {:?}", bridge.stop());

    let told = |words: &str| stopped.lines().filter(|line| line.contains(words)).count();
    assert_eq!((told("the sink is degraded"), told("the sink is healthy again")), (2, 2), "{stopped}");
    assert_eq!((told("\"WARN\""), told("\"ERROR\"")), (2, 0), "{stopped}");
    for raw in ["thrd:", "brokers are down", "FAIL"] {
        let lines = stopped.lines().filter(|line| !line.contains("the sink is degraded"));
        let found: Vec<_> = lines.filter(|line| line.contains(raw)).collect();
        assert!(found.is_empty(), "{found:?}");
    }
}

fn await_healthy(bridge: &Bridge) {
    await_until("the sink is well", PATIENCE, || bridge.degraded_because().is_none().then_some(()));
}
