//! From the webhook into Kafka, and the drain of a backlog, beside librdkafka by itself.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Instant;

use crate::broker::Broker;
use crate::report::LoadReport;
use crate::stage::{Load, Stage};
use crate::subject::{NOWHERE, Running, TOPIC, await_delivered, start_answering_after, start_bridge};
use crate::verdict::{Limit, Target};
use crate::{Plan, median, plain_table};

/// Through to Kafka; the backlog is filled by so many as well.
pub const CONNECTIONS: [usize; 2] = [64, 256];
const BODY_BYTES: usize = 1024;
/// Answers that wait for the broker come so much more slowly that one in so many events is enough.
const AFTER_FEWER: u64 = 4;

/// What was found; one entry per round.
#[derive(Debug, Serialize)]
pub struct Kafka {
    events: u64,
    producer: Vec<Produced>,
    /// The same records without their headers.
    producer_bare: Vec<Produced>,
    /// By the number of connections.
    end_to_end: [Vec<Sample>; CONNECTIONS.len()],
    /// The same with answers that wait for the broker.
    answered_after: [Vec<Answered>; CONNECTIONS.len()],
    drain: Vec<Sample>,
    bridge_peak_mib: f64,
}

/// What the `produce` floor prints.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Produced {
    delivered_per_second: f64,
    cpu_us_per_event: f64,
}

/// The bridge's part.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Sample {
    /// Events per second.
    pub per_second: f64,
    /// CPU time of the bridge per event.
    pub cpu_us_per_event: f64,
    /// CPU time of the broker per event, if the broker was started for this run.
    pub broker_us_per_event: Option<f64>,
}

/// The bridge's part with `ack.after`, and how long its answers took.
#[derive(Clone, Copy, Debug, Serialize)]
struct Answered {
    sample: Sample,
    p50_ms: f64,
    p99_ms: f64,
}

/// Measures producer, drain and end to end in turn.
///
/// # Errors
/// When the cluster is not there, or not everything arrives in time.
pub fn measure(stage: &Stage, plan: &Plan, broker: &Broker) -> anyhow::Result<Kafka> {
    let mut kafka = Kafka::new(plan);
    let topic = Topic::make(stage, broker)?;
    produce(stage, plan, broker, &[])?;
    for round in 1..=plan.rounds {
        eprintln!("kafka: round {round} of {}", plan.rounds);
        kafka.producer.push(produce(stage, plan, broker, &[])?);
        kafka.producer_bare.push(produce(stage, plan, broker, &["--bare"])?);
        let drained = kafka.drain(stage, broker)?;
        kafka.drain.push(drained);
        for (connections, samples) in CONNECTIONS.into_iter().zip(0..) {
            let through = kafka.end_to_end(stage, broker, connections)?;
            kafka.end_to_end[samples].push(through);
            let answered = kafka.answered_after(stage, broker, connections)?;
            kafka.answered_after[samples].push(answered);
        }
    }
    drop(topic);
    Ok(kafka)
}

/// The topic of this bench; deleted when dropped.
pub struct Topic<'a> {
    stage: &'a Stage,
    broker: &'a Broker,
}

impl<'a> Topic<'a> {
    /// Makes the topic.
    ///
    /// # Errors
    /// When the cluster is not there.
    pub fn make(stage: &'a Stage, broker: &'a Broker) -> anyhow::Result<Self> {
        let _: String =
            stage.run_floor("topic", &["make", "--brokers", broker.address(), "--topic", TOPIC])?;
        Ok(Self { stage, broker })
    }
}

impl Drop for Topic<'_> {
    fn drop(&mut self) {
        let arguments = ["delete", "--brokers", self.broker.address(), "--topic", TOPIC];
        if let Err(error) = self.stage.run_floor::<String>("topic", &arguments) {
            eprintln!("the topic {TOPIC} is left behind: {error}");
        }
    }
}

