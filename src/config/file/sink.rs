//! Sinks as written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::text::{Reference, Setting, Size};
use super::{ByName, SelectFile, SnsSinkFile};
use crate::routing::TopicTemplate;

/// One way out: exactly one of `kafka`, `sns` and `file`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SinkFile {
    /// A Kafka cluster.
    pub kafka: Option<KafkaFile>,
    /// SNS topics.
    pub sns: Option<SnsSinkFile>,
    /// JSON Lines on the local disk, one directory per topic.
    pub file: Option<OutputFile>,
    /// The topic, made of text, `{provider}`, `{family}` and `{source}`; of an SNS sink the
    /// topic's ARN, in which the dots of a family become `-`.
    pub topic: String,
    /// Narrows the bridge's selection for this sink.
    pub select: SelectFile,
    /// What gives way once the spool is full of events that wait for this sink.
    pub on_full: OnFull,
}

/// What gives way once the spool is full of events that wait for a sink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum OnFull {
    /// New events: they are answered 503, and nothing is lost.
    #[default]
    Block,
    /// The oldest of those that wait: this sink never gets them, and nobody else is held up.
    DetachSink,
}

impl Default for SinkFile {
    fn default() -> Self {
        let topic = TopicTemplate::DEFAULT.into();
        let (select, on_full) = (SelectFile::default(), OnFull::default());
        Self { kafka: None, sns: None, file: None, topic, select, on_full }
    }
}

/// A Kafka cluster and how to reach it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KafkaFile {
    /// `host:port,host:port,…`
    #[schemars(required)]
    pub brokers: Option<Setting>,
    /// One JSON document per record instead of attributes as headers beside the body.
    #[serde(default)]
    pub structured: bool,
    /// Speak TLS to the brokers.
    pub tls: Option<KafkaTlsFile>,
    /// Authenticate to the brokers.
    pub sasl: Option<SaslFile>,
    /// Any other librdkafka property.
    #[serde(default)]
    pub properties: ByName<Setting>,
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
    /// The private key's password.
    pub key_password: Option<Reference>,
}

/// Who fanbridge is to the brokers: a user's name and password, or a token.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SaslFile {
    /// How it is proved.
    pub mechanism: Mechanism,
    /// The user's name; not for OAUTHBEARER.
    pub username: Option<Setting>,
    /// The user's password; not for OAUTHBEARER.
    pub password: Option<Reference>,
    /// The bearer token, for OAUTHBEARER only. A file is read again every minute.
    pub token: Option<Reference>,
}

/// A SASL mechanism.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Mechanism {
    /// The password itself, so only over TLS.
    #[serde(rename = "PLAIN")]
    Plain,
    /// Challenge and response over SHA-256.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// Challenge and response over SHA-512.
    #[default]
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
    /// An OAuth token (RFC 7628), itself, so only over TLS.
    #[serde(rename = "OAUTHBEARER")]
    OauthBearer,
}

impl Mechanism {
    /// Its registered name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
            Self::OauthBearer => "OAUTHBEARER",
        }
    }
}

/// A directory of JSON Lines files.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OutputFile {
    /// The directory.
    pub dir: String,
    /// The size at which a file is closed and a new one begun.
    pub rotate_bytes: Size,
}

impl Default for OutputFile {
    fn default() -> Self {
        Self { dir: "fanbridge-data/topics".into(), rotate_bytes: Size(128 << 20) }
    }
}
