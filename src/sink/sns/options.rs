//! Which region is published to, and how much at once.

use crate::knob::Knob;

/// Most requests at once.
pub const REQUESTS_MAX: Knob<usize> = Knob { key: "requests_max", default: 16, least: 1, most: 256 };

/// Largest message, attributes included. The default is the limit of SNS on a topic, and the greatest
/// bound that of a topic whose limit was raised.
pub const MESSAGE_BYTES_MAX: Knob<u64> =
    Knob { key: "message_bytes_max", default: 256 << 10, least: 1 << 10, most: 1 << 20 };

/// A sink of SNS topics.
#[derive(Clone, Debug)]
pub struct SnsSinkOptions {
    /// The region that their ARNs name.
    pub region: String,
    /// Most requests at once.
    pub requests_max: usize,
    /// Largest message in bytes, attributes included.
    pub message_bytes_max: usize,
}
