//! Metrics of the sources that read an SQS queue.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use super::registering::TableRegistry;
use super::table::{MetricRow, counter, gauge, histogram};
use super::{HistogramFamily, Source, SourceAction, SourceReason};

/// Their rows of the table.
pub(super) const ROWS: &[MetricRow] = &[
    counter("sqs_calls_total", &["source", "action"], "Calls to SQS by action, also failed ones")
        .advice("what is billed"),
    counter("sqs_errors_total", &["source", "reason"], "Calls to SQS that failed, by reason"),
    counter("sqs_empty_receives_total", &["source"], "Receive calls that returned no message"),
    counter("sqs_messages_received_total", &["source"], "Messages received from the queue"),
    counter(
        "sqs_messages_deleted_total",
        &["source"],
        "Messages deleted from the queue, each durable before",
    ),
    counter("sqs_messages_left_total", &["source", "reason"], "Messages left in the queue, by reason"),
    counter(
        "sqs_delete_failures_total",
        &["source", "reason"],
        "Messages that a delete call did not delete, by reason",
    ),
    counter("sqs_heartbeats_total", &["source"], "Messages whose visibility timeout was extended"),
    counter(
        "sqs_heartbeat_failures_total",
        &["source", "reason"],
        "Messages whose visibility timeout could not be extended, by reason",
    ),
    histogram("sqs_receive_count", &["source"], "How often each received message had been received")
        .advice("above ten something keeps a message from being settled"),
    histogram(
        "sqs_message_age_seconds",
        &["source"],
        "Time from the sending of a message until its event was durable",
    )
    .advice(
        "how much still waits, and how old that is, CloudWatch knows: \
                 `ApproximateNumberOfMessagesVisible`, `ApproximateAgeOfOldestMessage`",
    ),
    gauge("sqs_receivers", &["source"], "Running receive loops of the source"),
    gauge(
        "sqs_paused",
        &["source"],
        "1 while no message is received because the spool is nearly full, else 0",
    ),
];

/// Buckets for the receive count of a message, up to where an operator must look.
const RECEIVE_COUNTS: [f64; 8] = [1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0];

/// Buckets for the age of a message in seconds, from a busy loop to the days that a queue can keep
/// it.
const AGE_SECONDS: [f64; 10] = [0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 300.0, 3600.0, 21_600.0, 86_400.0];

/// The metrics of sources that read an SQS queue.
#[derive(Debug)]
pub struct SqsMetrics {
    /// Calls by action, also failed ones, which AWS bills too.
    pub calls: Family<SourceAction, Counter>,
    /// Calls that failed, by reason.
    pub errors: Family<SourceReason, Counter>,
    /// Receive calls that returned no message.
    pub empty: Family<Source, Counter>,
    /// Number of messages received.
    pub received: Family<Source, Counter>,
    /// Messages deleted from the queue, each of them durable before.
    pub deleted: Family<Source, Counter>,
    /// Messages that a delete call did not delete, by reason.
    pub delete_failures: Family<SourceReason, Counter>,
    /// Messages whose visibility timeout was extended.
    pub extended: Family<Source, Counter>,
    /// Messages whose visibility timeout could not be extended, by reason.
    pub extend_failures: Family<SourceReason, Counter>,
    /// Messages left in the queue, by reason.
    pub left: Family<SourceReason, Counter>,
    /// How often each received message had been received.
    pub receive_count: HistogramFamily<Source>,
    /// Seconds from the sending of a message until its event was durable here.
    pub age: HistogramFamily<Source>,
    /// Number of running receive loops.
    pub receivers: Family<Source, Gauge>,
    /// 1 while the queue or a call to it has a problem, else 0.
    pub degraded: Family<Source, Gauge>,
    /// 1 while no message is received because the spool is nearly full, else 0.
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

    pub(super) fn register(&self, table: &mut TableRegistry) {
        table.add("sqs_calls_total", self.calls.clone());
        table.add("sqs_errors_total", self.errors.clone());
        table.add("sqs_empty_receives_total", self.empty.clone());
        table.add("sqs_messages_received_total", self.received.clone());
        table.add("sqs_messages_deleted_total", self.deleted.clone());
        table.add("sqs_delete_failures_total", self.delete_failures.clone());
        table.add("sqs_heartbeats_total", self.extended.clone());
        table.add("sqs_heartbeat_failures_total", self.extend_failures.clone());
        table.add("sqs_messages_left_total", self.left.clone());
        table.add("sqs_receive_count", self.receive_count.clone());
        table.add("sqs_message_age_seconds", self.age.clone());
        table.add("sqs_receivers", self.receivers.clone());
        table.add("source_degraded", self.degraded.clone());
        table.add("sqs_paused", self.paused.clone());
    }
}
