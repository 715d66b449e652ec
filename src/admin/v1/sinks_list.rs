//! `GET /api/v1/sinks`: each sink with its state, how fast it delivers, and what it holds.
//!
//! The answer is `{"items": […], "next": null}`; there is no second page. An item:
//!
//! | Member | Meaning |
//! |---|---|
//! | `name`, `kind`, `topic` | from the configuration; `kind` is `kafka`, `sns` or `file` |
//! | `state` | `starting`, `paused`, `degraded`, `held` (a topic is), `delivering`, or `idle`: it has all |
//! | `paused` | `{"since", "reason"}` of a sink that is paused, else left out |
//! | `degraded_because` | reason and detail of a degraded sink, else left out |
//! | `cursor`, `lag_events` | the position up to which all is settled, and how many records lie behind it |
//! | `oldest_pending_seconds` | age of the oldest record that is not settled, 0 if there is none |
//! | `in_flight` | records handed to the sink that have no outcome yet |
//! | `delivered` | records that the sink has accepted since the start |
//! | `rate` | `{"delivered_per_second", "over_seconds"}` |
//! | `delivery_ms` | `{"p50", "p99"}` from arrival to acceptance since the start, `null` if there was none |
//! | `retries`, `rejected` | numbers of records by reason since the start |
//! | `possible_duplicates`, `missed_records` | numbers of records since the start |
//! | `dead_letters` | dead letters of the sink now; left out while the state file cannot be read |
//! | `answers` | `{"waiting", "late"}` of a sink that answers wait for, else left out |
//! | `held` | topics to which nothing new is published, longest held first, 64 at most |
//!
//! A held topic: `topic`, `reason` (one word), `detail`, `since`, `attempt` (how often its records were
//! tried), `next` (when they are tried next) and `next_in_ms`, both `null` while they are tried, and `first`
//! (the first position that waits, or `null`).

use std::collections::BTreeMap;
use std::time::SystemTime;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;

use super::Listing;
use super::observed::{Observed, TakesMillis, delivered, observed, rounded};
use crate::admin::status::{AnswersState, answers, dead_letter_counts};
use crate::admin::{AdminState, PausedAnswer, ProblemAnswer, SinkSummary};
use crate::event::Timestamp;
use crate::health::{HeldStatus, SinkStatus};
use crate::state::DeadCount;

/// A sink of the listing.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct SinkItem {
    name: String,
    kind: &'static str,
    topic: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    degraded_because: Option<String>,
    /// Since when it is paused, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    paused: Option<PausedAnswer>,
    cursor: u64,
    lag_events: u64,
    oldest_pending_seconds: f64,
    in_flight: u64,
    delivered: u64,
    rate: SinkRate,
    delivery_ms: TakesMillis,
    retries: BTreeMap<String, u64>,
    rejected: BTreeMap<String, u64>,
    possible_duplicates: u64,
    missed_records: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_letters: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answers: Option<AnswersState>,
    held: Vec<HeldItem>,
}

/// How fast a sink delivers.
#[derive(Debug, Serialize, JsonSchema)]
struct SinkRate {
    delivered_per_second: f64,
    over_seconds: f64,
}

/// A held topic of the listing.
#[derive(Debug, Serialize, JsonSchema)]
struct HeldItem {
    topic: String,
    reason: &'static str,
    detail: String,
    since: Timestamp,
    attempt: u32,
    next: Option<Timestamp>,
    next_in_ms: Option<u64>,
    first: Option<u64>,
}

impl HeldItem {
    fn of(held: HeldStatus, now: Timestamp) -> Self {
        let HeldStatus { topic, reason, detail, since, attempts, next, first } = held;
        let next_in_ms = next.map(|next| u64::try_from((next.0 - now.0) / 1_000_000).unwrap_or_default());
        let first = first.map(|position| position.0);
        Self { topic, reason, detail, since, attempt: attempts, next, next_in_ms, first }
    }
}

pub(super) async fn sinks(State(admin): State<AdminState>) -> Result<Json<Listing<SinkItem>>, ProblemAnswer> {
    let letters = dead_letter_counts(&admin).await?;
    let observed = observed(&admin).await?;
    let running = admin.health.sinks();
    let item = |sink: &SinkSummary| {
        let status = running.iter().find(|status| status.name() == sink.name);
        let mut item = counted(sink, &observed, letters.as_deref());
        item.answers = sink.awaited.then(|| answers(&admin.metrics.ack, &sink.name));
        status.into_iter().for_each(|status| item.add(status));
        item
    };
    Ok(Json(Listing::whole(admin.summary().sinks.iter().map(item).collect())))
}

/// A sink by its configuration and its metrics.
fn counted(sink: &SinkSummary, observed: &Observed, letters: Option<&[DeadCount]>) -> SinkItem {
    let (name, readings) = (sink.name.as_str(), &observed.readings);
    let of = [("sink", name)];
    let letters = letters.map(|counts| {
        let theirs = counts.iter().filter(|count| count.sink.as_deref() == Some(name));
        theirs.map(|count| count.count).sum()
    });
    SinkItem {
        name: name.to_owned(),
        kind: sink.kind,
        topic: sink.topic.clone(),
        state: "starting",
        degraded_because: None,
        paused: None,
        cursor: 0,
        lag_events: 0,
        oldest_pending_seconds: 0.0,
        in_flight: readings.count("sink_in_flight", &of),
        delivered: readings.count("delivered_total", &of),
        rate: SinkRate {
            delivered_per_second: rounded(observed.rates.per_second(&delivered(name))),
            over_seconds: rounded(observed.rates.seconds()),
        },
        delivery_ms: TakesMillis::of(readings, "delivery_duration_seconds", &of),
        retries: readings.by("reason", "sink_retries_total", &of),
        rejected: readings.by("reason", "dead_letters_total", &of),
        possible_duplicates: readings.count("possible_duplicates_total", &of),
        missed_records: readings.count("sink_missed_records_total", &of),
        dead_letters: letters,
        answers: None,
        held: Vec::new(),
    }
}

impl SinkItem {
    /// Adds what the running sink says of itself.
    fn add(&mut self, status: &SinkStatus) {
        let now = SystemTime::now().into();
        self.degraded_because = status.trouble();
        self.held = status.held().into_iter().map(|held| HeldItem::of(held, now)).collect();
        self.cursor = status.cursor().0;
        self.lag_events = status.lag_records();
        self.oldest_pending_seconds = status.oldest_pending_seconds();
        self.paused = status.paused().map(PausedAnswer::from);
        self.state = status.state();
    }
}
