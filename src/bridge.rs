//! Wires sources → spool → dispatchers, starts them in order and stops them in order.
//!
//! Start: both addresses are bound, log and state are opened and recovered, dispatchers begin at
//! their cursors, and only then is a delivery taken. Stop, all of it within the grace: no new
//! connections, requests in flight are answered, the log is closed behind them, dispatchers deliver
//! what is left and commit. Nothing that was acknowledged depends on the stop being orderly.

mod readers;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};

use self::readers::{Readers, reader_error};
use crate::admin::{self, Access, AdminState, Summary};
use crate::admit::{SourceView, admit};
use crate::aws::Aws;
use crate::config::{Channel, Config, Output, SinkConfig, SourceConfig, SpoolConfig};
use crate::dead_letter::Readmit;
use crate::dispatch::DispatchError;
use crate::event::{Verdict, Verified};
use crate::health::Health;
use crate::sink::Sink;
use crate::sink::file::FileSink;
use crate::sink::kafka::KafkaSink;
use crate::sink::sns::SnsSink;
use crate::source::connections::Connections;
use crate::source::front::Front;
use crate::source::http::{HttpLimits, serve};
use crate::source::sns::TrustError;
use crate::source::sqs::SqsSource;
use crate::source::tls::{Tls, TlsError};
use crate::source::types_seen::TypesSeen;
use crate::source::{Intake, SourceIntake};
use crate::spool::disk::RealDisk;
use crate::spool::shared_window::SharedWindow;
use crate::spool::state::{self, State, StateError};
use crate::spool::{Recovery, Spool, SpoolError};
use crate::telemetry::Metrics;

/// How often what was noted in memory (types seen, the state file's size) is written down.
const NOTE_EVERY: Duration = Duration::from_secs(2);

/// How long to wait for another process to give the spool up: as in a rolling update, where the
/// old one is still stopping.
const LOCK_WAIT: Duration = Duration::from_secs(2);

