//! Where spans go, and which: the block `traces`, once it is checked.

use http::{HeaderMap, Uri};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The default of [`TraceOptions::sample_ratio`].
pub const SAMPLE_RATIO: f64 = 0.1;

/// In which form spans travel to a collector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum TraceProtocol {
    /// Protocol buffers by HTTP POST; collectors take it on port 4318.
    #[default]
    Http,
    /// gRPC; collectors take it on port 4317.
    Grpc,
}

/// Where spans go, and which.
#[derive(Clone, Debug)]
pub struct TraceOptions {
    /// The URL that requests are made to, with its path.
    pub endpoint: Uri,
    /// In which form.
    pub protocol: TraceProtocol,
    /// Which part of the traces that begin here is sampled, from 0 to 1.
    pub sample_ratio: f64,
    /// Headers of each request, such as credentials. Their values are marked as sensitive.
    pub headers: HeaderMap,
}
