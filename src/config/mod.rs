//! The configuration as used: every value checked, every secret read, every topic resolvable.
//!
//! [`load()`] makes it from text, in three steps: `tree` reads YAML and remembers where everything
//! stands, `shape` checks keys and forms against the types of [`mod@file`], and the checks of meaning
//! (`load`, `sources`, `select`, `sinks`, `kafka`) turn what is left into a [`Config`]. All problems of all
//! steps are in one [`Report`]. Nothing here opens, binds or writes anything.

mod aws;
mod beside;
pub mod embedded;
pub mod file;
mod kafka;
mod kept;
mod load;
mod nearest;
mod outside;
mod place;
mod placeholder;
mod report;
mod select;
mod shape;
mod sinks;
mod sizes;
mod sources;
mod text;
mod topics;
mod tree;

pub use file::OnMalformed;
pub use kept::secret_in_file;
pub use load::{Loaded, fingerprint, load, load_bytes, schema};
pub use nearest::{did_you_mean, nearest};
pub use outside::{Outside, read_configuration, read_file};
pub use placeholder::PLACEHOLDER_ACCOUNT;
pub use report::{Problem, Report, Severity};
pub use text::Reference;
pub use topics::Topic;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use secrecy::SecretString;

use crate::aws::arn::TopicArn;
use crate::provider::{BodyLimits, Definition, SigningSecret};
use crate::routing::TopicTemplate;
use crate::selection::Selection;
use crate::spool::shared_window::Server;

/// Everything the bridge needs to run.
#[derive(Debug)]
pub struct Config {
    /// The public listener.
    pub http: HttpConfig,
    /// The private listener.
    pub admin: AdminConfig,
    /// The log on disk.
    pub spool: SpoolConfig,
    /// How AWS is reached.
    pub aws: AwsConfig,
    /// Where events come from.
    pub sources: Vec<SourceConfig>,
    /// Which event types pass at all.
    pub selection: Selection,
    /// Where events go.
    pub sinks: Vec<SinkConfig>,
    /// How long a shutdown may take before it is cut short.
    pub shutdown_grace: Duration,
    /// The first 12 hex digits of the SHA-256 of the configuration's text.
    pub fingerprint: String,
}

/// The public listener and its limits.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Certificate chain and key (PEM), if TLS is spoken.
    pub tls: Option<TlsConfig>,
    /// The largest body on the wire.
    pub body_bytes_max: usize,
    /// The largest body after inflating.
    pub inflated_bytes_max: usize,
    /// The largest inflated-to-wire ratio, for bodies that inflate beyond 64 KiB.
    pub inflate_ratio_max: usize,
    /// How long a request's headers may take.
    pub header_timeout: Duration,
    /// How long a request's body may take.
    pub body_timeout: Duration,
    /// The slowest rate at which a body may arrive, measured after its first second.
    pub body_bytes_per_second_min: usize,
    /// How long an idle connection is kept.
    pub idle_timeout: Duration,
    /// How long a delivery may wait for the disk before it is answered 503.
    pub ack_timeout: Duration,
    /// Open connections in all.
    pub connections_max: usize,
    /// Open connections from one address.
    pub connections_per_address_max: usize,
    /// Bytes of bodies in memory at once; beyond it deliveries are answered 503.
    pub in_flight_bytes_max: usize,
    /// The largest that a body of any source may become.
    pub largest_body_bytes: usize,
}

impl HttpConfig {
    /// What a body may become, whichever way it came in.
    pub fn body_limits(&self) -> BodyLimits {
        BodyLimits { inflated_bytes_max: self.inflated_bytes_max, inflate_ratio_max: self.inflate_ratio_max }
    }
}

/// A server's certificate and key.
#[derive(Clone, Debug)]
pub struct TlsConfig {
    /// PEM file with the certificate chain, the server's own first.
    pub certificate: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
}

/// The private listener: health, metrics, the admin API.
#[derive(Clone, Debug)]
pub struct AdminConfig {
    /// Where to listen; loopback by default.
    pub listen: SocketAddr,
    /// Required as a bearer token when set; must be set when `listen` is not loopback.
    pub token: Option<SecretString>,
}

/// The log on disk and its bounds.
#[derive(Clone, Debug)]
pub struct SpoolConfig {
    /// The directory; one process owns it.
    pub dir: PathBuf,
    /// Bytes the spool may use; at the bound deliveries are answered 503.
    pub bytes_max: u64,
    /// Bytes to leave free on the file system.
    pub free_bytes_min: u64,
    /// How long delivered events are kept. Gives way when space runs short.
    pub retain: Duration,
    /// The size at which a segment is closed and a new one begun.
    pub segment_bytes: u64,
    /// How long a delivery is recognised as a duplicate.
    pub duplicates_window: Duration,
    /// How many events the duplicate window remembers.
    pub duplicates_events_max: usize,
    /// How long a delivery may take to be answered, and so the disk.
    pub ack_timeout: Duration,
    /// The duplicate window that replicas share, if they do.
    pub shared_window: Option<SharedWindowConfig>,
}

/// A duplicate window that replicas share.
#[derive(Clone, Debug)]
pub struct SharedWindowConfig {
    /// The server that keeps it.
    pub server: Server,
    /// What the names of its keys begin with.
    pub prefix: String,
    /// How long a delivery is recognised as a duplicate.
    pub window: Duration,
    /// How long a delivery may take to be answered; what is waited for the server is a share of it.
    pub ack_timeout: Duration,
}

