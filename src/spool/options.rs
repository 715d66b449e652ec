//! What bounds a spool.

use std::time::Duration;

/// Longest entry, in encoded bytes: far beyond any body that a source accepts.
pub const RECORD_BYTES_MAX: usize = 64 << 20;

/// Fewest segments that a spool has room for. Of a few large segments none is ever wholly delivered, so
/// none could be pruned.
pub const SEGMENTS_MIN: u64 = 8;

/// Bytes of the newest records that are kept in memory for readers.
pub const TAIL_BYTES_MAX: usize = 8 << 20;

/// The bounds of a spool.
#[derive(Clone, Debug)]
pub struct SpoolOptions {
    /// Most bytes of the segments and the owner's other files together.
    pub bytes_max: u64,
    /// Bytes to leave free on the file system.
    pub free_bytes_min: u64,
    /// Size at which a segment is closed and the next one begun, in bytes.
    pub segment_bytes: u64,
    /// How long delivered records are kept. They are pruned earlier when space runs short, but not kept
    /// for less than `window`, which is rebuilt from them at the start.
    pub retain: Duration,
    /// How long a delivery is recognised as a duplicate.
    pub window: Duration,
    /// Most keys that the duplicate window remembers.
    pub window_events_max: usize,
    /// Bytes of the newest records to keep in memory for readers.
    pub tail_bytes_max: usize,
    /// How long the disk can take to answer. While it takes longer, nothing can be stored.
    pub answer_within: Duration,
}

/// The size at which a spool with this bound closes a segment: the configured size, or less.
pub fn segment_bytes(asked_for: u64, bytes_max: u64) -> u64 {
    asked_for.min(bytes_max / SEGMENTS_MIN)
}
