//! `GET /api/v1/log`: the entries of the log, newest first and without their bodies, in pages.
//!
//! A page reads the log on a thread that can block, as an explanation does, and takes one of the same two
//! places. It ends when it is full, has read 256 MiB or has taken ten seconds, and says where to go on. Of
//! what it reads, the bodies are in memory for 16 MiB of the log at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::explain::StopOnDrop;
use super::query::{bad_query, parsed};
use crate::admin::{AdminState, ProblemAnswer};
use crate::event::{Entry, Event, Position, Quarantined, Timestamp};
use crate::problem::ProblemCode;
use crate::spool::{LogSearch, ReadError, SearchBudget, SearchFor, SearchedEntry};

/// Most entries of a page, and entries of one without a `limit`.
const ENTRIES_MAX: usize = 1000;
const ENTRIES_DEFAULT: usize = 100;
/// Bytes of the log that are read for one page.
const PAGE_BYTES_MAX: u64 = 256 << 20;
/// Bytes of the log whose entries are in memory at once.
const PART_BYTES: u64 = 16 << 20;
/// How long one page is looked for: shorter than a client waits.
const PAGE_FOR: Duration = Duration::from_secs(10);

/// The parameters as they are written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LogQuery {
    since: Option<String>,
    until: Option<String>,
    #[serde(rename = "type")]
    event_type: Option<String>,
    family: Option<String>,
    source: Option<String>,
    before: Option<String>,
    limit: Option<String>,
}

/// What is asked for.
struct WantedEntries {
    entries: SearchFor,
    before: Position,
    limit: usize,
}

/// A page of the log.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(super) struct LogAnswer {
    items: Vec<LogItem>,
    /// The `before` of the next page, which can be empty; `null` if nothing is left to be looked through.
    next: Option<String>,
    /// Whether nothing is left to be looked through.
    complete: bool,
    /// Down to which position the log was looked through.
    looked_through: u64,
    /// How many of the positions that were looked through hold no entry that can be read.
    lost: u64,
}

/// An entry of the log, without its body.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct LogItem {
    position: u64,
    arrived: Timestamp,
    /// CloudEvents `id`.
    id: String,
    /// CloudEvents `source`.
    source: String,
    /// CloudEvents `type`; not of a quarantined delivery.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    event_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    family: Option<String>,
    provider: String,
    /// The name of the source that took it in.
    intake: String,
    /// The partition key.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// The one sink that it is for, if it is a copy.
    #[serde(skip_serializing_if = "Option::is_none")]
    only_sink: Option<String>,
    /// Of a quarantined delivery: why it cannot become an event, in one word.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Bytes of the body.
    bytes: u64,
}

pub(super) async fn entries(
    State(admin): State<AdminState>,
    query: Result<Query<LogQuery>, QueryRejection>,
) -> Result<Json<LogAnswer>, ProblemAnswer> {
    let Query(query) = query.map_err(|error| ProblemAnswer::of(ProblemCode::BadQuery, error.body_text()))?;
    let wanted = query.wanted()?;
    let search = admin.opened()?.spool.search();
    let permit = Arc::clone(&admin.searches).try_acquire_owned().map_err(|_| {
        let detail = "two searches of the log are under way: ask again in a few seconds";
        ProblemAnswer::of(ProblemCode::Busy, detail)
    })?;
    let stop = Arc::new(AtomicBool::new(false));
    let _ends_with_the_request = StopOnDrop(Arc::clone(&stop));
    let listing = move || {
        // Held until the search has ended, not only until nobody waits for it.
        let _permit = permit;
        page(&search, &wanted, &stop)
    };
    match tokio::task::spawn_blocking(listing).await {
        Ok(listed) => Ok(Json(listed?)),
        Err(_) => {
            let detail = "the search broke off: see the log";
            Err(ProblemAnswer::of(ProblemCode::Failed, detail))
        }
    }
}

