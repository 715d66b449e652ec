//! For which sinks an acknowledgement waits, and for how long: the block `ack`.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scalars::Period;

/// The sinks that must have accepted an event before its delivery is acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["after"]))]
pub struct AckOptions {
    /// The names of the sinks; none: a delivery is acknowledged once its event is durable here.
    pub after: Vec<String>,
    /// How long a delivery waits for these sinks before it is answered 503, or its message is left in the
    /// queue.
    // Below the lower bound a busy broker would time out; the upper one is far beyond what providers wait.
    #[serde(with = "Period")]
    #[schemars(extend("formatMinimum" = "100ms", "formatMaximum" = "1m"))]
    pub within: Duration,
}

impl Default for AckOptions {
    fn default() -> Self {
        Self { after: Vec::new(), within: Duration::from_secs(4) }
    }
}
