//! Which region is published to, and how much at once: the block `sns` of a sink.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scalars::Size;

/// A sink of SNS topics, all in the one region that their ARNs name.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SnsSinkOptions {
    /// The region, for readers of the file only: it must be the one in the topics' ARNs.
    // Set from the ARNs if the file does not name it.
    pub region: Option<String>,
    /// Most requests at once.
    #[schemars(range(min = 1, max = 256))]
    pub requests_max: usize,
    /// Largest message in bytes, attributes included; a larger one becomes a dead letter. SNS has its
    /// own limit per topic, 256 KiB unless it was raised.
    #[serde(with = "Size")]
    #[schemars(range(min = 1 << 10, max = 1 << 20))]
    pub message_bytes_max: usize,
}

impl Default for SnsSinkOptions {
    fn default() -> Self {
        Self { region: None, requests_max: 16, message_bytes_max: 256 << 10 }
    }
}
