//! The properties of the Kafka producers: fanbridge's defaults, then the user's librdkafka
//! properties, then a few fixed ones on which the guarantees rest.
//!
//! Unknown properties and values that librdkafka does not accept are found here, before any
//! connection is made. No message of this module contains a value, because any value can be a secret.

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use secrecy::{ExposeSecret, SecretString};

use super::{BearerToken, KafkaOptions};

/// A Kafka property that cannot be used, and why.
#[derive(Debug, thiserror::Error)]
#[error("kafka property `{property}`: {problem}")]
pub struct UnusableProperty {
    /// The property's name.
    pub property: String,
    /// What is wrong with the property or its value, and what to do instead.
    pub problem: String,
}

/// Largest message in bytes, unless the user sets `message.max.bytes`.
pub const MESSAGE_BYTES_MAX: &str = "16777216";

/// Default properties, by their librdkafka names. The user's properties override them.
const DEFAULTS: &[(&str, &str)] = &[
    ("client.id", "fanbridge"),
    // Several times the dispatcher's window, with the records' headers, so that this queue is never
    // the limit. librdkafka counts a record until its delivery report is read.
    ("queue.buffering.max.messages", "65536"),
    ("queue.buffering.max.kbytes", "131072"),
    // The topic's own limit decides whether a record is too large, not this one. A batch stays below
    // the brokers' default of 1 MiB.
    ("message.max.bytes", MESSAGE_BYTES_MAX),
    ("batch.size", "1000000"),
    // Every batch costs its own compression state and request. At 15,000 events/s of 1 KiB over eight
    // partitions, 5 ms instead of 1 ms save a tenth of the processor time per event from webhook to
    // broker; 20 ms save little more. Of the codecs, lz4 costs 1 us per event more than none, and
    // zstd 3 us more than lz4. The measured bodies were much alike, so the measurement does not show
    // how well other bodies compress.
    ("linger.ms", "5"),
    ("compression.type", "lz4"),
    // The sink uses a broker that is back within a second (librdkafka's defaults wait for up to ten).
    ("reconnect.backoff.ms", "50"),
    ("reconnect.backoff.max.ms", "1000"),
    ("retry.backoff.ms", "50"),
    ("retry.backoff.max.ms", "500"),
    ("socket.connection.setup.timeout.ms", "10000"),
    ("socket.keepalive.enable", "true"),
    // A missing topic is reported within seconds, and used soon after it is created.
    ("topic.metadata.propagation.max.ms", "1000"),
    ("topic.metadata.refresh.interval.ms", "60000"),
    ("statistics.interval.ms", "15000"),
];

/// Properties on which the guarantees rest: set last, and refused when the user sets them.
const FIXED: &[(&str, &str)] = &[
    ("enable.idempotence", "true"),
    ("acks", "all"),
    // The spool is the buffer: a local time-out would give up records that might still be written.
    ("message.timeout.ms", "0"),
    // A missing topic has to be reported, not created with the broker's defaults. Clients ask the
    // broker to create a missing topic unless this is off.
    ("allow.auto.create.topics", "false"),
    // Records of a key go to the partition that Java clients would choose. With another partitioner
    // they would go elsewhere than the key's earlier records.
    ("partitioner", "murmur2_random"),
];

/// Properties that are refused, and what to do instead of setting them.
const DECIDED: &[(&str, &str)] = &[
    ("bootstrap.servers", BROKERS),
    ("metadata.broker.list", BROKERS),
    ("enable.idempotence", "it is always on: without it a retry could reorder or repeat records"),
    ("acks", ACKS),
    ("request.required.acks", ACKS),
    ("message.timeout.ms", TIMEOUT),
    ("delivery.timeout.ms", TIMEOUT),
    ("max.in.flight", IN_FLIGHT),
    ("max.in.flight.requests.per.connection", IN_FLIGHT),
    ("enable.gapless.guarantee", "it is always on where records are sent in batches, to keep their order"),
    (
        "allow.auto.create.topics",
        "topics are created by `fanbridge topics apply`, never by publishing to them",
    ),
    ("partitioner", PARTITIONER),
    ("retries", RETRIES),
    ("message.send.max.retries", RETRIES),
    ("queuing.strategy", "it is always `fifo`: records are sent in their order"),
    ("plugin.library.paths", "fanbridge loads no code into its process: use a proxy or a broker plugin"),
    ("transactional.id", "transactions are not used: records are published at least once"),
    ("delivery.report.only.error", "a record leaves the spool only on its delivery report"),
    ("enable.sasl.oauthbearer.unsecure.jwt", TOKEN),
    ("test.mock.num.brokers", "records would go to a mock broker and be lost"),
];

