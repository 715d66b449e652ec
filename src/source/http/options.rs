//! The public listener's address, its TLS files, and the limits for senders: the blocks `http` and `limits`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ADMIN_CONNECTIONS_MAX;
use crate::provider::BodyLimits;
use crate::provider::diagnose::DeliverySizes;
use crate::scalars::{Address, Period, Size};
use crate::spool::options::BODY_BYTES_MAX as STORED_BYTES_MAX;

/// The least bound on bodies, in bytes. Events are larger.
pub const BODY_BYTES_LEAST: u64 = 1 << 10;

/// The public listener.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HttpOptions {
    /// IP address and port to listen on.
    #[serde(with = "Address")]
    pub listen: SocketAddr,
    /// Whether other processes of the same user may listen on the same address: the system deals connections
    /// out among them.
    pub reuse_port: bool,
    /// Certificate and key for TLS without a proxy in front.
    pub tls: Option<TlsOptions>,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self { listen: (Ipv4Addr::LOCALHOST, 8080).into(), reuse_port: false, tls: None }
    }
}

/// A server's certificate and key, as paths of PEM files.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["certificate", "key"]))]
pub struct TlsOptions {
    /// The certificate chain, the server's own certificate first.
    #[serde(skip_serializing_if = "is_absent")]
    pub certificate: PathBuf,
    /// The private key.
    #[serde(skip_serializing_if = "is_absent")]
    pub key: PathBuf,
}

fn is_absent(path: &Path) -> bool {
    path.as_os_str().is_empty()
}

/// Limits for senders.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Largest body as sent; a larger one is answered 413.
    #[serde(with = "Size")]
    #[schemars(range(min = BODY_BYTES_LEAST, max = STORED_BYTES_MAX))]
    pub body_bytes_max: usize,
    /// Largest body after decompression.
    #[serde(with = "Size")]
    #[schemars(range(min = BODY_BYTES_LEAST, max = STORED_BYTES_MAX))]
    pub inflated_bytes_max: usize,
    /// Largest ratio of decompressed to sent bytes, for bodies above 64 KiB after decompression.
    // No compression exceeds the bound.
    #[schemars(range(min = 1, max = 1100))]
    pub inflate_ratio_max: usize,
    /// How long a request's headers can take.
    // A TLS handshake can take as long.
    #[serde(with = "Period")]
    #[schemars(extend("formatMinimum" = "1ms", "formatMaximum" = "24h"))]
    pub header_timeout: Duration,
    /// How long a request's body can take.
    #[serde(with = "Period")]
    #[schemars(extend("formatMinimum" = "1ms", "formatMaximum" = "24h"))]
    pub body_timeout: Duration,
    /// Slowest rate of a body, in bytes per second, measured after its first second.
    #[serde(with = "Size")]
    #[schemars(range(max = 1_u64 << 30))]
    pub body_bytes_per_second_min: usize,
    /// How long an idle connection is kept after a successful request.
    // A peer can take as long to read an answer.
    #[serde(with = "Period")]
    #[schemars(extend("formatMinimum" = "1ms", "formatMaximum" = "24h"))]
    pub idle_timeout: Duration,
    /// How long a delivery waits for the disk before it is answered 503.
    #[serde(with = "Period")]
    #[schemars(extend("formatMinimum" = "1ms", "formatMaximum" = "24h"))]
    pub ack_timeout: Duration,
    /// Most open connections.
    // Further ones wait in the system's backlog, and one of them in this process.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub connections_max: usize,
    /// Most open connections from one address.
    // An IPv6 address stands for its /64. Further connections are closed at once.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub connections_per_address_max: usize,
    /// Most bytes of bodies in memory at once; above it, deliveries are answered 503.
    #[serde(with = "Size")]
    #[schemars(range(min = BODY_BYTES_LEAST, max = 1_u64 << 40))]
    pub in_flight_bytes_max: usize,
    /// Largest body of any source after decompression, in bytes. It follows from the other keys.
    #[serde(skip)]
    pub largest_body_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        let inflated_bytes_max = 16 << 20;
        Self {
            body_bytes_max: 2 << 20,
            inflated_bytes_max,
            inflate_ratio_max: 200,
            header_timeout: Duration::from_secs(5),
            body_timeout: Duration::from_secs(10),
            body_bytes_per_second_min: 1 << 10,
            idle_timeout: Duration::from_secs(75),
            ack_timeout: Duration::from_secs(5),
            connections_max: 4096,
            connections_per_address_max: 1024,
            in_flight_bytes_max: 256 << 20,
            largest_body_bytes: inflated_bytes_max,
        }
    }
}

impl Limits {
    /// The limits on decompression, for bodies from every kind of source.
    pub fn body_limits(&self) -> BodyLimits {
        BodyLimits { inflated_bytes_max: self.inflated_bytes_max, inflate_ratio_max: self.inflate_ratio_max }
    }

    /// The bounds of the bodies of a webhook source with this `body_bytes_max`. A body that is allowed plain
    /// is allowed compressed as well.
    pub fn sizes_of(&self, body_bytes_max: Option<usize>) -> DeliverySizes {
        let sent_bytes_max = body_bytes_max.unwrap_or(self.body_bytes_max);
        let limits = self.body_limits();
        let inflated_bytes_max = limits.inflated_bytes_max.max(sent_bytes_max);
        DeliverySizes { sent_bytes_max, inflate: BodyLimits { inflated_bytes_max, ..limits } }
    }

    /// The limits of the private listener. Strangers do not reach it, so one address can have all of its
    /// connections, and they are not taken from those of the public listener.
    pub fn private(self) -> Self {
        let connections_max = ADMIN_CONNECTIONS_MAX;
        Self { connections_max, connections_per_address_max: connections_max, ..self }
    }
}
