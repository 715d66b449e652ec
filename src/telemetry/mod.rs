//! The metrics of the bridge and the format of its log. No other module knows the exporter.
//!
//! Every label has a bounded set of values: names of sources and sinks come from the configuration,
//! families from the catalogue, reasons and verdicts from fixed lists. An id or an event type from a
//! request is never a label.

mod ack;
mod episode;
mod exposition;
mod limit;
mod log;
mod readings;
mod short_line;
mod sqs;
mod timeline;

use std::sync::atomic::AtomicU64;
use std::time::SystemTime;

use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

pub use ack::AckMetrics;
pub use episode::{Episode, EpisodeEnd, EpisodeNews, EpisodeStage};
pub use exposition::Exposition;
pub use limit::LogLimit;
pub use log::{Log, LogError, SHOWN_CHARS_MAX, Shown, init_logging, lines_dropped, steers_terminal};
pub use readings::{LabelsWanted, Readings};
pub use sqs::SqsMetrics;
pub use timeline::TimelineMetrics;

/// A gauge in seconds or another fractional unit.
pub type FloatGauge = Gauge<f64, AtomicU64>;
type HistogramFamily<L> = Family<L, Histogram, fn() -> Histogram>;

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
    pub ack_duration: HistogramFamily<Source>,
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
    /// Records that a sink accepted.
    pub delivered: Family<SinkFamily, Counter>,
    /// Seconds from an event's arrival to the sink's acceptance.
    pub delivery_duration: HistogramFamily<Sink>,
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
        let mut registry = Registry::with_prefix("fanbridge");
        let fast = || Histogram::new(exponential_buckets(0.000_05, 2.0, 18));
        let slow = || Histogram::new(exponential_buckets(0.001, 2.0, 20));
        let metrics = Self {
            connections: Family::default(),
            connections_refused: Family::default(),
            requests: Family::default(),
            events: Family::default(),
            refused: Family::default(),
            ack_duration: Family::new_with_constructor(fast),
            secret_used: Family::default(),
            secret_reload_failures: Family::default(),
            clock_skew: Family::default(),
            id_reuse: Family::default(),
            keyless: Family::default(),
            sqs: SqsMetrics::new(),
            sns_certificates: Family::default(),
            sns_subscriptions: Family::default(),
            ack: AckMetrics::new(),
            timeline: TimelineMetrics::new(),
            delivered: Family::default(),
            delivery_duration: Family::new_with_constructor(slow),
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
        metrics.register(&mut registry);
        Self { registry, ..metrics }
    }

    fn register(&self, r: &mut Registry) {
        self.register_front(r);
        self.sqs.register(r);
        self.ack.register(r);
        self.register_sinks(r);
        let dropped = "Log lines dropped because stderr was not read fast enough";
        r.register("log_lines_dropped", dropped, self.log_lines_dropped.clone());
        self.register_spool(r);
        self.register_shared_window(r);
        self.timeline.register(r);
        let build = Family::<Build, Gauge>::default();
        build.get_or_create(&Build { version: env!("CARGO_PKG_VERSION").into() }).set(1);
        r.register("build_info", "Always 1; the label has the running version", build);
        let start = FloatGauge::default();
        start.set(SystemTime::UNIX_EPOCH.elapsed().map_or(0.0, |since| since.as_secs_f64()));
        let since = "Start of the process in Unix time";
        r.register_with_unit("start_time", since, Unit::Seconds, start);
    }

    fn register_front(&self, r: &mut Registry) {
        r.register("connections", "Open connections, by listener", self.connections.clone());
        let refused = "Connections that the listener refused or closed before a request, by reason";
        r.register("connections_refused", refused, self.connections_refused.clone());
        r.register("requests", "HTTP answers, by source and status code", self.requests.clone());
        r.register("events", "Deliveries decided about, by source, family and verdict", self.events.clone());
        let refused = "Deliveries refused with a 4xx or 5xx answer, by source and reason";
        r.register("refused", refused, self.refused.clone());
        let ack = "Time from the end of a request's headers to its successful answer";
        r.register_with_unit("ack_duration", ack, Unit::Seconds, self.ack_duration.clone());
        let secrets = "Deliveries by the configured secret that verified them";
        r.register("signature_secret_used", secrets, self.secret_used.clone());
        let unread = "Reloads of a secret's file that found no usable secret; the secret before stays in use";
        r.register("secret_reload_failures", unread, self.secret_reload_failures.clone());
        let skew = "Sender's clock minus this machine's clock, from the newest signed timestamp";
        r.register_with_unit("clock_skew", skew, Unit::Seconds, self.clock_skew.clone());
        let reuse = "Events whose unsigned delivery id was seen with another signed body, or their body \
                     under another id";
        r.register("id_reuse", reuse, self.id_reuse.clone());
        r.register("events_without_key", "Accepted events without a partition key", self.keyless.clone());
        let fetches = "Fetches of SNS signing certificates, by outcome";
        r.register("sns_certificate_fetches", fetches, self.sns_certificates.clone());
        let changes = "SNS subscriptions that were confirmed, failed, refused or ended";
        r.register("sns_subscriptions", changes, self.sns_subscriptions.clone());
    }

    fn register_sinks(&self, r: &mut Registry) {
        r.register("delivered", "Records that a sink accepted, by family", self.delivered.clone());
        let delivery = "Time from an event's arrival to the sink's acceptance";
        r.register_with_unit("delivery_duration", delivery, Unit::Seconds, self.delivery_duration.clone());
        let lag = "Records in the spool after the sink's cursor, selected or not";
        r.register("sink_lag_events", lag, self.sink_lag.clone());
        let pending = "Time since the arrival of the oldest record that the sink has not settled";
        r.register_with_unit("sink_oldest_pending", pending, Unit::Seconds, self.sink_oldest_pending.clone());
        let in_flight = "Records handed to a sink that have no outcome yet";
        r.register("sink_in_flight", in_flight, self.sink_in_flight.clone());
        r.register("sink_retries", "Records that a sink tried again, by reason", self.sink_retries.clone());
        let missed = "Records that a sink skipped because they are no longer in the log: damaged, expired or \
                      pruned by a full spool";
        r.register("sink_missed_records", missed, self.sink_missed.clone());
        let allowed = "Requests that a sink can have on their way at once, fewer while its service throttles";
        r.register("sink_requests_allowed", allowed, self.sink_requests_allowed.clone());
        r.register("sink_degraded", "1 while a sink is degraded, else 0", self.sink_degraded.clone());
        r.register("sink_paused", "1 while a sink is paused, else 0", self.sink_paused.clone());
        let dead = "Records that became dead letters, by sink and reason";
        r.register("dead_letters", dead, self.dead_letters.clone());
        let kept = "Dead letters kept now, by sink and reason";
        r.register("dead_letters_kept", kept, self.dead_letters_kept.clone());
        let dead = "Size of the payloads of the dead letters kept now";
        r.register_with_unit("dead_letters_kept", dead, Unit::Bytes, self.dead_letters_bytes.clone());
        let again = "Records published again after a fault, which consumers might get twice";
        r.register("possible_duplicates", again, self.possible_duplicates.clone());
    }

    fn register_spool(&self, r: &mut Registry) {
        r.register_with_unit("spool", "Size of the spool on disk", Unit::Bytes, self.spool_bytes.clone());
        let unverified = "Size of the segments that were taken by their footers and are not verified yet";
        r.register_with_unit("spool_unverified", unverified, Unit::Bytes, self.spool_unverified.clone());
        let limit = "Size that the spool is allowed to reach, from spool.bytes_max";
        r.register_with_unit("spool_limit", limit, Unit::Bytes, self.spool_limit.clone());
        let state = "Size of the state file, which has the cursors and dead letters";
        r.register_with_unit("state", state, Unit::Bytes, self.state_bytes.clone());
        let no_room = "Writes to the state file that found no space on the disk";
        r.register("state_no_room", no_room, self.state_no_room.clone());
        let fsync = "Time of one fdatasync of the log";
        r.register_with_unit("spool_fsync_duration", fsync, Unit::Seconds, self.spool_fsync.clone());
        let out = "How long the operation underway on the disk has taken so far, 0 if there is none";
        r.register_with_unit("spool_disk_outstanding", out, Unit::Seconds, self.disk_outstanding.clone());
        let corrupt = "Records in the log that were found damaged";
        r.register("spool_corrupt_records", corrupt, self.spool_corrupt.clone());
        let torn = "Unfinished records cut off the end of the log at a start, as after a crash";
        r.register("spool_torn_tails", torn, self.spool_torn.clone());
    }

    fn register_shared_window(&self, r: &mut Registry) {
        let skipped = "Deliveries admitted without asking the shared duplicate window, by reason";
        r.register("shared_window_skipped", skipped, self.shared_skipped.clone());
        let duplicates = "Deliveries that the shared duplicate window recognised as duplicates";
        r.register("shared_window_duplicates", duplicates, self.shared_duplicates.clone());
        let untold = "Durable events that could not be entered into the shared duplicate window";
        r.register("shared_window_untold", untold, self.shared_untold.clone());
        let degraded = "1 while the shared duplicate window cannot be used, else 0";
        r.register("shared_window_degraded", degraded, self.shared_degraded.clone());
        let round = "Time of one round trip to the shared duplicate window";
        r.register_with_unit("shared_window_round_duration", round, Unit::Seconds, self.shared_round.clone());
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
