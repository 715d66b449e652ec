//! Wires sources → spool → dispatchers, starts them in order and stops them in order.
//!
//! Start: the spool's directory is locked, both addresses are bound, log and state are opened and
//! recovered, dispatchers begin after their cursors, and only then are deliveries taken. Stop, all of it
//! within the grace: no new connection is accepted, requests in flight are answered, the log is closed,
//! dispatchers deliver what is left and commit. No acknowledged event depends on an orderly stop.

mod background;
pub mod descriptors;
mod dispatchers;
mod ending;
mod error;
mod handover;
pub mod listeners;
mod open;
mod parts;
mod readmission;
mod reload;
mod replays;
mod rules;
mod shapes;
mod sink_changes;
mod sink_life;
mod sinks;
mod sources;
mod summary;
mod task;
mod traces;
mod unread;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::dispatchers::{Dispatchers, Instruments};
use self::ending::{given_up, graver, look_over};
pub use self::error::BridgeError;
use self::handover::{Giver, Predecessor, SocketCopies};
use self::listeners::{BoundAddress, InheritedSockets};
use self::open::{open, take};
use self::readmission::{AdmissionRules, CurrentRules};
use self::reload::{Reloadable, ReloadedParts, Reloads};
use self::shapes::ShapeKeeper;
use self::sinks::make_sink;
use self::sources::{Sources, Surroundings};
use self::summary::{awaited, summary};
use self::task::Task;
use crate::admin::{self, Access, AdminState, Controls};
use crate::aws::Aws;
use crate::config::{Config, ConfigurationFile};
use crate::dedup::shared::{SharedWindow, SharedWindowOptions};
use crate::health::Health;
use crate::selection::Selection;
use crate::source::Intake;
use crate::source::front::Front;
use crate::source::http::connections::Connections;
use crate::source::http::serve;
use crate::source::http::tls::Tls;
use crate::source::sampling::Sampler;
use crate::source::types_seen::TypesSeen;
use crate::spool::{Recovery, Spool};
use crate::state::State;
use crate::telemetry::Metrics;
use crate::timeline::Timeline;

/// A running bridge.
pub struct Bridge {
    http: SocketAddr,
    admin: SocketAddr,
    recovery: Recovery,
    health: Arc<Health>,
    spool: Spool,
    state: State,
    front: Task,
    /// Offers the listening sockets to a new process.
    giver: Giver,
    /// The worker of the shared duplicate window, if there is one.
    window_worker: Option<Task>,
    sources: Sources,
    dispatchers: Dispatchers,
    /// Sends the events of replays.
    replays: Task,
    timeline: Timeline,
    /// Collects the steps of the timeline.
    collector: Task,
    /// Exports the spans of sampled events, if traces are on.
    exporter: Option<Task>,
    background: Task,
    /// Learns the shapes of event types.
    shapes: Task,
    admin_task: Task,
    /// Reads the configuration again.
    reloads: Reloads,
    grace: Duration,
}

impl Bridge {
    /// Starts the bridge. When this returns, deliveries are taken.
    ///
    /// # Errors
    /// When a part cannot start; then no part is left running.
    pub async fn start(config: Config) -> Result<Self, BridgeError> {
        Self::start_on(config, None, InheritedSockets::default()).await
    }

