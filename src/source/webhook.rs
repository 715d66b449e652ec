//! Webhooks: a request to `/in/{source}` becomes a delivery, and its fate an answer.
//!
//! The order is the point: a delivery that could not be stored, or is too large, is turned away
//! before its body is read; the signature comes before anything looks into the body; 200 comes
//! after [`Intake::receive`] returned. Authentic deliveries are never refused for what they
//! contain. The content type is not judged, because providers vary; the reason for a 401 goes to
//! the metrics and not to the caller.

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use axum::body::Body;
use axum::routing::any;
use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use prometheus_client::metrics::counter::Counter;
use tower::{Service, ServiceExt, service_fn};

use super::body::{self, BodyBounds, BodyError, Memory, Share};
use super::http::catch_panic;
use super::problem::{closing, problem};
use super::{Answer, Intake, SourceIntake, Unavailable};
use crate::config::HttpConfig;
use crate::event::{Delivery, Timestamp};
use crate::provider::{BodyLimits, Receipt, Refusal, verify};
use crate::telemetry::{Metrics, SourceCode};

/// The name that stands for no source in the metrics.
const NO_SOURCE: &str = "none";
/// How gzip begins.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// All webhook sources, by path.
pub struct Webhooks {
    by_path: Arc<HashMap<String, Arc<Webhook>>>,
    strays: Counter,
}

impl Webhooks {
    /// The sources' ways in, each at `/in/{source}`.
    pub fn new(intake: &Intake, sources: Vec<SourceIntake>, config: &HttpConfig, metrics: &Metrics) -> Self {
        let bounds = Arc::new(Bounds::new(config));
        let webhook = |source: SourceIntake| {
            let path = format!("/in/{}", source.name);
            (path, Arc::new(Webhook { source, intake: intake.clone(), bounds: bounds.clone() }))
        };
        let strays = SourceCode { source: NO_SOURCE.into(), code: StatusCode::NOT_FOUND.as_str().into() };
        Self {
            by_path: Arc::new(sources.into_iter().map(webhook).collect()),
            strays: metrics.requests.get_or_create_owned(&strays),
        }
    }

    /// What answers requests that are no delivery: 405 at a source's path, else 404.
    pub fn others(&self) -> Router {
        let add = |routes: Router, (path, webhook): (&String, &Arc<Webhook>)| {
            let webhook = webhook.clone();
            routes.route(path, any(async move || webhook.refuse_method()))
        };
        let strays = self.strays.clone();
        self.by_path.iter().fold(Router::new(), add).fallback(async move || {
            strays.inc();
            problem::<Body>(StatusCode::NOT_FOUND, "there is nothing at this path")
        })
    }

    /// The service of a listener: a delivery goes straight to its source, and everything else to
    /// `others`. What a router allocates and copies for each request is as much work as reading the
    /// delivery's JSON.
    pub fn before(
        &self,
        others: Router,
    ) -> impl Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + use<> {
        let by_path = self.by_path.clone();
        service_fn(move |request: Request<Incoming>| {
            let webhook = by_path.get(request.uri().path()).filter(|_| request.method() == Method::POST);
            let way = webhook.cloned().ok_or_else(|| others.clone());
            async move {
                match way {
                    Ok(webhook) => Ok(webhook.answer(request).await),
                    Err(others) => Box::pin(others.oneshot(request)).await,
                }
            }
        })
    }
}

/// What deliveries may cost, whichever source they are for.
struct Bounds {
    body: BodyBounds,
    inflate: BodyLimits,
    ack_timeout: Duration,
    memory: Memory,
}

impl Bounds {
    fn new(config: &HttpConfig) -> Self {
        Self {
            body: BodyBounds {
                bytes_max: config.body_bytes_max,
                timeout: config.body_timeout,
                bytes_per_second_min: config.body_bytes_per_second_min,
            },
            inflate: config.body_limits(),
            ack_timeout: config.ack_timeout,
            memory: Memory::new(config.in_flight_bytes_max),
        }
    }
}

/// One source's way in by webhook.
struct Webhook {
    source: SourceIntake,
    intake: Intake,
    bounds: Arc<Bounds>,
}

/// A delivery that gets a 200.
enum Received {
    Answer(Answer),
    Probe,
}

