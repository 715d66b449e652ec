//! Metrics of the spans on their way to a collector.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use super::Reason;
use super::registering::TableRegistry;

/// The metrics of traces. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct TraceMetrics {
    /// Spans that the collector has taken.
    pub exported: Counter,
    /// Spans that no collector gets, by reason.
    pub dropped: Family<Reason, Counter>,
}

impl TraceMetrics {
    /// The counter of spans that are dropped for this reason.
    pub fn dropped_for(&self, reason: &str) -> Counter {
        self.dropped.get_or_create_owned(&Reason { reason: reason.to_owned() })
    }

    pub(super) fn register(&self, table: &mut TableRegistry) {
        table.add("trace_spans_exported_total", self.exported.clone());
        table.add("trace_spans_dropped_total", self.dropped.clone());
    }
}
