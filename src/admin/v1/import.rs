//! `POST /api/v1/sources/{name}/import`: takes saved bodies in by a source, without their signatures.
//!
//! The token of the admin listener stands for the signature, so `admin.import` can switch this off, and the
//! log has a line for each import: who, what, why. The line has no body and no id.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::dead::{bad_body, bad_request, parse};
use super::super::{AdminState, ProblemAnswer};
use crate::problem::ProblemCode;
use crate::source::DeliveryFate;
use crate::source::import::{ImportReason, ImportedBody, Imports, SavedBody};
use crate::telemetry::Shown;

/// Most bytes of a request: a body of 3 MiB in base64.
pub const IMPORT_BYTES_MAX: usize = 4 << 20;
/// Most bodies of a request.
pub const IMPORT_BODIES_MAX: usize = 1000;
/// Longest name of whoever imports, in bytes.
const BY_BYTES_MAX: usize = 64;

/// The body of `POST /api/v1/sources/{name}/import`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportRequest {
    /// Why, for whoever meets the events: 1 to 255 printable ASCII characters.
    pub reason: String,
    /// Who imports, for the log: at most 64 printable ASCII characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Only say what would become of the bodies.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// The bodies, in the order in which they are to be taken in: 1 to 1,000.
    pub bodies: Vec<SavedRequest>,
}

/// A request of a provider, as it was saved.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SavedRequest {
    /// Its headers, if the provider states a type or an id in one. No signature is looked at.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Its body in base64, plain or gzip.
    pub body_base64: String,
}

/// What became of the bodies.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ImportAnswer {
    /// One for each body, in their order.
    pub items: Vec<ImportItem>,
}

/// What became of a body, or would become of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ImportItem {
    /// What became of it.
    pub verdict: ImportVerdict,
    /// The id of the event or of the quarantined delivery.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Why it is refused or quarantined, in a word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What became of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ImportVerdict {
    /// The event is durable.
    Accepted,
    /// The event was durable already.
    Duplicate,
    /// The event's type is not selected.
    Filtered,
    /// The body cannot become an event; it is durable, and becomes a dead letter.
    Quarantined,
    /// The body is not taken in.
    Refused,
}

impl ImportVerdict {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Accepted, Self::Duplicate, Self::Filtered, Self::Quarantined, Self::Refused];

    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Duplicate => "duplicate",
            Self::Filtered => "filtered",
            Self::Quarantined => "quarantined",
            Self::Refused => "refused",
        }
    }
}

impl From<DeliveryFate> for ImportVerdict {
    fn from(fate: DeliveryFate) -> Self {
        match fate {
            DeliveryFate::Accepted => Self::Accepted,
            DeliveryFate::Duplicate => Self::Duplicate,
            DeliveryFate::Filtered => Self::Filtered,
            DeliveryFate::Quarantined => Self::Quarantined,
        }
    }
}

impl From<ImportedBody> for ImportItem {
    fn from(body: ImportedBody) -> Self {
        match body {
            ImportedBody::Taken { fate, id, reason } => {
                Self { verdict: fate.into(), id: Some(id), reason: reason.map(Into::into) }
            }
            ImportedBody::Refused(word) => Self::refused(word),
        }
    }
}

impl ImportItem {
    /// A body that is not taken in, for this reason.
    pub fn refused(word: &str) -> Self {
        Self { verdict: ImportVerdict::Refused, id: None, reason: Some(word.to_owned()) }
    }
}

/// An import that was asked for.
struct Import {
    source: String,
    reason: ImportReason,
    by: String,
    dry_run: bool,
    bodies: Vec<SavedBody>,
}

/// Answers what became of each body. It goes on if the client leaves meanwhile.
pub(super) async fn import(
    State(admin): State<AdminState>,
    name: Result<Path<String>, PathRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<ImportAnswer>, ProblemAnswer> {
    let Some(importing) = &admin.importing else {
        let detail = "bodies are not imported here: set `admin.import: true`, and restart";
        return Err(ProblemAnswer::of(ProblemCode::ImportOff, detail));
    };
    let Path(source) = name.map_err(|_| bad_request("expected the name of a source in the path"))?;
    let permit = Arc::clone(importing).try_acquire_owned().map_err(|_| {
        let detail = "two imports are under way: ask again in a few seconds";
        ProblemAnswer::of(ProblemCode::Busy, detail)
    })?;
    let import = Import::new(source, parse(body)?)?;
    let imports = admin.controls()?.imports.load_full();
    let importing = tokio::spawn(async move {
        let _permit = permit;
        import.run(&imports).await
    });
    match importing.await {
        Ok(answer) => answer.map(Json),
        Err(_) => {
            let detail = "the import broke off: see the log, then repeat it; what is in is a duplicate then";
            Err(ProblemAnswer::of(ProblemCode::Failed, detail))
        }
    }
}

impl Import {
    fn new(source: String, request: ImportRequest) -> Result<Self, ProblemAnswer> {
        let ImportRequest { reason, by, dry_run, bodies } = request;
        let reason = ImportReason::new(&reason).map_err(|error| bad_body(format!("`reason`: {error}")))?;
        let by = by.unwrap_or_default();
        if by.len() > BY_BYTES_MAX || !by.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return Err(bad_body("`by`: expected at most 64 printable ASCII characters"));
        }
        if !(1..=IMPORT_BODIES_MAX).contains(&bodies.len()) {
            return Err(bad_body(format!("`bodies`: expected 1 to {IMPORT_BODIES_MAX} of them")));
        }
        let saved = bodies.into_iter().enumerate().map(|(index, body)| saved(index, &body));
        Ok(Self { source, reason, by, dry_run, bodies: saved.collect::<Result<_, _>>()? })
    }

    async fn run(self, imports: &Imports) -> Result<ImportAnswer, ProblemAnswer> {
        let Self { source, reason, by, dry_run, bodies } = self;
        let (count, now) = (bodies.len(), SystemTime::now().into());
        let items = match dry_run {
            true => imports.preview(&source, &reason, bodies, now).await,
            false => imports.take(&source, &reason, bodies, now).await,
        };
        let Some(items) = items else {
            let known = imports.names().join(", ");
            let detail = format!("there is no source `{}` (configured: {known})", Shown(&source));
            return Err(ProblemAnswer::of(ProblemCode::NotFound, detail));
        };
        let items: Vec<ImportItem> = items.into_iter().map(Into::into).collect();
        if !dry_run {
            let [accepted, duplicate, filtered, quarantined, refused] =
                ImportVerdict::ALL.map(|verdict| items.iter().filter(|item| item.verdict == verdict).count());
            tracing::info!(
                %source, reason = reason.as_str(), by, bodies = count,
                accepted, duplicate, filtered, quarantined, refused,
                "an operator has imported bodies by the source, without their signatures"
            );
        }
        Ok(ImportAnswer { items })
    }
}

/// A saved request as the source takes it. What is wrong with it is said by its place, and not repeated.
fn saved(
    index: usize,
    SavedRequest { headers, body_base64 }: &SavedRequest,
) -> Result<SavedBody, ProblemAnswer> {
    let wrong = |what: &str| bad_body(format!("`bodies[{index}]`: {what}"));
    let body = BASE64_STANDARD.decode(body_base64);
    let body = body.map_err(|_| wrong("`body_base64` is no base64 with padding"))?.into();
    let header = |(name, value): (&String, &String)| {
        Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?))
    };
    let headers = headers.iter().map(header).collect::<Option<HeaderMap>>();
    Ok(SavedBody { headers: headers.ok_or_else(|| wrong("one of its headers is none"))?, body })
}
