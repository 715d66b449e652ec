//! The configuration file as written: one type per block, with the default of every key.
//!
//! These types only define the form; [`load()`](super::load()) checks whether the values make sense
//! together. The JSON Schema is generated from these types, and `shape` checks a text against that
//! schema, so that a key is defined in one place. Required values are `Option`s here, so that a file
//! that lacks one can still be read and all its problems be reported at once.

mod aws;
mod sink;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::scalars::{Address, Period, Size};
use crate::reference::Reference;
pub use aws::*;
pub use sink::*;

/// A map by name, in the order of the names.
pub type ByName<T> = BTreeMap<String, T>;

/// The whole file.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "fanbridge configuration")]
pub struct ConfigFile {
    /// The public listener, where providers deliver.
    pub http: HttpFile,
    /// The admin listener: health, metrics and the admin API.
    pub admin: AdminFile,
    /// Limits for senders.
    pub limits: LimitsFile,
    /// The log on disk between sources and sinks.
    pub spool: SpoolFile,
    /// How long a shutdown can take before it is cut short, in seconds.
    #[schemars(range(min = 1, max = 3600))]
    pub shutdown_grace_seconds: Grace,
    /// How sources and sinks reach AWS.
    pub aws: AwsFile,
    /// Definitions of further providers, in the form of the built-in ones.
    pub providers: ByName<ProviderFile>,
    /// The sources, by name; the name is part of the path, `/in/{name}`. At least one is required.
    pub sources: ByName<SourceFile>,
    /// The event types that the bridge accepts.
    pub select: SelectFile,
    /// The sinks, by name. If there is none, a file sink named `local` is used.
    pub sinks: ByName<SinkFile>,
}

/// A number of whole seconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct Grace(pub u64);

impl Default for Grace {
    fn default() -> Self {
        Self(30)
    }
}

/// A provider's definition as written, whose form is defined in [`crate::provider`].
pub type ProviderFile = crate::provider::DefinitionFile;

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
        Self { listen: Address(([127, 0, 0, 1], 8080).into()), tls: None }
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
        Self { listen: Address(([127, 0, 0, 1], 9090).into()), token: None }
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
    #[schemars(range(min = 1, max = 1100))]
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
    #[schemars(range(min = 1, max = 1_000_000))]
    pub connections_max: usize,
    /// Most open connections from one address.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub connections_per_address_max: usize,
    /// Most bytes of bodies in memory at once; above it, deliveries are answered 503.
    pub in_flight_bytes_max: Size,
}

impl Default for LimitsFile {
    fn default() -> Self {
        Self {
            body_bytes_max: Size(2 << 20),
            inflated_bytes_max: Size(16 << 20),
            inflate_ratio_max: 200,
            header_timeout: seconds(5),
            body_timeout: seconds(10),
            body_bytes_per_second_min: Size(1 << 10),
            idle_timeout: seconds(75),
            ack_timeout: seconds(5),
            connections_max: 4096,
            connections_per_address_max: 1024,
            in_flight_bytes_max: Size(256 << 20),
        }
    }
}

pub(super) const fn seconds(count: u64) -> Period {
    Period(std::time::Duration::from_secs(count))
}

/// The log on disk and its limits.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SpoolFile {
    /// The spool's directory, which one process uses at a time.
    pub dir: String,
    /// Most bytes on disk; above it, deliveries are answered 503 and none is lost.
    pub bytes_max: Size,
    /// Bytes to leave free on the file system.
    pub free_bytes_min: Size,
    /// How long delivered events are kept in the log. They are removed earlier when space runs short.
    pub retain: Period,
    /// Size at which a segment of the log is closed and the next one begun.
    pub segment_bytes: Size,
    /// How many deliveries are recognised as duplicates, and for how long.
    pub duplicates: DuplicatesFile,
}

impl Default for SpoolFile {
    fn default() -> Self {
        Self {
            dir: "fanbridge-data".into(),
            bytes_max: Size(20 << 30),
            free_bytes_min: Size(1 << 30),
            retain: seconds(86_400),
            segment_bytes: Size(64 << 20),
            duplicates: DuplicatesFile::default(),
        }
    }
}

/// The duplicate window.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DuplicatesFile {
    /// How long a delivery is recognised as a duplicate.
    pub window: Period,
    /// Most events that are remembered, at about 24 bytes of memory each.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub events_max: usize,
    /// Reference to the URL of a Redis (7.0 or later) or Valkey server in which replicas share a
    /// second window: `redis://[user:password@]host[:port][/database]`, or `rediss://` for TLS. All
    /// bridges with the same server, database and prefix must be replicas of each other.
    pub redis: Option<Reference>,
    /// Prefix of the keys in Redis. A bridge that publishes elsewhere needs another prefix.
    pub redis_prefix: String,
}

impl Default for DuplicatesFile {
    fn default() -> Self {
        Self {
            window: seconds(86_400),
            events_max: 2_000_000,
            redis: None,
            redis_prefix: "fanbridge:".into(),
        }
    }
}

/// A source of deliveries.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceFile {
    /// A built-in provider or one of `providers`.
    #[schemars(required)]
    pub provider: Option<String>,
    /// The provider's application. Sources with the same provider and app share event ids and
    /// duplicate window.
    #[serde(default = "default_app")]
    pub app: String,
    /// The valid signing secrets; list the old and the new one while a secret is replaced. A file is
    /// read again while the bridge runs, and its former secret is accepted for 10 more minutes, or
    /// until its `not_after`.
    #[serde(default)]
    pub secrets: Vec<SecretEntryFile>,
    /// Largest body of this source as sent, if its provider sends larger ones than `limits` allows. The
    /// limit after decompression is then at least as large.
    pub body_bytes_max: Option<Size>,
    /// Receive deliveries from an SQS queue instead of over HTTP.
    pub sqs: Option<SqsFile>,
    /// Receive deliveries from SNS topics instead of from the provider.
    pub sns: Option<SnsSourceFile>,
    /// Event types that this source sends beyond its provider's catalogue, so that `select` can name
    /// them. If the provider states types in a header, they also make one body under two types two
    /// events.
    #[serde(default)]
    pub custom_types: Vec<String>,
}

fn default_app() -> String {
    "default".into()
}

/// A signing secret, with or without a period of validity.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum SecretEntryFile {
    /// Valid as long as it is listed.
    Always(Reference),
    /// Valid within a period.
    Dated(DatedSecretFile),
}

/// A signing secret and its period of validity.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DatedSecretFile {
    /// Reference to the secret.
    #[schemars(required)]
    pub secret: Option<Reference>,
    /// First moment at which the secret is valid, in RFC 3339.
    pub not_before: Option<String>,
    /// Last moment at which the secret is valid, in RFC 3339.
    pub not_after: Option<String>,
}

/// `all`, or a list of exact event types, which keeps out types that do not exist yet.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum SelectFile {
    /// Every event.
    Every(Everything),
    /// Exactly these event types.
    Only(Vec<String>),
}

impl Default for SelectFile {
    fn default() -> Self {
        Self::Every(Everything::All)
    }
}

/// The word `all`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Everything {
    /// Every event, also of types that do not exist yet.
    All,
}
