//! A Kafka producer with the thread that reads its delivery reports, and its replacement after a
//! fatal error.
//!
//! After a fatal error librdkafka cannot guarantee the order of its records any more. All records
//! that the dead producer still holds are then reported as to be published again, and only after the
//! last of these reports does a new producer take its place.

use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, PurgeConfig};

use super::context::CallbackContext;
use super::encoder::Encoder;
use crate::event::Record;
use crate::telemetry::{Episode, Shown};

/// How long one wait for reports lasts, which bounds how long a dead producer stays in use. A shorter
/// wait would cost processor time: the client waits in whole milliseconds and spins through the rest
/// of the last one. The 30 microseconds on top let a wait without reports end before that.
const LOOK_UP_INTERVAL: Duration = Duration::from_micros(250_030);
/// How long a dead producer's last requests can still be answered: each answer spares a duplicate.
const LAST_ANSWERS: Duration = Duration::from_millis(300);

/// A producer, its thread, and how to make its successor.
pub(super) struct SupervisedProducer {
    shared: Arc<ProducerSlot>,
}

struct ProducerSlot {
    config: ClientConfig,
    new_context: Box<dyn Fn() -> CallbackContext + Send + Sync>,
    producer: Mutex<Arc<BaseProducer<CallbackContext>>>,
    stop: AtomicBool,
}

impl SupervisedProducer {
    /// Makes the producer and starts its thread. The producer connects in the background.
    pub fn start(
        config: ClientConfig,
        new_context: impl Fn() -> CallbackContext + Send + Sync + 'static,
    ) -> Result<Self, KafkaError> {
        let producer = config.create_with_context(new_context())?;
        let shared = Arc::new(ProducerSlot {
            config,
            new_context: Box::new(new_context),
            producer: Mutex::new(Arc::new(producer)),
            stop: AtomicBool::new(false),
        });
        let thread = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("kafka-reports".into())
            .spawn(move || thread.read_reports())
            .map_err(|error| KafkaError::ClientCreation(error.to_string()))?;
        Ok(Self { shared })
    }

    /// The producer in use, to hand it one batch.
    pub fn producer(&self) -> ProducerHandle {
        ProducerHandle { producer: self.shared.producer() }
    }

    /// A function that returns the producer in use, and `None` once this supervised producer is dropped.
    pub fn producer_while_it_lives(
        &self,
    ) -> impl Fn() -> Option<Arc<BaseProducer<CallbackContext>>> + Send + use<> {
        let shared = Arc::downgrade(&self.shared);
        move || {
            shared
                .upgrade()
                .filter(|shared| !shared.stop.load(Ordering::Acquire))
                .map(|shared| shared.producer())
        }
    }

    /// Whether every record handed over has been reported.
    pub fn is_idle(&self) -> bool {
        self.shared.producer().in_flight_count() == 0
    }
}

impl Drop for SupervisedProducer {
    /// Lets the thread end, which drops the producer without waiting for the records in it.
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
    }
}

/// The producer in use, while one batch is handed to it.
pub(super) struct ProducerHandle {
    producer: Arc<BaseProducer<CallbackContext>>,
}

impl ProducerHandle {
    /// Hands one record over; its delivery report names `place`. After an error there is no other
    /// report. The client copies the value, and takes the headers as they are.
    pub fn send(
        &self,
        record: &Record,
        encoder: &mut Encoder<'_>,
        place: usize,
    ) -> Result<(), RDKafkaErrorCode> {
        let (headers, payload) = encoder.encode(record);
        let message = BaseRecord {
            topic: &record.topic,
            partition: None,
            payload: Some(payload),
            // No key and an empty key differ: an empty key would put every event without a key into
            // one partition.
            key: record.event.key.as_deref().filter(|key| !key.is_empty()),
            // The time of publication, by which consumers and retention go. The event's own time
            // (`ce_time`) can be days old after an outage, and the topic might then refuse the record
            // or delete it at once; each attempt stamps the record anew.
            timestamp: None,
            headers: Some(headers),
            delivery_opaque: place,
        };
        self.producer
            .send(message)
            .map_err(|(error, _)| error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::InvalidTopic))
    }

    /// The producer's context.
    pub fn context(&self) -> &CallbackContext {
        self.producer.context()
    }
}

impl ProducerSlot {
    fn producer(&self) -> Arc<BaseProducer<CallbackContext>> {
        Arc::clone(&self.producer.lock())
    }

    fn read_reports(&self) {
        let mut unreplaced = Episode::reminding();
        while !self.stop.load(Ordering::Acquire) {
            let producer = self.producer();
            producer.poll(LOOK_UP_INTERVAL);
            let Some((code, reason)) = producer.client().fatal_error() else { continue };
            let sink = &*producer.context().common.sink;
            if !unreplaced.is_ongoing() {
                tell_of_end(sink, code, &reason);
            }
            match self.replace(&producer) {
                Ok(()) => {
                    if let Some(seconds) = unreplaced.over(Instant::now()).map(|end| end.seconds()) {
                        tracing::info!(sink, seconds, "a new Kafka client could be created");
                    }
                }
                Err(error) => {
                    if unreplaced.happens(error.to_string(), Instant::now()).is_some() {
                        tracing::error!(
                            sink,
                            "no new Kafka client can be created ({error}): the sink's records stay in the \
                             spool, and the bridge tries again; check the machine's threads and memory"
                        );
                    }
                }
            }
        }
    }

    /// Has every record in the dead producer reported, then puts a new producer in its place. The settings
    /// worked before, so an error means that the machine lacks threads or memory; the dead producer then
    /// refuses every record, and the records stay in the spool.
    fn replace(&self, dead: &BaseProducer<CallbackContext>) -> Result<(), KafkaError> {
        let deadline = Instant::now() + LAST_ANSWERS;
        while dead.in_flight_count() > 0 {
            // Again and again: the client puts a batch with a passing error back into its queue, and sends
            // nothing from there any more.
            let queued = PurgeConfig::default().queue();
            dead.purge(if Instant::now() < deadline { queued } else { queued.inflight() });
            dead.poll(Duration::from_millis(10));
        }
        let new = self.config.create_with_context((self.new_context)())?;
        *self.producer.lock() = Arc::new(new);
        Ok(())
    }
}

/// Logs a producer's fatal error, at level `debug` if a refused batch caused it: the record's own
/// line reports that.
fn tell_of_end(sink: &str, code: RDKafkaErrorCode, reason: &str) {
    let reason = Shown(reason);
    if code == RDKafkaErrorCode::GaplessGuarantee {
        tracing::debug!(sink, "a batch was refused, so the Kafka client is replaced: {reason}");
    } else {
        tracing::warn!(
            sink,
            %code,
            "the Kafka client had a fatal error and is replaced; records that were on their way are \
             published again and might arrive twice: {reason}"
        );
    }
}
