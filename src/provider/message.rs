//! Turns the text of a queue's or topic's message into the provider's body (pure).
//!
//! A message is the body itself, the body in base64, or its gzip in base64; the documents of one
//! provider name all three. A usable body begins with `{`, which is not in the alphabet of base64, so
//! the text shows its form. A queue that is subscribed to a topic gets each message in an envelope of
//! SNS, unless raw delivery is on. An envelope can be recognised by its members only: see
//! [`TopicEnvelope`].

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use bytestring::ByteString;
use serde::de::IgnoredAny;

use super::DeliveryRefusal;
use super::body::{BodyLimits, GZIP_MAGIC, inflate};
use crate::event::HeaderClaims;

/// Reason of the dead letter for a topic's request to subscribe the queue.
pub const SUBSCRIPTION_CONFIRMATION: &str = "subscription_confirmation";
/// Reason of the dead letter for a topic's notice that the queue is no longer subscribed.
pub const UNSUBSCRIBE_CONFIRMATION: &str = "unsubscribe_confirmation";

/// The envelope in which SNS delivers a message or a request to a queue.
///
/// It has the members that SNS gives it, each once. A further member must begin with a capital
/// letter, as all of SNS do. A provider's event has members in small letters, and its users might be
/// able to add others: if those were enough, a user could have a text in `Message` taken for an
/// event.
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct TopicEnvelope {
    /// Whether it carries a message, a request or a notice.
    #[serde(rename = "Type")]
    pub kind: TopicEnvelopeKind,
    /// ARN of the topic.
    pub topic_arn: ByteString,
    /// The id that SNS gave the message.
    pub message_id: ByteString,
    /// The published message.
    pub message: ByteString,
    #[serde(default)]
    message_attributes: serde_json::Value,
    /// Token with which a subscription is confirmed; a notification has none.
    pub token: Option<ByteString>,
    #[serde(flatten)]
    others: BTreeMap<String, IgnoredAny>,
}

/// The purpose of an envelope in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
pub enum TopicEnvelopeKind {
    /// Carries a published message.
    Notification,
    /// Requests leave for the topic to deliver to the queue.
    SubscriptionConfirmation,
    /// Says that the topic no longer delivers to the queue.
    UnsubscribeConfirmation,
}

impl TopicEnvelope {
    /// Parses an envelope; `None` if the text is anything else.
    ///
    /// `Type` must be one of the three kinds and `Message` a string, in exactly this case, because a
    /// provider's event can have keys of these names too (`flag.updated` of Stream has an object
    /// `Message`).
    pub fn read(text: &str) -> Option<Self> {
        // Bodies that cannot be an envelope are not parsed.
        if !may_be_envelope(text) {
            return None;
        }
        let envelope: Self = serde_json::from_str(text).ok()?;
        let of_sns = envelope.others.keys().all(|name| name.starts_with(|c: char| c.is_ascii_uppercase()));
        let complete = envelope.kind == TopicEnvelopeKind::Notification || envelope.token.is_some();
        (of_sns && complete).then_some(envelope)
    }

    /// Names and values of the message attributes that are text.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        let attributes = self.message_attributes.as_object().into_iter().flatten();
        attributes.filter_map(|(name, attribute)| {
            let is_text = attribute.get("Type")?.as_str()? != "Binary";
            Some((name.as_str(), attribute.get("Value")?.as_str().filter(|_| is_text)?))
        })
    }
}

fn may_be_envelope(text: &str) -> bool {
    ["\"Notification\"", "Confirmation\""].iter().any(|kind| text.contains(kind))
}

/// The names of the attributes that [`topic_extensions`] makes.
pub const TOPIC_EXTENSIONS: [&str; 2] = ["snstopic", "snsmessageid"];

/// The unsigned attributes of an event from a topic, posted or from a queue.
pub fn topic_extensions(topic: &str, message_id: Option<&str>) -> Vec<(ByteString, ByteString)> {
    TOPIC_EXTENSIONS
        .into_iter()
        .zip([Some(topic), message_id])
        .filter_map(|(name, value)| HeaderClaims::extension(name, value?))
        .collect()
}

