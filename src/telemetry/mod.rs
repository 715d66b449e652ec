//! The metrics of the bridge and the format of its log. No other module knows the exporter.
//!
//! Every label has a bounded set of values: names of sources and sinks come from the configuration,
//! families from the catalogue, reasons and verdicts from fixed lists. An id or an event type from a
//! request is never a label.

mod ack;
mod alerts;
mod dashboard;
mod episode;
mod exemplars;
mod exposition;
mod limit;
mod log;
mod otlp;
mod readings;
mod registering;
mod reload;
mod removed;
mod replay;
mod rules;
mod shapes;
mod short_line;
mod spans;
mod sqs;
mod table;
mod timeline;
mod trace_context;
mod trace_metrics;
mod trace_options;
mod traces;

use std::sync::atomic::AtomicU64;
use std::time::SystemTime;

use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

pub use ack::AckMetrics;
pub use dashboard::dashboard;
pub use episode::{Episode, EpisodeEnd, EpisodeNews, EpisodeStage};
pub use exemplars::DurationHistogram;
pub use exposition::Exposition;
pub use limit::LogLimit;
pub use log::{Log, LogError, SHOWN_CHARS_MAX, Shown, init_logging, lines_dropped, steers_terminal};
pub use readings::{LabelsWanted, Readings};
pub use registering::metrics_as_markdown;
pub use reload::ReloadMetrics;
pub use replay::ReplayMetrics;
pub use rules::{alert_rule_tests, alert_rules, alerts_as_markdown};
pub use shapes::ShapeMetrics;
pub use spans::{FinishedSpan, LINKS_MAX, SpanKind, SpanParent, SpanValue, Tracer};
pub use sqs::SqsMetrics;
pub use table::{GROUPS, MetricGroup, MetricKind, MetricRow, metric};
pub use timeline::TimelineMetrics;
pub use trace_context::{SpanId, TRACEPARENT, TRACESTATE, TraceContext, TraceId};
pub use trace_metrics::TraceMetrics;
pub use trace_options::{SAMPLE_RATIO, TraceOptions, TraceProtocol};
pub use traces::TraceExporter;

use registering::TableRegistry;

/// A gauge in seconds or another fractional unit.
pub type FloatGauge = Gauge<f64, AtomicU64>;
type HistogramFamily<L> = Family<L, Histogram, fn() -> Histogram>;
type DurationFamily<L> = Family<L, DurationHistogram, fn() -> DurationHistogram>;

macro_rules! labels {
    ($($name:ident { $($field:ident),+ })+) => {$(
        /// The label names of a metric.
        #[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
        pub struct $name { $(
            /// The label of this name.
            pub $field: String
        ),+ }
    )+};
}

labels! {
    SourceCode { source, code }
    SourceFamilyVerdict { source, family, verdict }
    SourceReason { source, reason }
    SourceOutcome { source, outcome }
    SourceSecret { source, secret }
    Reason { reason }
    SourceAction { source, action }
    Listener { listener }
    ListenerReason { listener, reason }
    Source { source }
    SinkFamily { sink, family }
    SinkReason { sink, reason }
    Sink { sink }
    Build { version }
}

