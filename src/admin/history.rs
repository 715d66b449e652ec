//! The numbers of the last hour, for plots: a point each 5 s, of columns that are named once.
//!
//! The points hold numbers only, so that their memory is bounded by the number of sinks. Rates and quantiles
//! are those of what the metrics have counted between two points; what nothing was counted of is not a
//! number, and `null` in the answer.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::AdminState;
use crate::telemetry::Readings;

/// Time between two points.
pub(super) const POINT_EVERY: Duration = Duration::from_secs(5);
/// Most points: an hour of them.
const POINTS_MAX: usize = 720;
/// Most sinks that have columns, the first in the configuration.
const SINKS_MAX: usize = 64;

/// The columns of the bridge: deliveries a second by what became of them; seconds until the answer and of an
/// fdatasync; bytes of the spool; retries and new dead letters a second.
const COLUMNS: [&str; 12] = [
    "accepted",
    "filtered",
    "duplicate",
    "quarantined",
    "refused",
    "ack_p50",
    "ack_p99",
    "fdatasync_p50",
    "fdatasync_p99",
    "spool_bytes",
    "retries",
    "dead_letters",
];

/// The columns of a sink, all in seconds: from arrival to acceptance, and the age of the oldest event that it
/// has not settled.
const SINK_COLUMNS: [&str; 3] = ["end_to_end_p50", "end_to_end_p99", "oldest_pending_seconds"];

/// The numbers of one moment.
#[derive(Clone, Debug, PartialEq)]
struct HistoryPoint {
    /// Seconds since the Unix epoch.
    at: u64,
    columns: [f32; COLUMNS.len()],
    /// In the order of their names.
    sinks: Box<[[f32; SINK_COLUMNS.len()]]>,
    /// The names of the sinks, in the order of the configuration at that moment.
    names: Arc<[String]>,
}

impl HistoryPoint {
    /// A number of a sink; none if there was no such sink.
    fn of_sink(&self, name: &str, column: usize) -> f32 {
        let place = self.names.iter().position(|named| named == name);
        place.and_then(|place| self.sinks.get(place)).map_or(f32::NAN, |sink| sink[column])
    }
}

/// The points of the last hour.
#[derive(Debug, Default)]
pub(super) struct History(Mutex<VecDeque<HistoryPoint>>);

/// The points as columns, in the form that a plot takes.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct HistoryAnswer {
    every_seconds: u64,
    /// Seconds since the Unix epoch of each point, oldest first.
    at: Vec<u64>,
    columns: serde_json::Map<String, serde_json::Value>,
    sinks: Vec<SinkHistory>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct SinkHistory {
    name: String,
    columns: serde_json::Map<String, serde_json::Value>,
}

impl History {
    fn add(&self, mut point: HistoryPoint) {
        let mut points = self.0.lock();
        // The names are in memory once, as long as the configuration does not change.
        if let Some(last) = points.back().filter(|last| last.names == point.names) {
            point.names = Arc::clone(&last.names);
        }
        if points.len() == POINTS_MAX {
            points.pop_front();
        }
        points.push_back(point);
    }

    /// The points of the last so many seconds, with the sinks of these names.
    pub(super) fn last(&self, seconds: u64, sinks: impl Iterator<Item = String>) -> HistoryAnswer {
        let wanted = usize::try_from(seconds / POINT_EVERY.as_secs()).unwrap_or(POINTS_MAX);
        let points: Vec<HistoryPoint> = {
            let points = self.0.lock();
            points.iter().skip(points.len().saturating_sub(wanted)).cloned().collect()
        };
        let column =
            |value: &dyn Fn(&HistoryPoint) -> f32| points.iter().map(value).collect::<Vec<f32>>().into();
        let columns = COLUMNS.iter().enumerate();
        let columns =
            columns.map(|(place, name)| ((*name).to_owned(), column(&|point| point.columns[place])));
        let sink = |name: String| SinkHistory {
            columns: (SINK_COLUMNS.iter().enumerate())
                .map(|(place, column_name)| {
                    ((*column_name).to_owned(), column(&|point| point.of_sink(&name, place)))
                })
                .collect(),
            name,
        };
        HistoryAnswer {
            every_seconds: POINT_EVERY.as_secs(),
            at: points.iter().map(|point| point.at).collect(),
            columns: columns.collect(),
            sinks: sinks.take(SINKS_MAX).map(sink).collect(),
        }
    }
}

/// Adds a point each 5 s, until `stop` is cancelled.
pub async fn keep(admin: AdminState, stop: CancellationToken) {
    let mut ticks = interval(POINT_EVERY);
    // A process that was suspended has no points of that time.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before: Option<(Instant, Readings)> = None;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let (asked, former) = (admin.clone(), before.take());
        let reading = tokio::task::spawn_blocking(move || {
            let (now, readings) = (Instant::now(), asked.metrics.readings());
            if let Some((then, former)) = former {
                let seconds = now.duration_since(then).as_secs_f64();
                let counted = readings.since(&former);
                asked.history.add(point(&asked, &counted, seconds));
            }
            (now, readings)
        });
        // A panic in the work is a panic of this task.
        before = match reading.await {
            Ok(reading) => Some(reading),
            Err(broken) => std::panic::resume_unwind(broken.into_panic()),
        };
    }
}

