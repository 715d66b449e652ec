//! Wires sources → spool → dispatchers, starts them in order and stops them in order.
//!
//! Start: the directory is taken and both addresses are bound, log and state are opened and recovered,
//! dispatchers begin at their cursors, and only then is a delivery taken. Stop, all of it within the grace: no new
//! connections, requests in flight are answered, the log is closed behind them, dispatchers deliver
//! what is left and commit. Nothing that was acknowledged depends on the stop being orderly.

mod background;
pub mod descriptors;
mod dispatchers;
mod ending;
mod open;
mod sources;
mod summary;
mod task;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};

use self::dispatchers::{Dispatchers, reader_error};
use self::ending::{given_up, graver, had_to_stop, look_over, named};
use self::open::{blocking, open, take};
use self::sources::{Sources, Wiring};
use self::summary::{catalogued, summary};
use self::task::Task;
use crate::admin::{self, Access, AdminState};
use crate::admit::{AdmissionSource, readmit};
use crate::aws::Aws;
use crate::config::{Config, SpoolConfig};
use crate::dead_letter::Readmit;
use crate::dedup::shared::SharedWindow;
use crate::dispatch::DispatchError;
use crate::event::Verdict;
use crate::health::Health;
use crate::sink::Sink;
use crate::sink::file::{FileSink, UnusableDirectory};
use crate::sink::kafka::KafkaSink;
use crate::sink::sns::SnsSink;
use crate::sink::{Output, SinkOptions};
use crate::source::Intake;
use crate::source::SourceOptions;
use crate::source::front::Front;
use crate::source::http::connections::Connections;
use crate::source::http::tls::{Tls, TlsError};
use crate::source::http::{HttpLimits, serve};
use crate::source::sns::TrustError;
use crate::source::types_seen::TypesSeen;
use crate::spool::{Recovery, Spool, SpoolError, Taken};
use crate::state::{State, StateError};
use crate::telemetry::Metrics;

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
    /// Another sink, mostly another process's, has the directory of one.
    #[error("sink `{name}` cannot be made")]
    SinkTaken {
        /// Its name.
        name: String,
        /// Whose directory it is.
        source: UnusableDirectory,
    },
    /// A dispatcher ended.
    #[error(transparent)]
    Dispatch(#[from] DispatchError),
    /// The disk failed; nothing of the log is trusted until it was recovered.
    #[error("the spool failed: {0}; nothing is acknowledged any more, restart to recover what is durable")]
    SpoolFailed(String),
    /// What the spool held is somewhere else. The next start would begin without it: a person moves it first.
    #[error("the spool failed: {0}")]
    Misplaced(String),
    /// Events were taken away that somebody waits for. The next start would pass them: a person decides.
    #[error(
        "{taken}, and {} has not got past them: put the file back as it was and start again, or start without \
         it, which gives those events up",
        named(.waiting)
    )]
    Taken {
        /// What was taken away.
        taken: Taken,
        /// Who waits for it, as far as that is known.
        waiting: Vec<String>,
    },
    /// A part did not end in time, so that the bridge ended without it.
    #[error("{what}{}", had_to_stop(.first))]
    Hangs {
        /// Which, and what that means.
        what: String,
        /// Why the bridge stopped, unless it was told to.
        #[source]
        first: Option<Box<Self>>,
    },
    /// A fault of the bridge's own. The log has the panic.
    #[error("{0} broke down, so the bridge stops; nothing acknowledged is lost, start it again")]
    BrokeDown(&'static str),
}

/// A running bridge.
pub struct Bridge {
    http: SocketAddr,
    admin: SocketAddr,
    recovery: Recovery,
    health: Arc<Health>,
    spool: Spool,
    state: State,
    front: Task,
    /// Keeps the shared duplicate window, if there is one.
    keeper: Option<Task>,
    /// The sources that go and get their deliveries.
    pollers: JoinSet<()>,
    /// Reads the files with secrets again.
    secrets: Task,
    polling: DropGuard,
    readers: Dispatchers,
    notes: Task,
    admin_task: Task,
    grace: Duration,
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
        let held = take(config.spool.clone()).await?;
        // Bound next: an address in use is found before a long recovery, not after it.
        let http = bind(config.http.listen)?;
        let admin = bind(config.admin.listen)?;
        let addresses = (address(&http, config.http.listen), address(&admin, config.admin.listen));
        let tls = config.http.tls.as_ref().map(Tls::load).transpose()?;

