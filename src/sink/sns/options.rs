//! Which region is published to, and how much at once.

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
