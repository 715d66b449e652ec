//! A record as a CloudEvent 1.0: attributes beside the body (binary mode), or one JSON document
//! around it (structured mode). Pure.
//!
//! The body is copied byte for byte in both modes and never parsed, so a number in it cannot
//! change on the way. Attribute values are text that came from outside: structured mode escapes
//! them, binary mode hands them over as they are (Kafka headers are bytes with a length).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::attributes::{Attribute, CONTENT_TYPE_ATTRIBUTE, CarriedAttributes};
use crate::event::{EventTime, Position, RFC3339_BYTES_MAX, Record};

/// The content type of a body, which is JSON by admission.
pub const BODY_CONTENT_TYPE: &str = "application/json";
/// The content type of a structured CloudEvent.
pub const STRUCTURED_CONTENT_TYPE: &str = "application/cloudevents+json; charset=UTF-8";

/// Digits of a `sequence`: they hold any 64-bit number, so that text order is accept order.
const SEQUENCE_DIGITS: usize = 20;

/// An attribute's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttributeName<'a> {
    /// Of an attribute that the bridge sets.
    Own(Attribute),
    /// Of an extension.
    Extension(&'a str),
}

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

/// Calls `each` with every attribute that the record has and carries, in a fixed order, and allocates
/// nothing. The content type is not among them, because each mode states it in its own way.
pub fn attributes(
    record: &Record,
    carried: &CarriedAttributes,
    mut each: impl FnMut(AttributeName<'_>, AttributeValue<'_>),
) {
    let event = &record.event;
    let mut own = |attribute, value: AttributeValue<'_>| {
        if carried.has(attribute) {
            each(AttributeName::Own(attribute), value);
        }
    };
    own(Attribute::SpecVersion, AttributeValue::Text("1.0"));
    own(Attribute::Id, AttributeValue::Text(&event.id));
    own(Attribute::Source, AttributeValue::Text(&event.source));
    own(Attribute::Type, AttributeValue::Text(&event.event_type));
    if let Some(subject) = &event.subject {
        own(Attribute::Subject, AttributeValue::Text(subject));
    }
    match &event.time {
        EventTime::Stated(time) => own(Attribute::Time, AttributeValue::Text(time)),
        EventTime::Inferred(arrival) => {
            if carried.has(Attribute::Time) {
                let mut room = [0; RFC3339_BYTES_MAX];
                own(Attribute::Time, AttributeValue::Text(arrival.rfc3339_in(&mut room)));
            }
            own(Attribute::TimeInferred, AttributeValue::True);
        }
    }
    if let Some(key) = &event.key {
        own(Attribute::PartitionKey, AttributeValue::Text(key));
    }
    own(Attribute::Family, AttributeValue::Text(&event.family));
    own(Attribute::Provider, AttributeValue::Text(&event.provider));
    own(Attribute::Intake, AttributeValue::Text(&event.source_name));
    if carried.has(Attribute::RecordedTime) {
        let mut room = [0; RFC3339_BYTES_MAX];
        own(Attribute::RecordedTime, AttributeValue::Text(event.arrived.rfc3339_in(&mut room)));
    }
    if carried.has(Attribute::Sequence) {
        let mut room = [0; SEQUENCE_DIGITS];
        own(Attribute::Sequence, AttributeValue::Text(sequence_in(record.position, &mut room)));
    }
    for (name, value) in event.extensions.iter().filter(|(name, _)| carried.has_extension(name)) {
        each(AttributeName::Extension(name), AttributeValue::Text(value));
    }
}

/// The position as the text of a `sequence`, written into `room`.
fn sequence_in(position: Position, room: &mut [u8; SEQUENCE_DIGITS]) -> &str {
    let mut rest = position.0;
    for digit in room.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    std::str::from_utf8(room).unwrap_or_else(|_| unreachable!("digits are ASCII"))
}

