//! Questions to a cluster about its topics, and making the missing ones: for commands, not for
//! the running bridge, which never creates a topic.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::admin::{
    AdminClient, AdminOptions, NewTopic, OwnedResourceSpecifier, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::{ClientContext, DefaultClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, DeliveryResult, Producer, ProducerContext};

use super::settings::Settings;
use super::{KafkaSinkError, cannot_start, complaint, oauth};
use crate::config::{BearerToken, KafkaConfig};

/// The property that says how many replicas must have a record before it is confirmed.
const MIN_INSYNC: &str = "min.insync.replicas";
/// Lets the broker choose partitions or replicas.
const BROKERS_DEFAULT: i32 = -1;

/// A cluster, as its administrator sees it.
pub struct KafkaAdmin {
    /// Asks the questions. An administrator's client keeps to itself why it reaches no broker, and
    /// takes no token; a producer does both.
    producer: BaseProducer<Listener>,
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
    /// Its `min.insync.replicas`, as far as it may be read.
    pub min_insync: Option<u32>,
}

impl TopicShape {
    /// What makes an acknowledgement of this topic worth less than it seems, and what to do.
    pub fn weakness(&self) -> Option<String> {
        const LOSS: &str = "a record that one broker confirmed is lost with its disk";
        if self.replication < 2 {
            return Some(format!("it has one replica: {LOSS}; give it three"));
        }
        match self.min_insync {
            Some(0 | 1) => Some(format!(
                "its `min.insync.replicas` is below 2, so one replica in step is enough to confirm: {LOSS}; set it to 2"
            )),
            Some(_) => None,
            None => Some(
                "its `min.insync.replicas` cannot be read (it takes DescribeConfigs on the topic, and no OAuth \
                 token): see that it is 2 or more"
                    .into(),
            ),
        }
    }
}

/// A cluster that does not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum KafkaAdminError {
    /// The client could not be made: the configuration has to change.
    #[error(transparent)]
    Sink(#[from] KafkaSinkError),
    /// It has to be done by other means.
    #[error("{0}")]
    Unable(&'static str),
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
        let listener = Listener { token: settings.token.clone(), ..Listener::default() };
        let producer = settings.admin().create_with_context(listener).map_err(cannot_start)?;
        Ok(Self { producer, settings, brokers: config.brokers.clone(), timeout })
    }

    /// All topics of the cluster that these credentials may see. Blocks.
    ///
    /// # Errors
    /// When no broker answers in time.
    pub fn topics(&self) -> Result<BTreeMap<String, TopicShape>, KafkaAdminError> {
        if self.settings.token.is_some() {
            self.listen(|heard| heard.token_shown);
        }
        // All of them: asking for one by name would make a broker with auto-creation create it.
        let metadata =
            self.producer.client().fetch_metadata(None, self.timeout).map_err(|error| self.failed(&error))?;
        let shape = |topic: &rdkafka::metadata::MetadataTopic| TopicShape {
            partitions: topic.partitions().len(),
            replication: topic.partitions().first().map_or(0, |partition| partition.replicas().len()),
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

    /// Reads `min.insync.replicas` of these topics; those of which it may not be read are left out.
    ///
    /// # Errors
    /// When the request as a whole fails.
    pub async fn min_insync(&self, names: &[&str]) -> Result<BTreeMap<String, u32>, KafkaAdminError> {
        if self.settings.token.is_some() || names.is_empty() {
            return Ok(BTreeMap::new());
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

    /// Creates topics with these properties; `None` leaves a number to the broker. Says for each what
    /// went wrong, if something did; a topic that somebody else created meanwhile is no failure.
    ///
    /// # Errors
    /// When the request as a whole fails, or would need a token.
    pub async fn create(
        &self,
        names: &[&str],
        partitions: Option<u16>,
        replication: Option<u16>,
        properties: &[(String, String)],
    ) -> Result<Vec<(String, Option<String>)>, KafkaAdminError> {
        if self.settings.token.is_some() {
            return Err(KafkaAdminError::Unable(NO_TOKEN_TO_CREATE));
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
                    (name, Some(format!("the broker does not take a `--property`: {code}")))
                }
                Err((name, code)) => (name, Some(code.to_string())),
            })
            .collect())
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
        KafkaAdminError::Cluster { brokers: self.brokers.clone(), problem }
    }

    /// Why no broker can be reached: refused, wrong password, unknown certificate.
    fn why_unreachable(&self) -> Option<String> {
        self.listen(|heard| heard.complaint.is_some());
        self.producer.context().heard().complaint.clone()
    }

    /// Lets the client say what it has to say, until that is enough or takes too long.
    fn listen(&self, enough: impl Fn(&Heard) -> bool) {
        let deadline = Instant::now() + LISTEN;
        while !enough(&self.producer.context().heard()) && Instant::now() < deadline {
            self.producer.poll(Duration::from_millis(50));
        }
    }
}

/// How long to wait for a client's first complaint, or its request for a token.
const LISTEN: Duration = Duration::from_secs(2);
const NO_TOKEN_TO_CREATE: &str = "topics cannot be created with an OAuth token; \
    create them with the cluster's own tools: `fanbridge topics plan` lists what is missing";

/// Keeps a client's first complaint, and shows its token when it is asked to.
#[derive(Default)]
struct Listener {
    token: Option<BearerToken>,
    heard: Mutex<Heard>,
}

#[derive(Default)]
struct Heard {
    complaint: Option<String>,
    token_shown: bool,
}

impl Listener {
    fn note(&self, reason: &str) {
        self.heard().complaint.get_or_insert_with(|| complaint::explained(reason));
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
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
            TopicShape { partitions: 3, replication, min_insync }.weakness().unwrap_or_default()
        };
        assert!(weakness(1, Some(1)).contains("one replica") && weakness(1, Some(2)).contains("one replica"));
        assert!(weakness(3, Some(1)).contains("below 2"));
        assert!(weakness(3, None).contains("cannot be read"), "what cannot be told is not called good");
        assert_eq!(weakness(3, Some(2)), "");
    }

    #[tokio::test]
    async fn creating_topics_with_a_token_is_refused_with_what_to_do_instead() {
        let config = KafkaConfig {
            brokers: "127.0.0.1:1".into(),
            properties: vec![("sasl.mechanisms".into(), "OAUTHBEARER".into())],
            token: Some(BearerToken::Fixed("opaque".into())),
            structured: false,
        };
        let admin = KafkaAdmin::new(&config, Duration::from_millis(100)).expect("a client");
        let refused = admin.create(&["t"], None, None, &[]).await.expect_err("no way to show the token");
        assert!(refused.to_string().contains("`fanbridge topics plan`"), "{refused}");
    }
}
