//! The configuration as used: every value is checked, every secret is read, and every topic is
//! possible.
//!
//! [`load()`] makes it from text, in three steps: `tree` parses YAML and remembers where everything
//! is written, `shape` checks keys and forms against the types of [`mod@file`], and the checks of
//! meaning (`load`, `sources`, `select`, `sinks`, `kafka`) turn the rest into a [`Config`]. The
//! problems of all steps are in one [`Report`]. This module opens no socket and writes no file,
//! except for the secrets of [`embedded`].

mod aws;
pub mod embedded;
mod environment;
pub mod file;
mod kafka;
mod load;
mod placeholder;
mod report;
mod scalars;
mod schema_check;
mod secrets;
mod select;
mod sinks;
mod sizes;
mod sources;
mod sources_together;
mod spans;
mod suggest;
mod topics;
mod tree;

pub use environment::{Environment, read_configuration, read_file};
pub use file::OnMalformed;
pub use load::{Loaded, fingerprint, load, load_bytes, schema};
pub use placeholder::PLACEHOLDER_ACCOUNT;
pub use report::{Problem, Report, Severity};
pub use scalars::Reference;
pub use secrets::secret_in_file;
pub use suggest::{did_you_mean, nearest};
pub use topics::Topic;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use secrecy::SecretString;

use crate::aws::arn::TopicArn;
use crate::dedup::shared::Server;
use crate::provider::{BodyLimits, Definition, SigningSecret};
use crate::routing::TopicTemplate;
use crate::selection::Selection;

