//! The envelope in which SNS sends a message over HTTP, read strictly, and the text that its signature
//! covers (pure).
//!
//! The format is that of "HTTP/HTTPS notification JSON format" in the developer guide of SNS. A body is
//! an envelope if its `Type` is one of three and its `Message` is a string. In an envelope, a key that
//! occurs twice or a field of another form shows a forgery, because SNS writes neither. Fields that this
//! module does not read can be of any form.

use std::collections::HashSet;
use std::fmt;

use bytestring::ByteString;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Most members of an envelope; SNS writes a dozen.
const MEMBERS_MAX: usize = 64;

/// What an envelope is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EnvelopeKind {
    /// The envelope carries a published message.
    Notification,
    /// The topic asks whether it may deliver to this endpoint.
    SubscriptionConfirmation,
    /// The topic no longer delivers to this endpoint.
    UnsubscribeConfirmation,
}

/// An envelope. Nothing in it is trusted yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Envelope {
    pub kind: EnvelopeKind,
    pub message: ByteString,
    pub message_id: String,
    pub topic_arn: String,
    pub timestamp: String,
    pub signature_version: String,
    pub signature: String,
    pub signing_cert_url: String,
    subject: Option<String>,
    /// The token that the answer to a confirmation carries.
    pub token: Option<String>,
    subscribe_url: Option<String>,
}

/// What a body was read as.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reading {
    Envelope(Box<Envelope>),
    /// An envelope that SNS cannot have written, for this reason.
    Forged(&'static str),
    /// A body that is no envelope.
    Other,
}

impl EnvelopeKind {
    /// The kind that a `Type` names.
    pub(super) fn of(text: &str) -> Option<Self> {
        Some(match text {
            "Notification" => Self::Notification,
            "SubscriptionConfirmation" => Self::SubscriptionConfirmation,
            "UnsubscribeConfirmation" => Self::UnsubscribeConfirmation,
            _ => return None,
        })
    }

    /// The value of `Type`.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Notification => "Notification",
            Self::SubscriptionConfirmation => "SubscriptionConfirmation",
            Self::UnsubscribeConfirmation => "UnsubscribeConfirmation",
        }
    }
}

impl Envelope {
    /// Reads a body.
    pub(super) fn read(body: &[u8]) -> Reading {
        let mut deserializer = serde_json::Deserializer::from_slice(body);
        let members = match deserializer.deserialize_map(MembersVisitor) {
            Ok(members) if deserializer.end().is_ok() => members,
            _ => return Reading::Other,
        };
        if !members.is_envelope() {
            return Reading::Other;
        }
        match members.into_envelope() {
            Ok(envelope) => Reading::Envelope(Box::new(envelope)),
            Err(word) => Reading::Forged(word),
        }
    }

    /// The text that the signature covers: names and unescaped values of the documented fields, each on a
    /// line of its own. The text of an UnsubscribeConfirmation includes the token, as documented; one
    /// validator of AWS leaves it out, and the signature does not match such a text.
    pub(super) fn signed_text(&self) -> String {
        let subject = self.subject.as_deref().map(|subject| ("Subject", subject));
        let subscribe_url = self.subscribe_url.as_deref().map(|url| ("SubscribeURL", url));
        let token = self.token.as_deref().map(|token| ("Token", token));
        let (subject, subscribe_url, token) = match self.kind {
            EnvelopeKind::Notification => (subject, None, None),
            _ => (None, subscribe_url, token),
        };
        let fields = [
            Some(("Message", &*self.message)),
            Some(("MessageId", &*self.message_id)),
            subject,
            subscribe_url,
            Some(("Timestamp", &*self.timestamp)),
            token,
            Some(("TopicArn", &*self.topic_arn)),
            Some(("Type", self.kind.as_str())),
        ];
        let mut text = String::with_capacity(self.message.len() + 512);
        for (name, value) in fields.into_iter().flatten() {
            text.extend([name, "\n", value, "\n"]);
        }
        text
    }
}

