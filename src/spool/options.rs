//! What bounds a spool: the block `spool`.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::dedup::DuplicatesOptions;
use crate::scalars::{Period, Size};

/// Longest entry, in encoded bytes: far beyond any body that a source accepts.
pub const ENTRY_BYTES_MAX: usize = 64 << 20;

/// Most bytes of an event's attributes beside its body.
pub const ATTRIBUTES_BYTES_MAX: u64 = 1 << 20;

/// Largest body in bytes that fits into an entry.
pub const BODY_BYTES_MAX: u64 = ENTRY_BYTES_MAX as u64 - ATTRIBUTES_BYTES_MAX;

/// Fewest segments that a spool has room for. Of a few large segments none is ever wholly delivered, so
/// none could be pruned.
pub const SEGMENTS_MIN: u64 = 8;

/// Bytes of the newest entries that are kept in memory for readers.
pub const TAIL_BYTES_MAX: usize = 8 << 20;

/// The directory, unless another one is configured. It also has the topics of a file sink and the secrets
/// of the embedded configuration.
pub const DIR: &str = "fanbridge-data";

/// The log on disk between sources and sinks, and its limits.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SpoolOptions {
    /// The spool's directory, which one process uses at a time.
    pub dir: PathBuf,
    /// Most bytes on disk; above it, deliveries are answered 503. Only a sink that detaches misses events.
    // The bound is above what any file system takes.
    #[serde(with = "Size")]
    #[schemars(range(max = 1_u64 << 60))]
    pub bytes_max: u64,
    /// Bytes to leave free on the file system.
    #[serde(with = "Size")]
    pub free_bytes_min: u64,
    /// How long delivered events are kept in the log. They are removed earlier when space runs short.
    // The window is rebuilt from them at the start, so they are kept as long as it is if that is longer.
    #[serde(with = "Period")]
    #[schemars(extend("formatMaximum" = "87600h"))]
    pub retain: Duration,
    /// Size at which a segment of the log is closed and the next one begun.
    // [`segment_bytes`] makes it shorter in a small spool.
    #[serde(with = "Size")]
    pub segment_bytes: u64,
    /// Whether the file of a segment that was removed is written over by the next one, which is faster. Else
    /// the bytes of removed events are free at once.
    // It pays where a file system writes in place: elsewhere it is not done.
    pub recycle_segments: bool,
    /// How many deliveries are recognised as duplicates, and for how long.
    pub duplicates: DuplicatesOptions,
    /// Bytes of the newest entries to keep in memory for readers.
    #[serde(skip)]
    pub tail_bytes_max: usize,
    /// How long the disk can take to answer: `limits.ack_timeout`. While it takes longer, nothing can be
    /// stored.
    #[serde(skip)]
    pub answer_within: Duration,
}

impl Default for SpoolOptions {
    fn default() -> Self {
        Self {
            dir: DIR.into(),
            bytes_max: 20 << 30,
            free_bytes_min: 1 << 30,
            retain: Duration::from_secs(86_400),
            segment_bytes: 64 << 20,
            recycle_segments: true,
            duplicates: DuplicatesOptions::default(),
            tail_bytes_max: TAIL_BYTES_MAX,
            answer_within: Duration::from_secs(5),
        }
    }
}

/// The size at which a spool with this bound closes a segment: the configured size, or less.
pub fn segment_bytes(asked_for: u64, bytes_max: u64) -> u64 {
    asked_for.min(bytes_max / SEGMENTS_MIN)
}