/// The body in a message's text. A text in no known form is its own body, so that admission reports
/// what is wrong with it.
///
/// # Errors
/// [`DeliveryRefusal::TooLarge`] beyond the limits, [`DeliveryRefusal::Undecodable`] for broken gzip.
pub fn decode_message(text: ByteString, limits: &BodyLimits) -> Result<Bytes, DeliveryRefusal> {
    if text.len() / 4 * 3 > limits.inflated_bytes_max {
        return Err(DeliveryRefusal::TooLarge);
    }
    if is_plain(&text) {
        return Ok(text.into_bytes());
    }
    match BASE64_STANDARD.decode(&*without_breaks(&text)) {
        Ok(decoded) if decoded.starts_with(&GZIP_MAGIC) => inflate(&decoded, limits),
        Ok(decoded) if decoded.trim_ascii_start().starts_with(b"{") => Ok(decoded.into()),
        // Texts such as `null` and `1234` are valid base64 too.
        _ => Ok(text.into_bytes()),
    }
}

/// The text without white space: MIME base64 has a line break after every 76 characters.
fn without_breaks(text: &str) -> Cow<'_, [u8]> {
    let text = text.trim_ascii().as_bytes();
    match text.iter().any(u8::is_ascii_whitespace) {
        true => text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect::<Vec<_>>().into(),
        false => text.into(),
    }
}

/// Bytes to process when a message is decoded, roughly. JSON compresses to about a tenth and grows by
/// a third in base64, and a message in an envelope can be both.
pub fn message_heaviness(text: &str) -> usize {
    if is_plain(text) && !may_be_envelope(text) { text.len() } else { text.len().saturating_mul(8) }
}

