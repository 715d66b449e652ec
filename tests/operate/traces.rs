//! Spans of sampled events at a collector, the context that events carry on, and exemplars.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use crate::collector::{Collector, attribute};
use crate::support::bridge::{Bridge, Home, free_port};
use crate::support::client::Answer;
use crate::support::readers::file_events;
use crate::support::{await_until, signing, turns};

/// The context of a sender that has sampled its delivery.
pub const SENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
/// The same of one that has not.
pub const UNSAMPLED: &str = "00-5bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
/// A secret of the collector's, and texts of a body and a header, that nobody may see.
pub const TOKEN: &str = "Bearer canary-of-the-collector";
const BODY_CANARY: &str = "canary-of-the-body";
const HEADER_CANARY: &str = "canary-of-a-header";
/// The topic of the events of these tests in a sink of files.
const FILE_TOPIC: &str = "stream.video.call-lifecycle";

/// A home whose bridge sends spans there, with file sinks of these names.
fn home(traces: &str, sinks: &[&str]) -> Home {
    let home = Home::new();
    fs::write(home.path("otlp-token"), TOKEN).unwrap();
    configure(&home, traces, sinks);
    home
}

fn configure(home: &Home, traces: &str, sinks: &[&str]) {
    let sinks = sinks.iter().map(|name| {
        format!("  {name}: {{ from: earliest, file: {{ dir: {} }} }}\n", home.path(name).display())
    });
    let sinks: String = sinks.collect();
    let traces = if traces.is_empty() { String::new() } else { format!("traces: {{ {traces} }}\n") };
    home.configure("", &format!("{traces}sinks:\n{sinks}"));
}

/// Traces for this collector, which samples all.
pub fn to(collector: &Collector) -> String {
    format!(
        "endpoint: \"http://{}\", sample_ratio: 1.0, headers: {{ authorization: \"file:otlp-token\" }}",
        collector.address
    )
}

