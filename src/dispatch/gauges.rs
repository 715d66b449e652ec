//! What a dispatcher tells the outside: metrics, the sink's state, one log line per change of it.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytestring::ByteString;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::window::Window;
use crate::event::{Position, Reason, Timestamp};
use crate::health::SinkStatus;
use crate::sink::{self, PASSING, PERHAPS_PUBLISHED};
use crate::telemetry::{FloatGauge, LogLimit, Metrics, Shown, Sink, SinkReason};

/// How long a sink may give no answer before it counts as degraded: more than a healthy one ever
/// takes, less than the time in which somebody starts to wonder.
pub const SILENCE_MAX: Duration = Duration::from_secs(10);

/// One sink's metrics and state.
pub struct Gauges {
    name: String,
    lag: Gauge,
    oldest_pending: FloatGauge,
    in_flight: Gauge,
    degraded: Gauge,
    retries: Family<SinkReason, Counter>,
    dead_letters: Family<SinkReason, Counter>,
    /// Records published that may have been published before.
    pub possible_duplicates: Counter,
    status: Arc<SinkStatus>,
    in_trouble: Option<Instant>,
    log_limit: LogLimit,
}

impl Gauges {
    /// The metrics of the sink of this name, at their present values.
    pub fn new(name: &str, metrics: &Metrics, status: Arc<SinkStatus>) -> Self {
        let sink = Sink { sink: name.to_owned() };
        Self {
            name: name.to_owned(),
            lag: metrics.sink_lag.get_or_create(&sink).clone(),
            oldest_pending: metrics.sink_oldest_pending.get_or_create(&sink).clone(),
            in_flight: metrics.sink_in_flight.get_or_create(&sink).clone(),
            degraded: metrics.sink_degraded.get_or_create(&sink).clone(),
            retries: metrics.sink_retries.clone(),
            dead_letters: metrics.dead_letters.clone(),
            possible_duplicates: metrics.possible_duplicates.get_or_create(&sink).clone(),
            status,
            in_trouble: None,
            log_limit: LogLimit::default(),
        }
    }

    /// Counts a record that was put off.
    pub fn put_off(&self, reason: &Reason) {
        self.retries.get_or_create(&self.labels(reason)).inc();
        if PERHAPS_PUBLISHED.contains(&reason.word) {
            self.possible_duplicates.inc();
        }
    }

    /// Counts a record that became a dead letter; logs it, unless there are many.
    pub fn dead_letter(&self, id: &ByteString, reason: &Reason) {
        self.dead_letters.get_or_create(&self.labels(reason)).inc();
        let Some(unsaid) = self.log_limit.admit(reason.word) else { return };
        tracing::warn!(
            sink = self.name,
            id = %Shown(id),
            reason = reason.word,
            detail = %Shown(&reason.detail),
            unsaid,
            "record refused by the sink, kept as a dead letter (`fanbridge dead list`)"
        );
    }

    /// Follows the sink into trouble and out of it; each change is one log line. A sink is in
    /// trouble when a topic is held, when it has given no answer for long (`silence` is how long),
    /// and when it says that it could not publish anything.
    pub fn trouble(&mut self, window: &Window, silence: Duration, sink: &dyn sink::Sink) {
        let held = window.held().filter(|(_, reason)| !PASSING.contains(&reason.word));
        // Of several the same one every time, so that what is shown stays.
        let held = held.min_by_key(|(topic, _)| *topic);
        let found = match held {
            Some((topic, reason)) => Some((reason.word, format!("{topic}: {}", reason.detail))),
            None if silence >= SILENCE_MAX => {
                let unknown = || format!("nothing confirmed for {} s", silence.as_secs());
                Some(("no_answer", sink.complaint().unwrap_or_else(unknown)))
            }
            None => sink.obstacle().map(|obstacle| (obstacle.word, obstacle.detail)),
        };
        match found {
            Some((word, detail)) => self.degraded(word, &detail),
            None => self.healthy(),
        }
    }

    fn degraded(&mut self, word: &str, detail: &str) {
        if self.in_trouble.is_none() {
            self.in_trouble = Some(Instant::now());
            self.degraded.set(1);
            tracing::warn!(
                sink = self.name,
                reason = word,
                detail = %Shown(detail),
                "sink degraded: its records are kept and tried again"
            );
        }
        self.status.degraded(format!("{word}: {detail}"));
    }

    fn healthy(&mut self) {
        let Some(since) = self.in_trouble.take() else { return };
        self.degraded.set(0);
        self.status.healthy();
        tracing::info!(sink = self.name, degraded_seconds = since.elapsed().as_secs(), "sink healthy again");
    }

    /// Reports how far the sink is behind the newest record, in records and in time, and how many
    /// records it has been handed and not reported on.
    pub fn report(&self, window: &Window, head: Position, in_flight: usize) {
        let lag = head.0.saturating_sub(window.cursor().0);
        let age = window
            .oldest_pending()
            .map_or(0.0, |arrived| Timestamp::from(SystemTime::now()).seconds_since(arrived));
        self.lag.set(i64::try_from(lag).unwrap_or(i64::MAX));
        self.oldest_pending.set(age);
        self.in_flight.set(i64::try_from(in_flight).unwrap_or(i64::MAX));
        self.status.progress(window.cursor(), lag, age);
    }

    fn labels(&self, reason: &Reason) -> SinkReason {
        SinkReason { sink: self.name.clone(), reason: reason.word.to_owned() }
    }
}
