//! The broker goes away, and comes back. Providers notice nothing; consumers get everything, in
//! order, and soon.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::support::bridge::{Bridge, Home};
use crate::support::load::{Delivery, Load, Shape, TOPICS};
use crate::support::oracle::{Arrival, Ledger};
use crate::support::servers::Broker;
use crate::support::{Tier, await_until, readers, turns};

/// Publications that may repeat after each outage: what was in flight when it began.
const IN_FLIGHT_RECORDS_MAX: usize = crate::crash::IN_FLIGHT_RECORDS_MAX;
/// How soon after the heal the first delivery must arrive.
const HEALED_WITHIN: Duration = Duration::from_secs(2);
const SHAPE: Shape = Shape {
    name: "steady",
    senders: 4,
    keys_per_sender: 4,
    body_bytes: 400,
    pause: Duration::from_millis(8),
};

#[test]
fn a_broker_stopped_and_frozen_under_load_loses_nothing_and_is_served_soon_after() {
    let _turn = turns::in_company();
    let Some(broker) = Broker::start("a broker that is stopped and frozen") else { return };
    TOPICS.iter().for_each(|topic| broker.create_topic(topic, &[]));
    let tier = Tier::of_this_run();
    let home = home_with_sink_at(&broker);
    let bridge = home.start();
    let load = Load::start(home.http, SHAPE);
    await_deliveries(&bridge, 200);

    broker.stop();
    assert_load_flows(&load, tier.pick(10, 60, 600));
    let delivered = delivered(&bridge);
    broker.start_again();
    report_heal("stopped", await_next_delivery(&bridge, delivered));
    await_deliveries(&bridge, 200);

    broker.freeze();
    assert_load_flows(&load, tier.pick(10, 40, 400));
    let delivered = self::delivered(&bridge);
    broker.thaw();
    report_heal("frozen", await_next_delivery(&bridge, delivered));

    let (ledger, tally) = load.finish();
    let arrivals = drained(&broker, &ledger);
    bridge.stop();
    println!("slowest 2xx: {:?}", tally.slowest());
    ledger.judge(&arrivals).assert_kept(2, IN_FLIGHT_RECORDS_MAX);
}

#[test]
fn a_topic_deleted_under_load_holds_its_events_back_until_it_is_there_again() {
    let _turn = turns::in_company();
    let Some(broker) = Broker::start("a topic that is deleted") else { return };
    TOPICS.iter().for_each(|topic| broker.create_topic(topic, &[]));
    let home = home_with_sink_at(&broker);
    let bridge = home.start();

    // What a topic held goes with it, so it is read before.
    let ledger = Arc::new(Ledger::default());
    let load = Load::start_with(Arc::clone(&ledger), home.http, Shape { name: "before", ..SHAPE });
    await_deliveries(&bridge, 200);
    load.finish();
    let mut arrivals = drained(&broker, &ledger);
    let deleted = TOPICS[1];
    arrivals.retain(|arrival| arrival.lane.starts_with(deleted));

    // Whatever the broker confirms while it deletes goes with the topic, so the load waits. Behind it comes a
    // slow one: what waits for the topic goes out again at once, and if a partition refuses the first record
    // of a key once more, those of other keys pass it by as many places as have waited.
    broker.delete_topic(deleted);
    let slow = Shape { name: "after", pause: Duration::from_millis(60), ..SHAPE };
    let load = Load::start_with(Arc::clone(&ledger), home.http, slow);
    await_until("the sink says that it is degraded", Duration::from_secs(30), || {
        (bridge.metric("fanbridge_sink_degraded", &["sink=\"lake\""]) > 0.0).then_some(())
    });
    assert_load_flows(&load, 10);
    broker.create_topic(deleted, &[]);
    let healed = Instant::now();
    await_until("an event arrives in the topic that is there again", Duration::from_secs(30), || {
        readers::kafka_topic(&broker.address, deleted, 1).filter(|records| !records.is_empty())
    });
    report_heal("deleted topic", healed.elapsed());
    let (ledger, _) = load.finish();

    // The topic's second life has lanes of its own: offsets and order begin anew.
    for arrival in &mut arrivals {
        arrival.lane.push_str(" before");
    }
    let arrivals = readers::drained(&ledger, Duration::from_secs(20), || {
        arrivals.iter().cloned().chain(read(&broker)).collect()
    });
    bridge.stop();
    ledger.judge(&arrivals).assert_kept(1, IN_FLIGHT_RECORDS_MAX);
}

