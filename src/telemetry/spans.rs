//! Which deliveries are traced, and how their spans leave the way of the events.
//!
//! A [`Tracer`] decides by itself, without a lock and without an allocation, and hands finished spans to a
//! bounded queue. When the queue is full, a span is dropped and counted: nothing waits for a collector.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::metrics::counter::Counter;
use tokio::sync::mpsc;

use super::trace_context::{SpanId, TraceContext, TraceId};
use super::trace_metrics::TraceMetrics;

/// Most spans that wait for the collector. A span has less than a kilobyte, one with links to many events
/// some ten.
const QUEUE_SPANS_MAX: usize = 4096;
/// Most links of one span.
pub const LINKS_MAX: usize = 128;
/// Step of the ids' counter: odd and without a pattern, so that each value comes once in 2^64 steps.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Begins traces, and takes the finished spans. A clone is the same tracer.
#[derive(Clone, Debug)]
pub struct Tracer(Arc<Sampling>);

#[derive(Debug)]
struct Sampling {
    /// A trace of its own is sampled if the last 63 bits of its id are less than this.
    sampled_below: u64,
    ids: AtomicU64,
    salt: u64,
    queue: mpsc::Sender<FinishedSpan>,
    dropped: Counter,
}

/// What a span does with messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// It takes a message in.
    Consumer,
    /// It is a part of another span.
    Internal,
    /// It hands messages over.
    Producer,
}

/// The value of a span's attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum SpanValue {
    /// A number.
    Number(i64),
    /// A text: no part of a body, no secret.
    Text(String),
}

/// The span that another one is a part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanParent {
    /// The span.
    pub span: SpanId,
    /// Whether another process recorded it.
    pub is_remote: bool,
}

