//! The calls to the SQS service: receive messages, delete them, keep them hidden. Each call is tried
//! once; the caller decides whether and when it is tried again.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry,
    Message as SdkMessage, MessageSystemAttributeName,
};

use super::SqsOptions;
use super::action::Action;
use super::queue_error::QueueError;
use crate::aws::refusal::{self, AwsRefusal};
use crate::aws::{Aws, CallTimeouts};

/// Most messages in one call; the service sets this bound.
pub(super) const BATCH_MAX: usize = 10;
/// How long a receive waits for a message: the longest that the service allows, which makes the fewest
/// calls.
const LONG_POLL: Duration = Duration::from_secs(20);
/// How long a receive waits for a message while the last receive failed: even an empty answer shows that
/// the queue can be read again.
const SHORT_POLL: Duration = Duration::from_secs(1);

/// The time-out of a receive: its 20 seconds of waiting, and five for a slow network. Messages that the
/// queue handed out to a receive that timed out come back after their visibility time-out.
const RECEIVE: CallTimeouts = CallTimeouts { attempt: Duration::from_secs(25), attempts: 1 };
/// The time-out of deletes and heartbeats. A healthy service answers them within some ten milliseconds;
/// ten seconds give a slow one time, and are short beside the default visibility time-out of a minute.
const CHANGE_ATTEMPT: Duration = Duration::from_secs(10);

/// The results of a batch's entries, in their order: `None` for a success, else the service's code.
pub(super) type EntryErrors = [Option<String>; BATCH_MAX];

/// The client of one queue.
pub(super) struct Queue {
    url: String,
    visibility_seconds: i32,
    /// The settings that the clients are made of, with the credentials.
    settings: SdkConfig,
    receiving: Client,
    changes: Client,
}

impl Queue {
    pub(super) async fn new(config: &SqsOptions, aws: &Aws) -> Self {
        let settings = aws.settings(config.region.as_deref(), RECEIVE).await;
        let timeouts =
            settings.timeout_config().map_or_else(TimeoutConfig::builder, TimeoutConfig::to_builder);
        let timeouts = timeouts.operation_attempt_timeout(CHANGE_ATTEMPT).build();
        let changes = aws_sdk_sqs::config::Builder::from(&settings).timeout_config(timeouts).build();
        Self {
            url: config.queue_url.clone(),
            visibility_seconds: i32::try_from(config.visibility_timeout.as_secs()).unwrap_or(i32::MAX),
            receiving: Client::new(&settings),
            changes: Client::from_conf(changes),
            settings,
        }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Whether the queue is a FIFO queue, which keeps the order of each group. The service requires this
    /// ending of its name.
    pub(super) fn is_fifo(&self) -> bool {
        self.url.ends_with(".fifo")
    }

    /// Receives up to ten messages; none if the queue had none while the call waited.
    pub(super) async fn receive(&self, last_failed: bool) -> Result<Vec<SdkMessage>, QueueError> {
        let wait = if last_failed { SHORT_POLL } else { LONG_POLL };
        let request = self
            .receiving
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(BATCH_MAX as i32)
            .wait_time_seconds(wait.as_secs() as i32)
            .visibility_timeout(self.visibility_seconds)
            .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount)
            .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
            .message_system_attribute_names(MessageSystemAttributeName::MessageGroupId)
            .message_attribute_names("All");
        match Box::pin(request.send()).await {
            Ok(received) => Ok(received.messages.unwrap_or_default()),
            Err(error) => Err(QueueError::of(&error, Action::Receive, &self.url, &self.settings).await),
        }
    }

    /// Deletes up to ten messages; the results are in their order.
    pub(super) async fn delete(&self, receipts: &[&str]) -> Result<EntryErrors, QueueError> {
        let entries = receipts.iter().zip(IDS).map(|(receipt, id)| {
            let entry = DeleteMessageBatchRequestEntry::builder().id(id).receipt_handle(*receipt).build();
            entry.unwrap_or_else(|_| unreachable!("an entry with an id and a receipt is complete"))
        });
        let request = self.changes.delete_message_batch().queue_url(&self.url);
        let request = request.set_entries(Some(entries.collect()));
        match Box::pin(request.send()).await {
            Ok(deleted) => {
                let succeeded = deleted.successful.iter().map(|entry| entry.id.as_str());
                Ok(entry_errors(receipts.len(), succeeded, deleted.failed))
            }
            Err(error) => Err(QueueError::of(&error, Action::Delete, &self.url, &self.settings).await),
        }
    }

