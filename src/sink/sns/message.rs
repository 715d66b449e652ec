//! A record as an SNS message (pure): a structured CloudEvent, the attributes for subscribers'
//! filters and, on a FIFO topic, the message group and the deduplication id.

use sha2::{Digest, Sha256};

use crate::event::{Event, Record};
use crate::sink::attributes::{Attribute, CarriedAttributes};
use crate::sink::{Cause, Reason, envelope};
use crate::telemetry::TRACEPARENT;

/// Data type of every message attribute. Its name counts towards the size of a message.
pub(super) const STRING: &str = "String";
/// Longest message group id, by the limits of SNS.
const GROUP_CHARS_MAX: usize = 128;

/// A record in the form in which it is sent; its attributes are read from the record when it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SnsMessage {
    pub text: String,
    /// Set on a FIFO topic only.
    pub fifo: Option<Fifo>,
}

/// The two ids that a FIFO topic wants with each message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fifo {
    pub group: String,
    pub deduplication: String,
}

/// The message attributes of an event, by which subscribers filter: those of these five that the record
/// carries, and its trace context, if it has one, which subscribers' tracing looks for there. Empty ones are
/// left out, because SNS refuses them.
pub(super) fn attributes<'e>(
    event: &'e Event,
    carried: &CarriedAttributes,
) -> impl Iterator<Item = (&'static str, &'e str)> {
    let all = [
        (Attribute::Type, &*event.event_type),
        (Attribute::Source, &*event.source),
        (Attribute::Family, &*event.family),
        (Attribute::Provider, &*event.provider),
        (Attribute::Id, &*event.id),
    ];
    let of_message = all.into_iter().filter(|(name, value)| carried.has(*name) && !value.is_empty());
    let is_trace = |name: &str| name == TRACEPARENT && carried.has_extension(name);
    let trace = event.extensions.iter().find(|(name, _)| is_trace(name));
    let trace = trace.map(|(_, value)| (TRACEPARENT, &**value));
    of_message.map(|(name, value)| (name.name(), value)).chain(trace)
}

/// The message for this record, with these attributes, when the sink of this name publishes it.
///
/// # Errors
/// When this record can never be published: it has characters that the service's XML cannot carry, or
/// is larger than `bytes_max` bytes, attributes included.
pub(super) fn message(
    record: &Record,
    carried: &CarriedAttributes,
    sink: &str,
    bytes_max: usize,
) -> Result<SnsMessage, Reason> {
    let event = &record.event;
    let mut text = Vec::new();
    envelope::structured(record, carried, &mut text);
    let text =
        String::from_utf8(text).map_err(|_| Reason::new(Cause::XML_ILLEGAL, "the body is not UTF-8"))?;
    let mut values = attributes(event, carried).map(|(_, value)| value);
    let illegal = xml_illegal(&text).or_else(|| values.find_map(xml_illegal));
    if let Some(illegal) = illegal {
        let detail =
            format!("SNS cannot carry the character U+{:04X}: XML does not allow it", u32::from(illegal));
        return Err(Reason::new(Cause::XML_ILLEGAL, detail));
    }
    let bytes = text.len() + attribute_bytes(event, carried);
    if bytes > bytes_max {
        let detail =
            format!("the message has {bytes} bytes with its attributes; `message_bytes_max` is {bytes_max}");
        return Err(Reason::new(Cause::TOO_LARGE, detail));
    }
    let fifo = record.topic.ends_with(".fifo").then(|| fifo(event, sink));
    Ok(SnsMessage { text, fifo })
}

/// The size of the message attributes in bytes, by which SNS counts them.
fn attribute_bytes(event: &Event, carried: &CarriedAttributes) -> usize {
    attributes(event, carried).map(|(name, value)| name.len() + STRING.len() + value.len()).sum()
}

/// Upper bound of the size of this record's message, in bytes. A byte of an attribute takes up to six
/// bytes in JSON (`\u001b`), and one more as a message attribute.
pub(super) fn bytes_at_most(record: &Record) -> usize {
    /// Bytes for the names, quotes and braces of the attributes that every event has, its times and
    /// its sequence.
    const FRAME: usize = 1024;
    let event = &record.event;
    let optional = |text: &Option<bytestring::ByteString>| text.as_ref().map_or(0, |text| text.len());
    let texts = event.id.len()
        + event.source.len()
        + event.event_type.len()
        + event.provider.len()
        + event.family.len()
        + event.source_name.len()
        + optional(&event.key)
        + optional(&event.subject)
        + event.extensions.iter().map(|(name, value)| name.len() + value.len() + 1).sum::<usize>();
    event.body.len() + FRAME + 7 * texts
}

