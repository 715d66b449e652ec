//! Where the private listener is, and who may ask it.

use std::net::SocketAddr;

use secrecy::SecretString;

/// The admin listener: health, metrics and the admin API.
#[derive(Clone, Debug)]
pub struct AdminOptions {
    /// IP address and port to listen on; loopback by default.
    pub listen: SocketAddr,
    /// The bearer token that requests must have. Required if `listen` is not loopback.
    pub token: Option<SecretString>,
}
