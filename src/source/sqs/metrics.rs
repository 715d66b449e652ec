//! What is counted about one queue, with every handle looked up beforehand.

use std::time::SystemTime;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use super::queue::Action;
use crate::event::Timestamp;
use crate::telemetry::{LogLimit, Metrics, Shown, Source, SourceAction, SourceReason};

/// The receive count from which a message is suspicious: something keeps it from being settled.
const RECEIVED_OFTEN: u32 = 10;

/// The counters of one source.
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

    /// A call begins.
    pub(super) fn called(&self, action: Action) {
        self.calls[action as usize].inc();
    }

    /// A call failed as a whole; `reason` is from a fixed list.
    pub(super) fn failed(&self, reason: &'static str) {
        self.count(&self.errors, reason, 1);
    }

    /// A receive brought so many messages.
    pub(super) fn received(&self, messages: usize) {
        if messages == 0 {
            self.empty.inc();
        }
        self.received.inc_by(messages as u64);
    }

    /// A message came for the so-manieth time. One that comes again and again is told of.
    pub(super) fn received_again(&self, message: &str, receives: u32) {
        self.receive_count.observe(f64::from(receives));
        if receives >= RECEIVED_OFTEN
            && let Some(unsaid) = self.log_limit.admit("received_often")
        {
            let (source, message_id) = (&self.name, Shown(message));
            tracing::warn!(source, %message_id, receives, unsaid, "a message keeps coming back");
        }
    }

    /// A message that was sent at this time is durable now.
    pub(super) fn durable(&self, sent: Option<Timestamp>) {
        if let Some(sent) = sent {
            self.age.observe(Timestamp::from(SystemTime::now()).seconds_since(sent));
        }
    }

    /// An attempt did not delete so many messages.
    pub(super) fn not_deleted(&self, reason: &'static str, messages: usize) {
        self.count(&self.delete_failures, reason, messages);
    }

    /// An attempt did not keep so many messages hidden.
    pub(super) fn not_extended(&self, reason: &'static str, messages: usize) {
        self.count(&self.extend_failures, reason, messages);
    }

    /// A message stays in the queue; `reason` is from a fixed list.
    pub(super) fn left(&self, reason: &str) {
        self.count(&self.left, reason, 1);
        if let Some(unsaid) = self.log_limit.admit(reason) {
            tracing::warn!(source = self.name, reason, unsaid, "a message is left in the queue");
        }
    }

    fn count(&self, family: &Family<SourceReason, Counter>, reason: &str, count: usize) {
        let labels = SourceReason { source: self.name.clone(), reason: reason.into() };
        family.get_or_create(&labels).inc_by(count as u64);
    }
}
