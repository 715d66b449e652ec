//! Where the private listener is, and who may ask it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use secrecy::SecretString;

/// The address, unless another one is configured.
pub const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9090);

/// Least length of each token in bytes: 128 bits.
pub const TOKEN_BYTES_MIN: usize = 16;

/// The admin listener: health, metrics and the admin API.
#[derive(Clone, Debug)]
pub struct AdminOptions {
    /// IP address and port to listen on; loopback by default.
    pub listen: SocketAddr,
    /// The bearer token that requests must have. Required if `listen` is not loopback.
    pub token: Option<SecretString>,
    /// The bearer token with which `/metrics` is read, and nothing else. Another one than `token`.
    pub metrics_token: Option<SecretString>,
    /// Names of this machine, beside its addresses and `localhost`, by which the listener is asked; in lower
    /// case.
    pub hosts: Vec<String>,
    /// Whether bodies of events are shown to whoever has the token.
    pub show_payloads: bool,
    /// Whether bodies without a signature are taken in from whoever has the token. `None` takes them in if
    /// the listener is on loopback.
    pub import: Option<bool>,
}
