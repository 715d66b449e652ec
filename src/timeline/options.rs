//! What bounds the timeline: the block `timeline`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scalars::Size;

/// Fewest bytes of a timeline that keeps anything.
pub const BYTES_LEAST: usize = 1 << 20;
/// Most bytes of a timeline.
const BYTES_MOST: usize = 1 << 30;

/// The last steps of deliveries and events, in memory.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TimelineOptions {
    /// Most bytes of memory for steps, the oldest of which give way; 0 keeps none.
    #[serde(with = "Size")]
    #[schemars(range(max = BYTES_MOST))]
    pub bytes_max: usize,
    /// Most steps that are kept.
    #[schemars(range(min = 1000, max = 10_000_000))]
    pub steps_max: usize,
}

impl Default for TimelineOptions {
    fn default() -> Self {
        Self { bytes_max: 16 << 20, steps_max: 200_000 }
    }
}
