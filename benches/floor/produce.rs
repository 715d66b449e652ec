//! librdkafka by itself: the bridge's settings, the bridge's records, nothing before it.

use clap::Args;
use rdkafka::ClientConfig;
use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::body::{Bodies, EVENT_TYPE};

/// The settings the bridge gives every producer of its own accord.
const SETTINGS: &[(&str, &str)] = &[
    ("enable.idempotence", "true"),
    ("enable.gapless.guarantee", "true"),
    ("acks", "all"),
    ("message.timeout.ms", "0"),
    ("partitioner", "murmur2_random"),
    ("compression.type", "lz4"),
    ("linger.ms", "5"),
    ("batch.size", "1000000"),
    ("message.max.bytes", "16777216"),
    ("queue.buffering.max.messages", "65536"),
    ("queue.buffering.max.kbytes", "131072"),
    ("reconnect.backoff.max.ms", "1000"),
];
/// How often delivery reports are served while there is room in the queue, in records.
const SERVE_EVERY: u64 = 256;
const DRAIN_MAX: Duration = Duration::from_secs(120);

/// Produces records with nothing before it.
#[derive(Args)]
pub struct Produce {
    /// `host:port,…`
    #[arg(long, env = "KAFKA_BROKERS")]
    brokers: String,
    /// The topic.
    #[arg(long)]
    topic: String,
    /// How many records.
    #[arg(long, default_value_t = 100_000)]
    count: u64,
    /// Bytes of each value.
    #[arg(long, default_value_t = 1024)]
    body_bytes: usize,
    /// Partition keys that records are spread over.
    #[arg(long, default_value_t = 1000)]
    keys: usize,
    /// Leaves the headers out.
    #[arg(long)]
    bare: bool,
    /// More librdkafka settings, `name=value`.
    #[arg(long)]
    property: Vec<String>,
}

/// What producing found.
#[derive(Serialize)]
struct Produced {
    delivered: u64,
    failed: u64,
    seconds: f64,
    delivered_per_second: f64,
    cpu_us_per_event: f64,
}

#[derive(Default)]
struct Reports {
    delivered: AtomicU64,
    failed: AtomicU64,
}

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let count = if result.is_ok() { &self.delivered } else { &self.failed };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

impl Produce {
    /// Produces, waits for every delivery report and prints what it took.
    ///
    /// # Errors
    /// When a setting is unknown, or librdkafka refuses a record.
    pub fn run(&self) -> anyhow::Result<()> {
        let producer = self.producer()?;
        producer.client().fetch_metadata(Some(&self.topic), Duration::from_secs(10))?;
        let mut bodies = Bodies::new(self.body_bytes, self.keys, b"records are not signed")?;
        let mut body = bodies.blank().to_vec();
        let (started, cpu) = (Instant::now(), cpu_seconds());
        for number in 0..self.count {
            let id = bodies.write(&mut body, number);
            self.send(&producer, &body, &id, number)?;
            if number % SERVE_EVERY == 0 {
                producer.poll(Duration::ZERO);
            }
        }
        producer.flush(DRAIN_MAX)?;
        let seconds = started.elapsed().as_secs_f64();
        let reports = producer.context();
        let delivered = reports.delivered.load(Ordering::Relaxed);
        let produced = Produced {
            delivered,
            failed: reports.failed.load(Ordering::Relaxed),
            seconds,
            delivered_per_second: delivered as f64 / seconds,
            cpu_us_per_event: (cpu_seconds() - cpu) * 1e6 / delivered.max(1) as f64,
        };
        println!("{}", serde_json::to_string(&produced)?);
        Ok(())
    }

    fn producer(&self) -> anyhow::Result<BaseProducer<Reports>> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        for (name, value) in SETTINGS {
            config.set(*name, *value);
        }
        for property in &self.property {
            let (name, value) = property
                .split_once('=')
                .ok_or_else(|| anyhow::anyhow!("`{property}`: expected name=value"))?;
            config.set(name, value);
        }
        Ok(config.create_with_context(Reports::default())?)
    }

    /// Sends one record; while the queue is full, waits for delivery reports to make room.
    fn send(
        &self,
        producer: &BaseProducer<Reports>,
        body: &[u8],
        id: &[u8],
        number: u64,
    ) -> anyhow::Result<()> {
        let key = format!("default:bench-{:06}", number % self.keys as u64);
        let mut record = BaseRecord::to(&self.topic).key(&key).payload(body);
        if !self.bare {
            record = record.headers(headers(&key, id, number));
        }
        loop {
            match producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), refused)) => {
                    producer.poll(Duration::from_millis(10));
                    record = refused;
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
    }
}

/// As many headers, of the same names and sizes, as the bridge's records carry.
fn headers(key: &str, id: &[u8], number: u64) -> OwnedHeaders {
    const MOMENT: &[u8] = b"2026-11-21T09:28:24.123456789Z";
    let digest = [b"sha256-", id, id].concat();
    let sequence = format!("{number:020}");
    let headers: [(&str, &[u8]); 14] = [
        ("ce_specversion", b"1.0"),
        ("ce_id", &digest),
        ("ce_source", b"/stream/default"),
        ("ce_type", EVENT_TYPE.as_bytes()),
        ("ce_subject", key.as_bytes()),
        ("ce_time", MOMENT),
        ("ce_partitionkey", key.as_bytes()),
        ("ce_family", b"video.session"),
        ("ce_provider", b"stream"),
        ("ce_intake", b"bench"),
        ("ce_recordedtime", MOMENT),
        ("ce_sequence", sequence.as_bytes()),
        ("ce_webhookid", id),
        ("content-type", b"application/json"),
    ];
    headers.into_iter().fold(OwnedHeaders::new_with_capacity(headers.len()), |all, (key, value)| {
        all.insert(Header { key, value: Some(value) })
    })
}

/// CPU time that this process has used, in seconds.
pub fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
