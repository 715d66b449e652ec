//! The SQS source: messages of a queue become deliveries, and are deleted once they are durable.
//!
//! ```text
//! loop (1 to receivers_max) ─ receive up to 10 ─▶ work: decode, decide, append ─▶ durable
//!        ▲                                              │ hidden for longer        │
//!        └─────────── more while receives are full ─────┘                          ▼
//!                                                        deletions: batches of 10, tried again
//! ```
//!
//! Invariants: a message is deleted only after [`Intake`] has made it durable, and the sinks that the source
//! waits for have accepted it, or has filtered it. A message that could not be stored is left in the queue,
//! and comes back. No message is received while the spool is nearly full. Every failed call waits before it
//! is tried again. The queue's policy stands in for a signature. Only this module and the ones below it know
//! the SDK.

mod action;
mod admin;
mod batch;
mod deletions;
mod message;
mod metrics;
pub mod options;
mod queue;
mod queue_error;
mod queue_health;
mod scale;
mod stored_ids;
mod topic_questions;

pub use admin::{QueueAdminError, queue_attributes};
pub(super) use message::{EXTENSIONS, is_attribute_name};
pub use options::{OnMalformed, SqsOptions};

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_sdk_sqs::types::Message as SdkMessage;
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use self::action::Action;
use self::batch::ReceivedMessages;
use self::deletions::Deletions;
use self::message::QueueMessage;
use self::metrics::QueueMetrics;
use self::queue::Queue;
use self::queue_error::QueueError;
use self::queue_health::QueueHealth;
use self::scale::{Next, Scale};
use self::stored_ids::StoredIds;
use self::topic_questions::TopicQuestions;
use super::sns::Subscriptions;
use super::{Intake, SourceIntake};
use crate::aws::Aws;
use crate::backoff::SOURCE_CALL;
use crate::health::SourceStatus;
use crate::provider::BodyLimits;
use crate::telemetry::{Episode, Metrics};

/// How long a stop waits for a receive under way. A queue with messages answers at once; messages that
/// the queue hands out to an abandoned receive stay hidden until their visibility time-out.
const LAST_RECEIVE: Duration = Duration::from_secs(1);
/// The shortest time between the beginnings of two receives of which the first brought no message: some
/// servers answer a long poll without waiting.
const EMPTY_EVERY: Duration = Duration::from_secs(1);
/// How long a receive loop waits before it checks again whether the spool has room.
const ROOM_EVERY: Duration = Duration::from_millis(250);

/// A source that reads a queue.
pub struct SqsSource {
    source: Arc<Source>,
    receivers_max: usize,
}

/// What all loops and tasks of one SQS source share.
struct Source {
    queue: Queue,
    intake: Arc<ArcSwap<Intake>>,
    intake_source: Arc<SourceIntake>,
    limits: BodyLimits,
    visibility: Duration,
    on_malformed: OnMalformed,
    questions: TopicQuestions,
    health: QueueHealth,
    metrics: QueueMetrics,
    scale: Scale,
    stored: StoredIds,
    /// The time in which the loops receive nothing, because the spool is nearly full.
    paused: Mutex<Episode<()>>,
}

/// What an SQS source calls AWS with.
pub struct QueueClients {
    queue: Queue,
    subscriptions: Subscriptions,
}

impl QueueClients {
    /// Clients for a source with these options. They make no call yet, so the queue need not be reachable.
    pub async fn new(options: &SqsOptions, aws: &Aws) -> Self {
        let queue = Queue::new(options, aws).await;
        Self { queue, subscriptions: Subscriptions::new(&options.confirm_topics, aws).await }
    }
}

/// What takes the messages of a running source. Each receive takes it once, so that a message is judged by
/// one selection.
#[derive(Clone)]
pub struct QueueIntake(Arc<ArcSwap<Intake>>);

impl QueueIntake {
    /// Has another intake take the messages of later receives.
    pub fn replace(&self, intake: Intake) {
        self.0.store(Arc::new(intake));
    }
}

impl SqsSource {
    /// Prepares the source.
    pub fn new(
        config: SqsOptions,
        clients: QueueClients,
        source: Arc<SourceIntake>,
        intake: Intake,
        limits: BodyLimits,
        status: Arc<SourceStatus>,
        metrics: &Metrics,
    ) -> Self {
        let QueueClients { queue, subscriptions } = clients;
        let labels = crate::telemetry::Source { source: (**source.name()).into() };
        let degraded = metrics.sqs.degraded.get_or_create_owned(&labels);
        let source = Source {
            queue,
            questions: TopicQuestions::new(source.name(), config.confirm_topics, subscriptions, metrics),
            health: QueueHealth::new(source.name(), status, degraded, config.visibility_timeout),
            metrics: QueueMetrics::new(source.name(), metrics),
            intake: Arc::new(ArcSwap::from_pointee(intake)),
            intake_source: source,
            limits,
            visibility: config.visibility_timeout,
            on_malformed: config.on_malformed,
            scale: Scale::new(config.receivers_max),
            stored: StoredIds::default(),
            paused: Mutex::default(),
        };
        Self { source: Arc::new(source), receivers_max: config.receivers_max }
    }

    /// What takes its messages.
    pub fn intake(&self) -> QueueIntake {
        QueueIntake(Arc::clone(&self.source.intake))
    }

