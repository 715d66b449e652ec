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
mod import;
mod live;
mod log;
mod observed;
mod openapi;
mod query;
mod rates;
mod reload;
mod replays;
mod routes;
mod sentence;
mod sinks;
mod sinks_list;
mod sources_list;
mod spool;
mod status;
mod types;

pub use import::{
    IMPORT_BODIES_MAX, IMPORT_BYTES_MAX, ImportAnswer, ImportItem, ImportRequest, ImportVerdict, SavedRequest,
};
pub(super) use live::LIVE_READERS_MAX;
pub use openapi::openapi_document;
pub(super) use rates::RecentCounts;
pub use reload::ReloadRequest;
pub use replays::{CancelRequest, ReplayAnswer, ReplayList, ReplayRequest};
pub(super) use routes::router;
pub use sinks::{PauseRequest, PausedAnswer, ResumeRequest};

use schemars::JsonSchema;
use serde::Serialize;

/// Where the description of the API is.
pub(super) const OPENAPI_PATH: &str = "/api/v1/openapi.json";

/// A list, or a page of one.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ListOf{T}")]
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
