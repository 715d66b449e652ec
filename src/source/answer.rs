//! What all sources that listen share: the bounds of a delivery, and the answer to it.
//!
//! This module alone decides which refusal is answered with which status, and writes the document that an
//! acknowledged delivery is answered with. The reason for a refusal goes to the metrics and not to the
//! caller.

use std::borrow::Cow;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures_util::FutureExt;
use http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Response};
use http_body::Body;

use super::http::Limits;
use super::http::body::{self, BodyBounds};
use super::http::body_budget::{BodyBudget, BodyPermit};
use super::http::body_error::BodyError;
use super::http::problem::{Proven, Unproven, closing, problem};
use super::refusals::Evidence;
use super::{Acceptance, DeliveryFate, Intake, SourceIntake, Unavailable};
use crate::ack::Unaccepted;
use crate::event::{Delivery, Timestamp};
use crate::problem::{ProblemCode, RequestNumber};
use crate::provider::{BodyLimits, DeliveryRefusal};
use crate::telemetry::TraceId;

/// Most bytes of the body of a probe: `{}` and some white space.
const PROBE_BYTES_MAX: usize = 16;

/// The challenge that asks for a user name and a password (RFC 7617).
const CHALLENGE: HeaderValue = HeaderValue::from_static(r#"Basic realm="fanbridge""#);

/// The bounds of deliveries over HTTP, for all sources.
#[derive(Debug)]
pub(super) struct DeliveryBounds {
    body: BodyBounds,
    /// The bounds of a body after decompression.
    inflate: BodyLimits,
    /// Longest time from the last byte of the body to the answer.
    ack_timeout: Duration,
    budget: BodyBudget,
}

impl DeliveryBounds {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            body: BodyBounds {
                bytes_max: limits.body_bytes_max,
                timeout: limits.body_timeout,
                bytes_per_second_min: limits.body_bytes_per_second_min,
            },
            inflate: limits.body_limits(),
            ack_timeout: limits.ack_timeout,
            budget: BodyBudget::new(limits.in_flight_bytes_max, limits.largest_body_bytes),
        }
    }

    /// Reads a delivery; the permit that comes with it holds its body's bytes of the budget.
    ///
    /// # Errors
    /// Before the body is read, if the spool takes no appends; and as soon as the body passes a bound.
    pub(super) async fn read<'h, B: Body<Data = Bytes>>(
        &self,
        intake: &Intake,
        source: &SourceIntake,
        headers: &'h HeaderMap,
        body: B,
    ) -> Result<(Delivery<'h>, BodyPermit<'_>), Refused> {
        let arrived = Timestamp::from(SystemTime::now());
        intake.accepting()?;
        let (body, permit) = body::read(body, &self.body_of(source), &self.budget).await?;
        Ok((Delivery { headers, body, arrived }, permit))
    }

    fn body_of(&self, source: &SourceIntake) -> BodyBounds {
        BodyBounds { bytes_max: source.body_bytes_max.unwrap_or(self.body.bytes_max), ..self.body }
    }

    /// The bounds of a body of this source after decompression: a body that is allowed uncompressed is
    /// allowed compressed as well.
    pub(super) fn inflate_of(&self, source: &SourceIntake) -> BodyLimits {
        let inflated_bytes_max = self.inflate.inflated_bytes_max.max(self.body_of(source).bytes_max);
        BodyLimits { inflated_bytes_max, ..self.inflate }
    }

    /// Reads an unsigned request that can only be a probe.
    ///
    /// # Errors
    /// As soon as its body is larger than a probe's: then the request is refused with the reason
    /// `otherwise`.
    pub(super) async fn read_probe<'h, B: Body<Data = Bytes>>(
        &self,
        headers: &'h HeaderMap,
        body: B,
        otherwise: &'static str,
    ) -> Result<(Delivery<'h>, BodyPermit<'_>), Refused> {
        let arrived = Timestamp::from(SystemTime::now());
        let bounds = BodyBounds { bytes_max: PROBE_BYTES_MAX, ..self.body };
        match body::read(body, &bounds, &self.budget).await {
            Ok((body, permit)) => Ok((Delivery { headers, body, arrived }, permit)),
            Err(BodyError::TooLarge) => Err(Refused::Unread(otherwise)),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for a delivery to be taken, up to `ack_timeout`.
    ///
    /// After the time-out an append that was begun goes on, and the event can be stored all the same: the
    /// sender's next attempt is then a duplicate.
    pub(super) async fn in_time(
        &self,
        taken: Pin<&mut impl Future<Output = Result<Received, Refused>>>,
    ) -> Result<Received, Refused> {
        let taken = tokio::time::timeout(self.ack_timeout, taken);
        taken.await.unwrap_or(Err(Refused::Unavailable("ack_timeout")))
    }
}

/// A request that is answered 200.
pub(super) enum Received {
    /// An authentic delivery, and what became of it.
    Answer(Acceptance),
    /// A request that carries no event; the word says what it was instead.
    Other(&'static str),
}

impl Received {
    /// The trace of the delivery, if it is sampled.
    fn trace(&self) -> Option<TraceId> {
        match self {
            Self::Answer(answer) => answer.trace,
            Self::Other(_) => None,
        }
    }
}

/// The word for a request by which a provider checks that the endpoint answers.
pub(super) const PROBE: &str = "probe";

/// A delivery that is refused, with the reason for the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Undecodable(&'static str),
    Unauthenticated(&'static str),
    /// The delivery cannot be authentic, which shows before its body is read.
    Unread(&'static str),
    /// The delivery lacks the right user name and password, for which the peer is asked.
    Challenged(&'static str),
    Forbidden(&'static str),
    TooSlow,
    TooLarge(&'static str),
    UnsupportedEncoding,
    Unavailable(&'static str),
    /// The delivery is durable, and not accepted by the sinks that its source waits for.
    Unaccepted(Unaccepted, DeliveryFate),
    Panicked,
}

/// Takes a delivery, answers it and counts the answer; a panic on the way is answered 500. Of a refusal it
/// notes the evidence.
pub(super) async fn answer<B: From<Bytes>>(
    source: &SourceIntake,
    intake: &Intake,
    evidence: &Evidence<'_>,
    receive: Pin<&mut impl Future<Output = Result<Received, Refused>>>,
) -> Response<B> {
    let started = Instant::now();
    let received = AssertUnwindSafe(receive).catch_unwind().await;
    let response = match received.unwrap_or(Err(Refused::Panicked)) {
        Ok(received) => {
            source.metrics.acknowledged(started.elapsed(), received.trace());
            acknowledgement(&received)
        }
        Err(refused) => {
            source.metrics.refused(refused.reason());
            let request = RequestNumber::next();
            let response = refused.response(request);
            intake.steps.refused(evidence, response.status(), refused.reason(), request);
            response
        }
    };
    source.metrics.answered(response.status());
    response
}

impl From<BodyError> for Refused {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge => Self::TooLarge("body_bytes"),
            BodyError::TooSlow => Self::TooSlow,
            BodyError::NoMemory => Self::Unavailable("in_flight_bytes"),
            BodyError::NoMemoryForStrangers => Self::Unavailable("strangers_in_flight_bytes"),
            BodyError::Broken => Self::Undecodable("broken_body"),
        }
    }
}

impl From<DeliveryRefusal> for Refused {
    fn from(refusal: DeliveryRefusal) -> Self {
        match refusal {
            DeliveryRefusal::Unauthenticated(word) | DeliveryRefusal::OutOfTime { word, .. } => {
                Self::Unauthenticated(word)
            }
            DeliveryRefusal::Undecodable(reason) => Self::Undecodable(reason),
            DeliveryRefusal::UnsupportedEncoding => Self::UnsupportedEncoding,
            DeliveryRefusal::TooLarge => Self::TooLarge("inflated_bytes"),
        }
    }
}

impl From<Unavailable> for Refused {
    fn from(unavailable: Unavailable) -> Self {
        match unavailable {
            Unavailable::Later(reason) => Self::Unavailable(reason),
            Unavailable::TooLarge => Self::TooLarge("spool"),
            Unavailable::Unaccepted(unaccepted, fate) => Self::Unaccepted(unaccepted, fate),
        }
    }
}

impl Refused {
    /// The reason of the refusal, for the metrics.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Undecodable(reason)
            | Self::Unauthenticated(reason)
            | Self::Unread(reason)
            | Self::Challenged(reason)
            | Self::Forbidden(reason)
            | Self::TooLarge(reason)
            | Self::Unavailable(reason) => reason,
            Self::Unaccepted(unaccepted, _) => unaccepted.reason(),
            Self::TooSlow => "body_timeout",
            Self::UnsupportedEncoding => "unsupported_encoding",
            Self::Panicked => "panic",
        }
    }

    /// The answer to the refusal with the number of its request. No other code decides its status.
    ///
    /// A refusal that is possible before the whole body was read closes the connection: the rest of the
    /// body is not worth reading for the sake of a next request.
    fn response<B: From<Bytes>>(self, request: RequestNumber) -> Response<B> {
        let (code, detail) = self.problem();
        let mut response = problem(code, &detail, request);
        match self {
            Self::Undecodable(_) | Self::Unauthenticated(_) => response,
            Self::Challenged(_) => {
                response.headers_mut().insert(WWW_AUTHENTICATE, CHALLENGE);
                closing(response)
            }
            // The whole body was read, so the connection can stay.
            Self::Unaccepted(_, fate) => {
                if proves(fate) {
                    response.extensions_mut().insert(Proven);
                }
                response
            }
            Self::Unread(_)
            | Self::Forbidden(_)
            | Self::TooSlow
            | Self::TooLarge(_)
            | Self::UnsupportedEncoding
            | Self::Unavailable(_)
            | Self::Panicked => closing(response),
        }
    }

    /// The code of the refusal, and the words for people: fixed ones, of which a 401 has the same for every
    /// reason.
    fn problem(self) -> (ProblemCode, Cow<'static, str>) {
        let (code, detail) = match self {
            Self::Undecodable(reason) => {
                return (ProblemCode::Undecodable, format!("the body cannot be decoded: {reason}").into());
            }
            Self::Unaccepted(unaccepted, _) => {
                return (ProblemCode::Unaccepted, unaccepted.to_string().into());
            }
            Self::Unauthenticated(_) | Self::Unread(_) | Self::Challenged(_) => {
                (ProblemCode::Unauthenticated, "the delivery cannot be authenticated")
            }
            Self::Forbidden(_) => (ProblemCode::NotAccepted, "the delivery is not accepted"),
            Self::TooSlow => (ProblemCode::BodyTimeout, "the body arrives too slowly"),
            Self::TooLarge(_) => (ProblemCode::BodyTooLarge, "the body is too large"),
            Self::UnsupportedEncoding => (ProblemCode::UnsupportedEncoding, "a body must be plain or gzip"),
            Self::Unavailable(_) => (ProblemCode::Unavailable, "the delivery cannot be stored now"),
            Self::Panicked => (ProblemCode::Failed, "fanbridge failed while it handled this request"),
        };
        (code, detail.into())
    }
}

/// Whether a delivery of this fate proves that its sender is the provider. Anybody who captured a delivery or
/// a message of SNS can send it again: only the first copy that is stored does.
fn proves(fate: DeliveryFate) -> bool {
    matches!(fate, DeliveryFate::Accepted | DeliveryFate::Quarantined)
}

/// `{"verdict":"accepted","id":"…"}`, or `{"verdict":"probe"}`.
fn acknowledgement<B: From<Bytes>>(received: &Received) -> Response<B> {
    let document = match received {
        Received::Other(word) => Bytes::from(format!(r#"{{"verdict":"{word}"}}"#)),
        Received::Answer(answer) => {
            let verdict = answer.fate.as_str();
            // The exact size, unless the id needs escaping.
            let size = r#"{"verdict":"","id":""}"#.len() + verdict.len() + answer.id.len();
            let mut document = Vec::with_capacity(size);
            document.extend_from_slice(br#"{"verdict":""#);
            document.extend_from_slice(verdict.as_bytes());
            document.extend_from_slice(br#"","id":"#);
            serde_json::to_writer(&mut document, &*answer.id).expect("text can be written to memory");
            document.push(b'}');
            document.into()
        }
    };
    let mut response = Response::new(B::from(document));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // Anybody can probe.
    if !matches!(received, Received::Answer(answer) if proves(answer.fate)) {
        response.extensions_mut().insert(Unproven);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::super::http::problem::is_granted;
    use http::StatusCode;

    use super::*;

    #[test]
    fn who_was_first_to_bring_a_delivery_is_known_also_while_no_sink_accepts_it() {
        for (fate, granted) in [
            (DeliveryFate::Accepted, true),
            (DeliveryFate::Quarantined, true),
            (DeliveryFate::Duplicate, false),
            (DeliveryFate::Filtered, false),
        ] {
            let mut response: Response<Bytes> =
                Refused::Unaccepted(Unaccepted::Late, fate).response(RequestNumber(1));
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(is_granted(&response), granted, "{fate:?}");
            response.extensions_mut().insert(Unproven);
            assert!(!is_granted(&response), "nobody has verified it");
        }
        assert!(!is_granted::<Bytes>(&Refused::Unavailable("spool_full").response(RequestNumber(1))));
    }
}
