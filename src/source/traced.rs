//! The trace of a delivery that is sampled: a span from its arrival until it can be answered, and within it
//! one for the append.
//!
//! The event carries the context on, as its `traceparent`: in the log, and to every sink that carries the
//! attribute. That is the sender's context if it sent one, as the CloudEvents extension for distributed
//! tracing asks: the attribute names the trace that the event began in. Of a delivery that is not sampled
//! nothing is made and nothing is kept.

use std::borrow::Cow;
use std::time::SystemTime;

use bytestring::ByteString;
use http::HeaderMap;
use serde::Deserialize;

use super::{Acceptance, Unavailable};
use crate::event::{Timestamp, Verdict, Verified, single_header};
use crate::spool::{AppendError, Appended};
use crate::telemetry::{FinishedSpan, SpanKind, SpanParent, TRACEPARENT, TRACESTATE, TraceContext, Tracer};

/// The attribute that is made of a message's own `traceparent`.
const MESSAGE_PARENT: &str = "sqsattrtraceparent";
/// The attribute that is made of a message's own `tracestate`.
const MESSAGE_STATE: &str = "sqsattrtracestate";
/// Why a span ends whose delivery nobody waits for any more.
const UNANSWERED: (&str, &str) = ("unanswered", "the sender was gone, or was answered that it took too long");

/// The trace context that came with a delivery.
#[derive(Debug)]
pub(super) struct SentContext {
    /// What the delivery came by: `messaging.system`.
    system: &'static str,
    /// Whether anybody can have sent it, so that nobody known decides what is traced.
    is_of_stranger: bool,
    context: Option<TraceContext>,
    state: Option<Box<str>>,
}

/// The trace of one delivery. Dropped before it is answered, it ends as one that nobody waits for.
#[derive(Debug)]
pub(super) struct DeliveryTrace {
    tracer: Tracer,
    receive: Option<FinishedSpan>,
}

/// What is read of the message attributes in an SNS envelope.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct EnvelopeAttributes<'e> {
    #[serde(borrow)]
    message_attributes: ContextAttributes<'e>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ContextAttributes<'e> {
    #[serde(borrow)]
    traceparent: Option<AttributeText<'e>>,
    #[serde(borrow)]
    tracestate: Option<AttributeText<'e>>,
}

#[derive(Deserialize)]
struct AttributeText<'e> {
    #[serde(borrow, rename = "Value")]
    value: Cow<'e, str>,
}

impl SentContext {
    fn new(system: &'static str, parent: Option<&str>, state: Option<&str>) -> Self {
        let context = parent.and_then(TraceContext::read);
        // A state is nothing without its parent, and is only recorded.
        let state = state.filter(|_| context.is_some_and(|context| context.is_sampled));
        Self { system, is_of_stranger: false, context, state: state.and_then(TraceContext::state) }
    }

    /// That of a request whose provider signs nothing: no context is taken from it.
    pub(super) fn of_stranger() -> Self {
        Self { is_of_stranger: true, ..Self::new("webhook", None, None) }
    }

    /// The context of a request: one of two would be the wrong one.
    pub(super) fn of_request(headers: &HeaderMap) -> Self {
        Self::new("webhook", single_header(headers, TRACEPARENT), single_header(headers, TRACESTATE))
    }

    /// The context among the message attributes in an envelope of SNS, which its signature does not cover.
    pub(super) fn of_envelope(body: &[u8]) -> Self {
        let read: EnvelopeAttributes<'_> = serde_json::from_slice(body).unwrap_or_default();
        let ContextAttributes { traceparent, tracestate } = read.message_attributes;
        let text =
            |attribute: &Option<AttributeText<'_>>| attribute.as_ref().map(|text| text.value.to_string());
        Self::new("aws.sns", text(&traceparent).as_deref(), text(&tracestate).as_deref())
    }

    /// The context among the attributes of a queue's message.
    pub(super) fn of_message(attributes: &[(ByteString, ByteString)]) -> Self {
        let named =
            |wanted: &str| attributes.iter().find(|(name, _)| *name == wanted).map(|(_, text)| &**text);
        Self::new("aws_sqs", named(MESSAGE_PARENT), named(MESSAGE_STATE))
    }
}

