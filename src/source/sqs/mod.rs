//! SQS: messages of a queue become deliveries, and are deleted once they are durable.
//!
//! ```text
//! loop (1 to receivers_max) ─ receive up to 10 ─▶ work: decode, decide, append ─▶ durable
//!        ▲                                              │ hidden for longer        │
//!        └─────────── more while receives are full ─────┘                          ▼
//!                                                        deletions: batches of 10, tried again
//! ```
//!
//! Invariants: a message is deleted only after [`Intake`] has answered for it; one that could not
//! be stored is left, and comes back; nothing is received while the spool is nearly full; every
//! failure waits before it is tried again. The queue's policy stands in for a signature. Only the
//! files below `sqs/` know the SDK.

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
mod together;
mod topic_questions;

pub use options::{OnMalformed, SqsOptions};

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_sdk_sqs::types::Message as SdkMessage;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use self::batch::Received;
use self::deletions::Deletions;
use self::message::QueueMessage;
use self::metrics::QueueMetrics;
use self::queue::{Action, Queue};
use self::queue_error::QueueError;
use self::queue_health::QueueHealth;
use self::scale::{Next, Scale};
use self::stored_ids::StoredIds;
use self::topic_questions::TopicQuestions;
use super::backoff::backoff;
use super::{Intake, SourceIntake};
use crate::aws::Aws;
use crate::health::SourceStatus;
use crate::provider::BodyLimits;
use crate::telemetry::Metrics;

/// How long a receive under way is waited for at a stop. A queue with messages answers at once;
/// what it hands out to a receive that was given up stays hidden until its time-out.
const LAST_RECEIVE: Duration = Duration::from_secs(1);
/// The shortest time between two receives that bring nothing, for whatever answers a long poll
/// without waiting.
const EMPTY_EVERY: Duration = Duration::from_secs(1);
/// How often it is looked whether the spool has room again.
const ROOM_EVERY: Duration = Duration::from_millis(250);

/// A source that reads a queue.
pub struct SqsSource {
    source: Arc<Source>,
    receivers_max: usize,
}

/// What all loops of one source share.
struct Source {
    queue: Queue,
    intake: Intake,
    intake_source: SourceIntake,
    limits: BodyLimits,
    visibility: Duration,
    on_malformed: OnMalformed,
    asked: TopicQuestions,
    condition: QueueHealth,
    tally: QueueMetrics,
    scale: Scale,
    stored: StoredIds,
    paused: AtomicBool,
}

impl SqsSource {
    /// Prepares a queue to be read. Nothing is asked of it yet, so it may be out of reach.
    pub async fn new(
        config: SqsOptions,
        source: SourceIntake,
        intake: Intake,
        limits: BodyLimits,
        aws: &Aws,
        status: Arc<SourceStatus>,
        metrics: &Metrics,
    ) -> Self {
        let labels = crate::telemetry::Source { source: (**source.name()).into() };
        let degraded = metrics.sqs.degraded.get_or_create_owned(&labels);
        let source = Source {
            queue: Queue::new(&config, aws).await,
            asked: TopicQuestions::new(source.name(), config.confirm_topics, aws, metrics).await,
            condition: QueueHealth::new(source.name(), status, degraded, config.visibility_timeout),
            tally: QueueMetrics::new(source.name(), metrics),
            intake,
            intake_source: source,
            limits,
            visibility: config.visibility_timeout,
            on_malformed: config.on_malformed,
            scale: Scale::new(config.receivers_max),
            stored: StoredIds::default(),
            paused: AtomicBool::new(false),
        };
        Self { source: Arc::new(source), receivers_max: config.receivers_max }
    }

    /// Reads until told to stop; then finishes what was received.
    pub async fn run(self, stop: CancellationToken) {
        let Self { source, receivers_max } = self;
        let (name, queue) = (source.intake_source.name(), source.queue.url());
        tracing::info!(source = &**name, queue, receivers_max, "reading a queue");
        let (deletions, mut deleter) = Deletions::start(Arc::clone(&source), receivers_max, stop.clone());
        let mut loops = JoinSet::new();
        while !stop.is_cancelled() {
            while loops.len() < source.scale.running() {
                loops.spawn(receive(Arc::clone(&source), deletions.clone(), stop.clone()));
            }
            source.tally.receivers.set(loops.len() as i64);
            tokio::select! {
                () = source.scale.grown() => {}
                () = stop.cancelled() => {}
                Some(ended) = loops.join_next() => if ended.is_err() {
                    // What it held comes back. Should it happen again at once, then not at once.
                    tracing::error!(source = &**name, "a receive loop broke down");
                    source.scale.lost();
                    pause(Instant::now() + backoff(ATTEMPTS_AFTER_A_BREAKDOWN), &stop).await;
                },
                // It ends by itself only if it broke down, and without it everything comes back for ever.
                Err(broken) = &mut deleter => std::panic::resume_unwind(broken.into_panic()),
            }
        }
        while loops.join_next().await.is_some() {}
        drop(deletions);
        // One that panicked now has deleted what it has deleted; there is nothing else to save.
        let _ = deleter.await;
        source.tally.receivers.set(0);
    }
}

/// The backoff after a loop broke down: that of the fourth failure in a row.
const ATTEMPTS_AFTER_A_BREAKDOWN: u32 = 4;

/// One receive loop.
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
                failures = 0;
                source.condition.fine(Action::Receive);
                source.tally.received(messages.len());
                let next = source.scale.received(messages.len());
                if messages.is_empty() {
                    pause(begun + EMPTY_EVERY, &stop).await;
                } else {
                    let messages = messages.into_iter().filter_map(QueueMessage::new).collect();
                    Received::new(Arc::clone(&source), messages).run(&deletions).await;
                }
                next
            }
            Err(trouble) => {
                failures += 1;
                source.tally.failed(trouble.reason);
                source.condition.trouble(Action::Receive, &trouble);
                let next = source.scale.idle();
                if next == Next::Go {
                    pause(Instant::now() + backoff(failures), &stop).await;
                }
                next
            }
        };
        if next == Next::End {
            return;
        }
    }
}

/// Waits, but not beyond a stop.
async fn pause(until: Instant, stop: &CancellationToken) {
    tokio::select! {
        () = sleep_until(until) => {}
        () = stop.cancelled() => {}
    }
}

impl Source {
    /// Receives; `None` at a stop.
    async fn receive_once(&self, stop: &CancellationToken) -> Option<Result<Vec<SdkMessage>, QueueError>> {
        self.tally.called(Action::Receive);
        let mut receiving = Box::pin(self.queue.receive(!self.condition.is_receiving()));
        tokio::select! {
            received = &mut receiving => Some(received),
            () = stop.cancelled() => timeout(LAST_RECEIVE, receiving).await.ok(),
        }
    }

    /// Whether there is room for what a receive may bring. Told when it changes.
    fn has_room(&self) -> bool {
        let before = self.paused.load(Ordering::Relaxed);
        let room = self.intake.has_room_to_spare(before);
        if self.paused.swap(!room, Ordering::Relaxed) == room {
            let source = &**self.intake_source.name();
            self.tally.paused.set(i64::from(!room));
            if room {
                tracing::info!(source, "the spool has room: the queue is read again");
            } else {
                tracing::warn!(source, "the spool is nearly full: the queue is not read until there is room");
            }
        }
        room
    }
}
