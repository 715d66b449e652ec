//! Sinks that carry some of an event's attributes, beside sinks that carry all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::value::RawValue;

use crate::support::bridge::{Bridge, Home};
use crate::support::{await_until, readers, servers, signing, turns};

/// It states no time, so that the time is inferred.
const BODY: &str = r#"{"type":"call.created", "call_cid":"default:a", "n": 1.50}"#;
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const LIST: &str = "[sequence, traceparent, id]";

/// Hands the event over and stops the bridge, once so many sinks have it.
fn deliver(bridge: Bridge, sinks: usize) {
    let signature = signing::stream(BODY.as_bytes());
    let headers = [("x-signature", signature.as_str()), ("x-webhook-id", "w-1"), ("traceparent", TRACE)];
    let answer = bridge.client().post("/in/stream-video", &headers, BODY.as_bytes()).expect("an answer");
    assert!(answer.is_success(), "answered {}: {}", answer.status, answer.text());
    await_until("every sink has it", Duration::from_secs(60), || {
        (bridge.metric("fanbridge_delivered_total", &[]) >= sinks as f64).then_some(())
    });
    bridge.stop();
}

/// The one line of a file sink's one topic.
fn line(dir: &Path) -> String {
    fs::read_to_string(dir.join("stream.video.call-lifecycle/00000001.jsonl")).expect("a topic's file")
}

/// The document that a sink with `LIST` writes, made of the one with all attributes.
fn listed(whole: &str) -> String {
    let members: BTreeMap<&str, &RawValue> = serde_json::from_str(whole).expect("an object");
    let member = |name: &str| format!("\"{name}\":{}", members[name].get());
    let names = ["specversion", "id", "source", "type", "sequence", "traceparent", "datacontenttype", "data"];
    format!("{{{}}}", names.map(member).join(","))
}

#[test]
fn a_sink_that_lists_attributes_writes_these_and_the_required_ones_and_the_same_data() {
    let _turn = turns::in_company();
    let home = Home::new();
    let [whole, lean, marked] = ["whole", "lean", "marked"].map(|name| home.path(name));
    home.configure(
        "",
        &format!(
            "sinks:\n  whole: {{ file: {{ dir: {} }} }}\n  \
             lean: {{ file: {{ dir: {} }}, attributes: {LIST} }}\n  \
             marked: {{ file: {{ dir: {} }}, attributes: [time] }}\n",
            whole.display(),
            lean.display(),
            marked.display()
        ),
    );
    deliver(home.start(), 3);
    let [whole, lean, marked] = [whole, lean, marked].map(|dir| line(&dir));
    let names: Vec<String> =
        whole.split("\":").filter_map(|part| Some(part.rsplit_once('"')?.1.to_owned())).collect();
    let names = names.join(" ");
    assert!(
        names.starts_with(
            "specversion id source type subject time timeinferred partitionkey family provider intake \
             recordedtime sequence traceparent webhookid datacontenttype data"
        ),
        "{whole}"
    );
    assert_eq!(lean.trim_end(), listed(whole.trim_end()));
    assert!(lean.ends_with(&format!(r#","datacontenttype":"application/json","data":{BODY}}}{}"#, '\n')));
    let is_marked = marked.contains(r#","time":""#) && marked.contains(r#","timeinferred":true,"#);
    assert!(is_marked && !marked.contains("recordedtime"), "an inferred time says that it is one: {marked}");
}

#[test]
fn a_kafka_sink_that_lists_attributes_has_these_headers_in_either_mode_and_the_key_all_the_same() {
    let _turn = turns::in_company();
    let Some(brokers) = servers::kafka("a list of attributes in Kafka") else { return };
    let home = Home::new();
    let topics =
        ["whole", "lean", "document"].map(|name| format!("attributes-{}-{name}", std::process::id()));
    let [whole, lean, document] = &topics;
    home.configure(
        "",
        &format!(
            "sinks:\n  whole: {{ kafka: {{ brokers: \"{brokers}\" }}, topic: {whole} }}\n  \
             lean: {{ kafka: {{ brokers: \"{brokers}\" }}, topic: {lean}, attributes: {LIST} }}\n  \
             document: {{ kafka: {{ brokers: \"{brokers}\", structured: true }}, topic: {document}, \
             attributes: {LIST} }}\n  \
             files: {{ file: {{ dir: {} }} }}\n",
            home.path("files").display()
        ),
    );
    home.run_verb(&["topics", "apply"]);
    deliver(home.start(), 4);
    let records = readers::kafka(&brokers, &topics.each_ref().map(String::as_str));
    assert_eq!(records.len(), 3, "{records:?}");
    let names = |headers: &BTreeMap<String, String>| headers.keys().cloned().collect::<BTreeSet<_>>();
    let expected = |names: &str| names.split(' ').map(str::to_owned).collect::<BTreeSet<_>>();
    let required = "content-type ce_specversion ce_id ce_source ce_type ce_sequence ce_traceparent";
    let others = "ce_subject ce_time ce_timeinferred ce_partitionkey ce_family ce_provider ce_intake \
                  ce_recordedtime ce_webhookid";
    assert_eq!(names(&records[0].headers), expected(&format!("{required} {others}")));
    assert_eq!(names(&records[1].headers), expected(required));
    for name in required.split(' ') {
        assert_eq!(records[1].header(name), records[0].header(name), "{name}");
    }
    assert_eq!(names(&records[2].headers), expected("content-type"));
    assert_eq!(String::from_utf8_lossy(&records[2].value), listed(line(&home.path("files")).trim_end()));
    for record in &records {
        assert_eq!(record.key.as_deref(), Some(&b"default:a"[..]), "the key is no attribute: {record:?}");
    }
    assert_eq!((&*records[0].value, &*records[1].value), (BODY.as_bytes(), BODY.as_bytes()));
}
