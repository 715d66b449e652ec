//! Registering metrics as the table has them.

use std::collections::BTreeSet;

use prometheus_client::registry::{Metric, Registry, Unit};

use super::table::{GROUPS, MetricGroup, metric};

/// What all names begin with, and an underscore.
const PREFIX: &str = "fanbridge";
/// What the exporter puts behind the name of a counter.
const COUNTER: &str = "_total";

/// A registry that takes the metrics of the table, and no others.
#[derive(Debug)]
pub(super) struct TableRegistry {
    registry: Registry,
    /// The names of what was registered.
    names: BTreeSet<&'static str>,
}

impl TableRegistry {
    pub(super) fn new() -> Self {
        Self { registry: Registry::with_prefix(PREFIX), names: BTreeSet::new() }
    }

    /// Registers the metric that the table has under this name, with what it says there.
    pub(super) fn add(&mut self, name: &str, registered: impl Metric) {
        let row = metric(name).unwrap_or_else(|| unreachable!("the table has no metric `{name}`"));
        let is_new = self.names.insert(row.name);
        let kind = registered.metric_type();
        let as_described = is_new && kind.as_str() == row.kind.word();
        assert!(as_described, "`{name}` is registered twice, or as a {}", kind.as_str());
        let bare = name.strip_suffix(COUNTER).unwrap_or(name);
        let help = plain(row.help);
        let units = [("_seconds", Unit::Seconds), ("_bytes", Unit::Bytes)];
        let with_unit = units.into_iter().find_map(|(end, unit)| Some((bare.strip_suffix(end)?, unit)));
        match with_unit {
            Some((bare, unit)) => self.registry.register_with_unit(bare, help, unit, registered),
            None => self.registry.register(bare, help, registered),
        }
    }

    pub(super) fn into_registry(self) -> Registry {
        self.registry
    }
}

/// A help text as `/metrics` has it, without the marks of a document.
fn plain(help: &str) -> String {
    help.replace('`', "")
}

/// The tables of `docs/OPERATING.md`.
pub fn metrics_as_markdown() -> String {
    GROUPS.iter().map(as_markdown).collect::<Vec<_>>().join("\n")
}

fn as_markdown(group: &MetricGroup) -> String {
    let rows = group.rows.iter().map(|row| {
        let advice = if row.advice.is_empty() { String::new() } else { format!(" {}", row.advice) };
        format!("| `{}` | {} |{advice} |\n", row.signature(), row.help)
    });
    let rows: String = rows.collect();
    format!("**{}:**\n\n| Metric | What it is | What to do |\n|---|---|---|\n{rows}", group.title)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::alerts::alerts;
    use crate::telemetry::table::{MetricKind, MetricRow};
    use crate::telemetry::{Metrics, dashboard};

    #[test]
    fn every_row_of_the_table_is_registered_and_nothing_else_is() {
        let rows: Vec<&MetricRow> = GROUPS.iter().flat_map(|group| group.rows).collect();
        let names: BTreeSet<&str> = rows.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), rows.len(), "a metric stands in the table twice");
        let mut table = TableRegistry::new();
        Metrics::new().register(&mut table);
        assert_eq!(table.names, names);
        for row in rows {
            assert_eq!(row.name.ends_with(COUNTER), row.kind == MetricKind::Counter, "{}", row.name);
            assert!(!row.help.ends_with('.'), "{}", row.name);
        }
    }

    /// The metrics of a text, by their names in the table.
    fn named(text: &str) -> BTreeSet<String> {
        let word = |c: char| !c.is_ascii_alphanumeric() && c != '_';
        let names = text.split(word).filter_map(|word| word.strip_prefix("fanbridge_"));
        let bare = |name: &str| {
            let parts = ["_bucket", "_count", "_sum"].into_iter().find_map(|end| name.strip_suffix(end));
            parts.filter(|name| metric(name).is_some()).unwrap_or(name).to_owned()
        };
        names.map(bare).collect()
    }

    #[test]
    fn alerts_and_dashboard_ask_for_metrics_of_the_table_only() {
        let asked = alerts().flat_map(|alert| {
            let series = alert.fires.series.iter().chain(alert.silent).map(|(series, _)| *series);
            series.chain([alert.expr]).flat_map(named).collect::<Vec<_>>()
        });
        let shown = named(&dashboard().to_string());
        assert!(shown.len() >= 20, "{shown:?}");
        for name in asked.chain(shown) {
            assert!(metric(&name).is_some(), "{name} is no metric");
        }
    }
}
