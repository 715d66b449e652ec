//! What a queue or a topic carries: the text of a message becomes the provider's body (pure).
//!
//! A message may be the body itself, the body in base64, or gzip of it in base64; the documents
//! of one provider name all three. JSON that is of any use begins with `{`, which is no letter of
//! base64, so the form shows in the text. A queue that is subscribed to a topic carries the topic's
//! own envelope around each, unless raw delivery is on.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use bytestring::ByteString;

use super::Refusal;
use super::body::{BodyLimits, GZIP_MAGIC, inflate};
use crate::event::Stated;

/// The envelope that SNS puts around what it delivers to a queue.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct TopicEnvelope {
    #[serde(rename = "Type")]
    kind: TopicEnvelopeKind,
    /// The topic's ARN.
    pub topic_arn: ByteString,
    /// The id that SNS gave the message.
    pub message_id: ByteString,
    /// What was published.
    pub message: ByteString,
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
        if !text.contains("\"Notification\"") {
            return None;
        }
        serde_json::from_str(text).ok()
    }
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
    let trimmed = text.trim_ascii();
    if trimmed.is_empty() || trimmed.starts_with('{') {
        return Ok(text.into_bytes());
    }
    match BASE64_STANDARD.decode(trimmed) {
        Ok(decoded) if decoded.starts_with(&GZIP_MAGIC) => inflate(&decoded, limits),
        Ok(decoded) if decoded.trim_ascii_start().starts_with(b"{") => Ok(decoded.into()),
        // `null` and `1234` are base64, too.
        _ => Ok(text.into_bytes()),
    }
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
        ] {
            assert_eq!(TopicEnvelope::read(body), None, "{body}");
        }
    }
}
