//! The public paths: `/in/{source}` for every source that listens; every other path is 404.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::routing::any;
use foldhash::HashMap;
use http::header::ALLOW;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use prometheus_client::metrics::counter::Counter;
use tower::{Service, ServiceExt, service_fn};

use super::answer::DeliveryBounds;
use super::http::Limits;
use super::http::problem::problem;
use super::refusals::{Evidence, RefusalLimit};
use super::sns::SnsSourceOptions;
use super::sns::{SnsSource, TrustError};
use super::steps::Steps;
use super::webhook::Webhook;
use super::{Intake, SourceIntake};
use crate::aws::Aws;
use crate::problem::{ProblemCode, RequestNumber};
use crate::telemetry::{Metrics, SourceCode};

/// The label `source` of requests to a path that no source has.
const NO_SOURCE: &str = "none";
/// Why a request to a path that no source has is refused, in the timeline.
const NO_SUCH_PATH: &str = "no_such_path";
/// Why a request with another method than POST is refused, in the timeline.
const NO_SUCH_METHOD: &str = "no_such_method";

/// The endpoints of the public listener, while they are added.
pub struct Front {
    intake: Intake,
    bounds: Arc<DeliveryBounds>,
    strays: Counter,
    by_path: HashMap<String, Endpoint>,
}

/// The endpoint of one source.
#[derive(Clone)]
enum Endpoint {
    Webhook(Arc<Webhook>),
    Sns(Arc<SnsSource>),
}

impl Front {
    /// A front without sources.
    pub fn new(intake: Intake, limits: &Limits, metrics: &Metrics) -> Self {
        let strays = SourceCode { source: NO_SOURCE.into(), code: StatusCode::NOT_FOUND.as_str().into() };
        let strays = metrics.requests.get_or_create_owned(&strays);
        Self { intake, bounds: Arc::new(DeliveryBounds::new(limits)), strays, by_path: HashMap::default() }
    }

    /// Adds a source whose provider posts webhooks.
    pub fn add_webhook(&mut self, source: SourceIntake) {
        let webhook = Webhook::new(source, self.intake.clone(), self.bounds.clone());
        self.add(Endpoint::Webhook(Arc::new(webhook)));
    }

    /// Adds a source that SNS topics deliver to.
    ///
    /// # Errors
    /// When no certificate authority is trusted.
    pub async fn add_sns(
        &mut self,
        config: SnsSourceOptions,
        source: SourceIntake,
        aws: &Aws,
        metrics: &Metrics,
    ) -> Result<(), TrustError> {
        let (intake, bounds) = (self.intake.clone(), self.bounds.clone());
        let sns = SnsSource::new(config, source, intake, bounds, aws, metrics).await?;
        self.add(Endpoint::Sns(Arc::new(sns)));
        Ok(())
    }

    fn add(&mut self, endpoint: Endpoint) {
        self.by_path.insert(format!("/in/{}", endpoint.source().name()), endpoint);
    }

    /// The service of the public listener: a POST to a source's path goes straight to its source, and every
    /// other request to [`Front::others`]. A router would allocate and copy for each request about as much
    /// as the delivery's JSON takes to read.
    pub fn service(
        self,
    ) -> impl Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + use<> {
        let paths = Arc::new((self.others(), self.by_path));
        service_fn(move |request: Request<Incoming>| {
            let paths = Arc::clone(&paths);
            async move {
                let (others, by_path) = &*paths;
                let endpoint = by_path.get(request.uri().path());
                match endpoint.filter(|_| request.method() == Method::POST) {
                    Some(Endpoint::Webhook(webhook)) => Ok(webhook.answer(request).await),
                    // Boxed, so that the rarer futures do not make every connection larger.
                    Some(Endpoint::Sns(sns)) => Ok(Box::pin(sns.answer(request)).await),
                    None => Box::pin(others.clone().oneshot(request)).await,
                }
            }
        })
    }

    /// Answers requests that are no delivery: 405 at a source's path, else 404.
    fn others(&self) -> Router {
        let add = |routes: Router, (path, endpoint): (&String, &Endpoint)| {
            let (endpoint, steps) = (endpoint.clone(), Arc::clone(&self.intake.steps));
            let refuse = async move |request: Request<Body>| endpoint.refuse_method(&steps, &request);
            routes.route(path, any(refuse))
        };
        let (strays, steps) = (self.strays.clone(), Arc::clone(&self.intake.steps));
        let limit = Arc::new(RefusalLimit::new());
        self.by_path.iter().fold(Router::new(), add).fallback(async move |request: Request<Body>| {
            strays.inc();
            let evidence = Evidence::stray(&limit, request.headers(), request.body());
            let request = RequestNumber::next();
            steps.refused(&evidence, StatusCode::NOT_FOUND, NO_SUCH_PATH, request);
            problem::<Body>(ProblemCode::NoSuchPath, "no source has this path", request)
        })
    }
}

impl Endpoint {
    fn source(&self) -> &SourceIntake {
        match self {
            Self::Webhook(webhook) => webhook.source(),
            Self::Sns(sns) => sns.source(),
        }
    }

    fn refuse_method(&self, steps: &Steps, request: &Request<Body>) -> Response<Body> {
        self.source().metrics.answered(StatusCode::METHOD_NOT_ALLOWED);
        let evidence = Evidence::new(self.source(), request.headers(), request.body());
        let request = RequestNumber::next();
        steps.refused(&evidence, StatusCode::METHOD_NOT_ALLOWED, NO_SUCH_METHOD, request);
        let mut response = problem(ProblemCode::NoSuchMethod, "deliveries are sent with POST", request);
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        response
    }
}
