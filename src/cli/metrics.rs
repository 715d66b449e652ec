//! `fanbridge metrics`: lists the metrics, and prints what watches them: alert rules for Prometheus with
//! their tests, a dashboard for Grafana, and the sections of `docs/OPERATING.md`.

use serde_json::json;

use super::Failure;
use super::output::{Format, Rows, print};
use crate::telemetry::{
    GROUPS, alert_rule_tests, alert_rules, alerts_as_markdown, dashboard, metrics_as_markdown,
};

/// Arguments of `metrics`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

/// What is printed.
#[derive(Debug, clap::Subcommand)]
enum What {
    /// List every metric: its name, labels, kind and meaning
    List(ListArgs),
    /// Print alert rules for Prometheus
    Rules(RulesArgs),
    /// Print tests of the alert rules, for `promtool test rules`
    RuleTests(RulesArgs),
    /// Print a dashboard for Grafana
    Dashboard,
    /// Print the metrics and the alerts as Markdown
    Document,
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    /// How to print the list
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, clap::Args)]
struct RulesArgs {
    /// Where docs/OPERATING.md is found: each alert links to its heading there
    #[arg(long, value_name = "URL", default_value = "docs/OPERATING.md")]
    runbook: String,
}

/// Prints what was asked for.
///
/// # Errors
/// When stdout cannot be written.
pub fn run(args: &Args) -> Result<(), Failure> {
    match &args.what {
        What::List(list) => listed().print(list.format),
        What::Rules(rules) => print(&alert_rules(&rules.runbook)),
        What::RuleTests(rules) => print(&alert_rule_tests(&rules.runbook)),
        What::Dashboard => print(&format!("{:#}\n", dashboard())),
        What::Document => print(&format!("{}\n## Alerts\n\n{}", metrics_as_markdown(), alerts_as_markdown())),
    }
}

fn listed() -> Rows {
    let mut rows = Rows::new(&["metric", "kind", "help"]);
    for (group, row) in GROUPS.iter().flat_map(|group| group.rows.iter().map(move |row| (group, row))) {
        rows.add(json!({
            "metric": row.signature(), "name": format!("fanbridge_{}", row.name), "labels": row.labels,
            "kind": row.kind.word(), "help": row.help, "advice": row.advice, "group": group.title,
        }));
    }
    rows
}