/// Every metric of the bridge. Parts of the bridge look their handles up once, when they are created.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Open connections, by listener.
    pub connections: Family<Listener, Gauge>,
    /// Connections that the listener refused or closed before a source saw a request, by reason.
    pub connections_refused: Family<ListenerReason, Counter>,
    /// HTTP answers by status code.
    pub requests: Family<SourceCode, Counter>,
    /// Deliveries by verdict: `accepted`, `filtered`, `duplicate` or `quarantined`.
    pub events: Family<SourceFamilyVerdict, Counter>,
    /// Deliveries refused with a 4xx or 5xx answer, by reason.
    pub refused: Family<SourceReason, Counter>,
    /// Seconds from the end of a request's headers to its successful answer.
    pub ack_duration: DurationFamily<Source>,
    /// Deliveries by the secret that verified them; the label is the reference that says where it is
    /// kept.
    pub secret_used: Family<SourceSecret, Counter>,
    /// Failed attempts to read a secret's file again, by the same reference.
    pub secret_reload_failures: Family<SourceSecret, Counter>,
    /// Sender's clock minus this machine's clock in seconds, from the newest signed timestamp.
    pub clock_skew: Family<Source, FloatGauge>,
    /// Events whose unsigned id header was seen with a different signed body, or whose body was seen
    /// under another id.
    pub id_reuse: Family<Source, Counter>,
    /// Bodies that an operator's imports brought into the log.
    pub imported: Family<Source, Counter>,
    /// Accepted events without a partition key.
    pub keyless: Family<Source, Counter>,
    /// Metrics of the sources that read an SQS queue.
    pub sqs: SqsMetrics,
    /// Fetches of SNS signing certificates: `trusted`, `untrusted` or `unavailable`.
    pub sns_certificates: Family<SourceOutcome, Counter>,
    /// Requests to confirm an SNS subscription (`confirmed`, `failed`, `refused`), and notices that a
    /// subscription has `ended`.
    pub sns_subscriptions: Family<SourceOutcome, Counter>,
    /// Metrics of answers that wait for sinks.
    pub ack: AckMetrics,
    /// Metrics of the last steps that are kept in memory.
    pub timeline: TimelineMetrics,
    /// Metrics of the shapes of event types.
    pub shapes: ShapeMetrics,
    /// Metrics of replays.
    pub replay: ReplayMetrics,
    /// Metrics of the spans on their way to a collector.
    pub traces: TraceMetrics,
    /// The configuration that counts, and its reloads.
    pub reload: ReloadMetrics,
    /// Records that a sink accepted.
    pub delivered: Family<SinkFamily, Counter>,
    /// Seconds from an event's arrival to the sink's acceptance.
    pub delivery_duration: DurationFamily<Sink>,
    /// Records in the spool after the sink's cursor, whether or not the sink selects them.
    pub sink_lag: Family<Sink, Gauge>,
    /// Seconds since the arrival of the oldest record that a sink has not settled.
    pub sink_oldest_pending: Family<Sink, FloatGauge>,
    /// Records handed to a sink that have no outcome yet.
    pub sink_in_flight: Family<Sink, Gauge>,
    /// Records that a sink tried again, by reason.
    pub sink_retries: Family<SinkReason, Counter>,
    /// Records that a sink skipped because they are no longer in the log: damaged, expired or pruned
    /// by a full spool.
    pub sink_missed: Family<Sink, Counter>,
    /// Requests that a sink can have on their way at once; fewer while its service throttles.
    pub sink_requests_allowed: Family<Sink, Gauge>,
    /// 1 while a sink is degraded, else 0.
    pub sink_degraded: Family<Sink, Gauge>,
    /// 1 while a sink is paused, else 0.
    pub sink_paused: Family<Sink, Gauge>,
    /// Records that became dead letters, by sink and reason.
    pub dead_letters: Family<SinkReason, Counter>,
    /// Dead letters kept now, by sink (`quarantine` for those without one) and reason.
    pub dead_letters_kept: Family<SinkReason, Gauge>,
    /// Bytes of the payloads of the dead letters kept now.
    pub dead_letters_bytes: Gauge,
    /// Records published again that consumers might get twice.
    pub possible_duplicates: Family<Sink, Counter>,
    /// Log lines dropped because stderr was not read fast enough.
    pub log_lines_dropped: Counter,
    /// Bytes that the spool uses on disk.
    pub spool_bytes: Gauge,
    /// Bytes of the segments that a start took by their footers and that are not verified yet.
    pub spool_unverified: Gauge,
    /// Bytes that the spool is allowed to use (`spool.bytes_max`).
    pub spool_limit: Gauge,
    /// Bytes of the state file, which has the cursors and dead letters.
    pub state_bytes: Gauge,
    /// Writes to the state file that found no space on the disk.
    pub state_no_room: Counter,
    /// Seconds that one fdatasync of the log takes.
    pub spool_fsync: Histogram,
    /// Seconds that the operation underway on the disk, for log or state, has taken so far; 0 if
    /// there is none.
    pub disk_outstanding: FloatGauge,
    /// Records in the log that were found damaged.
    pub spool_corrupt: Counter,
    /// Unfinished records cut off the end of the log at a start.
    pub spool_torn: Counter,
    /// Deliveries admitted without asking the shared duplicate window, by reason.
    pub shared_skipped: Family<Reason, Counter>,
    /// Deliveries that the shared duplicate window recognised as duplicates.
    pub shared_duplicates: Counter,
    /// Durable events that could not be entered into the shared duplicate window.
    pub shared_untold: Counter,
    /// 1 while the shared duplicate window cannot be used, else 0.
    pub shared_degraded: Gauge,
    /// Seconds that one round trip to the shared duplicate window takes.
    pub shared_round: Histogram,
}

impl Metrics {
    /// All metrics at zero.
    pub fn new() -> Self {
        Self::with(exemplars::FAST, exemplars::SLOW)
    }

