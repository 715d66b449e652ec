//! The configuration of the public listener: its address, its TLS files and its limits.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::knob::Knob;
use crate::provider::BodyLimits;
use crate::spool::options::BODY_BYTES_MAX as STORED_BYTES_MAX;

/// The address, unless another one is configured.
pub const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// Largest body as sent. Events are larger than the least bound.
pub const BODY_BYTES_MAX: Knob<u64> =
    Knob { key: "body_bytes_max", default: 2 << 20, least: 1 << 10, most: STORED_BYTES_MAX };

/// Largest body after decompression, which must fit into a record of the spool.
pub const INFLATED_BYTES_MAX: Knob<u64> =
    Knob { key: "inflated_bytes_max", default: 16 << 20, least: 1 << 10, most: STORED_BYTES_MAX };

/// Largest ratio of decompressed to sent bytes. No compression exceeds the greatest bound.
pub const INFLATE_RATIO_MAX: Knob<usize> =
    Knob { key: "inflate_ratio_max", default: 200, least: 1, most: 1100 };

/// How long a request's headers can take.
pub const HEADER_TIMEOUT: Knob<Duration> = timeout("header_timeout", 5);

/// How long a request's body can take.
pub const BODY_TIMEOUT: Knob<Duration> = timeout("body_timeout", 10);

/// Slowest rate of a body, in bytes per second.
pub const BODY_BYTES_PER_SECOND_MIN: Knob<u64> =
    Knob { key: "body_bytes_per_second_min", default: 1 << 10, least: 0, most: 1 << 30 };

/// How long an idle connection is kept.
pub const IDLE_TIMEOUT: Knob<Duration> = timeout("idle_timeout", 75);

/// How long a delivery waits for the disk, and for a shared duplicate window.
pub const ACK_TIMEOUT: Knob<Duration> = timeout("ack_timeout", 5);

/// Most open connections.
pub const CONNECTIONS_MAX: Knob<usize> =
    Knob { key: "connections_max", default: 4096, least: 1, most: 1_000_000 };

/// Most open connections from one address.
pub const CONNECTIONS_PER_ADDRESS_MAX: Knob<usize> =
    Knob { key: "connections_per_address_max", default: 1024, least: 1, most: 1_000_000 };

/// Most bytes of bodies in memory at once. The greatest bound is above what any machine has.
pub const IN_FLIGHT_BYTES_MAX: Knob<u64> =
    Knob { key: "in_flight_bytes_max", default: 256 << 20, least: 1 << 10, most: 1 << 40 };

/// A wait for a peer or a disk: not zero, and a day at most.
const fn timeout(key: &'static str, default_seconds: u64) -> Knob<Duration> {
    Knob {
        key,
        default: Duration::from_secs(default_seconds),
        least: Duration::from_millis(1),
        most: Duration::from_secs(86_400),
    }
}

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
