//! One measurement of one subject under load, and tables of them.

use serde::Serialize;
use std::fmt;

use crate::report::LoadReport;
use crate::stage::{Load, Stage};
use crate::subject::{Running, await_delivered};
use crate::{median, plain_table};

/// From here on the load itself bounds the rate.
const BUSY_PERCENT: f64 = 90.0;

/// One measurement of one subject.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Sample {
    /// Requests that were accepted, or events that went through, per second.
    pub per_second: f64,
    /// CPU time of the subject.
    pub cpu_us_per_event: f64,
    /// Latency of the answers.
    pub p50_ms: f64,
    /// As above.
    pub p99_ms: f64,
    /// CPU time of the load, which is not part of the subject's.
    pub sender_cpu_us_per_event: f64,
    /// How much of the time the load was busy.
    pub sender_busy_percent: f64,
}

impl Sample {
    /// Loads a subject.
    ///
    /// # Errors
    /// When not every request was accepted.
    pub fn take(stage: &Stage, running: &Running, load: &Load<'_>) -> anyhow::Result<Self> {
        let cpu = running.child.cpu_seconds()?;
        let report = stage.load(load)?;
        Ok(Self::of(&report, running.child.cpu_seconds()? - cpu))
    }

    /// Loads a bridge until its sinks together have so many records; the rate is that of the events that
    /// went through, to the last delivery.
    ///
    /// # Errors
    /// When not every request was accepted, or not every record arrives in time.
    pub fn through(
        stage: &Stage,
        running: &Running,
        load: &Load<'_>,
        deliveries: impl FnOnce(&LoadReport) -> u64,
    ) -> anyhow::Result<Self> {
        let (before, cpu) = (running.delivered()?, running.child.cpu_seconds()?);
        let started = std::time::Instant::now();
        let report = stage.load(load)?;
        let (_, ended) = await_delivered(running, before + deliveries(&report))?;
        let sample = Self::of(&report, running.child.cpu_seconds()? - cpu);
        Ok(Self { per_second: report.accepted as f64 / (ended - started).as_secs_f64(), ..sample })
    }

    /// What the load reports, while the subject used so much CPU time.
    pub fn of(report: &LoadReport, cpu_seconds: f64) -> Self {
        Self {
            per_second: report.accepted_per_second,
            cpu_us_per_event: cpu_seconds * 1e6 / report.accepted as f64,
            p50_ms: report.p50_ms,
            p99_ms: report.p99_ms,
            sender_cpu_us_per_event: report.sender_cpu_us_per_event,
            sender_busy_percent: report.sender_busy_percent,
        }
    }
}

/// Measurements by what was measured, in the order of their first round.
#[derive(Debug, Default, Serialize)]
#[serde(transparent)]
pub struct Rows(Vec<Row>);

/// One thing that was measured; one entry per round.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    samples: Vec<Sample>,
}

impl Rows {
    /// Adds a round's measurement.
    pub fn add(&mut self, name: impl Into<String>, sample: Sample) {
        let name = name.into();
        match self.0.iter_mut().find(|row| row.name == name) {
            Some(row) => row.samples.push(sample),
            None => self.0.push(Row { name, samples: vec![sample] }),
        }
    }
}

impl Rows {
    fn samples(&self, name: &str) -> &[Sample] {
        self.0.iter().find(|row| row.name == name).map_or(&[], |row| &row.samples)
    }

    /// The median of one row.
    pub fn middle(&self, name: &str, of: fn(&Sample) -> f64) -> f64 {
        median(self.samples(name).iter().map(of))
    }

    /// The rate of one row as a part of another's, by round.
    pub fn ratios(&self, one: &str, other: &str) -> impl Iterator<Item = f64> {
        let rounds = self.samples(one).iter().zip(self.samples(other));
        rounds.map(|(one, other)| one.per_second / other.per_second)
    }
}

impl Row {
    fn middle(&self, of: fn(&Sample) -> f64) -> f64 {
        median(self.samples.iter().map(of))
    }
}

impl fmt::Display for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header =
            ["", "events/s", "LOWEST-HIGHEST", "CPU us/event", "p50 ms", "p99 ms", "LOAD's us/event", "BUSY"];
        let mut table = plain_table(&header);
        for row in &self.0 {
            let rates = row.samples.iter().map(|sample| sample.per_second);
            table.add_row([
                row.name.clone(),
                format!("{:.0}", row.middle(|sample| sample.per_second)),
                format!("{:.0}-{:.0}", rates.clone().fold(f64::MAX, f64::min), rates.fold(0.0, f64::max)),
                format!("{:.1}", row.middle(|sample| sample.cpu_us_per_event)),
                format!("{:.2}", row.middle(|sample| sample.p50_ms)),
                format!("{:.2}", row.middle(|sample| sample.p99_ms)),
                format!("{:.1}", row.middle(|sample| sample.sender_cpu_us_per_event)),
                format!("{:.0} %", row.middle(|sample| sample.sender_busy_percent)),
            ]);
        }
        write!(f, "{table}")?;
        let bounded = self.0.iter().filter(|row| is_bounded_by_load(&row.samples));
        write!(f, "{}", note_of_load(bounded.map(|row| row.name.clone())))
    }
}

/// Whether the load has bounded the rate: it was busy all the time, or took more of the cores that both
/// share.
pub fn is_bounded_by_load(samples: &[Sample]) -> bool {
    let middle = |of: fn(&Sample) -> f64| median(samples.iter().map(of));
    middle(|sample| sample.sender_busy_percent) >= BUSY_PERCENT
        || middle(|sample| sample.sender_cpu_us_per_event) > middle(|sample| sample.cpu_us_per_event)
}

/// What to say of measurements that the load has bounded; nothing if there are none.
pub fn note_of_load(names: impl Iterator<Item = String>) -> String {
    let names: Vec<_> = names.collect();
    if names.is_empty() {
        return String::new();
    }
    format!(
        "\nThe load was busy all the time, or took more CPU time than the subject: of these, compare the CPU \
         time and not the rate: {}",
        names.join("; ")
    )
}
