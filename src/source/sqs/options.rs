//! The configuration of an SQS source.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::aws::arn::TopicArn;
use crate::knob::Knob;

/// How long a received message stays hidden from other readers, in whole seconds. The greatest bound is
/// that of SQS; below the least one an extension would come too late.
pub const VISIBILITY_TIMEOUT: Knob<Duration> = Knob {
    key: "visibility_timeout",
    default: Duration::from_secs(60),
    least: Duration::from_secs(2),
    most: Duration::from_secs(43_200),
};

/// Most receive loops at once.
pub const RECEIVERS_MAX: Knob<usize> = Knob { key: "receivers_max", default: 8, least: 1, most: 64 };

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
