//! Every metric, once: its name, its labels, what it is, and what to do about it. From here come the help of
//! `/metrics`, the tables in `docs/OPERATING.md`, and which names the alerts and the dashboard may use.

use super::reload::CONFIGURATION;

/// How a metric counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Up, from 0 at the start; its name ends with `_total`.
    Counter,
    /// Up and down.
    Gauge,
    /// How many values were how large.
    Histogram,
}

impl MetricKind {
    /// The word in `/metrics`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct MetricRow {
    /// Its name without `fanbridge_`, as it is scraped.
    pub name: &'static str,
    /// How it counts.
    pub kind: MetricKind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it is, without a full stop.
    pub help: &'static str,
    /// What to do about it, or what else to know; may be empty.
    pub advice: &'static str,
}

/// Metrics that are looked at together.
#[derive(Clone, Copy, Debug)]
pub struct MetricGroup {
    /// What they are of.
    pub title: &'static str,
    /// The metrics.
    pub rows: &'static [MetricRow],
}

type Name = &'static str;
type Labels = &'static [&'static str];
type Help = &'static str;

pub(super) const fn counter(name: Name, labels: Labels, help: Help) -> MetricRow {
    MetricRow { name, kind: MetricKind::Counter, labels, help, advice: "" }
}

pub(super) const fn gauge(name: Name, labels: Labels, help: Help) -> MetricRow {
    MetricRow { name, kind: MetricKind::Gauge, labels, help, advice: "" }
}

pub(super) const fn histogram(name: Name, labels: Labels, help: Help) -> MetricRow {
    MetricRow { name, kind: MetricKind::Histogram, labels, help, advice: "" }
}

impl MetricRow {
    pub(super) const fn advice(self, advice: &'static str) -> Self {
        Self { advice, ..self }
    }

    /// Its name and its labels: `requests_total{source,code}`.
    pub fn signature(&self) -> String {
        match self.labels {
            [] => self.name.to_owned(),
            labels => format!("{}{{{}}}", self.name, labels.join(",")),
        }
    }
}

/// The metric of this name.
pub fn metric(name: &str) -> Option<&'static MetricRow> {
    GROUPS.iter().flat_map(|group| group.rows).find(|row| row.name == name)
}

/// Every metric.
pub const GROUPS: &[MetricGroup] = &[
    MetricGroup { title: "What to watch", rows: WATCHED },
    MetricGroup { title: "Deliveries", rows: DELIVERIES },
    MetricGroup { title: "Sinks", rows: SINKS },
    MetricGroup { title: "Disk and process", rows: PROCESS },
    MetricGroup { title: "The configuration", rows: CONFIGURATION },
    MetricGroup { title: "SNS as a way in", rows: SNS },
    MetricGroup { title: "Each source that reads a queue", rows: super::sqs::ROWS },
    MetricGroup { title: "The duplicate window that replicas share", rows: SHARED_WINDOW },
];

