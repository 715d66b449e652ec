//! `GET /api/v1/status`: how things are, in one sentence and in numbers.
//!
//! | Member | Meaning |
//! |---|---|
//! | `sentence` | one sentence without a full stop: `lake is 4 m 10 s behind: topic_forbidden on …` |
//! | `last_event` | when the last event was accepted; `null` if that is not among the last steps |
//! | `timeline` | `{"is_on", "bytes", "bytes_max", "steps", "oldest", "dropped"}`: the last steps |
//! | `version`, `uptime_seconds` | of the running process |
//! | `fingerprint` | of the configuration, 12 hexadecimal digits |
//! | `ready`, `unready_because` | whether deliveries are taken; if not, why, else left out |
//! | `sources`, `sinks` | in short; `/api/v1/sources` and `/api/v1/sinks` say more |
//! | `spool` | space and positions of the log; left out while it is being recovered |
//! | `no_room` | what the state file cannot store for lack of space, else left out |
//! | `dead_letters` | `[{"sink", "reason", "count", "bytes"}]`; left out while they cannot be read |

use std::time::SystemTime;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;

use super::sentence::{HowThingsAre, SinkInShort, sentence};
use crate::admin::status::{Status, gather};
use crate::admin::{AdminState, ProblemAnswer};
use crate::event::Timestamp;
use crate::health::SinkStatus;
use crate::timeline::{StepFilter, StepWord, TimelineCursor, TimelineUsage};

/// Among how many of the last steps the last event is looked for: more than a burst of refusals is.
const LOOKED_THROUGH: u64 = 2000;
/// Most characters of what keeps a sink from publishing.
const REASON_CHARS_MAX: usize = 160;

/// The state of the bridge, with a sentence.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct StatusInWords {
    sentence: String,
    last_event: Option<Timestamp>,
    timeline: TimelineInShort,
    #[serde(flatten)]
    status: Status,
}

/// What is kept of the last steps.
#[derive(Debug, Serialize, JsonSchema)]
struct TimelineInShort {
    is_on: bool,
    bytes: usize,
    bytes_max: usize,
    steps: usize,
    oldest: Option<Timestamp>,
    dropped: u64,
}

impl From<TimelineUsage> for TimelineInShort {
    fn from(usage: TimelineUsage) -> Self {
        let TimelineUsage { is_on, bytes, bytes_max, steps, oldest, dropped } = usage;
        Self { is_on, bytes, bytes_max, steps, oldest, dropped }
    }
}

pub(super) async fn status(State(admin): State<AdminState>) -> Result<Json<StatusInWords>, ProblemAnswer> {
    let status = gather(&admin).await?;
    let last_event = last_event(&admin);
    let sentence = in_words(&admin, &status, last_event);
    Ok(Json(StatusInWords { sentence, last_event, timeline: admin.timeline.usage().into(), status }))
}

/// When the last event was accepted, if that is among the last steps.
fn last_event(admin: &AdminState) -> Option<Timestamp> {
    let accepted = StepFilter { verdict: Some(StepWord::Accepted), ..StepFilter::default() };
    let TimelineCursor { epoch, number } = admin.timeline.page(None, &accepted, 1).next;
    let from = TimelineCursor { epoch, number: number.saturating_sub(LOOKED_THROUGH) };
    admin.timeline.newest(Some(from), &accepted, 1).steps.pop().map(|step| step.at)
}

fn in_words(admin: &AdminState, status: &Status, last_event: Option<Timestamp>) -> String {
    let (sinks, sources) = (admin.health.sinks(), admin.health.sources());
    let sources: Vec<(&str, String)> =
        sources.iter().filter_map(|source| Some((source.name(), source.trouble()?.advice))).collect();
    let now = Timestamp::from(SystemTime::now());
    sentence(&HowThingsAre {
        is_stopping: admin.health.is_stopping(),
        is_started: admin.health.is_started(),
        unready_because: status.unready_because.as_deref(),
        sinks: sinks.iter().map(|sink| in_short(sink)).collect(),
        troubled_sources: sources.iter().map(|(name, advice)| (*name, advice.as_str())).collect(),
        dead_letters: status.dead_letters.iter().flatten().map(|count| count.count).sum(),
        last_event_seconds: last_event.map(|at| now.seconds_since(at).max(0.0) as u64),
    })
}

fn in_short(sink: &SinkStatus) -> SinkInShort<'_> {
    let paused = sink.paused().map(|paused| in_short_words(&format!("paused: {}", paused.reason)));
    SinkInShort {
        name: sink.name(),
        lag_events: sink.lag_records(),
        oldest_pending_seconds: sink.oldest_pending_seconds() as u64,
        is_paused: paused.is_some(),
        held_back_by: paused.or_else(|| sink.trouble().map(|trouble| held_back_by(sink, &trouble))),
    }
}

fn in_short_words(reason: &str) -> String {
    reason.chars().take(REASON_CHARS_MAX).collect()
}

/// What keeps a sink from publishing: of a held topic the reason and its name, else all that is known.
fn held_back_by(sink: &SinkStatus, trouble: &str) -> String {
    let word = trouble.split(':').next().unwrap_or_default();
    let held = sink.held();
    let topics = held.iter().filter(|held| held.reason == word).map(|held| &held.topic);
    match topics.min() {
        Some(topic) => format!("{word} on {topic}"),
        None => in_short_words(trouble),
    }
}