const BROKERS: &str = "write the addresses as `brokers`";
const IN_FLIGHT: &str = "the idempotent producer decides it";
const ACKS: &str = "it is always `all`: a record is only settled when every in-sync replica has it";
const RETRIES: &str = "the number of retries has no bound: a record that is given up is lost to this sink";
const PARTITIONER: &str =
    "it is always `murmur2_random`: a key stays in one partition, the one that Java clients choose";
const TOKEN: &str = "write it as `sasl: { mechanism: OAUTHBEARER, token: file:PATH }`; another program has \
    to keep the file fresh";
const TIMEOUT: &str = "it is always 0: the spool keeps the records that a broker does not accept yet";

/// Why the user is not allowed to set this property, and what to do instead; `None` if it can be set.
pub fn decided(property: &str) -> Option<&'static str> {
    if property.starts_with("sasl.oauthbearer.") {
        return Some(TOKEN);
    }
    DECIDED.iter().find(|(decided, _)| *decided == property).map(|(_, instead)| *instead)
}

/// Checks one property by itself, as librdkafka would, without connecting.
///
/// # Errors
/// When librdkafka does not know the property or does not accept the value.
pub fn check_property(property: &str, value: &SecretString) -> Result<(), UnusableProperty> {
    // Set as a property, the mechanism would come without its token.
    if ["sasl.mechanism", "sasl.mechanisms"].contains(&property)
        && value.expose_secret().eq_ignore_ascii_case("OAUTHBEARER")
    {
        return Err(UnusableProperty { property: property.into(), problem: TOKEN.into() });
    }
    let mut alone = ClientConfig::new();
    alone.set(property, value.expose_secret());
    alone.create_native_config().map(drop).map_err(without_value)
}

/// Checks all properties of a sink together, without connecting.
///
/// # Errors
/// With the first property that is refused, unknown or missing.
pub fn check(config: &KafkaOptions) -> Result<(), UnusableProperty> {
    Settings::new(config).map(drop)
}

/// A checked set of producer properties.
#[derive(Clone)]
pub(super) struct Settings {
    client: ClientConfig,
    /// The token that an OAUTHBEARER client shows the brokers.
    pub token: Option<BearerToken>,
}

impl Settings {
    /// Checks the user's properties and combines them with the defaults and the fixed ones.
    pub fn new(config: &KafkaOptions) -> Result<Self, UnusableProperty> {
        let mut client = ClientConfig::new();
        client.set_log_level(RDKafkaLogLevel::Info);
        for (property, value) in DEFAULTS {
            client.set(*property, *value);
        }
        for (property, value) in &config.properties {
            if let Some(instead) = decided(property) {
                return Err(UnusableProperty { property: property.clone(), problem: instead.into() });
            }
            set_in_place_of_aliases(&mut client, property, value);
        }
        trust_system_authorities(&mut client);
        client.set("bootstrap.servers", &config.brokers);
        for (property, value) in FIXED {
            client.set(*property, *value);
        }
        if client.get("debug").is_some() {
            client.set_log_level(RDKafkaLogLevel::Debug);
        }
        client.create_native_config().map_err(without_value)?;
        Ok(Self { client, token: config.token.clone() })
    }

    /// For records sent in batches. A refused batch stops this producer, so that no later record
    /// overtakes it.
    pub fn batched(&self) -> ClientConfig {
        let mut client = self.client.clone();
        client.set("enable.gapless.guarantee", "true");
        client
    }

    /// For records sent one by one, so that a refusal is about one record.
    pub fn single(&self) -> ClientConfig {
        let mut client = self.client.clone();
        client.set("batch.num.messages", "1");
        client.set("linger.ms", "0");
        client.remove("queue.buffering.max.ms");
        client
    }

