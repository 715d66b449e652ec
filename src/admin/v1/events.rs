//! `GET /api/v1/events`: the last steps of deliveries and events, in pages that leave nothing out.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Duration, Instant, sleep_until, timeout};

use super::live::LIVE_READERS_MAX;
use super::query::{After, StepsQuery, WantedSteps};
use crate::admin::{AdminState, ProblemAnswer, Summary};
use crate::problem::ProblemCode;
use crate::timeline::{Step, StepKind, StepPage, TakenAs, Timeline, TimelineCursor};

/// How soon a reader that waits learns that the bridge stops: the listener is drained for a second only.
const LOOK_AT_STOP: Duration = Duration::from_millis(250);
/// How long a reader waits that found among new steps none that it wants.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A step, and of an accepted event the sinks that select it.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct StepItem {
    #[serde(flatten)]
    step: Step,
    #[serde(skip_serializing_if = "Option::is_none")]
    selected_by: Option<Vec<String>>,
}

/// A page of steps.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct StepsAnswer {
    items: Vec<StepItem>,
    /// The `after` of the next request.
    next: String,
    /// How many steps between `after` and `next` are gone, wanted or not.
    missed: u64,
    /// Whether `after` is of another start of the bridge; the steps are then those since this one.
    restarted: bool,
}

pub(super) async fn events(
    State(admin): State<AdminState>,
    query: Result<Query<StepsQuery>, QueryRejection>,
) -> Result<Json<StepsAnswer>, ProblemAnswer> {
    let wanted = asked(query)?.of_page()?;
    let timeline = timeline(&admin)?;
    let until = Instant::now() + wanted.wait;
    let (mut page, wanted) = first_page(timeline.clone(), wanted).await?;
    if page.steps.is_empty() && !wanted.wait.is_zero() {
        let _place = take_place(&admin)?;
        while page.steps.is_empty() && Instant::now() < until && !admin.health.is_stopping() {
            let _ = timeout(until - Instant::now(), await_step(&admin, page.next)).await;
            let more = timeline.page(Some(page.next), &wanted.filter, wanted.limit);
            page = StepPage { missed: page.missed + more.missed, restarted: page.restarted, ..more };
            if page.steps.is_empty() {
                sleep_until(until.min(Instant::now() + LOOK_AGAIN)).await;
            }
        }
    }
    Ok(Json(StepsAnswer {
        items: items(page.steps, &admin.summary()),
        next: page.next.to_string(),
        missed: page.missed,
        restarted: page.restarted,
    }))
}

/// The page that can be answered at once. It can be looked for in all of the timeline, so a thread does it
/// that no delivery needs.
async fn first_page(
    timeline: Timeline,
    wanted: WantedSteps,
) -> Result<(StepPage, WantedSteps), ProblemAnswer> {
    let looking = tokio::task::spawn_blocking(move || {
        let WantedSteps { after, filter, limit, .. } = &wanted;
        let page = match after {
            None => timeline.newest(None, filter, *limit),
            Some(After::Now) => timeline.page(None, filter, *limit),
            Some(After::Start) => timeline.page(Some(timeline.start()), filter, *limit),
            Some(After::Cursor(cursor)) => timeline.page(Some(*cursor), filter, *limit),
        };
        (page, wanted)
    });
    looking.await.map_err(|_| {
        let detail = "the search among the last steps broke off: see the log";
        ProblemAnswer::of(ProblemCode::Failed, detail)
    })
}

/// The parameters of a request.
pub(super) fn asked(query: Result<Query<StepsQuery>, QueryRejection>) -> Result<StepsQuery, ProblemAnswer> {
    let Query(query) = query.map_err(|error| ProblemAnswer::of(ProblemCode::BadQuery, error.body_text()))?;
    Ok(query)
}

/// The timeline, if it is on.
pub(super) fn timeline(admin: &AdminState) -> Result<&Timeline, ProblemAnswer> {
    let off = "no steps are kept: set `timeline.bytes_max` to 1 MiB or more, and restart";
    let is_on = admin.timeline.usage().is_on;
    is_on.then_some(&admin.timeline).ok_or_else(|| ProblemAnswer::of(ProblemCode::TimelineOff, off))
}

/// A place among those who wait for steps.
pub(super) fn take_place(admin: &AdminState) -> Result<OwnedSemaphorePermit, ProblemAnswer> {
    admin.live.clone().try_acquire_owned().map_err(|_| {
        let detail = format!("{LIVE_READERS_MAX} readers wait for steps already: close one of them");
        ProblemAnswer::of(ProblemCode::Busy, detail)
    })
}

/// Waits until there is a step behind a cursor, or the bridge stops.
pub(super) async fn await_step(admin: &AdminState, after: TimelineCursor) {
    while !admin.health.is_stopping() {
        if timeout(LOOK_AT_STOP, admin.timeline.changed(after)).await.is_ok() {
            return;
        }
    }
}

/// The steps as they are shown.
pub(super) fn items(steps: Vec<Step>, summary: &Summary) -> Vec<StepItem> {
    let item = |step: Step| {
        let accepted = match &step.kind {
            StepKind::Taken(taken) if taken.verdict == TakenAs::Accepted => Some(&taken.event_type),
            _ => None,
        };
        let selected_by = accepted.map(|event_type| summary.selected_by(event_type));
        StepItem { step, selected_by }
    };
    steps.into_iter().map(item).collect()
}