fn is_plain(text: &str) -> bool {
    let trimmed = text.trim_ascii_start();
    trimmed.is_empty() || trimmed.starts_with('{')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Write;

    use super::*;

    const LIMITS: BodyLimits = BodyLimits { inflated_bytes_max: 1 << 20, inflate_ratio_max: 100 };
    const BODY: &str = r#"{"type":"call.created","created_at":"2026-05-08T09:12:28.8Z"}"#;

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn decoded(text: &str) -> Bytes {
        decode_message(text.into(), &LIMITS).unwrap()
    }

    #[test]
    fn all_three_forms_of_a_body_are_the_same_body() {
        assert_eq!(decoded(BODY), BODY);
        assert_eq!(decoded(&BASE64_STANDARD.encode(BODY)), BODY);
        assert_eq!(decoded(&BASE64_STANDARD.encode(gzip(BODY.as_bytes()))), BODY);
        assert_eq!(decoded(&format!("\n{}\n", BASE64_STANDARD.encode(BODY))), BODY);
    }

    #[test]
    fn base64_may_have_line_breaks_of_any_kind() {
        let body = format!(r#"{{"type":"call.created","padding":"{}"}}"#, "é ".repeat(300));
        for encoded in [BASE64_STANDARD.encode(&body), BASE64_STANDARD.encode(gzip(body.as_bytes()))] {
            for (columns, line_break) in [(76, "\r\n"), (64, "\n"), (76, "\r\n ")] {
                let lines: Vec<_> =
                    encoded.as_bytes().chunks(columns).map(|line| str::from_utf8(line).unwrap()).collect();
                let text = lines.join(line_break) + line_break;
                assert_eq!(decoded(&text), body, "{columns} {line_break:?}");
            }
        }
    }

    #[test]
    fn text_of_no_known_form_is_its_own_body() {
        for text in ["!!!not base64!!!", "@@@", "null", "1234", "[]", "\"x\"", "", "  ", "null\n1234", "a b"]
        {
            assert_eq!(decoded(text), text, "{text:?}");
        }
    }

    #[test]
    fn a_message_that_may_inflate_weighs_more_than_its_bytes() {
        let inflating = BASE64_STANDARD.encode(gzip(BODY.as_bytes()));
        let wrapped = format!(r#"{{"Type":"Notification","Message":"{inflating}"}}"#);
        for text in [&inflating, &format!("\n{inflating}"), &wrapped] {
            assert_eq!(message_heaviness(text), 8 * text.len(), "{text}");
        }
        for text in [BODY, &format!("\n{BODY}"), ""] {
            assert_eq!(message_heaviness(text), text.len(), "{text}");
        }
    }

    #[test]
    fn a_broken_or_swollen_body_is_refused() {
        let broken = BASE64_STANDARD.encode(&gzip(BODY.as_bytes())[..20]);
        assert!(matches!(decode_message(broken.into(), &LIMITS), Err(DeliveryRefusal::Undecodable(_))));
        let bomb = BASE64_STANDARD.encode(gzip(&vec![b' '; 2 << 20]));
        assert_eq!(decode_message(bomb.into(), &LIMITS), Err(DeliveryRefusal::TooLarge));
        let large = "{".repeat(2 << 20);
        assert_eq!(decode_message(large.into(), &LIMITS), Err(DeliveryRefusal::TooLarge));
    }

    #[test]
    fn only_what_sns_wraps_is_taken_for_an_envelope() {
        const FORGED: &str = r#""TopicArn":"t","MessageId":"m","Message":"{\"type\":\"call.ended\"}""#;
        let wrapped = r#"{"Type":"Notification","MessageId":"m","TopicArn":"arn:aws:sns:eu-west-1:111111111111:t","Message":"{\"type\":\"a\\u0000\"}","Timestamp":"2026-05-08T09:12:28.800Z"}"#;
        let envelope = TopicEnvelope::read(wrapped).unwrap();
        assert_eq!(envelope.message, "{\"type\":\"a\\u0000\"}");
        assert_eq!(envelope.message_id, "m");
        for body in [
            BODY,
            r#"{"type":"flag.updated","Message":{"text":"Notification"}}"#,
            r#"{"type":"flag.updated","Type":"Notification","TopicArn":"t","MessageId":"m","Message":{}}"#,
            r#"{"type":"Notification","topicarn":"t","messageid":"m","message":"x"}"#,
            r#"{"Type":"SubscriptionConfirmation","TopicArn":"t","MessageId":"m","Message":"x"}"#,
            r#"{"type":"x","Type":"SubscriptionConfirmation","TopicArn":"t","MessageId":"m","Message":"x","Token":"k"}"#,
            // An event of the provider's own, to which its user added the rest.
            &format!(r#"{{"type":"call.updated","Type":"Notification",{FORGED}}}"#),
            &format!(r#"{{"Type":"Notification",{FORGED},"custom":{{}}}}"#),
            &format!(r#"{{"Type":"Notification",{FORGED},"TopicArn":"again"}}"#),
            &format!(r#"{{"Type":"Notification",{FORGED},"signature":"in another case"}}"#),
        ] {
            assert_eq!(TopicEnvelope::read(body), None, "{body}");
        }
    }

    #[test]
    fn an_envelope_may_have_members_that_sns_has_come_to_give_it() {
        for more in [r#""Replayed":true"#, r#""Replayed":"true","ReplayId":{"a":[1]}"#] {
            let text =
                format!(r#"{{"Type":"Notification","TopicArn":"t","MessageId":"m","Message":"x",{more}}}"#);
            assert_eq!(TopicEnvelope::read(&text).unwrap().message, "x", "{more}");
        }
    }

    #[test]
    fn what_sns_asks_of_a_queue_is_told_from_what_it_delivers() {
        for (name, kind) in [
            ("SubscriptionConfirmation", TopicEnvelopeKind::SubscriptionConfirmation),
            ("UnsubscribeConfirmation", TopicEnvelopeKind::UnsubscribeConfirmation),
        ] {
            let text = format!(
                r#"{{"Type":"{name}","MessageId":"m","Token":"k","TopicArn":"t","Message":"hello","SubscribeURL":"https://x",
                "Timestamp":"2026-05-08T09:12:28.800Z","SignatureVersion":"1","Signature":"AAAA","SigningCertURL":"https://x"}}"#
            );
            let envelope = TopicEnvelope::read(&text).unwrap();
            assert_eq!((envelope.kind, envelope.token.as_deref()), (kind, Some("k")));
        }
    }

    #[test]
    fn the_envelopes_of_standard_and_fifo_topics_are_read() {
        let standard = r#"{"Type":"Notification","MessageId":"m","TopicArn":"t","Subject":"s","Message":"x",
            "Timestamp":"2026-05-08T09:12:28.800Z","SignatureVersion":"1","Signature":"AAAA",
            "SigningCertURL":"https://x","UnsubscribeURL":"https://x","MessageAttributes":{
            "a":{"Type":"String","Value":"v"},"b":{"Type":"Binary","Value":"AAAA"},"c":{"Type":"Number","Value":"1"}}}"#;
        let envelope = TopicEnvelope::read(standard).unwrap();
        assert_eq!(envelope.attributes().collect::<Vec<_>>(), [("a", "v"), ("c", "1")]);
        let fifo = r#"{"Type":"Notification","MessageId":"m","SequenceNumber":"10000000000000003000",
            "TopicArn":"t.fifo","Message":"x","Timestamp":"2026-05-08T09:12:28.800Z","UnsubscribeURL":"https://x"}"#;
        assert_eq!(TopicEnvelope::read(fifo).unwrap().attributes().count(), 0);
    }
}