    /// For questions about the cluster, which publish nothing.
    pub fn admin(&self) -> ClientConfig {
        self.client.clone()
    }
}

/// Sets a property and removes its default under the other name. Some properties have two names;
/// librdkafka takes the one it reads last, which must be the user's.
fn set_in_place_of_aliases(client: &mut ClientConfig, property: &str, value: &SecretString) {
    const ALIASES: &[(&str, &str)] =
        &[("queue.buffering.max.ms", "linger.ms"), ("compression.codec", "compression.type")];
    for (alias, name) in ALIASES {
        if property == *alias {
            client.remove(name);
        }
    }
    client.set(property, value.expose_secret());
}

/// Without authorities of the user's, those of this system are trusted. The OpenSSL that the feature `static`
/// builds looks for them where its own build would have put them, which is nowhere: there librdkafka searches
/// the places that distributions use, unless the environment names a place.
fn trust_system_authorities(client: &mut ClientConfig) {
    let named = ["SSL_CERT_FILE", "SSL_CERT_DIR"].iter().any(|name| std::env::var_os(name).is_some());
    if cfg!(feature = "static") && !named && client.get("ssl.ca.location").is_none() {
        client.set("ssl.ca.location", "probe");
    }
}

/// Removes the value from librdkafka's message, which repeats it.
fn without_value(error: KafkaError) -> UnusableProperty {
    match error {
        KafkaError::ClientConfig(_, problem, property, value) => {
            let problem = if value.is_empty() { problem } else { problem.replace(&value, "***") };
            UnusableProperty { property, problem }
        }
        other => UnusableProperty { property: "?".into(), problem: other.to_string() },
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn settings(properties: &[(&str, &str)]) -> Result<Settings, UnusableProperty> {
        Settings::new(&KafkaOptions {
            brokers: "127.0.0.1:1".into(),
            properties: properties.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            token: None,
            structured: false,
        })
    }

    fn problem(properties: &[(&str, &str)]) -> String {
        settings(properties).err().map_or_else(String::new, |problem| problem.to_string())
    }

    #[test]
    fn the_defaults_are_properties_that_librdkafka_knows() {
        assert_eq!(problem(&[]), "");
    }

    #[test]
    fn what_the_guarantees_rest_on_cannot_be_changed_under_any_of_its_names() {
        for (decided, instead) in DECIDED {
            assert_eq!(problem(&[(decided, "1")]), format!("kafka property `{decided}`: {instead}"));
        }
        for (property, _) in FIXED {
            assert!(decided(property).is_some(), "{property} is set last, so a user's value would be lost");
        }
        let client = settings(&[]).unwrap().batched();
        for (property, value) in FIXED {
            assert_eq!(client.get(property), Some(*value));
        }
    }

    #[test]
    fn a_users_property_wins_over_a_default_also_under_its_other_name() {
        let client =
            settings(&[("queue.buffering.max.ms", "77"), ("compression.codec", "zstd")]).unwrap().batched();
        let native = client.create_native_config().unwrap();
        assert_eq!(native.get("linger.ms").unwrap(), "77");
        assert_eq!(native.get("compression.type").unwrap(), "zstd");
    }

    #[test]
    fn an_unknown_property_and_an_impossible_value_are_named_without_the_value() {
        assert!(problem(&[("sasl.pasword", "hunter2")]).contains("`sasl.pasword`"));
        let said = problem(&[("security.protocol", "hunter2")]);
        assert!(said.contains("`security.protocol`") && !said.contains("hunter2"), "{said}");
    }

    #[test]
    fn oauthbearer_is_no_property_because_it_comes_with_its_token() {
        for (property, value) in [
            ("sasl.mechanism", "OAUTHBEARER"),
            ("sasl.mechanisms", "oauthbearer"),
            ("sasl.mechanisms", "PLAIN"),
        ] {
            let refused = check_property(property, &value.into()).is_err();
            assert_eq!(refused, value != "PLAIN", "{property}: {value}");
        }
        assert!(problem(&[("sasl.oauthbearer.method", "oidc")]).contains("token: file:PATH"));
    }
}
