//! Asks a Kafka cluster about its topics and creates the missing ones. Used by commands only: the
//! running bridge never creates a topic.

use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::error::Error;
use std::time::{Duration, Instant};

use rdkafka::admin::{
    AdminClient, AdminOptions, NewTopic, OwnedResourceSpecifier, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::{ClientContext, DefaultClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, DeliveryResult, Producer, ProducerContext};
use serde::Deserialize;

use super::settings::Settings;
use super::wire::{BrokerConnection, NewTopics, TopicResult};
use super::{BearerToken, KafkaOptions};
use super::{KafkaSinkError, cannot_start, complaint, oauth};
use crate::telemetry::Shown;

/// The topic property that says how many in-sync replicas must have a record before it is
/// acknowledged.
const MIN_INSYNC: &str = "min.insync.replicas";
/// Tells the broker to use its own default number of partitions or replicas.
const BROKERS_DEFAULT: i32 = -1;

/// An administrator's client of one cluster.
pub struct KafkaAdmin {
    /// Asks for metadata. An admin client neither reports why it reaches no broker nor takes an OAuth
    /// token; a producer does both. What that cannot ask, a [`BrokerConnection`] asks with the token.
    producer: BaseProducer<Listener>,
    settings: Settings,
    options: KafkaOptions,
    timeout: Duration,
}

/// The properties of an existing topic that decide how safe its records are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicShape {
    /// Number of partitions.
    pub partitions: usize,
    /// Number of replicas of the partition that has the fewest.
    pub replication: usize,
    /// Number of in-sync replicas of the partition that has the fewest now.
    pub in_sync: usize,
    /// Its `min.insync.replicas`, if these credentials are allowed to read it.
    pub min_insync: Option<u32>,
}

impl TopicShape {
    /// Why an acknowledged record of this topic can still be lost, and what to do; `None` if it is
    /// safe.
    pub fn weakness(&self) -> Option<String> {
        const LOSS: &str = "an acknowledged record is lost if the disk of that one broker fails";
        if self.replication < 2 {
            return Some(format!("the topic has one replica: {LOSS}; give it three replicas"));
        }
        match self.min_insync {
            Some(0 | 1) => Some(format!(
                "its `min.insync.replicas` is below 2, so a single replica can acknowledge a record: {LOSS}; \
                 set it to 2"
            )),
            Some(_) => None,
            None => Some(
                "its `min.insync.replicas` cannot be read (that takes DescribeConfigs on the topic): make \
                 sure that it is 2 or more"
                    .into(),
            ),
        }
    }
}

/// What keeps credentials from seeing a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HiddenBy {
    /// There is no such topic, or these credentials cannot describe it.
    Absence,
    /// These credentials are not allowed to describe it.
    Permission,
    /// Something else that the broker says.
    Other(String),
}

/// A request to a Kafka cluster that failed.
#[derive(Debug, thiserror::Error)]
pub enum KafkaAdminError {
    /// The client cannot be created until the configuration is changed.
    #[error(transparent)]
    Sink(#[from] KafkaSinkError),
    /// The cluster did not answer, or answered with an error; a later attempt can succeed.
    #[error("kafka at {brokers}: {problem}")]
    Cluster {
        /// The brokers that were asked.
        brokers: String,
        /// The error, or the client's explanation of it.
        problem: String,
    },
}

impl KafkaAdmin {
    /// A client with the settings of this sink. Each request takes at most `timeout`.
    ///
    /// # Errors
    /// When a configured property cannot be used.
    pub fn new(config: &KafkaOptions, timeout: Duration) -> Result<Self, KafkaAdminError> {
        let settings = Settings::new(config).map_err(KafkaSinkError::from)?;
        let listener = Listener { token: settings.token.clone(), ..Listener::default() };
        let mut client = settings.admin();
        // The statistics say whether the cluster has taken the producer.
        client.set("statistics.interval.ms", "200");
        let producer = client.create_with_context(listener).map_err(cannot_start)?;
        Ok(Self { producer, settings, options: config.clone(), timeout })
    }

