//! Why the bridge could not start, or stopped by itself.

use std::net::SocketAddr;

use super::ending::{had_to_stop, named};
use crate::dispatch::DispatchError;
use crate::sink::file::UnusableDirectory;
use crate::source::http::tls::TlsError;
use crate::source::sns::TrustError;
use crate::spool::{MissingSegment, ReadError, SpoolError};
use crate::state::StateError;

/// Why the bridge could not start, or stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// The log cannot be opened.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The state cannot be opened, read or written.
    #[error(transparent)]
    State(#[from] StateError),
    /// The log cannot be searched for the moment with which a new sink begins.
    #[error("a new sink has a moment in `from`, and the log cannot be searched for it")]
    From(#[source] ReadError),
    /// A listener cannot be bound.
    #[error("cannot listen on {address}")]
    Listen {
        /// The configured address.
        address: SocketAddr,
        /// The system's error.
        source: std::io::Error,
    },
    /// The certificate or key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// An SNS source is configured and no certificate authority is trusted.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// A sink cannot be made from its configuration.
    #[error("sink `{name}` cannot be made")]
    Sink {
        /// The sink's name.
        name: String,
        /// What is wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The directory of a file sink is in use by another sink, mostly of another process.
    #[error("sink `{name}` cannot be made")]
    SinkInUse {
        /// The sink's name.
        name: String,
        /// The directory, and what uses it.
        source: UnusableDirectory,
    },
    /// The cryptography refuses its own defaults.
    #[error("no connection with TLS can be made")]
    Cryptography(#[source] rustls::Error),
    /// A sink has yet to carry out the change before.
    #[error(
        "sink `{name}` has not ended yet as the configuration before has it: it delivers what is left for \
         it; try again in a moment"
    )]
    SinkStillChanging {
        /// The sink's name.
        name: String,
    },
    /// A dispatcher ended.
    #[error(transparent)]
    Dispatch(#[from] DispatchError),
    /// The disk failed, and the log is not trusted until it was recovered.
    #[error(
        "the spool failed: {0}; no delivery is acknowledged any more, restart to recover what is durable"
    )]
    SpoolFailed(String),
    /// What the spool held is somewhere else. The next start would begin without it, so a person has to move
    /// it first.
    #[error("the spool failed: {0}")]
    Misplaced(String),
    /// A file of the log was taken away with events that a sink waits for. The next start would skip them, so
    /// a person has to decide.
    #[error(
        "{segment}, and {} has not got past them: put the file back as it was and start again, or start \
         without it, which gives those events up",
        named(.waiting)
    )]
    SegmentMissing {
        /// The segment, with the positions that are gone with it.
        segment: MissingSegment,
        /// The sinks that wait for them, as far as they are known.
        waiting: Vec<String>,
    },
    /// A part did not stop in time, so the bridge ended without waiting for it.
    #[error("{what}{}", had_to_stop(.first))]
    Hangs {
        /// The part, and what its delay means.
        what: String,
        /// The error that made the bridge stop, unless it was told to.
        #[source]
        first: Option<Box<Self>>,
    },
    /// The running bridge has not given its listening sockets, and goes on.
    #[error("the running bridge has not handed over its listening sockets, and goes on: {0}")]
    NotHandedOver(String),
    /// The process that has taken the listening sockets ended before this one.
    #[error(
        "the process that has taken the listening sockets over has ended, so that no bridge runs: start the \
         bridge again"
    )]
    TakerGone,
    /// A part panicked, which is a fault of the bridge. The log has the panic.
    #[error("{0} broke down, so the bridge stops; no acknowledged event is lost: start the bridge again")]
    BrokeDown(&'static str),
}
