//! Metrics of the last steps that are kept in memory.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

use super::FloatGauge;
use super::registering::TableRegistry;

/// The metrics of the timeline. Clones share them.
#[derive(Clone, Debug)]
pub struct TimelineMetrics {
    /// Bytes of memory that the timeline has.
    pub bytes: Gauge,
    /// Steps that were not noted, because they came faster than they are collected.
    pub dropped: Counter,
    /// Age in seconds of the oldest step; 0 if there is none.
    pub oldest: FloatGauge,
}

impl TimelineMetrics {
    /// All at zero, and not exposed.
    pub fn new() -> Self {
        Self { bytes: Gauge::default(), dropped: Counter::default(), oldest: FloatGauge::default() }
    }

    pub(super) fn register(&self, table: &mut TableRegistry) {
        table.add("timeline_bytes", self.bytes.clone());
        table.add("timeline_steps_dropped_total", self.dropped.clone());
        table.add("timeline_oldest_seconds", self.oldest.clone());
    }
}

impl Default for TimelineMetrics {
    fn default() -> Self {
        Self::new()
    }
}
