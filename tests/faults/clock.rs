//! The machine's clock is wrong, or is set while the bridge runs. That is no event's fault: nothing
//! is buried, lost or reordered for it, and what has to wait goes out once the clock is right.

use std::time::Duration;

use serde_json::Value;

use crate::support::bridge::{Bridge, Home};
use crate::support::clock::WallClock;
use crate::support::load::Delivery;
use crate::support::oracle::Ledger;
use crate::support::readers::{self, KafkaRecord};
use crate::support::{await_until, servers, turns};

const PATIENCE: Duration = Duration::from_secs(60);
const HOUR: i64 = 3600;
const EVENTS: u64 = 10;

#[test]
fn a_clock_that_the_broker_does_not_take_degrades_the_sink_and_buries_nothing() {
    let _turn = turns::in_company();
    let Some(brokers) = servers::kafka("a wrong clock") else { return };
    // Ahead by more than a topic of Kafka 4 takes by default; behind by more than this one does.
    let behind = [("message.timestamp.before.max.ms", "3600000")];
    for (name, seconds_ahead, properties) in
        [("ahead", 2 * HOUR, &[][..]), ("behind", -2 * HOUR, &behind[..])]
    {
        let home = Home::new();
        let Some(clock) = WallClock::new(&home, "a wrong clock") else { return };
        let topic = servers::own_name(name);
        servers::create_topic(&brokers, &topic, properties);
        let lake = format!("{{ kafka: {{ brokers: \"{brokers}\" }}, topic: {topic} }}");
        home.configure("", &format!("select: [call.created]\nsinks: {{ lake: {lake} }}\n"));
        clock.set(seconds_ahead);
        let bridge = clock.start(&home);
        let ledger = Ledger::default();
        deliver(&bridge, &ledger, 0..EVENTS);

        let trouble = await_until("the sink is degraded", PATIENCE, || sink(&bridge, "degraded_because"));
        let trouble = trouble.as_str().expect("a reason").to_owned();
        println!("{name}: {trouble}");
        assert!(trouble.starts_with("clock: "), "{trouble}");
        assert!(trouble.contains("set this clock or the broker's"), "{trouble}");
        assert_eq!(bridge.metric("fanbridge_dead_letters_total", &[]), 0.0, "an event is buried");
        assert_eq!(sink(&bridge, "lag_events"), Some(EVENTS.into()));
        assert!(readers::kafka_topic(&brokers, &topic, 5).unwrap_or_default().is_empty());

        clock.set(0);
        let arrivals = readers::drained(&ledger, PATIENCE, || {
            let records = readers::kafka_topic(&brokers, &topic, 5);
            records.unwrap_or_default().iter().map(KafkaRecord::arrival).collect()
        });
        await_until("the sink is well again", PATIENCE, || {
            sink(&bridge, "degraded_because").is_none().then_some(())
        });
        assert_eq!(bridge.metric("fanbridge_dead_letters_total", &[]), 0.0, "an event is buried");
        bridge.stop();
        ledger.judge(&arrivals).assert_kept(0, 0);
    }
}

fn deliver(bridge: &Bridge, ledger: &Ledger, numbers: std::ops::Range<u64>) {
    let mut client = bridge.client();
    for number in numbers {
        Delivery::new("call.created", "default:clock", number, 0).hand_over(&mut client, ledger);
    }
}

/// A value in the status of the only sink, unless it is null.
fn sink(bridge: &Bridge, key: &str) -> Option<Value> {
    let status = bridge.admin().get("/api/status").expect("the status").text();
    let status: Value = serde_json::from_str(&status).expect("JSON");
    Some(status["sinks"][0][key].clone()).filter(|value| !value.is_null())
}
