//! The alerts as rules for Prometheus, as tests of these rules, and as a section of `docs/OPERATING.md`.

use std::fmt::Write as _;

use super::alerts::{AlertRow, alerts};

/// Name of the file with the rules, which the tests of the rules load.
pub const RULES_FILE: &str = "fanbridge.rules.yaml";
/// What both files begin with.
const MADE_BY: &str = "# Made by `fanbridge metrics";
/// Widest line of a paragraph.
const PARAGRAPH_COLUMNS: usize = 108;

/// The rules. `runbook` is where `docs/OPERATING.md` is found; each alert links to its heading there.
pub fn alert_rules(runbook: &str) -> String {
    let mut yaml = format!("{MADE_BY} rules`.\ngroups:\n  - name: fanbridge\n    rules:\n");
    for alert in alerts() {
        let AlertRow { name, hold, summary, advice, .. } = alert;
        add(&mut yaml, 6, &format!("- alert: {name}"));
        add(&mut yaml, 8, &format!("expr: {}", quoted(alert.expr)));
        add(&mut yaml, 8, &format!("for: {hold}"));
        add(&mut yaml, 8, &format!("labels: {{ severity: {} }}", alert.severity.word()));
        add(&mut yaml, 8, "annotations:");
        add(&mut yaml, 10, &format!("summary: {}", quoted(summary)));
        add(&mut yaml, 10, &format!("description: {}", quoted(&plain(advice))));
        add(&mut yaml, 10, &format!("runbook_url: {}", quoted(&link(alert, runbook))));
    }
    yaml
}

/// Tests of the rules for `promtool test rules`: each alert fires once, and stays silent once.
pub fn alert_rule_tests(runbook: &str) -> String {
    let mut yaml =
        format!("{MADE_BY} rule-tests`.\nrule_files: [{RULES_FILE}]\nevaluation_interval: 1m\ntests:\n");
    for alert in alerts() {
        let at = alert.fires.at;
        for (case, series) in [("fires", alert.fires.series), ("stays silent", alert.silent)] {
            add(&mut yaml, 2, &format!("- name: {} {case}", alert.name));
            add(&mut yaml, 4, "interval: 1m");
            add(&mut yaml, 4, "input_series:");
            for (series, values) in series {
                add(&mut yaml, 6, &format!("- series: {}", quoted(series)));
                add(&mut yaml, 8, &format!("values: {}", quoted(values)));
            }
            add(&mut yaml, 4, "alert_rule_test:");
            add(&mut yaml, 6, &format!("- eval_time: {at}"));
            add(&mut yaml, 8, &format!("alertname: {}", alert.name));
            match case {
                "fires" => add_expected(&mut yaml, alert, runbook),
                _ => add(&mut yaml, 8, "exp_alerts: []"),
            }
        }
    }
    yaml
}

fn add_expected(yaml: &mut String, alert: &AlertRow, runbook: &str) {
    let labels = alert.fires.labels;
    let summary = labels.iter().fold(alert.summary.to_owned(), |summary, (name, value)| {
        summary.replace(&format!("{{{{ $labels.{name} }}}}"), value)
    });
    add(yaml, 8, "exp_alerts:");
    add(yaml, 10, "- exp_labels:");
    add(yaml, 14, &format!("severity: {}", alert.severity.word()));
    for (name, value) in labels {
        add(yaml, 14, &format!("{name}: {}", quoted(value)));
    }
    add(yaml, 12, "exp_annotations:");
    add(yaml, 14, &format!("summary: {}", quoted(&summary)));
    add(yaml, 14, &format!("description: {}", quoted(&plain(alert.advice))));
    add(yaml, 14, &format!("runbook_url: {}", quoted(&link(alert, runbook))));
}

/// The section of `docs/OPERATING.md` to which the rules link.
pub fn alerts_as_markdown() -> String {
    let section = |alert: &AlertRow| {
        let AlertRow { name, expr, hold, summary, advice, .. } = alert;
        let summary = summary.replace("{{ $labels.", "`").replace(" }}", "`");
        let severity = alert.severity.word();
        let when = if *hold == "0m" { "at once".to_owned() } else { format!("after {hold}") };
        let what = paragraph(&format!("{severity}, {when}: {summary}. What to do: {advice}."));
        let what = what[..1].to_uppercase() + &what[1..];
        format!("### {name}\n\n{what}\n```promql\n{}```\n", paragraph(expr))
    };
    alerts().map(section).collect::<Vec<_>>().join("\n")
}

/// Where an alert is explained.
fn link(alert: &AlertRow, runbook: &str) -> String {
    format!("{runbook}#{}", alert.name.to_lowercase())
}

/// A text in lines that are not wide.
fn paragraph(words: &str) -> String {
    let mut text = String::new();
    let mut column = 0;
    for word in words.split_whitespace() {
        let width = word.chars().count();
        if column > 0 && column + 1 + width > PARAGRAPH_COLUMNS {
            text.push('\n');
            column = 0;
        } else if column > 0 {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += width;
    }
    text + "\n"
}

fn add(yaml: &mut String, indent: usize, line: &str) {
    // Writing into a text does not fail.
    let _ = writeln!(yaml, "{:indent$}{line}", "");
}

/// A scalar of YAML in single quotes.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Advice without the links of a document.
fn plain(advice: &str) -> String {
    advice.replace("[runbook](#runbook)", "runbook")
}
