//! What is seen from outside: metric names and the log's format. Nothing else knows the exporter.
//!
//! Every label is bounded: source and sink names come from the configuration, families from the
//! catalogue, reasons and verdicts from fixed lists; never an id, never a type from the wire.

mod exposition;
mod limit;
mod log;
mod sqs;

use std::sync::atomic::AtomicU64;
use std::time::SystemTime;

use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

pub use exposition::Exposition;
pub use limit::LogLimit;
pub use log::{Log, LogError, SHOWN_CHARS_MAX, Shown, init_logging, lines_dropped, steers_terminal};
pub use sqs::SqsMetrics;

/// A gauge in seconds or another fractional unit.
pub type FloatGauge = Gauge<f64, AtomicU64>;
type HistogramFamily<L> = Family<L, Histogram, fn() -> Histogram>;

macro_rules! labels {
    ($($name:ident { $($field:ident),+ })+) => {$(
        /// Labels of a metric.
        #[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
        pub struct $name { $(
            /// The label of the same name.
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

/// Every metric of the bridge. Cheap to share; handles are looked up once, where things are wired.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Open connections.
    pub connections: Family<Listener, Gauge>,
    /// Connections that ended before a source saw a request, by reason.
    pub connections_refused: Family<ListenerReason, Counter>,
    /// HTTP answers by status code.
    pub requests: Family<SourceCode, Counter>,
    /// Deliveries by verdict: `accepted`, `filtered`, `duplicate`, `quarantined`.
    pub events: Family<SourceFamilyVerdict, Counter>,
    /// Deliveries refused before admission, by reason.
    pub refused: Family<SourceReason, Counter>,
    /// From the first byte of a request to its answer.
    pub ack_duration: HistogramFamily<Source>,
    /// Deliveries by the secret that verified them, under the reference that says where it is kept.
    pub secret_used: Family<SourceSecret, Counter>,
    /// Times that a secret's file could not be read again, by the same reference.
    pub secret_reload_failures: Family<SourceSecret, Counter>,
    /// The sender's clock less ours, of the newest signed timestamp.
    pub clock_skew: Family<Source, FloatGauge>,
    /// An unsigned id header seen again with a different signed body.
    pub id_reuse: Family<Source, Counter>,
    /// Accepted events that carry no partition key.
    pub keyless: Family<Source, Counter>,
    /// Queues that are read.
    pub sqs: SqsMetrics,
    /// Fetches of the certificates that SNS signs with: `trusted`, `untrusted`, `unavailable`.
    pub sns_certificates: Family<SourceOutcome, Counter>,
    /// Requests to confirm a subscription (`confirmed`, `failed`, `refused`), and notices that one
    /// has `ended`.
    pub sns_subscriptions: Family<SourceOutcome, Counter>,
    /// Records a sink has for good.
    pub delivered: Family<SinkFamily, Counter>,
    /// From arrival to the sink's confirmation.
    pub delivery_duration: HistogramFamily<Sink>,
    /// Spool records behind the newest, whether or not the sink selects them.
    pub sink_lag: Family<Sink, Gauge>,
    /// Age of the oldest record that a sink has not settled.
    pub sink_oldest_pending: Family<Sink, FloatGauge>,
    /// Records handed to a sink that has not reported on them.
    pub sink_in_flight: Family<Sink, Gauge>,
    /// Records that were put off, or repeated in their place, by reason.
    pub sink_retries: Family<SinkReason, Counter>,
    /// Records that were not in the log any more when a sink got there: damage, retention, a full spool.
    pub sink_missed: Family<Sink, Counter>,
    /// Requests that a sink may have on their way at once; fewer when its service asks for that.
    pub sink_requests_allowed: Family<Sink, Gauge>,
    /// 1 while a sink is in trouble, else 0.
    pub sink_degraded: Family<Sink, Gauge>,
    /// Records kept because they cannot be delivered, by sink and reason.
    pub dead_letters: Family<SinkReason, Counter>,
    /// Dead letters that are kept now, by sink (`quarantine` for those without) and reason.
    pub dead_letters_kept: Family<SinkReason, Gauge>,
    /// Bytes that the payloads of the kept dead letters take.
    pub dead_letters_bytes: Gauge,
    /// Records published again after a fault, which may reach consumers twice.
    pub possible_duplicates: Family<Sink, Counter>,
    /// Lines that the log dropped because nobody read it.
    pub log_lines_dropped: Counter,
    /// Bytes the spool uses on disk.
    pub spool_bytes: Gauge,
    /// Bytes the spool may use.
    pub spool_limit: Gauge,
    /// Bytes of the file with cursors and dead letters.
    pub state_bytes: Gauge,
    /// Writes of cursors, dead letters and types seen that found no room.
    pub state_no_room: Counter,
    /// The time one fdatasync takes.
    pub spool_fsync: Histogram,
    /// How long what the disk was asked for, for the log or the state, has been out.
    pub disk_outstanding: FloatGauge,
    /// Records found damaged on disk.
    pub spool_corrupt: Counter,
    /// Torn tails cut at start.
    pub spool_torn: Counter,
    /// Deliveries that were taken in without the shared duplicate window's word, by reason.
    pub shared_skipped: Family<Reason, Counter>,
    /// Deliveries that the shared duplicate window knew to be durable.
    pub shared_duplicates: Counter,
    /// Durable events that the shared duplicate window was never told of.
    pub shared_untold: Counter,
    /// 1 while the shared duplicate window cannot be asked, else 0.
    pub shared_degraded: Gauge,
    /// The time that one round of questions to the shared duplicate window takes.
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
            delivered: Family::default(),
            delivery_duration: Family::new_with_constructor(slow),
            sink_lag: Family::default(),
            sink_oldest_pending: Family::default(),
            sink_in_flight: Family::default(),
            sink_retries: Family::default(),
            sink_missed: Family::default(),
            sink_requests_allowed: Family::default(),
            sink_degraded: Family::default(),
            dead_letters: Family::default(),
            dead_letters_kept: Family::default(),
            dead_letters_bytes: Gauge::default(),
            possible_duplicates: Family::default(),
            log_lines_dropped: Counter::default(),
            spool_bytes: Gauge::default(),
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
        self.register_sinks(r);
        let dropped = "Lines that the log dropped because nobody read it";
        r.register("log_lines_dropped", dropped, self.log_lines_dropped.clone());
        self.register_spool(r);
        self.register_shared_window(r);
        let build = Family::<Build, Gauge>::default();
        build.get_or_create(&Build { version: env!("CARGO_PKG_VERSION").into() }).set(1);
        r.register("build_info", "The running version", build);
        let start = FloatGauge::default();
        start.set(SystemTime::UNIX_EPOCH.elapsed().map_or(0.0, |since| since.as_secs_f64()));
        r.register_with_unit("start_time", "When the process started, in Unix time", Unit::Seconds, start);
    }

    fn register_front(&self, r: &mut Registry) {
        r.register("connections", "Open connections", self.connections.clone());
        let refused = "Connections turned away or closed by the listener itself, by reason";
        r.register("connections_refused", refused, self.connections_refused.clone());
        r.register("requests", "HTTP answers by status code", self.requests.clone());
        r.register("events", "Deliveries by verdict", self.events.clone());
        r.register("refused", "Deliveries refused, by reason", self.refused.clone());
        r.register_with_unit("ack_duration", "Request to answer", Unit::Seconds, self.ack_duration.clone());
        let secrets = "Deliveries by the secret that verified them";
        r.register("signature_secret_used", secrets, self.secret_used.clone());
        let unread = "Looks at a secret's file that found no usable secret: the one before stays in use";
        r.register("secret_reload_failures", unread, self.secret_reload_failures.clone());
        let skew = "The sender's clock less ours";
        r.register_with_unit("clock_skew", skew, Unit::Seconds, self.clock_skew.clone());
        r.register("id_reuse", "Events whose unsigned delivery id was seen with another signed body, or their body under another id", self.id_reuse.clone());
        r.register("events_without_key", "Accepted events that carry no partition key", self.keyless.clone());
        let fetches = "Fetches of SNS signing certificates, by outcome";
        r.register("sns_certificate_fetches", fetches, self.sns_certificates.clone());
        let changes = "SNS subscriptions confirmed, failed, refused and ended";
        r.register("sns_subscriptions", changes, self.sns_subscriptions.clone());
    }

    fn register_sinks(&self, r: &mut Registry) {
        r.register("delivered", "Records a sink has for good", self.delivered.clone());
        let delivery = "Arrival to the sink's confirmation";
        r.register_with_unit("delivery_duration", delivery, Unit::Seconds, self.delivery_duration.clone());
        r.register("sink_lag_events", "Spool records behind the newest", self.sink_lag.clone());
        let pending = "Age of the oldest unsettled record";
        r.register_with_unit("sink_oldest_pending", pending, Unit::Seconds, self.sink_oldest_pending.clone());
        r.register("sink_in_flight", "Records not yet reported on", self.sink_in_flight.clone());
        r.register("sink_retries", "Records put off or repeated, by reason", self.sink_retries.clone());
        let missed = "Records that were not in the log any more when a sink got there";
        r.register("sink_missed_records", missed, self.sink_missed.clone());
        let allowed = "Requests that a sink may have on their way at once";
        r.register("sink_requests_allowed", allowed, self.sink_requests_allowed.clone());
        r.register("sink_degraded", "1 while a sink is in trouble", self.sink_degraded.clone());
        r.register("dead_letters", "Records that could not be delivered", self.dead_letters.clone());
        r.register("dead_letters_kept", "Dead letters that are kept now", self.dead_letters_kept.clone());
        let dead = "Bytes of the kept dead letters' payloads";
        r.register_with_unit("dead_letters_kept", dead, Unit::Bytes, self.dead_letters_bytes.clone());
        let again = "Records published again after a fault";
        r.register("possible_duplicates", again, self.possible_duplicates.clone());
    }

    fn register_spool(&self, r: &mut Registry) {
        r.register_with_unit("spool", "Bytes the spool uses", Unit::Bytes, self.spool_bytes.clone());
        r.register_with_unit("spool_limit", "Bytes the spool may use", Unit::Bytes, self.spool_limit.clone());
        let state = "Bytes of the file with cursors and dead letters";
        r.register_with_unit("state", state, Unit::Bytes, self.state_bytes.clone());
        let no_room = "Writes of cursors and dead letters that found no room";
        r.register("state_no_room", no_room, self.state_no_room.clone());
        let fsync = "The time one fdatasync takes";
        r.register_with_unit("spool_fsync_duration", fsync, Unit::Seconds, self.spool_fsync.clone());
        let out = "How long what the disk was asked for has been out now, 0 if nothing is";
        r.register_with_unit("spool_disk_outstanding", out, Unit::Seconds, self.disk_outstanding.clone());
        r.register("spool_corrupt_records", "Records found damaged on disk", self.spool_corrupt.clone());
        r.register("spool_torn_tails", "Torn tails cut at start", self.spool_torn.clone());
    }

    fn register_shared_window(&self, r: &mut Registry) {
        let skipped = "Deliveries taken in without the shared duplicate window's word, by reason";
        r.register("shared_window_skipped", skipped, self.shared_skipped.clone());
        let duplicates = "Deliveries that the shared duplicate window knew to be durable";
        r.register("shared_window_duplicates", duplicates, self.shared_duplicates.clone());
        let untold = "Durable events that the shared duplicate window was never told of";
        r.register("shared_window_untold", untold, self.shared_untold.clone());
        let degraded = "1 while the shared duplicate window cannot be asked";
        r.register("shared_window_degraded", degraded, self.shared_degraded.clone());
        let round = "One round of questions to the shared duplicate window";
        r.register_with_unit("shared_window_round_duration", round, Unit::Seconds, self.shared_round.clone());
    }

    /// All metrics in a text format.
    pub fn expose(&self, format: Exposition) -> String {
        match format {
            Exposition::OpenMetrics => self.render(),
            Exposition::Prometheus => exposition::prometheus(&self.render()),
        }
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