/// Why the bridge could not start, or stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// The log cannot be opened.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The state cannot be opened or kept.
    #[error(transparent)]
    State(#[from] StateError),
    /// A listener cannot be bound.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// The certificate or key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Nothing that SNS signs could be checked.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// A sink cannot be made from its configuration.
    #[error("sink `{name}` cannot be made")]
    Sink {
        /// Its name.
        name: String,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A dispatcher ended.
    #[error(transparent)]
    Dispatch(#[from] DispatchError),
    /// The disk failed; nothing of the log is trusted until it was recovered.
    #[error("the spool failed: {0}; nothing is acknowledged any more, restart to recover what is durable")]
    SpoolFailed(String),
}

/// A running bridge.
pub struct Bridge {
    http: SocketAddr,
    admin: SocketAddr,
    recovery: Recovery,
    health: Arc<Health>,
    spool: Spool,
    front: Task,
    /// Keeps the shared duplicate window, if there is one.
    keeper: Option<Task>,
    /// The sources that go and get their deliveries.
    pollers: JoinSet<()>,
    polling: DropGuard,
    readers: Readers,
    notes: Task,
    admin_task: Task,
    grace: Duration,
}

/// A task and the way to end it. One that is dropped is told to end, too.
struct Task {
    stop: DropGuard,
    handle: JoinHandle<()>,
}

impl Task {
    fn spawn<F: Future<Output = ()> + Send + 'static>(task: impl FnOnce(CancellationToken) -> F) -> Self {
        let stop = CancellationToken::new();
        Self { handle: tokio::spawn(task(stop.clone())), stop: stop.drop_guard() }
    }

    async fn end(self) {
        drop(self.stop);
        if let Err(ended) = self.handle.await
            && ended.is_panic()
        {
            std::panic::resume_unwind(ended.into_panic());
        }
    }
}

impl Bridge {
    /// Starts everything. When this returns, deliveries are taken.
    ///
    /// # Errors
    /// When a part cannot start. Nothing is left running.
    pub async fn start(config: Config) -> Result<Self, BridgeError> {
        let metrics = Arc::new(Metrics::new());
        let health = Arc::new(Health::default());
        let limits = HttpLimits::new(&config.http, config.shutdown_grace);
        // Bound first: an address in use is found before a long recovery, not after it.
        let http = bind(config.http.listen).await?;
        let admin = bind(config.admin.listen).await?;
        let addresses = (address(&http, config.http.listen), address(&admin, config.admin.listen));
        let tls = config.http.tls.as_ref().map(Tls::load).transpose()?;

        // The admin listener answers while the log is recovered, which may take a while.
        let access = Access::new(config.admin.listen, config.admin.token.as_ref());
        let admin_state = AdminState::new(metrics.clone(), health.clone(), summary(&config), access);
        let connections = Connections::new("admin", &metrics);
        let admin_task = Task::spawn(|stop| {
            serve(admin, None, limits, connections, admin::router(admin_state.clone()), stop)
        });

        tracing::info!(dir = %config.spool.dir.display(), "recovering the spool");
        let (spool, state, recovery) = open(config.spool.clone(), Arc::clone(&metrics)).await?;
        let (spool, keeper) = share(spool, &config.spool, &metrics).await;
        let aws = Aws::new(config.aws.clone());
        let mut sinks = Vec::with_capacity(config.sinks.len());
        for sink in &config.sinks {
            sinks.push(make_sink(sink, &aws).await?);
        }
        let readers = Readers::start(&config, sinks, &spool, &state, &metrics, &health)?;

        let types = Arc::new(TypesSeen::default());
        let noted = Arc::clone(&types);
        let note_types = Arc::new(move |state: &State| write_down(&noted, state));
        admin_state.open(state.clone(), spool.clone(), readmit(&config), note_types);
        let intake = Intake::new(spool.clone(), config.selection, types.clone());
        let mut front = Front::new(intake.clone(), &config.http, &metrics);
        let (mut pollers, polling) = (JoinSet::new(), CancellationToken::new());
        for source in config.sources {
            let channel = source.channel.clone();
            let source = SourceIntake::new(source, &metrics);
            match channel {
                Channel::Webhook => front.add_webhook(source),
                Channel::Sns(topics) => front.add_sns(topics, source, &aws, &metrics).await?,
                Channel::Sqs(queue) => {
                    let status = health.add_source(source.name());
                    let limits = config.http.body_limits();
                    let queue =
                        SqsSource::new(queue, source, intake.clone(), limits, &aws, status, &metrics).await;
                    pollers.spawn(queue.run(polling.clone()));
                }
            }
        }
        let service = front.service();
        let connections = Connections::new("http", &metrics);
        let front = Task::spawn(|stop| serve(http, tls, limits, connections, service, stop));
        health.start();
        Ok(Self {
            http: addresses.0,
            admin: addresses.1,
            recovery,
            front,
            keeper,
            pollers,
            polling: polling.drop_guard(),
            admin_task,
            notes: Task::spawn(|stop| note(types, spool.clone(), state, stop)),
            readers,
            health,
            spool,
            grace: config.shutdown_grace,
        })
    }

    /// Where deliveries are taken.
    pub fn http_address(&self) -> SocketAddr {
        self.http
    }

    /// Where the admin listener is.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// What was found in the log at start.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// The condition of the bridge, as the admin listener sees it.
    pub fn health(&self) -> &Arc<Health> {
        &self.health
    }

    /// Runs until told to stop or until a part fails that nothing can go on without, then stops
    /// in order within the grace.
    ///
    /// # Errors
    /// What failed.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), BridgeError> {
        let ended = tokio::select! {
            () = stop.cancelled() => Ok(()),
            reason = self.spool.failed() => Err(BridgeError::SpoolFailed(reason)),
            Some(ended) = self.readers.tasks.join_next() => Err(reader_error(ended)),
            // One ends by itself only if it broke down: better no bridge than one that hears nothing.
            Some(Err(broken)) = self.pollers.join_next() => std::panic::resume_unwind(broken.into_panic()),
        };
        let stopped = self.stop().await;
        ended.and(stopped)
    }

    async fn stop(mut self) -> Result<(), BridgeError> {
        tracing::info!("stopping: no new deliveries");
        let deadline = Instant::now() + self.grace;
        self.health.stop();
        drop(self.polling);
        self.front.end().await;
        // What a poller has not finished by then comes back from its queue.
        while let Ok(Some(ended)) = timeout_at(deadline, self.pollers.join_next()).await {
            ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
        }
        self.pollers.abort_all();
        self.spool.close().await;
        // Behind the last group, so that all of it is told to those who share the window.
        if let Some(keeper) = self.keeper {
            keeper.end().await;
        }
        let ended = self.readers.end(deadline).await;
        self.notes.end().await;
        self.admin_task.end().await;
        tracing::info!(head = self.spool.head().0, "stopped");
        ended
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, BridgeError> {
    TcpListener::bind(address).await.map_err(|source| BridgeError::Listen { address, source })
}

/// The address that a listener really has: port 0 asks the system for one.
fn address(listener: &TcpListener, asked: SocketAddr) -> SocketAddr {
    listener.local_addr().unwrap_or(asked)
}

/// Opens and recovers log and state. The log's lock comes first: it guards the state file, too.
async fn open(config: SpoolConfig, metrics: Arc<Metrics>) -> Result<(Spool, State, Recovery), BridgeError> {
    let opening = tokio::task::spawn_blocking(move || {
        let disk = Arc::new(RealDisk::waiting(LOCK_WAIT));
        let (spool, recovery) = Spool::open(&config.dir, disk, (&config).into(), Arc::clone(&metrics))?;
        let state = State::open(&config.dir.join(state::FILE_NAME))?;
        state.count_in(&metrics);
        for (_, cursor) in state.cursors()? {
            spool.resume_after(cursor);
        }
        spool.set_other_bytes(state.file_bytes()?);
        Ok::<_, BridgeError>((spool, state, recovery))
    });
    opening.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

/// Has the spool share its duplicate window with other replicas, if it is to.
async fn share(spool: Spool, config: &SpoolConfig, metrics: &Metrics) -> (Spool, Option<Task>) {
    match &config.shared_window {
        None => (spool, None),
        Some(config) => {
            let (window, keeper) = SharedWindow::open(config, metrics).await;
            (spool.sharing(window), Some(Task::spawn(|stop| keeper.run(stop))))
        }
    }
}

/// The configuration as far as the admin listener shows it.
fn summary(config: &Config) -> Summary {
    let definitions: Vec<_> = config.sources.iter().map(|source| Arc::clone(&source.definition)).collect();
    let catalogued = move |provider: &str, event_type: &str| {
        let theirs = definitions.iter().filter(|definition| *definition.provider == *provider);
        theirs.into_iter().any(|definition| definition.catalogue.find(event_type).is_some())
    };
    Summary::new(config, Box::new(catalogued))
}

/// Decides about quarantined deliveries again, by the definitions and the selection of now.
fn readmit(config: &Config) -> Readmit {
    let view = |source: &SourceConfig| {
        SourceView::new(Arc::clone(&source.definition), source.name.clone(), source.event_source())
    };
    let views: Vec<_> = config.sources.iter().map(view).collect();
    let selection = config.selection.clone();
    Arc::new(move |quarantined| {
        let Some(view) = views.iter().find(|view| *view.intake() == quarantined.intake) else {
            return Verdict::Quarantine(quarantined.clone());
        };
        let verified = Verified {
            body: quarantined.body.clone(),
            stated: quarantined.stated.clone(),
            secret: 0,
            skew_seconds: None,
            arrived: quarantined.arrived,
        };
        admit(view, verified, &selection)
    })
}

async fn make_sink(config: &SinkConfig, aws: &Aws) -> Result<Arc<dyn Sink>, BridgeError> {
    let made: Result<Arc<dyn Sink>, Box<dyn std::error::Error + Send + Sync>> = match &config.output {
        Output::Kafka(kafka) => match KafkaSink::new(&config.name, kafka) {
            Ok(sink) => Ok(Arc::new(sink)),
            Err(error) => Err(error.into()),
        },
        Output::Sns(sns) => Ok(Arc::new(SnsSink::new(&config.name, sns, aws).await)),
        Output::File(file) => match FileSink::new(file) {
            Ok(sink) => Ok(Arc::new(sink)),
            Err(error) => Err(error.into()),
        },
    };
    made.map_err(|source| BridgeError::Sink { name: config.name.clone(), source })
}

/// Writes down now and then what is noted in memory.
async fn note(types: Arc<TypesSeen>, spool: Spool, state: State, stop: CancellationToken) {
    loop {
        let stopped = tokio::time::timeout(NOTE_EVERY, stop.cancelled()).await.is_ok();
        let (types, spool, state) = (Arc::clone(&types), spool.clone(), state.clone());
        let noting = tokio::task::spawn_blocking(move || {
            let noted = write_down(&types, &state);
            spool.set_other_bytes(state.file_bytes()?);
            noted
        });
        match noting.await {
            // The state says so itself, once for all that waits for room.
            Ok(Err(StateError::NoRoom { .. })) if !stopped => {}
            Ok(Err(error)) => tracing::error!(%error, "cannot note the types seen"),
            Ok(Ok(())) | Err(_) => {}
        }
        if stopped {
            return;
        }
    }
}

/// Moves what is noted of the types seen from memory to the state; what cannot be kept there stays.
fn write_down(types: &TypesSeen, state: &State) -> Result<(), StateError> {
    let drained = types.drain();
    let rows = drained.to_rows();
    let kept = if rows.is_empty() { Ok(()) } else { state.record_types(&rows) };
    if kept.is_err() {
        types.put_back(drained);
    }
    kept
}
