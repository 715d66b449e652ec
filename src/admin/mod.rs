//! The routes of the admin listener: probes, metrics, and the JSON API of the bridge.
//!
//! ```text
//! request ─▶ guard: host, token, forgery ─▶ route ─▶ state, spool, health (read)
//! └─▶ redrive, drop, pause, resume, replay, import, reload (the only changes)
//! ```
//!
//! Answers are JSON, failures are problem documents. Bodies of dead letters are shown by
//! `/api/v1/dead/{id}` and `/api/v1/dead/export`, bodies of other events only if the configuration allows
//! it. `v1` has the routes of the API that stays, `former` those before it, and `page` what shows it in a
//! browser. This module opens no socket and knows no sink.

mod dead;
pub mod effective;
mod former;
mod guard;
mod history;
mod metrics;
pub mod options;
mod page;
mod probes;
mod problem;
pub mod reload;
mod status;
mod summary;
mod types;
mod v1;

pub use options::AdminOptions;

use std::sync::{Arc, OnceLock};
use std::time::{Instant, SystemTime};

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use self::history::History;
use crate::ack::AwaitedSinks;
use crate::dead_letter::{Readmit, Redrive};
use crate::dispatch::pause::Pausing;
use crate::event::Timestamp;
use crate::explain::Explainer;
use crate::health::Health;
use crate::problem::ProblemCode;
use crate::replay::Replays;
use crate::source::import::Imports;
use crate::spool::Spool;
use crate::state::{State, StateError};
use crate::telemetry::Metrics;
use crate::timeline::Timeline;

pub use dead::{Counted, DropRequest, RedriveRequest};
pub use guard::{Access, REQUEST_HEADER};
pub use history::keep as keep_history;
pub use problem::ProblemAnswer;
pub use reload::{ReloadAnswer, ReloadRefusal, ReloadTrigger, Reloader};
pub use summary::{SinkSummary, SourceSummary, Summary};
pub use v1::{
    CancelRequest, IMPORT_BODIES_MAX, IMPORT_BYTES_MAX, ImportAnswer, ImportItem, ImportRequest,
    ImportVerdict, PauseRequest, PausedAnswer, ReloadRequest, ReplayAnswer, ReplayList, ReplayRequest,
    ResumeRequest, SavedRequest, openapi_document,
};

/// Largest request body in bytes, many times the numbers of 1,000 dead letters.
const BODY_BYTES_MAX: usize = 256 << 10;

/// Most imports at once.
const IMPORTS_MAX: usize = 2;

/// Most searches of the log at once.
const SEARCHES_MAX: usize = 2;
/// Most queries of the state file at once. The threads that block are also those that read for the sinks.
const QUERIES_MAX: usize = 4;

/// The parts of the bridge that the routes read. Clones share them.
#[derive(Clone)]
pub struct AdminState {
    /// All metrics.
    pub metrics: Arc<Metrics>,
    /// The health of the process.
    pub health: Arc<Health>,
    /// The configuration without secrets, which a reload replaces.
    summary: Arc<ArcSwap<Summary>>,
    /// The rules of access.
    pub access: Arc<Access>,
    /// When the process started.
    pub started: Instant,
    opened: Arc<OnceLock<Opened>>,
    /// What changes the bridge, once it runs.
    controls: Arc<OnceLock<Controls>>,
    /// Held while the metrics are exposed, so that no scrape sees what another one has half noted.
    scrape: Arc<Mutex<()>>,
    /// The searches of the log that can still begin.
    searches: Arc<Semaphore>,
    /// The queries of the state file that can still begin.
    queries: Arc<Semaphore>,
    timeline: Timeline,
    /// Whether bodies of events are shown.
    shows_payloads: bool,
    /// The imports that can still begin; `None` if bodies are not imported.
    importing: Option<Arc<Semaphore>>,
    /// The numbers of the last hour.
    history: Arc<History>,
    /// The counts between which rates are taken.
    recent: Arc<v1::RecentCounts>,
    /// Held by each reader that waits for steps.
    live: Arc<Semaphore>,
}

/// What changes a running bridge.
pub struct Controls {
    /// Pauses and resumes sinks.
    pub pausing: Arc<Pausing>,
    /// Sends events to sinks again.
    pub replays: Replays,
    /// Takes saved bodies in.
    pub imports: ArcSwap<Imports>,
    /// Reads the configuration again.
    pub reloader: Reloader,
}

struct Opened {
    state: State,
    spool: Spool,
    redrive: Redrive,
    explainer: ArcSwap<Explainer>,
    note: Note,
}

/// Writes the counts of event types from memory to the state file.
pub type Note = Arc<dyn Fn(&State) -> Result<(), StateError> + Send + Sync>;

impl AdminState {
    /// The parts that are available while the spool recovers.
    pub fn new(metrics: Arc<Metrics>, health: Arc<Health>, summary: Summary, access: Access) -> Self {
        let started = Instant::now();
        Self {
            metrics,
            health,
            summary: Arc::new(ArcSwap::from_pointee(summary)),
            access: Arc::new(access),
            started,
            opened: Arc::default(),
            controls: Arc::default(),
            scrape: Arc::default(),
            searches: Arc::new(Semaphore::new(SEARCHES_MAX)),
            queries: Arc::new(Semaphore::new(QUERIES_MAX)),
            timeline: Timeline::default(),
            shows_payloads: false,
            importing: None,
            history: Arc::default(),
            recent: Arc::new(v1::RecentCounts::since(started)),
            live: Arc::new(Semaphore::new(v1::LIVE_READERS_MAX)),
        }
    }

