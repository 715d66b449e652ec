//! A topic and who subscribes to it.

use aws_sdk_sns::types::{MessageAttributeValue, PublishBatchRequestEntry, Subscription as Listed};

use super::queue::Queue;
use super::{Aws, BATCH_ENTRIES_MAX, Message, call, wait};

/// A topic of a test's own.
pub struct Topic {
    client: aws_sdk_sns::Client,
    /// How calls and configurations name it.
    pub arn: String,
}

/// One subscriber of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// `sqs`, `http`, …
    pub protocol: String,
    /// The queue's ARN or the URL.
    pub endpoint: String,
    /// Whether it was confirmed.
    pub confirmed: bool,
}

impl Topic {
    pub(super) fn create(aws: &Aws, name: &str, attributes: &[(&str, &str)]) -> Self {
        let mut request = aws.sns.create_topic().name(name);
        if name.ends_with(".fifo") {
            request = request.attributes("FifoTopic", "true");
        }
        for (name, value) in attributes {
            request = request.attributes(*name, *value);
        }
        let arn = call("a topic is created", request.send()).topic_arn.expect("a topic has an ARN");
        Self { client: aws.sns.clone(), arn }
    }

    /// Lets a queue subscribe. The attributes are those of `Subscribe`: `RawMessageDelivery`,
    /// `FilterPolicy`, …
    #[track_caller]
    pub fn subscribe(&self, queue: &Queue, attributes: &[(&str, &str)]) {
        self.subscribe_endpoint("sqs", &queue.arn, attributes);
    }

    /// Lets anything subscribe; what is no queue is asked to confirm first.
    #[track_caller]
    pub fn subscribe_endpoint(&self, protocol: &str, endpoint: &str, attributes: &[(&str, &str)]) {
        let request = self.client.subscribe().topic_arn(&self.arn).protocol(protocol).endpoint(endpoint);
        let request =
            attributes.iter().fold(request, |request, (name, value)| request.attributes(*name, *value));
        call("an endpoint subscribes", request.send());
    }

    /// Its subscribers, confirmed or not.
    #[track_caller]
    pub fn subscriptions(&self) -> Vec<Subscription> {
        let request = self.client.list_subscriptions_by_topic().topic_arn(&self.arn);
        let listed = call("subscriptions are listed", request.send()).subscriptions.unwrap_or_default();
        let subscription = |listed: Listed| Subscription {
            confirmed: self.is_confirmed(&listed.subscription_arn.unwrap_or_default()),
            protocol: listed.protocol.unwrap_or_default(),
            endpoint: listed.endpoint.unwrap_or_default(),
        };
        listed.into_iter().map(subscription).collect()
    }

    /// AWS shows no ARN before the confirmation; the emulator does.
    fn is_confirmed(&self, arn: &str) -> bool {
        if !arn.starts_with("arn:") {
            return false;
        }
        let request = self.client.get_subscription_attributes().subscription_arn(arn);
        let attributes = call("a subscription is described", request.send()).attributes.unwrap_or_default();
        attributes.get("PendingConfirmation").is_some_and(|pending| pending == "false")
    }

    /// Publishes messages in order, ten at a time.
    ///
    /// # Panics
    /// When one is refused.
    #[track_caller]
    pub fn publish(&self, messages: &[Message]) {
        for batch in messages.chunks(BATCH_ENTRIES_MAX) {
            let mut request = self.client.publish_batch().topic_arn(&self.arn);
            for (number, message) in batch.iter().enumerate() {
                let entry = PublishBatchRequestEntry::builder()
                    .id(number.to_string())
                    .message(&message.body)
                    .set_message_group_id(message.group.clone())
                    .set_message_deduplication_id(message.deduplication.clone());
                let entry = message.attributes.iter().fold(entry, |entry, (name, value)| {
                    let value = MessageAttributeValue::builder().data_type("String").string_value(value);
                    entry.message_attributes(name, value.build().expect("an attribute has a type"))
                });
                request = request.publish_batch_request_entries(entry.build().expect("an entry has an id"));
            }
            let failed = call("messages are published", request.send()).failed.unwrap_or_default();
            assert!(failed.is_empty(), "not published: {failed:?}");
        }
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        // It may be gone already, and the emulator too.
        let _ = wait(self.client.delete_topic().topic_arn(&self.arn).send());
    }
}
