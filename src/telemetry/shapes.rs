//! Metrics of the shapes of event types.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

use super::registering::TableRegistry;

/// The metrics of shapes. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct ShapeMetrics {
    /// Types whose shape is known.
    pub types: Gauge,
    /// Changes of shapes that were reported.
    pub changes: Counter,
    /// Samples that taught nothing, because they came too fast or their type is beyond the bounds.
    pub dropped: Counter,
}

impl ShapeMetrics {
    pub(super) fn register(&self, table: &mut TableRegistry) {
        table.add("shape_types", self.types.clone());
        table.add("shape_changes_total", self.changes.clone());
        table.add("shape_samples_dropped_total", self.dropped.clone());
    }
}
