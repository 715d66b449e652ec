//! A record as a CloudEvent 1.0: attributes beside the body (binary mode), or one JSON document
//! around it (structured mode). Pure.
//!
//! The body is copied byte for byte in both modes and never parsed, so a number in it cannot
//! change on the way. Attribute values are text that came from outside: structured mode escapes
//! them, binary mode hands them over as they are (Kafka headers are bytes with a length).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::event::{EventTime, Record};

/// The content type of a body, which is JSON by admission.
pub const BODY_CONTENT_TYPE: &str = "application/json";
/// The content type of a structured CloudEvent.
pub const STRUCTURED_CONTENT_TYPE: &str = "application/cloudevents+json; charset=UTF-8";

/// Prefix of an attribute's name in the Kafka protocol binding.
const PREFIX: &str = "ce_";

/// An attribute's value, in one of the two CloudEvents types that fanbridge uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttributeValue<'a> {
    /// A string, a URI reference or a timestamp: text on the wire in every mode.
    Text(&'a str),
    /// The Boolean `true`: text in binary mode, a JSON Boolean in structured mode.
    True,
}

impl<'a> AttributeValue<'a> {
    /// The value as the text of a header.
    pub fn as_text(self) -> &'a str {
        match self {
            Self::Text(text) => text,
            Self::True => "true",
        }
    }
}

