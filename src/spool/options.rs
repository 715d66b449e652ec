//! What bounds a spool.

use std::time::Duration;

use crate::knob::Knob;

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

/// The directory, unless another one is configured.
pub const DIR: &str = "fanbridge-data";

/// Most bytes on disk. The bound is above what any file system takes.
pub const BYTES_MAX: Knob<u64> = Knob { key: "bytes_max", default: 20 << 30, least: 0, most: 1 << 60 };

/// Bytes to leave free on the file system.
pub const FREE_BYTES_MIN: Knob<u64> =
    Knob { key: "free_bytes_min", default: 1 << 30, least: 0, most: u64::MAX };

/// How long delivered events are kept.
pub const RETAIN: Knob<Duration> =
    Knob { key: "retain", default: DAY, least: Duration::ZERO, most: KEPT_LONGEST };

/// Size at which a segment is closed. [`segment_bytes`] makes it shorter in a small spool.
pub const SEGMENT_BYTES: Knob<u64> =
    Knob { key: "segment_bytes", default: 64 << 20, least: 0, most: u64::MAX };

/// How long a delivery is recognised as a duplicate.
pub const WINDOW: Knob<Duration> =
    Knob { key: "window", default: DAY, least: Duration::ZERO, most: KEPT_LONGEST };

/// Most keys that the duplicate window remembers, at about 24 bytes of memory each.
pub const WINDOW_EVENTS_MAX: Knob<usize> =
    Knob { key: "events_max", default: 2_000_000, least: 1, most: 1_000_000_000 };

const DAY: Duration = Duration::from_secs(86_400);

/// Longest time for which events and duplicates are kept: ten years.
const KEPT_LONGEST: Duration = Duration::from_secs(3_650 * 86_400);

/// The bounds of a spool.
#[derive(Clone, Debug)]
pub struct SpoolOptions {
    /// Most bytes of the segments and the owner's other files together.
    pub bytes_max: u64,
    /// Bytes to leave free on the file system.
    pub free_bytes_min: u64,
    /// Size at which a segment is closed and the next one begun, in bytes.
    pub segment_bytes: u64,
    /// How long delivered entries are kept, if that is longer than `window`, which is rebuilt from them at
    /// the start. Both yield when space runs short.
    pub retain: Duration,
    /// How long a delivery is recognised as a duplicate.
    pub window: Duration,
    /// Most keys that the duplicate window remembers.
    pub window_events_max: usize,
    /// Bytes of the newest entries to keep in memory for readers.
    pub tail_bytes_max: usize,
    /// How long the disk can take to answer. While it takes longer, nothing can be stored.
    pub answer_within: Duration,
}

/// The size at which a spool with this bound closes a segment: the configured size, or less.
pub fn segment_bytes(asked_for: u64, bytes_max: u64) -> u64 {
    asked_for.min(bytes_max / SEGMENTS_MIN)
}
