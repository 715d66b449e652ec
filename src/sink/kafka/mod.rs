//! Publishes to Kafka at least once and in order per key: idempotent producers, acknowledgements of
//! all in-sync replicas, no local time-out.
//!
//! Records are normally sent in librdkafka's batches (the `batched` producer). After a refused batch the
//! records of its topic are sent one by one for a while (the `single` producer), so that the refusal finds
//! the one record that caused it.
//!
//! Invariant: [`Outcome::Accepted`] means that all in-sync replicas have the record. After a lost
//! answer or a fatal producer error a record can be in the topic twice, and a record that had left
//! behind one that then failed can be in the topic before it. Both are published again, so that the
//! last copies of a key are in order.

mod admin;
mod complaint;
mod context;
mod isolated_topics;
mod oauth;
mod options;
mod outcome;
mod producer;
mod reach;
mod settings;
pub mod threads;

pub use options::{BearerToken, KafkaOptions};

use parking_lot::Mutex;
use std::collections::HashSet;
use std::sync::Arc;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

pub use self::admin::{KafkaAdmin, KafkaAdminError, TopicShape};
use self::context::{SinkContext, place};
use self::outcome::Journey;
use self::producer::{ProducerHandle, SupervisedProducer};
use self::settings::Settings;
pub use self::settings::{MESSAGE_BYTES_MAX, UnusableProperty, check, check_property, decided};
use super::outcomes::held;
use super::{Cause, Outcome, Publication, Reason, Sink};
use crate::event::Record;

/// A Kafka cluster as a sink.
pub struct KafkaSink {
    /// One lock while a batch is handed over: two concurrent calls keep their order.
    producers: Mutex<Producers>,
    common: SinkContext,
}

/// Why a Kafka sink cannot be created.
#[derive(Debug, thiserror::Error)]
pub enum KafkaSinkError {
    /// A configured property cannot be used.
    #[error(transparent)]
    Property(#[from] UnusableProperty),
    /// librdkafka could not start, because properties contradict each other or a file is missing.
    #[error("the Kafka client cannot start: {0}")]
    Client(String),
}

struct Producers {
    settings: Settings,
    structured: bool,
    common: SinkContext,
    batched: SupervisedProducer,
    /// Started when the records of a topic first have to be sent one by one.
    single: Option<SupervisedProducer>,
}

impl KafkaSink {
    /// Checks the properties and starts the producer, which connects in the background.
    ///
    /// # Errors
    /// When a property is refused or unknown, or librdkafka cannot start with the properties.
    pub fn new(name: &str, config: &KafkaOptions) -> Result<Self, KafkaSinkError> {
        let settings = Settings::new(config)?;
        let common = SinkContext::new(name, settings.token.clone());
        let batched =
            SupervisedProducer::start(settings.batched(), config.structured, common.contexts(false));
        let batched = batched.map_err(cannot_start)?;
        common
            .reach
            .ask_by(batched.producer_while_it_lives())
            .map_err(|error| KafkaSinkError::Client(error.to_string()))?;
        let structured = config.structured;
        let producers = Producers { settings, structured, common: common.clone(), batched, single: None };
        Ok(Self { producers: Mutex::new(producers), common })
    }
}

impl Drop for KafkaSink {
    fn drop(&mut self) {
        self.common.reach.end();
    }
}

impl Sink for KafkaSink {
    fn publish(&self, batch: Vec<Arc<Record>>) -> Publication {
        let mut producers = self.producers.lock();
        let (number, claim) = self.common.in_flight.open(&batch);
        let mut handles = producers.for_batch();
        if let Some(record) = batch.first() {
            self.common.reach.publishes_to(&record.topic);
        }
        let mut queue_full = false;
        for (index, record) in batch.iter().enumerate() {
            let refused = if queue_full {
                let full = RDKafkaErrorCode::QueueFull;
                Some(outcome::judge(full).outcome(full, Journey::Batched))
            } else if self.common.in_flight.is_held(record) {
                Some(held())
            } else {
                let sent = handles.send(record, place(number, index));
                queue_full = sent == Err(RDKafkaErrorCode::QueueFull);
                sent.err().map(|code| handles.outcome_of(code, record))
            };
            if let Some(outcome) = refused {
                self.common.in_flight.settle(number, index, outcome);
            }
        }
        drop(producers);
        self.common.in_flight.seal(number);
        claim
    }

    fn complaint(&self) -> Option<String> {
        self.common.complaint.last()
    }

    fn obstacle(&self) -> Option<Reason> {
        let unknown = || "no Kafka broker answers: none of `brokers` can be reached, or they hang".into();
        let detail = || self.complaint().unwrap_or_else(unknown);
        self.common.reach.is_silent().then(|| Reason::new(Cause::NO_ANSWER, detail()))
    }
}

/// The two producers as one batch uses them, and the topics whose records go to `single`.
struct BatchProducers {
    batched: ProducerHandle,
    single: Option<ProducerHandle>,
    isolated: HashSet<Arc<str>>,
}

impl Producers {
    fn for_batch(&mut self) -> BatchProducers {
        let batched = self.batched.producer();
        let mut isolated =
            self.common.isolated.now(|| self.single.as_ref().is_none_or(SupervisedProducer::is_idle));
        // The first record of a refused batch isolates its topic, and the others can still wait for their
        // report: a later record of such a key, sent alone, would overtake. The dead producer refuses all
        // records, and its successor comes only when all are reported.
        if !isolated.is_empty() && batched.is_dead() {
            isolated.clear();
        }
        if !isolated.is_empty() && self.single.is_none() {
            match SupervisedProducer::start(
                self.settings.single(),
                self.structured,
                self.common.contexts(true),
            ) {
                Ok(producer) => self.single = Some(producer),
                Err(error) => tracing::error!(
                    sink = &*self.common.sink,
                    "no Kafka client for single records can be created, so the records of topics with a \
                     refused batch are still sent in batches: {}",
                    cannot_start(error)
                ),
            }
        }
        BatchProducers {
            batched,
            single: self.single.as_ref().filter(|_| !isolated.is_empty()).map(SupervisedProducer::producer),
            isolated,
        }
    }
}

impl BatchProducers {
    fn producer_for(&mut self, record: &Record) -> &mut ProducerHandle {
        match &mut self.single {
            Some(single) if self.isolated.contains(&record.topic) => single,
            _ => &mut self.batched,
        }
    }

    fn send(&mut self, record: &Record, place: usize) -> Result<(), RDKafkaErrorCode> {
        self.producer_for(record).send(record, place)
    }

    /// The outcome of a record that librdkafka refused at once, without asking a broker. It looked at
    /// no other record, so the refusal is about this one.
    fn outcome_of(&mut self, code: RDKafkaErrorCode, record: &Record) -> Outcome {
        match outcome::judge(code) {
            judgement @ outcome::Judgement::Refused(_) => {
                judgement.outcome(code, Journey::Single { others_pass: false })
            }
            _ => self.producer_for(record).context().outcome_of(code, &record.topic),
        }
    }
}

fn cannot_start(error: KafkaError) -> KafkaSinkError {
    match error {
        KafkaError::ClientCreation(reason) => KafkaSinkError::Client(reason),
        other => KafkaSinkError::Client(other.to_string()),
    }
}
