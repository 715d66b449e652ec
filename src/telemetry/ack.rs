//! Metrics of answers that wait for sinks.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

use super::registering::TableRegistry;
use super::{HistogramFamily, Sink, Source};

/// The metrics of answers that wait for sinks.
#[derive(Debug)]
pub struct AckMetrics {
    /// Deliveries that wait for a sink now.
    pub waiting: Family<Sink, Gauge>,
    /// Deliveries for which a sink has not accepted the event in time.
    pub late: Family<Sink, Counter>,
    /// Seconds that deliveries waited until a sink had settled their event.
    pub wait: HistogramFamily<Sink>,
    /// Duplicates whose event was stored once more, because nobody could tell whether a sink has it.
    pub stored_again: Family<Source, Counter>,
}

impl AckMetrics {
    pub(super) fn new() -> Self {
        let waits = || Histogram::new(exponential_buckets(0.001, 2.0, 17));
        Self {
            waiting: Family::default(),
            late: Family::default(),
            wait: Family::new_with_constructor(waits),
            stored_again: Family::default(),
        }
    }

    pub(super) fn register(&self, table: &mut TableRegistry) {
        table.add("ack_waiting", self.waiting.clone());
        table.add("ack_late_total", self.late.clone());
        table.add("ack_stored_again_total", self.stored_again.clone());
        table.add("ack_wait_seconds", self.wait.clone());
    }
}
