//! The calls of the service: receive, delete, keep hidden. Each is tried once; what is worth
//! trying again, and when, is for who calls to say.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry,
    Message as SdkMessage, MessageSystemAttributeName,
};

use super::SqsOptions;
use super::queue_error::QueueError;
use crate::aws::refusal::{self, AwsRefusal};
use crate::aws::{Aws, CallTimeouts};

/// The most messages in one call, by the service's own bound.
pub(super) const BATCH_MAX: usize = 10;
/// How long a receive waits for a message: the longest that the service allows, and so the fewest
/// calls.
const LONG_POLL: Duration = Duration::from_secs(20);
/// The same while the queue is in trouble: an answer, even an empty one, tells that it is over.
const SHORT_POLL: Duration = Duration::from_secs(1);

/// A receive that has waited its 20 seconds is answered at once; five more are for a slow network.
/// One that takes longer is lost, and the messages that it may have taken come back by themselves.
const RECEIVE: CallTimeouts = CallTimeouts { attempt: Duration::from_secs(25), attempts: 1 };
/// Deletes and heartbeats are answered within some ten milliseconds. Ten seconds are patient with
/// a service in trouble, and short beside the default visibility time-out of a minute.
const SETTLE_ATTEMPT: Duration = Duration::from_secs(10);

/// What is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Receive,
    Delete,
    Extend,
}

impl Action {
    /// All of them, in the order of their values.
    pub(super) const ALL: [Self; 3] = [Self::Receive, Self::Delete, Self::Extend];

    /// The service's name for it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Receive => "ReceiveMessage",
            Self::Delete => "DeleteMessageBatch",
            Self::Extend => "ChangeMessageVisibilityBatch",
        }
    }

    /// The permission that it needs.
    pub(super) fn permission(self) -> &'static str {
        match self {
            Self::Receive => "sqs:ReceiveMessage",
            Self::Delete => "sqs:DeleteMessage",
            Self::Extend => "sqs:ChangeMessageVisibility",
        }
    }
}

/// What became of one entry of a batch: `None` is a success, else the service's code.
pub(super) type Fates = [Option<String>; BATCH_MAX];

/// One queue.
pub(super) struct Queue {
    url: String,
    visibility_seconds: i32,
    /// What the clients are made of, with the credentials.
    settings: SdkConfig,
    receiving: Client,
    settling: Client,
}

impl Queue {
    pub(super) async fn new(config: &SqsOptions, aws: &Aws) -> Self {
        let settings = aws.settings(config.region.as_deref(), RECEIVE).await;
        let timeouts =
            settings.timeout_config().map_or_else(TimeoutConfig::builder, TimeoutConfig::to_builder);
        let timeouts = timeouts.operation_attempt_timeout(SETTLE_ATTEMPT).build();
        let settling = aws_sdk_sqs::config::Builder::from(&settings).timeout_config(timeouts).build();
        Self {
            url: config.queue_url.clone(),
            visibility_seconds: i32::try_from(config.visibility_timeout.as_secs()).unwrap_or(i32::MAX),
            receiving: Client::new(&settings),
            settling: Client::from_conf(settling),
            settings,
        }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn settings(&self) -> &SdkConfig {
        &self.settings
    }

    /// Whether the queue keeps the order of each group: the service insists on that ending.
    pub(super) fn is_fifo(&self) -> bool {
        self.url.ends_with(".fifo")
    }

    /// Up to ten messages; none if none came while it waited.
    pub(super) async fn receive(&self, in_trouble: bool) -> Result<Vec<SdkMessage>, QueueError> {
        let wait = if in_trouble { SHORT_POLL } else { LONG_POLL };
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
            Err(error) => Err(QueueError::of(&error, Action::Receive, self).await),
        }
    }

    /// Deletes up to ten messages; the fates are in their order.
    pub(super) async fn delete(&self, receipts: &[&str]) -> Result<Fates, QueueError> {
        let entries = receipts.iter().zip(IDS).map(|(receipt, id)| {
            let entry = DeleteMessageBatchRequestEntry::builder().id(id).receipt_handle(*receipt).build();
            entry.unwrap_or_else(|_| unreachable!("an entry with an id and a receipt is complete"))
        });
        let request = self.settling.delete_message_batch().queue_url(&self.url);
        let request = request.set_entries(Some(entries.collect()));
        match Box::pin(request.send()).await {
            Ok(deleted) => {
                let succeeded = deleted.successful.iter().map(|entry| entry.id.as_str());
                Ok(fates(receipts.len(), succeeded, deleted.failed))
            }
            Err(error) => Err(QueueError::of(&error, Action::Delete, self).await),
        }
    }

    /// Keeps up to ten messages hidden for another visibility time-out from now.
    pub(super) async fn extend(&self, receipts: &[&str]) -> Result<Fates, QueueError> {
        let entries = receipts.iter().zip(IDS).map(|(receipt, id)| {
            let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(id).receipt_handle(*receipt);
            let entry = entry.visibility_timeout(self.visibility_seconds).build();
            entry.unwrap_or_else(|_| unreachable!("an entry with an id and a receipt is complete"))
        });
        let request = self.settling.change_message_visibility_batch().queue_url(&self.url);
        let request = request.set_entries(Some(entries.collect()));
        match Box::pin(request.send()).await {
            Ok(extended) => {
                let succeeded = extended.successful.iter().map(|entry| entry.id.as_str());
                Ok(fates(receipts.len(), succeeded, extended.failed))
            }
            Err(error) => Err(QueueError::of(&error, Action::Extend, self).await),
        }
    }
}

/// The ids of a batch's entries, in their order.
const IDS: [&str; BATCH_MAX] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

/// Sorts an answer's entries by their ids. What the answer does not name has failed: a success
/// must be said.
fn fates<'a>(
    count: usize,
    succeeded: impl Iterator<Item = &'a str>,
    failed: Vec<BatchResultErrorEntry>,
) -> Fates {
    let mut fates = [const { None }; BATCH_MAX];
    fates[..count].fill(Some("Unanswered".to_owned()));
    let place = |id: &str| IDS[..count].iter().position(|known| *known == id);
    for at in succeeded.filter_map(place) {
        fates[at] = None;
    }
    for entry in failed {
        if let Some(at) = place(&entry.id) {
            fates[at] = Some(entry.code);
        }
    }
    fates
}

/// A code of the service as a word from a fixed list, and whether another attempt is of no use:
/// the message is somebody else's, or gone.
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
        let fates = fates(4, ["0", "9", "x", "1"].into_iter(), failed);
        let words: Vec<_> = fates.iter().map(Option::as_deref).collect();
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
