//! Starts what exports spans, if traces are on.

use super::BridgeError;
use super::open::blocking;
use super::task::Task;
use crate::telemetry::{Metrics, TraceExporter, TraceOptions, Tracer};
use crate::trust;

/// The metrics of a bridge with this choice of traces: with traces, durations have exemplars.
pub(super) fn metrics(options: Option<&TraceOptions>) -> Metrics {
    if options.is_some() { Metrics::with_exemplars() } else { Metrics::new() }
}

/// Starts the exporter, and returns what hands it spans; neither of them while traces are off.
///
/// # Errors
/// When the cryptography library does not accept its own defaults.
pub(super) async fn start(
    options: Option<&TraceOptions>,
    metrics: &Metrics,
) -> Result<(Option<Tracer>, Option<Task>), BridgeError> {
    let Some(options) = options else { return Ok((None, None)) };
    let tls =
        blocking(|| trust::client(trust::system_authorities()).map_err(BridgeError::Cryptography)).await?;
    let (tracer, exporter) = TraceExporter::new(options, tls, metrics.traces.clone());
    tracing::info!(
        endpoint = %options.endpoint,
        sample_ratio = options.sample_ratio,
        "spans of sampled events go to a collector"
    );
    Ok((Some(tracer), Some(Task::spawn("the exporter of spans", |stop| exporter.run(stop)))))
}