    /// The same with the last steps of every event.
    pub fn with_timeline(self, timeline: Timeline) -> Self {
        Self { timeline, ..self }
    }

    /// The same, which shows bodies of events or does not.
    pub fn showing_payloads(self, shows_payloads: bool) -> Self {
        Self { shows_payloads, ..self }
    }

    /// The same, which imports bodies or does not.
    pub fn importing(self, imports: bool) -> Self {
        Self { importing: imports.then(|| Arc::new(Semaphore::new(IMPORTS_MAX))), ..self }
    }

    /// Adds the spool and the state once they are open. Only the first call counts.
    pub fn open(&self, state: State, spool: Spool, readmit: Readmit, note: Note, awaited: &AwaitedSinks) {
        let summary = self.summary();
        let sinks = summary.sinks.iter().map(|sink| sink.name.clone());
        let redrive = Redrive::new(state.clone(), spool.clone(), sinks, readmit).telling(awaited.clone());
        let (health, explained) = (Arc::clone(&self.health), Arc::clone(&summary.explained));
        let now = SystemTime::now().into();
        let explainer = Explainer::new(spool.search(), state.clone(), health, explained, now);
        let explainer = ArcSwap::from_pointee(explainer.with_timeline(self.timeline.clone()));
        let _ = self.opened.set(Opened { state, spool, redrive, explainer, note });
    }

    /// Adds what changes the bridge, once it runs. Only the first call counts.
    pub fn control(&self, controls: Controls) {
        let _ = self.controls.set(controls);
    }

    /// The configuration as it is now, without secrets. Whoever needs several parts of it asks once.
    pub fn summary(&self) -> Arc<Summary> {
        self.summary.load_full()
    }

    /// Replaces what the configuration says, and what takes saved bodies in. An answer that is being made can
    /// still be of the former one.
    pub fn reconfigure(&self, summary: Summary, imports: Arc<Imports>, now: Timestamp) {
        if let Some(opened) = self.opened.get() {
            opened.redrive.replace_sinks(summary.sinks.iter().map(|sink| sink.name.clone()));
            let explainer = opened.explainer.load().reconfigured(Arc::clone(&summary.explained), now);
            opened.explainer.store(Arc::new(explainer));
        }
        if let Some(controls) = self.controls.get() {
            controls.imports.store(imports);
            let event_sources = summary.sources.iter().map(|source| source.event_source.clone());
            controls.replays.replace_event_sources(event_sources.collect());
        }
        self.summary.store(Arc::new(summary));
    }

    /// What changes the bridge.
    fn controls(&self) -> Result<&Controls, ProblemAnswer> {
        let recovering = ProblemAnswer::of(ProblemCode::Recovering, "the spool is being recovered");
        self.controls.get().ok_or(recovering)
    }

    fn opened(&self) -> Result<&Opened, ProblemAnswer> {
        let recovering = ProblemAnswer::of(ProblemCode::Recovering, "the spool is being recovered");
        self.opened.get().ok_or(recovering)
    }

    /// Writes the counts of event types from memory to the state file, so that an answer is up to
    /// date. Without space on the disk, the answer is older.
    async fn note(&self) -> Result<(), ProblemAnswer> {
        let note = Arc::clone(&self.opened()?.note);
        let noted = move |state: &State| match note(state) {
            Err(StateError::NoRoom { .. }) => Ok(()),
            noted => noted,
        };
        self.ask(noted).await
    }

    /// Runs a query of the state on a thread that can block. It keeps its place until it has ended, also if
    /// the client leaves meanwhile.
    async fn ask<T: Send + 'static>(
        &self,
        f: impl FnOnce(&State) -> Result<T, StateError> + Send + 'static,
    ) -> Result<T, ProblemAnswer> {
        let state = self.opened()?.state.clone();
        let place = Arc::clone(&self.queries).acquire_owned().await;
        let query = move || {
            let _place = place;
            f(&state)
        };
        match tokio::task::spawn_blocking(query).await {
            Ok(answer) => answer.map_err(ProblemAnswer::from),
            Err(_) => {
                let detail = "a query of the state file broke off: see the log";
                Err(ProblemAnswer::of(ProblemCode::Failed, detail))
            }
        }
    }
}

/// The routes of the admin listener.
pub fn router(admin: AdminState) -> Router {
    Router::new()
        .route("/livez", get(probes::livez))
        .route("/readyz", get(probes::readyz))
        .route("/startupz", get(probes::startupz))
        .route(guard::METRICS_PATH, get(metrics::metrics))
        .merge(former::router())
        .nest("/api/v1", v1::router())
        .merge(page::router())
        .fallback(|| async { ProblemAnswer::of(ProblemCode::NoSuchPath, "there is nothing at this path") })
        .method_not_allowed_fallback(|| async {
            ProblemAnswer::of(ProblemCode::NoSuchMethod, "this path does not support this method")
        })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn_with_state(Arc::clone(&admin.access), guard::guard))
        .with_state(admin)
}