    /// Keeps up to ten messages hidden for another visibility time-out from now; the results are in their
    /// order.
    pub(super) async fn extend(&self, receipts: &[&str]) -> Result<EntryErrors, QueueError> {
        let entries = receipts.iter().zip(IDS).map(|(receipt, id)| {
            let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(id).receipt_handle(*receipt);
            let entry = entry.visibility_timeout(self.visibility_seconds).build();
            entry.unwrap_or_else(|_| unreachable!("an entry with an id and a receipt is complete"))
        });
        let request = self.changes.change_message_visibility_batch().queue_url(&self.url);
        let request = request.set_entries(Some(entries.collect()));
        match Box::pin(request.send()).await {
            Ok(extended) => {
                let succeeded = extended.successful.iter().map(|entry| entry.id.as_str());
                Ok(entry_errors(receipts.len(), succeeded, extended.failed))
            }
            Err(error) => Err(QueueError::of(&error, Action::Extend, &self.url, &self.settings).await),
        }
    }
}

/// The ids of a batch's entries, in their order.
const IDS: [&str; BATCH_MAX] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

/// Sorts the results in an answer by the ids of their entries. An entry that the answer does not name
/// counts as failed.
fn entry_errors<'a>(
    count: usize,
    succeeded: impl Iterator<Item = &'a str>,
    failed: Vec<BatchResultErrorEntry>,
) -> EntryErrors {
    let mut entry_errors = [const { None }; BATCH_MAX];
    entry_errors[..count].fill(Some("Unanswered".to_owned()));
    let index = |id: &str| IDS[..count].iter().position(|known| *known == id);
    for at in succeeded.filter_map(index) {
        entry_errors[at] = None;
    }
    for entry in failed {
        if let Some(at) = index(&entry.id) {
            entry_errors[at] = Some(entry.code);
        }
    }
    entry_errors
}

/// Maps a code of the service to a word from a fixed list. The flag says that another attempt is of no
/// use, because another reader has the message or the message is gone.
pub(super) fn entry_word(code: &str) -> (&'static str, bool) {
    let code = refusal::bare(code);
    match (refusal::of(code), code) {
        (Some(AwsRefusal::Throttled), _) => ("throttled", false),
        (Some(AwsRefusal::Service), _) => ("server_error", false),
        (Some(AwsRefusal::Denied), _) => ("denied", false),
        (Some(AwsRefusal::Credentials | AwsRefusal::Expired | AwsRefusal::Clock), _) => {
            ("credentials", false)
        }
        (None, "ReceiptHandleIsInvalid" | "InvalidParameterValue") => ("receipt_stale", true),
        (None, "MessageNotInflight") => ("not_in_flight", true),
        (None, "Unanswered") => ("unanswered", false),
        (None, _) => ("refused", false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_succeeded_only_if_the_answer_says_so() {
        let failed = BatchResultErrorEntry::builder().id("1").code("InternalError").sender_fault(false);
        let failed = vec![failed.build().expect("complete")];
        let entry_errors = entry_errors(4, ["0", "9", "x", "1"].into_iter(), failed);
        let words: Vec<_> = entry_errors.iter().map(Option::as_deref).collect();
        let unanswered = Some("Unanswered");
        assert_eq!(words[..4], [None, Some("InternalError"), unanswered, unanswered]);
        assert!(words[4..].iter().all(Option::is_none));
    }

    #[test]
    fn a_stale_receipt_is_not_tried_again_and_everything_else_is() {
        assert_eq!(entry_word("ReceiptHandleIsInvalid"), ("receipt_stale", true));
        assert_eq!(entry_word("AWS.SimpleQueueService.MessageNotInflight"), ("not_in_flight", true));
        assert_eq!(entry_word("InternalError"), ("server_error", false));
        assert_eq!(entry_word("SlowDown"), ("throttled", false));
        assert_eq!(entry_word("NeverHeardOf"), ("refused", false));
    }
}