    /// All topics of the cluster that these credentials are allowed to see. Blocks for up to
    /// `timeout`.
    ///
    /// # Errors
    /// When no broker answers in time.
    pub fn topics(&self) -> Result<BTreeMap<String, TopicShape>, KafkaAdminError> {
        if self.settings.token.is_some() {
            self.listen(|heard| heard.token_shown);
        }
        // Asks for all topics: a broker with auto-creation would create a topic that is asked for by
        // name.
        let metadata =
            self.producer.client().fetch_metadata(None, self.timeout).map_err(|error| self.failed(&error))?;
        let shape = |topic: &rdkafka::metadata::MetadataTopic| TopicShape {
            partitions: topic.partitions().len(),
            replication: fewest(topic, |partition| partition.replicas().len()),
            in_sync: fewest(topic, |partition| partition.isr().len()),
            min_insync: None,
        };
        let exists = |topic: &&rdkafka::metadata::MetadataTopic| topic.error().is_none();
        Ok(metadata
            .topics()
            .iter()
            .filter(exists)
            .map(|topic| (topic.name().to_owned(), shape(topic)))
            .collect())
    }

    /// Why these credentials do not see this topic, which asks for the topic by its name and creates none;
    /// `None` if they see it. Blocks for up to `timeout`.
    ///
    /// # Errors
    /// When no broker answers in time.
    pub fn hidden_by(&self, topic: &str) -> Result<Option<HiddenBy>, KafkaAdminError> {
        let metadata = self.producer.client().fetch_metadata(Some(topic), self.timeout);
        let metadata = metadata.map_err(|error| self.failed(&error))?;
        let error = metadata.topics().iter().find_map(rdkafka::metadata::MetadataTopic::error);
        Ok(error.map(|error| match RDKafkaErrorCode::from(error) {
            RDKafkaErrorCode::TopicAuthorizationFailed => HiddenBy::Permission,
            RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic => HiddenBy::Absence,
            code => HiddenBy::Other(code.to_string()),
        }))
    }

    /// Waits until the cluster has given the idempotent producer its id, which writes nothing; `None` if that
    /// takes longer than `timeout`, else why the cluster refuses it. Blocks.
    pub fn producer_id(&self, timeout: Duration) -> Option<Result<(), String>> {
        let deadline = Instant::now() + timeout;
        while Instant::now() < deadline {
            if let Some((_, refusal)) = self.producer.client().fatal_error() {
                return Some(Err(refusal));
            }
            if self.producer.context().heard().has_producer_id {
                return Some(Ok(()));
            }
            self.producer.poll(Duration::from_millis(50));
        }
        None
    }

    /// Reads `min.insync.replicas` of these topics; leaves out topics that these credentials cannot
    /// describe.
    ///
    /// # Errors
    /// When the request as a whole fails.
    pub async fn min_insync(&self, names: &[&str]) -> Result<BTreeMap<String, u32>, KafkaAdminError> {
        if names.is_empty() {
            return Ok(BTreeMap::new());
        }
        if let Some(token) = &self.settings.token {
            let asked = async {
                let token = shown(token).await?;
                BrokerConnection::to_any(&self.options, &token).await?.property(names, MIN_INSYNC).await
            };
            let values = self.in_time(asked).await?;
            let known = values.into_iter().filter_map(|(name, value)| Some((name, value.parse().ok()?)));
            return Ok(known.collect());
        }
        let client = self.client()?;
        let topics: Vec<_> = names.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
        let options = AdminOptions::new().request_timeout(Some(self.timeout));
        let results =
            client.describe_configs(&topics, &options).await.map_err(|error| self.failed(&error))?;
        let known = results.into_iter().flatten().filter_map(|resource| {
            let least = resource.get(MIN_INSYNC)?.value.as_deref()?.parse().ok()?;
            match resource.specifier {
                OwnedResourceSpecifier::Topic(name) => Some((name, least)),
                _ => None,
            }
        });
        Ok(known.collect())
    }

    fn client(&self) -> Result<AdminClient<DefaultClientContext>, KafkaAdminError> {
        Ok(self.settings.admin().create().map_err(cannot_start)?)
    }

