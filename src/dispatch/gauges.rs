//! What a dispatcher tells the outside: metrics, the sink's state, one log line per change of it.

use std::sync::Arc;
use std::time::SystemTime;

use bytestring::ByteString;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::window::Window;
use crate::event::{Position, Reason, Timestamp};
use crate::health::SinkStatus;
use crate::sink::{PASSING, PERHAPS_PUBLISHED};
use crate::telemetry::{FloatGauge, Metrics, Shown, Sink, SinkReason};

/// One sink's metrics and state.
pub struct Gauges {
    name: String,
    lag: Gauge,
    oldest_pending: FloatGauge,
    degraded: Gauge,
    retries: Family<SinkReason, Counter>,
    dead_letters: Family<SinkReason, Counter>,
    /// Records published that may have been published before.
    pub possible_duplicates: Counter,
    status: Arc<SinkStatus>,
    in_trouble: bool,
}

impl Gauges {
    /// The metrics of the sink of this name, at their present values.
    pub fn new(name: &str, metrics: &Metrics, status: Arc<SinkStatus>) -> Self {
        let sink = Sink { sink: name.to_owned() };
        Self {
            name: name.to_owned(),
            lag: metrics.sink_lag.get_or_create(&sink).clone(),
            oldest_pending: metrics.sink_oldest_pending.get_or_create(&sink).clone(),
            degraded: metrics.sink_degraded.get_or_create(&sink).clone(),
            retries: metrics.sink_retries.clone(),
            dead_letters: metrics.dead_letters.clone(),
            possible_duplicates: metrics.possible_duplicates.get_or_create(&sink).clone(),
            status,
            in_trouble: false,
        }
    }

    /// Counts a record that was put off.
    pub fn put_off(&self, reason: &Reason) {
        self.retries.get_or_create(&self.labels(reason)).inc();
        if PERHAPS_PUBLISHED.contains(&reason.word) {
            self.possible_duplicates.inc();
        }
    }

    /// Counts and logs a record that became a dead letter.
    pub fn dead_letter(&self, id: &ByteString, reason: &Reason) {
        self.dead_letters.get_or_create(&self.labels(reason)).inc();
        tracing::warn!(
            sink = self.name,
            id = %Shown(id),
            reason = reason.word,
            detail = %Shown(&reason.detail),
            "record refused by the sink, kept as a dead letter"
        );
    }

    /// Follows the sink into trouble and out of it; each change is one log line.
    pub fn trouble(&mut self, window: &Window) {
        match window.held().find(|(_, reason)| !PASSING.contains(&reason.word)) {
            Some((topic, reason)) => {
                let text = format!("{} on {topic}: {}", reason.word, reason.detail);
                if !self.in_trouble {
                    tracing::warn!(sink = self.name, topic, reason = reason.word, detail = %Shown(&reason.detail), "sink degraded: its records are kept and tried again");
                }
                self.in_trouble = true;
                self.status.degraded(text);
            }
            None if self.in_trouble => {
                self.in_trouble = false;
                self.status.healthy();
                tracing::info!(sink = self.name, "sink healthy again");
            }
            None => {}
        }
        self.degraded.set(i64::from(self.in_trouble));
    }

    /// Reports how far the sink is behind the newest record, in records and in time.
    pub fn report(&self, window: &Window, head: Position) {
        let lag = head.0.saturating_sub(window.cursor().0);
        let age = window
            .oldest_pending()
            .map_or(0.0, |arrived| Timestamp::from(SystemTime::now()).seconds_since(arrived));
        self.lag.set(i64::try_from(lag).unwrap_or(i64::MAX));
        self.oldest_pending.set(age);
        self.status.progress(window.cursor(), lag, age);
    }

    fn labels(&self, reason: &Reason) -> SinkReason {
        SinkReason { sink: self.name.clone(), reason: reason.word.to_owned() }
    }
}
