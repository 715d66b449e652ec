//! The answer of `GET /api/status`: the state of the bridge at a glance.

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;

use super::{AdminState, PausedAnswer, ProblemAnswer, SourceSummary, probes};
use crate::spool::Usage;
use crate::state::{DeadCount, Shortage, StateError};
use crate::telemetry::{AckMetrics, Sink};

/// The state of the bridge.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Status {
    version: &'static str,
    uptime_seconds: u64,
    /// Fingerprint of the configuration.
    fingerprint: String,
    ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unready_because: Option<String>,
    sources: Vec<SourceState>,
    sinks: Vec<SinkState>,
    #[serde(skip_serializing_if = "Option::is_none")]
    spool: Option<SpoolState>,
    /// What the state file cannot store for lack of space on the disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    no_room: Option<Shortage>,
    /// Left out while the state file cannot be read: for lack of space, or because the disk hangs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) dead_letters: Option<Vec<DeadCount>>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct SourceState {
    #[serde(flatten)]
    summary: SourceSummary,
    #[serde(skip_serializing_if = "Option::is_none")]
    degraded_because: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct SinkState {
    name: String,
    kind: &'static str,
    topic: String,
    cursor: u64,
    lag_events: u64,
    oldest_pending_seconds: f64,
    /// Of a sink that answers wait for.
    #[serde(skip_serializing_if = "Option::is_none")]
    answers: Option<AnswersState>,
    #[serde(skip_serializing_if = "Option::is_none")]
    degraded_because: Option<String>,
    /// Of a sink that publishes nothing until it is resumed.
    #[serde(skip_serializing_if = "Option::is_none")]
    paused: Option<PausedAnswer>,
}

/// The answers that wait for a sink.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct AnswersState {
    /// How many wait now.
    waiting: i64,
    /// How many have not waited any longer since the start.
    late: u64,
}

/// What the log has and may have.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct SpoolState {
    bytes: u64,
    other_bytes: u64,
    bytes_max: u64,
    free_bytes: u64,
    segments: usize,
    /// Whether files of pruned segments are written over; elsewhere every segment grows.
    recycles_segments: bool,
    /// How many of `bytes` give way when space is short: those of the spare, and those behind the newest
    /// entry in a recycled file.
    spare_bytes: u64,
    old_bytes: u64,
    /// How many segments the start took by their footers and have not been verified frame by frame since.
    unverified_segments: usize,
    unverified_bytes: u64,
    first: u64,
    head: u64,
    duplicate_keys: usize,
}

impl From<Usage> for SpoolState {
    fn from(usage: Usage) -> Self {
        Self {
            bytes: usage.bytes,
            other_bytes: usage.other_bytes,
            bytes_max: usage.bytes_max,
            free_bytes: usage.free_bytes,
            segments: usage.segments,
            recycles_segments: usage.recycles,
            spare_bytes: usage.spare_bytes,
            old_bytes: usage.old_bytes,
            unverified_segments: usage.unverified_segments,
            unverified_bytes: usage.unverified_bytes,
            first: usage.first.0,
            head: usage.head.0,
            duplicate_keys: usage.window_events,
        }
    }
}

pub(super) async fn status(State(admin): State<AdminState>) -> Result<Json<Status>, ProblemAnswer> {
    gather(&admin).await.map(Json)
}

/// The state of the bridge now.
pub(super) async fn gather(admin: &AdminState) -> Result<Status, ProblemAnswer> {
    let unready_because = probes::unready(admin);
    let opened = admin.opened.get();
    let dead_letters = dead_letter_counts(admin).await?;
    Ok(Status {
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: admin.started.elapsed().as_secs(),
        fingerprint: admin.summary().fingerprint.clone(),
        ready: unready_because.is_none(),
        unready_because,
        sources: sources(admin),
        sinks: sinks(admin),
        spool: opened.map(|opened| opened.spool.usage().into()),
        no_room: opened.and_then(|opened| opened.state.shortage()),
        dead_letters,
    })
}

/// How many dead letters there are; `None` while the state file cannot be read.
pub(super) async fn dead_letter_counts(admin: &AdminState) -> Result<Option<Vec<DeadCount>>, ProblemAnswer> {
    let counts = |state: &crate::state::State| match state.dead_letter_counts() {
        Err(StateError::NoRoom { .. }) => Ok(None),
        counts => counts.map(Some),
    };
    match admin.opened.get() {
        Some(opened) if probes::hangs(opened).is_some() => Ok(None),
        Some(_) => admin.ask(counts).await,
        None => Ok(Some(Vec::new())),
    }
}

fn sources(admin: &AdminState) -> Vec<SourceState> {
    let running = admin.health.sources();
    let state = |summary: &SourceSummary| {
        let status = running.iter().find(|status| *status.name() == *summary.name);
        let trouble = status.and_then(|status| status.trouble());
        SourceState { summary: summary.clone(), degraded_because: trouble.map(|trouble| trouble.advice) }
    };
    admin.summary().sources.iter().map(state).collect()
}

fn sinks(admin: &AdminState) -> Vec<SinkState> {
    let running = admin.health.sinks();
    let state = |sink: &super::SinkSummary| {
        let status = running.iter().find(|status| status.name() == sink.name);
        SinkState {
            name: sink.name.clone(),
            kind: sink.kind,
            topic: sink.topic.clone(),
            cursor: status.map_or(0, |status| status.cursor().0),
            lag_events: status.map_or(0, |status| status.lag_records()),
            oldest_pending_seconds: status.map_or(0.0, |status| status.oldest_pending_seconds()),
            answers: sink.awaited.then(|| answers(&admin.metrics.ack, &sink.name)),
            degraded_because: status.and_then(|status| status.trouble()),
            paused: status.and_then(|status| status.paused()).map(PausedAnswer::from),
        }
    };
    admin.summary().sinks.iter().map(state).collect()
}

pub(super) fn answers(metrics: &AckMetrics, sink: &str) -> AnswersState {
    let sink = Sink { sink: sink.to_owned() };
    let (waiting, late) =
        (metrics.waiting.get_or_create(&sink).get(), metrics.late.get_or_create(&sink).get());
    AnswersState { waiting, late }
}