/// The first character that XML 1.0 does not allow: a control character other than tab, line feed and
/// carriage return, or U+FFFE or U+FFFF.
fn xml_illegal(text: &str) -> Option<char> {
    // U+FFFE and U+FFFF are EF BF BE and EF BF BF: few texts have that first byte at all.
    let suspicious = |byte: u8| byte == 0xef || (byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r'));
    if !text.bytes().any(suspicious) {
        return None;
    }
    let illegal =
        |c: &char| matches!(c, '\u{fffe}' | '\u{ffff}') || (*c < ' ' && !matches!(c, '\t' | '\n' | '\r'));
    text.chars().find(illegal)
}

/// The group is the partition key, so that the topic keeps the same order as the sink's lanes. An
/// event without a key is a group of its own, which holds back no other event.
///
/// The deduplication id is made of the event's source and id, because the same id of two sources is
/// two events, and of the sink's name, because two sinks that publish to one topic are meant to. It
/// is the same for every repetition, also after a restart and from another replica. A replayed event is meant
/// to come once more, so the name of the replay is a part of it.
fn fifo(event: &Event, sink: &str) -> Fifo {
    let replay = event.replay_id().map(|replay| &**replay);
    let parts: Vec<&str> = [&*event.source, &*event.id, sink].into_iter().chain(replay).collect();
    let deduplication = hex_of(&parts)[..32].to_owned();
    let group = match event.key.as_deref() {
        None => deduplication.clone(),
        Some(key) if is_group(key) => key.to_owned(),
        Some(key) => format!("sha256-{}", hex_of(&[key])),
    };
    Fifo { group, deduplication }
}

/// The rule of SNS: 1 to 128 letters, digits and ASCII punctuation marks.
fn is_group(key: &str) -> bool {
    (1..=GROUP_CHARS_MAX).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
}

/// SHA-256 of the texts joined by `|`, in hexadecimal.
fn hex_of(texts: &[&str]) -> String {
    hex::encode(Sha256::digest(texts.join("|").as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Position, REPLAY_EXTENSION};
    use crate::testing::events::event;
    use bytes::Bytes;
    use std::sync::Arc;

    const TOPIC: &str = "arn:aws:sns:eu-west-1:111111111111:t";

    fn record(topic: &str, body: &'static str) -> Record {
        let mut event = event("default:abc");
        event.body = Bytes::from_static(body.as_bytes());
        Record { position: Position(7), topic: topic.into(), event: event.into() }
    }

    fn all() -> CarriedAttributes {
        CarriedAttributes::default()
    }

    fn refusal(record: &Record, bytes_max: usize) -> Option<&'static str> {
        message(record, &all(), "lake", bytes_max).err().map(|reason| reason.word())
    }

    #[test]
    fn the_text_is_a_structured_event_with_the_body_verbatim() {
        let body = r#"{"n":12345678901234567890123,"c":"\u0001 tab:	 ü😀"}"#;
        let made = message(&record(TOPIC, body), &all(), "lake", 1 << 18).expect("it can be sent");
        assert!(made.text.ends_with(&format!(r#""data":{body}}}"#)), "{}", made.text);
        assert_eq!(made.fifo, None);
    }

    #[test]
    fn characters_that_xml_cannot_carry_are_refused_and_their_escapes_are_not() {
        assert_eq!(refusal(&record(TOPIC, r#"{"a":"\ufffe\u0000 ￼"}"#), 1 << 18), None);
        for body in ["{\"a\":\"\u{fffe}\"}", "{\"a\":\"\u{ffff}\"}"] {
            assert_eq!(refusal(&record(TOPIC, body), 1 << 18), Some("xml_illegal"), "{body:?}");
        }
        let mut named = record(TOPIC, "{}");
        Arc::make_mut(&mut named.event).id = "a\u{1b}b".into();
        let reason = message(&named, &all(), "lake", 1 << 18).expect_err("an attribute is not escaped");
        assert!(reason.cause == Cause::XML_ILLEGAL && reason.detail.contains("U+001B"), "{reason:?}");
    }

    #[test]
    fn a_trace_context_is_a_message_attribute_of_an_event_that_has_one() {
        let mut traced = record(TOPIC, "{}");
        let names = |record: &Record, carried| {
            attributes(&record.event, &carried).map(|(name, _)| name).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names(&traced, all()), "type source family provider id");
        Arc::make_mut(&mut traced.event).extensions = vec![(TRACEPARENT.into(), "00-1-1-01".into())];
        assert_eq!(names(&traced, all()), "type source family provider id traceparent");
        assert_eq!(names(&traced, CarriedAttributes::listed(["time"])), "type source id");
    }

    #[test]
    fn the_bound_counts_text_and_attributes_to_the_byte() {
        let record = record(TOPIC, "{}");
        let text = message(&record, &all(), "lake", 1 << 18).expect("it can be sent").text.len();
        let attributes: usize =
            attributes(&record.event, &all()).map(|(name, value)| name.len() + 6 + value.len()).sum();
        assert_eq!(refusal(&record, text + attributes), None);
        assert_eq!(refusal(&record, text + attributes - 1), Some("too_large"));
    }

    #[test]
    fn no_message_is_larger_than_its_estimate() {
        let mut record = record(TOPIC, "{}");
        for text in ["", "plain", "\u{1}\u{1}\"\"\\\\\u{7f}", "üüü"] {
            let many: bytestring::ByteString = text.repeat(300).into();
            let event = Arc::make_mut(&mut record.event);
            for each in [&mut event.id, &mut event.source, &mut event.event_type] {
                *each = many.clone();
            }
            event.subject = Some(many.clone());
            event.key = Some(many.clone());
            event.extensions = vec![(many.clone(), many.clone())];
            let mut document = Vec::new();
            envelope::structured(&record, &all(), &mut document);
            let attributes = attribute_bytes(&record.event, &all());
            assert!(document.len() + attributes <= bytes_at_most(&record), "{text:?}");
        }
    }

    #[test]
    fn an_empty_attribute_is_left_out() {
        let mut record = record(TOPIC, "{}");
        Arc::make_mut(&mut record.event).family = "".into();
        let names: Vec<_> = attributes(&record.event, &all()).map(|(name, _)| name).collect();
        assert_eq!(names, ["type", "source", "provider", "id"]);
    }

    #[test]
    fn a_list_narrows_what_subscribers_filter_by_and_the_document_in_the_same_way() {
        let record = record(TOPIC, "{}");
        for (listed, expected) in
            [(&["family"][..], "type source family id"), (&["subject"], "type source id")]
        {
            let carried = CarriedAttributes::listed(listed.iter().copied());
            let names: Vec<_> = attributes(&record.event, &carried).map(|(name, _)| name).collect();
            assert_eq!(names.join(" "), expected);
            let text = message(&record, &carried, "lake", 1 << 18).expect("it can be sent").text;
            assert_eq!(text.contains(r#""family":"#), listed == ["family"], "{text}");
        }
    }

    #[test]
    fn a_fifo_message_has_its_key_as_group_or_the_keys_digest_where_it_cannot_be_one() {
        let group = |key: Option<&str>| {
            let mut record = record("arn:aws:sns:eu-west-1:111111111111:t.fifo", "{}");
            Arc::make_mut(&mut record.event).key = key.map(Into::into);
            message(&record, &all(), "lake", 1 << 18)
                .expect("it can be sent")
                .fifo
                .expect("a FIFO topic")
                .group
        };
        assert_eq!(group(Some("default:abc/1!")), "default:abc/1!");
        for key in ["", "a b", "schlüssel", &"k".repeat(129)] {
            let group = group(Some(key));
            assert!(group.starts_with("sha256-") && group.len() == 71, "{key:?}: {group}");
        }
        assert_eq!(group(Some(&"k".repeat(128))).len(), 128);
        assert_eq!(group(None).len(), 32, "a group by itself");
    }

    #[test]
    fn the_deduplication_id_is_of_source_id_and_sink_and_the_same_each_time() {
        let id = |source: &'static str, id: &'static str, sink: &str, position: u64| {
            let mut record = record("arn:aws:sns:eu-west-1:111111111111:t.fifo", "{}");
            let event = Arc::make_mut(&mut record.event);
            (event.source, event.id) = (source.into(), id.into());
            record.position = Position(position);
            message(&record, &all(), sink, 1 << 18)
                .expect("it can be sent")
                .fifo
                .expect("a FIFO topic")
                .deduplication
        };
        let first = id("/stream/default", "1", "lake", 1);
        // `printf '%s' '/stream/default|1|lake' | sha256sum | head -c32`
        assert_eq!(first, "5bfcf97927f457c05b277192afa37672");
        assert_eq!(id("/stream/default", "1", "lake", 99), first);
        assert_ne!(id("/stream/other", "1", "lake", 1), first);
        assert_ne!(id("/stream/default", "2", "lake", 1), first);
        assert_ne!(id("/stream/default", "1", "billing", 1), first);
    }

    #[test]
    fn a_replayed_event_is_no_repetition_for_a_fifo_topic_and_each_copy_of_one_replay_is() {
        let id = |replay: Option<&'static str>| {
            let mut record = record("arn:aws:sns:eu-west-1:111111111111:t.fifo", "{}");
            let event = Arc::make_mut(&mut record.event);
            event.only_sink = replay.map(|_| "lake".into());
            event.extensions.extend(replay.map(|replay| (REPLAY_EXTENSION.into(), replay.into())));
            let sent = message(&record, &all(), "lake", 1 << 18).expect("it can be sent");
            sent.fifo.expect("a FIFO topic").deduplication
        };
        assert_ne!(id(Some("0a1b2c3d4e5f")), id(None));
        assert_ne!(id(Some("0a1b2c3d4e5f")), id(Some("0a1b2c3d4e60")));
        assert_eq!(id(Some("0a1b2c3d4e5f")), id(Some("0a1b2c3d4e5f")));
    }
}
