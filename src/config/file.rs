//! The configuration as written: one type per block, every key with its default.
//!
//! Only forms are settled here; whether the values make sense together is [`load()`](super::load())'s
//! business. The JSON Schema is made from these types, and `shape` checks a text against
//! that schema, so a key exists in one place. Required values are optional here, so that a file
//! that lacks one can still be read on and all of its problems be reported at once.

mod aws;
mod sink;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text::{Address, Period, Reference, Size};
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
    /// The private listener: health, metrics, the admin API.
    pub admin: AdminFile,
    /// Bounds on what a sender may do.
    pub limits: LimitsFile,
    /// The log on disk between sources and sinks.
    pub spool: SpoolFile,
    /// How long a shutdown may take before it is cut short.
    #[schemars(range(min = 1, max = 3600))]
    pub shutdown_grace_seconds: Grace,
    /// How AWS is reached.
    pub aws: AwsFile,
    /// Definitions of more providers, in the form of the built-in ones.
    pub providers: ByName<ProviderFile>,
    /// Where events come from, by name; the name is part of the path, `/in/{name}`. At least one.
    pub sources: ByName<SourceFile>,
    /// Which event types pass at all.
    pub select: SelectFile,
    /// Where events go, by name. Without any, one file sink named `local` is used.
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

/// A provider's definition, kept as written; [`crate::provider`] knows its form.
pub type ProviderFile = crate::provider::DefinitionFile;

/// The public listener.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HttpFile {
    /// Where to listen.
    pub listen: Address,
    /// Certificate and key, to speak TLS without a proxy in front.
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
    /// The certificate chain, the server's own first.
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
    /// Where to listen. Anything but loopback needs a token.
    pub listen: Address,
    /// The bearer token that is asked for; at least 16 bytes.
    pub token: Option<Reference>,
}

impl Default for AdminFile {
    fn default() -> Self {
        Self { listen: Address(([127, 0, 0, 1], 9090).into()), token: None }
    }
}

/// Bounds on what a sender may do.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsFile {
    /// The largest body on the wire; a larger one is answered 413.
    pub body_bytes_max: Size,
    /// The largest body after inflating.
    pub inflated_bytes_max: Size,
    /// The largest inflated-to-wire ratio, for bodies that inflate beyond 64 KiB.
    #[schemars(range(min = 1, max = 1100))]
    pub inflate_ratio_max: usize,
    /// How long a request's headers may take.
    pub header_timeout: Period,
    /// How long a request's body may take.
    pub body_timeout: Period,
    /// The slowest rate at which a body may arrive, in bytes per second after its first second.
    pub body_bytes_per_second_min: Size,
    /// How long an idle connection is kept whose last request was granted.
    pub idle_timeout: Period,
    /// How long a delivery may wait for the disk before it is answered 503.
    pub ack_timeout: Period,
    /// Open connections in all.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub connections_max: usize,
    /// Open connections from one address.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub connections_per_address_max: usize,
    /// Bytes of bodies in memory at once; beyond it deliveries are answered 503.
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

/// The log on disk and its bounds.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SpoolFile {
    /// The directory; one process owns it.
    pub dir: String,
    /// Bytes the spool may use; at the bound deliveries are answered 503, none is dropped.
    pub bytes_max: Size,
    /// Bytes to leave free on the file system.
    pub free_bytes_min: Size,
    /// How long delivered events are kept in the log; they give way when space runs short.
    pub retain: Period,
    /// The size at which a segment is closed and a new one begun.
    pub segment_bytes: Size,
    /// How long and how many deliveries are recognised as duplicates.
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
    /// How long a delivery is recognised.
    pub window: Period,
    /// How many events are remembered, about 24 bytes of memory each.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub events_max: usize,
    /// Where the URL is kept of a Redis (7.0 or later) or Valkey server in which replicas share a
    /// window beside their own: `redis://[user:password@]host[:port][/database]`, or `rediss://`
    /// for TLS. All that use one server, database and prefix must be replicas of one bridge.
    pub redis: Option<Reference>,
    /// What the names of its keys begin with; a bridge that sends elsewhere needs another.
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

/// One way in.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceFile {
    /// A built-in provider or one of `providers`.
    #[schemars(required)]
    pub provider: Option<String>,
    /// The provider's application: sources that share it share identity and duplicate window.
    #[serde(default = "default_app")]
    pub app: String,
    /// The live signing secrets; several while one is being replaced. A file is read again while the bridge
    /// runs, and what it held before is taken for 10 minutes more, or until its `not_after`.
    #[serde(default)]
    pub secrets: Vec<SecretFile>,
    /// The largest body of this source's on the wire, where its provider sends more than others; by
    /// default what `limits` says. It may become as large by inflating, too.
    pub body_bytes_max: Option<Size>,
    /// Deliveries come from an SQS queue instead of over HTTP.
    pub sqs: Option<SqsFile>,
    /// Deliveries come from SNS topics instead of from the provider.
    pub sns: Option<SnsSourceFile>,
    /// Types this source sends beyond its provider's catalogue, so that `select` may name them; of a
    /// provider that states types in a header, also so that one body under two of them is two events.
    #[serde(default)]
    pub custom_types: Vec<String>,
}

fn default_app() -> String {
    "default".into()
}

/// A signing secret, alone or with the time in which it is valid.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum SecretFile {
    /// Valid as long as it is listed.
    Always(Reference),
    /// Valid for a time.
    Dated(DatedSecretFile),
}

/// A signing secret and the time in which it is valid.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DatedSecretFile {
    /// Where the secret is kept.
    #[schemars(required)]
    pub secret: Option<Reference>,
    /// The first moment it holds, RFC 3339.
    pub not_before: Option<String>,
    /// The first moment it no longer holds, RFC 3339.
    pub not_after: Option<String>,
}

/// `all`, or a list of exact event types: types that do not exist yet are then excluded.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum SelectFile {
    /// Every event.
    Every(Everything),
    /// Exactly these types.
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