/// One delivery that is taken, with this context of its sender's.
pub fn deliver(bridge: &Bridge, number: u32, trace: Option<&str>) -> Answer {
    let body =
        format!(r#"{{"type":"call.created","call_cid":"default:a","n":{number},"x":"{BODY_CANARY}"}}"#);
    let signature = signing::stream(body.as_bytes());
    let mut headers = vec![("x-signature", signature.as_str()), ("x-other", HEADER_CANARY)];
    headers.extend(trace.map(|trace| ("traceparent", trace)));
    headers.extend(trace.map(|_| ("tracestate", "vendor=1")));
    let answer = bridge.client().post("/in/stream-video", &headers, body.as_bytes()).expect("an answer");
    assert!(answer.is_success(), "answered {}: {}", answer.status, answer.text());
    answer
}

/// Bytes as their hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a span would be called in a `traceparent`.
fn context(span: &Span) -> String {
    format!("00-{}-{}-01", hex(&span.trace_id), hex(&span.span_id))
}

/// The spans of one delivery that came with a context, from the sender to this topic of a sink.
pub fn assert_spans_of_sent(collector: &Collector, sink: &str, system: &str, topic: &str) {
    let receive = &collector.await_spans("receive stream-video", 1)[0];
    assert_eq!(hex(&receive.trace_id), SENT[3..35], "it is a part of the sender's trace");
    assert_eq!((hex(&receive.parent_span_id).as_str(), &*receive.trace_state), (&SENT[36..52], "vendor=1"));
    assert_eq!((receive.kind(), receive.flags), (SpanKind::Consumer, 0x301));
    assert!(receive.start_time_unix_nano > 0 && receive.end_time_unix_nano >= receive.start_time_unix_nano);
    let told = |name: &str| attribute(&receive.attributes, name).unwrap_or_default();
    assert_eq!(told("messaging.system"), "webhook");
    assert_eq!(told("messaging.destination.name"), "stream-video");
    assert_eq!(told("cloudevents.event_type"), "call.created");
    assert_eq!(told("fanbridge.verdict"), "accepted");
    assert!(told("messaging.message.id").starts_with("sha256-"));
    assert!(receive.status.is_none(), "{receive:?}");

    let append = &collector.await_spans("append", 1)[0];
    assert_eq!((&append.trace_id, &append.parent_span_id), (&receive.trace_id, &receive.span_id));
    assert_eq!(append.kind(), SpanKind::Internal);
    assert_eq!(attribute(&append.attributes, "fanbridge.position").as_deref(), Some("1"));

    let publish = &collector.await_spans(&format!("publish {topic}"), 1)[0];
    assert_eq!(publish.kind(), SpanKind::Producer);
    assert_ne!(publish.trace_id, receive.trace_id, "it is linked, and no part of the trace");
    let links: Vec<String> =
        publish.links.iter().map(|link| format!("{}-{}", hex(&link.trace_id), hex(&link.span_id))).collect();
    assert_eq!(links, [&SENT[3..52]], "what the event carries on");
    assert_eq!(attribute(&publish.attributes, "messaging.system").as_deref(), Some(system));
    assert_eq!(attribute(&publish.attributes, "messaging.destination.name").as_deref(), Some(topic));
    assert_eq!(attribute(&publish.attributes, "messaging.batch.message_count").as_deref(), Some("1"));
    assert!(publish.status.is_none(), "{publish:?}");
    assert_eq!(attribute(&publish.attributes, "fanbridge.sink").as_deref(), Some(sink));
}

#[test]
fn an_event_has_its_spans_in_the_sender_s_trace_and_carries_its_context_on() {
    let _turn = turns::in_company();
    let collector = Collector::http();
    let home = home(&to(&collector), &["lake"]);
    let bridge = home.start();
    deliver(&bridge, 1, Some(SENT));
    assert_spans_of_sent(&collector, "lake", "file", FILE_TOPIC);
    let event = &file_events(&home.path("lake"))[0];
    assert_eq!(event["traceparent"], SENT);
    bridge.stop();
    for taken in collector.requests() {
        assert_eq!(taken.path, "/v1/traces");
        assert_eq!(taken.headers["content-type"], "application/x-protobuf");
        assert_eq!(taken.headers["authorization"], TOKEN);
        let resource = taken.message.resource_spans[0].resource.as_ref().expect("a resource");
        let told = |name: &str| attribute(&resource.attributes, name).expect(name);
        assert_eq!(told("service.name"), "fanbridge");
        assert_eq!(told("service.version"), env!("CARGO_PKG_VERSION"));
        assert_eq!(told("service.instance.id").len(), 36);
        let text = String::from_utf8_lossy(&taken.bytes).into_owned();
        for canary in [BODY_CANARY, HEADER_CANARY, TOKEN, signing::STREAM_SECRET] {
            assert!(!text.contains(canary), "{canary} is in a span");
        }
    }
    assert!(!bridge_log(&home).contains("canary"), "{}", bridge_log(&home));
}

fn bridge_log(home: &Home) -> String {
    fs::read_to_string(home.path("log")).unwrap_or_default()
}

#[test]
fn a_collector_takes_the_same_spans_by_grpc() {
    let _turn = turns::in_company();
    let collector = Collector::grpc();
    let home = home(&format!("protocol: grpc, {}", to(&collector)), &["lake"]);
    let bridge = home.start();
    deliver(&bridge, 1, Some(SENT));
    assert_spans_of_sent(&collector, "lake", "file", FILE_TOPIC);
    bridge.stop();
    let taken = &collector.requests()[0];
    assert_eq!(taken.path, "/opentelemetry.proto.collector.trace.v1.TraceService/Export");
    for (name, value) in [("te", "trailers"), ("authorization", TOKEN), ("content-type", "application/grpc")]
    {
        assert_eq!(taken.headers[name], value);
    }
}

#[test]
fn a_delivery_without_a_context_begins_a_trace_and_what_is_not_sampled_leaves_none() {
    let _turn = turns::in_company();
    let collector = Collector::http();
    let home = home(&to(&collector), &["lake"]);
    let bridge = home.start();
    deliver(&bridge, 1, Some(UNSAMPLED));
    let forged = [("x-signature", "forged"), ("traceparent", SENT)];
    assert_eq!(bridge.client().post("/in/stream-video", &forged, b"{}").expect("an answer").status, 401);
    deliver(&bridge, 2, None);
    // The same once more, and one that is no event.
    deliver(&bridge, 2, None);
    let signature = signing::stream(b"[]");
    let no_event = [("x-signature", signature.as_str())];
    assert!(bridge.client().post("/in/stream-video", &no_event, b"[]").expect("an answer").is_success());
    let receives = collector.await_spans("receive", 3);
    collector.await_spans("publish", 1);
    bridge.stop();
    let verdicts: Vec<String> =
        receives.iter().filter_map(|span| attribute(&span.attributes, "fanbridge.verdict")).collect();
    assert_eq!(verdicts, ["accepted", "duplicate", "quarantined"]);
    assert!(receives.iter().all(|span| span.parent_span_id.is_empty()));
    let events = file_events(&home.path("lake"));
    assert_eq!(events[0]["traceparent"], UNSAMPLED, "the sender's is carried on as ever");
    assert_eq!(events[1]["traceparent"], context(&receives[0]), "the bridge's own");
    let spans = collector.spans();
    assert!(
        spans.iter().all(|span| hex(&span.trace_id) != UNSAMPLED[3..35]),
        "its sender has not sampled it"
    );
    assert!(spans.iter().all(|span| hex(&span.trace_id) != SENT[3..35]), "nobody knows who sent it");
}

#[test]
fn a_stranger_s_flag_has_nothing_traced() {
    let _turn = turns::in_company();
    let collector = Collector::http();
    let home = Home::new();
    let source = "  open: { provider: open }\n";
    let provider = "providers:\n  open:\n    \
                    signature: { scheme: none, insecure_no_verification: true }\n    \
                    event: { type: { pointers: [/type] } }\n    extensions: { traceparent: traceparent }\n";
    let (endpoint, lake) = (collector.address, home.path("lake"));
    let traces = format!("traces: {{ endpoint: \"http://{endpoint}\", sample_ratio: 0.0 }}\n");
    let sinks = format!("sinks:\n  lake: {{ from: earliest, file: {{ dir: {} }} }}\n", lake.display());
    home.configure("", &format!("{source}{provider}{traces}{sinks}"));
    let bridge = home.start();
    let answer = bridge.client().post("/in/open", &[("traceparent", SENT)], br#"{"type":"a"}"#);
    assert!(answer.expect("an answer").is_success());
    // A known sender's flag still counts, and its spans come behind all others.
    deliver(&bridge, 1, Some(SENT));
    collector.await_spans("receive stream-video", 1);
    bridge.stop();
    assert!(collector.spans().iter().all(|span| !span.name.contains("open")), "{:?}", collector.spans());
    let events = file_events(&lake);
    let carried: Vec<_> = events.iter().filter_map(|event| event["traceparent"].as_str()).collect();
    assert_eq!((events.len(), carried), (2, vec![SENT]));
}

#[test]
fn a_sink_that_comes_after_a_restart_links_to_the_trace_of_before() {
    let _turn = turns::in_company();
    let collector = Collector::http();
    let home = home(&to(&collector), &["lake"]);
    let bridge = home.start();
    deliver(&bridge, 1, Some(SENT));
    collector.await_spans("publish", 1);
    bridge.kill();
    configure(&home, &to(&collector), &["lake", "later"]);
    let bridge = home.start();
    let publish = await_until("the new sink has it", Duration::from_secs(20), || {
        let sink = |span: &Span| attribute(&span.attributes, "fanbridge.sink");
        collector.spans().into_iter().find(|span| sink(span).as_deref() == Some("later"))
    });
    bridge.stop();
    assert_eq!(hex(&publish.links[0].trace_id), SENT[3..35]);
    assert_eq!(file_events(&home.path("later"))[0]["traceparent"], SENT);
}

#[test]
fn a_collector_that_is_away_delays_nothing_and_is_warned_of_once() {
    let _turn = turns::in_company();
    let port = free_port();
    let traces = format!("endpoint: \"http://127.0.0.1:{port}\", sample_ratio: 1");
    let home = home(&traces, &["lake"]);
    let bridge = home.start();
    let start = Instant::now();
    for number in 0..50 {
        deliver(&bridge, number, None);
    }
    assert!(start.elapsed() < Duration::from_secs(20), "they took {:?}", start.elapsed());
    await_until("the sink has them", Duration::from_secs(20), || {
        (bridge.metric("fanbridge_delivered_total", &[]) >= 50.0).then_some(())
    });
    bridge.assert_logs("the collector does not take spans");
    // Long enough for another attempt.
    std::thread::sleep(Duration::from_secs(3));
    let collector = Collector::at(port, false);
    collector.await_spans("receive", 50);
    bridge.assert_logs("the collector takes spans again");
    collector.refuse(400);
    deliver(&bridge, 51, None);
    await_until("it is refused for good", Duration::from_secs(20), || {
        (bridge.metric("fanbridge_trace_spans_dropped_total", &["reason=\"refused\""]) >= 1.0).then_some(())
    });
    collector.refuse(200);
    await_until("each time is told", Duration::from_secs(20), || {
        let told = |words: &str| bridge.log().matches(words).count();
        assert!(told("the collector does not take spans") <= 2, "once for each time: {}", bridge.log());
        let is_told = told("the collector does not take spans") == 2;
        (is_told && told("the collector takes spans again") == 1).then_some(())
    });
    assert!(bridge.metric("fanbridge_trace_spans_exported_total", &[]) >= 100.0);
    bridge.stop();
}

#[test]
fn a_stop_does_not_wait_for_a_collector_that_says_nothing() {
    let _turn = turns::in_company();
    // It takes connections and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let traces = format!("endpoint: \"http://{}\", sample_ratio: 1", silent.local_addr().unwrap());
    let home = home(&traces, &["lake"]);
    let bridge = home.start();
    deliver(&bridge, 1, None);
    let took = bridge.stop();
    assert!(took < Duration::from_secs(10), "it took {took:?}");
    assert!(bridge_log(&home).contains("the bridge stops without a collector"), "{}", bridge_log(&home));
}

#[test]
fn a_slow_bucket_leads_to_a_trace_only_in_openmetrics_and_only_with_traces_on() {
    let _turn = turns::in_company();
    let collector = Collector::http();
    let home = home(&to(&collector), &["lake"]);
    let bridge = home.start();
    deliver(&bridge, 1, Some(SENT));
    collector.await_spans("publish", 1);
    let openmetrics = scrape(&bridge, "application/openmetrics-text");
    let trace = &SENT[3..35];
    let exemplar = format!("# {{trace_id=\"{trace}\"}} ");
    for name in ["ack_duration_seconds", "delivery_duration_seconds"] {
        let is_one =
            |line: &&str| line.starts_with(&format!("fanbridge_{name}_bucket")) && line.contains(&exemplar);
        assert_eq!(openmetrics.lines().filter(is_one).count(), 1, "{name}: {openmetrics}");
    }
    let older = scrape(&bridge, "text/plain");
    assert!(!older.contains(trace), "{older}");
    check_with_promtool(&older);
    // Who reads the values for people is not disturbed by them.
    let top = home.run_verb(&["top", "--count", "2", "--every", "1s", "--format", "ndjson"]);
    assert!(top.contains("lake"), "{top}");
    bridge.stop();

    configure(&home, "", &["lake"]);
    let bridge = home.start();
    deliver(&bridge, 2, Some(SENT));
    assert!(!scrape(&bridge, "application/openmetrics-text").contains("trace_id"));
    bridge.stop();
}

/// The metrics in the format that is asked for.
pub fn scrape(bridge: &Bridge, accept: &str) -> String {
    let request = format!("GET /metrics HTTP/1.1\r\nhost: localhost\r\naccept: {accept}\r\n\r\n");
    bridge.admin().exchange(request.as_bytes()).expect("the metrics").text()
}

/// Asks promtool, where it is installed, whether these are metrics.
fn check_with_promtool(text: &str) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/promtool.sh");
    let found = Command::new(script).arg("path").output().expect("the script runs");
    if !found.status.success() {
        return crate::support::servers::tell_skipped("metrics with promtool", "it is not installed");
    }
    let path = String::from_utf8(found.stdout).unwrap();
    let mut promtool = Command::new(path.trim())
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool runs");
    std::io::Write::write_all(&mut promtool.stdin.take().unwrap(), text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    // It ends otherwise if a name is not to its taste.
    assert_ne!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
}