/// The whole configuration of a bridge.
#[derive(Debug)]
pub struct Config {
    /// The public listener.
    pub http: HttpOptions,
    /// The admin listener.
    pub admin: AdminOptions,
    /// The log on disk.
    pub spool: SpoolConfig,
    /// How sources and sinks reach AWS.
    pub aws: AwsOptions,
    /// The sources.
    pub sources: Vec<SourceOptions>,
    /// The event types that the bridge accepts.
    pub selection: Selection,
    /// The sinks.
    pub sinks: Vec<SinkOptions>,
    /// How long a shutdown can take before it is cut short.
    pub shutdown_grace: Duration,
    /// First 12 hexadecimal digits of the SHA-256 of the configuration's text.
    pub fingerprint: String,
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

/// A server's certificate and key.
#[derive(Clone, Debug)]
pub struct TlsOptions {
    /// PEM file with the certificate chain, the server's own first.
    pub certificate: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
}

/// The admin listener: health, metrics and the admin API.
#[derive(Clone, Debug)]
pub struct AdminOptions {
    /// IP address and port to listen on; loopback by default.
    pub listen: SocketAddr,
    /// The bearer token that requests must have. Required if `listen` is not loopback.
    pub token: Option<SecretString>,
}

/// The log on disk and its limits.
#[derive(Clone, Debug)]
pub struct SpoolConfig {
    /// The spool's directory, which one process uses at a time.
    pub dir: PathBuf,
    /// Most bytes on disk; above it, deliveries are answered 503.
    pub bytes_max: u64,
    /// Bytes to leave free on the file system.
    pub free_bytes_min: u64,
    /// How long delivered events are kept. They are removed earlier when space runs short.
    pub retain: Duration,
    /// Size at which a segment is closed and the next one begun, in bytes.
    pub segment_bytes: u64,
    /// How long a delivery is recognised as a duplicate.
    pub duplicates_window: Duration,
    /// Most events that the duplicate window remembers.
    pub duplicates_events_max: usize,
    /// How long a delivery waits for the disk before it is answered 503.
    pub ack_timeout: Duration,
    /// The duplicate window that replicas share, if it is configured.
    pub shared_window: Option<SharedWindowOptions>,
}

/// The duplicate window that replicas share.
#[derive(Clone, Debug)]
pub struct SharedWindowOptions {
    /// The Redis server with the window.
    pub server: Server,
    /// Prefix of the keys.
    pub prefix: String,
    /// How long a delivery is recognised as a duplicate.
    pub window: Duration,
    /// How long a delivery can take to be answered; the wait for the server is a part of it.
    pub ack_timeout: Duration,
}

/// A source of deliveries.
#[derive(Debug)]
pub struct SourceOptions {
    /// The source's name. The path is `/in/{name}`, and the CloudEvents extension `intake` has it.
    pub name: ByteString,
    /// The definition of the source's provider: signatures and body layout.
    pub definition: Arc<Definition>,
    /// The provider's application. Sources with the same provider and app share event ids and
    /// duplicate window.
    pub app: ByteString,
    /// The signing secrets. They can be empty only if the provider probes before it shows its secret,
    /// or if deliveries do not come from a webhook.
    pub secrets: Vec<SourceSecret>,
    /// How deliveries reach the source.
    pub channel: Channel,
    /// Largest body as sent in bytes, if it differs from the general limit.
    pub body_bytes_max: Option<usize>,
}

/// A signing secret, and the reference to it: a file can have another secret later.
#[derive(Clone, Debug)]
pub struct SourceSecret {
    /// Reference to the secret.
    pub kept: Reference,
    /// The secret as it was read at the start.
    pub secret: SigningSecret,
}

/// How deliveries reach a source.
#[derive(Clone, Debug)]
pub enum Channel {
    /// The provider posts them over HTTP, signed.
    Webhook,
    /// They wait in an SQS queue, whose policy decides who can send to it.
    Sqs(SqsOptions),
    /// SNS posts them over HTTP and signs them.
    Sns(SnsSourceOptions),
}

/// An SQS queue that the bridge reads.
#[derive(Clone, Debug)]
pub struct SqsOptions {
    /// The queue's URL.
    pub queue_url: String,
    /// The queue's region; `None` to take it from the environment.
    pub region: Option<String>,
    /// How long a received message stays hidden from other readers.
    pub visibility_timeout: Duration,
    /// Most receive loops at once.
    pub receivers_max: usize,
    /// What to do with a message that cannot become an event.
    pub on_malformed: OnMalformed,
    /// The topics whose request to subscribe the queue is confirmed.
    pub confirm_topics: Vec<TopicArn>,
}

/// SNS topics that deliver to the bridge.
#[derive(Clone, Debug)]
pub struct SnsSourceOptions {
    /// The only topics that are allowed to deliver.
    pub topics: Vec<TopicArn>,
    /// Whether signatures made with SHA-1 are accepted.
    pub allow_sha1: bool,
    /// User name and password of raw deliveries, if they are accepted.
    pub raw: Option<RawDelivery>,
    /// Directory in which fetched signing certificates are kept for the next start.
    pub certificates_dir: PathBuf,
    /// The test server for signing certificates, if there is one.
    pub certificate_double: Option<CertificateDouble>,
}

/// User name and password that replace the signature of a raw delivery.
#[derive(Clone, Debug)]
pub struct RawDelivery {
    /// The user name in the subscription's URL.
    pub username: String,
    /// The password in the subscription's URL.
    pub password: SecretString,
}

/// A test server that stands in for the hosts of signing certificates, on this machine.
#[derive(Clone, Debug)]
pub struct CertificateDouble {
    /// The server's address, which is a loopback address.
    pub address: SocketAddr,
    /// PEM file with the only authority to trust.
    pub authority: PathBuf,
}

/// How sources and sinks reach AWS.
#[derive(Clone, Debug, Default)]
pub struct AwsOptions {
    /// The region, unless a queue's URL or a topic's ARN names one.
    pub region: Option<String>,
    /// The profile in the shared AWS configuration files.
    pub profile: Option<String>,
    /// The URL for all services, instead of the region's own endpoints.
    pub endpoint: Option<String>,
    /// Use the FIPS 140 endpoints.
    pub fips: bool,
    /// Use the dual-stack endpoints, which also have IPv6 addresses.
    pub dual_stack: bool,
}

impl SourceOptions {
    /// CloudEvents `source`: `/{provider}/{app}`.
    pub fn event_source(&self) -> ByteString {
        format!("/{}/{}", self.definition.provider, self.app).into()
    }
}

/// A sink.
#[derive(Clone, Debug)]
pub struct SinkOptions {
    /// The sink's name, under which its cursor and dead letters are stored.
    pub name: String,
    /// The template of its topics.
    pub topic: TopicTemplate,
    /// Narrows the bridge's selection for this sink.
    pub selection: Selection,
    /// Whether the sink skips records rather than hold a full spool back (`on_full: detach_sink`).
    pub detaches: bool,
    /// The kind of the sink, with its settings.
    pub output: Output,
}

/// The kinds of sink.
#[derive(Clone, Debug)]
pub enum Output {
    /// A Kafka cluster.
    Kafka(KafkaOptions),
    /// SNS topics.
    Sns(SnsSinkOptions),
    /// JSON Lines on the local disk.
    File(FileSinkOptions),
}

/// A Kafka cluster, and how to connect to it.
#[derive(Clone, Debug)]
pub struct KafkaOptions {
    /// `host:port,host:port,…`
    pub brokers: String,
    /// librdkafka properties, which librdkafka checks at the start. Values can be secrets.
    pub properties: Vec<(String, SecretString)>,
    /// The OAuth token; set if and only if the SASL mechanism is OAUTHBEARER.
    pub token: Option<BearerToken>,
    /// Whether records are published in structured mode (one JSON document) instead of binary mode
    /// (attributes as headers).
    pub structured: bool,
}

/// An OAuth bearer token, from a file or fixed.
#[derive(Clone, Debug)]
pub enum BearerToken {
    /// A file that another program keeps fresh, and that is read again and again.
    File(PathBuf),
    /// The token that was read at the start.
    Fixed(SecretString),
}

/// A sink of SNS topics.
#[derive(Clone, Debug)]
pub struct SnsSinkOptions {
    /// The region that their ARNs name.
    pub region: String,
    /// Most requests at once.
    pub requests_max: usize,
    /// Largest message in bytes, attributes included.
    pub message_bytes_max: usize,
}

/// A directory of JSON Lines files, one directory per topic.
#[derive(Clone, Debug)]
pub struct FileSinkOptions {
    /// Path of the directory.
    pub dir: PathBuf,
    /// Size at which a file is closed and the next one begun, in bytes.
    pub rotate_bytes: u64,
}