    /// The same with durations that name traces.
    pub fn with_exemplars() -> Self {
        Self::with(exemplars::FAST_TRACED, exemplars::SLOW_TRACED)
    }

    fn with(acks: fn() -> DurationHistogram, deliveries: fn() -> DurationHistogram) -> Self {
        let mut table = TableRegistry::new();
        let fast = || Histogram::new(exemplars::fast());
        let metrics = Self {
            connections: Family::default(),
            connections_refused: Family::default(),
            requests: Family::default(),
            events: Family::default(),
            refused: Family::default(),
            ack_duration: Family::new_with_constructor(acks),
            secret_used: Family::default(),
            secret_reload_failures: Family::default(),
            clock_skew: Family::default(),
            id_reuse: Family::default(),
            imported: Family::default(),
            keyless: Family::default(),
            sqs: SqsMetrics::new(),
            sns_certificates: Family::default(),
            sns_subscriptions: Family::default(),
            ack: AckMetrics::new(),
            timeline: TimelineMetrics::new(),
            shapes: ShapeMetrics::default(),
            replay: ReplayMetrics::default(),
            traces: TraceMetrics::default(),
            reload: ReloadMetrics::default(),
            delivered: Family::default(),
            delivery_duration: Family::new_with_constructor(deliveries),
            sink_lag: Family::default(),
            sink_oldest_pending: Family::default(),
            sink_in_flight: Family::default(),
            sink_retries: Family::default(),
            sink_missed: Family::default(),
            sink_requests_allowed: Family::default(),
            sink_degraded: Family::default(),
            sink_paused: Family::default(),
            dead_letters: Family::default(),
            dead_letters_kept: Family::default(),
            dead_letters_bytes: Gauge::default(),
            possible_duplicates: Family::default(),
            log_lines_dropped: Counter::default(),
            spool_bytes: Gauge::default(),
            spool_unverified: Gauge::default(),
            spool_limit: Gauge::default(),
            state_bytes: Gauge::default(),
            state_no_room: Counter::default(),
            spool_fsync: fast(),
            disk_outstanding: FloatGauge::default(),
            spool_corrupt: Counter::default(),
            spool_torn: Counter::default(),
            shared_skipped: Family::default(),
            shared_duplicates: Counter::default(),
            shared_untold: Counter::default(),
            shared_degraded: Gauge::default(),
            shared_round: fast(),
            registry: Registry::default(),
        };
        metrics.register(&mut table);
        Self { registry: table.into_registry(), ..metrics }
    }

    fn register(&self, table: &mut TableRegistry) {
        self.register_front(table);
        self.sqs.register(table);
        self.ack.register(table);
        self.register_sinks(table);
        table.add("log_lines_dropped_total", self.log_lines_dropped.clone());
        self.register_spool(table);
        self.register_shared_window(table);
        self.timeline.register(table);
        self.shapes.register(table);
        self.replay.register(table);
        self.traces.register(table);
        self.reload.register(table);
        let build = Family::<Build, Gauge>::default();
        build.get_or_create(&Build { version: env!("CARGO_PKG_VERSION").into() }).set(1);
        table.add("build_info", build);
        let start = FloatGauge::default();
        start.set(SystemTime::UNIX_EPOCH.elapsed().map_or(0.0, |since| since.as_secs_f64()));
        table.add("start_time_seconds", start);
    }

    fn register_front(&self, table: &mut TableRegistry) {
        table.add("connections", self.connections.clone());
        table.add("connections_refused_total", self.connections_refused.clone());
        table.add("requests_total", self.requests.clone());
        table.add("events_total", self.events.clone());
        table.add("refused_total", self.refused.clone());
        table.add("ack_duration_seconds", self.ack_duration.clone());
        table.add("signature_secret_used_total", self.secret_used.clone());
        table.add("secret_reload_failures_total", self.secret_reload_failures.clone());
        table.add("clock_skew_seconds", self.clock_skew.clone());
        table.add("id_reuse_total", self.id_reuse.clone());
        table.add("imported_total", self.imported.clone());
        table.add("events_without_key_total", self.keyless.clone());
        table.add("sns_certificate_fetches_total", self.sns_certificates.clone());
        table.add("sns_subscriptions_total", self.sns_subscriptions.clone());
    }

