//! A message of a queue becomes a delivery (pure): its body, and the attributes beside it.
//!
//! The queue's policy decides who can send, and so stands in for a signature. The id of the event comes
//! from the body, as it does when the same event comes by webhook. The provider's type and delivery
//! headers are read from the message attributes of the same names. Every attribute becomes a CloudEvents
//! attribute; apart from those two, none decides anything.

use std::borrow::Cow;
use std::collections::HashMap;

use aws_sdk_sqs::types::{Message as SdkMessage, MessageAttributeValue, MessageSystemAttributeName};
use bytestring::ByteString;

use crate::event::{HeaderClaims, Timestamp, Verified};
use crate::provider::{
    BodyLimits, Definition, SUBSCRIPTION_CONFIRMATION, TopicEnvelope, TopicEnvelopeKind,
    UNSUBSCRIBE_CONFIRMATION, decode_message, message_heaviness, stated_type, topic_extensions,
};

/// Most attributes of a message that become attributes of the event.
const ATTRIBUTES_MAX: usize = 10;
/// The longest name of a CloudEvents attribute that all implementations accept, in bytes.
const NAME_BYTES_MAX: usize = 20;
/// The prefix of the CloudEvents attributes that are made of a message's own attributes.
const ATTRIBUTE_PREFIX: &str = "sqsattr";

/// The names of the attributes that are made of what the queue states.
pub(in crate::source) const EXTENSIONS: [&str; 4] =
    ["sqsmessageid", "sqsreceivecount", "sqssenttime", "sqsgroupid"];

/// The text that every message with a topic's question contains.
const QUESTION: &str = "SubscriptionConfirmation";

/// A message as it was received.
#[derive(Debug)]
pub(super) struct QueueMessage {
    /// The message's id, which is the same at every receive.
    pub(super) id: String,
    /// The receipt handle, by which it is deleted or kept hidden until it becomes visible again.
    pub(super) receipt: ByteString,
    /// The message's group; a FIFO queue keeps the order within a group.
    pub(super) group: Option<String>,
    /// How often the queue has handed the message out, this time included.
    pub(super) receives: u32,
    /// When the message was sent to the queue.
    pub(super) sent: Option<Timestamp>,
    attributes: HashMap<String, MessageAttributeValue>,
    text: ByteString,
}

/// Why no event can be made of a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Useless {
    /// The reason, from a fixed list.
    pub(super) word: &'static str,
    /// What the message is and what to do about it. Holds no part of the message.
    pub(super) detail: Cow<'static, str>,
}

/// A topic that asks whether it may deliver to the queue.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Question {
    /// The topic's ARN as the message states it.
    pub(super) topic: ByteString,
    /// The token that the confirmation must carry.
    pub(super) token: ByteString,
}

impl QueueMessage {
    /// Takes a message over from the SDK; `None` if it has no receipt handle, because it could be neither
    /// deleted nor kept hidden.
    pub(super) fn new(received: SdkMessage) -> Option<Self> {
        let receipt = received.receipt_handle.filter(|receipt| !receipt.is_empty())?;
        let mut system = received.attributes.unwrap_or_default();
        let mut take = |name| system.remove(&name);
        let receives = take(MessageSystemAttributeName::ApproximateReceiveCount);
        let sent = take(MessageSystemAttributeName::SentTimestamp);
        Some(Self {
            id: received.message_id.unwrap_or_default(),
            receipt: receipt.into(),
            group: take(MessageSystemAttributeName::MessageGroupId),
            receives: receives.and_then(|count| count.parse().ok()).unwrap_or(1),
            sent: sent.and_then(|millis| moment(&millis)),
            attributes: received.message_attributes.unwrap_or_default(),
            text: received.body.unwrap_or_default().into(),
        })
    }

    /// Bytes of the message as it was received.
    pub(super) fn bytes(&self) -> usize {
        self.text.len()
    }

    /// How many bytes have to be processed to decode the message.
    pub(super) fn heaviness(&self) -> usize {
        message_heaviness(&self.text)
    }

    /// The message undecoded, for the dead letters.
    pub(super) fn as_it_is(&self, arrived: Timestamp) -> Verified {
        let body = self.text.clone().into_bytes();
        Verified { body, stated: HeaderClaims::default(), secret: 0, skew_seconds: None, arrived }
    }

    /// The question of a topic, if the message is one and no event.
    pub(super) fn question(&self) -> Option<Question> {
        // The search spares all other messages the parsing.
        let envelope = TopicEnvelope::read(self.text.contains(QUESTION).then_some(&*self.text)?)?;
        let asks = envelope.kind == TopicEnvelopeKind::SubscriptionConfirmation;
        Some(Question { topic: envelope.topic_arn, token: envelope.token.filter(|_| asks)? })
    }