const WATCHED: &[MetricRow] = &[
    counter("requests_total", &["source", "code"], "HTTP answers, by source and status code")
        .advice("503: see `/readyz`; a rise of 401: `refused_total` has the reason"),
    counter("refused_total", &["source", "reason"], "Deliveries refused with a 4xx or 5xx answer, by reason")
        .advice(
            "the reason that a 401 or 413 does not tell the caller: `missing_signature`, \
                 `wrong_signature`, `no_live_secret`, `body_bytes`, …",
        ),
    counter("events_total", &["source", "family", "verdict"], "Deliveries by family and verdict")
        .advice("zero for long: a provider stopped; `quarantined`: bodies that cannot be used"),
    histogram("ack_duration_seconds", &["source"], "Time from a request's head to its successful answer")
        .advice("its p99 follows the disk; providers give up after seconds"),
    gauge("sink_oldest_pending_seconds", &["sink"], "Age of the oldest record that the sink has not settled")
        .advice("**the** lag alert: how long the oldest undelivered event has waited"),
    gauge("sink_degraded", &["sink"], "1 while a sink is degraded, else 0")
        .advice("`/readyz` says what the cluster or the topic answers, such as `unknown_topic`"),
    counter("sink_retries_total", &["sink", "reason"], "Records that a sink tried again, by reason")
        .advice("also what a sink repeats by itself (`throttled`, `entry_failed`)"),
    gauge("source_degraded", &["source"], "1 while the source is degraded, else 0")
        .advice("of a source that reads a queue: `/readyz` says why"),
    gauge("dead_letters_kept", &["sink", "reason"], "Dead letters kept now, by sink and reason")
        .advice("above zero: `fanbridge dead groups`; those of `quarantine` never became an event"),
    gauge("spool_bytes", &[], "Size of the spool on disk").advice(
        "with `state_bytes` against `spool_limit_bytes`: retained events fill it by design; \
                 alert when the lag grows with it",
    ),
    gauge("spool_limit_bytes", &[], "Size that the spool is allowed to reach, from spool.bytes_max"),
    histogram("spool_fsync_duration_seconds", &[], "Time of one fdatasync of the log")
        .advice("slow: a slow or shared disk"),
    gauge("spool_unverified_bytes", &[], "Size of the segments that are not verified since the start")
        .advice("alert if it does not fall to 0"),
    counter("spool_corrupt_records_total", &[], "Records in the log that were found damaged").advice(
        "above zero: entries of the log are damaged or gone; stop, `fanbridge spool verify`, look at \
                 the disk. After a power cut these can be entries of the last group, of which a part reached \
                 the disk and none was acknowledged",
    ),
];

const DELIVERIES: &[MetricRow] = &[
    gauge("connections", &["listener"], "Open connections, by listener"),
    counter(
        "connections_refused_total",
        &["listener", "reason"],
        "Connections that the listener refused or closed before a request, by reason",
    ),
    counter(
        "signature_secret_used_total",
        &["source", "secret"],
        "Deliveries by the configured secret that verified them",
    )
    .advice(
        "the label is the reference that says where the secret is kept; when the former one is used \
                 no more, it can go",
    ),
    counter(
        "secret_reload_failures_total",
        &["source", "secret"],
        "Reads of a secret's file or AWS entry that found no usable secret; the secret before stays in use",
    )
    .advice("mend the file, or what AWS keeps; the log says what is wrong with it"),
    gauge(
        "clock_skew_seconds",
        &["source"],
        "Sender's clock minus this machine's clock, from the newest signed timestamp",
    )
    .advice("beyond the tolerance: mend NTP"),
    counter(
        "id_reuse_total",
        &["source"],
        "Events whose unsigned delivery id was seen with another signed body, or their body under another id",
    ),
    counter(
        "imported_total",
        &["source"],
        "Bodies that an import of an operator brought into the log, which count in `events_total` as well",
    )
    .advice("unsigned: the log has a line for each import, see [bodies of an outage](#bodies-of-an-outage)"),
    counter("events_without_key_total", &["source"], "Accepted events without a partition key"),
    counter(
        "ack_stored_again_total",
        &["source"],
        "Duplicates whose event was stored and published once more, as nobody could tell if a sink has it",
    ),
    gauge("timeline_bytes", &[], "Memory of the last steps of deliveries and events")
        .advice("see [CONFIGURATION.md](CONFIGURATION.md#the-timeline)"),
    gauge("timeline_oldest_seconds", &[], "Age of the oldest step that is kept, 0 if there is none"),
    counter(
        "timeline_steps_dropped_total",
        &[],
        "Steps that were not kept, because they came faster than they are collected",
    ),
    gauge("shape_types", &[], "Event types whose shape is known"),
    counter("shape_changes_total", &[], "Changes of the shapes of event types")
        .advice("the log has each; see [types and their shapes](#types-and-their-shapes)"),
    counter(
        "shape_samples_dropped_total",
        &[],
        "Sampled events that taught no shape: they came too fast, or their type is beyond the bounds",
    ),
];

