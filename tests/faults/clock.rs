//! The machine's clock is wrong, or is set while the bridge runs. That is no event's fault: nothing
//! is buried, lost or reordered for it, and what has to wait goes out once the clock is right.

use std::fs;
use std::path::Path;
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
const TEN_YEARS: i64 = 10 * 365 * 24 * HOUR;
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
        assert!(trouble.contains("correct this clock or the broker's"), "{trouble}");
        assert_eq!(bridge.metric("fanbridge_dead_letters_total", &[]), 0.0, "an event is buried");
        // The lag is reported twice a second, and the reason at once.
        await_until("the sink lags by all events", PATIENCE, || {
            (sink(&bridge, "lag_events") == Some(EVENTS.into())).then_some(())
        });
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

#[test]
fn a_clock_that_jumps_changes_no_order_forgets_no_duplicate_and_removes_nothing() {
    let _turn = turns::in_company();
    let home = Home::new();
    let Some(clock) = WallClock::new(&home, "a clock that jumps") else { return };
    let topics = home.path("topics");
    let sinks = format!("sinks:\n  local: {{ file: {{ dir: {} }} }}\n", topics.display());
    home.configure("segment_bytes: 17 MiB, bytes_max: 512 MiB, retain: 24h", &sinks);
    let bridge = clock.start(&home);
    let ledger = Ledger::default();
    // The only one of its key: it comes again and again, whatever the time is by then.
    let once = Delivery::new("call.created", "default:once", 0, 0);
    for (round, seconds_ahead) in [0, HOUR, -HOUR, 0].into_iter().enumerate() {
        clock.set(seconds_ahead);
        once.hand_over(&mut bridge.client(), &ledger);
        let first = round as u64 * EVENTS;
        deliver(&bridge, &ledger, first..first + EVENTS);
        fill_a_segment(&bridge, &ledger, round);
        await_until("all of it is delivered", PATIENCE, || (sink(&bridge, "lag_events")? == 0).then_some(()));
    }
    let segments = segments(&home.path("spool"));
    assert!(segments.len() > 2, "{segments:?}");
    clock.set(TEN_YEARS);
    assert_kept_for_a_while(&home, &segments);
    once.hand_over(&mut bridge.client(), &ledger);
    bridge.stop();

    // Years ahead at a start, when the steady clock knows nothing yet.
    let bridge = clock.start(&home);
    assert_kept_for_a_while(&home, &segments);
    deliver(&bridge, &ledger, 1000..1000 + EVENTS);
    bridge.stop();
    // Right again, and events in the log that seem to be of a time to come.
    clock.set(0);
    let bridge = clock.start(&home);
    once.hand_over(&mut bridge.client(), &ledger);
    assert_kept_for_a_while(&home, &segments);
    let arrivals = readers::drained(&ledger, PATIENCE, || readers::files(&topics));
    bridge.stop();
    ledger.judge(&arrivals).assert_kept(0, 0);
}

/// What is past its time by the clock is looked for once a second.
#[track_caller]
fn assert_kept_for_a_while(home: &Home, expected: &[String]) {
    std::thread::sleep(Duration::from_millis(2500));
    let found = segments(&home.path("spool"));
    assert!(expected.iter().all(|segment| found.contains(segment)), "{found:?} of {expected:?}");
}

fn deliver(bridge: &Bridge, ledger: &Ledger, numbers: std::ops::Range<u64>) {
    let mut client = bridge.client();
    for number in numbers {
        Delivery::new("call.created", "default:clock", number, 0).hand_over(&mut client, ledger);
    }
}

/// More than a segment holds, so that another begins.
fn fill_a_segment(bridge: &Bridge, ledger: &Ledger, round: usize) {
    let mut client = bridge.client();
    for number in 0..20 {
        let key = format!("default:filler-{round}");
        Delivery::new("call.created", &key, number, 900_000).hand_over(&mut client, ledger);
    }
}

fn segments(spool: &Path) -> Vec<String> {
    let entries = fs::read_dir(spool).expect("the spool is there");
    let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    let mut logs: Vec<_> = names.filter(|name| name.ends_with(".log")).collect();
    logs.sort();
    logs
}

/// A value in the status of the only sink, unless it is null.
fn sink(bridge: &Bridge, key: &str) -> Option<Value> {
    let status = bridge.admin().get("/api/status").expect("the status").text();
    let status: Value = serde_json::from_str(&status).expect("JSON");
    Some(status["sinks"][0][key].clone()).filter(|value| !value.is_null())
}
