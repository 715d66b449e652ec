//! The sink blocks of the configuration file.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::select::{AttributesFile, SelectFile};
use crate::reference::Reference;
use crate::routing::TopicTemplate;
use crate::scalars::{Period, Setting};
use crate::sink::LINGER;
use crate::sink::file::FileSinkOptions;
use crate::sink::sns::SnsSinkOptions;

/// The default of [`SinkFile::from`].
const FROM: &str = "next";

/// A sink: exactly one of `kafka`, `sns` and `file`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SinkFile {
    /// A Kafka cluster.
    pub kafka: Option<KafkaFile>,
    /// SNS topics.
    pub sns: Option<SnsSinkOptions>,
    /// JSON Lines on the local disk, one directory per topic.
    pub file: Option<FileSinkOptions>,
    /// The topic, made of text, `{provider}`, `{family}` and `{source}`. For an SNS sink it is the
    /// topic's ARN, in which dots of a family become `-`.
    pub topic: String,
    /// Narrows the bridge's selection for this sink.
    pub select: SelectFile,
    /// With which event a sink begins that has no cursor yet: `next`, `earliest` (the oldest that the log
    /// still holds), or a moment in RFC 3339.
    pub from: String,
    /// What to do when the spool is full of events that wait for this sink.
    pub on_full: OnFull,
    /// Longest time for which events wait for each other before they are published, while so many come that
    /// larger batches pay. While few come, each is published at once.
    #[serde(with = "Period")]
    #[schemars(extend("formatMaximum" = "200ms"))]
    pub linger: Duration,
    /// Which CloudEvents attributes its records carry: `specversion`, `id`, `source`, `type` and
    /// `datacontenttype` always, the others if they are listed.
    pub attributes: AttributesFile,
}

/// What to do when the spool is full of events that wait for a sink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum OnFull {
    /// Answer new deliveries with 503. No event is lost.
    #[default]
    Block,
    /// Prune the oldest waiting events. This sink never gets those; other sinks are not delayed.
    DetachSink,
}

impl Default for SinkFile {
    fn default() -> Self {
        Self {
            kafka: None,
            sns: None,
            file: None,
            topic: TopicTemplate::DEFAULT.into(),
            select: SelectFile::default(),
            from: FROM.into(),
            on_full: OnFull::default(),
            linger: LINGER,
            attributes: AttributesFile::default(),
        }
    }
}

/// A Kafka cluster, and how to connect to it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KafkaFile {
    /// `host:port,host:port,…`
    #[schemars(required)]
    pub brokers: Option<Setting>,
    /// Publish one JSON document per record, instead of the body with the attributes as headers.
    #[serde(default)]
    pub structured: bool,
    /// Connect to the brokers with TLS.
    pub tls: Option<KafkaTlsFile>,
    /// Authenticate to the brokers.
    pub sasl: Option<SaslFile>,
    /// Other librdkafka properties.
    #[serde(default)]
    pub properties: BTreeMap<String, Setting>,
}

/// TLS to the brokers. `tls: {}` trusts the system's certificate authorities.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct KafkaTlsFile {
    /// PEM file with the certificate authorities to trust.
    pub ca: Option<String>,
    /// PEM file with the client's certificate.
    pub certificate: Option<String>,
    /// PEM file with the client's private key.
    pub key: Option<String>,
    /// Password of the private key.
    pub key_password: Option<Reference>,
}

/// The credentials for the brokers: a user name and password, or a token.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SaslFile {
    /// The SASL mechanism.
    pub mechanism: Mechanism,
    /// User name, for PLAIN and SCRAM.
    pub username: Option<Setting>,
    /// Password, for PLAIN and SCRAM.
    pub password: Option<Reference>,
    /// Bearer token, for OAUTHBEARER only. A file is read again every minute.
    pub token: Option<Reference>,
    /// The cluster's region, for AWS_MSK_IAM only; by default that in the brokers' names, or else
    /// `aws.region`.
    pub region: Option<String>,
}

/// A SASL mechanism.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Mechanism {
    /// Sends the password itself, so use it only with TLS.
    #[serde(rename = "PLAIN")]
    Plain,
    /// Challenge and response with SHA-256.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// Challenge and response with SHA-512.
    #[default]
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
    /// Sends an OAuth token (RFC 7628) itself, so use it only with TLS.
    #[serde(rename = "OAUTHBEARER")]
    OauthBearer,
    /// Sends tokens that are made of the AWS credentials, for Amazon MSK with IAM access control.
    #[serde(rename = "AWS_MSK_IAM")]
    AwsMskIam,
}

impl Mechanism {
    /// The name by which a configuration calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
            Self::OauthBearer => "OAUTHBEARER",
            Self::AwsMskIam => "AWS_MSK_IAM",
        }
    }
}
