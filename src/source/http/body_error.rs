//! Why a request has no body for its source.

/// Why a body was not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source) enum BodyError {
    /// Larger than allowed.
    TooLarge,
    /// Arrives too slowly.
    TooSlow,
    /// No memory for it now.
    NoMemory,
    /// No memory for one who may be anybody.
    NoMemoryForStrangers,
    /// The peer went away, or its chunks make no sense.
    Broken,
}
