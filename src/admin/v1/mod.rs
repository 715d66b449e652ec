//! Version 1 of the JSON API, for `fanbridge tail`, `fanbridge explain` and other programs. One file a noun.

mod events;
mod explain;
mod live;
mod query;
mod sinks;

pub(super) use live::LIVE_READERS_MAX;
pub use sinks::{PauseRequest, PausedAnswer, ResumeRequest};

use axum::Router;
use axum::routing::{get, post};

use super::AdminState;

/// The routes below `/api/v1`.
pub(super) fn router() -> Router<AdminState> {
    Router::new()
        .route("/events", get(events::events))
        .route("/events/stream", get(live::stream))
        .route("/events/{id}", get(explain::event))
        .route("/sinks/{name}/pause", post(sinks::pause))
        .route("/sinks/{name}/resume", post(sinks::resume))
}
