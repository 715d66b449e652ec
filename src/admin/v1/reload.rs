//! `POST /api/v1/reload`.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::dead::parse;
use super::super::reload::{ReloadAnswer, ReloadRefusal, ReloadTrigger, ReloadUnderWay};
use super::super::{AdminState, ProblemAnswer};
use crate::problem::ProblemCode;

/// The body of `POST /api/v1/reload`.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReloadRequest {
    /// Whether only to say what would change.
    #[serde(default)]
    pub dry_run: bool,
}

/// Answers what changed, or would.
pub(super) async fn reload(
    State(admin): State<AdminState>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<ReloadAnswer>, ProblemAnswer> {
    let ReloadRequest { dry_run } = parse(body)?;
    let reloader = admin.controls()?.reloader.clone();
    Ok(Json(reloader.reload(ReloadTrigger::Api, dry_run).await??))
}

impl From<ReloadUnderWay> for ProblemAnswer {
    fn from(error: ReloadUnderWay) -> Self {
        Self::of(ProblemCode::ReloadUnderWay, error.to_string())
    }
}

impl From<ReloadRefusal> for ProblemAnswer {
    /// The problems or the values are members of the document.
    fn from(refusal: ReloadRefusal) -> Self {
        let said = refusal.to_string();
        match refusal {
            ReloadRefusal::Errors(problems) => {
                Self::of(ProblemCode::ConfigurationErrors, said).with("problems", problems.into())
            }
            ReloadRefusal::Restart(values) => {
                Self::of(ProblemCode::RestartNeeded, said).with("needs_restart", json!(values))
            }
            ReloadRefusal::NoFile | ReloadRefusal::Failed(_) => Self::of(ProblemCode::ReloadFailed, said),
            ReloadRefusal::Stopping => Self::of(ProblemCode::NotReady, said),
        }
    }
}
