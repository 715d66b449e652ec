//! The configuration of an SQS source.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::aws::arn::TopicArn;

/// An SQS queue that the bridge reads.
#[derive(Clone, Debug)]
pub struct SqsOptions {
    /// The queue's URL.
    pub queue_url: String,
    /// The queue's AWS region; `None` to take it from the environment.
    pub region: Option<String>,
    /// How long a received message stays hidden from other readers.
    pub visibility_timeout: Duration,
    /// Most receive loops at once.
    pub receivers_max: usize,
    /// What to do with a message that cannot become an event.
    pub on_malformed: OnMalformed,
    /// The topics whose request to subscribe the queue is confirmed.
    pub confirm_topics: Vec<TopicArn>,
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
