//! One sink stalls: neither the providers nor the other sinks notice.

use std::collections::HashMap;
use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::crash::IN_FLIGHT_RECORDS_MAX;
use crate::support::bridge::{Bridge, Home, free_port};
use crate::support::gate::Gate;
use crate::support::load::TOPICS;
use crate::support::readers::KafkaRecord;
use crate::support::rounds::{Comparison, Rounds};
use crate::support::servers::Broker;
use crate::support::{Tier, await_until, readers, turns};

/// The topics of the sink that stalls: those of the other one, under another name.
const STALLING: [&str; 3] =
    ["stalling.video.session", "stalling.video.recording", "stalling.video.call-lifecycle"];

/// Measures until it makes no difference, for up to three times the rounds: a neighbour that is in
/// the way stays there.
#[test]
fn a_sink_that_stalls_delays_neither_answers_nor_the_other_sinks() {
    let _turn = turns::alone();
    let (listener, gate) = (free_port(), free_port());
    let settings = vec![("KAFKA_EXTRA_LISTENERS", format!("GATED:PLAINTEXT:{listener}:{gate}"))];
    let Some(broker) = Broker::start_with("a sink that stalls", settings) else { return };
    // The broker's clock says when a record arrived.
    let appended = [("message.timestamp.type", "LogAppendTime")];
    TOPICS.iter().chain(&STALLING).for_each(|topic| broker.create_topic(topic, &appended));
    let gate = Gate::new(gate, listener);
    let home = Home::new();
    let sinks = format!(
        "sinks:\n  lake: {{ kafka: {{ brokers: \"{}\" }} }}\n  \
         stalling: {{ kafka: {{ brokers: \"localhost:{}\" }}, topic: \"stalling.{{family}}\" }}\n",
        broker.address, gate.port
    );
    home.configure("", &sinks);
    let bridge = home.start();

    let (length, pairs) = Tier::of_this_run().pick((1, 3), (4, 5), (20, 10));
    let length = Duration::from_secs(length);
    let mut rounds = Rounds::new(home.http);
    rounds.warm_up(length);
    await_delivered(&bridge, &rounds);
    for pair in 1..=3 * pairs {
        for stalled in [pair % 2 == 0, pair % 2 == 1] {
            run_round(&mut rounds, stalled.then_some(&gate), length, &bridge);
        }
        if pair < pairs {
            continue;
        }
        let compared = [rounds.answers(), rounds.arrivals(&took(&broker))];
        let [answers, arrivals] = compared;
        println!("answers: {answers}\narrivals: {arrivals}");
        if compared.iter().all(Comparison::is_alike) {
            break;
        }
        let waits = pair == 3 * pairs && compared.iter().any(Comparison::is_in_the_way);
        assert!(!waits, "a stalled sink is in the way: answers {answers}; arrivals {arrivals}");
    }
    bridge.stop();
    for (topics, stalls) in [(TOPICS, 0), (STALLING, 3 * pairs)] {
        let arrivals: Vec<_> =
            readers::kafka(&broker.address, &topics).iter().map(KafkaRecord::arrival).collect();
        rounds.ledger.judge(&arrivals).assert_kept(stalls, stalls.min(1) * IN_FLIGHT_RECORDS_MAX);
    }
}

/// A round after which both sinks have everything; with a gate, that is shut meanwhile.
fn run_round(rounds: &mut Rounds, gate: Option<&Gate>, length: Duration, bridge: &Bridge) {
    let before = delivered(bridge, "stalling");
    gate.inspect(|gate| gate.shut());
    rounds.run(gate.is_some(), length);
    if let Some(gate) = gate {
        assert_eq!(delivered(bridge, "stalling"), before, "the gate was not shut");
        gate.open();
    }
    await_delivered(bridge, rounds);
}

fn delivered(bridge: &Bridge, sink: &str) -> usize {
    bridge.metric("fanbridge_delivered_total", &[&format!("sink=\"{sink}\"")]) as usize
}

fn await_delivered(bridge: &Bridge, rounds: &Rounds) {
    await_until("both sinks have everything", Duration::from_secs(30), || {
        let acknowledged = rounds.ledger.acknowledged();
        ["lake", "stalling"].iter().all(|sink| delivered(bridge, sink) >= acknowledged).then_some(())
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
