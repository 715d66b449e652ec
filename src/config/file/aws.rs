//! What concerns AWS, as written: how it is reached, and what is read from it and sent to it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::text::{Period, Reference, Size};
use super::seconds;

/// How AWS is reached, by every source and sink that speaks to it. Credentials come from the usual
/// places: environment, profile, web identity, container or instance role.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AwsFile {
    /// The region, where no queue URL or topic ARN names one.
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

/// Deliveries from an SQS queue.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SqsFile {
    /// The queue's URL.
    #[schemars(required)]
    pub queue_url: Option<String>,
    /// The queue's region, if its URL does not name it.
    pub region: Option<String>,
    /// How long a received message stays hidden from other readers; extended while it is worked on.
    #[serde(default = "visibility_timeout")]
    pub visibility_timeout: Period,
    /// The most receive loops at once; one when there is little to do.
    #[serde(default = "receivers_max")]
    #[schemars(range(min = 1, max = 64))]
    pub receivers_max: usize,
    /// What becomes of a message that cannot become an event.
    #[serde(default)]
    pub on_malformed: OnMalformed,
    /// The ARNs of the SNS topics whose subscription of this queue is confirmed when they ask for it, as
    /// those of other accounts do.
    #[serde(default)]
    pub confirm_topics: Vec<String>,
}

impl Default for SqsFile {
    fn default() -> Self {
        Self {
            queue_url: None,
            region: None,
            visibility_timeout: visibility_timeout(),
            receivers_max: receivers_max(),
            on_malformed: OnMalformed::default(),
            confirm_topics: Vec::new(),
        }
    }
}

fn visibility_timeout() -> Period {
    seconds(60)
}

fn receivers_max() -> usize {
    8
}

/// What becomes of a message that cannot become an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum OnMalformed {
    /// It goes to the dead letters here and is deleted from the queue.
    #[default]
    DeadLetter,
    /// It stays, for the queue's own redrive policy to move it.
    Redrive,
}

/// Deliveries from SNS topics, by HTTPS subscription to `/in/{name}`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SnsSourceFile {
    /// The ARNs of the topics that may deliver here; every other is refused.
    #[schemars(required)]
    #[serde(default)]
    pub topics: Vec<String>,
    /// Also take signatures of version 1, which are made with SHA-1.
    #[serde(default)]
    pub allow_sha1: bool,
    /// Also take raw deliveries, which SNS does not sign: this name and password, part of the
    /// subscription's URL, stand in for the signature.
    pub raw: Option<RawDeliveryFile>,
    /// For tests: where signing certificates come from, instead of the regions' own hosts.
    pub certificate_double: Option<CertificateDoubleFile>,
}

/// Who may deliver without a signature.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawDeliveryFile {
    /// The user name in the subscription's URL.
    #[schemars(required)]
    pub username: Option<String>,
    /// The password in the subscription's URL; at least 16 bytes.
    #[schemars(required)]
    pub password: Option<Reference>,
}

/// A stand-in for the hosts of signing certificates, on this machine.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateDoubleFile {
    /// A loopback address and port.
    #[schemars(required)]
    pub address: Option<super::super::text::Address>,
    /// PEM file with the only authority to trust, for the connection and for what signs.
    #[schemars(required)]
    pub authority: Option<String>,
}

/// SNS topics as a way out, all in the one region that their ARNs name.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SnsSinkFile {
    /// That region, for readers: it is the ARNs' own, and any other is an error.
    pub region: Option<String>,
    /// The most requests at once.
    #[schemars(range(min = 1, max = 256))]
    pub requests_max: usize,
    /// The largest message, attributes included; a larger one becomes a dead letter. The service's
    /// own bound is that of the topic, 256 KiB unless it was raised.
    pub message_bytes_max: Size,
}

impl Default for SnsSinkFile {
    fn default() -> Self {
        Self { region: None, requests_max: 16, message_bytes_max: Size(256 << 10) }
    }
}
