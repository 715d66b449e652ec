//! The public paths: `/in/{source}` for every source that listens; every other path is 404.
//!
//! A change of the configuration swaps all paths at once. A request is answered by those that there were when
//! its head had been read, whatever happens to them meanwhile.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
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
use super::sns::{SnsClients, SnsSource, SnsSourceOptions};
use super::steps::Steps;
use super::webhook::Webhook;
use super::{Intake, SourceIntake};
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
    strays: Arc<Strays>,
    by_path: HashMap<String, Endpoint>,
    /// The endpoints that these are to replace.
    former: Option<Arc<Paths>>,
}

/// The endpoints that the public listener serves. All of them can be swapped at once: a request belongs to
/// those that there are when its head has been read.
pub struct OpenFront {
    paths: Arc<ArcSwap<Paths>>,
    bounds: Arc<DeliveryBounds>,
    strays: Arc<Strays>,
}

/// The endpoints of one configuration.
struct Paths {
    by_path: HashMap<String, Endpoint>,
    /// Answers requests that are no delivery.
    others: Router,
}

/// What counts and notes requests to a path that no source has.
struct Strays {
    answers: Counter,
    limit: RefusalLimit,
}

/// The endpoint of one source.
#[derive(Clone)]
enum Endpoint {
    Webhook(Arc<Webhook>),
    Sns(Arc<SnsSource>),
}

/// What answers a request.
enum Answering {
    Endpoint(Endpoint),
    Others(Router),
}

impl Front {
    /// A front without sources.
    pub fn new(intake: Intake, limits: &Limits, metrics: &Metrics) -> Self {
        let strays = SourceCode { source: NO_SOURCE.into(), code: StatusCode::NOT_FOUND.as_str().into() };
        let answers = metrics.requests.get_or_create_owned(&strays);
        let strays = Arc::new(Strays { answers, limit: RefusalLimit::new() });
        let bounds = Arc::new(DeliveryBounds::new(limits));
        Self { intake, bounds, strays, by_path: HashMap::default(), former: None }
    }

    /// Adds a source whose provider posts webhooks.
    pub fn add_webhook(&mut self, source: impl Into<Arc<SourceIntake>>) {
        let webhook = Webhook::new(source.into(), self.intake.clone(), self.bounds.clone());
        self.add(Endpoint::Webhook(Arc::new(webhook)));
    }

    /// Adds a source that SNS topics deliver to. It keeps what a former one of its name has fetched.
    pub fn add_sns(
        &mut self,
        options: SnsSourceOptions,
        clients: SnsClients,
        source: Arc<SourceIntake>,
        metrics: &Metrics,
    ) {
        let (intake, bounds) = (self.intake.clone(), self.bounds.clone());
        let path = path(source.name());
        let mut sns = SnsSource::new(options, clients, source, intake, bounds, metrics);
        if let Some(Endpoint::Sns(former)) = self.former(&path) {
            sns = sns.in_place_of(former, SystemTime::now().into());
        }
        self.add(Endpoint::Sns(Arc::new(sns)));
    }

    /// Takes the endpoint of a source over from those that are to be replaced: only who takes its deliveries
    /// is another. Does nothing if there is none.
    pub fn keep(&mut self, source: &str) {
        let kept = match self.former(&path(source)) {
            Some(Endpoint::Webhook(webhook)) => {
                Endpoint::Webhook(Arc::new(webhook.taken_by(self.intake.clone())))
            }
            Some(Endpoint::Sns(sns)) => Endpoint::Sns(Arc::new(sns.taken_by(self.intake.clone()))),
            None => return,
        };
        self.add(kept);
    }

    fn former(&self, path: &str) -> Option<&Endpoint> {
        self.former.as_ref()?.by_path.get(path)
    }

    fn add(&mut self, endpoint: Endpoint) {
        self.by_path.insert(path(endpoint.source().name()), endpoint);
    }

    /// Opens the front.
    pub fn open(self) -> OpenFront {
        let (bounds, strays) = (Arc::clone(&self.bounds), Arc::clone(&self.strays));
        OpenFront { paths: Arc::new(ArcSwap::from_pointee(self.into_paths())), bounds, strays }
    }

    /// The service of the public listener, for a front whose endpoints stay.
    pub fn service(
        self,
    ) -> impl Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + use<> {
        self.open().service()
    }

    fn into_paths(self) -> Paths {
        Paths { others: self.others(), by_path: self.by_path }
    }

    /// Answers requests that are no delivery: 405 at a source's path, else 404.
    fn others(&self) -> Router {
        let add = |routes: Router, (path, endpoint): (&String, &Endpoint)| {
            let (endpoint, steps) = (endpoint.clone(), Arc::clone(&self.intake.steps));
            let refuse = async move |request: Request<Body>| endpoint.refuse_method(&steps, &request);
            routes.route(path, any(refuse))
        };
        let (strays, steps) = (Arc::clone(&self.strays), Arc::clone(&self.intake.steps));
        self.by_path.iter().fold(Router::new(), add).fallback(async move |request: Request<Body>| {
            strays.answers.inc();
            let evidence = Evidence::stray(&strays.limit, request.headers(), request.body());
            let request = RequestNumber::next();
            steps.refused(&evidence, StatusCode::NOT_FOUND, NO_SUCH_PATH, request);
            problem::<Body>(ProblemCode::NoSuchPath, "no source has this path", request)
        })
    }
}

/// The path of a source.
fn path(source: &str) -> String {
    format!("/in/{source}")
}

impl OpenFront {
    /// Endpoints that can replace these, of which there is none yet. This intake takes their deliveries.
    pub fn begin(&self, intake: Intake) -> Front {
        Front {
            intake,
            bounds: Arc::clone(&self.bounds),
            strays: Arc::clone(&self.strays),
            by_path: HashMap::default(),
            former: Some(self.paths.load_full()),
        }
    }

    /// Replaces all endpoints at once. Requests whose head has been read are answered by the former ones.
    pub fn swap(&self, front: Front) {
        self.paths.store(Arc::new(front.into_paths()));
    }

    /// The service of the public listener: a POST to a source's path goes straight to its source, and every
    /// other request to [`Front::others`]. A router would allocate and copy for each request about as much
    /// as the delivery's JSON takes to read.
    pub fn service(
        &self,
    ) -> impl Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + use<> {
        let paths = Arc::clone(&self.paths);
        service_fn(move |request: Request<Incoming>| {
            // Looked up once, so that a delivery has one source, one selection and one set of secrets.
            let answering = paths.load().find(&request);
            async move {
                match answering {
                    Answering::Endpoint(Endpoint::Webhook(webhook)) => Ok(webhook.answer(request).await),
                    // Boxed, so that the rarer futures do not make every connection larger.
                    Answering::Endpoint(Endpoint::Sns(sns)) => Ok(Box::pin(sns.answer(request)).await),
                    Answering::Others(others) => Box::pin(others.oneshot(request)).await,
                }
            }
        })
    }
}

impl Paths {
    fn find(&self, request: &Request<Incoming>) -> Answering {
        let endpoint = self.by_path.get(request.uri().path());
        match endpoint.filter(|_| request.method() == Method::POST) {
            Some(endpoint) => Answering::Endpoint(endpoint.clone()),
            None => Answering::Others(self.others.clone()),
        }
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
