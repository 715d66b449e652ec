//! What compression costs and saves on the way into Kafka. It saves more here than elsewhere, because most
//! of each body is the same in all.

use serde::Serialize;
use std::fmt;

use crate::broker::Broker;
use crate::kafka::Topic;
use crate::sample::{Rows, Sample};
use crate::stage::{Load, Stage};
use crate::subject::{TOPIC, into_kafka, start_between};
use crate::{Plan, median, plain_table};

const CODECS: [&str; 3] = ["none", "lz4", "zstd"];
const CONNECTIONS: usize = 64;

/// What was found.
#[derive(Debug, Default, Serialize)]
pub struct Compression {
    rows: Rows,
    sizes: Vec<Size>,
}

/// One round of one codec, as far as the broker was started for this run.
#[derive(Debug, Serialize)]
struct Size {
    codec: &'static str,
    bytes_per_record: Option<f64>,
    broker_us_per_event: Option<f64>,
}

/// Measures from the webhook to the last delivery with each codec in turn.
///
/// # Errors
/// When the cluster is not there, or not everything arrives in time.
pub fn measure(stage: &Stage, plan: &Plan, broker: &Broker) -> anyhow::Result<Compression> {
    let mut compression = Compression::default();
    let topic = Topic::make(stage, broker)?;
    for round in 1..=plan.rounds {
        eprintln!("compression: round {round} of {}", plan.rounds);
        for codec in CODECS {
            let dir = stage.new_dir()?;
            let ways = into_kafka(broker.address(), &format!("compression.type: {codec}"));
            let bridge = start_between(stage, dir.path(), &ways)?;
            let (cpu, bytes) = (broker.cpu_seconds(), broker.log_bytes(TOPIC));
            let load =
                Load { count: Some(plan.kafka_events), ..Load::flat_out(&bridge.to, CONNECTIONS, 600.0) };
            let sample = Sample::through(stage, &bridge, &load, |report| report.accepted)?;
            compression.rows.add(codec, sample);
            let events = plan.kafka_events as f64;
            let size = Size {
                codec,
                bytes_per_record: broker
                    .log_bytes(TOPIC)
                    .zip(bytes)
                    .map(|(after, before)| after.saturating_sub(before) as f64 / events),
                broker_us_per_event: broker
                    .cpu_seconds()
                    .zip(cpu)
                    .map(|(after, before)| (after - before) * 1e6 / events),
            };
            compression.sizes.push(size);
            bridge.child.stop()?;
        }
    }
    drop(topic);
    Ok(compression)
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "COMPRESSION INTO KAFKA, 1 KiB, {CONNECTIONS} connections; to the last delivery")?;
        writeln!(f, "{}\n", self.rows)?;
        let mut table = plain_table(&["", "bytes/record", "broker us/event"]);
        for codec in CODECS {
            let of = |value: fn(&Size) -> Option<f64>| {
                let rounds = self.sizes.iter().filter(|size| size.codec == codec);
                let middle = median(rounds.filter_map(value));
                if middle.is_nan() { "not seen".into() } else { format!("{middle:.1}") }
            };
            table.add_row([
                codec.to_owned(),
                of(|size| size.bytes_per_record),
                of(|size| size.broker_us_per_event),
            ]);
        }
        write!(f, "{table}\nThe load's bodies resemble each other: those of a provider compress less.")
    }
}
