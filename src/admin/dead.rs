//! The dead letters over HTTP: list, show, export, redrive, drop.
//!
//! A change names the letters that it changes, and answers what it did. Lists and exports come in
//! pages: continue with `after`, the last number seen.

use std::collections::BTreeSet;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use super::{AdminState, ProblemAnswer};
use crate::dead_letter::{self, Choice, Document, Dropped, Redriven};
use crate::problem::ProblemCode;
use crate::state::{self, DeadFilter, DeadLetterInfo, StateError};

/// Most letters on a page and in a change.
pub(super) const LETTERS_MAX: usize = 1_000;
/// Letters on a page without a `limit`.
const LETTERS_DEFAULT: usize = 100;
/// Answer header with the `after` of the next page.
const NEXT_HEADER: &str = "x-fanbridge-next";

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ListQuery {
    sink: Option<String>,
    quarantined: bool,
    reason: Option<String>,
    #[serde(rename = "type")]
    event_type: Option<String>,
    group: Option<String>,
    pub(super) after: u64,
    limit: Option<usize>,
}

impl ListQuery {
    pub(super) fn limit(&self) -> usize {
        self.limit.unwrap_or(LETTERS_DEFAULT).clamp(1, LETTERS_MAX)
    }

    pub(super) fn into_filter(self) -> DeadFilter {
        let Self { sink, quarantined, reason, event_type, group, .. } = self;
        DeadFilter { sink, quarantined, reason, event_type, group }
    }
}

