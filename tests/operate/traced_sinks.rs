//! Events that travel to Kafka and SNS take their trace context along, and their publications are linked.

use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::Span;

use crate::collector::{Collector, attribute};
use crate::support::aws::Aws;
use crate::support::bridge::{Bridge, Home};
use crate::support::{await_until, readers, servers, turns};
use crate::traces::{SENT, UNSAMPLED, assert_spans_of_sent, deliver, hex, scrape, to};

/// How long an event may take to its sink, and its span to the collector.
const WITHIN: Duration = Duration::from_secs(30);
/// Contexts of other senders that have sampled their deliveries.
const OTHERS: [&str; 2] = [
    "00-6bf92f3577b34da6a3ce929d0e0e4736-10f067aa0ba902b7-01",
    "00-7bf92f3577b34da6a3ce929d0e0e4736-20f067aa0ba902b7-01",
];

/// A home whose bridge sends spans there, with these lines of its own and these sinks.
fn home(collector: &Collector, lines: &str, sinks: &[(&str, String)]) -> Home {
    let home = Home::new();
    std::fs::write(home.path("otlp-token"), crate::traces::TOKEN).unwrap();
    let sinks: String = sinks.iter().map(|(name, sink)| format!("  {name}: {{ {sink} }}\n")).collect();
    home.configure("", &format!("{lines}traces: {{ {} }}\nsinks:\n{sinks}", to(collector)));
    home
}

/// A Kafka sink with one topic.
fn kafka(brokers: &str, topic: &str, more: &str) -> String {
    format!("kafka: {{ brokers: \"{brokers}\"{more} }}, topic: {topic}")
}

/// The spans of a sink's publications.
fn publications(collector: &Collector, sink: &str) -> Vec<Span> {
    let of_sink =
        |span: &Span| attribute(&span.attributes, "fanbridge.sink").is_some_and(|named| named == sink);
    collector.spans().into_iter().filter(of_sink).collect()
}

/// The contexts that these spans link to, as they stand in a `traceparent`.
fn linked(spans: &[Span]) -> Vec<String> {
    let links = spans.iter().flat_map(|span| &span.links);
    links.map(|link| format!("00-{}-{}-01", hex(&link.trace_id), hex(&link.span_id))).collect()
}

/// Waits until this sink has accepted so many events.
fn await_delivered(bridge: &Bridge, sink: &str, count: f64) {
    await_until(&format!("{sink} has {count} events"), WITHIN, || {
        let label = format!("sink=\"{sink}\"");
        (bridge.metric("fanbridge_delivered_total", &[&label]) >= count).then_some(())
    });
}

/// A slow bucket of this sink leads to the trace, in OpenMetrics only.
fn assert_exemplar(bridge: &Bridge, sink: &str) {
    let (trace, label) = (&SENT[3..35], format!("sink=\"{sink}\""));
    let openmetrics = scrape(bridge, "application/openmetrics-text");
    let exemplar = format!(" # {{trace_id=\"{trace}\"}} ");
    let is_one = |line: &&str| {
        line.starts_with("fanbridge_delivery_duration_seconds_bucket{")
            && line.contains(&label)
            && line.contains(&exemplar)
    };
    assert_eq!(openmetrics.lines().filter(is_one).count(), 1, "{openmetrics}");
    let acknowledged =
        |line: &&str| line.starts_with("fanbridge_ack_duration_seconds_bucket{") && line.contains(&exemplar);
    assert_eq!(openmetrics.lines().filter(acknowledged).count(), 1, "{openmetrics}");
    assert!(!scrape(bridge, "text/plain").contains(trace));
}

#[test]
fn a_kafka_record_has_the_sender_s_context_and_its_publication_is_linked_to_it() {
    let _turn = turns::in_company();
    let Some(brokers) = servers::kafka("traces with Kafka") else { return };
    let names = ["traced", "traced-document", "traced-narrow"].map(servers::own_name);
    names.iter().for_each(|topic| servers::create_topic(&brokers, topic, &[]));
    let [topic, document, narrow] = names;
    let collector = Collector::http();
    let home = home(
        &collector,
        "",
        &[
            ("lake", kafka(&brokers, &topic, "")),
            ("document", kafka(&brokers, &document, ", structured: true")),
            ("narrow", kafka(&brokers, &narrow, "") + ", attributes: [family]"),
        ],
    );
    let bridge = home.start();
    deliver(&bridge, 1, Some(SENT));
    assert_spans_of_sent(&collector, "lake", "kafka", &topic);
    assert_spans_of_sent(&collector, "document", "kafka", &document);
    // Without the attribute its consumers cannot go on with the trace; the span is linked all the same.
    assert_spans_of_sent(&collector, "narrow", "kafka", &narrow);
    for sink in ["lake", "document", "narrow"] {
        assert_exemplar(&bridge, sink);
    }
    bridge.stop();

    let record = |topic: &str| {
        let mut records = readers::kafka(&brokers, &[topic]);
        assert_eq!(records.len(), 1, "{records:?}");
        records.remove(0)
    };
    assert_eq!(record(&topic).header("ce_traceparent"), SENT);
    let written: serde_json::Value = serde_json::from_slice(&record(&document).value).expect("a document");
    assert_eq!(written["traceparent"], SENT);
    assert_eq!(record(&narrow).headers.get("ce_traceparent"), None, "the sink carries the family only");
}

