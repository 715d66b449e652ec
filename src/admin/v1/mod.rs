//! The second generation of the JSON API, under `/api/v1`: one file a noun.

mod explain;

use axum::Router;
use axum::routing::get;

use super::AdminState;

/// Its routes, below `/api/v1`.
pub(super) fn router() -> Router<AdminState> {
    Router::new().route("/events/{id}", get(explain::event))
}
