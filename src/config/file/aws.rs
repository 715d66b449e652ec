//! The AWS blocks of the configuration file: how AWS is reached, queues, and topics on either side.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::yaml::scalars::{Address, Period, Size};
use crate::reference::Reference;
use crate::sink::sns::options::{MESSAGE_BYTES_MAX, REQUESTS_MAX};
use crate::source::sqs::OnMalformed;
use crate::source::sqs::options::{RECEIVERS_MAX, VISIBILITY_TIMEOUT};

/// How every source and sink reaches AWS. Credentials come from the usual places: environment,
/// profile, web identity, container or instance role.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AwsFile {
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

/// Deliveries from an SQS queue.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SqsFile {
    /// The queue's URL.
    #[schemars(required)]
    pub queue_url: Option<String>,
    /// The queue's region, if its URL does not name it.
    pub region: Option<String>,
    /// How long a received message stays hidden from other readers. It is extended while the message
    /// is processed.
    #[serde(default = "visibility_timeout")]
    pub visibility_timeout: Period,
    /// Most receive loops at once. A single one runs while there is little to do.
    #[serde(default = "receivers_max")]
    #[schemars(range(min = RECEIVERS_MAX.least, max = RECEIVERS_MAX.most))]
    pub receivers_max: usize,
    /// What to do with a message that cannot become an event.
    #[serde(default)]
    pub on_malformed: OnMalformed,
    /// ARNs of SNS topics whose request to subscribe this queue is confirmed. Topics of other
    /// accounts send such a request.
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
    Period(VISIBILITY_TIMEOUT.default)
}

fn receivers_max() -> usize {
    RECEIVERS_MAX.default
}

/// Deliveries from SNS topics, through an HTTPS subscription of `/in/{name}`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SnsSourceFile {
    /// ARNs of the topics that are allowed to deliver here; every other topic is refused.
    #[schemars(required)]
    #[serde(default)]
    pub topics: Vec<String>,
    /// Also accept signatures of version 1, which are made with SHA-1.
    #[serde(default)]
    pub allow_sha1: bool,
    /// Also accept raw deliveries, which SNS does not sign. The user name and password in the
    /// subscription's URL replace the signature.
    pub raw: Option<RawDeliveryFile>,
    /// For tests only: a server for signing certificates, instead of the regions' own hosts.
    pub certificate_double: Option<CertificateDoubleFile>,
}

/// User name and password of raw deliveries.
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

/// A test server that stands in for the hosts of signing certificates, on this machine.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateDoubleFile {
    /// Loopback address and port of the server.
    #[schemars(required)]
    pub address: Option<Address>,
    /// PEM file with the only authority to trust for the connection to the server.
    #[schemars(required)]
    pub authority: Option<String>,
}

/// A sink of SNS topics, all in the one region that their ARNs name.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SnsSinkFile {
    /// The region, for readers of the file only: it must be the one in the topics' ARNs.
    pub region: Option<String>,
    /// Most requests at once.
    #[schemars(range(min = REQUESTS_MAX.least, max = REQUESTS_MAX.most))]
    pub requests_max: usize,
    /// Largest message in bytes, attributes included; a larger one becomes a dead letter. SNS has its
    /// own limit per topic, 256 KiB unless it was raised.
    pub message_bytes_max: Size,
}

impl Default for SnsSinkFile {
    fn default() -> Self {
        Self {
            region: None,
            requests_max: REQUESTS_MAX.default,
            message_bytes_max: Size(MESSAGE_BYTES_MAX.default),
        }
    }
}
