//! Which cluster is published to, and how it is reached.

use std::path::PathBuf;

use secrecy::SecretString;

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
