//! Publishes to Kafka at least once and in order per key: idempotent producers, acknowledgements of
//! all in-sync replicas, no local time-out.
//!
//! Records are normally sent in librdkafka's batches (the `batched` producer). After a refused batch the
//! records of its topic are sent one by one for a while (the `single` producer), so that the refusal finds
//! the one record that caused it. The first of them leaves only when the dispatcher hands the refused batch
//! over again: by then nothing of the topic is left in `batched`.
//!
//! Invariant: [`Outcome::Accepted`] means that all in-sync replicas have the record. After a fatal error of
//! a producer a record can be in the topic twice, and one that had left behind a record that then failed
//! can be in the topic before it. The dispatcher publishes the failed record again and then those of its
//! key behind it, so that the last copies of a key are in order.

mod admin;
mod complaint;
mod context;
mod encoder;
mod isolated_topics;
mod msk;
mod oauth;
mod options;
mod outcome;
mod producer;
mod reach;
mod settings;
pub mod threads;
mod wire;

pub use msk::MskIam;
pub use options::{BearerToken, KafkaOptions};

use parking_lot::Mutex;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

pub use self::admin::{HiddenBy, KafkaAdmin, KafkaAdminError, TopicShape};
use self::context::{SinkContext, place};
use self::encoder::{Encoder, RecordForm};
use self::outcome::Journey;
use self::producer::{ProducerHandle, SupervisedProducer};
use self::settings::Settings;
pub use self::settings::{MESSAGE_BYTES_MAX, UnusableProperty, check, check_property, decided};
use super::outcomes::{OutcomeTable, held};
use super::{CarriedAttributes, Cause, Outcome, Publication, Reason, Sink};
use crate::event::Record;
use crate::telemetry::Episode;

/// A Kafka cluster as a sink.
pub struct KafkaSink {
    /// One lock while a batch is handed over: two concurrent calls keep their order.
    producers: Mutex<Producers>,
    form: RecordForm,
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
    common: SinkContext,
    batched: SupervisedProducer,
    /// Started when the records of a topic first have to be sent one by one.
    single: Option<SupervisedProducer>,
    /// The time in which it has to be started and cannot be.
    single_missing: Episode<String>,
}

impl KafkaSink {
    /// Checks the properties and starts the producer, which connects in the background.
    ///
    /// # Errors
    /// When a property is refused or unknown, or librdkafka cannot start with the properties.
    pub fn new(
        name: &str,
        config: &KafkaOptions,
        carried: &CarriedAttributes,
    ) -> Result<Self, KafkaSinkError> {
        let settings = Settings::new(config)?;
        let common = SinkContext::new(name, settings.token.clone());
        let batched = SupervisedProducer::start(settings.batched(), common.contexts(false));
        let batched = batched.map_err(cannot_start)?;
        common
            .reach
            .ask_by(batched.producer_while_it_lives())
            .map_err(|error| KafkaSinkError::Client(error.to_string()))?;
        let producers = Producers {
            settings,
            common: common.clone(),
            batched,
            single: None,
            single_missing: Episode::reminding(),
        };
        let form = RecordForm { structured: config.structured, carried: carried.clone() };
        Ok(Self { producers: Mutex::new(producers), form, common })
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
        let (number, publication) = self.common.outcomes.open(&batch);
        let handles = producers.for_batch();
        let mut encoder = Encoder::new(&self.form);
        if let Some(record) = batch.first() {
            self.common.reach.publishes_to(&record.topic);
        }
        let mut queue_full = false;
        for (index, record) in batch.iter().enumerate() {
            let refused = if queue_full {
                let full = RDKafkaErrorCode::QueueFull;
                Some(outcome::judge(full).outcome(full, Journey::Batched))
            } else if handles.is_held(record, &self.common.outcomes) {
                Some(held())
            } else {
                let sent = handles.send(record, &mut encoder, place(number, index));
                queue_full = sent == Err(RDKafkaErrorCode::QueueFull);
                sent.err().map(|code| handles.outcome_of(code, record))
            };
            if let Some(outcome) = refused {
                self.common.outcomes.settle(number, index, outcome);
            }
        }
        drop(producers);
        self.common.outcomes.seal(number);
        publication
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
        let isolated =
            self.common.isolated.now(|| self.single.as_ref().is_none_or(SupervisedProducer::is_idle));
        if !isolated.is_empty() && self.single.is_none() {
            self.start_single();
        }
        BatchProducers {
            batched: self.batched.producer(),
            single: self.single.as_ref().filter(|_| !isolated.is_empty()).map(SupervisedProducer::producer),
            isolated,
        }
    }

    fn start_single(&mut self) {
        let contexts = self.common.contexts(true);
        let started = SupervisedProducer::start(self.settings.single(), contexts);
        let (sink, now) = (&*self.common.sink, Instant::now());
        match started {
            Ok(producer) => {
                self.single = Some(producer);
                if let Some(seconds) = self.single_missing.over(now).map(|end| end.seconds()) {
                    tracing::info!(sink, seconds, "a Kafka client for single records could be created");
                }
            }
            Err(error) => {
                let reason = cannot_start(error).to_string();
                if self.single_missing.happens(reason.clone(), now).is_some() {
                    tracing::error!(
                        sink,
                        "no Kafka client for single records can be created, so the records of topics with a \
                         refused batch are still sent in batches: {reason}"
                    );
                }
            }
        }
    }
}

impl BatchProducers {
    fn producer_for(&self, record: &Record) -> &ProducerHandle {
        match &self.single {
            Some(single) if self.isolated.contains(&record.topic) => single,
            _ => &self.batched,
        }
    }

    /// Whether the record has to wait for an earlier one of its key. Behind a refusal it waits for any of
    /// its topic: the record would go to `single` while others of its key can still be on their way in
    /// `batched`, and the two producers do not know each other's order.
    fn is_held(&self, record: &Record, outcomes: &OutcomeTable) -> bool {
        match &self.single {
            Some(_) if self.isolated.contains(&record.topic) => outcomes.is_topic_held(record),
            _ => outcomes.is_held(record),
        }
    }

    fn send(&self, record: &Record, encoder: &mut Encoder<'_>, place: usize) -> Result<(), RDKafkaErrorCode> {
        self.producer_for(record).send(record, encoder, place)
    }

    /// The outcome of a record that librdkafka refused at once, without asking a broker. It looked at
    /// no other record, so the refusal is about this one.
    fn outcome_of(&self, code: RDKafkaErrorCode, record: &Record) -> Outcome {
        match outcome::judge(code) {
            judgement @ outcome::Judgement::Refused(_) => {
                judgement.outcome(code, Journey::Single { others_pass: false })
            }
            judgement => {
                let context = self.producer_for(record).context();
                let outcome = context.outcome_of(code, &record.topic);
                if judgement.isolates_topic() {
                    context.common.isolated.add(&record.topic);
                }
                outcome
            }
        }
    }
}

fn cannot_start(error: KafkaError) -> KafkaSinkError {
    match error {
        KafkaError::ClientCreation(reason) => KafkaSinkError::Client(reason),
        other => KafkaSinkError::Client(other.to_string()),
    }
}
