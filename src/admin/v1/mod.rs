//! Version 1 of the JSON API, for `fanbridge tail`, `fanbridge explain` and other programs. One file a noun.

mod events;
mod explain;
mod live;
mod query;

pub(super) use live::LIVE_READERS_MAX;

use axum::Router;
use axum::routing::get;

use super::AdminState;

/// The routes below `/api/v1`.
pub(super) fn router() -> Router<AdminState> {
    Router::new()
        .route("/events", get(events::events))
        .route("/events/stream", get(live::stream))
        .route("/events/{id}", get(explain::event))
}
