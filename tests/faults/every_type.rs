//! The whole catalogue, once around: each type that a webhook carries goes in signed over HTTP and
//! comes out of its family's topic on a real broker, read by a consumer that is not ours.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::bridge::{Bridge, Home};
use crate::support::readers::{self, KafkaRecord};
use crate::support::{await_until, servers, signing, turns};

/// A line of `fanbridge types --format json`.
#[derive(Debug, serde::Deserialize)]
struct CatalogueType {
    provider: String,
    #[serde(rename = "type")]
    name: String,
    family: String,
    channels: Vec<String>,
}

/// What was sent for a type, and what must come of it.
struct Expected {
    event_type: CatalogueType,
    source: String,
    id: String,
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

    let types: Vec<CatalogueType> =
        serde_json::from_str(&home.run_verb(&["types", "--format", "json"])).expect("the catalogue as JSON");
    let configured =
        types.into_iter().filter(|event_type| ["stream", "fastpix"].contains(&event_type.provider.as_str()));
    let carried =
        configured.filter(|event_type| event_type.channels.iter().any(|channel| channel == "webhook"));
    let expected: Vec<Expected> =
        carried.enumerate().map(|(number, event_type)| expect(event_type, number)).collect();
    assert_eq!(expected.len(), 213, "the types of both catalogues that a webhook carries");
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
    assert_eq!(record.headers.get("ce_partitionkey"), expected.key.as_ref(), "{event_type:?}");
    for (name, value) in [
        ("ce_specversion", "1.0"),
        ("ce_type", &event_type.name),
        ("ce_source", &expected.source),
        ("ce_provider", &event_type.provider),
        ("ce_family", &event_type.family),
        ("ce_time", "2026-11-21T06:40:11.402Z"),
        ("content-type", "application/json"),
    ] {
        assert_eq!(record.header(name), value, "{event_type:?}: {name}");
    }
    assert_eq!(record.header("ce_sequence").len(), 20, "{event_type:?}");
    assert!(record.header("ce_recordedtime").ends_with('Z'), "{event_type:?}");
}

fn deliver(bridge: &Bridge, expected: &Expected) {
    let (path, header, signature) = match expected.event_type.provider.as_str() {
        "stream" => ("/in/stream-video", "x-signature", signing::stream(&expected.body)),
        "fastpix" => ("/in/fastpix", "fastpix-signature", signing::fastpix(&expected.body)),
        other => panic!("the catalogue has a provider that this test does not sign for: {other}"),
    };
    let answer = bridge.client().post(path, &[(header, &signature)], &expected.body).expect("an answer");
    assert!(answer.is_success(), "{:?} answered {}: {}", expected.event_type, answer.status, answer.text());
}

/// A body of a type, with the entity where its provider puts it.
fn expect(event_type: CatalogueType, number: usize) -> Expected {
    let fastpix = event_type.provider == "fastpix";
    let entity = format!("entity-{number}");
    let path = if fastpix { Some("object.id") } else { entity_path(&event_type.name) };
    let mut body =
        json!({ "type": event_type.name, "note": "é \u{1F39E} \\ \" 0.10", "big": 1778198400000000001_i64 });
    body[if fastpix { "createdAt" } else { "created_at" }] = json!("2026-11-21T06:40:11.402Z");
    if fastpix {
        body["id"] = json!(format!("event-{number}"));
        body["data"] = json!({ "id": "another entity" });
    }
    if let Some(path) = path {
        *path.split('.').fold(&mut body, |value, name| &mut value[name]) = Value::String(entity.clone());
    }
    // Pretty-printed: the value must keep its line breaks and indentation.
    let body = serde_json::to_vec_pretty(&body).expect("JSON");
    let id = if fastpix { format!("event-{number}") } else { signing::digest_id(&body) };
    let source = format!("/{}/default", event_type.provider);
    Expected { event_type, source, id, key: path.map(|_| entity), body }
}

/// Where Stream's events name the entity that they are about, as its documentation has it.
fn entity_path(event_type: &str) -> Option<&'static str> {
    Some(match event_type {
        "channel.max_streak_changed" => return None,
        "flag.updated" => "Message.cid",
        "message.pending" => "channel.cid",
        "channel.muted" | "channel.unmuted" => "user.id",
        "feeds.activity.feedback" => "activity_feedback.activity_id",
        "moderation.flagged" => "object_id",
        "moderation.mark_reviewed" => "item.entity_id",
        "moderation.custom_action" => "review_queue_item.entity_id",
        "custom" => "call_cid",
        _ => match event_type.split('.').next().unwrap_or_default() {
            "call" | "ingress" => "call_cid",
            "feeds" if event_type.starts_with("feeds.bookmark") => "user.id",
            "feeds" => "fid",
            "appeal" => "appeal.entity_id",
            "review_queue_item" => "review_queue_item.entity_id",
            "moderation" | "moderation_check" | "moderation_rule" => "entity_id",
            "user" => "user.id",
            "user_group" => "user_group.id",
            "campaign" => "campaign.id",
            "export" | "channel_batch_update" => "task_id",
            "channel" | "member" | "message" | "notification" | "reaction" | "reminder" | "thread" => "cid",
            other => panic!("no rule for types that begin with {other}: {event_type}"),
        },
    })
}

#[test]
fn the_body_of_each_type_holds_its_entity_where_the_key_is_looked_for() {
    let event_type = CatalogueType {
        provider: "stream".into(),
        name: "moderation.mark_reviewed".into(),
        family: "moderation".into(),
        channels: Vec::new(),
    };
    let expected = expect(event_type, 7);
    let body: Value = serde_json::from_slice(&expected.body).expect("JSON");
    assert_eq!(body["item"]["entity_id"], "entity-7");
    assert_eq!(expected.key.as_deref(), Some("entity-7"));
}
