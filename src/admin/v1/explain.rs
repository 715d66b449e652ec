//! `GET /api/v1/events/{id}`: what became of an event, and why; with `payload=1` also its body, if that is
//! allowed to be shown.
//!
//! A search reads the log on a thread that can block, and ends early if the client leaves. Two run at once:
//! they read from the disk to which events are written.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use serde::Deserialize;

use super::super::dead::bad_request;
use super::super::{AdminState, ProblemAnswer};
use crate::dead_letter::body_of;
use crate::event::Timestamp;
use crate::explain::{AskedEvent, AskedEventError, ExplainError, ExplainScope, Explanation};
use crate::problem::ProblemCode;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct EventQuery {
    /// Only events of this source.
    source: Option<String>,
    /// Only what arrived at this moment or later, in RFC 3339.
    since: Option<String>,
    /// `1` for the body as well.
    payload: Option<String>,
}

pub(super) async fn event(
    State(admin): State<AdminState>,
    id: Result<Path<String>, PathRejection>,
    query: Result<Query<EventQuery>, QueryRejection>,
) -> Result<Json<Explanation>, ProblemAnswer> {
    let Path(id) = id.map_err(|_| bad_request("expected the id of an event in the path"))?;
    let asked: AskedEvent = id.parse().map_err(|error: AskedEventError| bad_request(error.to_string()))?;
    let Query(query) = query.map_err(|error| bad_request(error.body_text()))?;
    let since = query.since.as_deref().map(moment).transpose()?;
    let with_payload = match query.payload.as_deref() {
        None | Some("0" | "false") => false,
        Some("1" | "true") => true,
        Some(_) => return Err(bad_request("expected 1 or 0 in `payload`")),
    };
    if with_payload && !admin.shows_payloads {
        let detail = "bodies of events are not shown: set `admin.show_payloads: true`, and restart";
        return Err(ProblemAnswer::of(ProblemCode::PayloadsHidden, detail));
    }
    let scope = ExplainScope { source: query.source, since, ..ExplainScope::default() };
    let permit = Arc::clone(&admin.searches).try_acquire_owned().map_err(|_| {
        let detail = "two explanations are being searched for: ask again in a few seconds";
        ProblemAnswer::of(ProblemCode::Busy, detail)
    })?;
    let explainer = admin.opened()?.explainer.load_full();
    let _ends_with_the_request = StopOnDrop(Arc::clone(&scope.stop));
    let search = move || {
        // Held until the search has ended, not only until nobody waits for it.
        let _permit = permit;
        let mut explanation = explainer.event(&asked, &scope)?;
        if with_payload && let Some(body) = explainer.body(&explanation, &scope)? {
            (explanation.data, explanation.data_base64) = body_of(&body);
        }
        Ok::<_, ExplainError>(explanation)
    };
    let explained = tokio::task::spawn_blocking(search).await;
    match explained {
        Ok(Ok(explanation)) => Ok(Json(explanation)),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => {
            let detail = "the search broke off: see the log";
            Err(ProblemAnswer::of(ProblemCode::Failed, detail))
        }
    }
}

/// Ends a search whose answer nobody waits for any more.
pub(super) struct StopOnDrop(pub(super) Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn moment(text: &str) -> Result<Timestamp, ProblemAnswer> {
    let expected = "expected a moment in `since`, in RFC 3339: 2026-11-21T06:40:00Z";
    Timestamp::from_rfc3339(text).ok_or_else(|| bad_request(expected))
}

impl From<ExplainError> for ProblemAnswer {
    fn from(error: ExplainError) -> Self {
        match error {
            ExplainError::State(error) => error.into(),
            ExplainError::UnknownSource(_) => bad_request(error.to_string()),
            ExplainError::Log(error) => error.into(),
        }
    }
}