    /// The message's body as the provider made it; or the message undecoded, and why no event can be made
    /// of it.
    pub(super) fn verify(
        &self,
        definition: &Definition,
        limits: &BodyLimits,
        arrived: Timestamp,
    ) -> (Verified, Option<Useless>) {
        let envelope = TopicEnvelope::read(&self.text);
        if let Some(useless) = envelope.as_ref().and_then(|envelope| Useless::unless_published(envelope.kind))
        {
            return (self.as_it_is(arrived), Some(useless));
        }
        let attributes = self.attributes(envelope.as_ref());
        let event_type =
            definition.type_header().and_then(|header| stated(&attributes, header)).and_then(stated_type);
        let mut extensions = self.extensions();
        if let Some((header, name)) = definition.delivery_header() {
            extensions.extend(stated(&attributes, header).and_then(|id| HeaderClaims::extension(name, id)));
        }
        add_attributes(&mut extensions, &attributes);
        let text = match envelope {
            None => self.text.clone(),
            Some(envelope) => {
                extensions.extend(topic_extensions(&envelope.topic_arn, Some(&envelope.message_id)));
                envelope.message
            }
        };
        let stated = HeaderClaims { signed_id: None, event_type, extensions };
        let (body, undecodable) = match decode_message(text.clone(), limits) {
            Ok(body) => (body, None),
            Err(refusal) => (text.into_bytes(), Some(Useless::undecodable(refusal.word()))),
        };
        (Verified { body, stated, secret: 0, skew_seconds: None, arrived }, undecodable)
    }

    /// What the queue states about the message, as attributes of the event.
    fn extensions(&self) -> Vec<(ByteString, ByteString)> {
        let sent = self.sent.map(Timestamp::to_rfc3339);
        let receives = self.receives.to_string();
        let stated =
            [Some(self.id.as_str()), Some(receives.as_str()), sent.as_deref(), self.group.as_deref()];
        EXTENSIONS
            .into_iter()
            .zip(stated)
            .filter_map(|(name, value)| HeaderClaims::extension(name, value?))
            .collect()
    }

    /// The message's own attributes that are text, sorted by name, together with those in the SNS envelope:
    /// if the topic delivered raw, SNS would make them the message's own.
    fn attributes<'a>(&'a self, envelope: Option<&'a TopicEnvelope>) -> Vec<(&'a str, &'a str)> {
        let own = self.attributes.iter();
        let own = own.filter_map(|(name, value)| Some((name.as_str(), value.string_value()?)));
        let published = envelope.into_iter().flat_map(TopicEnvelope::attributes);
        let mut attributes: Vec<_> = own.chain(published).collect();
        attributes.sort_unstable();
        attributes
    }
}

impl Useless {
    fn undecodable(word: &'static str) -> Self {
        Self { word, detail: format!("the message cannot be decoded: {word}").into() }
    }

    /// For the question of a listed topic: the service refuses the confirmation with this code.
    pub(super) fn unanswerable(code: &str) -> Self {
        let detail = format!(
            "a listed SNS topic asks whether it may deliver to this queue, and SNS refuses the confirmation \
             for good ({code}): the token is too old, was used before, or is not the topic's. If the topic \
             does not deliver here, subscribe the queue to it again. Then drop this dead letter"
        );
        Self { word: SUBSCRIPTION_CONFIRMATION, detail: detail.into() }
    }

    /// For an envelope of a kind that carries no event.
    fn unless_published(kind: TopicEnvelopeKind) -> Option<Self> {
        let (word, detail) = match kind {
            TopicEnvelopeKind::Notification => return None,
            TopicEnvelopeKind::SubscriptionConfirmation => (
                SUBSCRIPTION_CONFIRMATION,
                "an SNS topic asks whether it may deliver to this queue, and waits for the answer. To allow \
                 it, list its ARN under `sqs.confirm_topics` and subscribe the queue to it again, or confirm \
                 it within three days with `aws sns confirm-subscription` and the TopicArn and Token in this \
                 dead letter; do not open its SubscribeURL. To refuse it, drop this dead letter",
            ),
            TopicEnvelopeKind::UnsubscribeConfirmation => (
                UNSUBSCRIBE_CONFIRMATION,
                "an SNS topic no longer delivers to this queue, because its subscription was ended: if that \
                 was not intended, subscribe the queue again. Then drop this dead letter",
            ),
        };
        Some(Self { word, detail: detail.into() })
    }
}

