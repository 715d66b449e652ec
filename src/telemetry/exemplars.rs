//! Histograms that name a trace for each of their buckets, if traces are on: an exemplar leads from a slow
//! bucket to one event that was slow.

use std::fmt;

use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::exemplar::HistogramWithExemplars;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::{MetricType, TypedMetric};

use super::trace_context::TraceId;

/// Histograms of what takes 50 µs to seconds.
pub(super) const FAST: fn() -> DurationHistogram = || DurationHistogram::Plain(Histogram::new(fast()));
/// The same with exemplars.
pub(super) const FAST_TRACED: fn() -> DurationHistogram =
    || DurationHistogram::Traced(HistogramWithExemplars::new(fast()));
/// Histograms of what takes a millisecond to minutes.
pub(super) const SLOW: fn() -> DurationHistogram = || DurationHistogram::Plain(Histogram::new(slow()));
/// The same with exemplars.
pub(super) const SLOW_TRACED: fn() -> DurationHistogram =
    || DurationHistogram::Traced(HistogramWithExemplars::new(slow()));

/// The buckets of what takes 50 µs to seconds.
pub(super) fn fast() -> impl Iterator<Item = f64> {
    exponential_buckets(0.000_05, 2.0, 18)
}

fn slow() -> impl Iterator<Item = f64> {
    exponential_buckets(0.001, 2.0, 20)
}

/// The label of an exemplar.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct TraceLabel {
    /// The trace, in hexadecimal digits.
    pub trace_id: String,
}

/// A histogram of durations, with or without exemplars.
#[derive(Clone, Debug)]
pub enum DurationHistogram {
    /// Without, while traces are off.
    Plain(Histogram),
    /// With the last trace of each bucket.
    Traced(HistogramWithExemplars<TraceLabel>),
}

impl DurationHistogram {
    /// Counts a duration in seconds.
    pub fn observe(&self, seconds: f64) {
        self.observe_traced(seconds, || None);
    }

    /// The same of something that has a trace if it is sampled, which is asked only while traces are on.
    pub fn observe_traced(&self, seconds: f64, trace: impl FnOnce() -> Option<TraceId>) {
        match self {
            Self::Plain(histogram) => histogram.observe(seconds),
            Self::Traced(histogram) => {
                let label = trace().map(|trace| TraceLabel { trace_id: trace.to_string() });
                histogram.observe(seconds, label, None);
            }
        }
    }
}

impl EncodeMetric for DurationHistogram {
    fn encode(&self, encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        match self {
            Self::Plain(histogram) => histogram.encode(encoder),
            Self::Traced(histogram) => histogram.encode(encoder),
        }
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

impl TypedMetric for DurationHistogram {
    const TYPE: MetricType = MetricType::Histogram;
}
