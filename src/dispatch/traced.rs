//! A span for each publication that has an event whose delivery was sampled.
//!
//! The span is no part of the events' own traces: it links to them, because one publication carries events
//! of many. What was sampled is known by the event's `traceparent`, which is in the log, so a restart forgets
//! no link. A publication without such an event costs a look at each event's attributes, and only while
//! traces are on.

use std::sync::Arc;
use std::time::SystemTime;

use super::Dispatcher;
use crate::event::{Event, Record, Timestamp};
use crate::sink::{Output, Reason, SinkOptions};
use crate::telemetry::{FinishedSpan, LINKS_MAX, SpanKind, TRACEPARENT, TraceContext, Tracer};

/// Most characters of an explanation that a span has.
const DETAIL_CHARS_MAX: usize = 200;

/// Begins the spans of a sink's publications.
pub(super) struct PublicationTraces {
    /// `None` while traces are off.
    tracer: Option<Tracer>,
    sink: String,
    /// What the sink publishes to: `messaging.system`.
    system: &'static str,
}

/// The span of a publication that is on its way. Dropped before its outcomes are known, it is not recorded.
pub(super) struct PublicationTrace {
    tracer: Tracer,
    span: FinishedSpan,
    retried: u64,
    rejected: u64,
}

impl PublicationTraces {
    pub(super) fn new(config: &SinkOptions) -> Self {
        let system = match config.output {
            Output::Kafka(_) => "kafka",
            Output::Sns(_) => "aws.sns",
            Output::File(_) => "file",
        };
        Self { tracer: None, sink: config.name.clone(), system }
    }

    /// Begins the span of the publication of these records; `None` if none of them is sampled.
    pub(super) fn begin(&self, records: &[Arc<Record>]) -> Option<Box<PublicationTrace>> {
        let tracer = self.tracer.as_ref()?;
        let mut sampled = records.iter().filter_map(|record| sampled(&record.event));
        let mut links = vec![sampled.next()?];
        links.extend(sampled.by_ref().take(LINKS_MAX - 1));
        let links_dropped = u32::try_from(sampled.count()).unwrap_or(u32::MAX);
        let topic = records.first().map(|record| &record.topic);
        // Of several topics none stands for the others.
        let topic = topic.filter(|topic| records.iter().all(|record| record.topic == **topic));
        let name = format!("publish {}", topic.map_or(&*self.sink, |topic| &**topic));
        let began = Timestamp::from(SystemTime::now());
        let mut span = FinishedSpan::begun(tracer.root(), SpanKind::Producer, name, began.0);
        (span.links, span.links_dropped) = (links, links_dropped);
        span.text("messaging.system", self.system);
        span.text("messaging.operation.name", "publish");
        span.text("messaging.operation.type", "send");
        span.text("fanbridge.sink", &*self.sink);
        span.number("messaging.batch.message_count", records.len());
        if let Some(topic) = topic {
            span.text("messaging.destination.name", &**topic);
        }
        Some(Box::new(PublicationTrace { tracer: tracer.clone(), span, retried: 0, rejected: 0 }))
    }
}

impl PublicationTrace {
    /// Notes that a record has to be tried again.
    pub(super) fn retried(&mut self, reason: &Reason) {
        self.retried += 1;
        self.failed(reason);
    }

    /// Notes that the sink has rejected a record.
    pub(super) fn rejected(&mut self, reason: &Reason) {
        self.rejected += 1;
        self.failed(reason);
    }

    /// The first reason is the span's.
    fn failed(&mut self, reason: &Reason) {
        let shortened = || reason.detail.chars().take(DETAIL_CHARS_MAX).collect();
        self.span.failure.get_or_insert_with(|| (reason.word(), shortened()));
    }

    /// Ends the span at this moment, when the outcome of every record is known.
    pub(super) fn end(mut self, at: Timestamp) {
        for (name, count) in [("fanbridge.retried", self.retried), ("fanbridge.rejected", self.rejected)] {
            if count > 0 {
                self.span.number(name, count);
            }
        }
        self.span.ended = at.0;
        self.tracer.record(self.span);
    }
}

impl Dispatcher {
    /// The same dispatcher, which traces publications by this tracer.
    pub fn traced_by(mut self, tracer: Option<Tracer>) -> Self {
        self.traces.tracer = tracer;
        self
    }
}

/// The context of an event whose delivery was sampled.
pub(super) fn sampled(event: &Event) -> Option<TraceContext> {
    let (_, text) = event.extensions.iter().find(|(name, _)| *name == TRACEPARENT)?;
    TraceContext::read(text).filter(|context| context.is_sampled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Position;
    use crate::sink::Cause;
    use crate::telemetry::{SpanValue, TraceMetrics};
    use crate::testing::events::event;

    fn record(topic: &str, trace: Option<&str>) -> Arc<Record> {
        let mut event = event("default:abc");
        event.extensions = trace.map(|trace| (TRACEPARENT.into(), trace.into())).into_iter().collect();
        Arc::new(Record { position: Position(7), topic: topic.into(), event: event.into() })
    }

    fn traces(tracer: Option<Tracer>) -> PublicationTraces {
        PublicationTraces { tracer, sink: "lake".into(), system: "kafka" }
    }

    const SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_publication_links_to_the_sampled_events_and_says_what_failed() {
        let (tracer, mut spans) = Tracer::new(1.0, &TraceMetrics::default());
        let unsampled = SAMPLED.replace("-01", "-00");
        let plain = [record("t", None), record("t", Some(&unsampled)), record("t", Some("no context"))];
        let traces = traces(Some(tracer));
        assert!(traces.begin(&plain).is_none(), "none of them is sampled");
        let batch: Vec<_> = plain.into_iter().chain([record("t", Some(SAMPLED))]).collect();
        let mut trace = traces.begin(&batch).expect("one is sampled");
        trace.retried(&Reason::new(Cause::UNKNOWN_TOPIC, "it is not there"));
        trace.rejected(&Reason::new(Cause::TOO_LARGE, "too large"));
        trace.end(Timestamp(9));
        let span = spans.try_recv().expect("a span");
        assert_eq!((span.name.as_str(), span.ended), ("publish t", 9));
        let links: Vec<_> = span.links.iter().map(ToString::to_string).collect();
        assert_eq!((links, span.links_dropped), (vec![SAMPLED.to_owned()], 0));
        assert_ne!(span.context.trace, span.links[0].trace, "it is linked, and no part of the trace");
        assert_eq!(span.failure, Some((Cause::UNKNOWN_TOPIC.word(), "it is not there".into())));
        let number = |wanted: &str| span.attributes.iter().find(|(name, _)| *name == wanted);
        assert_eq!(number("fanbridge.rejected").map(|(_, value)| value), Some(&SpanValue::Number(1)));
        assert_eq!(
            number("messaging.batch.message_count").map(|(_, value)| value),
            Some(&SpanValue::Number(4))
        );
    }

    #[test]
    fn links_are_bounded_and_several_topics_have_the_name_of_the_sink() {
        let (tracer, mut spans) = Tracer::new(1.0, &TraceMetrics::default());
        let batch: Vec<_> = (0..LINKS_MAX + 5).map(|at| record(&format!("t{at}"), Some(SAMPLED))).collect();
        traces(Some(tracer)).begin(&batch).expect("sampled").end(Timestamp(9));
        let span = spans.try_recv().expect("a span");
        assert_eq!(
            (span.name.as_str(), span.links.len(), span.links_dropped),
            ("publish lake", LINKS_MAX, 5)
        );
        assert!(traces(None).begin(&batch).is_none(), "traces are off");
    }
}
