//! The metrics of one queue. Handles whose labels are known are looked up once.

use std::time::SystemTime;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use super::action::Action;
use crate::event::Timestamp;
use crate::telemetry::{LogLimit, Metrics, Shown, Source, SourceAction, SourceReason};

/// The receive count from which a message is logged: something keeps it from being stored and deleted.
const RECEIVED_OFTEN: u32 = 10;

/// The metrics of one SQS source.
#[derive(Debug)]
pub(super) struct QueueMetrics {
    name: String,
    calls: [Counter; Action::ALL.len()],
    errors: Family<SourceReason, Counter>,
    empty: Counter,
    received: Counter,
    receive_count: Histogram,
    age: Histogram,
    pub(super) deleted: Counter,
    delete_failures: Family<SourceReason, Counter>,
    pub(super) extended: Counter,
    extend_failures: Family<SourceReason, Counter>,
    left: Family<SourceReason, Counter>,
    pub(super) receivers: Gauge,
    pub(super) paused: Gauge,
    log_limit: LogLimit,
}

impl QueueMetrics {
    pub(super) fn new(name: &str, metrics: &Metrics) -> Self {
        let (sqs, source) = (&metrics.sqs, Source { source: name.into() });
        let calls = Action::ALL.map(|action| {
            let labels = SourceAction { source: name.into(), action: action.name().into() };
            sqs.calls.get_or_create_owned(&labels)
        });
        Self {
            name: name.into(),
            calls,
            errors: sqs.errors.clone(),
            empty: sqs.empty.get_or_create_owned(&source),
            received: sqs.received.get_or_create_owned(&source),
            receive_count: sqs.receive_count.get_or_create_owned(&source),
            age: sqs.age.get_or_create_owned(&source),
            deleted: sqs.deleted.get_or_create_owned(&source),
            delete_failures: sqs.delete_failures.clone(),
            extended: sqs.extended.get_or_create_owned(&source),
            extend_failures: sqs.extend_failures.clone(),
            left: sqs.left.clone(),
            receivers: sqs.receivers.get_or_create_owned(&source),
            paused: sqs.paused.get_or_create_owned(&source),
            log_limit: LogLimit::default(),
        }
    }

    /// Counts a call that begins.
    pub(super) fn called(&self, action: Action) {
        self.calls[action as usize].inc();
    }

    /// Counts a call that failed as a whole; `reason` is from a fixed list.
    pub(super) fn failed(&self, reason: &'static str) {
        self.count(&self.errors, reason, 1);
    }

    /// Counts a receive that brought so many messages.
    pub(super) fn received(&self, messages: usize) {
        if messages == 0 {
            self.empty.inc();
        }
        self.received.inc_by(messages as u64);
    }

    /// Notes how often the queue has handed a message out. From [`RECEIVED_OFTEN`] on this is logged.
    pub(super) fn received_again(&self, message: &str, receives: u32) {
        self.receive_count.observe(f64::from(receives));
        if receives >= RECEIVED_OFTEN
            && let Some(unsaid) = self.log_limit.admit("received_often")
        {
            let (source, message_id) = (&self.name, Shown(message));
            tracing::warn!(
                source,
                %message_id,
                receives,
                unsaid,
                "this message keeps coming back from the queue: see why it is not stored or not deleted"
            );
        }
    }

    /// Observes the age of a message that is durable now and was sent to the queue at this time.
    pub(super) fn durable(&self, sent: Option<Timestamp>) {
        if let Some(sent) = sent {
            self.age.observe(Timestamp::from(SystemTime::now()).seconds_since(sent));
        }
    }

    /// Counts messages that an attempt did not delete.
    pub(super) fn not_deleted(&self, reason: &'static str, messages: usize) {
        self.count(&self.delete_failures, reason, messages);
    }

    /// Counts messages that an attempt did not keep hidden.
    pub(super) fn not_extended(&self, reason: &'static str, messages: usize) {
        self.count(&self.extend_failures, reason, messages);
    }

    /// Counts a message that is left in the queue; `reason` is from a fixed list.
    pub(super) fn left(&self, reason: &str) {
        self.count(&self.left, reason, 1);
        if let Some(unsaid) = self.log_limit.admit(reason) {
            tracing::warn!(
                source = self.name,
                reason,
                unsaid,
                "a message is left in the queue and comes back after its visibility time-out"
            );
        }
    }

    fn count(&self, family: &Family<SourceReason, Counter>, reason: &str, count: usize) {
        let labels = SourceReason { source: self.name.clone(), reason: reason.into() };
        family.get_or_create(&labels).inc_by(count as u64);
    }
}
