//! `GET /api/v1/types` and `/api/v1/types/{provider}/{type}`: the event types that have arrived.
//!
//! The list is `{"items": […], "next": null}`; there is no second page. New types that no sink selects come
//! first, then new ones, then those that no sink selects. An item:
//!
//! | Member | Meaning |
//! |---|---|
//! | `provider`, `type`, `family` | as the provider names it; `other` stands for types beyond the bounds |
//! | `verdicts` | deliveries by verdict: `accepted`, `filtered`, `duplicate`, `quarantined` |
//! | `count` | all of them |
//! | `first_seen`, `last_seen` | when the first and the last of them arrived |
//! | `new` | whether the type is in no catalogue |
//! | `selected_by` | the sinks that select it now |
//!
//! One type is what `fanbridge explain --type` says of it (`asked`, `type`, `known`, `near`, `sources`,
//! `takes`, `rule`, `line`, `sinks`, `situation`, `cause`, `fix`), with `provider` and, once it has come,
//! under `arrived` the members of the list. Once its shape is known, `shape` is a JSON Schema of its bodies,
//! `learnt_from` says of how many events, and `changes` has what has changed: `path` (a JSON pointer with `*`
//! for any item or name), `what` (`new`, `vanished`, `kind`), and `id` and `at` of the event that showed it.
//! No value of an event is in any of this. A type is found if it has come or the provider's catalogue has it.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use schemars::JsonSchema;
use serde::Serialize;

use super::Listing;
use crate::admin::types::{SeenType, overview};
use crate::admin::{AdminState, ProblemAnswer, Summary};
use crate::explain::{TypeExplanation, explain_type};
use crate::problem::ProblemCode;
use crate::state::ChangeShown;

/// A type of the listing.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct TypeItem {
    provider: String,
    #[serde(rename = "type")]
    event_type: String,
    family: Option<String>,
    verdicts: BTreeMap<String, u64>,
    count: u64,
    first_seen: String,
    last_seen: String,
    new: bool,
    selected_by: Vec<String>,
}

/// One type.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct TypeDetail {
    provider: String,
    #[serde(flatten)]
    explanation: TypeExplanation,
    #[serde(skip_serializing_if = "Option::is_none")]
    arrived: Option<TypeItem>,
    /// A JSON Schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    shape: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    learnt_from: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changes: Vec<ChangeShown>,
}

pub(super) async fn types(State(admin): State<AdminState>) -> Result<Json<Listing<TypeItem>>, ProblemAnswer> {
    let (seen, summary) = (arrived(&admin).await?, admin.summary());
    let items = seen.into_iter().map(|seen| item(seen, &summary)).collect();
    Ok(Json(Listing::whole(items)))
}

pub(super) async fn event_type(
    State(admin): State<AdminState>,
    names: Result<Path<(String, String)>, PathRejection>,
) -> Result<Json<TypeDetail>, ProblemAnswer> {
    let unreadable = "expected a provider and a type in the path";
    let Path((provider, name)) = names.map_err(|_| ProblemAnswer::of(ProblemCode::BadQuery, unreadable))?;
    let (seen, summary) = (arrived(&admin).await?.into_iter(), admin.summary());
    let seen = seen.filter(|seen| seen.provider == provider && seen.event_type == name);
    let arrived = seen.map(|seen| item(seen, &summary)).next();
    let explained = &summary.explained;
    let mut definitions = explained.definitions();
    definitions.retain(|definition| *definition.provider == *provider);
    let explanation = explain_type(explained, &definitions, &name);
    if arrived.is_none() && explanation.known.is_empty() {
        let detail = "no such type has come from this provider, and its catalogue has none";
        return Err(ProblemAnswer::of(ProblemCode::NotFound, detail));
    }
    let of_type = provider.clone();
    let known = admin.ask(move |state| state.shape(&of_type, &name)).await?;
    let learnt_from = known.as_ref().map(|known| known.shape.events());
    let shape = known.as_ref().map(|known| known.shape.json_schema());
    let changes = known.map(|known| known.changes).unwrap_or_default();
    Ok(Json(TypeDetail { provider, explanation, arrived, shape, learnt_from, changes }))
}

/// The types that have arrived up to now.
async fn arrived(admin: &AdminState) -> Result<Vec<SeenType>, ProblemAnswer> {
    admin.note().await?;
    let seen = admin.ask(|state| state.types_seen()).await?;
    Ok(overview(seen, &admin.summary()))
}

fn item(seen: SeenType, summary: &Summary) -> TypeItem {
    let SeenType { provider, event_type, verdicts, first_seen, last_seen, new, selected_by } = seen;
    let mut sources = summary.explained.sources.iter();
    let source = sources.find(|source| *source.definition.provider == *provider);
    let family = source.map(|source| source.definition.catalogue.family_of(&event_type).to_string());
    let count = verdicts.values().sum();
    TypeItem { provider, event_type, family, verdicts, count, first_seen, last_seen, new, selected_by }
}