impl DeliveryTrace {
    /// Begins the trace of an authentic delivery of this source, and has its event carry the context on;
    /// `None` if the delivery is not sampled.
    pub(super) fn begin(
        tracer: &Tracer,
        source: &str,
        sent: SentContext,
        verified: &mut Verified,
    ) -> Option<Box<Self>> {
        let SentContext { system, is_of_stranger, context, state } = sent;
        let extensions = &mut verified.stated.extensions;
        if is_of_stranger {
            // Its flag would have publications traced.
            extensions.retain(|(name, _)| *name != TRACEPARENT);
        }
        let own = tracer.begin(context)?;
        // What is no context is ignored, and does not hide the one that there is.
        extensions.retain(|(name, text)| *name != TRACEPARENT || TraceContext::read(text).is_some());
        if extensions.iter().all(|(name, _)| *name != TRACEPARENT) {
            extensions.push((TRACEPARENT.into(), context.unwrap_or(own).to_string().into()));
        }
        let name = format!("receive {source}");
        let mut receive = FinishedSpan::begun(own, SpanKind::Consumer, name, verified.arrived.0);
        receive.parent = context.map(|sender| SpanParent { span: sender.span, is_remote: true });
        receive.state = state;
        receive.text("messaging.system", system);
        receive.text("messaging.operation.name", "receive");
        receive.text("messaging.operation.type", "receive");
        receive.text("messaging.destination.name", source);
        receive.number("messaging.message.body.size", verified.body.len());
        Some(Box::new(Self { tracer: tracer.clone(), receive: Some(receive) }))
    }

    /// Notes the verdict.
    pub(super) fn decided(&mut self, verdict: &Verdict) {
        let Some(receive) = &mut self.receive else { return };
        let (id, event_type, family) = match verdict {
            Verdict::Accept(event) => (&event.id, Some(&event.event_type), Some(&event.family)),
            Verdict::Filter(filtered) => (&filtered.id, Some(&filtered.event_type), Some(&filtered.family)),
            Verdict::Quarantine(quarantined) => (&quarantined.id, None, None),
        };
        receive.text("messaging.message.id", &**id);
        receive.text("cloudevents.event_id", &**id);
        if let Some(event_type) = event_type {
            receive.text("cloudevents.event_type", &**event_type);
        }
        if let Some(family) = family {
            receive.text("fanbridge.family", &**family);
        }
        if let Verdict::Quarantine(quarantined) = verdict {
            receive.text("fanbridge.reason", &*quarantined.reason);
        }
    }

    /// Records that the delivery was handed to the log at this moment, and what the log has answered now.
    pub(super) fn appended(&self, began: Timestamp, appended: &Result<Appended, AppendError>) {
        let Some(receive) = &self.receive else { return };
        let context = self.tracer.within(receive.context.trace);
        let mut append = FinishedSpan::begun(context, SpanKind::Internal, "append".to_owned(), began.0);
        append.parent = Some(SpanParent { span: receive.context.span, is_remote: false });
        append.state.clone_from(&receive.state);
        append.ended = now().0;
        match appended {
            Ok(Appended::Stored(position)) => append.number("fanbridge.position", position.0),
            Ok(Appended::Duplicate | Appended::StoredElsewhere) => {}
            Err(error) => append.failure = Some(failure(&(*error).into())),
        }
        self.tracer.record(append);
    }

    /// Ends the trace with what the delivery is answered, and notes it in the answer.
    pub(super) fn answered(
        mut self,
        answer: Result<Acceptance, Unavailable>,
    ) -> Result<Acceptance, Unavailable> {
        let Some(mut receive) = self.receive.take() else { return answer };
        let trace = receive.context.trace;
        match &answer {
            Ok(accepted) => receive.text("fanbridge.verdict", accepted.fate.as_str()),
            Err(unavailable) => receive.failure = Some(failure(unavailable)),
        }
        receive.ended = now().0;
        self.tracer.record(receive);
        answer.map(|accepted| Acceptance { trace: Some(trace), ..accepted })
    }
}

impl Drop for DeliveryTrace {
    fn drop(&mut self) {
        if let Some(mut receive) = self.receive.take() {
            let (word, detail) = UNANSWERED;
            receive.failure = Some((word, detail.to_owned()));
            receive.ended = now().0;
            self.tracer.record(receive);
        }
    }
}

fn failure(unavailable: &Unavailable) -> (&'static str, String) {
    let word = match unavailable {
        Unavailable::Later(reason) => *reason,
        Unavailable::TooLarge => "too_large",
        Unavailable::Unaccepted(unaccepted, _) => unaccepted.reason(),
    };
    (word, unavailable.to_string())
}