/// The value of a member that is read.
#[derive(Default)]
enum Field {
    #[default]
    Absent,
    Text(String),
    NoText,
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        if !raw.starts_with('"') {
            return Ok(Self::NoText);
        }
        // JSON's grammar allows a string with half a surrogate pair, which is no text.
        Ok(serde_json::from_str(raw).map_or(Self::NoText, Self::Text))
    }
}

impl Field {
    fn text(self) -> Result<String, &'static str> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Absent => Err("envelope_incomplete"),
            Self::NoText => Err("envelope_field_form"),
        }
    }

    fn text_if_present(self) -> Result<Option<String>, &'static str> {
        match self {
            Self::Absent => Ok(None),
            field => field.text().map(Some),
        }
    }
}

/// The names of the members that are read, in the order of [`Members::fields`].
const NAMES: [&str; 11] = [
    "Type",
    "Message",
    "MessageId",
    "TopicArn",
    "Timestamp",
    "SignatureVersion",
    "Signature",
    "SigningCertURL",
    "Subject",
    "Token",
    "SubscribeURL",
];

/// The members of any JSON object.
#[derive(Default)]
struct Members {
    fields: [Field; NAMES.len()],
    repeated: bool,
    too_many: bool,
}

impl Members {
    fn is_envelope(&self) -> bool {
        let [Field::Text(kind), Field::Text(_), ..] = &self.fields else { return false };
        EnvelopeKind::of(kind).is_some()
    }

    fn into_envelope(self) -> Result<Envelope, &'static str> {
        if self.repeated {
            return Err("envelope_repeated_key");
        }
        if self.too_many {
            return Err("envelope_members");
        }
        let [
            kind,
            message,
            message_id,
            topic_arn,
            timestamp,
            version,
            signature,
            url,
            subject,
            token,
            subscribe,
        ] = self.fields;
        let kind = EnvelopeKind::of(&kind.text()?).ok_or("envelope_field_form")?;
        let envelope = Envelope {
            kind,
            message: message.text()?.into(),
            message_id: message_id.text()?,
            topic_arn: topic_arn.text()?,
            timestamp: timestamp.text()?,
            signature_version: version.text()?,
            signature: signature.text()?,
            signing_cert_url: url.text()?,
            subject: subject.text_if_present()?,
            token: token.text_if_present()?,
            subscribe_url: subscribe.text_if_present()?,
        };
        let confirmable = envelope.token.is_some() && envelope.subscribe_url.is_some();
        if kind == EnvelopeKind::Notification || confirmable {
            Ok(envelope)
        } else {
            Err("envelope_incomplete")
        }
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
        let (mut members, mut seen) = (Members::default(), HashSet::new());
        while let Some(name) = map.next_key::<String>()? {
            let index = NAMES.iter().position(|known| *known == name);
            members.too_many |= seen.len() >= MEMBERS_MAX;
            // Beyond the bound no name needs to be remembered: the body is refused or no envelope.
            let new = members.too_many || seen.insert(name);
            members.repeated |= !new;
            let field: Field = map.next_value()?;
            if let Some(index) = index
                && !matches!(members.fields[index], Field::Text(_))
            {
                members.fields[index] = field;
            }
        }
        Ok(members)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn envelope(body: &str) -> Envelope {
        match Envelope::read(body.as_bytes()) {
            Reading::Envelope(envelope) => *envelope,
            other => panic!("{other:?}"),
        }
    }

