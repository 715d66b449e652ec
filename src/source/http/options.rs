//! The configuration of the public listener: its address, its TLS files and its limits.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::provider::BodyLimits;

/// The public listener and its limits.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// IP address and port to listen on.
    pub listen: SocketAddr,
    /// Certificate chain and key, if the listener uses TLS.
    pub tls: Option<TlsOptions>,
    /// Largest body as sent, in bytes.
    pub body_bytes_max: usize,
    /// Largest body after decompression, in bytes.
    pub inflated_bytes_max: usize,
    /// Largest ratio of decompressed to sent bytes, for bodies above 64 KiB after decompression.
    pub inflate_ratio_max: usize,
    /// How long a request's headers can take.
    pub header_timeout: Duration,
    /// How long a request's body can take.
    pub body_timeout: Duration,
    /// Slowest rate of a body in bytes per second, measured after its first second.
    pub body_bytes_per_second_min: usize,
    /// How long an idle connection is kept.
    pub idle_timeout: Duration,
    /// How long a delivery waits for the disk before it is answered 503.
    pub ack_timeout: Duration,
    /// Most open connections.
    pub connections_max: usize,
    /// Most open connections from one address.
    pub connections_per_address_max: usize,
    /// Most bytes of bodies in memory at once; above it, deliveries are answered 503.
    pub in_flight_bytes_max: usize,
    /// Largest body of any source after decompression, in bytes.
    pub largest_body_bytes: usize,
}

impl HttpOptions {
    /// The limits on decompression, for bodies from every kind of source.
    pub fn body_limits(&self) -> BodyLimits {
        BodyLimits { inflated_bytes_max: self.inflated_bytes_max, inflate_ratio_max: self.inflate_ratio_max }
    }
}

/// The files of the server's certificate and key.
#[derive(Clone, Debug)]
pub struct TlsOptions {
    /// PEM file with the certificate chain, the server's own first.
    pub certificate: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
}