    /// Creates topics with these properties; `None` leaves a number to the broker. Returns each topic
    /// with its error, if it was not created; a topic that exists already counts as created.
    ///
    /// # Errors
    /// When the request as a whole fails.
    pub async fn create(
        &self,
        names: &[&str],
        partitions: Option<u16>,
        replication: Option<u16>,
        properties: &[(String, String)],
    ) -> Result<Vec<(String, Option<String>)>, KafkaAdminError> {
        if let Some(token) = &self.settings.token {
            return self.create_with(token, names, partitions, replication, properties).await;
        }
        let client = self.client()?;
        let number = |given: Option<u16>| given.map_or(BROKERS_DEFAULT, i32::from);
        let new = |name| {
            let replication = TopicReplication::Fixed(number(replication));
            let new = NewTopic::new(name, number(partitions), replication);
            properties.iter().fold(new, |new, (property, value)| new.set(property, value))
        };
        let topics: Vec<_> = names.iter().map(|name| new(name)).collect();
        let options =
            AdminOptions::new().request_timeout(Some(self.timeout)).operation_timeout(Some(self.timeout));
        let results = client.create_topics(&topics, &options).await.map_err(|error| self.failed(&error))?;
        Ok(results
            .into_iter()
            .map(|result| match result {
                Ok(name) | Err((name, RDKafkaErrorCode::TopicAlreadyExists)) => (name, None),
                Err((name, code @ (RDKafkaErrorCode::InvalidConfig | RDKafkaErrorCode::InvalidRequest)))
                    if !properties.is_empty() =>
                {
                    (name, Some(format!("{UNUSABLE_PROPERTY}: {code}")))
                }
                Err((name, code)) => (name, Some(code.to_string())),
            })
            .collect())
    }

    /// The same with an OAuth token.
    async fn create_with(
        &self,
        token: &BearerToken,
        names: &[&str],
        partitions: Option<u16>,
        replication: Option<u16>,
        properties: &[(String, String)],
    ) -> Result<Vec<(String, Option<String>)>, KafkaAdminError> {
        let number = |given: Option<u16>| given.map_or(BROKERS_DEFAULT, i32::from);
        let topics = NewTopics {
            names,
            partitions: number(partitions),
            replication: i16::try_from(number(replication)).unwrap_or(i16::MAX),
            properties,
            timeout_ms: i32::try_from(self.timeout.as_millis()).unwrap_or(i32::MAX),
        };
        let asked = async {
            let token = shown(token).await?;
            BrokerConnection::to_controller(&self.options, &token).await?.create(&topics).await
        };
        let results = self.in_time(asked).await?;
        let problem = |TopicResult { code, message, .. }: &TopicResult| {
            let said = message.as_deref().filter(|said| !said.is_empty());
            let said = said.map_or_else(|| format!("error {code}"), |said| Shown(said).to_string());
            match *code {
                0 | TOPIC_ALREADY_EXISTS => None,
                INVALID_CONFIG | INVALID_REQUEST if !properties.is_empty() => {
                    Some(format!("{UNUSABLE_PROPERTY}: {said}"))
                }
                _ => Some(said),
            }
        };
        Ok(results.into_iter().map(|result| (result.name.clone(), problem(&result))).collect())
    }

    /// What is asked, unless it takes too long. An unreachable broker takes two attempts at most.
    async fn in_time<T>(&self, asked: impl Future<Output = Result<T, String>>) -> Result<T, KafkaAdminError> {
        let failed = |problem| KafkaAdminError::Cluster { brokers: self.options.brokers.clone(), problem };
        let late = |_| format!("no answer within {} s", self.timeout.as_secs());
        let done = tokio::time::timeout(self.timeout, asked).await;
        done.map_err(late).and_then(|done| done).map_err(failed)
    }

    fn failed(&self, error: &KafkaError) -> KafkaAdminError {
        let code = error.rdkafka_error_code();
        let problem = code.map_or_else(|| error.to_string(), |code| code.to_string());
        let problem = match code {
            Some(RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::OperationTimedOut) => {
                self.why_unreachable().unwrap_or(problem)
            }
            _ => problem,
        };
        KafkaAdminError::Cluster { brokers: self.options.brokers.clone(), problem }
    }

