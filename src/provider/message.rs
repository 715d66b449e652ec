//! What a queue or a topic carries: the text of a message becomes the provider's body (pure).
//!
//! A message may be the body itself, the body in base64, or gzip of it in base64; the documents
//! of one provider name all three. JSON that is of any use begins with `{`, which is no letter of
//! base64, so the form shows in the text. A queue that is subscribed to a topic carries the topic's
//! own envelope around each, unless raw delivery is on. Nothing tells an envelope but its members:
//! see [`TopicEnvelope`].

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use bytestring::ByteString;
use serde::de::IgnoredAny;

use super::Refusal;
use super::body::{BodyLimits, GZIP_MAGIC, inflate};
use crate::event::Stated;

/// The envelope that SNS puts around what it delivers to a queue.
///
/// It has the members that SNS gives it, each once, and no other. An event of a provider has members
/// of its own, and its users may be able to add any to it: were those enough, they could have what
/// they wrote into `Message` taken for an event.
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct TopicEnvelope {
    #[serde(rename = "Type")]
    kind: TopicEnvelopeKind,
    /// The topic's ARN.
    pub topic_arn: ByteString,
    /// The id that SNS gave the message.
    pub message_id: ByteString,
    /// What was published.
    pub message: ByteString,
    #[serde(default)]
    message_attributes: serde_json::Value,
    #[serde(default, rename = "Subject")]
    _subject: IgnoredAny,
    #[serde(default, rename = "Timestamp")]
    _timestamp: IgnoredAny,
    /// Of a FIFO topic, which signs nothing.
    #[serde(default, rename = "SequenceNumber")]
    _sequence_number: IgnoredAny,
    #[serde(default, rename = "SignatureVersion")]
    _signature_version: IgnoredAny,
    #[serde(default, rename = "Signature")]
    _signature: IgnoredAny,
    #[serde(default, rename = "SigningCertURL")]
    _signing_cert_url: IgnoredAny,
    #[serde(default, rename = "UnsubscribeURL")]
    _unsubscribe_url: IgnoredAny,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
enum TopicEnvelopeKind {
    Notification,
}

impl TopicEnvelope {
    /// Reads an envelope, or nothing if the text is anything else.
    ///
    /// `Type` must be `Notification` and `Message` a string, in this very case: an event of a
    /// provider may have keys of these names, too (`flag.updated` of Stream has an object `Message`).
    pub fn read(text: &str) -> Option<Self> {
        // Any other body is spared the pass.
        if !may_be_envelope(text) {
            return None;
        }
        serde_json::from_str(text).ok()
    }

    /// Names and values of the attributes that it was published with, as far as these are text.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        let attributes = self.message_attributes.as_object().into_iter().flatten();
        attributes.filter_map(|(name, attribute)| {
            let is_text = attribute.get("Type")?.as_str()? != "Binary";
            Some((name.as_str(), attribute.get("Value")?.as_str().filter(|_| is_text)?))
        })
    }
}

fn may_be_envelope(text: &str) -> bool {
    text.contains("\"Notification\"")
}

/// What travels along of what came through a topic, by post or through a queue.
pub fn topic_extensions(topic: &str, message_id: Option<&str>) -> Vec<(ByteString, ByteString)> {
    let stated = [("snstopic", Some(topic)), ("snsmessageid", message_id)];
    stated.into_iter().filter_map(|(name, value)| Stated::extension(name, value?)).collect()
}

/// The body that the text of a message stands for. Text of no known form is its own body, so that
/// admission says what is wrong with it.
///
/// # Errors
/// [`Refusal::TooLarge`] beyond the limits, [`Refusal::Undecodable`] for broken gzip.
pub fn decode_message(text: ByteString, limits: &BodyLimits) -> Result<Bytes, Refusal> {
    if text.len() / 4 * 3 > limits.inflated_bytes_max {
        return Err(Refusal::TooLarge);
    }
    if is_plain(&text) {
        return Ok(text.into_bytes());
    }
    match BASE64_STANDARD.decode(text.trim_ascii()) {
        Ok(decoded) if decoded.starts_with(&GZIP_MAGIC) => inflate(&decoded, limits),
        Ok(decoded) if decoded.trim_ascii_start().starts_with(b"{") => Ok(decoded.into()),
        // `null` and `1234` are base64, too.
        _ => Ok(text.into_bytes()),
    }
}

/// The bytes that decoding a message goes through. What JSON compresses to is about a tenth of it,
/// and a third longer in base64; inside an envelope it may be either.
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
    fn text_of_no_known_form_is_its_own_body() {
        for text in ["!!!not base64!!!", "@@@", "null", "1234", "[]", "\"x\"", "", "  "] {
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
        assert!(matches!(decode_message(broken.into(), &LIMITS), Err(Refusal::Undecodable(_))));
        let bomb = BASE64_STANDARD.encode(gzip(&vec![b' '; 2 << 20]));
        assert_eq!(decode_message(bomb.into(), &LIMITS), Err(Refusal::TooLarge));
        let large = "{".repeat(2 << 20);
        assert_eq!(decode_message(large.into(), &LIMITS), Err(Refusal::TooLarge));
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
