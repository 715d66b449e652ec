//! What is counted about the queues that are read.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::{HistogramFamily, Source, SourceAction, SourceReason};

/// How often messages are received, up to where somebody must look.
const RECEIVE_COUNTS: [f64; 8] = [1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0];

/// The age of a message: from what a busy loop takes to the days that a queue may keep it.
const AGE_SECONDS: [f64; 10] = [0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 300.0, 3600.0, 21_600.0, 86_400.0];

/// The metrics of sources that read an SQS queue.
#[derive(Debug)]
pub struct SqsMetrics {
    /// Calls by action, failed ones included: what the account is billed for.
    pub calls: Family<SourceAction, Counter>,
    /// Calls that failed, by reason.
    pub errors: Family<SourceReason, Counter>,
    /// Receives that brought nothing.
    pub empty: Family<Source, Counter>,
    /// Messages received.
    pub received: Family<Source, Counter>,
    /// Messages deleted, all of them durable before.
    pub deleted: Family<Source, Counter>,
    /// Messages that could not be deleted at an attempt, by reason.
    pub delete_failures: Family<SourceReason, Counter>,
    /// Messages that were kept hidden for longer.
    pub extended: Family<Source, Counter>,
    /// Messages that could not be kept hidden, by reason.
    pub extend_failures: Family<SourceReason, Counter>,
    /// Messages left in the queue, by reason.
    pub left: Family<SourceReason, Counter>,
    /// How often each message was received.
    pub receive_count: HistogramFamily<Source>,
    /// Seconds from a message's sending until it was durable here.
    pub age: HistogramFamily<Source>,
    /// Receive loops that run.
    pub receivers: Family<Source, Gauge>,
    /// 1 while something is wrong with the queue or its calls, else 0.
    pub degraded: Family<Source, Gauge>,
    /// 1 while nothing is received because the spool is nearly full, else 0.
    pub paused: Family<Source, Gauge>,
}

impl SqsMetrics {
    pub(super) fn new() -> Self {
        Self {
            calls: Family::default(),
            errors: Family::default(),
            empty: Family::default(),
            received: Family::default(),
            deleted: Family::default(),
            delete_failures: Family::default(),
            extended: Family::default(),
            extend_failures: Family::default(),
            left: Family::default(),
            receive_count: Family::new_with_constructor(|| Histogram::new(RECEIVE_COUNTS)),
            age: Family::new_with_constructor(|| Histogram::new(AGE_SECONDS)),
            receivers: Family::default(),
            degraded: Family::default(),
            paused: Family::default(),
        }
    }

    pub(super) fn register(&self, r: &mut Registry) {
        r.register("sqs_calls", "Calls of SQS by action", self.calls.clone());
        r.register("sqs_errors", "Calls of SQS that failed, by reason", self.errors.clone());
        r.register("sqs_empty_receives", "Receives that brought nothing", self.empty.clone());
        r.register("sqs_messages_received", "Messages received", self.received.clone());
        r.register("sqs_messages_deleted", "Messages deleted once durable", self.deleted.clone());
        let failed = "Messages that an attempt did not delete, by reason";
        r.register("sqs_delete_failures", failed, self.delete_failures.clone());
        r.register("sqs_heartbeats", "Messages kept hidden for longer", self.extended.clone());
        let failed = "Messages that an attempt did not keep hidden, by reason";
        r.register("sqs_heartbeat_failures", failed, self.extend_failures.clone());
        r.register("sqs_messages_left", "Messages left in the queue, by reason", self.left.clone());
        r.register("sqs_receive_count", "How often a message was received", self.receive_count.clone());
        let age = "Seconds from the sending of a message until it was durable";
        r.register("sqs_message_age_seconds", age, self.age.clone());
        r.register("sqs_receivers", "Receive loops that run", self.receivers.clone());
        r.register("source_degraded", "1 while a source is in trouble", self.degraded.clone());
        r.register("sqs_paused", "1 while the spool is too full to receive", self.paused.clone());
    }
}
