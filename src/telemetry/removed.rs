//! The series of what was removed from the configuration.

use super::{Metrics, Sink};

impl Metrics {
    /// Takes the gauges of a sink out, which nobody sets any more. Its counters stay: they go on if the sink
    /// comes back.
    pub fn remove_sink(&self, name: &str) {
        let sink = Sink { sink: name.to_owned() };
        let gauges = [
            &self.sink_lag,
            &self.sink_in_flight,
            &self.sink_requests_allowed,
            &self.sink_degraded,
            &self.sink_paused,
            &self.replay.pending,
        ];
        for gauge in gauges {
            gauge.remove(&sink);
        }
        self.sink_oldest_pending.remove(&sink);
    }
}
