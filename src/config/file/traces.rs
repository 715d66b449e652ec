//! The block `traces` of the configuration file.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::reference::Reference;
use crate::telemetry::{SAMPLE_RATIO, TraceProtocol};

/// Spans of sampled events, sent to an OpenTelemetry collector by OTLP.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TracesFile {
    /// URL of the collector. A URL without a path gets `/v1/traces`, unless `protocol` is `grpc`.
    #[schemars(required)]
    pub endpoint: Option<String>,
    /// In which form spans travel.
    #[serde(default)]
    pub protocol: TraceProtocol,
    /// Which part of the deliveries that come without a trace of their own is sampled. One that comes with a
    /// trace is sampled if its sender has sampled it.
    #[serde(default = "sample_ratio")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub sample_ratio: f64,
    /// Headers of each request to the collector, by name; each value is kept elsewhere.
    #[serde(default)]
    pub headers: BTreeMap<String, Reference>,
}

fn sample_ratio() -> f64 {
    SAMPLE_RATIO
}