    const NOTIFICATION: &str = r#"{
        "Type": "Notification", "MessageId": "m-1", "TopicArn": "arn:aws:sns:eu-west-1:111111111111:t",
        "Subject": "About \u00e9", "Message": "{\"a\":\"b\u0000\\n\"}\n\ud83c\udf9e",
        "Timestamp": "2026-05-08T09:12:28.800Z",
        "SignatureVersion": "2", "Signature": "AAAA", "SigningCertURL": "u", "UnsubscribeURL": "v",
        "MessageAttributes": { "family": { "Type": "String", "Value": "x" } } }"#;

    fn confirmation(kind: &str) -> String {
        format!(
            r#"{{"Type":"{kind}","MessageId":"m","TopicArn":"t","Message":"hello","Timestamp":"s",
               "SignatureVersion":"2",
               "Signature":"AAAA","SigningCertURL":"u","Token":"k","SubscribeURL":"w","Subject":"unsigned"}}"#
        )
    }

    #[test]
    fn the_signed_text_is_made_of_the_documented_fields_unescaped() {
        assert_eq!(
            envelope(NOTIFICATION).signed_text(),
            "Message\n{\"a\":\"b\0\\n\"}\n\u{1F39E}\nMessageId\nm-1\nSubject\nAbout é\n\
             Timestamp\n2026-05-08T09:12:28.800Z\nTopicArn\narn:aws:sns:eu-west-1:111111111111:t\n\
             Type\nNotification\n"
        );
        let without = NOTIFICATION.replace(r#""Subject": "About \u00e9", "#, "");
        assert!(!envelope(&without).signed_text().contains("Subject"));
        let empty = NOTIFICATION.replace(r"About \u00e9", "");
        assert!(envelope(&empty).signed_text().contains("Subject\n\nTimestamp"), "there, and empty");
        for kind in ["SubscriptionConfirmation", "UnsubscribeConfirmation"] {
            assert_eq!(
                envelope(&confirmation(kind)).signed_text(),
                format!(
                    "Message\nhello\nMessageId\nm\nSubscribeURL\nw\nTimestamp\ns\nToken\nk\nTopicArn\nt\n\
                     Type\n{kind}\n"
                )
            );
        }
    }

    #[test]
    fn a_body_of_the_provider_is_no_envelope() {
        for body in [
            "",
            "null",
            "[]",
            "!!!not base64!!!",
            r#"{"type":"call.created"}"#,
            r#"{"type":"flag.updated","Message":{"text":"Notification"}}"#,
            r#"{"Type":"Notification","Message":{"text":"x"}}"#,
            r#"{"Type":"notification","Message":"x"}"#,
            r#"{"Type":["Notification"],"Message":"x"}"#,
            r#"{"Type":"Notification","Message":"x"} trailing"#,
            r#"{"Type":"Notification","Message":"x""#,
            r#"{"Type":"Notification","Message":"\ud800"}"#,
        ] {
            assert_eq!(Envelope::read(body.as_bytes()), Reading::Other, "{body}");
        }
        assert_eq!(Envelope::read(b"{\"Type\":\"Notification\",\"Message\":\"\xff\"}"), Reading::Other);
    }

    #[test]
    fn an_envelope_that_sns_cannot_have_written_is_a_forgery() {
        let repeated = NOTIFICATION.replacen('{', r#"{ "T\u0079pe": "Notification","#, 1);
        assert_eq!(Envelope::read(repeated.as_bytes()), Reading::Forged("envelope_repeated_key"));
        let repeated = NOTIFICATION.replacen('{', r#"{ "x": 1, "x": 2,"#, 1);
        assert_eq!(Envelope::read(repeated.as_bytes()), Reading::Forged("envelope_repeated_key"));
        let number = NOTIFICATION.replace(r#""SignatureVersion": "2""#, r#""SignatureVersion": 2"#);
        assert_eq!(Envelope::read(number.as_bytes()), Reading::Forged("envelope_field_form"));
        let null = NOTIFICATION.replace(r#""Subject": "About \u00e9""#, r#""Subject": null"#);
        assert_eq!(Envelope::read(null.as_bytes()), Reading::Forged("envelope_field_form"));
        let unsigned = NOTIFICATION.replace(r#""Signature": "AAAA","#, "");
        assert_eq!(Envelope::read(unsigned.as_bytes()), Reading::Forged("envelope_incomplete"));
        let tokenless = confirmation("SubscriptionConfirmation").replace(r#""Token":"k","#, "");
        assert_eq!(Envelope::read(tokenless.as_bytes()), Reading::Forged("envelope_incomplete"));
        let members: String = (0..MEMBERS_MAX).map(|n| format!(r#""m{n}": 1,"#)).collect();
        let crowded = NOTIFICATION.replacen('{', &format!("{{{members}"), 1);
        assert_eq!(Envelope::read(crowded.as_bytes()), Reading::Forged("envelope_members"));
    }
}
