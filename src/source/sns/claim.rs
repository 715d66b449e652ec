//! Checks a message without any I/O: its head before its body is read, and its envelope before a
//! certificate is fetched (pure).

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::HeaderMap;

use super::SnsSourceOptions;
use super::envelope::{Envelope, EnvelopeKind};
use super::origin::CertificateUrl;
use crate::aws::arn::TopicArn;
use crate::event::{Timestamp, single_header};

/// Oldest age of a message: SNS tries no delivery again after an hour.
const AGE_SECONDS_MAX: i64 = 3600;
/// How far a message's timestamp can be ahead of this machine's clock.
const AHEAD_SECONDS_MAX: i64 = 300;
/// Most bytes of a signature: the largest key has 8,192 bits.
const SIGNATURE_BYTES_MAX: usize = 1024;

/// The headers in which SNS repeats the envelope's type and topic. SNS sends both with every request, raw
/// deliveries included.
const TYPE_HEADER: &str = "x-amz-sns-message-type";
pub(super) const TOPIC_HEADER: &str = "x-amz-sns-topic-arn";

/// The kind of message that a request's head states; `None` if SNS cannot have sent the request. Nothing
/// signs the head: the check saves reading bodies that cannot be genuine, and proves nothing.
pub(super) fn stated_kind(headers: &HeaderMap) -> Option<EnvelopeKind> {
    EnvelopeKind::of(single_header(headers, TYPE_HEADER)?)
}

/// The listed topic that the head names.
pub(super) fn stated_topic<'a>(headers: &HeaderMap, topics: &'a [TopicArn]) -> Option<&'a TopicArn> {
    let stated = single_header(headers, TOPIC_HEADER)?;
    topics.iter().find(|topic| topic.as_str() == stated)
}

/// The reason for refusing a topic that is not listed.
pub(super) fn other_topic(kind: EnvelopeKind) -> &'static str {
    match kind {
        EnvelopeKind::SubscriptionConfirmation => "subscription_of_other_topic",
        EnvelopeKind::Notification | EnvelopeKind::UnsubscribeConfirmation => "other_topic",
    }
}

/// The digest that a signature is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SignatureDigest {
    Sha1,
    Sha256,
}

/// The claim of an envelope: that this topic sent it, and that this certificate proves it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SignatureClaim<'a> {
    pub topic: &'a TopicArn,
    pub certificate: CertificateUrl,
    pub digest: SignatureDigest,
    pub signature: Vec<u8>,
}

impl<'a> SignatureClaim<'a> {
    /// Reads the claim of an envelope that arrived with these headers.
    ///
    /// # Errors
    /// The reason why the claim cannot be true, or is not wanted.
    pub(super) fn read(
        envelope: &Envelope,
        headers: &HeaderMap,
        arrived: Timestamp,
        config: &'a SnsSourceOptions,
    ) -> Result<Self, &'static str> {
        let topic = config.topics.iter().find(|topic| topic.as_str() == envelope.topic_arn);
        let topic = topic.ok_or(other_topic(envelope.kind))?;
        // Unsigned headers prove nothing, but headers that contradict the envelope show a forgery.
        if contradicts(headers, TYPE_HEADER, envelope.kind.as_str())
            || contradicts(headers, TOPIC_HEADER, topic.as_str())
        {
            return Err("header_contradicts");
        }
        let digest = match (&*envelope.signature_version, config.allow_sha1) {
            ("2", _) => SignatureDigest::Sha256,
            ("1", true) => SignatureDigest::Sha1,
            ("1", false) => return Err("signature_sha1"),
            _ => return Err("signature_version"),
        };
        let certificate = CertificateUrl::read(&envelope.signing_cert_url, topic).ok_or("certificate_url")?;
        in_time(&envelope.timestamp, arrived)?;
        let signature = BASE64_STANDARD.decode(&envelope.signature).map_err(|_| "signature_form")?;
        if signature.is_empty() || signature.len() > SIGNATURE_BYTES_MAX {
            return Err("signature_form");
        }
        Ok(Self { topic, certificate, digest, signature })
    }
}

fn contradicts(headers: &HeaderMap, name: &str, expected: &str) -> bool {
    headers.get_all(name).iter().any(|value| value.as_bytes() != expected.as_bytes())
}