    /// Removes the numbers that say how a source stands now. What it has counted stays.
    pub fn remove_gauges(source: &str, metrics: &Metrics) {
        let labels = crate::telemetry::Source { source: source.into() };
        for gauges in [&metrics.sqs.receivers, &metrics.sqs.degraded, &metrics.sqs.paused] {
            gauges.remove(&labels);
        }
    }

    /// Receives until `stop` is cancelled; then finishes the messages that were received.
    pub async fn run(self, stop: CancellationToken) {
        let Self { source, receivers_max } = self;
        let (name, queue) = (source.intake_source.name(), source.queue.url());
        tracing::info!(source = &**name, queue, receivers_max, "the source begins to receive from its queue");
        source.health.begin();
        let (deletions, mut deleter) = Deletions::start(Arc::clone(&source), receivers_max, stop.clone());
        let mut loops = JoinSet::new();
        while !stop.is_cancelled() {
            while loops.len() < source.scale.running() {
                loops.spawn(receive(Arc::clone(&source), deletions.clone(), stop.clone()));
            }
            source.metrics.receivers.set(loops.len() as i64);
            tokio::select! {
                () = source.scale.grown() => {}
                () = stop.cancelled() => {}
                Some(ended) = loops.join_next() => if ended.is_err() {
                    // Its messages come back to the queue. A pause keeps a loop that always panics from
                    // panicking without rest.
                    tracing::error!(
                        source = &**name,
                        "a receive loop of this source panicked: its messages come back to the queue, and \
                         another loop replaces it"
                    );
                    source.scale.lost();
                    pause(Instant::now() + SOURCE_CALL.random_wait(ATTEMPTS_AFTER_A_BREAKDOWN), &stop).await;
                },
                // The deleter ends before the loops only if it panicked, and without it no message is
                // ever deleted.
                Err(broken) = &mut deleter => std::panic::resume_unwind(broken.into_panic()),
            }
        }
        while loops.join_next().await.is_some() {}
        drop(deletions);
        // If the deleter panicked now, the messages that it did not delete come back as duplicates.
        let _ = deleter.await;
        source.metrics.receivers.set(0);
    }
}

/// A receive loop that panicked is replaced after the backoff of this many failures in a row.
const ATTEMPTS_AFTER_A_BREAKDOWN: u32 = 4;

/// Runs one receive loop until the stop, or until fewer loops are needed.
async fn receive(source: Arc<Source>, deletions: Deletions, stop: CancellationToken) {
    let mut failures = 0;
    while !stop.is_cancelled() {
        if !source.has_room() {
            if source.scale.idle() == Next::End {
                return;
            }
            pause(Instant::now() + ROOM_EVERY, &stop).await;
            continue;
        }
        let begun = Instant::now();
        let Some(received) = source.receive_once(&stop).await else { return };
        let next = match received {
            Ok(messages) => {
                source.health.succeeded(Action::Receive);
                source.metrics.received(messages.len());
                let mut next = source.scale.received(messages.len());
                let mut late = false;
                if messages.is_empty() {
                    pause(begun + EMPTY_EVERY, &stop).await;
                } else {
                    let messages = messages.into_iter().filter_map(QueueMessage::new).collect();
                    late = ReceivedMessages::new(Arc::clone(&source), messages).run(&deletions).await;
                }
                // Messages that are received while a sink is away use up the receives that the queue's own
                // redrive policy allows them.
                failures = if late { failures + 1 } else { 0 };
                if late && next == Next::Go {
                    next = source.scale.idle();
                    pause(Instant::now() + SOURCE_CALL.random_wait(failures), &stop).await;
                }
                next
            }
            Err(error) => {
                failures += 1;
                source.metrics.failed(error.reason);
                source.health.failed(Action::Receive, &error);
                let next = source.scale.idle();
                if next == Next::Go {
                    pause(Instant::now() + SOURCE_CALL.random_wait(failures), &stop).await;
                }
                next
            }
        };
        if next == Next::End {
            return;
        }
    }
}

/// Waits until this moment, or until the stop if that comes first.
async fn pause(until: Instant, stop: &CancellationToken) {
    tokio::select! {
        () = sleep_until(until) => {}
        () = stop.cancelled() => {}
    }
}

impl Source {
    /// Makes one receive call; `None` if the stop cut it short.
    async fn receive_once(&self, stop: &CancellationToken) -> Option<Result<Vec<SdkMessage>, QueueError>> {
        self.metrics.called(Action::Receive);
        let mut receiving = Box::pin(self.queue.receive(!self.health.is_receiving()));
        tokio::select! {
            received = &mut receiving => Some(received),
            () = stop.cancelled() => timeout(LAST_RECEIVE, receiving).await.ok(),
        }
    }

    /// Whether the spool has room for the messages of one receive. A change is logged.
    fn has_room(&self) -> bool {
        let (source, now) = (&**self.intake_source.name(), Instant::now().into_std());
        let mut paused = self.paused.lock();
        let room = self.intake.load().has_room_to_spare(paused.is_ongoing());
        self.metrics.paused.set(i64::from(!room));
        if !room && paused.happens((), now).is_some() {
            tracing::warn!(
                source,
                "the spool is nearly full: the source receives nothing from its queue until it has room"
            );
        } else if room && let Some(end) = paused.over(now) {
            let seconds = end.seconds();
            tracing::info!(source, seconds, "the spool has room again: the source receives from its queue");
        }
        room
    }
}