/// A delivery that does not. The words are for the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    Undecodable(&'static str),
    Unauthenticated(&'static str),
    TooSlow,
    TooLarge(&'static str),
    UnsupportedEncoding,
    Unavailable(&'static str),
    Panicked,
}

impl Webhook {
    fn refuse_method(&self) -> Response<Body> {
        self.source.tally.answered(StatusCode::METHOD_NOT_ALLOWED);
        let mut response = problem(StatusCode::METHOD_NOT_ALLOWED, "deliveries are sent with POST");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        response
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let started = Instant::now();
        let received = catch_panic(pin!(self.receive(request))).await;
        let response = match received.unwrap_or(Err(Refused::Panicked)) {
            Ok(received) => {
                self.source.tally.acknowledged(started.elapsed());
                acknowledgement(&received)
            }
            Err(refused) => {
                self.source.tally.refused(refused.reason());
                refused.response()
            }
        };
        self.source.tally.answered(response.status());
        response
    }

    async fn receive(&self, request: Request<Incoming>) -> Result<Received, Refused> {
        let arrived = Timestamp::from(SystemTime::now());
        self.intake.accepting()?;
        let (head, body) = request.into_parts();
        let (body, share) = body::read(body, &self.bounds.body, &self.bounds.memory).await?;
        let delivery = Delivery { headers: head.headers, body, arrived };
        // At the timeout an append that was begun goes on, and the event may be stored: the
        // provider's next attempt is then a duplicate.
        let taken = tokio::time::timeout(self.bounds.ack_timeout, self.take(delivery, share));
        taken.await.unwrap_or(Err(Refused::Unavailable("ack_timeout")))
    }

    /// Verifies a delivery and makes it durable.
    async fn take(&self, delivery: Delivery, mut share: Share<'_>) -> Result<Received, Refused> {
        let SourceIntake { definition, secrets, tally, .. } = &self.source;
        let heaviness = heaviness(&delivery.body);
        let verifying = || verify(definition, secrets, delivery, &self.bounds.inflate);
        let verified = match self.intake.work(heaviness, verifying).await {
            Ok(Receipt::Verified(verified)) => verified,
            Ok(Receipt::Probe) => return Ok(Received::Probe),
            // The provider may be probing before it tells its secret: nothing else is known yet.
            Err(_) if secrets.is_empty() => return Err(Refused::Unauthenticated("no_secret")),
            Err(refusal) => return Err(refusal.into()),
        };
        tally.secret_used(verified.secret);
        if let Some(seconds) = verified.skew_seconds {
            tally.skewed(seconds);
        }
        // It may have been inflated.
        share.grow_to(verified.body.len())?;
        Ok(Received::Answer(self.intake.receive(&self.source, verified).await?))
    }
}

/// The bytes that verifying will go through. What JSON compresses to is about a tenth of it; a
/// hostile body that is more, up to the ratio cap, still takes less than a millisecond when it is
/// taken for a light one.
fn heaviness(body: &[u8]) -> usize {
    if body.starts_with(&GZIP_MAGIC) { body.len() * 10 } else { body.len() }
}

impl From<BodyError> for Refused {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge => Self::TooLarge("body_bytes"),
            BodyError::TooSlow => Self::TooSlow,
            BodyError::NoMemory => Self::Unavailable("in_flight_bytes"),
            BodyError::Broken => Self::Undecodable("broken_body"),
        }
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unauthenticated(reason) => Self::Unauthenticated(reason),
            Refusal::Undecodable(reason) => Self::Undecodable(reason),
            Refusal::UnsupportedEncoding => Self::UnsupportedEncoding,
            Refusal::TooLarge => Self::TooLarge("inflated_bytes"),
        }
    }
}

impl From<Unavailable> for Refused {
    fn from(unavailable: Unavailable) -> Self {
        match unavailable {
            Unavailable::Later(reason) => Self::Unavailable(reason),
            Unavailable::TooLarge => Self::TooLarge("spool"),
        }
    }
}

impl Refused {
    /// Why, for the metrics.
    fn reason(self) -> &'static str {
        match self {
            Self::Undecodable(reason)
            | Self::Unauthenticated(reason)
            | Self::TooLarge(reason)
            | Self::Unavailable(reason) => reason,
            Self::TooSlow => "body_timeout",
            Self::UnsupportedEncoding => "unsupported_encoding",
            Self::Panicked => "panic",
        }
    }

    /// The one place where a refusal becomes a status.
    ///
    /// What may be refused before the body was read to its end closes the connection: the rest of
    /// the body is not worth reading to get at a next request.
    fn response(self) -> Response<Body> {
        match self {
            Self::Undecodable(reason) => {
                problem(StatusCode::BAD_REQUEST, format_args!("the body cannot be decoded: {reason}"))
            }
            Self::Unauthenticated(_) => {
                problem(StatusCode::UNAUTHORIZED, "the delivery cannot be authenticated")
            }
            Self::TooSlow => closing(problem(StatusCode::REQUEST_TIMEOUT, "the body arrives too slowly")),
            Self::TooLarge(_) => closing(problem(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large")),
            Self::UnsupportedEncoding => {
                problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "a body may be plain or gzip")
            }
            Self::Unavailable(_) => {
                closing(problem(StatusCode::SERVICE_UNAVAILABLE, "the delivery cannot be stored now"))
            }
            Self::Panicked => {
                closing(problem(StatusCode::INTERNAL_SERVER_ERROR, "something went wrong here"))
            }
        }
    }
}

/// `{"verdict":"accepted","id":"…"}`, or `{"verdict":"probe"}`.
fn acknowledgement(received: &Received) -> Response<Body> {
    let document = match received {
        Received::Probe => Bytes::from_static(br#"{"verdict":"probe"}"#),
        Received::Answer(answer) => {
            let verdict = answer.verdict.as_str();
            // Exact, unless the id needs escaping.
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
    let mut response = Response::new(Body::from(document));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
