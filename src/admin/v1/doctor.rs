//! `GET /api/v1/doctor/facts`: what only the running process can tell `fanbridge doctor`.
//!
//! | Member | Meaning |
//! |---|---|
//! | `version`, `fingerprint`, `uptime_seconds` | which release runs, by which configuration, for how long |
//! | `unready_because` | why no delivery can be stored now, else left out |
//! | `files_open`, `files_max` | files that the process has open, and may have; `null` if that is not known |
//! | `fdatasyncs`, `fdatasync_ms` | how many there were; `{"p50", "p99"}`, `null` without any |
//! | `disk_outstanding_ms` | how long what the disk does now has taken; 0 if it does nothing |
//! | `sources` | `name`, and `degraded_because` of a degraded one |
//! | `sinks` | the same, `lag_events`, `paused` of a paused one, `published`, `held` |
//!
//! `paused` has `since` and `reason`; `published` has the topics that took a record, as far as the last steps
//! go; `held` has `topic`, `reason` and `detail` of each held topic.

use std::collections::BTreeSet;
use std::fs;

use axum::Json;
use axum::extract::State;
use rustix::process::{Resource, getrlimit};
use schemars::JsonSchema;
use serde::Serialize;

use super::observed::{TakesMillis, observe};
use crate::admin::{AdminState, PausedAnswer, ProblemAnswer, probes};
use crate::health::{HeldStatus, SinkStatus, millis};
use crate::problem::ProblemCode;
use crate::timeline::{StepFilter, StepKind, StepWord, Timeline};

/// Most steps of a sink that are looked through for topics.
const STEPS_MAX: usize = 1000;

/// The facts.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct DoctorFacts {
    version: &'static str,
    fingerprint: String,
    uptime_seconds: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    unready_because: Option<String>,
    files_open: Option<u64>,
    files_max: Option<u64>,
    fdatasyncs: u64,
    fdatasync_ms: TakesMillis,
    disk_outstanding_ms: u64,
    sources: Vec<SourceFacts>,
    sinks: Vec<SinkFacts>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct SourceFacts {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    degraded_because: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct SinkFacts {
    name: String,
    lag_events: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    degraded_because: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    paused: Option<PausedAnswer>,
    published: BTreeSet<String>,
    held: Vec<HeldFacts>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct HeldFacts {
    topic: String,
    reason: &'static str,
    detail: String,
}

pub(super) async fn facts(State(admin): State<AdminState>) -> Result<Json<DoctorFacts>, ProblemAnswer> {
    // Steps are decoded and a directory is read, so a thread does it that no delivery needs.
    let looking = tokio::task::spawn_blocking(move || {
        let readings = observe(&admin).readings;
        let outstanding = admin.opened.get().and_then(probes::outstanding);
        let (sources, summary) = (admin.health.sources(), admin.summary());
        let source_facts = |source: &crate::admin::SourceSummary| SourceFacts {
            name: source.name.clone(),
            degraded_because: sources
                .iter()
                .find(|status| status.name() == source.name)
                .and_then(|status| Some(status.trouble()?.advice)),
        };
        DoctorFacts {
            version: env!("CARGO_PKG_VERSION"),
            fingerprint: summary.fingerprint.clone(),
            uptime_seconds: admin.started.elapsed().as_secs(),
            unready_because: probes::unready(&admin),
            files_open: files_open(),
            files_max: getrlimit(Resource::Nofile).current,
            fdatasyncs: readings.count("spool_fsync_duration_seconds_count", &[]),
            fdatasync_ms: TakesMillis::of(&readings, "spool_fsync_duration_seconds", &[]),
            disk_outstanding_ms: millis(outstanding.unwrap_or_default()),
            sources: summary.sources.iter().map(source_facts).collect(),
            sinks: admin.health.sinks().iter().map(|sink| sink_facts(sink, &admin.timeline)).collect(),
        }
    });
    looking
        .await
        .map(Json)
        .map_err(|_| ProblemAnswer::of(ProblemCode::Failed, "the facts cannot be gathered: see the log"))
}

fn sink_facts(sink: &SinkStatus, timeline: &Timeline) -> SinkFacts {
    let filter = StepFilter {
        sink: Some(sink.name().to_owned()),
        verdict: Some(StepWord::Published),
        ..StepFilter::default()
    };
    let steps = timeline.newest(None, &filter, STEPS_MAX).steps.into_iter();
    let published = steps.filter_map(|step| match step.kind {
        StepKind::Published(published) => Some(published.topic),
        _ => None,
    });
    let held = |held: HeldStatus| HeldFacts { topic: held.topic, reason: held.reason, detail: held.detail };
    SinkFacts {
        name: sink.name().to_owned(),
        lag_events: sink.lag_records(),
        degraded_because: sink.trouble(),
        paused: sink.paused().map(PausedAnswer::from),
        published: published.collect(),
        held: sink.held().into_iter().map(held).collect(),
    }
}

/// How many files this process has open, without the one that tells it.
fn files_open() -> Option<u64> {
    let open = fs::read_dir("/proc/self/fd").ok()?.count();
    u64::try_from(open.saturating_sub(1)).ok()
}