const SINKS: &[MetricRow] = &[
    counter("delivered_total", &["sink", "family"], "Records that a sink accepted, by family"),
    histogram(
        "delivery_duration_seconds",
        &["sink"],
        "Time from an event's arrival to the sink's acceptance",
    ),
    counter(
        "replayed_total",
        &["sink"],
        "Replayed events that a sink accepted, which count as delivered no second time",
    ),
    gauge(
        "replay_pending",
        &["sink"],
        "Entries of the log that the replays to a sink have yet to look through",
    ),
    gauge("sink_lag_events", &["sink"], "Records in the spool after the sink's cursor, selected or not"),
    gauge("sink_in_flight", &["sink"], "Records handed to a sink that have no outcome yet"),
    gauge("sink_paused", &["sink"], "1 while a sink is paused, else 0")
        .advice("`fanbridge resume SINK`, see [a sink that rests](#a-sink-that-rests)"),
    counter(
        "sink_missed_records_total",
        &["sink"],
        "Records that a sink skipped because the log has them no longer: damaged, expired or pruned",
    ),
    gauge(
        "sink_requests_allowed",
        &["sink"],
        "Requests that a sink can have on their way at once, fewer while its service throttles",
    ),
    gauge(
        "ack_waiting",
        &["sink"],
        "Deliveries whose answer waits for this sink now, because `ack.after` names it",
    ),
    counter(
        "ack_late_total",
        &["sink"],
        "Deliveries whose event this sink had not accepted within `ack.within`",
    )
    .advice("when it grows, providers get 503: see the [runbook](#runbook)"),
    histogram(
        "ack_wait_seconds",
        &["sink"],
        "Time that a delivery waited until this sink had settled its event",
    ),
    counter(
        "dead_letters_total",
        &["sink", "reason"],
        "Records that became dead letters, by sink and reason",
    ),
    gauge("dead_letters_kept_bytes", &[], "Size of the payloads of the dead letters kept now"),
    counter(
        "possible_duplicates_total",
        &["sink"],
        "Records published again after a fault, which consumers might get twice",
    ),
];

const PROCESS: &[MetricRow] = &[
    gauge("state_bytes", &[], "Size of the state file, which has the cursors and dead letters"),
    counter("state_no_room_total", &[], "Writes to the state file that found no space on the disk")
        .advice("above zero: make room"),
    gauge(
        "spool_disk_outstanding_seconds",
        &[],
        "How long the operation underway on the disk has taken so far, 0 if there is none",
    ),
    counter(
        "spool_torn_tails_total",
        &[],
        "Unfinished records cut off the end of the log at a start, as after a power cut",
    ),
    counter("log_lines_dropped_total", &[], "Log lines dropped because stderr was not read fast enough"),
    counter("trace_spans_exported_total", &[], "Spans that the collector has taken"),
    counter("trace_spans_dropped_total", &["reason"], "Spans that no collector gets, by reason")
        .advice("`queue_full`: the collector is away or slow; `refused`: it does not want them"),
    gauge("build_info", &["version"], "Always 1; the label has the running version"),
    gauge("start_time_seconds", &[], "Start of the process in Unix time"),
];

const SNS: &[MetricRow] = &[
    counter(
        "sns_certificate_fetches_total",
        &["source", "outcome"],
        "Fetches of SNS signing certificates, by outcome",
    ),
    counter(
        "sns_subscriptions_total",
        &["source", "outcome"],
        "SNS subscriptions that were confirmed, failed, refused or ended",
    )
    .advice("alert on `failed`, `refused` and `ended`"),
];

const SHARED_WINDOW: &[MetricRow] = &[
    gauge("shared_window_degraded", &[], "1 while the shared duplicate window cannot be used, else 0")
        .advice("nothing is refused meanwhile; the log has the reason"),
    counter(
        "shared_window_duplicates_total",
        &[],
        "Deliveries that the shared duplicate window recognised as duplicates",
    ),
    counter(
        "shared_window_skipped_total",
        &["reason"],
        "Deliveries admitted without asking the shared duplicate window, by reason",
    ),
    counter(
        "shared_window_untold_total",
        &[],
        "Durable events that could not be entered into the shared duplicate window",
    )
    .advice(
        "of accepted events (`ack.after`) those are not counted that were lost in a round that \
                 failed, or at a stop",
    ),
    histogram(
        "shared_window_round_duration_seconds",
        &[],
        "Time of one round trip to the shared duplicate window",
    ),
];
