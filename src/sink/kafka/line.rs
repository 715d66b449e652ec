//! A producer with the thread that reads its reports, and a new producer when it has died.
//!
//! librdkafka gives a producer up for good when it cannot vouch for the sequence any more. Then
//! everything it still holds is reported as to be published again, and only when all of that is
//! reported does a new producer take its place.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, PurgeConfig};

use super::context::LineContext;
use crate::event::Record;
use crate::sink::envelope;
use crate::telemetry::Shown;

/// How often the thread looks up from the reports: bounds how long a dead producer is kept. Not more
/// often, because the client waits in whole milliseconds and spins through what is left of the last
/// one. The microseconds on top let an interval without reports end within that wait.
const LOOK_UP_INTERVAL: Duration = Duration::from_micros(250_030);
/// How long a dead producer's last requests may still be answered, which spares duplicates.
const LAST_ANSWERS: Duration = Duration::from_millis(300);

/// A way to the brokers.
pub(super) struct Line {
    shared: Arc<Shared>,
    structured: bool,
}

struct Shared {
    config: ClientConfig,
    new_context: Box<dyn Fn() -> LineContext + Send + Sync>,
    producer: Mutex<Arc<BaseProducer<LineContext>>>,
    stop: AtomicBool,
}

impl Line {
    /// Makes the producer and starts its thread. Connects in the background.
    pub fn start(
        config: ClientConfig,
        structured: bool,
        new_context: impl Fn() -> LineContext + Send + Sync + 'static,
    ) -> Result<Self, KafkaError> {
        let producer = config.create_with_context(new_context())?;
        let shared = Arc::new(Shared {
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
        Ok(Self { shared, structured })
    }

    /// The producer in use, for one batch.
    pub fn producer(&self) -> LineProducer {
        LineProducer { producer: self.shared.producer(), structured: self.structured, document: Vec::new() }
    }

    /// The producer in use, each time it is asked for, until the line is gone.
    pub fn producer_while_it_lives(
        &self,
    ) -> impl Fn() -> Option<Arc<BaseProducer<LineContext>>> + Send + use<> {
        let shared = Arc::downgrade(&self.shared);
        move || {
            shared
                .upgrade()
                .filter(|shared| !shared.stop.load(Ordering::Acquire))
                .map(|shared| shared.producer())
        }
    }

    /// Whether every record was reported.
    pub fn is_idle(&self) -> bool {
        self.shared.producer().in_flight_count() == 0
    }
}

impl Drop for Line {
    /// Lets the thread end, which drops the producer: what is still in it is not waited for.
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
    }
}

/// A line's producer while a batch is handed to it.
pub(super) struct LineProducer {
    producer: Arc<BaseProducer<LineContext>>,
    structured: bool,
    /// The structured document of the record at hand, reused.
    document: Vec<u8>,
}

impl LineProducer {
    /// Hands one record over; its report names `place`. An error is the record's only report.
    pub fn send(&mut self, record: &Record, place: usize) -> Result<(), RDKafkaErrorCode> {
        let headers = if self.structured {
            self.document.clear();
            envelope::structured(record, &mut self.document);
            content_type(OwnedHeaders::new_with_capacity(1), envelope::STRUCTURED_CONTENT_TYPE)
        } else {
            binary_headers(record)
        };
        let payload = if self.structured { &self.document[..] } else { &record.event.body[..] };
        let message = BaseRecord {
            topic: &record.topic,
            partition: None,
            payload: Some(payload),
            // No key and an empty key are different things: the empty one would put every event
            // without an entity into one partition.
            key: record.event.key.as_deref().filter(|key| !key.is_empty()),
            // The time of publication, which consumers take a topic's time for and retention goes by. The
            // event's own time (`ce_time`) may be days old after an outage, and a topic may then refuse
            // it, or delete it at once; each attempt stamps the record anew.
            timestamp: None,
            headers: Some(headers),
            delivery_opaque: place,
        };
        self.producer
            .send(message)
            .map_err(|(error, _)| error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::InvalidTopic))
    }

    /// The line's context.
    pub fn context(&self) -> &LineContext {
        self.producer.context()
    }
}

fn binary_headers(record: &Record) -> OwnedHeaders {
    let capacity = 14 + record.event.extensions.len();
    // An insertion consumes the headers and returns them, so between two of them there are none.
    let mut headers =
        Some(content_type(OwnedHeaders::new_with_capacity(capacity), envelope::BODY_CONTENT_TYPE));
    envelope::attributes(record, |name, value| {
        let header = Header { key: name, value: Some(value.as_text()) };
        headers = headers.take().map(|headers| headers.insert(header));
    });
    headers.expect("every insertion put them back")
}

fn content_type(headers: OwnedHeaders, value: &str) -> OwnedHeaders {
    headers.insert(Header { key: "content-type", value: Some(value) })
}

impl Shared {
    fn producer(&self) -> Arc<BaseProducer<LineContext>> {
        Arc::clone(&self.producer.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn read_reports(&self) {
        while !self.stop.load(Ordering::Acquire) {
            let producer = self.producer();
            producer.poll(LOOK_UP_INTERVAL);
            if let Some((code, reason)) = producer.client().fatal_error() {
                tell_of_end(&producer.context().common.sink, code, &reason);
                self.replace(&producer);
            }
        }
    }

    /// Reports everything the dead producer holds, then puts a new one in its place.
    fn replace(&self, dead: &BaseProducer<LineContext>) {
        let deadline = Instant::now() + LAST_ANSWERS;
        while dead.in_flight_count() > 0 && Instant::now() < deadline {
            dead.poll(Duration::from_millis(10));
        }
        dead.purge(PurgeConfig::default().queue().inflight());
        while dead.in_flight_count() > 0 {
            dead.poll(Duration::from_millis(10));
        }
        match self.config.create_with_context((self.new_context)()) {
            Ok(new) => *self.producer.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(new),
            // The same settings worked before, so this is the machine (threads, memory): until it
            // works again the dead producer refuses every record, and they stay in the spool.
            Err(error) => {
                tracing::error!(
                    sink = &*dead.context().common.sink,
                    "no Kafka client can be made ({error}): records are kept, and it is tried again"
                )
            }
        }
    }
}

/// Tells of a producer's end, unless it is how a refused batch ends: of that, the record's own line tells.
fn tell_of_end(sink: &str, code: RDKafkaErrorCode, reason: &str) {
    let reason = Shown(reason);
    if code == RDKafkaErrorCode::GaplessGuarantee {
        tracing::debug!(sink, "a batch was refused, so the Kafka client is replaced: {reason}");
    } else {
        tracing::warn!(
            sink,
            %code,
            "the Kafka client cannot vouch for the order of its records any more and is replaced; \
             what was on its way is published again, and may arrive twice: {reason}"
        );
    }
}