    /// The client's explanation why it reaches no broker, such as a refused connection or a wrong
    /// password.
    fn why_unreachable(&self) -> Option<String> {
        self.listen(|heard| heard.complaint.is_some());
        self.producer.context().heard().complaint.clone()
    }

    /// Serves the client's callbacks until `enough` is true, for at most [`LISTEN`].
    fn listen(&self, enough: impl Fn(&Heard) -> bool) {
        let deadline = Instant::now() + LISTEN;
        while !enough(&self.producer.context().heard()) && Instant::now() < deadline {
            self.producer.poll(Duration::from_millis(50));
        }
    }
}

/// The least of a number that each partition of a topic has.
fn fewest(
    topic: &rdkafka::metadata::MetadataTopic,
    count: impl Fn(&rdkafka::metadata::MetadataPartition) -> usize,
) -> usize {
    topic.partitions().iter().map(count).min().unwrap_or_default()
}

/// How long to wait for a client's first complaint or its request for a token.
const LISTEN: Duration = Duration::from_secs(2);
const UNUSABLE_PROPERTY: &str = "the broker does not accept one of the `--property` values";
/// Numbers of errors in the Kafka protocol.
const TOPIC_ALREADY_EXISTS: i16 = 36;
const INVALID_CONFIG: i16 = 40;
const INVALID_REQUEST: i16 = 42;

/// The token as it is now, made where blocking harms nobody.
async fn shown(token: &BearerToken) -> Result<OAuthToken, String> {
    let token = token.clone();
    let made = tokio::task::spawn_blocking(move || oauth::token(&token)).await;
    made.map_err(|broken| format!("the token could not be made: {broken}"))?
}

/// Remembers a client's first complaint, and hands out the token when the client asks for it.
#[derive(Default)]
struct Listener {
    token: Option<BearerToken>,
    heard: Mutex<Heard>,
}

#[derive(Default)]
struct Heard {
    complaint: Option<String>,
    token_shown: bool,
    has_producer_id: bool,
}

/// What of librdkafka's statistics says whether the idempotent producer has its id.
#[derive(Deserialize)]
struct ProducerStatistics {
    eos: Option<IdempotenceStatistics>,
}

#[derive(Deserialize)]
struct IdempotenceStatistics {
    idemp_state: String,
}

impl Listener {
    fn note(&self, reason: &str) {
        self.heard().complaint.get_or_insert_with(|| complaint::explained(reason));
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock()
    }
}

impl ClientContext for Listener {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, kind: &str, line: &str) {
        if let Some(reason) = complaint::in_log_line(level, kind, line) {
            self.note(reason);
        }
    }

    fn error(&self, _error: KafkaError, reason: &str) {
        self.note(reason);
    }

    fn stats_raw(&self, json: &[u8]) {
        let read = serde_json::from_slice::<ProducerStatistics>(json).ok().and_then(|read| read.eos);
        if read.is_some_and(|eos| eos.idemp_state == "Assigned") {
            self.heard().has_producer_id = true;
        }
    }

    fn generate_oauth_token(&self, _config: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        self.heard().token_shown = true;
        Ok(oauth::token(self.token.as_ref().ok_or(oauth::NO_TOKEN)?)?)
    }
}

impl ProducerContext for Listener {
    type DeliveryOpaque = ();

    fn delivery(&self, _result: &DeliveryResult<'_>, (): ()) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_that_confirms_what_one_disk_has_is_weak_and_says_so() {
        let weakness = |replication, min_insync| {
            TopicShape { partitions: 3, replication, in_sync: replication, min_insync }
                .weakness()
                .unwrap_or_default()
        };
        assert!(weakness(1, Some(1)).contains("one replica") && weakness(1, Some(2)).contains("one replica"));
        assert!(weakness(3, Some(1)).contains("below 2"));
        assert!(weakness(3, None).contains("cannot be read"), "what cannot be told is not called good");
        assert_eq!(weakness(3, Some(2)), "");
    }
}