impl LogQuery {
    fn wanted(self) -> Result<WantedEntries, ProblemAnswer> {
        let moment = |name, text: &Option<String>| {
            parsed(name, text.as_deref(), |text: &str| {
                Timestamp::from_rfc3339(text).ok_or("expected a moment in RFC 3339: 2026-11-21T06:40:00Z")
            })
        };
        let arrived = (moment("since", &self.since)?, moment("until", &self.until)?);
        if arrived.0.zip(arrived.1).is_some_and(|(since, until)| until <= since) {
            return Err(bad_query("until", "it is not behind `since`: no entry can have arrived in between"));
        }
        let before = parsed("before", self.before.as_deref(), |text: &str| {
            text.parse::<u64>()
                .map(Position)
                .map_err(|_| "expected a position of the log, the `next` of a page")
        })?;
        let limit = parsed("limit", self.limit.as_deref(), |text: &str| {
            let limit = text.parse().ok().filter(|limit| (1..=ENTRIES_MAX).contains(limit));
            limit.ok_or_else(|| format!("expected a number from 1 to {ENTRIES_MAX}"))
        })?;
        let entries = SearchFor {
            types: self.event_type.into_iter().collect(),
            families: self.family.into_iter().collect(),
            sources: self.source.into_iter().collect(),
            arrived,
            ..SearchFor::default()
        };
        let before = before.unwrap_or(Position(u64::MAX));
        Ok(WantedEntries { entries, before, limit: limit.unwrap_or(ENTRIES_DEFAULT) })
    }
}

/// A page, made of parts that are small enough to be in memory.
fn page(
    search: &LogSearch,
    wanted: &WantedEntries,
    stop: &Arc<AtomicBool>,
) -> Result<LogAnswer, ProblemAnswer> {
    let (mut before, mut bytes_read, begun) = (wanted.before, 0, Instant::now());
    let mut answer = LogAnswer::default();
    loop {
        let left = wanted.limit - answer.items.len();
        let budget = SearchBudget { stop: Arc::clone(stop), ..SearchBudget::new(left, PART_BYTES) };
        let part = search.newest_first(&wanted.entries, before, &budget)?;
        answer.items.extend(part.found.into_iter().map(LogItem::of));
        (answer.complete, answer.lost) = (part.complete, answer.lost + part.lost);
        (before, bytes_read) = (part.through, bytes_read + part.bytes_read);
        let is_over = answer.items.len() >= wanted.limit || bytes_read >= PAGE_BYTES_MAX;
        if part.complete || is_over || begun.elapsed() >= PAGE_FOR || stop.load(Ordering::Relaxed) {
            break;
        }
    }
    answer.looked_through = if answer.complete { search.first().0.min(before.0) } else { before.0 };
    answer.next = (!answer.complete).then(|| before.0.to_string());
    Ok(answer)
}

impl LogItem {
    fn of(found: SearchedEntry) -> Self {
        match found.entry {
            Entry::Event(event) => Self::of_event(found.position, &event),
            Entry::Quarantined(delivery) => Self::of_delivery(found.position, &delivery),
        }
    }

    fn of_event(position: Position, event: &Event) -> Self {
        Self {
            position: position.0,
            arrived: event.arrived,
            id: event.id.to_string(),
            source: event.source.to_string(),
            event_type: Some(event.event_type.to_string()),
            family: Some(event.family.to_string()),
            provider: event.provider.to_string(),
            intake: event.source_name.to_string(),
            key: event.key.as_ref().map(ToString::to_string),
            only_sink: event.only_sink.as_ref().map(ToString::to_string),
            reason: None,
            bytes: event.body.len() as u64,
        }
    }

    fn of_delivery(position: Position, delivery: &Quarantined) -> Self {
        Self {
            position: position.0,
            arrived: delivery.arrived,
            id: delivery.id.to_string(),
            source: delivery.source.to_string(),
            event_type: None,
            family: None,
            provider: delivery.provider.to_string(),
            intake: delivery.source_name.to_string(),
            key: None,
            only_sink: None,
            reason: Some(delivery.reason.to_string()),
            bytes: delivery.body.len() as u64,
        }
    }
}

impl From<ReadError> for ProblemAnswer {
    /// Logs what the disk said instead of answering it, because the caller need not know its paths.
    fn from(error: ReadError) -> Self {
        let problem =
            Self::of(ProblemCode::LogUnreadable, "the log cannot be read: see the log of the bridge");
        tracing::error!(
            request = %problem.request,
            error = &error as &dyn std::error::Error,
            "the admin API could not read the log"
        );
        problem
    }
}
