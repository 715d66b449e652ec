//! `GET /api/v1/events/stream`: steps as they come, as server-sent events.
//!
//! | Event | Data |
//! |---|---|
//! | `steps` | a list of at most 200 steps, four times a second at most; its `id` is where to go on |
//! | `skipped` | `{"count":n}`: so many steps are not in the stream, because more came than it shows |
//! | `restarted` | `{}`: the reader's `Last-Event-ID` is of another start of the bridge |
//! | `end` | `{"because":"stopping"}` |
//!
//! A stream is for watching: whoever must miss nothing reads pages. It costs what its reader takes: a reader
//! that is slow gets fewer and newer steps, and one that reads nothing is cut by the listener's idle timeout.

use std::collections::VecDeque;
use std::convert::Infallible;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::Stream;
use futures_util::stream::unfold;
use http::{HeaderMap, HeaderName};
use serde::Serialize;
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Duration, Instant, sleep_until};

use super::events::{asked, await_step, items, take_place, timeline};
use super::query::{After, StepsQuery, bad_query};
use crate::admin::{AdminState, ProblemAnswer};
use crate::event::single_header;
use crate::timeline::{StepFilter, StepPage, TimelineCursor};

/// Most readers that wait for steps at once, of the 64 connections of the listener.
pub(in crate::admin) const LIVE_READERS_MAX: usize = 32;
/// Shortest time between two lists of steps, and most steps of a list.
const LIST_EVERY: Duration = Duration::from_millis(250);
const LIST_MAX: usize = 200;
/// How often a stream without steps says something, by which the bridge learns whether its reader has left.
const COMMENT_EVERY: Duration = Duration::from_secs(5);

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

pub(super) async fn stream(
    State(admin): State<AdminState>,
    headers: HeaderMap,
    query: Result<Query<StepsQuery>, QueryRejection>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ProblemAnswer> {
    let (after, filter) = asked(query)?.of_stream()?;
    let timeline = timeline(&admin)?;
    // A browser that connects again asks for the same address, and says in the header how far it came.
    let cursor = match (last_event_id(&headers)?, after) {
        (Some(cursor), _) | (None, Some(After::Cursor(cursor))) => cursor,
        (None, Some(After::Start)) => timeline.start(),
        (None, Some(After::Now) | None) => timeline.page(None, &filter, 1).next,
    };
    let place = take_place(&admin)?;
    let (waiting, ended) = (VecDeque::new(), false);
    let reader = LiveReader { admin, filter, cursor, due: Instant::now(), waiting, ended, _place: place };
    let keep_alive = KeepAlive::new().interval(COMMENT_EVERY);
    Ok(Sse::new(unfold(reader, LiveReader::next)).keep_alive(keep_alive))
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<TimelineCursor>, ProblemAnswer> {
    if !headers.contains_key(LAST_EVENT_ID) {
        return Ok(None);
    }
    let text = single_header(headers, LAST_EVENT_ID).unwrap_or_default();
    text.parse().map(Some).map_err(|error| bad_query("Last-Event-ID", error))
}

fn event(name: &str, data: &impl Serialize) -> Event {
    Event::default().event(name).json_data(data).expect("steps and counts have a form in JSON")
}

/// One stream.
struct LiveReader {
    admin: AdminState,
    filter: StepFilter,
    cursor: TimelineCursor,
    /// When the next list can be sent.
    due: Instant,
    /// Events that are to be sent before anything else happens.
    waiting: VecDeque<Event>,
    ended: bool,
    _place: OwnedSemaphorePermit,
}

impl LiveReader {
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some((Ok(event), self));
            }
            if self.ended {
                return None;
            }
            self.look().await;
        }
    }

    /// Waits for steps, and makes events of them. When the bridge stops, the last one is `end`.
    async fn look(&mut self) {
        sleep_until(self.due).await;
        await_step(&self.admin, self.cursor).await;
        self.due = Instant::now() + LIST_EVERY;
        self.ended = self.admin.health.is_stopping();
        let page = self.admin.timeline.newest(Some(self.cursor), &self.filter, LIST_MAX);
        let StepPage { steps, next, missed, skipped, restarted } = page;
        self.cursor = next;
        if restarted {
            self.waiting.push_back(event("restarted", &json!({})));
        }
        let count = missed + skipped;
        if count > 0 {
            self.waiting.push_back(event("skipped", &json!({ "count": count })));
        }
        if !steps.is_empty() {
            let steps = event("steps", &items(steps, &self.admin.summary()));
            // Only what comes last says where to go on: a reader that lost the rest must get it again.
            self.waiting.push_back(steps.id(next.to_string()));
        }
        if self.ended {
            self.waiting.push_back(event("end", &json!({ "because": "stopping" })));
        }
    }
}
