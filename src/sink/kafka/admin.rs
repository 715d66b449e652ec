//! Questions to a cluster about its topics, and making the missing ones: for commands, not for
//! the running bridge, which never creates a topic.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, DeliveryResult, Producer, ProducerContext};

use super::settings::Settings;
use super::{KafkaSinkError, cannot_start};
use crate::config::KafkaConfig;

/// Lets the broker choose partitions or replicas.
const BROKERS_DEFAULT: i32 = -1;

/// A cluster, as its administrator sees it.
pub struct KafkaAdmin {
    client: AdminClient<DefaultClientContext>,
    settings: Settings,
    brokers: String,
    timeout: Duration,
}

/// A topic as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicShape {
    /// How many partitions it has.
    pub partitions: usize,
    /// How many replicas its first partition has.
    pub replication: usize,
}

/// A cluster that does not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum KafkaAdminError {
    /// The client could not be made: the configuration has to change.
    #[error(transparent)]
    Sink(#[from] KafkaSinkError),
    /// The cluster did not answer, or not as hoped; it may later.
    #[error("kafka at {brokers}: {problem}")]
    Cluster {
        /// The brokers that were asked.
        brokers: String,
        /// What went wrong.
        problem: String,
    },
}

impl KafkaAdmin {
    /// A client with the sink's own settings. Each request may take as long as `timeout`.
    ///
    /// # Errors
    /// When a property cannot be used.
    pub fn new(config: &KafkaConfig, timeout: Duration) -> Result<Self, KafkaAdminError> {
        let settings = Settings::new(config).map_err(KafkaSinkError::from)?;
        if settings.token_file.is_some() {
            return Err(KafkaAdminError::Cluster {
                brokers: config.brokers.clone(),
                problem: "an OAuth token cannot be used for questions about topics".into(),
            });
        }
        let client = settings.admin().create().map_err(cannot_start)?;
        Ok(Self { client, settings, brokers: config.brokers.clone(), timeout })
    }

    /// All topics of the cluster that these credentials may see. Blocks.
    ///
    /// # Errors
    /// When no broker answers in time.
    pub fn topics(&self) -> Result<BTreeMap<String, TopicShape>, KafkaAdminError> {
        // All of them: asking for one by name would make a broker with auto-creation create it.
        let metadata =
            self.client.inner().fetch_metadata(None, self.timeout).map_err(|error| self.failed(&error))?;
        let shape = |topic: &rdkafka::metadata::MetadataTopic| TopicShape {
            partitions: topic.partitions().len(),
            replication: topic.partitions().first().map_or(0, |partition| partition.replicas().len()),
        };
        let exists = |topic: &&rdkafka::metadata::MetadataTopic| topic.error().is_none();
        Ok(metadata
            .topics()
            .iter()
            .filter(exists)
            .map(|topic| (topic.name().to_owned(), shape(topic)))
            .collect())
    }

    /// Creates topics; `None` leaves a number to the broker. Says for each what went wrong, if
    /// something did; a topic that somebody else created meanwhile is no failure.
    ///
    /// # Errors
    /// When the request as a whole fails.
    pub async fn create(
        &self,
        names: &[&str],
        partitions: Option<u16>,
        replication: Option<u16>,
    ) -> Result<Vec<(String, Option<String>)>, KafkaAdminError> {
        let number = |given: Option<u16>| given.map_or(BROKERS_DEFAULT, i32::from);
        let topics: Vec<_> = names
            .iter()
            .map(|name| NewTopic::new(name, number(partitions), TopicReplication::Fixed(number(replication))))
            .collect();
        let options =
            AdminOptions::new().request_timeout(Some(self.timeout)).operation_timeout(Some(self.timeout));
        let results =
            self.client.create_topics(&topics, &options).await.map_err(|error| self.failed(&error))?;
        Ok(results
            .into_iter()
            .map(|result| match result {
                Ok(name) | Err((name, RDKafkaErrorCode::TopicAlreadyExists)) => (name, None),
                Err((name, code)) => (name, Some(code.to_string())),
            })
            .collect())
    }

    fn failed(&self, error: &KafkaError) -> KafkaAdminError {
        let code = error.rdkafka_error_code();
        let problem = code.map_or_else(|| error.to_string(), |code| code.to_string());
        let problem = match code {
            Some(RDKafkaErrorCode::BrokerTransportFailure) => self.why_unreachable().unwrap_or(problem),
            _ => problem,
        };
        KafkaAdminError::Cluster { brokers: self.brokers.clone(), problem }
    }

    /// Why no broker can be reached (refused, wrong password, unknown certificate): an
    /// administrator's client keeps that to itself, a producer tells.
    fn why_unreachable(&self) -> Option<String> {
        let producer: BaseProducer<Listener> =
            self.settings.admin().create_with_context(Listener::default()).ok()?;
        let deadline = Instant::now() + LISTEN;
        while Instant::now() < deadline {
            producer.poll(Duration::from_millis(50));
            let heard = producer.context().heard.lock().unwrap_or_else(PoisonError::into_inner);
            if heard.is_some() {
                return heard.clone();
            }
        }
        None
    }
}

/// How long to wait for a producer's first complaint.
const LISTEN: Duration = Duration::from_secs(2);

/// Keeps a producer's first complaint.
#[derive(Default)]
struct Listener {
    heard: Mutex<Option<String>>,
}

impl ClientContext for Listener {
    fn log(&self, _level: RDKafkaLogLevel, _kind: &str, _line: &str) {}

    fn error(&self, _error: KafkaError, reason: &str) {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| reason.to_owned());
    }
}

impl ProducerContext for Listener {
    type DeliveryOpaque = ();

    fn delivery(&self, _result: &DeliveryResult<'_>, (): ()) {}
}
