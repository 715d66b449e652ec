//! The event types that have arrived: how often, with which verdict, and which sinks select them.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::{AdminState, ProblemAnswer, Summary};
use crate::event::Timestamp;
use crate::state::{OTHER_TYPE, TypeSeen};

/// An event type that has arrived.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct SeenType {
    pub(super) provider: String,
    #[serde(rename = "type")]
    pub(super) event_type: String,
    /// Number of deliveries by verdict, in one field each.
    #[serde(flatten)]
    pub(super) verdicts: BTreeMap<String, u64>,
    pub(super) first_seen: String,
    pub(super) last_seen: String,
    /// Whether the type is in no catalogue.
    pub(super) new: bool,
    /// The sinks that select the type now.
    pub(super) selected_by: Vec<String>,
}

pub(super) async fn types(State(admin): State<AdminState>) -> Result<Json<Vec<SeenType>>, ProblemAnswer> {
    admin.note().await?;
    let seen = admin.ask(|state| state.types_seen()).await?;
    Ok(Json(overview(seen, &admin.summary())))
}

/// One row per type. Those that need a decision come first: new and not selected, then new, then not
/// selected (pure).
pub(super) fn overview(seen: Vec<TypeSeen>, summary: &Summary) -> Vec<SeenType> {
    let mut by_type: BTreeMap<(String, String), Vec<TypeSeen>> = BTreeMap::new();
    for row in seen {
        by_type.entry((row.provider.clone(), row.event_type.clone())).or_default().push(row);
    }
    let line = |((provider, event_type), rows): ((String, String), Vec<TypeSeen>)| SeenType {
        new: event_type != OTHER_TYPE && !(summary.catalogued)(&provider, &event_type),
        selected_by: summary.selected_by(&event_type),
        provider,
        event_type,
        first_seen: rows.iter().map(|row| row.first).min().unwrap_or_default().to_rfc3339(),
        last_seen: rows.iter().map(|row| row.last).max().unwrap_or(Timestamp(0)).to_rfc3339(),
        verdicts: rows.into_iter().map(|row| (row.verdict, row.count)).collect(),
    };
    let mut lines: Vec<SeenType> = by_type.into_iter().map(line).collect();
    lines.sort_by_key(|line| match (line.new, line.selected_by.is_empty()) {
        (true, true) => 0,
        (true, false) => 1,
        (false, true) => 2,
        (false, false) => 3,
    });
    lines
}

#[cfg(test)]
mod tests {
    use super::super::SinkSummary;
    use super::*;
    use crate::selection::Selection;

    #[test]
    fn a_type_that_is_new_and_not_selected_comes_first() {
        let seen = |name: &str, verdict: &str, count, at| TypeSeen {
            provider: "stream".into(),
            event_type: name.into(),
            verdict: verdict.into(),
            count,
            first: Timestamp(at),
            last: Timestamp(at + 1),
        };
        let only = Selection::Only(["a.known".to_owned(), "b.new".to_owned()].into());
        let summary = Summary {
            fingerprint: String::new(),
            sources: Vec::new(),
            sinks: vec![SinkSummary {
                awaited: false,
                name: "lake".into(),
                kind: "file",
                topic: "{family}".into(),
                selection: only,
            }],
            selection: Selection::All,
            catalogued: Box::new(|_, name| name == "a.known"),
            effective: std::sync::Arc::default(),
            explained: std::sync::Arc::default(),
        };

        let lines = overview(
            vec![
                seen("a.known", "accepted", 2, 10),
                seen("a.known", "duplicate", 1, 5),
                seen("b.new", "accepted", 1, 1),
                seen("c.new", "filtered", 1, 1),
            ],
            &summary,
        );

        let names: Vec<_> = lines.iter().map(|line| line.event_type.as_str()).collect();
        assert_eq!(names, ["c.new", "b.new", "a.known"]);
        let known = &lines[2];
        assert_eq!(known.verdicts, [("accepted".into(), 2), ("duplicate".into(), 1)].into());
        assert_eq!(
            (known.first_seen.as_str(), known.last_seen.as_str()),
            ("1970-01-01T00:00:00.000000005Z", "1970-01-01T00:00:00.000000011Z")
        );
        assert_eq!((known.new, known.selected_by.as_slice()), (false, &["lake".to_owned()][..]));
    }
}
