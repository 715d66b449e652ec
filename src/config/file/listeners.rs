//! The blocks of both listeners, and the limits of the public one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::admin;
use crate::config::yaml::scalars::{Address, Period, Size};
use crate::reference::Reference;
use crate::source::http::options::{self as limits, CONNECTIONS_PER_ADDRESS_MAX};

/// The public listener.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HttpFile {
    /// IP address and port to listen on.
    pub listen: Address,
    /// Certificate and key for TLS without a proxy in front.
    pub tls: Option<TlsFile>,
}

impl Default for HttpFile {
    fn default() -> Self {
        Self { listen: Address(limits::LISTEN), tls: None }
    }
}

/// A server's certificate and key, as paths of PEM files.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsFile {
    /// The certificate chain, the server's own certificate first.
    #[schemars(required)]
    pub certificate: Option<String>,
    /// The private key.
    #[schemars(required)]
    pub key: Option<String>,
}

/// The private listener.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AdminFile {
    /// IP address and port to listen on. An address other than loopback needs a token.
    pub listen: Address,
    /// The bearer token that requests must have; at least 16 bytes.
    pub token: Option<Reference>,
}

impl Default for AdminFile {
    fn default() -> Self {
        Self { listen: Address(admin::options::LISTEN), token: None }
    }
}

/// Limits for senders.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsFile {
    /// Largest body as sent; a larger one is answered 413.
    pub body_bytes_max: Size,
    /// Largest body after decompression.
    pub inflated_bytes_max: Size,
    /// Largest ratio of decompressed to sent bytes, for bodies above 64 KiB after decompression.
    #[schemars(range(min = limits::INFLATE_RATIO_MAX.least, max = limits::INFLATE_RATIO_MAX.most))]
    pub inflate_ratio_max: usize,
    /// How long a request's headers can take.
    pub header_timeout: Period,
    /// How long a request's body can take.
    pub body_timeout: Period,
    /// Slowest rate of a body, in bytes per second, measured after its first second.
    pub body_bytes_per_second_min: Size,
    /// How long an idle connection is kept after a successful request.
    pub idle_timeout: Period,
    /// How long a delivery waits for the disk before it is answered 503.
    pub ack_timeout: Period,
    /// Most open connections.
    #[schemars(range(min = limits::CONNECTIONS_MAX.least, max = limits::CONNECTIONS_MAX.most))]
    pub connections_max: usize,
    /// Most open connections from one address.
    #[schemars(range(min = CONNECTIONS_PER_ADDRESS_MAX.least, max = CONNECTIONS_PER_ADDRESS_MAX.most))]
    pub connections_per_address_max: usize,
    /// Most bytes of bodies in memory at once; above it, deliveries are answered 503.
    pub in_flight_bytes_max: Size,
}

impl Default for LimitsFile {
    fn default() -> Self {
        Self {
            body_bytes_max: Size(limits::BODY_BYTES_MAX.default),
            inflated_bytes_max: Size(limits::INFLATED_BYTES_MAX.default),
            inflate_ratio_max: limits::INFLATE_RATIO_MAX.default,
            header_timeout: Period(limits::HEADER_TIMEOUT.default),
            body_timeout: Period(limits::BODY_TIMEOUT.default),
            body_bytes_per_second_min: Size(limits::BODY_BYTES_PER_SECOND_MIN.default),
            idle_timeout: Period(limits::IDLE_TIMEOUT.default),
            ack_timeout: Period(limits::ACK_TIMEOUT.default),
            connections_max: limits::CONNECTIONS_MAX.default,
            connections_per_address_max: CONNECTIONS_PER_ADDRESS_MAX.default,
            in_flight_bytes_max: Size(limits::IN_FLIGHT_BYTES_MAX.default),
        }
    }
}
