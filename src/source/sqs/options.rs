//! The queue of an SQS source, and how it is read: the block `sqs`.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::aws::arn::TopicArn;
use crate::scalars::Period;

/// Deliveries from an SQS queue.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["queue_url"]))]
pub struct SqsOptions {
    /// The queue's URL.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub queue_url: String,
    /// The queue's region, if its URL does not name it.
    // Without either, the region of the AWS environment or profile is used.
    pub region: Option<String>,
    /// How long a received message stays hidden from other readers. It is extended while the message
    /// is processed.
    // In whole seconds. The upper bound is that of SQS; below the lower one an extension would come too late.
    #[serde(with = "Period")]
    #[schemars(extend("formatMinimum" = "2s", "formatMaximum" = "12h"))]
    pub visibility_timeout: Duration,
    /// Most receive loops at once. A single one runs while there is little to do.
    #[schemars(range(min = 1, max = 64))]
    pub receivers_max: usize,
    /// What to do with a message that cannot become an event.
    pub on_malformed: OnMalformed,
    /// ARNs of SNS topics whose request to subscribe this queue is confirmed. Topics of other
    /// accounts send such a request.
    pub confirm_topics: Vec<TopicArn>,
}

impl Default for SqsOptions {
    fn default() -> Self {
        Self {
            queue_url: String::new(),
            region: None,
            visibility_timeout: Duration::from_secs(60),
            receivers_max: 8,
            on_malformed: OnMalformed::default(),
            confirm_topics: Vec::new(),
        }
    }
}

/// What to do with a message that cannot become an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum OnMalformed {
    /// Keep it as a dead letter and delete it from the queue.
    #[default]
    DeadLetter,
    /// Leave it in the queue, whose own redrive policy has to move it.
    Redrive,
}