#[test]
fn publications_to_kafka_link_to_each_sampled_event_of_theirs_and_to_no_other() {
    let _turn = turns::in_company();
    let Some(brokers) = servers::kafka("traces of many events") else { return };
    let topic = servers::own_name("traced-many");
    servers::create_topic(&brokers, &topic, &[]);
    let collector = Collector::http();
    let home = home(&collector, "", &[("lake", kafka(&brokers, &topic, ""))]);
    let bridge = home.start();
    home.run_verb(&["pause", "lake", "--reason", "they are to travel together"]);
    let contexts = [SENT, UNSAMPLED, OTHERS[0], OTHERS[1]];
    for (number, context) in (0..).zip(contexts) {
        deliver(&bridge, number, Some(context));
    }
    home.run_verb(&["resume", "lake"]);
    await_delivered(&bridge, "lake", 4.0);
    let mut links = await_until("all three are linked", WITHIN, || {
        let links = linked(&publications(&collector, "lake"));
        (links.len() >= 3).then_some(links)
    });
    bridge.stop();
    links.sort();
    assert_eq!(links, [SENT, OTHERS[0], OTHERS[1]]);
    let records = readers::kafka(&brokers, &[&topic]);
    let mut carried: Vec<_> = records.iter().map(|record| record.header("ce_traceparent")).collect();
    carried.sort_unstable();
    assert_eq!(carried, [SENT, UNSAMPLED, OTHERS[0], OTHERS[1]], "what is not sampled is carried on, too");
}

#[test]
fn an_event_that_waits_for_its_kafka_topic_over_a_kill_is_linked_by_each_attempt() {
    let _turn = turns::in_company();
    let Some(brokers) = servers::kafka("traces of a topic that is missing") else { return };
    let topic = servers::own_name("traced-missing");
    let collector = Collector::http();
    let home = home(&collector, "", &[("lake", kafka(&brokers, &topic, ""))]);
    let bridge = home.start();
    deliver(&bridge, 1, Some(SENT));
    let failed = |span: &Span| attribute(&span.attributes, "error.type");
    let attempt = await_until("an attempt has its span", WITHIN, || {
        publications(&collector, "lake").into_iter().find(|span| failed(span).is_some())
    });
    assert_eq!(failed(&attempt).as_deref(), Some("unknown_topic"));
    assert_eq!(attribute(&attempt.attributes, "fanbridge.retried").as_deref(), Some("1"));
    bridge.kill();

    servers::create_topic(&brokers, &topic, &[]);
    let bridge = home.start();
    await_delivered(&bridge, "lake", 1.0);
    await_until("the attempt that succeeds has its span", WITHIN, || {
        publications(&collector, "lake").iter().any(|span| failed(span).is_none()).then_some(())
    });
    bridge.stop();
    let links = linked(&publications(&collector, "lake"));
    assert!(links.len() > 1 && links.iter().all(|link| link == SENT), "{links:?}");
    let records = readers::kafka(&brokers, &[&topic]);
    assert_eq!(records.len(), 1, "{records:?}");
    assert_eq!(records[0].header("ce_traceparent"), SENT);
}

#[test]
fn an_sns_message_has_the_sender_s_context_and_its_publication_is_linked_to_it() {
    let _turn = turns::in_company();
    let Some(aws) = Aws::connect("traces with SNS") else { return };
    let (topic, queue, traced) =
        (aws.topic("traced", &[]), aws.queue("traced", &[]), aws.queue("traced-only", &[]));
    let raw = ("RawMessageDelivery", "true");
    topic.subscribe(&queue, &[raw]);
    topic.subscribe(&traced, &[raw, ("FilterPolicy", r#"{"traceparent":[{"exists":true}]}"#)]);
    let collector = Collector::http();
    let lines = format!("aws: {{ endpoint: \"{}\" }}\n", aws.endpoint());
    let home = home(&collector, &lines, &[("billing", format!("sns: {{}}, topic: \"{}\"", topic.arn))]);
    let bridge = home.start();
    deliver(&bridge, 1, Some(SENT));
    assert_spans_of_sent(&collector, "billing", "aws.sns", &topic.arn);
    assert_exemplar(&bridge, "billing");
    bridge.stop();

    for queue in [&queue, &traced] {
        let message = queue.take(1, WITHIN).remove(0);
        let attributes = message.message_attributes().expect("attributes");
        assert_eq!(attributes["traceparent"].string_value(), Some(SENT));
        assert_eq!(attributes["traceparent"].data_type(), "String");
        let document: serde_json::Value = serde_json::from_str(message.body().unwrap()).expect("JSON");
        assert_eq!(document["traceparent"], SENT);
    }
}