    fn register_sinks(&self, table: &mut TableRegistry) {
        table.add("delivered_total", self.delivered.clone());
        table.add("delivery_duration_seconds", self.delivery_duration.clone());
        table.add("sink_lag_events", self.sink_lag.clone());
        table.add("sink_oldest_pending_seconds", self.sink_oldest_pending.clone());
        table.add("sink_in_flight", self.sink_in_flight.clone());
        table.add("sink_retries_total", self.sink_retries.clone());
        table.add("sink_missed_records_total", self.sink_missed.clone());
        table.add("sink_requests_allowed", self.sink_requests_allowed.clone());
        table.add("sink_degraded", self.sink_degraded.clone());
        table.add("sink_paused", self.sink_paused.clone());
        table.add("dead_letters_total", self.dead_letters.clone());
        table.add("dead_letters_kept", self.dead_letters_kept.clone());
        table.add("dead_letters_kept_bytes", self.dead_letters_bytes.clone());
        table.add("possible_duplicates_total", self.possible_duplicates.clone());
    }

    fn register_spool(&self, table: &mut TableRegistry) {
        table.add("spool_bytes", self.spool_bytes.clone());
        table.add("spool_unverified_bytes", self.spool_unverified.clone());
        table.add("spool_limit_bytes", self.spool_limit.clone());
        table.add("state_bytes", self.state_bytes.clone());
        table.add("state_no_room_total", self.state_no_room.clone());
        table.add("spool_fsync_duration_seconds", self.spool_fsync.clone());
        table.add("spool_disk_outstanding_seconds", self.disk_outstanding.clone());
        table.add("spool_corrupt_records_total", self.spool_corrupt.clone());
        table.add("spool_torn_tails_total", self.spool_torn.clone());
    }

    fn register_shared_window(&self, table: &mut TableRegistry) {
        table.add("shared_window_skipped_total", self.shared_skipped.clone());
        table.add("shared_window_duplicates_total", self.shared_duplicates.clone());
        table.add("shared_window_untold_total", self.shared_untold.clone());
        table.add("shared_window_degraded", self.shared_degraded.clone());
        table.add("shared_window_round_duration_seconds", self.shared_round.clone());
    }

    /// The counters of a source's subscriptions, at 0 for each of these outcomes: of a series that begins
    /// with its first count, no alert could see the growth.
    pub fn subscriptions_of(&self, source: &str, outcomes: &[&str]) -> Family<SourceOutcome, Counter> {
        for outcome in outcomes {
            let labels = SourceOutcome { source: source.to_owned(), outcome: (*outcome).to_owned() };
            drop(self.sns_subscriptions.get_or_create(&labels));
        }
        self.sns_subscriptions.clone()
    }

    /// All metrics in this text format.
    pub fn expose(&self, format: Exposition) -> String {
        match format {
            Exposition::OpenMetrics => self.render(),
            Exposition::Prometheus => exposition::prometheus(&self.render()),
        }
    }

    /// The values of all metrics now.
    pub fn readings(&self) -> Readings {
        Readings::of(&self.render())
    }

    /// All metrics in the OpenMetrics text format.
    pub fn render(&self) -> String {
        let mut text = String::new();
        match encode(&mut text, &self.registry) {
            Ok(()) => text,
            Err(std::fmt::Error) => unreachable!("writing to a string cannot fail"),
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_that_dashboards_rely_on_is_rendered_under_its_name() {
        let metrics = Metrics::new();
        let sink = || "lake".to_owned();
        metrics.requests.get_or_create(&SourceCode { source: "a".into(), code: "200".into() }).inc();
        metrics.ack_duration.get_or_create(&Source { source: "a".into() }).observe(0.001);
        metrics.sink_lag.get_or_create(&Sink { sink: sink() }).set(3);
        metrics.dead_letters.get_or_create(&SinkReason { sink: sink(), reason: "invalid".into() }).inc();
        let text = metrics.render();
        for line in [
            r#"fanbridge_requests_total{source="a",code="200"} 1"#,
            r#"fanbridge_ack_duration_seconds_count{source="a"} 1"#,
            r#"fanbridge_sink_lag_events{sink="lake"} 3"#,
            r#"fanbridge_dead_letters_total{sink="lake",reason="invalid"} 1"#,
            "fanbridge_spool_bytes 0",
            "fanbridge_spool_unverified_bytes 0",
            "fanbridge_spool_limit_bytes 0",
            "fanbridge_dead_letters_kept_bytes 0",
            "fanbridge_spool_fsync_duration_seconds_count 0",
            concat!(r#"fanbridge_build_info{version=""#, env!("CARGO_PKG_VERSION"), r#""} 1"#),
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
