//! What the metrics say now and how fast it grows, for the listings of sources, sinks and the spool.

use std::time::Instant;

use schemars::JsonSchema;
use serde::Serialize;

use super::rates::{CountsRead, RateWindow};
use crate::admin::{AdminState, ProblemAnswer};
use crate::problem::ProblemCode;
use crate::source::DeliveryFate;
use crate::telemetry::{LabelsWanted, Readings};

/// The names of the counts between which rates are taken.
pub(super) const LOG_HEAD: &str = "log head";
pub(super) const CAPACITY_LEFT: &str = "capacity left";

/// What was read at one moment.
pub(super) struct Observed {
    pub(super) readings: Readings,
    pub(super) rates: RateWindow,
}

/// The count of what a sink has accepted.
pub(super) fn delivered(sink: &str) -> String {
    format!("delivered {sink}")
}

/// The count of a source's deliveries with this verdict, or of those that it refused.
pub(super) fn verdict(source: &str, word: &str) -> String {
    format!("{word} {source}")
}

/// The word for refused deliveries beside those for verdicts.
pub(super) const REFUSED: &str = "refused";

/// Reads all metrics, and remembers what rates are made of; on a thread that no delivery needs, because it
/// writes and reads the text of all metrics.
pub(super) async fn observed(admin: &AdminState) -> Result<Observed, ProblemAnswer> {
    let admin = admin.clone();
    tokio::task::spawn_blocking(move || observe(&admin))
        .await
        .map_err(|_| ProblemAnswer::of(ProblemCode::Failed, "the metrics cannot be read: see the log"))
}

/// The same on this thread.
pub(super) fn observe(admin: &AdminState) -> Observed {
    let (readings, summary) = (admin.metrics.readings(), admin.summary());
    let mut counted = CountsRead::new();
    for sink in &summary.sinks {
        let all = readings.sum("delivered_total", &[("sink", &sink.name)]);
        counted.insert(delivered(&sink.name), all);
    }
    for source in &summary.sources {
        for fate in DeliveryFate::ALL {
            let labels = [("source", source.name.as_str()), ("verdict", fate.as_str())];
            counted.insert(verdict(&source.name, fate.as_str()), readings.sum("events_total", &labels));
        }
        let refused = readings.sum("refused_total", &[("source", &source.name)]);
        counted.insert(verdict(&source.name, REFUSED), refused);
    }
    if let Some(opened) = admin.opened.get() {
        counted.insert(LOG_HEAD.into(), opened.spool.usage().head.0 as f64);
        counted.insert(CAPACITY_LEFT.into(), opened.spool.capacity().left as f64);
    }
    let rates = admin.recent.with(Instant::now(), counted);
    Observed { readings, rates }
}

/// How long something takes: half of them at most `p50`, 99 of 100 at most `p99`, since the start. Both are
/// `null` if there was none.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct TakesMillis {
    p50: Option<f64>,
    p99: Option<f64>,
}

impl TakesMillis {
    /// What a histogram of seconds says.
    pub(super) fn of(readings: &Readings, histogram: &str, labels: LabelsWanted<'_>) -> Self {
        let millis = |part| Some(rounded(readings.quantile(part, histogram, labels)? * 1e3));
        Self { p50: millis(0.5), p99: millis(0.99) }
    }
}

/// A number with three digits behind the point.
pub(super) fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}
