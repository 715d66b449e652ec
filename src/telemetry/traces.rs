//! Sends finished spans to an OpenTelemetry collector, in the encoding of OTLP.
//!
//! The exporter is a task off the way of the events. It takes spans from the bounded queue of the [`Tracer`]
//! and holds one request at most: while the collector is away the request is tried again, the queue fills,
//! and what it does not take is dropped and counted. The log has one warning for that.

use std::time::Duration;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{
    ResourceSpans, ScopeSpans, Span, SpanFlags, Status, span, status,
};
use prost::Message;
use rustls::ClientConfig;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use super::otlp::{CollectorClient, ExportError};
use super::spans::{FinishedSpan, SpanKind, SpanValue, Tracer};
use super::trace_context::{TraceContext, TraceId};
use super::trace_metrics::TraceMetrics;
use super::trace_options::TraceOptions;
use super::{Episode, Shown};

/// The name under which a collector knows the bridge.
const SERVICE_NAME: &str = "fanbridge";
/// Most spans of one request: collectors take 4 MiB, and a span with all its links has some six KiB.
const BATCH_SPANS_MAX: usize = 512;
/// How long spans wait for others to share a request.
const GATHER: Duration = Duration::from_millis(200);
/// The wait before a request is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// How long a stop waits for the last spans to be taken.
const STOP_WITHIN: Duration = Duration::from_secs(2);

/// Sends the spans of a [`Tracer`] to a collector.
pub struct TraceExporter {
    spans: mpsc::Receiver<FinishedSpan>,
    client: CollectorClient,
    /// The collector's address, for the log.
    endpoint: String,
    resource: Resource,
    metrics: TraceMetrics,
    /// The time in which the collector takes no spans.
    trouble: Episode<&'static str>,
}

/// A request that is encoded.
struct EncodedBatch {
    message: Bytes,
    spans: u64,
}

impl TraceExporter {
    /// A tracer, and what exports its spans once it is run.
    pub fn new(options: &TraceOptions, tls: ClientConfig, metrics: TraceMetrics) -> (Tracer, Self) {
        let (tracer, spans) = Tracer::new(options.sample_ratio, &metrics);
        let exporter = Self {
            spans,
            client: CollectorClient::new(options, tls),
            endpoint: options.endpoint.to_string(),
            resource: resource(tracer.root().trace),
            metrics,
            trouble: Episode::default(),
        };
        (tracer, exporter)
    }

    /// Exports until it is told to stop; then also what waits, as far as the collector takes it at once.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut waiting = Vec::with_capacity(BATCH_SPANS_MAX);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = gather(&mut self.spans, &mut waiting) => {}
            }
            let batch = self.encoded(&mut waiting);
            let delivered = tokio::select! {
                biased;
                () = stop.cancelled() => false,
                () = self.deliver(&batch) => true,
            };
            if !delivered {
                return self.finish(Some(batch), waiting).await;
            }
        }
        self.finish(None, waiting).await;
    }

    /// Sends a request until the collector takes it, or refuses it for good.
    async fn deliver(&mut self, batch: &EncodedBatch) {
        while !self.attempt(batch).await {
            sleep(RETRY_AFTER).await;
        }
    }

    /// Sends a request once. Returns whether that is the end of it.
    async fn attempt(&mut self, batch: &EncodedBatch) -> bool {
        match self.client.send(&batch.message).await {
            Ok(answer) => {
                self.taken(batch.spans, &answer);
                true
            }
            Err(ExportError { word, detail, can_pass }) => {
                self.warn(word, &detail);
                if !can_pass {
                    self.metrics.dropped_for("refused").inc_by(batch.spans);
                }
                !can_pass
            }
        }
    }

    /// Counts what the collector has taken, and what it says that it has not.
    fn taken(&mut self, spans: u64, answer: &Bytes) {
        let answer = ExportTraceServiceResponse::decode(answer.clone()).unwrap_or_default();
        let partial = answer.partial_success.unwrap_or_default();
        let rejected = u64::try_from(partial.rejected_spans).unwrap_or(0).min(spans);
        self.metrics.exported.inc_by(spans - rejected);
        if rejected > 0 {
            self.metrics.dropped_for("refused").inc_by(rejected);
            self.warn("partial", &partial.error_message);
        } else if let Some(end) = self.trouble.over(std::time::Instant::now()) {
            tracing::info!(
                endpoint = %Shown(&self.endpoint),
                seconds = end.seconds(),
                "the collector takes spans again"
            );
        }
    }

    fn warn(&mut self, reason: &'static str, detail: &str) {
        // One line for each time: a collector that restarts fails in several ways.
        if self.trouble.is_ongoing() {
            return;
        }
        self.trouble.happens(reason, std::time::Instant::now());
        tracing::warn!(
            endpoint = %Shown(&self.endpoint),
            reason,
            detail = %Shown(detail),
            "the collector does not take spans: a few thousand wait in memory and the rest is dropped, while \
             events go their way as ever"
        );
    }

    /// Offers what is left to the collector once, within a bound; the rest is dropped and counted.
    async fn finish(mut self, begun: Option<EncodedBatch>, mut waiting: Vec<FinishedSpan>) {
        let end = Instant::now() + STOP_WITHIN;
        let mut batch = begun;
        loop {
            let next = match batch.take() {
                Some(batch) => batch,
                None => {
                    while waiting.len() < BATCH_SPANS_MAX
                        && let Ok(span) = self.spans.try_recv()
                    {
                        waiting.push(span);
                    }
                    if waiting.is_empty() {
                        return;
                    }
                    self.encoded(&mut waiting)
                }
            };
            if !timeout_at(end, self.attempt(&next)).await.unwrap_or(false) {
                let left = next.spans + self.spans.len() as u64 + waiting.len() as u64;
                self.metrics.dropped_for("stopped").inc_by(left);
                tracing::info!(
                    spans = left,
                    "the bridge stops without a collector that takes its last spans"
                );
                return;
            }
        }
    }

    /// These spans as one request; the list is empty then.
    fn encoded(&self, spans: &mut Vec<FinishedSpan>) -> EncodedBatch {
        let count = spans.len() as u64;
        let scope = InstrumentationScope {
            name: SERVICE_NAME.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..InstrumentationScope::default()
        };
        let spans = spans.drain(..).map(encoded_span).collect();
        let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() }];
        let resource_spans = vec![ResourceSpans {
            resource: Some(self.resource.clone()),
            scope_spans,
            ..ResourceSpans::default()
        }];
        let message = ExportTraceServiceRequest { resource_spans }.encode_to_vec().into();
        EncodedBatch { message, spans: count }
    }
}

