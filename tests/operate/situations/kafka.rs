//! What Kafka does with an event.

use super::stage::{await_settled, body, call, configure, home, nobody, send};
use super::{Made, Row};
use crate::doctor::kafka::Guarded;
use crate::support::bridge::{Bridge, Home};
use crate::support::{readers, servers};

/// The topic of the events of these rows under a prefix.
fn topic(prefix: &str) -> String {
    format!("{prefix}.video.call-lifecycle")
}

/// A bridge with the shared broker, and the prefix of topics that only it has.
fn started(what: &str) -> Option<(Home, Bridge, String, String)> {
    let brokers = servers::kafka(what)?;
    let prefix = servers::own_name("situations");
    let lake = format!("kafka: {{ brokers: \"{brokers}\" }}, topic: \"{prefix}.{{family}}\"");
    let home = home("all", &[("lake", lake)]);
    let bridge = home.start();
    Some((home, bridge, brokers, prefix))
}

pub const ROWS: &[Row] = &[
    Row {
        name: "an event that Kafka has",
        situation: "delivered",
        reason: "",
        make: |what| {
            let (home, bridge, brokers, prefix) = started(what)?;
            let topic = topic(&prefix);
            servers::create_topic(&brokers, &topic, &[]);
            let id = send(&bridge, &body("call.created"));
            await_settled(&bridge, "lake");
            let records = readers::kafka(&brokers, &[&topic]);
            assert_eq!(records.len(), 1, "{records:?}");
            let place = format!("delivered to lake: {topic} partition {} offset 0", records[0].partition);
            Made::explain(home, &[&id], bridge)?.with(&[&place])
        },
        cause: "delivered to lake: ",
        fix: "",
    },
    Row {
        name: "a topic that is missing",
        situation: "held",
        reason: "",
        make: |what| {
            let (home, bridge, _, prefix) = started(what)?;
            let id = send(&bridge, &body("call.created"));
            let held = format!("lake holds {}: unknown_topic, attempt ", topic(&prefix));
            Made::explain(home, &[&id], bridge)?.with(&[&held, ", next in "])
        },
        cause: "unknown_topic",
        fix: "`fanbridge topics apply --sink lake` creates what is missing",
    },
    Row {
        name: "an event that is too large for its topic",
        situation: "dead_letter",
        reason: "",
        make: |what| {
            let (home, bridge, brokers, prefix) = started(what)?;
            servers::create_topic(&brokers, &topic(&prefix), &[("max.message.bytes", "1000")]);
            // No compression makes it small enough.
            let large = call(1, 4000);
            assert!(large.send(&mut bridge.client()).expect("an answer").is_success());
            Made::explain(home, &[&large.id], bridge)?.with(&["it is dead letter 1"])
        },
        cause: "lake rejected it: too_large",
        fix: "raise `max.message.bytes` of the topic, or the sink's `message_bytes_max`, then \
              `fanbridge dead redrive 1`",
    },
    Row {
        name: "a topic to which the bridge may not write",
        situation: "held",
        reason: "",
        make: |what| {
            let home = Home::new();
            let guarded = Guarded::start(&home, what)?;
            guarded.broker.create_topic("guarded", &[]);
            let lake = format!("kafka: {}, topic: guarded", guarded.at("password"));
            configure(&home, "", "", &[("lake", lake)]);
            let bridge = home.start();
            let id = send(&bridge, &body("call.created"));
            Made::explain(home, &[&id], (bridge, guarded))
        },
        cause: "lake holds guarded: topic_forbidden",
        fix: "grant Write on guarded to the bridge's user",
    },
    Row {
        name: "brokers that do not answer",
        situation: "pending",
        reason: "",
        make: |_| {
            let home = home("all", &[("lake", nobody())]);
            let bridge = home.start();
            let id = send(&bridge, &body("call.created"));
            Made::explain(home, &[&id], bridge)?.with(&[": no broker answers ("])
        },
        cause: "lake: pending for ",
        fix: "check network, TLS, credentials of `brokers`",
    },
];