    /// The same on sockets that were handed over to the process, and with the file from which the
    /// configuration is read again.
    ///
    /// # Errors
    /// When a part cannot start; then no part is left running.
    pub async fn start_on(
        config: Config,
        file: Option<ConfigurationFile>,
        mut inherited: InheritedSockets,
    ) -> Result<Self, BridgeError> {
        let metrics = Arc::new(traces::metrics(config.traces.as_ref()));
        let health = Arc::new(Health::default());
        let (limits, grace) = (config.limits, config.shutdown_grace);
        let locked = take(config.spool.clone(), inherited.lock_wait()).await?;
        inherited.predecessor.take().into_iter().for_each(Predecessor::has_ended);
        // Bound before the recovery, so that an address in use is found before a long recovery.
        let [(http, public), (admin, private)] = inherited.listen(BoundAddress::of(&config))?;
        let (addresses, copies) = ((public, private), SocketCopies::of(&http, &admin));
        let tls = config.http.tls.as_ref().map(Tls::load).transpose()?;

        let (timeline, steps, collector) = Timeline::new(&config.timeline, metrics.timeline.clone());
        let collector = Task::spawn("the timeline", |stop| collector.run(stop));

        // The admin listener answers while the log is recovered, which can take long.
        let access = Access::new(addresses.1, config.admin.token.as_ref())
            .with_metrics_token(config.admin.metrics_token.as_ref())
            .with_hosts(config.admin.hosts.clone());
        let admin_state = AdminState::new(metrics.clone(), health.clone(), summary(&config), access)
            .with_timeline(timeline.clone())
            .showing_payloads(config.admin.show_payloads)
            .importing(config.admin.import.unwrap_or(addresses.1.ip().is_loopback()));
        let connections = Connections::new("admin", &metrics);
        let admin_task = Task::spawn("the admin listener", |stop| {
            let (limits, router) = (limits.private(), admin::router(admin_state.clone()));
            let history = admin::keep_history(admin_state.clone(), stop.clone());
            // It stops last, when the grace may be used up.
            let served = serve(admin, None, limits, grace.min(ADMIN_DRAIN_MAX), connections, router, stop);
            async move {
                tokio::join!(served, history);
            }
        });

        tracing::info!(dir = %config.spool.dir.display(), "the bridge recovers the spool");
        let (spool, state, recovery) = open(locked, config.spool.clone(), Arc::clone(&metrics)).await?;
        let (spool, window_worker) = share_window(spool, config.shared_window.as_ref(), &metrics).await;
        let aws = Aws::new(config.aws.clone());
        let mut sinks = Vec::with_capacity(config.sinks.len());
        for sink in &config.sinks {
            sinks.push(make_sink(sink, &aws).await?);
        }
        let awaited = awaited(&config, &metrics);
        let (tracer, exporter) = traces::start(config.traces.as_ref(), &metrics).await?;
        let instruments = Instruments {
            metrics: Arc::clone(&metrics),
            health: Arc::clone(&health),
            timeline: steps.clone(),
            tracer: tracer.clone(),
            aws: aws.clone(),
        };
        let (rules, unnoted) = rules::read(&config, &spool, &state)?;
        let log = (&spool, &state);
        let dispatchers = Dispatchers::start(&config, &rules, sinks, log, &awaited, instruments)?;

        let current = CurrentRules::new(AdmissionRules::of(&config));
        let types = Arc::new(TypesSeen::new(current.catalogued()));
        let noted = Arc::clone(&types);
        let note_types = Arc::new(move |state: &State| background::write_down(&noted, state));
        admin_state.open(state.clone(), spool.clone(), current.readmission(), note_types, &awaited);
        let replays = dispatchers.around.replays.clone();
        let (sampler, samples) = Sampler::new(metrics.shapes.dropped.clone());
        let shapes = ShapeKeeper::open(state.clone(), metrics.shapes.clone()).await?;
        let shapes = Task::spawn("the learner of shapes", |stop| shapes.keep(samples, stop));
        let intake = Intake::new(spool.clone(), Selection::default(), types.clone());
        let intake = intake.noting(steps).sampled_by(sampler).traced_by(tracer);
        // Behind all that is read of the state: without room, it cannot always be read after a write.
        unnoted.begin(&spool, &state)?;
        let front = Front::new(intake.clone(), &limits, &metrics).open();
        let service = front.service();
        let surroundings = Surroundings {
            limits: limits.body_limits(),
            aws,
            metrics: Arc::clone(&metrics),
            health: Arc::clone(&health),
            awaited,
            tls: tls.clone(),
            admin: admin_state.clone(),
            rules: current,
        };
        let mut sources = Sources::new(front, intake, surroundings);
        sources.swap(sources.prepare(&config, &|_| false).await?);
        let (pausing, imports) = (dispatchers.around.pausing.clone(), sources.imports().into());
        let giver = Giver::open(&config.spool.dir, copies, grace, &health);
        let reloadable = Reloadable { config, admin: admin_state.clone(), unnoted: unnoted.clone() };
        let reloads = Reloads::start(reloadable, file, &metrics);
        let reloader = reloads.reloader.clone();
        admin_state.control(Controls { pausing, replays: replays.clone(), imports, reloader });
        let replays = Task::spawn("the replays", |stop| replays.run(stop));
        let connections = Connections::new("http", &metrics);
        let front = Task::spawn("the public listener", |stop| {
            serve(http, tls, limits, grace, connections, service, stop)
        });
        health.start();
        Ok(Self {
            http: addresses.0,
            admin: addresses.1,
            recovery,
            front,
            giver,
            window_worker,
            sources,
            admin_task,
            state: state.clone(),
            background: Task::spawn("the writer of the types seen", |stop| {
                background::keep((types, unnoted), (spool.clone(), state), health.clone(), stop)
            }),
            shapes,
            dispatchers,
            replays,
            timeline,
            collector,
            exporter,
            health,
            spool,
            reloads,
            grace,
        })
    }

    /// The address of the public listener, with its real port.
    pub fn http_address(&self) -> SocketAddr {
        self.http
    }

    /// The address of the admin listener, with its real port.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// What recovery found in the log.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// The health of the bridge, which the admin listener reports.
    pub fn health(&self) -> &Arc<Health> {
        &self.health
    }