/// One way in.
#[derive(Debug)]
pub struct SourceConfig {
    /// Its name: the path is `/in/{name}`, the CloudEvents extension is `intake`.
    pub name: ByteString,
    /// How its provider signs and what its bodies look like.
    pub definition: Arc<Definition>,
    /// Sources with the same provider and app share identity and duplicate window.
    pub app: ByteString,
    /// The live signing secrets; may be empty only for a provider that probes before it tells
    /// one, and where the channel vouches for what it brings.
    pub secrets: Vec<SourceSecret>,
    /// How deliveries come.
    pub channel: Channel,
    /// The largest body on the wire, if it is not the one for all.
    pub body_bytes_max: Option<usize>,
}

/// A signing secret and where it is kept: a file may hold another one later.
#[derive(Clone, Debug)]
pub struct SourceSecret {
    /// Where it is kept.
    pub kept: Reference,
    /// What was found there.
    pub secret: SigningSecret,
}

/// How a source's deliveries come.
#[derive(Clone, Debug)]
pub enum Channel {
    /// The provider sends them over HTTP, signed.
    Webhook,
    /// They wait in an SQS queue; who may send to it is the queue's policy.
    Sqs(SqsConfig),
    /// SNS sends them over HTTP and signs them.
    Sns(SnsSourceConfig),
}

/// An SQS queue to read.
#[derive(Clone, Debug)]
pub struct SqsConfig {
    /// Its URL.
    pub queue_url: String,
    /// Its region; `None` if only the environment knows.
    pub region: Option<String>,
    /// How long a received message stays hidden from other readers.
    pub visibility_timeout: Duration,
    /// The most receive loops at once.
    pub receivers_max: usize,
    /// What becomes of a message that cannot become an event.
    pub on_malformed: OnMalformed,
    /// The topics whose subscription of it is confirmed.
    pub confirm_topics: Vec<TopicArn>,
}

/// SNS topics that deliver here.
#[derive(Clone, Debug)]
pub struct SnsSourceConfig {
    /// The only topics that may.
    pub topics: Vec<TopicArn>,
    /// Whether signatures made with SHA-1 are taken, too.
    pub allow_sha1: bool,
    /// Who may deliver without a signature.
    pub raw: Option<RawDelivery>,
    /// Where signing certificates are kept for the next start.
    pub certificates_dir: PathBuf,
    /// Where signing certificates come from in tests.
    pub certificate_double: Option<CertificateDouble>,
}

/// What stands in for the signature of a raw delivery.
#[derive(Clone, Debug)]
pub struct RawDelivery {
    /// The user name in the subscription's URL.
    pub username: String,
    /// The password in the subscription's URL.
    pub password: SecretString,
}

/// A stand-in for the hosts of signing certificates, on this machine.
#[derive(Clone, Debug)]
pub struct CertificateDouble {
    /// Where it listens; a loopback address.
    pub address: SocketAddr,
    /// PEM file with the only authority that is trusted.
    pub authority: PathBuf,
}

/// How AWS is reached.
#[derive(Clone, Debug, Default)]
pub struct AwsConfig {
    /// The region where nothing else names one.
    pub region: Option<String>,
    /// The profile of the shared configuration files.
    pub profile: Option<String>,
    /// The URL of all services, instead of the region's own.
    pub endpoint: Option<String>,
    /// Use the endpoints that are validated for FIPS 140.
    pub fips: bool,
    /// Use the endpoints that also have IPv6 addresses.
    pub dual_stack: bool,
}

impl SourceConfig {
    /// CloudEvents `source`: `/{provider}/{app}`.
    pub fn event_source(&self) -> ByteString {
        format!("/{}/{}", self.definition.provider, self.app).into()
    }
}

/// One way out.
#[derive(Clone, Debug)]
pub struct SinkConfig {
    /// Its name, by which its cursor and dead letters are kept.
    pub name: String,
    /// Family → topic.
    pub topic: TopicTemplate,
    /// Narrows the bridge's selection for this sink.
    pub selection: Selection,
    /// Whether it would rather miss events than hold a full spool back.
    pub detaches: bool,
    /// What it is.
    pub output: Output,
}

/// The kinds of sink.
#[derive(Clone, Debug)]
pub enum Output {
    /// A Kafka cluster.
    Kafka(KafkaConfig),
    /// SNS topics.
    Sns(SnsSinkConfig),
    /// JSON Lines on the local disk.
    File(FileConfig),
}

/// A Kafka cluster and how to reach it.
#[derive(Clone, Debug)]
pub struct KafkaConfig {
    /// `host:port,host:port,…`
    pub brokers: String,
    /// Any librdkafka property, checked by librdkafka at start. Values may be secrets.
    pub properties: Vec<(String, SecretString)>,
    /// What OAUTHBEARER shows the brokers; set if and only if that is the SASL mechanism.
    pub token: Option<BearerToken>,
    /// Structured mode (one JSON document) instead of binary mode (attributes as headers).
    pub structured: bool,
}

/// An OAuth bearer token, and how long it holds good.
#[derive(Clone, Debug)]
pub enum BearerToken {
    /// In a file that something else keeps fresh: read again and again.
    File(PathBuf),
    /// As it was at start.
    Fixed(SecretString),
}

/// SNS topics as a way out.
#[derive(Clone, Debug)]
pub struct SnsSinkConfig {
    /// The region that their ARNs name.
    pub region: String,
    /// The most requests at once.
    pub requests_max: usize,
    /// The largest message, attributes included.
    pub message_bytes_max: usize,
}

/// A directory of JSON Lines files, one directory per topic.
#[derive(Clone, Debug)]
pub struct FileConfig {
    /// The directory.
    pub dir: PathBuf,
    /// The size at which a file is closed and a new one begun.
    pub rotate_bytes: u64,
}
