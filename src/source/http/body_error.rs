//! Why a request has no body for its source.

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source) enum BodyError {
    /// The body is larger than `bytes_max`.
    TooLarge,
    /// The body arrives more slowly than `bytes_per_second_min`, or not within `timeout`.
    TooSlow,
    /// The budget has too few bytes left.
    NoMemory,
    /// The strangers' part of the budget has too few bytes left, and the peer is a stranger.
    NoMemoryForStrangers,
    /// The peer went away, or its chunks are malformed.
    Broken,
}
