//! Sinks stall: neither the providers nor the other sinks notice.

use std::collections::HashMap;
use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::crash::IN_FLIGHT_RECORDS_MAX;
use crate::support::bridge::{Bridge, Home, free_port};
use crate::support::gate::Gate;
use crate::support::load::TOPICS;
use crate::support::proxy::Proxy;
use crate::support::proxy::call::Entry;
use crate::support::published::published;
use crate::support::readers::KafkaRecord;
use crate::support::rounds::{Comparison, Rounds};
use crate::support::servers::Broker;
use crate::support::{Tier, await_until, readers, turns};

/// The topics of the Kafka sink that stalls: those of the other one, under another name.
const STALLING: [&str; 3] =
    ["stalling.video.session", "stalling.video.recording", "stalling.video.call-lifecycle"];
/// The topic of the SNS sink that stalls.
const TOPIC: &str = "arn:aws:sns:us-east-1:000000000000:stalling";
const SINKS: [&str; 3] = ["lake", "stalling-kafka", "stalling-sns"];

/// Measures until it makes no difference, for up to three times the rounds: a neighbour that is in
/// the way stays there.
#[test]
fn a_kafka_and_an_sns_sink_that_stall_for_a_minute_delay_neither_answers_nor_the_sink_beside_them() {
    let _turn = turns::alone();
    let (listener, port) = (free_port(), free_port());
    let settings = vec![("KAFKA_EXTRA_LISTENERS", format!("GATED:PLAINTEXT:{listener}:{port}"))];
    let Some(broker) = Broker::start_with("sinks that stall", settings) else { return };
    // The broker's clock says when a record arrived.
    let appended = [("message.timestamp.type", "LogAppendTime")];
    TOPICS.iter().chain(&STALLING).for_each(|topic| broker.create_topic(topic, &appended));
    let sns = Proxy::alone();
    let gates = [Gate::new(port, listener), Gate::new(free_port(), sns.port())];
    let home = Home::new();
    configure(&home, &broker, &gates);
    let bridge = home.start();

    let (length, count) = Tier::of_this_run().pick((1, 4), (5, 12), (20, 18));
    let length = Duration::from_secs(length);
    let mut rounds = Rounds::new(home.http);
    rounds.warm_up(length);
    await_delivered(&bridge, &rounds);
    let mut stalls = 0;
    for last in [false, false, true] {
        rounds.run(count / 2, false, length / 2);
        stall(&mut rounds, count, length, &gates, &bridge);
        stalls += 1;
        rounds.run(count / 2, false, length / 2);
        await_delivered(&bridge, &rounds);
        let compared = [rounds.answers(), rounds.arrivals(&took(&broker))];
        let [answers, arrivals] = compared;
        println!("answers: {answers}\narrivals: {arrivals}");
        if compared.iter().all(Comparison::is_alike) {
            break;
        }
        let waits = last && compared.iter().any(Comparison::is_in_the_way);
        assert!(!waits, "a stalled sink is in the way: answers {answers}; arrivals {arrivals}");
    }
    bridge.stop();
    for (topics, stalls) in [(TOPICS, 0), (STALLING, stalls)] {
        let arrivals: Vec<_> =
            readers::kafka(&broker.address, &topics).iter().map(KafkaRecord::arrival).collect();
        rounds.ledger.judge(&arrivals).assert_kept(stalls, stalls.min(1) * IN_FLIGHT_RECORDS_MAX);
    }
    let messages = published(&sns, TOPIC);
    let arrival = |entry: &Entry| readers::structured(TOPIC, entry.field("Message").as_bytes());
    let arrivals: Vec<_> = messages.iter().map(arrival).collect();
    rounds.ledger.judge(&arrivals).assert_kept(stalls, IN_FLIGHT_RECORDS_MAX);
}

fn configure(home: &Home, broker: &Broker, gates: &[Gate; 2]) {
    let [lake, kafka, sns] = SINKS;
    let (address, [kafka_gate, sns_gate]) = (&broker.address, gates.each_ref().map(|gate| gate.port));
    home.configure(
        "",
        &format!(
            "aws: {{ endpoint: \"http://localhost:{sns_gate}\" }}\n\
             sinks:\n\
             \x20 {lake}: {{ kafka: {{ brokers: \"{address}\" }} }}\n\
             \x20 {kafka}: {{ kafka: {{ brokers: \"localhost:{kafka_gate}\" }}, topic: \"stalling.{{family}}\" }}\n\
             \x20 {sns}: {{ sns: {{}}, topic: \"{TOPIC}\" }}\n"
        ),
    );
}

/// Rounds while nothing passes to two of the sinks, and nothing has when they are over.
fn stall(rounds: &mut Rounds, count: usize, length: Duration, gates: &[Gate; 2], bridge: &Bridge) {
    let [_, stalling @ ..] = SINKS;
    let delivered_to = || stalling.map(|sink| delivered(bridge, sink));
    // What is still under way would be confirmed behind the look.
    await_delivered(bridge, rounds);
    let before = delivered_to();
    gates.iter().for_each(Gate::shut);
    rounds.run(count, true, length);
    assert_eq!(delivered_to(), before, "a gate was not shut");
    gates.iter().for_each(Gate::open);
    await_delivered(bridge, rounds);
}

fn delivered(bridge: &Bridge, sink: &str) -> usize {
    bridge.metric("fanbridge_delivered_total", &[&format!("sink=\"{sink}\"")]) as usize
}

fn await_delivered(bridge: &Bridge, rounds: &Rounds) {
    await_until("every sink has everything", Duration::from_secs(60), || {
        let acknowledged = rounds.ledger.acknowledged();
        SINKS.iter().all(|sink| delivered(bridge, sink) >= acknowledged).then_some(())
    });
}

/// How long each event took from its arrival at the bridge to the sink that never stalls.
fn took(broker: &Broker) -> HashMap<String, Duration> {
    let records = readers::kafka(&broker.address, &TOPICS);
    let took = |record: &KafkaRecord| {
        let recorded = OffsetDateTime::parse(record.header("ce_recordedtime"), &Rfc3339).expect("a time");
        let nanos = i128::from(record.timestamp_ms) * 1_000_000 - recorded.unix_timestamp_nanos();
        // The broker counts whole milliseconds, so a quick one may arrive before it was sent.
        (record.header("ce_id").to_owned(), Duration::from_nanos(u64::try_from(nanos).unwrap_or(0)))
    };
    records.iter().map(took).collect()
}
