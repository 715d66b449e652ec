//! What one run of the load found, as the line it prints and the bench reads.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One run of the load.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct LoadReport {
    /// Connections kept open.
    pub connections: usize,
    /// Bytes of each body.
    pub body_bytes: usize,
    /// The rate that was asked for, if the loop was open.
    pub rate_asked: Option<f64>,
    /// From the first request to the last answer.
    pub seconds: f64,
    /// Requests that were answered 2xx.
    pub accepted: u64,
    /// Requests answered 2xx, per second.
    pub accepted_per_second: f64,
    /// Requests by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Requests without an answer: the connection broke or timed out.
    pub errors: u64,
    /// Latency, in milliseconds; from the moment the request was due, not from when it was sent.
    pub p50_ms: f64,
    /// As above.
    pub p99_ms: f64,
    /// As above.
    pub p999_ms: f64,
    /// As above.
    pub max_ms: f64,
    /// What sending cost: CPU time of the load itself.
    pub sender_cpu_us_per_event: f64,
    /// How much of the time the load's threads were busy: near 100, the load is what bounds the rate.
    pub sender_busy_percent: f64,
    /// Connections that took up a former session of TLS.
    pub resumed: u64,
    /// Connections that were kept open beside the load, with nothing to say, and still are.
    pub idle: usize,
}
