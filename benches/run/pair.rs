//! Two builds of the bridge in turn: what a change has brought, or cost.
//!
//! Every round starts both afresh, in the other order than the round before, and one only after the other
//! has ended: the mere presence of a second bridge changes what the first one costs. A change is the median
//! of the rounds' ratios.

use serde::Serialize;
use std::fmt;

use crate::broker::Broker;
use crate::flat::{Flat, figures};
use crate::kafka::{CONNECTIONS as CONNECTIONS_INTO_KAFKA, Kafka, Sample, Topic};
use crate::stage::{Load, Stage};
use crate::subject::{Running, Subject};
use crate::{Part, Plan, median, plain_table};

const BODY_BYTES: usize = 1024;
const CONNECTIONS: [usize; 3] = [1, 64, 256];
/// Latency is measured at half the rate that so many connections reached in the first round.
const LATENCY_CONNECTIONS: usize = 64;
const NAMES: [&str; 2] = ["before", "after"];

/// What was found: the figures in the order of their first round.
#[derive(Debug, Default, Serialize)]
pub struct Pair {
    figures: Vec<Figure>,
}

/// One figure of both builds; one entry per round.
#[derive(Debug, Serialize)]
struct Figure {
    name: String,
    /// Whether more is better.
    rises: bool,
    /// Before and after.
    values: [Vec<f64>; 2],
}

/// Measures the build before and the one after.
///
/// # Errors
/// When a bridge does not come up or does not accept everything, or when the cluster is not there.
pub fn measure(stages: [&Stage; 2], plan: &Plan, broker: &Broker) -> anyhow::Result<Pair> {
    let mut pair = Pair::default();
    let _topic = Topic::make(stages[1], broker)?;
    let mut half_rate = None;
    for round in 0..plan.rounds {
        let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
        eprintln!("pair: round {} of {}, {} first", round + 1, plan.rounds, NAMES[order[0]]);
        pair.intake(stages, order, plan, &mut half_rate)?;
        for which in order {
            let mut kafka = Kafka::new(plan);
            let drained = kafka.drain(stages[which], broker)?;
            pair.sample(which, "drain of a backlog", drained);
            for connections in CONNECTIONS_INTO_KAFKA {
                let through = kafka.end_to_end(stages[which], broker, connections)?;
                pair.sample(which, &format!("into Kafka at {connections}"), through);
            }
        }
    }
    Ok(pair)
}

/// Measures parts that know nothing of pairs, one round of each build after the other. Their floors are
/// measured, too, and say by how much the machine itself has changed.
///
/// # Errors
/// When a part fails.
pub fn measure_parts(
    stages: [&Stage; 2],
    rounds: usize,
    parts: &[Part],
    one_round: impl Fn(Part, &Stage) -> anyhow::Result<serde_json::Value>,
) -> anyhow::Result<Pair> {
    let mut pair = Pair::default();
    for round in 0..rounds {
        let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
        eprintln!("pair: round {} of {rounds}, {} first", round + 1, NAMES[order[0]]);
        for part in parts {
            let name = part.name();
            for which in order {
                for Flat { name, rises, value } in figures(&name, &one_round(*part, stages[which])?) {
                    pair.note(which, name, rises, value);
                }
            }
        }
    }
    Ok(pair)
}

impl Pair {
    fn note(&mut self, which: usize, name: impl Into<String>, rises: bool, value: f64) {
        let name = name.into();
        let known = self.figures.iter().position(|figure| figure.name == name);
        let at = known.unwrap_or_else(|| {
            self.figures.push(Figure { name, rises, values: [Vec::new(), Vec::new()] });
            self.figures.len() - 1
        });
        self.figures[at].values[which].push(value);
    }

    fn sample(&mut self, which: usize, name: &str, sample: Sample) {
        self.note(which, format!("{name}, events/s"), true, sample.per_second);
        self.note(which, format!("{name}, CPU us/event"), false, sample.cpu_us_per_event);
        if let Some(broker) = sample.broker_us_per_event {
            self.note(which, format!("{name}, broker us/event"), false, broker);
        }
    }

    fn intake(
        &mut self,
        stages: [&Stage; 2],
        order: [usize; 2],
        plan: &Plan,
        half_rate: &mut Option<f64>,
    ) -> anyhow::Result<()> {
        for which in order {
            let stage = stages[which];
            let dir = stage.new_dir()?;
            let running = Subject::Settled.start(stage, dir.path())?;
            Subject::Settled.warm_up(stage, &running)?;
            for connections in CONNECTIONS {
                let rate = self.flat_out(stage, which, &running, connections, plan)?;
                if connections == LATENCY_CONNECTIONS {
                    half_rate.get_or_insert(rate / 2.0);
                }
            }
            let seconds = 2.5 * plan.seconds;
            let load = Load { rate: *half_rate, seconds, ..load(&running, LATENCY_CONNECTIONS, plan) };
            let report = stage.load(&load)?;
            self.note(which, "answers at half load, p50 ms", false, report.p50_ms);
            self.note(which, "answers at half load, p99 ms", false, report.p99_ms);
            self.note(which, "intake, resident MiB at most", false, running.child.resident_mib()?.peak);
            running.child.stop()?;
        }
        Ok(())
    }

    fn flat_out(
        &mut self,
        stage: &Stage,
        which: usize,
        running: &Running,
        connections: usize,
        plan: &Plan,
    ) -> anyhow::Result<f64> {
        let cpu = running.child.cpu_seconds()?;
        let report = stage.load(&load(running, connections, plan))?;
        let cpu = (running.child.cpu_seconds()? - cpu) * 1e6 / report.accepted as f64;
        self.note(which, format!("intake at {connections}, events/s"), true, report.accepted_per_second);
        self.note(which, format!("intake at {connections}, CPU us/event"), false, cpu);
        Ok(report.accepted_per_second)
    }
}

fn load<'a>(running: &'a Running, connections: usize, plan: &Plan) -> Load<'a> {
    Load {
        to: &running.to,
        connections,
        body_bytes: BODY_BYTES,
        seconds: plan.seconds,
        rate: None,
        count: None,
        more: &[],
    }
}

impl Figure {
    /// By how many percent the figure got better, and by how many in the worst and the best round.
    fn gain_percent(&self) -> [f64; 3] {
        let [before, after] = &self.values;
        let gain = |(before, after): (&f64, &f64)| {
            let ratio = if self.rises { after / before } else { before / after };
            100.0 * (ratio - 1.0)
        };
        let gains: Vec<_> = before.iter().zip(after).map(gain).collect();
        let least = gains.iter().copied().fold(f64::INFINITY, f64::min);
        let most = gains.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        [median(gains), least, most]
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "BEFORE AND AFTER, in turn; {BODY_BYTES} B; better is positive, whichever way that is")?;
        let mut table = plain_table(&["", "BEFORE", "AFTER", "BETTER BY", "WORST ROUND", "BEST ROUND"]);
        for figure in &self.figures {
            let [gain, least, most] = figure.gain_percent();
            let middle = |values: &[f64]| {
                let middle = median(values.iter().copied());
                if middle < 100.0 { format!("{middle:.2}") } else { format!("{middle:.0}") }
            };
            table.add_row([
                figure.name.clone(),
                middle(&figure.values[0]),
                middle(&figure.values[1]),
                format!("{gain:+.1} %"),
                format!("{least:+.1} %"),
                format!("{most:+.1} %"),
            ]);
        }
        write!(f, "{table}")
    }
}
