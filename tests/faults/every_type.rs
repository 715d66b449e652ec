//! The whole catalogue, once around: each type that a webhook carries goes in signed over HTTP and
//! comes out of its family's topic on a real broker, read by a consumer that is not ours.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::bridge::{Bridge, Home};
use crate::support::catalogue::{DocumentedType, documented_types};
use crate::support::readers::{self, KafkaRecord};
use crate::support::{await_until, servers, signing, turns};

/// What was sent for a type, and what must come of it.
struct Expected {
    event_type: DocumentedType,
    source: String,
    /// The name of the source that it is posted to.
    intake: &'static str,
    id: String,
    trace: String,
    key: Option<String>,
    body: Vec<u8>,
}

#[test]
fn every_type_of_the_catalogue_travels_signed_from_http_to_its_topic() {
    let _turn = turns::in_company();
    let Some(brokers) = servers::kafka("every type of the catalogue through Kafka") else { return };
    let home = Home::new();
    // A topic prefix of its own keeps this run apart from others on the shared broker.
    let prefix = format!("every-type-{}", std::process::id());
    let topic = format!("{prefix}.{{provider}}.{{family}}");
    home.configure(
        "",
        &format!("sinks:\n  lake: {{ kafka: {{ brokers: \"{brokers}\" }}, topic: \"{topic}\" }}\n"),
    );
    home.run_verb(&["topics", "apply"]);
    let bridge = home.start();

    let carried = documented_types().into_iter().filter(|known| known.channels.contains(&"webhook"));
    let expected: Vec<Expected> =
        carried.enumerate().map(|(number, event_type)| expect(event_type, number)).collect();
    assert_eq!(expected.len(), 217, "the types of both catalogues that a webhook carries");
    expected.iter().for_each(|expected| deliver(&bridge, expected));
    await_until("everything is delivered", std::time::Duration::from_secs(60), || {
        (bridge.metric("fanbridge_delivered_total", &[]) >= expected.len() as f64).then_some(())
    });
    bridge.stop();

    let topic_of = |expected: &Expected| {
        format!("{prefix}.{}.{}", expected.event_type.provider, expected.event_type.family)
    };
    let mut topics: Vec<String> = expected.iter().map(topic_of).collect();
    topics.sort();
    topics.dedup();
    let records = readers::kafka(&brokers, &topics.iter().map(String::as_str).collect::<Vec<_>>());
    let mut by_id: BTreeMap<&str, &KafkaRecord> =
        records.iter().map(|record| (record.header("ce_id"), record)).collect();
    assert_eq!(records.len(), expected.len(), "one record for each type");
    for expected in &expected {
        let record = by_id.remove(expected.id.as_str());
        let record = record.unwrap_or_else(|| panic!("nothing arrived for {:?}", expected.event_type));
        assert_eq!(record.topic, topic_of(expected));
        assert_record(record, expected);
    }
    println!("{} types in {} topics", expected.len(), topics.len());
}

fn assert_record(record: &KafkaRecord, expected: &Expected) {
    let event_type = &expected.event_type;
    assert_eq!(record.value, expected.body, "{event_type:?}: the value is the signed body, byte for byte");
    assert_eq!(record.key.as_deref(), expected.key.as_deref().map(str::as_bytes), "{event_type:?}");
    for name in ["ce_partitionkey", "ce_subject"] {
        assert_eq!(record.headers.get(name), expected.key.as_ref(), "{event_type:?}: {name}");
    }
    for (name, value) in [
        ("ce_specversion", "1.0"),
        ("ce_type", event_type.name),
        ("ce_source", &expected.source),
        ("ce_intake", expected.intake),
        ("ce_provider", event_type.provider),
        ("ce_family", event_type.family),
        ("ce_traceparent", &expected.trace),
        ("ce_time", "2026-11-21T06:40:11.402Z"),
        ("content-type", "application/json"),
    ] {
        assert_eq!(record.header(name), value, "{event_type:?}: {name}");
    }
    assert_eq!(record.header("ce_sequence").len(), 20, "{event_type:?}");
    assert!(record.header("ce_recordedtime").ends_with('Z'), "{event_type:?}");
}

fn deliver(bridge: &Bridge, expected: &Expected) {
    let (header, signature) = match expected.event_type.provider {
        "stream" => ("x-signature", signing::stream(&expected.body)),
        "fastpix" => ("fastpix-signature", signing::fastpix(&expected.body)),
        other => panic!("the documents have a provider that this test does not sign for: {other}"),
    };
    let headers = [(header, signature.as_str()), ("traceparent", &expected.trace)];
    let path = format!("/in/{}", expected.intake);
    let answer = bridge.client().post(&path, &headers, &expected.body).expect("an answer");
    assert!(answer.is_success(), "{:?} answered {}: {}", expected.event_type, answer.status, answer.text());
}

/// A body of a type, with the entity where its provider puts it.
fn expect(event_type: DocumentedType, number: usize) -> Expected {
    let fastpix = event_type.provider == "fastpix";
    let entity = format!("entity-{number}");
    let mut body =
        json!({ "type": event_type.name, "note": "é \u{1F39E} \\ \" 0.10", "big": 1778198400000000001_i64 });
    body[if fastpix { "createdAt" } else { "created_at" }] = json!("2026-11-21T06:40:11.402Z");
    if fastpix {
        body["id"] = json!(format!("event-{number}"));
        body["data"] = json!({ "id": "another entity" });
    }
    if let Some(path) = event_type.key_path {
        *path.split('.').fold(&mut body, |value, name| &mut value[name]) = Value::String(entity.clone());
    }
    // Pretty-printed: the value must keep its line breaks and indentation.
    let body = serde_json::to_vec_pretty(&body).expect("JSON");
    let id = if fastpix { format!("event-{number}") } else { signing::digest_id(&body) };
    let source = format!("/{}/default", event_type.provider);
    let intake = if fastpix { "fastpix" } else { "stream-video" };
    let trace = format!("00-{:032x}-00f067aa0ba902b7-01", number + 1);
    let key = event_type.key_path.map(|_| entity);
    Expected { event_type, source, intake, id, trace, key, body }
}

#[test]
fn the_body_of_each_type_holds_its_entity_where_the_documents_put_it() {
    let event_type = documented_types().into_iter().find(|known| known.name == "moderation.mark_reviewed");
    let expected = expect(event_type.expect("it is documented"), 7);
    let body: Value = serde_json::from_slice(&expected.body).expect("JSON");
    assert_eq!(body["item"]["entity_id"], "entity-7");
    assert_eq!(expected.key.as_deref(), Some("entity-7"));
}
