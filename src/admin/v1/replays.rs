//! `/api/v1/replays`: delivered events are sent to a sink again.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::dead::{bad_request, parse};
use super::super::{AdminState, ProblemAnswer};
use crate::event::Position;
use crate::problem::ProblemCode;
use crate::replay::{NewReplay, RATE_DEFAULT, ReplayCount, ReplayError, Replays};
use crate::state::{ReplayRow, ReplaySelection};

/// The body of `POST /api/v1/replays`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReplayRequest {
    /// The sink that is to get the events.
    pub sink: String,
    /// Which events.
    pub events: ReplaySelection,
    /// Whether events go to the sink that its own selection does not take.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub select_all: bool,
    /// Most events in a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<u32>,
    /// Only count the events.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// With `dry_run`: only what is behind this position of the log, the `through` of another answer.
    pub after: u64,
}

/// The body of `POST /api/v1/replays/{id}/cancel`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CancelRequest {}

/// A replay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReplayAnswer {
    /// How it is.
    #[serde(flatten)]
    pub row: ReplayRow,
    /// What it waits for, if it waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
}

/// The answer of `GET /api/v1/replays`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ReplayList {
    /// The replays, newest first.
    pub items: Vec<ReplayAnswer>,
    /// Always `null`: all of them are here.
    pub next: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum BeginAnswer {
    Counted(Box<ReplayCount>),
    Begun(Box<ReplayAnswer>),
}

pub(super) async fn list(State(admin): State<AdminState>) -> Result<Json<ReplayList>, ProblemAnswer> {
    let rows = ask(&admin, Replays::list).await?;
    Ok(Json(ReplayList { items: rows.into_iter().rev().map(answer).collect(), next: None }))
}

pub(super) async fn show(
    State(admin): State<AdminState>,
    id: Result<Path<u64>, PathRejection>,
) -> Result<Json<ReplayAnswer>, ProblemAnswer> {
    let id = number(id)?;
    ask(&admin, move |replays| replays.show(id)).await.map(answer).map(Json)
}

pub(super) async fn begin(
    State(admin): State<AdminState>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<BeginAnswer>, ProblemAnswer> {
    let ReplayRequest { sink, events, select_all, rate, dry_run, after } = parse(body)?;
    let new = NewReplay { sink, events, select_all, rate: rate.unwrap_or(RATE_DEFAULT) };
    let permit = Arc::clone(&admin.searches).try_acquire_owned().map_err(|_| {
        let detail = "two searches of the log are under way: ask again in a few seconds";
        ProblemAnswer::of(ProblemCode::Busy, detail)
    })?;
    // Held until the search has ended, not only until nobody waits for it.
    let done = move |replays: &Replays| {
        let _permit = permit;
        Ok(match dry_run {
            true => BeginAnswer::Counted(Box::new(replays.count(&new, Position(after))?)),
            false => BeginAnswer::Begun(Box::new(answer((replays.begin(&new)?, None)))),
        })
    };
    ask(&admin, done).await.map(Json)
}

pub(super) async fn cancel(
    State(admin): State<AdminState>,
    id: Result<Path<u64>, PathRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<ReplayAnswer>, ProblemAnswer> {
    let (id, CancelRequest {}) = (number(id)?, parse(body)?);
    let row = ask(&admin, move |replays| replays.cancel(id)).await?;
    Ok(Json(answer((row, None))))
}

fn number(id: Result<Path<u64>, PathRejection>) -> Result<u64, ProblemAnswer> {
    id.map(|Path(id)| id).map_err(|_| bad_request("expected the number of a replay in the path"))
}

fn answer((row, waits_for): (ReplayRow, Option<String>)) -> ReplayAnswer {
    ReplayAnswer { row, waits_for }
}

/// Asks for something, or changes it, on a thread that can block; also if the client leaves meanwhile.
async fn ask<T: Send + 'static>(
    admin: &AdminState,
    work: impl FnOnce(&Replays) -> Result<T, ReplayError> + Send + 'static,
) -> Result<T, ProblemAnswer> {
    let replays = admin.controls()?.replays.clone();
    let place = Arc::clone(&admin.queries).acquire_owned().await;
    let asked = move || {
        let _place = place;
        work(&replays)
    };
    match tokio::task::spawn_blocking(asked).await {
        Ok(done) => Ok(done?),
        Err(_) => {
            let detail = "the request broke off: see the log, then look what became of it";
            Err(ProblemAnswer::of(ProblemCode::Failed, detail))
        }
    }
}

impl From<ReplayError> for ProblemAnswer {
    fn from(error: ReplayError) -> Self {
        let code = match &error {
            ReplayError::State(_) | ReplayError::Log(_) => ProblemCode::LogUnreadable,
            ReplayError::UnknownSink(..) | ReplayError::UnknownId(_) | ReplayError::Unknown(_) => {
                ProblemCode::NotFound
            }
            ReplayError::TooMany | ReplayError::Ended(_) => ProblemCode::Conflict,
            ReplayError::Everything
            | ReplayError::NoTime
            | ReplayError::Rate(_)
            | ReplayError::Ids(_)
            | ReplayError::Names { .. } => ProblemCode::BadBody,
        };
        match error {
            ReplayError::State(error) => error.into(),
            ReplayError::Log(error) => error.into(),
            error => Self::of(code, error.to_string()),
        }
    }
}
