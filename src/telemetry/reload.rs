//! Metrics of the configuration that counts, and of its reloads.

use std::time::SystemTime;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::FloatGauge;
use super::registering::TableRegistry;
use super::table::{MetricRow, counter, gauge};

/// Their rows of the table.
pub(super) const CONFIGURATION: &[MetricRow] = &[
    gauge("config_info", &["fingerprint"], "Always 1; the label has the configuration that counts"),
    counter("config_reloads_total", &["result"], "Times that the configuration was read again, by result")
        .advice("`errors`, `restart_needed` and `failed` changed nothing; the log says why"),
    gauge(
        "config_reload_refused",
        &[],
        "1 if the configuration was not taken over when it was last read again, else 0",
    )
    .advice(
        "the bridge goes on with the one before: see [change the \
             configuration](#change-the-configuration)",
    ),
    gauge(
        "config_reload_last_success_seconds",
        &[],
        "When the configuration was last read and found usable, in Unix time",
    ),
];

/// The metrics of reloads. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct ReloadMetrics {
    reloads: Family<ResultLabel, Counter>,
    info: Family<FingerprintLabel, Gauge>,
    last_success: FloatGauge,
    refused: Gauge,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct FingerprintLabel {
    fingerprint: String,
}

impl ReloadMetrics {
    /// Notes that the configuration with this fingerprint is read and counts.
    pub fn counts(&self, fingerprint: &str) {
        // There is one series at a time.
        self.info.clear();
        self.info.get_or_create(&FingerprintLabel { fingerprint: fingerprint.to_owned() }).set(1);
        self.last_success.set(SystemTime::UNIX_EPOCH.elapsed().map_or(0.0, |since| since.as_secs_f64()));
    }

    /// Counts a reload with this result, which was refused or was not.
    pub fn ended(&self, result: &'static str, refused: bool) {
        self.reloads.get_or_create(&ResultLabel { result }).inc();
        self.refused.set(i64::from(refused));
    }

    pub(super) fn register(&self, table: &mut TableRegistry) {
        table.add("config_reloads_total", self.reloads.clone());
        table.add("config_info", self.info.clone());
        table.add("config_reload_last_success_seconds", self.last_success.clone());
        table.add("config_reload_refused", self.refused.clone());
    }
}

#[cfg(test)]
mod tests {
    use crate::telemetry::Metrics;

    #[test]
    fn one_configuration_counts_at_a_time() {
        let metrics = Metrics::new();
        for fingerprint in ["000000000001", "000000000002"] {
            metrics.reload.counts(fingerprint);
        }
        metrics.reload.ended("errors", true);
        let text = metrics.render();
        let has = |line: &str| text.lines().any(|found| found == line);
        assert!(has(r#"fanbridge_config_info{fingerprint="000000000002"} 1"#), "{text}");
        assert!(!text.contains("000000000001"), "{text}");
        assert!(has(r#"fanbridge_config_reloads_total{result="errors"} 1"#), "{text}");
        assert!(has("fanbridge_config_reload_refused 1"), "{text}");
        assert!(!has("fanbridge_config_reload_last_success_seconds 0.0"), "{text}");
    }
}