/// A span that has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct FinishedSpan {
    /// Its trace and its id.
    pub context: TraceContext,
    /// What it is a part of.
    pub parent: Option<SpanParent>,
    /// The `tracestate` with which its trace came.
    pub state: Option<Box<str>>,
    /// What it does and with what: few names, no ids.
    pub name: String,
    /// What it does with messages.
    pub kind: SpanKind,
    /// When it began, in nanoseconds since the Unix epoch.
    pub began: i64,
    /// When it ended.
    pub ended: i64,
    /// What is known of it, by the names of the semantic conventions.
    pub attributes: Vec<(&'static str, SpanValue)>,
    /// The spans of other traces that led to it.
    pub links: Vec<TraceContext>,
    /// The number of links beyond [`LINKS_MAX`].
    pub links_dropped: u32,
    /// Why it failed: a word from a fixed list, and an explanation.
    pub failure: Option<(&'static str, String)>,
}

impl FinishedSpan {
    /// A span that is not finished yet: it begins now, at this moment.
    pub fn begun(context: TraceContext, kind: SpanKind, name: String, began: i64) -> Self {
        Self {
            context,
            parent: None,
            state: None,
            name,
            kind,
            began,
            ended: began,
            attributes: Vec::new(),
            links: Vec::new(),
            links_dropped: 0,
            failure: None,
        }
    }

    /// Adds a text.
    pub fn text(&mut self, name: &'static str, value: impl Into<String>) {
        self.attributes.push((name, SpanValue::Text(value.into())));
    }

    /// Adds a number.
    pub fn number(&mut self, name: &'static str, value: impl TryInto<i64>) {
        self.attributes.push((name, SpanValue::Number(value.try_into().unwrap_or(i64::MAX))));
    }
}

impl Tracer {
    /// A tracer that samples this part of the traces that begin here, and the queue of its spans.
    pub fn new(sample_ratio: f64, metrics: &TraceMetrics) -> (Self, mpsc::Receiver<FinishedSpan>) {
        let (queue, spans) = mpsc::channel(QUEUE_SPANS_MAX);
        let seed = || RandomState::new().build_hasher().finish();
        let sampling = Sampling {
            // All of them at 1, because no id has 64 bits here.
            sampled_below: (sample_ratio.clamp(0.0, 1.0) * (1_u64 << 63) as f64) as u64,
            ids: AtomicU64::new(seed()),
            salt: seed(),
            queue,
            dropped: metrics.dropped_for("queue_full"),
        };
        (Self(Arc::new(sampling)), spans)
    }

    /// The context of the first span here of a trace: of the sender's, which is sampled if the sender says
    /// so, or of a new one. `None` if it is not sampled.
    pub fn begin(&self, sender: Option<TraceContext>) -> Option<TraceContext> {
        match sender {
            Some(sender) => sender.is_sampled.then(|| self.within(sender.trace)),
            None => {
                let trace = self.trace();
                let [.., a, b, c, d, e, f, g, h] = trace.0;
                let below = u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 1;
                (below < self.0.sampled_below).then(|| self.within(trace))
            }
        }
    }

    /// The context of the first span of a new trace that is sampled in any case.
    pub fn root(&self) -> TraceContext {
        self.within(self.trace())
    }

    /// The context of a further span of this trace.
    pub fn within(&self, trace: TraceId) -> TraceContext {
        TraceContext { trace, span: SpanId(self.draw().to_be_bytes()), is_sampled: true }
    }

    /// Takes a span, or drops it and counts that, if too many wait.
    pub fn record(&self, span: FinishedSpan) {
        if self.0.queue.try_send(span).is_err() {
            self.0.dropped.inc();
        }
    }

    fn trace(&self) -> TraceId {
        let (high, low) = (self.draw(), self.draw());
        TraceId(((u128::from(high) << 64) | u128::from(low)).to_be_bytes())
    }

    /// A number that is not 0, and that no other process draws in this order.
    fn draw(&self) -> u64 {
        let mut number = self.0.ids.fetch_add(STEP, Ordering::Relaxed);
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ self.0.salt;
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (number ^ (number >> 31)).max(1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn tracer(ratio: f64) -> (Tracer, mpsc::Receiver<FinishedSpan>, TraceMetrics) {
        let metrics = TraceMetrics::default();
        let (tracer, spans) = Tracer::new(ratio, &metrics);
        (tracer, spans, metrics)
    }

    fn sender(is_sampled: bool) -> TraceContext {
        TraceContext { trace: TraceId([7; 16]), span: SpanId([7; 8]), is_sampled }
    }

    #[test]
    fn the_sender_decides_about_its_trace_and_the_ratio_about_others() {
        for ratio in [0.0, 1.0] {
            let (tracer, ..) = tracer(ratio);
            let ours = tracer.begin(Some(sender(true))).expect("the sender samples it");
            assert_eq!(ours.trace, sender(true).trace);
            assert_ne!(ours.span, sender(true).span);
            assert_eq!(tracer.begin(Some(sender(false))), None);
            assert_eq!(tracer.begin(None).is_some(), ratio > 0.0);
        }
        let (tracer, ..) = tracer(0.25);
        let sampled = (0..10_000).filter(|_| tracer.begin(None).is_some()).count();
        assert!((2_000..3_000).contains(&sampled), "{sampled} of 10000");
    }

    #[test]
    fn no_id_comes_twice_and_none_is_zero() {
        let ((tracer, ..), (other, ..)) = (tracer(1.0), tracer(1.0));
        let contexts = (0..5_000).flat_map(|_| [tracer.root(), other.root()]);
        let contexts: Vec<_> = contexts.collect();
        let traces: HashSet<_> = contexts.iter().map(|context| context.trace.0).collect();
        let spans: HashSet<_> = contexts.iter().map(|context| context.span.0).collect();
        assert_eq!((traces.len(), spans.len()), (10_000, 10_000));
        assert!(contexts.iter().all(|context| TraceContext::read(&context.to_string()) == Some(*context)));
    }

    #[test]
    fn what_the_queue_does_not_take_is_dropped_and_counted() {
        let (tracer, mut spans, metrics) = tracer(1.0);
        let span = || FinishedSpan::begun(tracer.root(), SpanKind::Internal, "append".into(), 1);
        for _ in 0..QUEUE_SPANS_MAX + 3 {
            tracer.record(span());
        }
        assert_eq!(metrics.dropped_for("queue_full").get(), 3);
        spans.try_recv().expect("a span");
        tracer.record(span());
        assert_eq!(metrics.dropped_for("queue_full").get(), 3);
    }
}
