//! A queue, and what can be seen of it from outside.

use std::time::{Duration, Instant};

use aws_sdk_sqs::types::{
    DeleteMessageBatchRequestEntry, Message as Received, MessageAttributeValue, MessageSystemAttributeName,
    QueueAttributeName, SendMessageBatchRequestEntry,
};

use super::{Aws, BATCH_ENTRIES_MAX, Message, call, wait};
use crate::support::await_until;

/// A queue of a test's own.
pub struct Queue {
    client: aws_sdk_sqs::Client,
    /// How calls name it. The host in it is the emulator's, also when a proxy is asked.
    pub url: String,
    /// How topics and policies name it.
    pub arn: String,
}

/// How many messages a queue holds, by what may be done with them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// There to be received.
    pub visible: usize,
    /// Received, neither deleted nor visible again.
    pub in_flight: usize,
    /// Not yet visible for the first time.
    pub delayed: usize,
}

impl Depth {
    /// All of them.
    pub fn total(self) -> usize {
        self.visible + self.in_flight + self.delayed
    }
}

impl Queue {
    pub(super) fn create(aws: &Aws, name: &str, attributes: &[(&str, &str)]) -> Self {
        let mut request = aws.sqs.create_queue().queue_name(name);
        if name.ends_with(".fifo") {
            request = request.attributes(QueueAttributeName::FifoQueue, "true");
        }
        for (name, value) in attributes {
            request = request.attributes(QueueAttributeName::from(*name), *value);
        }
        let url = call("a queue is created", request.send()).queue_url.expect("a queue has a URL");
        let mut queue = Self { client: aws.sqs.clone(), url, arn: String::new() };
        queue.arn = queue.attribute(&QueueAttributeName::QueueArn);
        queue
    }

    /// The value of `RedrivePolicy` for a queue whose failures come here.
    pub fn redrive_after(&self, receives_max: u32) -> String {
        format!(r#"{{"deadLetterTargetArn":"{}","maxReceiveCount":"{receives_max}"}}"#, self.arn)
    }

    /// Sends messages in order, ten at a time.
    ///
    /// # Panics
    /// When one is refused.
    #[track_caller]
    pub fn send(&self, messages: &[Message]) {
        for batch in messages.chunks(BATCH_ENTRIES_MAX) {
            let mut request = self.client.send_message_batch().queue_url(&self.url);
            for (number, message) in batch.iter().enumerate() {
                let entry = SendMessageBatchRequestEntry::builder()
                    .id(number.to_string())
                    .message_body(&message.body)
                    .set_message_group_id(message.group.clone())
                    .set_message_deduplication_id(message.deduplication.clone());
                let entry = message.attributes.iter().fold(entry, |entry, (name, value)| {
                    let value = MessageAttributeValue::builder().data_type("String").string_value(value);
                    entry.message_attributes(name, value.build().expect("an attribute has a type"))
                });
                request = request.entries(entry.build().expect("an entry has an id and a body"));
            }
            let outcome = call("messages are sent", request.send());
            assert!(outcome.failed.is_empty(), "not sent: {:?}", outcome.failed);
        }
    }

    /// How many messages it holds now.
    #[track_caller]
    pub fn depth(&self) -> Depth {
        let request = self.client.get_queue_attributes().queue_url(&self.url);
        let request = request.attribute_names(QueueAttributeName::All);
        let attributes = call("a queue is measured", request.send()).attributes.expect("asked for all");
        let count = |name| attributes[&name].parse().expect("a count");
        Depth {
            visible: count(QueueAttributeName::ApproximateNumberOfMessages),
            in_flight: count(QueueAttributeName::ApproximateNumberOfMessagesNotVisible),
            delayed: count(QueueAttributeName::ApproximateNumberOfMessagesDelayed),
        }
    }

    /// Waits until it holds nothing: all was deleted, or has gone to another queue. It has to say so a
    /// few times in a row, because a message that is just handed out counts neither as visible nor as in
    /// flight for a moment.
    #[track_caller]
    pub fn await_empty(&self, deadline: Duration) {
        let (start, mut empty) = (Instant::now(), 0);
        loop {
            let depth = self.depth();
            empty = if depth.total() == 0 { empty + 1 } else { 0 };
            if empty == 4 {
                return;
            }
            assert!(start.elapsed() < deadline, "after {deadline:?} the queue still holds {depth:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Receives up to ten messages with all their attributes, waiting up to `wait` for the first.
    #[track_caller]
    pub fn receive(&self, wait: Duration) -> Vec<Received> {
        let request = self
            .client
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(BATCH_ENTRIES_MAX as i32)
            .wait_time_seconds(wait.as_secs() as i32)
            .message_system_attribute_names(MessageSystemAttributeName::All)
            .message_attribute_names("All");
        call("messages are received", request.send()).messages.unwrap_or_default()
    }

    /// Deletes what was received.
    ///
    /// # Panics
    /// When the service keeps one of them.
    #[track_caller]
    pub fn delete(&self, received: &[Received]) {
        for batch in received.chunks(BATCH_ENTRIES_MAX) {
            let entries = batch.iter().enumerate().map(|(number, message)| {
                let receipt = message.receipt_handle().expect("a received message has a receipt");
                let entry = DeleteMessageBatchRequestEntry::builder().id(number.to_string());
                entry.receipt_handle(receipt).build().expect("an entry has an id and a receipt")
            });
            let request = self.client.delete_message_batch().queue_url(&self.url);
            let outcome = call("messages are deleted", request.set_entries(Some(entries.collect())).send());
            assert!(outcome.failed.is_empty(), "not deleted: {:?}", outcome.failed);
        }
    }

    /// Receives and deletes until `count` messages have come, in the order in which they came.
    ///
    /// # Panics
    /// When the deadline passes first. More than `count` may come; they stay in the answer.
    #[track_caller]
    pub fn take(&self, count: usize, deadline: Duration) -> Vec<Received> {
        let mut taken: Vec<Received> = Vec::new();
        await_until(&format!("{count} messages have come"), deadline, || {
            let received = self.receive(Duration::from_secs(1));
            self.delete(&received);
            taken.extend(received);
            (taken.len() >= count).then_some(())
        });
        taken
    }

    /// Receives and deletes until the queue holds nothing, not even in flight.
    #[track_caller]
    pub fn drain(&self, deadline: Duration) -> Vec<Received> {
        let mut taken: Vec<Received> = Vec::new();
        await_until("the queue is drained", deadline, || {
            let received = self.receive(Duration::ZERO);
            self.delete(&received);
            taken.extend(received);
            (self.depth().total() == 0).then_some(())
        });
        taken
    }

    #[track_caller]
    fn attribute(&self, name: &QueueAttributeName) -> String {
        let request = self.client.get_queue_attributes().queue_url(&self.url).attribute_names(name.clone());
        let attributes = call("a queue is described", request.send()).attributes.unwrap_or_default();
        attributes.get(name).unwrap_or_else(|| panic!("{name} has a value")).clone()
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // It may be gone already, and the emulator too.
        let _ = wait(self.client.delete_queue().queue_url(&self.url).send());
    }
}