/// The floor: the same records without anything before them.
fn produce(stage: &Stage, plan: &Plan, broker: &Broker, more: &[&str]) -> anyhow::Result<Produced> {
    let (count, bytes) = (plan.kafka_events.to_string(), BODY_BYTES.to_string());
    let arguments =
        ["--brokers", broker.address(), "--topic", TOPIC, "--count", &count, "--body-bytes", &bytes];
    stage.run_floor("produce", &[&arguments[..], more].concat())
}

impl Kafka {
    /// Nothing measured yet.
    pub fn new(plan: &Plan) -> Self {
        Self {
            events: plan.kafka_events,
            producer: Vec::new(),
            producer_bare: Vec::new(),
            end_to_end: [Vec::new(), Vec::new()],
            answered_after: [Vec::new(), Vec::new()],
            drain: Vec::new(),
            bridge_peak_mib: 0.0,
        }
    }

    /// Takes events in while there is no broker, then starts over the same spool with one.
    ///
    /// # Errors
    /// When the bridge does not come up, or not everything arrives in time.
    pub fn drain(&mut self, stage: &Stage, broker: &Broker) -> anyhow::Result<Sample> {
        let dir = stage.new_dir()?;
        let filling = start_bridge(stage, dir.path(), NOWHERE)?;
        fill(stage, &filling, CONNECTIONS[0], self.events)?;
        filling.child.stop()?;

        let draining = start_bridge(stage, dir.path(), broker.address())?;
        // The clock starts with the first delivery: connecting is not draining.
        let (before, _) = await_delivered(&draining, 1)?;
        let (started, broker_cpu) = (Instant::now(), broker.cpu_seconds());
        let (_, ended) = await_delivered(&draining, self.events)?;
        let sample = Sample {
            per_second: (self.events - before) as f64 / (ended - started).as_secs_f64(),
            cpu_us_per_event: draining.child.cpu_seconds()? * 1e6 / self.events as f64,
            broker_us_per_event: since(broker, broker_cpu).map(|us| us / (self.events - before) as f64),
        };
        self.settle(draining)?;
        Ok(sample)
    }

    /// Takes events in and delivers them at the same time, until the sink has the last one.
    ///
    /// # Errors
    /// When the bridge does not come up, or not everything arrives in time.
    pub fn end_to_end(
        &mut self,
        stage: &Stage,
        broker: &Broker,
        connections: usize,
    ) -> anyhow::Result<Sample> {
        let dir = stage.new_dir()?;
        let bridge = start_bridge(stage, dir.path(), broker.address())?;
        let (sample, _) = self.through(stage, broker, bridge, connections, self.events)?;
        Ok(sample)
    }

    /// The same with answers that wait for the broker.
    fn answered_after(
        &mut self,
        stage: &Stage,
        broker: &Broker,
        connections: usize,
    ) -> anyhow::Result<Answered> {
        let dir = stage.new_dir()?;
        let bridge = start_answering_after(stage, dir.path(), broker.address())?;
        let events = self.events / AFTER_FEWER;
        let (sample, report) = self.through(stage, broker, bridge, connections, events)?;
        Ok(Answered { sample, p50_ms: report.p50_ms, p99_ms: report.p99_ms })
    }

    fn through(
        &mut self,
        stage: &Stage,
        broker: &Broker,
        bridge: Running,
        connections: usize,
        events: u64,
    ) -> anyhow::Result<(Sample, LoadReport)> {
        let (started, cpu) = (Instant::now(), bridge.child.cpu_seconds()?);
        let broker_cpu = broker.cpu_seconds();
        let report = fill(stage, &bridge, connections, events)?;
        let (_, ended) = await_delivered(&bridge, events)?;
        let sample = Sample {
            per_second: events as f64 / (ended - started).as_secs_f64(),
            cpu_us_per_event: (bridge.child.cpu_seconds()? - cpu) * 1e6 / events as f64,
            broker_us_per_event: since(broker, broker_cpu).map(|us| us / events as f64),
        };
        self.settle(bridge)?;
        Ok((sample, report))
    }

