//! The dead letters below `/api/v1/dead`: in pages, and by cause.
//!
//! | Route | Answer |
//! |---|---|
//! | `GET /dead?after&limit` | `{"items": [letter], "next"}`; `next` is the `after` of the next page |
//! | `GET /dead/groups` | `{"items": [group], "next": null, "ungrouped": n}`, the largest group first |
//! | `GET /dead/{id}` | one letter with its attributes and its body |
//! | `GET /dead/export?after&limit` | letters with their bodies as JSON Lines; `x-fanbridge-next` reads on |
//! | `POST /dead/redrive` | `{"ids"}`, or `{"group"}` or `{"filter"}`, with `dry_run`: what became of each |
//! | `POST /dead/drop` | `{"ids", "confirm"}` or `{"group", "confirm"}`: `{"dropped", "missing"}` |
//!
//! Each `GET` of several takes `sink`, `quarantined=true`, `reason`, `type` and `group`. A letter: `id`,
//! `sink` (`null` for a quarantined delivery), `reason`, `detail`, `attempts`, `first`, `last`,
//! `position`, `topic`, `event_id`, `event_type`, `source`, `body_bytes`. A group: `id`, `sink`, `reason`,
//! `detail` with `N` for numbers and ids, `type` if all have the same, `count`, `bytes`, `first`, `last`,
//! `newest` (the greatest number). `ungrouped` counts letters beyond 1,000 groups.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use schemars::JsonSchema;
use serde::Serialize;

use super::Listing;
use crate::admin::dead::{ListQuery, bad_request};
use crate::admin::{AdminState, ProblemAnswer};
use crate::state::{DeadGroup, DeadLetterInfo};

/// The groups of dead letters.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct GroupsAnswer {
    #[serde(flatten)]
    groups: Listing<DeadGroup>,
    ungrouped: u64,
}

pub(super) async fn list(
    State(admin): State<AdminState>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<Listing<DeadLetterInfo>>, ProblemAnswer> {
    let Query(query) = query.map_err(|error| bad_request(error.body_text()))?;
    let (after, limit) = (query.after, query.limit());
    let filter = query.into_filter();
    let items = admin.ask(move |state| state.dead_letters(&filter, after, limit)).await?;
    let next = items.last().filter(|_| items.len() >= limit).map(|last| last.id.to_string());
    Ok(Json(Listing { items, next }))
}

pub(super) async fn groups(
    State(admin): State<AdminState>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<GroupsAnswer>, ProblemAnswer> {
    let Query(query) = query.map_err(|error| bad_request(error.body_text()))?;
    let filter = query.into_filter();
    let found = admin.ask(move |state| state.dead_letter_groups(&filter)).await?;
    Ok(Json(GroupsAnswer { groups: Listing::whole(found.groups), ungrouped: found.ungrouped }))
}
