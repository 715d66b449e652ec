//! Metrics of replays.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::Sink;
use super::registering::TableRegistry;

/// The metrics of replays. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct ReplayMetrics {
    /// Replayed events that a sink accepted.
    pub replayed: Family<Sink, Counter>,
    /// Entries of the log that the replays to a sink have yet to look through.
    pub pending: Family<Sink, Gauge>,
}

impl ReplayMetrics {
    pub(super) fn register(&self, table: &mut TableRegistry) {
        table.add("replayed_total", self.replayed.clone());
        table.add("replay_pending", self.pending.clone());
    }
}