    fn settle(&mut self, bridge: Running) -> anyhow::Result<()> {
        self.bridge_peak_mib = self.bridge_peak_mib.max(bridge.child.resident_mib()?.peak);
        bridge.child.stop()
    }

    fn share_percent(&self) -> f64 {
        let rounds = self.drain.iter().zip(&self.producer);
        median(rounds.map(|(drain, floor)| 100.0 * drain.per_second / floor.delivered_per_second))
    }

    /// What the bridge has to reach here.
    pub fn targets(&self) -> Vec<Target> {
        let cpu = median(self.end_to_end[0].iter().map(|sample| sample.cpu_us_per_event));
        vec![
            Target::new("drain: share of the bare producer", self.share_percent(), Limit::AtLeast(80.0), "%"),
            Target::new("webhook to Kafka: CPU", cpu, Limit::AtMost(25.0), "us/event"),
            Target::new(
                "webhook to Kafka: resident memory at its highest, the duplicate window aside",
                self.bridge_peak_mib - window_mib(self.events),
                Limit::AtMost(64.0),
                "MiB",
            ),
        ]
    }
}

fn fill(stage: &Stage, bridge: &Running, connections: usize, events: u64) -> anyhow::Result<LoadReport> {
    stage.load(&Load {
        to: &bridge.to,
        connections,
        body_bytes: BODY_BYTES,
        seconds: 600.0,
        rate: None,
        count: Some(events),
        more: &[],
    })
}

/// The broker's CPU time since then, in microseconds.
fn since(broker: &Broker, then: Option<f64>) -> Option<f64> {
    Some((broker.cpu_seconds()? - then?) * 1e6)
}

/// What the duplicate window takes for so many events, about: 24 bytes each.
fn window_mib(events: u64) -> f64 {
    events as f64 * 24.0 / f64::from(1 << 20)
}

impl fmt::Display for Kafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "INTO KAFKA, {} events of {BODY_BYTES} B; the broker shares the machine", self.events)?;
        let mut table = plain_table(&["", "events/s", "CPU us/event", "broker us/event"]);
        let producer = |rounds: &[Produced]| {
            (
                median(rounds.iter().map(|produced| produced.delivered_per_second)),
                median(rounds.iter().map(|produced| produced.cpu_us_per_event)),
                f64::NAN,
            )
        };
        let middle = |samples: &[Sample]| {
            (
                median(samples.iter().map(|sample| sample.per_second)),
                median(samples.iter().map(|sample| sample.cpu_us_per_event)),
                median(samples.iter().filter_map(|sample| sample.broker_us_per_event)),
            )
        };
        let rows = [
            ("librdkafka by itself", producer(&self.producer)),
            ("librdkafka by itself, without headers", producer(&self.producer_bare)),
            ("fanbridge drains a backlog", middle(&self.drain)),
            ("fanbridge, webhook to Kafka, 64 connections", middle(&self.end_to_end[0])),
            ("fanbridge, webhook to Kafka, 256 connections", middle(&self.end_to_end[1])),
        ];
        let after = CONNECTIONS.into_iter().zip(&self.answered_after).map(|(connections, answered)| {
            let samples: Vec<_> = answered.iter().map(|answered| answered.sample).collect();
            let (p50, p99) = (
                median(answered.iter().map(|answered| answered.p50_ms)),
                median(answered.iter().map(|answered| answered.p99_ms)),
            );
            let name = format!(
                "the same, answered after the broker, {connections} connections: p50 {p50:.1} ms, p99 {p99:.1} ms"
            );
            (name, middle(&samples))
        });
        let rows = rows.into_iter().map(|(name, figures)| (name.to_owned(), figures)).chain(after);
        for (name, (rate, cpu, broker)) in rows {
            let broker = if broker.is_nan() { "not seen".into() } else { format!("{broker:.1}") };
            table.add_row([name, format!("{rate:.0}"), format!("{cpu:.1}"), broker]);
        }
        write!(f, "{table}\n\nfanbridge's resident memory at its highest: {:.0} MiB", self.bridge_peak_mib)
    }
}
