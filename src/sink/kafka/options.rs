//! Which cluster is published to, and how it is reached.

use std::path::PathBuf;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

use super::MskIam;

/// A Kafka cluster, and how to connect to it.
#[derive(Clone, Debug)]
pub struct KafkaOptions {
    /// `host:port,host:port,…`
    pub brokers: String,
    /// librdkafka properties, which librdkafka checks at the start. Values can be secrets.
    pub properties: Vec<(String, SecretString)>,
    /// The OAuth token; set if and only if the SASL mechanism is OAUTHBEARER or AWS_MSK_IAM.
    pub token: Option<BearerToken>,
    /// Whether records are published in structured mode (one JSON document) instead of binary mode
    /// (attributes as headers).
    pub structured: bool,
}

impl KafkaOptions {
    /// Host and port of each of its brokers.
    pub fn broker_addresses(&self) -> Vec<(String, u16)> {
        const PORT: u16 = 9092;
        let address = |broker: &str| {
            let broker = broker.trim();
            let place = broker.split_once("://").map_or(broker, |(_, place)| place);
            let (host, port) = match place.rsplit_once(':') {
                Some((host, port)) if !host.is_empty() && !port.contains(']') => (host, port.parse().ok()),
                _ => (place, None),
            };
            (host.trim_matches(['[', ']']).to_owned(), port.unwrap_or(PORT))
        };
        self.brokers.split(',').filter(|broker| !broker.trim().is_empty()).map(address).collect()
    }

    /// Whether its brokers are reached by TLS.
    pub fn is_tls(&self) -> bool {
        let protocol = self.property("security.protocol").unwrap_or_default();
        protocol.eq_ignore_ascii_case("ssl") || protocol.eq_ignore_ascii_case("sasl_ssl")
    }

    /// The file with the authorities that it trusts; those of the system without it.
    pub fn authorities(&self) -> Option<PathBuf> {
        self.property("ssl.ca.location").map(PathBuf::from)
    }

    /// The file with the certificate that it shows to the brokers, if it shows one.
    pub fn certificate(&self) -> Option<PathBuf> {
        self.property("ssl.certificate.location").map(PathBuf::from)
    }

    /// The last value of a librdkafka property.
    fn property(&self, name: &str) -> Option<&str> {
        let mut found = self.properties.iter().rev().filter(|(property, _)| property == name);
        found.next().map(|(_, value)| value.expose_secret())
    }
}

/// An OAuth bearer token: from a file, fixed, or made of AWS credentials.
#[derive(Clone, Debug)]
pub enum BearerToken {
    /// A file that another program keeps fresh, and that is read again and again.
    File(PathBuf),
    /// The token that was read at the start.
    Fixed(SecretString),
    /// Tokens for Amazon MSK with IAM access control.
    MskIam(Arc<MskIam>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_broker_is_a_host_and_a_port() {
        let options = KafkaOptions {
            brokers: "a:1, SSL://b:2,[::1]:3,[fe80::2],c".into(),
            properties: vec![("security.protocol".into(), "SASL_SSL".into())],
            token: None,
            structured: false,
        };
        let addresses = options.broker_addresses();
        let addresses: Vec<_> = addresses.iter().map(|(host, port)| (host.as_str(), *port)).collect();
        assert_eq!(addresses, [("a", 1), ("b", 2), ("::1", 3), ("fe80::2", 9092), ("c", 9092)]);
        assert!(options.is_tls() && options.authorities().is_none());
    }
}