/// Appends the record as one JSON document whose `data` is the body, verbatim.
pub fn structured(record: &Record, carried: &CarriedAttributes, out: &mut Vec<u8>) {
    open_document(record, carried, out);
    out.extend_from_slice(br#","data":"#);
    out.extend_from_slice(&record.event.body);
    out.push(b'}');
}

/// Appends the record as one line: a JSON document and its line break.
///
/// A body with line breaks of its own does not fit on a line verbatim. It travels as
/// `data_base64`, which is how CloudEvents carries bytes that must not change.
pub fn structured_line(record: &Record, carried: &CarriedAttributes, out: &mut Vec<u8>) {
    let body = &record.event.body;
    if body.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
        open_document(record, carried, out);
        out.extend_from_slice(br#","data_base64":""#);
        out.extend_from_slice(STANDARD.encode(body).as_bytes());
        out.extend_from_slice(br#""}"#);
    } else {
        structured(record, carried, out);
    }
    out.push(b'\n');
}

/// Appends the attributes as the members of a JSON object that is left open.
fn open_document(record: &Record, carried: &CarriedAttributes, out: &mut Vec<u8>) {
    out.reserve(record.event.body.len() + 1024);
    out.push(b'{');
    attributes(record, carried, |name, value| {
        match name {
            AttributeName::Own(attribute) => write_text(attribute.name(), out),
            AttributeName::Extension(name) => write_text(name, out),
        }
        out.push(b':');
        match value {
            AttributeValue::Text(text) => write_text(text, out),
            AttributeValue::True => out.extend_from_slice(b"true"),
        }
        out.push(b',');
    });
    write_text(CONTENT_TYPE_ATTRIBUTE, out);
    out.push(b':');
    write_text(BODY_CONTENT_TYPE, out);
}

/// Appends the text as a JSON string.
fn write_text(text: &str, out: &mut Vec<u8>) {
    let is_escaped = |byte: u8| (byte < 0x20) | (byte == b'"') | (byte == b'\\');
    // Without a way out of the loop, many bytes are looked at at once; hardly any text has one to escape.
    if text.bytes().fold(false, |any, byte| any | is_escaped(byte)) {
        serde_json::to_writer(out, text).expect("text can always be written to memory as JSON");
    } else {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    }
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
                configuration: None,
                extensions: vec![("webhookid".into(), "w-1".into())],
                only_sink: None,
                body: Bytes::from_static(body),
            }),
        }
    }

    fn all() -> CarriedAttributes {
        CarriedAttributes::default()
    }

    fn carried(record: &Record, carried: &CarriedAttributes) -> Vec<(String, String)> {
        let mut all = Vec::new();
        attributes(record, carried, |name, value| {
            let name = match name {
                AttributeName::Own(attribute) => attribute.name(),
                AttributeName::Extension(name) => name,
            };
            all.push((name.into(), value.as_text().into()));
        });
        all
    }

    fn names(record: &Record, listed: &CarriedAttributes) -> String {
        let names: Vec<_> = carried(record, listed).into_iter().map(|(name, _)| name).collect();
        names.join(" ")
    }

    #[test]
    fn every_attribute_comes_in_a_fixed_order() {
        assert_eq!(
            names(&record(b"{}"), &all()),
            "specversion id source type subject time timeinferred partitionkey family provider intake \
             recordedtime sequence webhookid"
        );
        let carried = carried(&record(b"{}"), &all());
        assert!(carried.contains(&("sequence".into(), "00000000000000000042".into())));
        assert!(carried.contains(&("recordedtime".into(), "2025-11-21T07:20:00Z".into())));
    }

    #[test]
    fn a_sequence_has_twenty_digits_whatever_the_position() {
        for position in [0, 1, 9, 10, 12_345_678_901, u64::MAX] {
            let text = format!("{position:020}");
            assert_eq!(sequence_in(Position(position), &mut [0; SEQUENCE_DIGITS]), text);
        }
    }

    #[test]
    fn each_character_is_escaped_where_json_demands_it_and_nowhere_else() {
        for character in ('\0'..='\u{17f}').chain(['\u{2028}', '\u{fffe}', '😀']) {
            let text = format!("before {character} behind");
            let mut out = Vec::new();
            write_text(&text, &mut out);
            assert_eq!(out, serde_json::to_vec(&text).expect("JSON"), "{character:?}");
        }
    }

    #[test]
    fn what_is_not_listed_is_left_out_and_the_rest_keeps_its_order() {
        let listed = CarriedAttributes::listed(["webhookid", "sequence", "time"]);
        assert_eq!(
            names(&record(b"{}"), &listed),
            "specversion id source type time timeinferred sequence webhookid"
        );
        assert_eq!(names(&record(b"{}"), &CarriedAttributes::listed([])), "specversion id source type");
        assert_eq!(
            names(&record(b"{}"), &CarriedAttributes::listed(["nobodys"])),
            "specversion id source type"
        );
    }

    #[test]
    fn an_event_without_key_subject_or_inferred_time_has_no_such_attributes() {
        let mut plain = record(b"{}");
        let event = Arc::make_mut(&mut plain.event);
        event.key = None;
        event.subject = None;
        event.time = EventTime::Stated("2025-11-21T07:20:00+01:00".into());
        for listed in [all(), CarriedAttributes::listed(["partitionkey", "subject", "timeinferred", "time"])]
        {
            let carried = carried(&plain, &listed);
            for absent in ["partitionkey", "subject", "timeinferred"] {
                assert!(!carried.iter().any(|(name, _)| name == absent), "{absent}");
            }
            assert!(carried.contains(&("time".into(), "2025-11-21T07:20:00+01:00".into())));
        }
    }

    #[test]
    fn a_structured_document_is_byte_for_byte_what_it_always_was() {
        let (mut whole, mut listed) = (Vec::new(), Vec::new());
        structured(&record(b"{\"a\":1}"), &all(), &mut whole);
        structured(&record(b"{\"a\":1}"), &CarriedAttributes::listed([]), &mut listed);
        let required = r#"{"specversion":"1.0","id":"sha256-\"\u001b[31m","source":"/stream/default","type":"call.ring\r\nx""#;
        let others = r#","subject":"call/default:abc","time":"2025-11-21T07:20:00Z","timeinferred":true,"partitionkey":"default:abc","family":"video","provider":"stream","intake":"stream-video","recordedtime":"2025-11-21T07:20:00Z","sequence":"00000000000000000042","webhookid":"w-1""#;
        let end = r#","datacontenttype":"application/json","data":{"a":1}}"#;
        assert_eq!(String::from_utf8(whole).expect("text"), format!("{required}{others}{end}"));
        assert_eq!(String::from_utf8(listed).expect("text"), format!("{required}{end}"));
    }

    #[test]
    fn a_structured_document_holds_the_body_verbatim_and_escapes_the_rest() {
        let body = br#"{"n": 12345678901234567890123, "t":0.10000000000000000555 }"#;
        let mut out = Vec::new();
        structured(&record(body), &all(), &mut out);
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
        structured_line(&record(body), &all(), &mut out);
        assert_eq!(out.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count(), 1);
        let document: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(&out).expect("it is JSON");
        let encoded: String = serde_json::from_str(document["data_base64"].get()).expect("it is text");
        assert_eq!(STANDARD.decode(encoded).expect("it is base64"), body);
        assert!(!document.contains_key("data"));
    }
}
