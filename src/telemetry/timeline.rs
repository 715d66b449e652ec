//! Metrics of the last steps that are kept in memory.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::FloatGauge;

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

    pub(super) fn register(&self, r: &mut Registry) {
        let bytes = "Memory of the last steps of deliveries and events";
        r.register_with_unit("timeline", bytes, Unit::Bytes, self.bytes.clone());
        let dropped = "Steps that were not kept, because they came faster than they are collected";
        r.register("timeline_steps_dropped", dropped, self.dropped.clone());
        let oldest = "Age of the oldest step that is kept, 0 if there is none";
        r.register_with_unit("timeline_oldest", oldest, Unit::Seconds, self.oldest.clone());
    }
}

impl Default for TimelineMetrics {
    fn default() -> Self {
        Self::new()
    }
}