pub(super) async fn list(
    State(admin): State<AdminState>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<Vec<DeadLetterInfo>>, ProblemAnswer> {
    let Query(query) = query.map_err(|e| bad_request(e.body_text()))?;
    let (after, limit) = (query.after, query.limit());
    let filter = query.into_filter();
    admin.ask(move |state| state.dead_letters(&filter, after, limit)).await.map(Json)
}

pub(super) async fn show(
    State(admin): State<AdminState>,
    id: Result<Path<u64>, PathRejection>,
) -> Result<Json<Document>, ProblemAnswer> {
    let Path(id) = id.map_err(|_| bad_request("expected the number of a dead letter in the path"))?;
    let document = admin.ask(move |state| dead_letter::show(state, id)).await?;
    document
        .map(Json)
        .ok_or_else(|| ProblemAnswer::of(ProblemCode::NotFound, format!("there is no dead letter {id}")))
}

pub(super) async fn export(
    State(admin): State<AdminState>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Response, ProblemAnswer> {
    let Query(query) = query.map_err(|e| bad_request(e.body_text()))?;
    let (after, limit) = (query.after, query.limit());
    let filter = query.into_filter();
    let page = admin.ask(move |state| dead_letter::export(state, &filter, after, limit)).await?;
    let mut response = ([(CONTENT_TYPE, "application/x-ndjson")], page.lines).into_response();
    if let Some(next) = page.next {
        response.headers_mut().insert(NEXT_HEADER, next.into());
    }
    Ok(response)
}

/// The body of `POST /api/v1/dead/redrive`: either `ids`, or `filter` or `group`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RedriveRequest {
    /// The letters with these numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ids: Option<Vec<u64>>,
    /// The letters that this filter matches; `{}` matches all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<DeadFilter>,
    /// The letters of the group with this id; the same as in the filter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// With a filter: only letters with a higher number.
    pub after: u64,
    /// With a filter: only letters up to this number, so that going through the pages ends although
    /// letters become dead letters again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub through: Option<u64>,
    /// With a filter: most letters in this request. A dry run counts all by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Only count the letters.
    pub dry_run: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum RedriveAnswer {
    Counted(Counted),
    Done(Redriven),
}

/// The result of a dry run.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Counted {
    /// Always true, so that nobody takes this for the result of a change.
    pub dry_run: bool,
    /// The number of letters that would be changed.
    pub count: u64,
    /// The highest number among the counted letters.
    pub through: u64,
    /// The requested numbers without a letter.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<u64>,
}

pub(super) async fn redrive(
    State(admin): State<AdminState>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<RedriveAnswer>, ProblemAnswer> {
    let mut request: RedriveRequest = parse(body)?;
    if let Some(group) = request.group.take() {
        request.filter.get_or_insert_default().group = Some(group);
    }
    let dry_run = request.dry_run;
    let choice = chosen(request)?;
    if dry_run {
        return count(&admin, choice).await.map(Json);
    }
    let redrive = admin.opened()?.redrive.clone();
    let run = tokio::spawn(async move { redrive.run(choice).await });
    let report = finished(run, "the redrive ended early: see the log, then repeat it").await?;
    tracing::info!(
        redriven = report.redriven,
        already_delivered = report.already_delivered,
        kept = report.kept.len(),
        last = report.last,
        "dead letters were redriven at the request of the admin API"
    );
    Ok(Json(RedriveAnswer::Done(report)))
}

/// The result of a change that runs in a task of its own: a client that disconnects must not end it
/// half-way, with letters both in the spool and among the dead letters.
async fn finished<T>(
    change: JoinHandle<Result<T, StateError>>,
    broken: &'static str,
) -> Result<T, ProblemAnswer> {
    match change.await {
        Ok(report) => Ok(report?),
        Err(_) => Err(ProblemAnswer::of(ProblemCode::Failed, broken)),
    }
}

async fn count(admin: &AdminState, choice: Choice) -> Result<RedriveAnswer, ProblemAnswer> {
    let mut counted = Counted { dry_run: true, ..Counted::default() };
    match choice {
        Choice::Ids(ids) => {
            (counted.count, counted.through, counted.missing) =
                admin.ask(move |state| named(state, ids)).await?;
        }
        Choice::Matching { filter, after, through, limit } => {
            let count = move |state: &state::State| state.count_dead_letters(&filter, after, through, limit);
            (counted.count, counted.through) = admin.ask(count).await?;
        }
    }
    Ok(RedriveAnswer::Counted(counted))
}

/// Number of these letters that exist, the highest of their numbers, and the numbers without a
/// letter.
fn named(state: &state::State, ids: Vec<u64>) -> Result<(u64, u64, Vec<u64>), StateError> {
    let (mut count, mut through, mut missing) = (0, 0, Vec::new());
    for id in ids {
        let next = state.dead_letters(&DeadFilter::default(), id.saturating_sub(1), 1)?;
        if next.first().is_some_and(|letter| letter.id == id) {
            (count, through) = (count + 1, id.max(through));
        } else {
            missing.push(id);
        }
    }
    Ok((count, through, missing))
}

fn chosen(request: RedriveRequest) -> Result<Choice, ProblemAnswer> {
    match request {
        RedriveRequest { ids: Some(ids), filter: None, .. } => Ok(Choice::Ids(distinct(ids)?)),
        RedriveRequest { ids: None, filter: Some(filter), after, through, limit, dry_run, group: _ } => {
            let limit = match limit {
                // Counts all letters, to show how many pages a redrive has.
                None if dry_run => usize::MAX,
                limit => limit.unwrap_or(LETTERS_MAX).clamp(1, LETTERS_MAX),
            };
            Ok(Choice::Matching { filter, after, through: through.unwrap_or(u64::MAX), limit })
        }
        _ => {
            Err(bad_body("expected either ids, or filter or group; an empty filter matches all dead letters"))
        }
    }
}

/// The body of `POST /api/v1/dead/drop`: either `ids` or `group`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DropRequest {
    /// The letters with these numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<u64>,
    /// The letters of the group with this id, all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The number of letters, once more: a dropped letter cannot be restored.
    pub confirm: usize,
}

pub(super) async fn drop(
    State(admin): State<AdminState>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Dropped>, ProblemAnswer> {
    let DropRequest { ids, group, confirm } = parse(body)?;
    let ids = match group {
        None => distinct(ids)?,
        Some(group) if ids.is_empty() => admin.ask(move |state| of_group(state, group)).await?,
        Some(_) => return Err(bad_body("expected either ids or group")),
    };
    if confirm != ids.len() {
        return Err(ProblemAnswer::of(
            ProblemCode::Conflict,
            format!("the request is for {} dead letters but confirms {confirm}: none was dropped", ids.len()),
        ));
    }
    let redrive = admin.opened()?.redrive.clone();
    let run = tokio::spawn(async move {
        let mut report = Dropped::default();
        for ids in ids.chunks(LETTERS_MAX) {
            let Dropped { dropped, missing } = redrive.drop(ids.to_vec()).await?;
            report.dropped += dropped;
            report.missing.extend(missing);
        }
        Ok(report)
    });
    let report = finished(run, "the drop ended early: see the log, then repeat it").await?;
    tracing::info!(dropped = report.dropped, "dead letters were dropped at the request of the admin API");
    Ok(Json(report))
}

/// The numbers of the letters of a group, ascending.
fn of_group(state: &state::State, group: String) -> Result<Vec<u64>, StateError> {
    let filter = DeadFilter { group: Some(group), ..DeadFilter::default() };
    let (mut ids, mut after) = (Vec::new(), 0);
    loop {
        let page = state.dead_letters(&filter, after, LETTERS_MAX)?;
        ids.extend(page.iter().map(|letter| letter.id));
        match page.last() {
            Some(last) => after = last.id,
            None => return Ok(ids),
        }
    }
}

fn distinct(ids: Vec<u64>) -> Result<Vec<u64>, ProblemAnswer> {
    let ids: BTreeSet<u64> = ids.into_iter().collect();
    match ids.len() {
        0 => Err(bad_body("expected at least one number of a dead letter in ids")),
        1..=LETTERS_MAX => Ok(ids.into_iter().collect()),
        more => Err(bad_body(format!("ids has {more} dead letters, expected at most {LETTERS_MAX}"))),
    }
}

pub(super) fn parse<T: DeserializeOwned>(body: Result<Bytes, BytesRejection>) -> Result<T, ProblemAnswer> {
    let unread = |rejection: BytesRejection| {
        let is_large = rejection.status() == ProblemCode::BodyTooLarge.status();
        let code = if is_large { ProblemCode::BodyTooLarge } else { ProblemCode::BadBody };
        ProblemAnswer::of(code, rejection.body_text())
    };
    serde_json::from_slice(&body.map_err(unread)?).map_err(|error| bad_body(error.to_string()))
}

pub(super) fn bad_request(detail: impl Into<std::borrow::Cow<'static, str>>) -> ProblemAnswer {
    ProblemAnswer::of(ProblemCode::BadQuery, detail)
}

pub(super) fn bad_body(detail: impl Into<std::borrow::Cow<'static, str>>) -> ProblemAnswer {
    ProblemAnswer::of(ProblemCode::BadBody, detail)
}
