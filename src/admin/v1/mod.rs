//! Version 1 of the JSON API, for `fanbridge tail`, `fanbridge explain` and other programs. One file a noun.
//!
//! Answers are compact JSON, moments are RFC 3339, positions are numbers. A list is a [`Listing`]. Each file
//! says at its top what its answers have.

mod configuration;
mod dead;
mod doctor;
mod events;
mod explain;
mod history;
mod live;
mod observed;
mod query;
mod rates;
mod replays;
mod sentence;
mod sinks;
mod sinks_list;
mod sources_list;
mod spool;
mod status;
mod types;

pub(super) use live::LIVE_READERS_MAX;
pub(super) use rates::RecentCounts;
pub use replays::{CancelRequest, ReplayAnswer, ReplayList, ReplayRequest};
pub use sinks::{PauseRequest, PausedAnswer, ResumeRequest};

use axum::Router;
use axum::routing::{get, post};
use serde::Serialize;

use super::{AdminState, dead as letters};

/// The routes below `/api/v1`.
pub(super) fn router() -> Router<AdminState> {
    Router::new()
        .route("/dead", get(dead::list))
        .route("/dead/groups", get(dead::groups))
        .route("/dead/export", get(letters::export))
        .route("/dead/{id}", get(letters::show))
        .route("/dead/redrive", post(letters::redrive))
        .route("/dead/drop", post(letters::drop))
        .route("/status", get(status::status))
        .route("/configuration", get(configuration::configuration))
        .route("/doctor/facts", get(doctor::facts))
        .route("/events", get(events::events))
        .route("/events/stream", get(live::stream))
        .route("/events/{id}", get(explain::event))
        .route("/replays", get(replays::list).post(replays::begin))
        .route("/replays/{id}", get(replays::show))
        .route("/replays/{id}/cancel", post(replays::cancel))
        .route("/sinks/{name}/pause", post(sinks::pause))
        .route("/sinks/{name}/resume", post(sinks::resume))
        .route("/history", get(history::history))
        .route("/sinks", get(sinks_list::sinks))
        .route("/sources", get(sources_list::sources))
        .route("/spool", get(spool::spool))
        .route("/types", get(types::types))
        .route("/types/{provider}/{type}", get(types::event_type))
}

/// A list, or a page of one.
#[derive(Debug, Serialize)]
struct Listing<T> {
    items: Vec<T>,
    /// What to ask for to get the next page; `null` behind the last one.
    next: Option<String>,
}

impl<T> Listing<T> {
    /// A list that is whole.
    fn whole(items: Vec<T>) -> Self {
        Self { items, next: None }
    }
}