        // The admin listener answers while the log is recovered, which may take a while.
        let access = Access::new(config.admin.listen, config.admin.token.as_ref());
        let admin_state = AdminState::new(metrics.clone(), health.clone(), summary(&config), access);
        let connections = Connections::new("admin", &metrics);
        let admin_task = Task::spawn("the admin listener", |stop| {
            serve(admin, None, limits.private(), connections, admin::router(admin_state.clone()), stop)
        });

        tracing::info!(dir = %config.spool.dir.display(), "recovering the spool");
        let (spool, state, recovery) = open(held, config.spool.clone(), Arc::clone(&metrics)).await?;
        let (spool, keeper) = share(spool, &config.spool, &metrics).await;
        let aws = Aws::new(config.aws.clone());
        let mut sinks = Vec::with_capacity(config.sinks.len());
        for sink in &config.sinks {
            sinks.push(make_sink(sink, &aws).await?);
        }
        let readers = Dispatchers::start(&config, sinks, &spool, &state, &metrics, &health)?;

        let types = Arc::new(TypesSeen::new(catalogued(&config)));
        let noted = Arc::clone(&types);
        let note_types = Arc::new(move |state: &State| background::write_down(&noted, state));
        admin_state.open(state.clone(), spool.clone(), readmission(&config), note_types);
        let intake = Intake::new(spool.clone(), config.selection, types.clone());
        let front = Front::new(intake.clone(), &config.http, &metrics);
        let wiring =
            Wiring { intake: &intake, limits: config.http.body_limits(), aws: &aws, metrics: &metrics };
        let Sources { front, pollers, secrets, polling } =
            wiring.start(config.sources, front, &health).await?;
        let service = front.service();
        let connections = Connections::new("http", &metrics);
        let front =
            Task::spawn("the public listener", |stop| serve(http, tls, limits, connections, service, stop));
        health.start();
        Ok(Self {
            http: addresses.0,
            admin: addresses.1,
            recovery,
            front,
            keeper,
            pollers,
            secrets,
            polling,
            admin_task,
            state: state.clone(),
            notes: Task::spawn("the keeper of notes", |stop| {
                background::keep(types, spool.clone(), state, stop)
            }),
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
            failure = self.spool.failed() => Err(failure.into()),
            Some(ended) = self.readers.tasks.join_next() => Err(reader_error(ended)),
            // None of these ends by itself but by breaking down: better no bridge than one that hears
            // nothing, or has a part that does nothing and looks well.
            Some(_) = self.pollers.join_next() => Err(BridgeError::BrokeDown("a source that polls")),
            broken = self.front.broken() => Err(broken),
            broken = self.secrets.broken() => Err(broken),
            // It ends, too, when the state file is gone.
            broken = self.notes.broken() => Err(self.state.look().map_or_else(Into::into, |()| broken)),
            broken = self.admin_task.broken() => Err(broken),
            broken = broken(&mut self.keeper) => Err(broken),
        };
        let (spool, state) = (self.spool.clone(), self.state.clone());
        let given_up = given_up(spool, state, Instant::now() + self.grace);
        let mut stopping = Box::pin(self.stop());
        tokio::select! {
            biased;
            stopped = &mut stopping => graver(ended, stopped),
            hung = given_up => {
                // What hangs would hang here, too, if it were dropped.
                std::mem::forget(stopping);
                Err(BridgeError::Hangs { what: hung, first: ended.err().map(Box::new) })
            }
        }
    }