/// Adds a message's attributes in their order, so that every receive chooses the same ones.
fn add_attributes(extensions: &mut Vec<(ByteString, ByteString)>, attributes: &[(&str, &str)]) {
    let mut added = 0;
    for (name, value) in attributes {
        let Some(extension) = attribute_name(name).and_then(|name| HeaderClaims::extension(&name, value))
        else {
            continue;
        };
        if added < ATTRIBUTES_MAX && extensions.iter().all(|(known, _)| *known != extension.0) {
            extensions.push(extension);
            added += 1;
        }
    }
}

/// The value of the attribute that has the name of a provider's header, in any case. `None` if there are
/// two, because either could be the right one.
fn stated<'a>(attributes: &[(&'a str, &'a str)], header: &str) -> Option<&'a str> {
    let mut found = attributes.iter().filter(|(name, _)| name.eq_ignore_ascii_case(header));
    found.next().filter(|_| found.next().is_none()).map(|(_, value)| *value)
}

/// The CloudEvents name of an attribute: the prefix, and its letters and digits in lower case, up to
/// [`NAME_BYTES_MAX`] bytes.
fn attribute_name(name: &str) -> Option<String> {
    let letters = name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase());
    let letters: String = letters.take(NAME_BYTES_MAX - ATTRIBUTE_PREFIX.len()).collect();
    (!letters.is_empty()).then(|| format!("{ATTRIBUTE_PREFIX}{letters}"))
}

/// Whether a message's own attribute can become an attribute of this name.
pub(in crate::source) fn is_attribute_name(name: &str) -> bool {
    name.strip_prefix(ATTRIBUTE_PREFIX).is_some_and(|letters| !letters.is_empty())
        && name.len() <= NAME_BYTES_MAX
}