/// Calls `each` with every attribute of the event, in a fixed order. Names carry the prefix
/// `ce_`; the content type is not among them, because each mode states it in its own way.
pub fn attributes(record: &Record, mut each: impl FnMut(&str, AttributeValue<'_>)) {
    let event = &record.event;
    each("ce_specversion", AttributeValue::Text("1.0"));
    each("ce_id", AttributeValue::Text(&event.id));
    each("ce_source", AttributeValue::Text(&event.source));
    each("ce_type", AttributeValue::Text(&event.event_type));
    if let Some(subject) = &event.subject {
        each("ce_subject", AttributeValue::Text(subject));
    }
    match &event.time {
        EventTime::Stated(time) => each("ce_time", AttributeValue::Text(time)),
        EventTime::Inferred(arrival) => {
            each("ce_time", AttributeValue::Text(&arrival.to_rfc3339()));
            each("ce_timeinferred", AttributeValue::True);
        }
    }
    if let Some(key) = &event.key {
        each("ce_partitionkey", AttributeValue::Text(key));
    }
    each("ce_family", AttributeValue::Text(&event.family));
    each("ce_provider", AttributeValue::Text(&event.provider));
    each("ce_intake", AttributeValue::Text(&event.source_name));
    each("ce_recordedtime", AttributeValue::Text(&event.arrived.to_rfc3339()));
    // Twenty digits hold any 64-bit number, so that text order is accept order.
    each("ce_sequence", AttributeValue::Text(&format!("{:020}", record.position.0)));
    let mut prefixed = String::from(PREFIX);
    for (name, value) in &event.extensions {
        prefixed.truncate(PREFIX.len());
        prefixed.push_str(name);
        each(&prefixed, AttributeValue::Text(value));
    }
}

/// Appends the record as one JSON document whose `data` is the body, verbatim.
pub fn structured(record: &Record, out: &mut Vec<u8>) {
    open_document(record, out);
    out.extend_from_slice(br#","data":"#);
    out.extend_from_slice(&record.event.body);
    out.push(b'}');
}

/// Appends the record as one line: a JSON document and its line break.
///
/// A body with line breaks of its own does not fit on a line verbatim. It travels as
/// `data_base64`, which is how CloudEvents carries bytes that must not change.
pub fn structured_line(record: &Record, out: &mut Vec<u8>) {
    let body = &record.event.body;
    if body.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
        open_document(record, out);
        out.extend_from_slice(br#","data_base64":""#);
        out.extend_from_slice(STANDARD.encode(body).as_bytes());
        out.extend_from_slice(br#""}"#);
    } else {
        structured(record, out);
    }
    out.push(b'\n');
}

/// Appends the attributes as the members of a JSON object that is left open.
fn open_document(record: &Record, out: &mut Vec<u8>) {
    out.reserve(record.event.body.len() + 1024);
    out.push(b'{');
    attributes(record, |name, value| {
        write_text(name.trim_start_matches(PREFIX), out);
        out.push(b':');
        match value {
            AttributeValue::Text(text) => write_text(text, out),
            AttributeValue::True => out.extend_from_slice(b"true"),
        }
        out.push(b',');
    });
    out.extend_from_slice(br#""datacontenttype":"#);
    write_text(BODY_CONTENT_TYPE, out);
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("text can always be written to memory as JSON");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, Position, Timestamp};
    use bytes::Bytes;
    use serde_json::value::RawValue;
    use std::collections::BTreeMap;
    use std::sync::Arc;

    fn record(body: &'static [u8]) -> Record {
        Record {
            position: Position(42),
            topic: "stream.video".into(),
            event: Arc::new(Event {
                id: "sha256-\"\u{1b}[31m".into(),
                source: "/stream/default".into(),
                event_type: "call.ring\r\nx".into(),
                provider: "stream".into(),
                family: "video".into(),
                source_name: "stream-video".into(),
                key: Some("default:abc".into()),
                subject: Some("call/default:abc".into()),
                time: EventTime::Inferred(Timestamp(1_763_709_600_000_000_000)),
                arrived: Timestamp(1_763_709_600_000_000_000),
                extensions: vec![("webhookid".into(), "w-1".into())],
                only_sink: None,
                body: Bytes::from_static(body),
            }),
        }
    }

    fn headers(record: &Record) -> Vec<(String, String)> {
        let mut all = Vec::new();
        attributes(record, |name, value| all.push((name.into(), value.as_text().into())));
        all
    }

    #[test]
    fn every_attribute_becomes_a_header_in_a_fixed_order() {
        let names: Vec<_> = headers(&record(b"{}")).into_iter().map(|(name, _)| name).collect();
        assert_eq!(
            names.join(" "),
            "ce_specversion ce_id ce_source ce_type ce_subject ce_time ce_timeinferred ce_partitionkey \
             ce_family ce_provider ce_intake ce_recordedtime ce_sequence ce_webhookid"
        );
        assert!(headers(&record(b"{}")).contains(&("ce_sequence".into(), "00000000000000000042".into())));
    }

    #[test]
    fn an_event_without_key_subject_or_inferred_time_has_no_such_attributes() {
        let mut plain = record(b"{}");
        let event = Arc::make_mut(&mut plain.event);
        event.key = None;
        event.subject = None;
        event.time = EventTime::Stated("2025-11-21T07:20:00+01:00".into());
        let names: Vec<_> = headers(&plain).into_iter().map(|(name, _)| name).collect();
        for absent in ["ce_partitionkey", "ce_subject", "ce_timeinferred"] {
            assert!(!names.iter().any(|name| name == absent), "{absent}");
        }
        assert!(headers(&plain).contains(&("ce_time".into(), "2025-11-21T07:20:00+01:00".into())));
    }

    #[test]
    fn a_structured_document_holds_the_body_verbatim_and_escapes_the_rest() {
        let body = br#"{"n": 12345678901234567890123, "t":0.10000000000000000555 }"#;
        let mut out = Vec::new();
        structured(&record(body), &mut out);
        let document: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(&out).expect("it is JSON");
        assert_eq!(document["data"].get().as_bytes(), body);
        assert_eq!(document["timeinferred"].get(), "true");
        assert_eq!(document["datacontenttype"].get(), r#""application/json""#);
        let event_type: String = serde_json::from_str(document["type"].get()).expect("it is text");
        assert_eq!(event_type, "call.ring\r\nx");
        assert!(!out.contains(&b'\n') && !out.contains(&0x1b));
    }

    #[test]
    fn a_body_with_line_breaks_travels_as_bytes_on_one_line() {
        let body = b"{\n  \"type\": \"a\"\r\n}";
        let mut out = Vec::new();
        structured_line(&record(body), &mut out);
        assert_eq!(out.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count(), 1);
        let document: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(&out).expect("it is JSON");
        let encoded: String = serde_json::from_str(document["data_base64"].get()).expect("it is text");
        assert_eq!(STANDARD.decode(encoded).expect("it is base64"), body);
        assert!(!document.contains_key("data"));
    }
}
