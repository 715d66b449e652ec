//! Publishes to SNS at least once and in order per key: batches of up to ten records of different
//! keys, in as many concurrent requests as the service takes.
//!
//! One task sends the requests that the [scheduler] releases and returns their answers to it;
//! [`Sink::publish`] only puts records with the scheduler. Invariant: while a record is on its way or waits
//! for its repetition, no later record of its lane is sent. A request that might have been carried
//! out is repeated, so a record can arrive twice; a FIFO topic drops the second copy within five
//! minutes.

mod admin;
mod lanes;
mod message;
pub mod options;
mod outcome;
mod pace;
mod request;
mod scheduler;

pub use options::SnsSinkOptions;

use parking_lot::{Mutex, MutexGuard};
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_config::SdkConfig;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};

pub use self::admin::{SnsAdmin, SnsAdminError, TopicProperties};
use self::lanes::{OutgoingBatch, SnsLanes};
use self::outcome::EntryFate;
use self::pace::Pace;
use self::request::Publisher;
use self::scheduler::Scheduler;
use super::outcomes::OutcomeTable;
use super::{CarriedAttributes, Cause, Effort, Publication, Reason, Sink};
use crate::aws::{Aws, CallTimeouts, credentials_problem};
use crate::event::Record;

/// Time for one request: the service answers within tens of milliseconds, but 256 KiB over a slow
/// line take seconds. One attempt, because a repetition by the SDK would be invisible to the scheduler,
/// which alone knows which records are allowed to follow.
const PATIENCE: CallTimeouts = CallTimeouts { attempt: Duration::from_secs(10), attempts: 1 };
/// Largest batch in bytes, on a topic whose own limit was not raised.
const BATCH_BYTES_MAX: usize = 256 << 10;

/// Interval between look-ups of credentials until there are some.
const CREDENTIALS_EVERY: Duration = Duration::from_secs(10);

/// SNS topics of one region as a sink.
pub struct SnsSink {
    shared: Arc<Shared>,
    driver: JoinHandle<()>,
    credentials: JoinHandle<()>,
}

struct Shared {
    scheduler: Mutex<Scheduler>,
    outcomes: Arc<OutcomeTable>,
    /// Notified when records were put with the scheduler.
    handed_over: Notify,
    /// Set while no credentials have been found since the start.
    obstacle: Mutex<Option<Reason>>,
}

impl SnsSink {
    /// Starts the sink of this name. It looks for credentials in the background, and connects when
    /// there is a record to publish.
    pub async fn new(name: &str, config: &SnsSinkOptions, carried: &CarriedAttributes, aws: &Aws) -> Self {
        let settings = aws.settings(config.region.as_deref(), PATIENCE).await;
        let outcomes = Arc::new(OutcomeTable::default());
        let lanes = SnsLanes::new(config.message_bytes_max.max(BATCH_BYTES_MAX));
        let pace = Pace::new(config.requests_max, RandomState::new().build_hasher().finish());
        let shared = Arc::new(Shared {
            scheduler: Mutex::new(Scheduler::new(lanes, pace, Arc::clone(&outcomes))),
            outcomes,
            handed_over: Notify::new(),
            obstacle: Mutex::default(),
        });
        let credentials = tokio::spawn(await_credentials(Arc::clone(&shared), settings.clone()));
        let publisher = Publisher {
            client: aws_sdk_sns::Client::new(&settings),
            settings,
            sink: name.to_owned(),
            carried: carried.clone(),
            message_bytes_max: config.message_bytes_max,
        };
        let driver = tokio::spawn(drive(Arc::clone(&shared), Arc::new(publisher)));
        Self { shared, driver, credentials }
    }
}

impl Sink for SnsSink {
    fn publish(&self, batch: Vec<Arc<Record>>) -> Publication {
        assert!(!self.driver.is_finished(), "the task that publishes to SNS has ended");
        let publication = {
            // One lock from opening the batch to filling the lanes: two concurrent calls keep their
            // order.
            let mut scheduler = self.shared.scheduler();
            let (number, publication) = self.shared.outcomes.open(&batch);
            scheduler.hand_over(number, batch, message::bytes_at_most, Instant::now());
            publication
        };
        self.shared.handed_over.notify_one();
        publication
    }

    fn complaint(&self) -> Option<String> {
        assert!(!self.driver.is_finished(), "the task that publishes to SNS has ended");
        self.shared.scheduler().complaint(Instant::now())
    }

    fn obstacle(&self) -> Option<Reason> {
        let obstacle = self.shared.obstacle().clone();
        obstacle.or_else(|| self.shared.scheduler().obstacle(Instant::now()))
    }

    fn effort(&self) -> Effort {
        assert!(!self.driver.is_finished(), "the task that publishes to SNS has ended");
        self.shared.scheduler().effort()
    }
}

impl Drop for SnsSink {
    /// Aborts both tasks and the open requests, some of which might have been carried out.
    fn drop(&mut self) {
        self.credentials.abort();
        self.driver.abort();
    }
}

impl Shared {
    fn scheduler(&self) -> MutexGuard<'_, Scheduler> {
        self.scheduler.lock()
    }

    fn obstacle(&self) -> MutexGuard<'_, Option<Reason>> {
        self.obstacle.lock()
    }
}

/// Keeps the obstacle set until credentials are found, then ends: from there on requests report their
/// own failures.
async fn await_credentials(shared: Arc<Shared>, settings: SdkConfig) {
    loop {
        let problem = credentials_problem(&settings).await;
        let found = problem.is_none();
        *shared.obstacle() = problem.map(|detail| Reason::new(Cause::CREDENTIALS, detail));
        if found {
            return;
        }
        tokio::time::sleep(CREDENTIALS_EVERY).await;
    }
}

/// Sends the requests that the scheduler releases and returns their answers to it. Each request is a task.
async fn drive(shared: Arc<Shared>, publisher: Arc<Publisher>) {
    let mut requests: JoinSet<(OutgoingBatch, Vec<EntryFate>)> = JoinSet::new();
    loop {
        let wake_at = {
            let mut scheduler = shared.scheduler();
            while let Some(departure) = scheduler.next(Instant::now()) {
                let publisher = Arc::clone(&publisher);
                requests.spawn(async move {
                    let fates = publisher.publish(&departure).await;
                    (departure, fates)
                });
            }
            scheduler.wake_at()
        };
        tokio::select! {
            Some(done) = requests.join_next() => {
                let (departure, fates) =
                    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
                shared.scheduler().on_response(departure, fates, Instant::now());
            }
            () = shared.handed_over.notified() => {}
            () = sleep_until(wake_at) => {}
        }
    }
}

async fn sleep_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}