#[test]
fn an_oversized_record_becomes_a_dead_letter_and_holds_nobody_up() {
    let _turn = turns::in_company();
    let Some(broker) = Broker::start("an oversized record") else { return };
    TOPICS.iter().for_each(|topic| broker.create_topic(topic, &[("max.message.bytes", "600000")]));
    let home = home_with_sink_at(&broker);
    let bridge = home.start();
    let load = Load::start(home.http, SHAPE);
    await_deliveries(&bridge, 100);

    let (ledger, mut client) = (Arc::clone(&load.ledger), bridge.client());
    let key = "default:neighbours";
    Delivery::new("call.created", key, 1, 0).hand_over(&mut client, &ledger);
    let oversized = Delivery::new("call.created", key, 2, 800_000);
    oversized.hand_over(&mut client, &Ledger::default());
    let handed_over = Instant::now();
    Delivery::new("call.created", key, 3, 0).hand_over(&mut client, &ledger);
    await_until("the oversized record is a dead letter", Duration::from_secs(20), || {
        let labels = ["sink=\"lake\"", "reason=\"too_large\""];
        (bridge.metric("fanbridge_dead_letters_total", &labels) >= 1.0).then_some(())
    });
    println!("a dead letter after {:?}", handed_over.elapsed());

    let (ledger, tally) = load.finish();
    assert_eq!(tally.put_off.load(Ordering::Relaxed), 0);
    let arrivals = drained(&broker, &ledger);
    assert_eq!(bridge.metric("fanbridge_dead_letters_total", &["sink=\"lake\""]), 1.0, "and no other");
    // One line says so, and no other is worth waking anybody.
    let log = bridge.log();
    let alarms: Vec<_> =
        log.lines().filter(|line| line.contains("\"WARN\"") || line.contains("\"ERROR\"")).collect();
    assert!(matches!(alarms[..], [line] if line.contains("kept as a dead letter")), "{alarms:#?}");
    bridge.stop();
    // An oversized record that arrived after all would be spurious: it is not in the ledger.
    ledger.judge(&arrivals).assert_kept(1, IN_FLIGHT_RECORDS_MAX);
}

#[test]
fn a_broker_of_our_own_keeps_its_records_through_stop_and_freeze() {
    let Some(broker) = Broker::start("the broker that the other tests stop and freeze") else { return };
    broker.create_topic("kept", &[]);
    broker.create_topic("kept", &[]);
    produce(&broker, "kept", b"{\n\"line\":2}");
    broker.stop();
    broker.start_again();
    broker.freeze();
    broker.thaw();
    let records = readers::kafka(&broker.address, &["kept"]);
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].value, b"{\n\"line\":2}");
    assert_eq!((records[0].key.as_deref(), records[0].header("ce_id")), (Some(&b"a key"[..]), "an id"));
    broker.delete_topic("kept");
}

fn produce(broker: &Broker, topic: &str, value: &[u8]) {
    use std::io::Write;
    let mut kcat = std::process::Command::new("kcat")
        .args(["-P", "-b", &broker.address, "-t", topic, "-k", "a key", "-H", "ce_id=an id", "-D", "\\0"])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .expect("kcat is installed");
    kcat.stdin.take().expect("a pipe").write_all(value).expect("kcat reads");
    assert!(kcat.wait().expect("kcat ends").success());
}

fn home_with_sink_at(broker: &Broker) -> Home {
    let home = Home::new();
    home.configure("", &format!("sinks:\n  lake: {{ kafka: {{ brokers: \"{}\" }} }}\n", broker.address));
    home
}

/// Every delivery is answered 2xx at the first attempt, and soon, whatever the broker does.
fn assert_load_flows(load: &Load, seconds: u64) {
    for _ in 0..seconds {
        let before = load.acknowledged();
        std::thread::sleep(Duration::from_secs(1));
        assert!(load.acknowledged() > before, "no 2xx for a second");
    }
    let tally = &load.tally;
    assert_eq!(tally.put_off.load(Ordering::Relaxed), 0, "deliveries were answered 503");
    assert_eq!(tally.unanswered.load(Ordering::Relaxed), 0, "deliveries were not answered");
}

fn delivered(bridge: &Bridge) -> f64 {
    bridge.metric("fanbridge_delivered_total", &["sink=\"lake\""])
}

fn await_deliveries(bridge: &Bridge, more: u32) {
    let start = delivered(bridge);
    await_until("deliveries flow", Duration::from_secs(30), || {
        (delivered(bridge) >= start + f64::from(more)).then_some(())
    });
}

/// How long until the sink reports a delivery beyond those before.
fn await_next_delivery(bridge: &Bridge, before: f64) -> Duration {
    let healed = Instant::now();
    await_until("the first delivery after the heal", Duration::from_secs(60), || {
        (delivered(bridge) > before).then_some(())
    });
    healed.elapsed()
}

#[track_caller]
fn report_heal(fault: &str, took: Duration) {
    println!("{fault}: first delivery {took:?} after the heal");
    assert!(took < HEALED_WITHIN, "{fault}: the first delivery came {took:?} after the heal");
}

fn read(broker: &Broker) -> Vec<Arrival> {
    readers::kafka(&broker.address, &TOPICS).iter().map(readers::KafkaRecord::arrival).collect()
}

fn drained(broker: &Broker, ledger: &Ledger) -> Vec<Arrival> {
    readers::drained(ledger, Duration::from_secs(20), || read(broker))
}