/// Reads milliseconds since the Unix epoch.
fn moment(millis: &str) -> Option<Timestamp> {
    millis.parse::<i64>().ok()?.checked_mul(1_000_000).map(Timestamp)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::provider::builtin_named;

    const LIMITS: BodyLimits = BodyLimits { inflated_bytes_max: 1 << 20, inflate_ratio_max: 100 };
    const BODY: &str = r#"{"type":"call.created"}"#;

    fn string(value: &str) -> MessageAttributeValue {
        MessageAttributeValue::builder().data_type("String").string_value(value).build().unwrap()
    }

    fn sdk(body: &str) -> aws_sdk_sqs::types::builders::MessageBuilder {
        SdkMessage::builder().message_id("m").receipt_handle("r").body(body)
    }

    fn verified(provider: &str, message: SdkMessage) -> Verified {
        let definition = builtin_named(provider).unwrap();
        QueueMessage::new(message).unwrap().verify(&definition, &LIMITS, Timestamp(7)).0
    }

    fn pairs(verified: &Verified) -> Vec<(&str, &str)> {
        verified.stated.extensions.iter().map(|(name, value)| (&**name, &**value)).collect()
    }

    #[test]
    fn what_the_queue_says_of_a_message_travels_along() {
        let message = sdk(BODY)
            .attributes(MessageSystemAttributeName::ApproximateReceiveCount, "3")
            .attributes(MessageSystemAttributeName::SentTimestamp, "1778198400123")
            .attributes(MessageSystemAttributeName::MessageGroupId, "default:abc")
            .build();
        let verified = verified("stream", message);
        assert_eq!(verified.body, BODY);
        assert_eq!(
            pairs(&verified),
            [
                ("sqsmessageid", "m"),
                ("sqsreceivecount", "3"),
                ("sqssenttime", "2026-05-08T00:00:00.123Z"),
                ("sqsgroupid", "default:abc"),
            ]
        );
    }

    #[test]
    fn an_envelope_is_taken_off_and_named() {
        let envelope = format!(
            r#"{{"Type":"Notification","MessageId":"n","Message":{BODY:?},
                "TopicArn":"arn:aws:sns:eu-west-1:1:t"}}"#
        );
        let verified = verified("stream", sdk(&envelope).build());
        assert_eq!(verified.body, BODY);
        let expected = [("snstopic", "arn:aws:sns:eu-west-1:1:t"), ("snsmessageid", "n")];
        assert_eq!(pairs(&verified)[2..], expected);
    }

    #[test]
    fn what_was_published_to_a_topic_with_attributes_has_them_as_if_delivered_raw() {
        let envelope = r#"{"Type":"Notification","MessageId":"n","TopicArn":"t","Message":"{}",
            "MessageAttributes":{"X-GitHub-Event":{"Type":"String","Value":"push"},
            "tenant":{"Type":"String","Value":"a"}}}"#;
        let wrapped = verified("github", sdk(envelope).build());
        let raw = sdk("{}").message_attributes("X-GitHub-Event", string("push"));
        let raw = verified("github", raw.message_attributes("tenant", string("a")).build());
        assert_eq!(wrapped.stated.event_type.as_deref(), Some("push"));
        assert_eq!(wrapped.stated.event_type, raw.stated.event_type);
        let delivered = sdk("{}").message_attributes("x-GITHUB-delivery", string("72d3162e"));
        let delivered = verified("github", delivered.build());
        assert_eq!(pairs(&delivered)[2], ("githubdelivery", "72d3162e"));
        let named = [("sqsattrxgithubevent", "push"), ("sqsattrtenant", "a")];
        assert_eq!(pairs(&raw)[2..], named);
        assert_eq!(pairs(&wrapped)[2..], [&named[..], &[("snstopic", "t"), ("snsmessageid", "n")]].concat());
    }

    #[test]
    fn an_event_that_dresses_as_an_envelope_is_itself() {
        let body = r#"{"type":"call.updated","Type":"Notification","TopicArn":"t",
            "MessageId":"m","Message":"{\"type\":\"call.ended\"}"}"#;
        let verified = verified("stream", sdk(body).build());
        assert_eq!(verified.body, body);
        assert_eq!(pairs(&verified), [("sqsmessageid", "m"), ("sqsreceivecount", "1")]);
    }

    #[test]
    fn attributes_are_bounded_in_number_name_and_value_and_decide_nothing() {
        let mut message = sdk(BODY).message_attributes("X-Event.Kind and more of it", string("a b"));
        for value in ["\u{e9}", "line\nbreak", "", &"x".repeat(256)] {
            message = message.message_attributes(format!("bad{}", value.len()), string(value));
        }
        for number in 0..20 {
            message = message.message_attributes(format!("n{number:02}"), string("v"));
        }
        let message = message.message_attributes("id", string("someone-elses")).build();
        let verified = verified("stream", message);
        let names: Vec<_> = pairs(&verified).iter().map(|(name, _)| *name).collect();
        assert_eq!(names.len(), 2 + ATTRIBUTES_MAX, "{names:?}");
        assert_eq!(names[2], "sqsattrxeventkindand");
        assert!(names.iter().all(|name| name.len() <= NAME_BYTES_MAX), "{names:?}");
        assert_eq!((verified.stated.signed_id, verified.stated.event_type), (None, None));
    }

    #[test]
    fn a_type_that_providers_state_in_a_header_is_an_attribute_of_that_name() {
        let message = sdk("{}").message_attributes("X-GitHub-Event", string("push")).build();
        assert_eq!(verified("github", message).stated.event_type.as_deref(), Some("push"));
    }

    #[test]
    fn a_type_that_two_attributes_state_is_none_at_every_receive() {
        for other in ["push", "ping"] {
            let message = sdk("{}")
                .message_attributes("X-GitHub-Event", string("push"))
                .message_attributes("x-github-event", string(other))
                .build();
            assert_eq!(verified("github", message).stated.event_type, None, "{other}");
        }
    }

    #[test]
    fn what_cannot_be_decoded_is_kept_as_it_was() {
        let message = QueueMessage::new(sdk("H4sIAAAAAAAA").build()).unwrap();
        let definition = builtin_named("stream").unwrap();
        let (verified, undecodable) = message.verify(&definition, &LIMITS, Timestamp(7));
        assert_eq!(undecodable.map(|useless| useless.word), Some("bad_encoding"));
        assert_eq!(verified.body, "H4sIAAAAAAAA");
    }

    #[test]
    fn a_topic_that_asks_is_no_event_and_says_what_to_do() {
        let text = |kind: &str| {
            format!(r#"{{"Type":"{kind}","MessageId":"n","TopicArn":"arn","Token":"k","Message":"hello"}}"#)
        };
        let definition = builtin_named("stream").unwrap();
        for (kind, word, what_to_do) in [
            ("SubscriptionConfirmation", "subscription_confirmation", "sqs.confirm_topics"),
            ("UnsubscribeConfirmation", "unsubscribe_confirmation", "subscribe the queue again"),
        ] {
            let message = QueueMessage::new(sdk(&text(kind)).build()).unwrap();
            let (verified, useless) = message.verify(&definition, &LIMITS, Timestamp(7));
            let useless = useless.unwrap();
            assert_eq!((useless.word, verified.body), (word, text(kind).into()));
            assert!(useless.detail.contains(what_to_do), "{}", useless.detail);
            let asked = Question { topic: "arn".into(), token: "k".into() };
            assert_eq!(message.question(), (word == "subscription_confirmation").then_some(asked));
        }
        assert_eq!(QueueMessage::new(sdk(BODY).build()).unwrap().question(), None);
    }

    #[test]
    fn a_message_without_a_receipt_is_none() {
        assert!(QueueMessage::new(SdkMessage::builder().body(BODY).build()).is_none());
    }
}