fn in_time(timestamp: &str, arrived: Timestamp) -> Result<(), &'static str> {
    let stated = Timestamp::from_rfc3339(timestamp).ok_or("timestamp_form")?;
    let age = arrived.unix_seconds().saturating_sub(stated.unix_seconds());
    match age {
        _ if age > AGE_SECONDS_MAX => Err("timestamp_too_old"),
        _ if age < -AHEAD_SECONDS_MAX => Err("timestamp_too_new"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::envelope::Reading;
    use super::*;

    const TOPIC: &str = "arn:aws:sns:eu-west-1:111111111111:events";
    /// 2026-05-08T09:12:28Z.
    const NOW: Timestamp = Timestamp(1_778_231_548_000_000_000);

    fn config(allow_sha1: bool) -> SnsSourceOptions {
        let topics = vec![TopicArn::parse(TOPIC).unwrap()];
        SnsSourceOptions { topics, allow_sha1, raw: None, certificate_double: None }
    }

    fn envelope(changes: &[(&str, &str)]) -> Envelope {
        let mut json = serde_json::json!({
            "Type": "Notification", "MessageId": "m", "TopicArn": TOPIC, "Message": "{}",
            "Timestamp": "2026-05-08T09:12:28.800Z", "SignatureVersion": "2", "Signature": "AAAA",
            "SigningCertURL": format!(
                "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-{}.pem",
                "0123456789abcdef".repeat(2),
            ),
            "Token": "k", "SubscribeURL": "http://169.254.169.254/",
        });
        for (name, value) in changes {
            json[*name] = (*value).into();
        }
        match Envelope::read(json.to_string().as_bytes()) {
            Reading::Envelope(envelope) => *envelope,
            other => panic!("{other:?}"),
        }
    }

    fn word(changes: &[(&str, &str)]) -> &'static str {
        SignatureClaim::read(&envelope(changes), &HeaderMap::new(), NOW, &config(false)).unwrap_err()
    }

    #[test]
    fn what_cannot_be_true_is_refused_with_its_reason() {
        for (name, value, reason) in [
            ("TopicArn", "arn:aws:sns:eu-west-1:111111111111:event", "other_topic"),
            ("TopicArn", "arn:aws:sns:us-east-1:111111111111:events", "other_topic"),
            ("TopicArn", "", "other_topic"),
            ("SignatureVersion", "1", "signature_sha1"),
            ("SignatureVersion", "3", "signature_version"),
            ("SignatureVersion", "", "signature_version"),
            ("SignatureVersion", "2 ", "signature_version"),
            ("SigningCertURL", "https://evil.example/x.pem", "certificate_url"),
            ("Signature", "", "signature_form"),
            ("Signature", "!", "signature_form"),
            ("Timestamp", "yesterday", "timestamp_form"),
            ("Timestamp", "2026-05-08T08:12:27.000Z", "timestamp_too_old"),
            ("Timestamp", "2026-05-08T09:17:29.000Z", "timestamp_too_new"),
            ("Timestamp", "-9999-05-08T09:17:29.000Z", "timestamp_form"),
        ] {
            assert_eq!(word(&[(name, value)]), reason, "{name}: {value}");
        }
        let unlisted =
            [("Type", "SubscriptionConfirmation"), ("TopicArn", "arn:aws:sns:eu-west-1:111111111111:x")];
        assert_eq!(word(&unlisted), "subscription_of_other_topic");
        let long = BASE64_STANDARD.encode([0; SIGNATURE_BYTES_MAX + 1]);
        assert_eq!(word(&[("Signature", &long)]), "signature_form");
    }

    #[test]
    fn a_claim_within_its_hour_is_read() {
        for timestamp in ["2026-05-08T08:12:28.000Z", "2026-05-08T09:17:28.000Z", "2026-05-08T11:12:28+02:00"]
        {
            let envelope = envelope(&[("Timestamp", timestamp)]);
            let config = config(false);
            let claim = SignatureClaim::read(&envelope, &HeaderMap::new(), NOW, &config).unwrap();
            assert_eq!((claim.topic.as_str(), claim.digest), (TOPIC, SignatureDigest::Sha256));
        }
        let envelope = envelope(&[("SignatureVersion", "1")]);
        let config = config(true);
        let claim = SignatureClaim::read(&envelope, &HeaderMap::new(), NOW, &config).unwrap();
        assert_eq!(claim.digest, SignatureDigest::Sha1);
    }

    #[test]
    fn a_head_says_once_what_it_is_for_and_which_listed_topic_sends_it() {
        let head = |lines: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(*name, http::HeaderValue::from_bytes(value.as_bytes()).unwrap());
            }
            let config = config(false);
            (stated_kind(&headers), stated_topic(&headers, &config.topics).is_some())
        };
        for kind in [
            EnvelopeKind::Notification,
            EnvelopeKind::SubscriptionConfirmation,
            EnvelopeKind::UnsubscribeConfirmation,
        ] {
            assert_eq!(head(&[(TYPE_HEADER, kind.as_str()), (TOPIC_HEADER, TOPIC)]), (Some(kind), true));
        }
        let kind = ("x-amz-sns-message-type", "Notification");
        let topic = (TOPIC_HEADER, TOPIC);
        assert_eq!(head(&[]), (None, false));
        assert_eq!(head(&[kind, kind, topic, topic]), (None, false), "twice");
        for value in ["", "notification", "Notification, Notification", "Ping", "é"] {
            assert_eq!(head(&[(TYPE_HEADER, value), topic]), (None, true), "{value}");
        }
        for value in ["", "events", "é", "arn:aws:sns:eu-west-1:111111111111:event", "ARN:AWS:SNS"] {
            assert_eq!(
                head(&[kind, (TOPIC_HEADER, value)]),
                (Some(EnvelopeKind::Notification), false),
                "{value}"
            );
        }
    }

    #[test]
    fn headers_may_only_repeat_what_the_envelope_says() {
        let read = |name: &'static str, value: &str| {
            let headers =
                HeaderMap::from_iter([(http::HeaderName::from_static(name), value.parse().unwrap())]);
            SignatureClaim::read(&envelope(&[]), &headers, NOW, &config(false)).map(|_| ())
        };
        assert_eq!(read(TYPE_HEADER, "Notification"), Ok(()));
        assert_eq!(read(TYPE_HEADER, "SubscriptionConfirmation"), Err("header_contradicts"));
        assert_eq!(read(TOPIC_HEADER, TOPIC), Ok(()));
        assert_eq!(read(TOPIC_HEADER, "arn:aws:sns:eu-west-1:111111111111:x"), Err("header_contradicts"));
    }
}