    /// Ends every part in its turn, also behind one that broke down; the first error counts.
    async fn stop(mut self) -> Result<(), BridgeError> {
        tracing::info!("stopping: no new deliveries");
        let deadline = Instant::now() + self.grace;
        self.health.stop();
        drop(self.polling);
        let mut ended = self.front.end().await;
        ended = ended.and(self.secrets.end().await);
        // What a poller has not finished by then comes back from its queue.
        while let Ok(Some(poller)) = timeout_at(deadline, self.pollers.join_next()).await {
            ended = ended.and(poller.map_err(|_| BridgeError::BrokeDown("a source that polls")));
        }
        self.pollers.abort_all();
        self.spool.close().await;
        // Behind the last group, so that all of it is told to those who share the window.
        if let Some(keeper) = self.keeper {
            ended = ended.and(keeper.end().await);
        }
        let readers = self.readers.names.clone();
        ended = ended.and(self.readers.end(deadline).await);
        ended = ended.and(self.notes.end().await);
        ended = graver(ended, look_over(self.spool.clone(), self.state, readers).await);
        ended = ended.and(self.admin_task.end().await);
        tracing::info!(head = self.spool.head().0, "stopped");
        ended
    }
}

async fn broken(keeper: &mut Option<Task>) -> BridgeError {
    match keeper {
        Some(keeper) => keeper.broken().await,
        None => std::future::pending().await,
    }
}

/// Connections that the system keeps for a listener until it gets to them; what beyond it is dropped
/// comes again after a second, and the system may have a smaller bound of its own. The default is 128,
/// which a burst of strangers fills between two looks.
const BACKLOG: u32 = 4096;

fn bind(address: SocketAddr) -> Result<TcpListener, BridgeError> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let listening = socket.and_then(|socket| {
        // Connections of a life before may still be closing.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    });
    listening.map_err(|source| BridgeError::Listen { address, source })
}

/// The address that a listener really has: port 0 asks the system for one.
fn address(listener: &TcpListener, asked: SocketAddr) -> SocketAddr {
    listener.local_addr().unwrap_or(asked)
}

/// Has the spool share its duplicate window with other replicas, if it is to.
async fn share(spool: Spool, config: &SpoolConfig, metrics: &Metrics) -> (Spool, Option<Task>) {
    match &config.shared_window {
        None => (spool, None),
        Some(config) => {
            let (window, keeper) = SharedWindow::open(config, metrics).await;
            (
                spool.sharing(window),
                Some(Task::spawn("the keeper of the shared window", |stop| keeper.run(stop))),
            )
        }
    }
}

/// Decides about quarantined deliveries again, by the definitions and the selection of now.
fn readmission(config: &Config) -> Readmit {
    let view = |source: &SourceOptions| {
        AdmissionSource::new(Arc::clone(&source.definition), source.name.clone(), source.event_source())
    };
    let views: Vec<_> = config.sources.iter().map(view).collect();
    let selection = config.selection.clone();
    Arc::new(move |quarantined| {
        let Some(view) = views.iter().find(|view| *view.intake() == quarantined.intake) else {
            return Verdict::Quarantine(quarantined.clone());
        };
        readmit(view, quarantined, &selection)
    })
}

async fn make_sink(config: &SinkOptions, aws: &Aws) -> Result<Arc<dyn Sink>, BridgeError> {
    let made: Result<Arc<dyn Sink>, Box<dyn std::error::Error + Send + Sync>> = match &config.output {
        Output::Kafka(kafka) => match KafkaSink::new(&config.name, kafka) {
            Ok(sink) => Ok(Arc::new(sink)),
            Err(error) => Err(error.into()),
        },
        Output::Sns(sns) => Ok(Arc::new(SnsSink::new(&config.name, sns, aws).await)),
        Output::File(file) => {
            let file = file.clone();
            match blocking(move || Ok(FileSink::new(&file))).await? {
                Ok(sink) => Ok(Arc::new(sink)),
                Err(source @ UnusableDirectory::Taken(_)) => {
                    return Err(BridgeError::SinkTaken { name: config.name.clone(), source });
                }
                Err(error) => Err(error.into()),
            }
        }
    };
    made.map_err(|source| BridgeError::Sink { name: config.name.clone(), source })
}