pub(super) fn now() -> Timestamp {
    SystemTime::now().into()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::sync::mpsc;

    use super::*;
    use crate::event::HeaderClaims;
    use crate::telemetry::TraceMetrics;

    const SENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn verified(extensions: &[(&'static str, &'static str)]) -> Verified {
        let extensions = extensions.iter().map(|(name, text)| ((*name).into(), (*text).into())).collect();
        let stated = HeaderClaims { extensions, ..HeaderClaims::default() };
        Verified { body: Bytes::new(), stated, secret: 0, skew_seconds: None, arrived: Timestamp(7) }
    }

    fn tracer(ratio: f64) -> (Tracer, mpsc::Receiver<FinishedSpan>) {
        Tracer::new(ratio, &TraceMetrics::default())
    }

    fn carried(verified: &Verified) -> Option<&str> {
        let named = verified.stated.extensions.iter().find(|(name, _)| *name == TRACEPARENT);
        named.map(|(_, text)| &**text)
    }

    #[test]
    fn an_event_carries_the_sender_s_context_or_else_ours() {
        let (tracer, mut spans) = tracer(1.0);
        for stated in [&[(TRACEPARENT, SENT)][..], &[(TRACEPARENT, "no context")], &[]] {
            let mut delivery = verified(stated);
            let sent = SentContext::new("webhook", Some(SENT), Some("a=b"));
            drop(DeliveryTrace::begin(&tracer, "front", sent, &mut delivery).expect("sampled"));
            assert_eq!(carried(&delivery), Some(SENT));
            let span = spans.try_recv().expect("a span");
            assert_eq!(span.parent.map(|parent| parent.span.to_string()), Some("00f067aa0ba902b7".into()));
            assert_eq!((span.state.as_deref(), span.began), (Some("a=b"), 7));
            assert_eq!(span.failure.map(|(word, _)| word), Some("unanswered"));
        }
        let mut delivery = verified(&[]);
        let sent = SentContext::new("webhook", None, Some("a=b"));
        drop(DeliveryTrace::begin(&tracer, "front", sent, &mut delivery).expect("sampled"));
        let span = spans.try_recv().expect("a span");
        assert_eq!(carried(&delivery), Some(&*span.context.to_string()));
        assert_eq!((span.parent, span.state), (None, None));
    }

    #[test]
    fn what_is_not_sampled_leaves_the_delivery_as_it_is() {
        let (tracer, mut spans) = tracer(0.0);
        let mut delivery = verified(&[(TRACEPARENT, "no context")]);
        let sent = SentContext::new("webhook", None, None);
        assert!(DeliveryTrace::begin(&tracer, "front", sent, &mut delivery).is_none());
        let unsampled = SENT.replace("-01", "-00");
        let sent = SentContext::new("webhook", Some(&unsampled), None);
        assert!(DeliveryTrace::begin(&tracer, "front", sent, &mut delivery).is_none());
        assert_eq!(carried(&delivery), Some("no context"));
        assert!(spans.try_recv().is_err());
    }

    #[test]
    fn a_stranger_does_not_decide_what_is_traced() {
        for ratio in [0.0, 1.0] {
            let (tracer, mut spans) = tracer(ratio);
            let mut delivery = verified(&[(TRACEPARENT, SENT)]);
            let begun = DeliveryTrace::begin(&tracer, "open", SentContext::of_stranger(), &mut delivery);
            assert_eq!(begun.is_some(), ratio > 0.0);
            drop(begun);
            let span = spans.try_recv().ok();
            assert_eq!(span.as_ref().and_then(|span| span.parent), None);
            assert_eq!(carried(&delivery), span.map(|span| span.context.to_string()).as_deref());
        }
    }

    #[test]
    fn a_context_is_read_of_message_attributes_too() {
        let envelope = format!(
            r#"{{"Type":"Notification","Message":"{{}}","MessageAttributes":{{
                "other":{{"Type":"Binary","Value":"AA=="}},
                "traceparent":{{"Type":"String","Value":"{SENT}"}}}}}}"#
        );
        let of_message = [(MESSAGE_PARENT.into(), SENT.into())];
        let read = [SentContext::of_envelope(envelope.as_bytes()), SentContext::of_message(&of_message)];
        for sent in read {
            assert_eq!(sent.context.map(|context| context.to_string()).as_deref(), Some(SENT));
        }
        for body in ["", "{}", r#"{"MessageAttributes":3}"#, r#"{"MessageAttributes":{"traceparent":{}}}"#] {
            assert_eq!(SentContext::of_envelope(body.as_bytes()).context, None, "{body}");
        }
    }
}