/// The point of now, with what was counted within the last so many seconds.
fn point(admin: &AdminState, counted: &Readings, seconds: f64) -> HistoryPoint {
    let at = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
    let spool_bytes = admin.opened.get().map(|opened| opened.spool.usage().bytes as f32);
    let (running, summary) = (admin.health.sinks(), admin.summary());
    let configured = || summary.sinks.iter().take(SINKS_MAX);
    let sink = |sink: &super::SinkSummary| {
        let of = [("sink", sink.name.as_str())];
        let takes = |part| quantile(counted, part, "delivery_duration_seconds", &of);
        let status = running.iter().find(|status| status.name() == sink.name);
        let oldest = status.map_or(f32::NAN, |status| status.oldest_pending_seconds() as f32);
        [takes(0.5), takes(0.99), oldest]
    };
    HistoryPoint {
        at,
        columns: columns(counted, seconds, spool_bytes.unwrap_or(f32::NAN)),
        sinks: configured().map(sink).collect(),
        names: configured().map(|sink| sink.name.clone()).collect(),
    }
}

/// The columns of the bridge (pure).
fn columns(counted: &Readings, seconds: f64, spool_bytes: f32) -> [f32; COLUMNS.len()] {
    let rate = |name: &str, labels: &[(&str, &str)]| (counted.sum(name, labels) / seconds) as f32;
    COLUMNS.map(|column| match column {
        "refused" => rate("refused_total", &[]),
        "ack_p50" => quantile(counted, 0.5, "ack_duration_seconds", &[]),
        "ack_p99" => quantile(counted, 0.99, "ack_duration_seconds", &[]),
        "fdatasync_p50" => quantile(counted, 0.5, "spool_fsync_duration_seconds", &[]),
        "fdatasync_p99" => quantile(counted, 0.99, "spool_fsync_duration_seconds", &[]),
        "spool_bytes" => spool_bytes,
        "retries" => rate("sink_retries_total", &[]),
        "dead_letters" => rate("dead_letters_total", &[]),
        verdict => rate("events_total", &[("verdict", verdict)]),
    })
}

fn quantile(counted: &Readings, part: f64, histogram: &str, labels: &[(&str, &str)]) -> f32 {
    counted.quantile(part, histogram, labels).map_or(f32::NAN, |seconds| seconds as f32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{Metrics, Source, SourceFamilyVerdict};

    fn accepted(metrics: &Metrics, count: u64) {
        let labels = |verdict: &str| SourceFamilyVerdict {
            source: "front".into(),
            family: "calls".into(),
            verdict: verdict.into(),
        };
        metrics.events.get_or_create(&labels("accepted")).inc_by(count);
        metrics.events.get_or_create(&labels("duplicate")).inc();
    }

    fn place(column: &str) -> usize {
        COLUMNS.iter().position(|name| *name == column).expect("a column")
    }

    #[test]
    fn a_point_has_what_was_counted_since_the_one_before_and_not_since_the_start() {
        let metrics = Metrics::new();
        accepted(&metrics, 1_000_000);
        let ack = metrics.ack_duration.get_or_create(&Source { source: "front".into() }).clone();
        (0..1000).for_each(|_| ack.observe(9.0));
        let before = metrics.readings();
        accepted(&metrics, 50);
        (0..100).for_each(|_| ack.observe(0.001));
        let columns = columns(&metrics.readings().since(&before), 5.0, 7.0);
        assert_eq!((columns[place("accepted")], columns[place("duplicate")]), (10.0, 0.2));
        assert_eq!((columns[place("refused")], columns[place("spool_bytes")]), (0.0, 7.0));
        assert!(columns[place("ack_p99")] < 0.002, "{columns:?}");
        assert!(columns[place("fdatasync_p50")].is_nan(), "nothing was observed");
    }

    #[test]
    fn an_hour_is_kept_and_answered_in_columns() {
        let history = History::default();
        for at in 0..POINTS_MAX as u64 + 10 {
            history.add(HistoryPoint {
                at: at * 5,
                columns: [at as f32; COLUMNS.len()],
                sinks: [[f32::NAN, 2.0, at as f32]].into(),
                names: [if at == 729 { "pond" } else { "lake" }.to_owned()].into(),
            });
        }
        assert_eq!(history.0.lock().len(), POINTS_MAX);
        let answer = serde_json::to_value(history.last(60, ["lake".to_owned()].into_iter())).expect("JSON");
        assert_eq!(answer["at"].as_array().map(Vec::len), Some(12));
        assert_eq!(answer["columns"]["accepted"][11], 729.0);
        assert_eq!(answer["sinks"][0]["name"], "lake");
        assert!(answer["sinks"][0]["columns"]["end_to_end_p50"][0].is_null());
        assert_eq!(answer["sinks"][0]["columns"]["end_to_end_p99"][0], 2.0);
        assert!(answer["sinks"][0]["columns"]["end_to_end_p99"][11].is_null(), "there was another sink then");
        let names = |place: usize| Arc::as_ptr(&history.0.lock()[place].names);
        assert_eq!(names(0), names(POINTS_MAX - 2), "the names are kept once");
        assert_eq!(history.last(3600, std::iter::empty()).at.len(), POINTS_MAX);
    }
}