/// Waits for a span and then for others, until the request is full or they have waited for long enough. What
/// was taken stays in the list if this is cancelled.
async fn gather(spans: &mut mpsc::Receiver<FinishedSpan>, waiting: &mut Vec<FinishedSpan>) {
    if spans.recv_many(waiting, BATCH_SPANS_MAX - waiting.len()).await == 0 {
        // Nothing more comes, and the stop will.
        return std::future::pending().await;
    }
    if waiting.len() < BATCH_SPANS_MAX {
        sleep(GATHER).await;
        while waiting.len() < BATCH_SPANS_MAX
            && let Ok(span) = spans.try_recv()
        {
            waiting.push(span);
        }
    }
}

/// What all spans of this process say of it. The instance is a new one at every start.
fn resource(instance: TraceId) -> Resource {
    let digits = instance.to_string();
    let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
    let attributes = [
        ("service.name", SERVICE_NAME.to_owned()),
        ("service.version", env!("CARGO_PKG_VERSION").to_owned()),
        ("service.instance.id", parts.join("-")),
    ];
    let attributes = attributes.into_iter().map(|(name, text)| attribute(name, SpanValue::Text(text)));
    Resource { attributes: attributes.collect(), ..Resource::default() }
}

fn attribute(name: &str, value: SpanValue) -> KeyValue {
    let value = match value {
        SpanValue::Number(number) => Value::IntValue(number),
        SpanValue::Text(text) => Value::StringValue(text),
    };
    KeyValue { key: name.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn encoded_span(finished: FinishedSpan) -> Span {
    let FinishedSpan { context, parent, state, name, kind, attributes, links, failure, .. } = finished;
    let mut attributes: Vec<_> = attributes.into_iter().map(|(name, value)| attribute(name, value)).collect();
    if let Some((word, _)) = &failure {
        attributes.push(attribute("error.type", SpanValue::Text((*word).to_owned())));
    }
    Span {
        trace_id: context.trace.0.to_vec(),
        span_id: context.span.0.to_vec(),
        trace_state: state.map(String::from).unwrap_or_default(),
        parent_span_id: parent.map(|parent| parent.span.0.to_vec()).unwrap_or_default(),
        flags: flags(context, parent.is_some_and(|parent| parent.is_remote)),
        name,
        kind: match kind {
            SpanKind::Consumer => span::SpanKind::Consumer,
            SpanKind::Internal => span::SpanKind::Internal,
            SpanKind::Producer => span::SpanKind::Producer,
        } as i32,
        start_time_unix_nano: u64::try_from(finished.began).unwrap_or(0),
        end_time_unix_nano: u64::try_from(finished.ended).unwrap_or(0),
        attributes,
        links: links.into_iter().map(encoded_link).collect(),
        dropped_links_count: finished.links_dropped,
        status: failure.map(|(_, message)| Status { message, code: status::StatusCode::Error as i32 }),
        ..Span::default()
    }
}

/// A span of the same process or of one before it: who linked to it does not know.
fn encoded_link(context: TraceContext) -> span::Link {
    span::Link {
        trace_id: context.trace.0.to_vec(),
        span_id: context.span.0.to_vec(),
        flags: u32::from(context.is_sampled),
        ..span::Link::default()
    }
}

/// The flags of a trace context, and whether the span's parent is another process's.
fn flags(context: TraceContext, is_remote: bool) -> u32 {
    let remote = if is_remote { SpanFlags::ContextIsRemoteMask as u32 } else { 0 };
    u32::from(context.is_sampled) | SpanFlags::ContextHasIsRemoteMask as u32 | remote
}
