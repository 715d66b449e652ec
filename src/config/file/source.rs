//! The source blocks of the configuration file.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ack::AckOptions;
use crate::aws::arn::TopicArn;
use crate::reference::Reference;
use crate::scalars::{Address, Size};
use crate::source::http::options::BODY_BYTES_LEAST;
use crate::source::sqs::SqsOptions;
use crate::spool::options::BODY_BYTES_MAX;

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
    /// read again while the bridge runs. A secret that is replaced in its file, or taken from its
    /// source by a reload, is accepted for 10 more minutes, or until its `not_after`.
    #[serde(default)]
    pub secrets: Vec<SecretEntryFile>,
    /// Largest body of this source as sent, if its provider sends larger ones than `limits` allows. The
    /// limit after decompression is then at least as large.
    #[schemars(range(min = BODY_BYTES_LEAST, max = BODY_BYTES_MAX))]
    pub body_bytes_max: Option<Size>,
    /// Which sinks the acknowledgements of this source wait for, instead of those at the top level.
    /// `after: []` waits for none.
    pub ack: Option<AckOptions>,
    /// Receive deliveries from an SQS queue instead of over HTTP.
    pub sqs: Option<SqsOptions>,
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

/// Deliveries from SNS topics, through an HTTPS subscription of `/in/{name}`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SnsSourceFile {
    /// ARNs of the topics that are allowed to deliver here; every other topic is refused.
    #[schemars(required)]
    #[serde(default)]
    pub topics: Vec<TopicArn>,
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
