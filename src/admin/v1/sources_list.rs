//! `GET /api/v1/sources`: each source with what became of its deliveries, and which secrets verify them.
//!
//! The answer is `{"items": […], "next": null}`; there is no second page. An item:
//!
//! | Member | Meaning |
//! |---|---|
//! | `name`, `kind`, `provider`, `event_source` | as configured; `kind` is `webhook`, `sns` or `sqs` |
//! | `degraded_because` | what keeps a source that polls a queue from receiving, else left out |
//! | `verdicts` | deliveries since the start: `accepted`, `filtered`, `duplicate`, `quarantined` |
//! | `refused` | numbers of refused deliveries by reason since the start |
//! | `answers` | numbers of answers by HTTP status since the start, of a source that is posted to |
//! | `rate` | `{"accepted_per_second", …, "refused_per_second", "over_seconds"}`: one for each verdict |
//! | `ack_ms` | `{"p50", "p99"}` from the end of the headers to a good answer, `null` if there was none |
//! | `secrets` | `[{"name", "deliveries"}]`: the reference of each, and how many deliveries it verified |
//! | `without_key` | accepted events without a partition key |
//! | `id_reuse` | deliveries whose unsigned id came before with another body, or the other way round |

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;

use super::Listing;
use super::observed::{Observed, REFUSED, TakesMillis, observed, rounded, verdict};
use crate::admin::{AdminState, ProblemAnswer, SourceSummary};
use crate::source::DeliveryFate;

/// A source of the listing.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct SourceItem {
    #[serde(flatten)]
    summary: SourceSummary,
    #[serde(skip_serializing_if = "Option::is_none")]
    degraded_because: Option<String>,
    verdicts: BTreeMap<&'static str, u64>,
    refused: BTreeMap<String, u64>,
    answers: BTreeMap<String, u64>,
    rate: BTreeMap<String, f64>,
    ack_ms: TakesMillis,
    secrets: Vec<SecretItem>,
    without_key: u64,
    id_reuse: u64,
}

/// A secret by its name.
#[derive(Debug, Serialize, JsonSchema)]
struct SecretItem {
    name: String,
    deliveries: u64,
}

pub(super) async fn sources(
    State(admin): State<AdminState>,
) -> Result<Json<Listing<SourceItem>>, ProblemAnswer> {
    let observed = observed(&admin).await?;
    let polling = admin.health.sources();
    let item = |source: &SourceSummary| {
        let status = polling.iter().find(|status| status.name() == source.name);
        let trouble = status.and_then(|status| status.trouble());
        let degraded_because = trouble.map(|trouble| trouble.advice);
        SourceItem { degraded_because, ..counted(source, &observed) }
    };
    Ok(Json(Listing::whole(admin.summary().sources.iter().map(item).collect())))
}

fn counted(source: &SourceSummary, observed: &Observed) -> SourceItem {
    let (name, readings) = (source.name.as_str(), &observed.readings);
    let of = [("source", name)];
    let verdicts = DeliveryFate::ALL.map(|fate| {
        let labels = [("source", name), ("verdict", fate.as_str())];
        (fate.as_str(), readings.count("events_total", &labels))
    });
    let words = DeliveryFate::ALL.map(DeliveryFate::as_str).into_iter().chain([REFUSED]);
    let rate = words.map(|word| {
        let per_second = observed.rates.per_second(&verdict(name, word));
        (format!("{word}_per_second"), rounded(per_second))
    });
    let over = ("over_seconds".to_owned(), rounded(observed.rates.seconds()));
    let secrets = readings.by("secret", "signature_secret_used_total", &of).into_iter();
    SourceItem {
        summary: source.clone(),
        degraded_because: None,
        verdicts: verdicts.into(),
        refused: readings.by("reason", "refused_total", &of),
        answers: readings.by("code", "requests_total", &of).into_iter().filter(|(_, n)| *n > 0).collect(),
        rate: rate.chain([over]).collect(),
        ack_ms: TakesMillis::of(readings, "ack_duration_seconds", &of),
        secrets: secrets.map(|(name, deliveries)| SecretItem { name, deliveries }).collect(),
        without_key: readings.count("events_without_key_total", &of),
        id_reuse: readings.count("id_reuse_total", &of),
    }
}
