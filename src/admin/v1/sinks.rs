//! `POST /api/v1/sinks/{name}/pause` and `…/resume`.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::dead::parse;
use super::super::{AdminState, ProblemAnswer};
use crate::dispatch::pause::{PauseError, Pausing};
use crate::health::PausedStatus;
use crate::problem::ProblemCode;
use crate::state::PausedSince;

/// The body of `POST /api/v1/sinks/{name}/pause`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PauseRequest {
    /// Why, for whoever finds the sink paused.
    pub reason: String,
    /// Whether to pause a sink also if answers wait for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
}

/// The body of `POST /api/v1/sinks/{name}/resume`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResumeRequest {}

/// A sink that is paused, or was until it was resumed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PausedAnswer {
    /// When it was paused, in RFC 3339.
    pub since: String,
    /// The reason that was given.
    pub reason: String,
}

impl From<PausedStatus> for PausedAnswer {
    fn from(PausedStatus { since, reason }: PausedStatus) -> Self {
        Self { since: since.to_rfc3339(), reason }
    }
}

impl From<PausedSince> for PausedAnswer {
    fn from(PausedSince { since, reason }: PausedSince) -> Self {
        Self { since: since.to_rfc3339(), reason }
    }
}

/// Answers since when the sink is paused.
pub(super) async fn pause(
    State(admin): State<AdminState>,
    name: Result<Path<String>, PathRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<PausedAnswer>, ProblemAnswer> {
    let PauseRequest { reason, force } = parse(body)?;
    let paused = change(&admin, name, move |pausing, name| pausing.pause(name, &reason, force)).await?;
    Ok(Json(paused.into()))
}

/// Answers since when the sink was paused; `null` if it was not.
pub(super) async fn resume(
    State(admin): State<AdminState>,
    name: Result<Path<String>, PathRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Option<PausedAnswer>>, ProblemAnswer> {
    let ResumeRequest {} = parse(body)?;
    let was = change(&admin, name, |pausing, name| pausing.resume(name)).await?;
    Ok(Json(was.map(PausedAnswer::from)))
}

/// Changes a sink on a thread that can block, also if the client leaves meanwhile.
async fn change<T: Send + 'static>(
    admin: &AdminState,
    name: Result<Path<String>, PathRejection>,
    change: impl FnOnce(&Pausing, &str) -> Result<T, PauseError> + Send + 'static,
) -> Result<T, ProblemAnswer> {
    let Path(name) = name
        .map_err(|_| ProblemAnswer::of(ProblemCode::BadQuery, "expected the name of a sink in the path"))?;
    let pausing = Arc::clone(&admin.controls()?.pausing);
    match tokio::task::spawn_blocking(move || change(&pausing, &name)).await {
        Ok(changed) => Ok(changed?),
        Err(_) => {
            let detail = "the change broke off: see the log, then repeat it";
            Err(ProblemAnswer::of(ProblemCode::Failed, detail))
        }
    }
}

impl From<PauseError> for ProblemAnswer {
    fn from(error: PauseError) -> Self {
        match error {
            PauseError::State(error) => error.into(),
            PauseError::UnknownSink(..) => Self::of(ProblemCode::NotFound, error.to_string()),
            PauseError::Awaited(_) => Self::of(ProblemCode::SinkAwaited, error.to_string()),
            PauseError::Reason => Self::of(ProblemCode::BadBody, error.to_string()),
        }
    }
}
