//! `GET /api/v1/history`: the numbers of the last minutes in columns, for plots.
//!
//! - `every_seconds`: time between two points; `at`: seconds since the Unix epoch of each, oldest first.
//! - `columns`: by name a list with a number for each point. A second: `accepted`, `filtered`, `duplicate`,
//!   `quarantined`, `refused`, `retries`, `dead_letters`. In seconds: `ack_p50`, `ack_p99`, `fdatasync_p50`,
//!   `fdatasync_p99`. And `spool_bytes`.
//! - `sinks`: of each its `name` and its `columns` in seconds: `end_to_end_p50`, `end_to_end_p99`,
//!   `oldest_pending_seconds`.
//!
//! What is not known of a point, or did not happen, is `null`. `minutes` (1 to 60) says how far back; what
//! was before the start of the bridge is forgotten.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::Deserialize;

use super::query::bad_query;
use crate::admin::history::HistoryAnswer;
use crate::admin::{AdminState, ProblemAnswer};
use crate::problem::ProblemCode;

const MINUTES_MAX: u64 = 60;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct HistoryQuery {
    minutes: Option<String>,
}

pub(super) async fn history(
    State(admin): State<AdminState>,
    query: Result<Query<HistoryQuery>, QueryRejection>,
) -> Result<Json<HistoryAnswer>, ProblemAnswer> {
    let Query(query) = query.map_err(|error| ProblemAnswer::of(ProblemCode::BadQuery, error.body_text()))?;
    let minutes = match query.minutes.as_deref() {
        None => MINUTES_MAX,
        Some(text) => text
            .parse()
            .ok()
            .filter(|minutes| (1..=MINUTES_MAX).contains(minutes))
            .ok_or_else(|| bad_query("minutes", format!("expected a number from 1 to {MINUTES_MAX}")))?,
    };
    let summary = admin.summary();
    let sinks = summary.sinks.iter().map(|sink| sink.name.clone());
    Ok(Json(admin.history.last(minutes * 60, sinks)))
}