    /// The last steps of deliveries and events.
    pub fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// Runs until `stop` is cancelled or a part fails that the bridge cannot do without, then stops in
    /// order within the grace.
    ///
    /// # Errors
    /// The failure.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), BridgeError> {
        let ended = loop {
            let read = tokio::select! {
                () = stop.cancelled() => break Ok(()),
                () = self.giver.taken() => break Ok(()),
                failure = self.spool.failed() => break Err(failure.into()),
                broken = self.dispatchers.broken() => break Err(broken),
                // These parts end by themselves only by a panic. A bridge that stops is better than one that
                // receives nothing, or that has a dead part and looks healthy.
                broken = self.sources.broken() => break Err(broken),
                broken = self.front.broken() => break Err(broken),
                broken = self.collector.broken() => break Err(broken),
                broken = self.replays.broken() => break Err(broken),
                broken = self.shapes.broken() => break Err(broken),
                // This part also ends when the state file is gone.
                broken = self.background.broken() => {
                    break Err(self.state.look().map_or_else(Into::into, |()| broken));
                }
                broken = self.admin_task.broken() => break Err(broken),
                broken = broken(&mut self.window_worker) => break Err(broken),
                broken = broken(&mut self.exporter) => break Err(broken),
                broken = self.reloads.watcher.broken() => break Err(broken),
                read = self.reloads.requests.next() => read,
            };
            let parts = ReloadedParts { sources: &mut self.sources, sinks: &mut self.dispatchers };
            // What sinks and clients do while they are made is not waited for at a stop.
            tokio::select! {
                biased;
                () = stop.cancelled() => break Ok(()),
                () = self.giver.taken() => break Ok(()),
                failure = self.spool.failed() => break Err(failure.into()),
                () = self.reloads.carry_out(read, parts) => {}
            }
        };
        let (spool, state) = (self.spool.clone(), self.state.clone());
        let given_up = given_up(spool, state, Instant::now() + self.grace);
        let mut stopping = Box::pin(self.stop());
        tokio::select! {
            biased;
            stopped = &mut stopping => graver(ended, stopped),
            hung = given_up => {
                // Dropping the stop could hang on the same disk.
                std::mem::forget(stopping);
                Err(BridgeError::Hangs { what: hung, first: ended.err().map(Box::new) })
            }
        }
    }

    /// Ends every part in its turn, even after one broke down; returns the first error.
    async fn stop(mut self) -> Result<(), BridgeError> {
        tracing::info!("the bridge stops: it takes no new deliveries");
        let deadline = Instant::now() + self.grace;
        self.health.stop();
        self.sources.end_polling();
        let mut ended = self.giver.close_unless_taken().await;
        ended = ended.and(self.reloads.end().await);
        ended = ended.and(self.front.end().await);
        ended = ended.and(self.sources.end(deadline).await);
        // What a replay has appended is to be noted before the log is closed.
        ended = ended.and(self.replays.end().await);
        self.spool.close().await;
        // The worker ends after the last group is durable, so that it confirms every event to the replicas.
        if let Some(window_worker) = self.window_worker {
            ended = ended.and(window_worker.end().await);
        }
        let dispatchers = self.dispatchers.names();
        ended = ended.and(self.dispatchers.end(deadline).await);
        // The last steps are those of the dispatchers; who follows them by the admin listener sees them, too.
        ended = ended.and(self.collector.end().await);
        if let Some(exporter) = self.exporter {
            ended = ended.and(exporter.end().await);
        }
        ended = ended.and(self.shapes.end().await);
        ended = ended.and(self.background.end().await);
        ended = graver(ended, look_over(self.spool.clone(), self.state, dispatchers).await);
        ended = ended.and(self.admin_task.end().await);
        ended = ended.and(self.giver.end().await);
        tracing::info!(head = self.spool.head().0, "the bridge has stopped");
        ended
    }
}

async fn broken(part: &mut Option<Task>) -> BridgeError {
    match part {
        Some(part) => part.broken().await,
        None => std::future::pending().await,
    }
}

/// How long a stop waits for requests in flight on the private listener.
const ADMIN_DRAIN_MAX: Duration = Duration::from_secs(1);

/// Connects the spool to the shared duplicate window, if one is configured.
async fn share_window(
    spool: Spool,
    config: Option<&SharedWindowOptions>,
    metrics: &Metrics,
) -> (Spool, Option<Task>) {
    match config {
        None => (spool, None),
        Some(config) => {
            let (window, window_worker) = SharedWindow::open(config, metrics).await;
            (
                spool.sharing(window),
                Some(Task::spawn("the worker of the shared duplicate window", |stop| {
                    window_worker.run(stop)
                })),
            )
        }
    }
}
