//! The options of the shared window: its server, and how long an append waits for it.

use std::time::Duration;

use super::Server;

/// Longest prefix of the keys, in bytes.
pub const PREFIX_BYTES_MAX: usize = 64;

/// The duplicate window that replicas share.
#[derive(Clone, Debug)]
pub struct SharedWindowOptions {
    /// The Redis server with the window.
    pub server: Server,
    /// The prefix of the keys' names in the server.
    pub prefix: String,
    /// How long a delivery is recognised as a duplicate.
    pub window: Duration,
    /// How long a delivery can take to be answered; the wait for the server is a part of it.
    pub ack_timeout: Duration,
}
