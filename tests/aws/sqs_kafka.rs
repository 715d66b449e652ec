//! From a queue to Kafka: one cloud's pipe into another's, with nothing between them but the bridge.

use std::collections::BTreeMap;
use std::fs;

use crate::inlet::{DEADLINE, Inlet, a_type_of_each_family, encodings, sample_of};
use crate::support::aws::{Aws, messages};
use crate::support::{await_until, readers, servers};

#[test]
fn a_sample_of_every_family_travels_from_a_queue_to_its_topic_in_kafka() {
    let Some(aws) = Aws::connect("from a queue to Kafka") else { return };
    let Some(brokers) = servers::kafka("from a queue to Kafka") else { return };
    let queue = aws.queue("kafka", &[]);
    let prefix = servers::own_name("from-sqs");
    let inlet = Inlet::new(aws.endpoint(), &queue.url, "", "");
    let file = inlet.home.path("fanbridge.yaml");
    let text = fs::read_to_string(&file).unwrap();
    let topic = format!("{prefix}.{{provider}}.{{family}}");
    let lake = format!("  lake: {{ kafka: {{ brokers: \"{brokers}\" }}, topic: \"{topic}\" }}\n");
    fs::write(&file, text + &lake).unwrap();
    inlet.home.run_verb(&["topics", "apply", "--sink", "lake"]);

    let families = a_type_of_each_family(&inlet);
    let (mut expected, mut sent) = (BTreeMap::new(), Vec::new());
    for (family, event_type) in &families {
        for form in 0..3 {
            let body = sample_of(event_type, form);
            sent.push(encodings(&body)[form].clone());
            expected.insert(body.into_bytes(), (format!("{prefix}.stream.{family}"), event_type));
        }
    }
    queue.send(&messages(sent));
    let bridge = inlet.start();
    await_until("everything is delivered", DEADLINE, || {
        (bridge.metric("fanbridge_delivered_total", &["sink=\"lake\""]) >= expected.len() as f64)
            .then_some(())
    });
    queue.await_empty(DEADLINE);
    bridge.stop();

    let topics: Vec<_> = families.keys().map(|family| format!("{prefix}.stream.{family}")).collect();
    let records = readers::kafka(&brokers, &topics.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(records.len(), expected.len(), "each once");
    for record in records {
        let sample = expected.remove(&record.value);
        let (topic, event_type) = sample.unwrap_or_else(|| panic!("other bytes, or twice: {record:?}"));
        assert_eq!((&record.topic, record.header("ce_type")), (&topic, event_type.as_str()));
        assert_eq!(record.header("ce_sqsreceivecount"), "1");
    }
}
