//! What watches a bridge: the tables of the metrics, the alert rules and their tests, the dashboard.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::support::bridge::{Bridge, Home};
use crate::support::load::{Delivery, STREAM_PATH, TYPES};
use crate::support::{await_until, turns};

fn root() -> PathBuf {
    env!("CARGO_MANIFEST_DIR").into()
}

fn promtool() -> Command {
    let script = root().join("tests/servers/promtool.sh");
    let found = Command::new(script).arg("path").output().unwrap();
    assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
    Command::new(String::from_utf8(found.stdout).unwrap().trim())
}

fn assert_passes(output: &Output) {
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", said(&output.stdout), said(&output.stderr));
}

/// What `fanbridge metrics` prints, which needs no configuration.
fn printed(arguments: &[&str]) -> String {
    let program = env!("CARGO_BIN_EXE_fanbridge");
    let output = Command::new(program).arg("metrics").args(arguments).output().unwrap();
    assert_passes(&output);
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn rules_dashboard_and_tables_are_those_of_this_release() {
    let print = |what: &str| printed(&[what]);
    let read = |path: &str| std::fs::read_to_string(root().join(path)).unwrap();
    for (path, what) in [
        ("deploy/prometheus/fanbridge.rules.yaml", "rules"),
        ("deploy/prometheus/fanbridge.tests.yaml", "rule-tests"),
        ("deploy/grafana/fanbridge.json", "dashboard"),
    ] {
        assert!(read(path) == print(what), "{path}: write it anew with `fanbridge metrics {what} > {path}`");
    }
    let operating = read("docs/OPERATING.md");
    let between = operating.split("<!-- ").filter_map(|part| part.split_once("-->\n")).map(|(_, text)| text);
    let document = print("document");
    let there = between.map(str::trim).any(|text| text == document.trim());
    assert!(there, "docs/OPERATING.md: put between the two marks what `fanbridge metrics document` prints");
}

#[test]
fn no_table_of_metrics_stands_beside_the_one_that_is_printed() {
    let operating = std::fs::read_to_string(root().join("docs/OPERATING.md")).unwrap();
    let (before, printed_on) = operating.split_once("<!-- `fanbridge metrics document`").unwrap();
    let (_, after) = printed_on.split_once("<!-- the end of what").unwrap();
    let table: serde_json::Value = serde_json::from_str(&printed(&["list", "--format", "json"])).unwrap();
    let is_metric = |name: &str| {
        let mut rows = table.as_array().unwrap().iter();
        rows.any(|row| row["name"].as_str().unwrap().strip_prefix("fanbridge_") == Some(name))
    };
    assert!(is_metric("spool_bytes"), "{table}");
    for line in before.lines().chain(after.lines()) {
        let Some((cell, _)) = line.strip_prefix("| ").and_then(|row| row.split_once(" |")) else { continue };
        // A symptom of the runbook says something of its metric.
        let says = cell.split('`').step_by(2).any(|words| words.contains(char::is_alphabetic));
        let named = cell.split('`').nth(1).and_then(|code| code.split('{').next()).unwrap_or_default();
        assert!(says || !is_metric(named), "{line}: `fanbridge metrics document` has this row");
    }
}

#[test]
fn every_alert_fires_and_stays_silent_as_its_tests_say() {
    let rules = root().join("deploy/prometheus");
    assert_passes(
        &promtool().arg("check").arg("rules").arg(rules.join("fanbridge.rules.yaml")).output().unwrap(),
    );
    assert_passes(
        &promtool().arg("test").arg("rules").arg(rules.join("fanbridge.tests.yaml")).output().unwrap(),
    );
}

#[test]
fn a_busy_bridge_exposes_what_promtool_accepts_under_the_labels_of_the_table() {
    let home = Home::new();
    home.configure_files();
    let bridge = home.start();
    let mut client = bridge.client();
    for number in 0..20 {
        assert!(Delivery::new(TYPES[0], "default:a", number, 0).send(&mut client).unwrap().is_success());
    }
    assert_eq!(client.post(STREAM_PATH, &[("x-signature", "00")], b"{}").unwrap().status, 401);
    let text = bridge.admin().get("/metrics").unwrap().text();
    let mut checking = promtool()
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    checking.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert_passes(&checking.wait_with_output().unwrap());

    let table: serde_json::Value = serde_json::from_str(&printed(&["list", "--format", "json"])).unwrap();
    let mut seen = 0;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, _) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let row = row_of(&table, name).unwrap_or_else(|| panic!("{name} is not in the table"));
        let names = labels.trim_end_matches('}').split("\",").filter_map(|label| label.split_once('='));
        let names: Vec<&str> = names.map(|(name, _)| name).filter(|name| *name != "le").collect();
        assert_eq!(names, row, "{line}");
        seen += 1;
    }
    assert!(seen > 100, "{seen} series");
    bridge.stop();
}

/// The labels that the table has for a metric.
fn row_of<'t>(table: &'t serde_json::Value, series: &str) -> Option<Vec<&'t str>> {
    let parts = ["", "_bucket", "_count", "_sum"];
    let is_named = |row: &&serde_json::Value| {
        let name = row["name"].as_str().unwrap();
        parts.iter().any(|part| series.strip_suffix(part) == Some(name))
    };
    let row = table.as_array().unwrap().iter().find(is_named)?;
    Some(row["labels"].as_array().unwrap().iter().map(|label| label.as_str().unwrap()).collect())
}

mod alone {
    use super::*;

    const SENDERS: u64 = 4;
    const INVENTED: u64 = 100_000;

    fn series(bridge: &Bridge) -> usize {
        let text = bridge.admin().get("/metrics").unwrap().text();
        text.lines().filter(|line| !line.starts_with('#')).count()
    }

    /// Sends events of so many types that nobody has heard of.
    fn invent(bridge: &Bridge, numbers: std::ops::Range<u64>) {
        std::thread::scope(|scope| {
            for sender in 0..SENDERS {
                let (numbers, mut client) = (numbers.clone(), bridge.client());
                scope.spawn(move || {
                    for number in numbers.filter(|number| number % SENDERS == sender) {
                        let invented = format!("invented_{number}.happened_{number}");
                        let delivery = Delivery::new(&invented, "default:a", number, 0);
                        assert!(delivery.send(&mut client).unwrap().is_success());
                    }
                });
            }
        });
    }

    #[test]
    fn a_hundred_thousand_invented_types_add_no_series_to_those_of_the_first() {
        let _turn = turns::alone();
        let home = Home::new();
        home.configure_files();
        let bridge = home.start();
        invent(&bridge, 0..100);
        // A sink makes a series with the first record of a family.
        await_until("they are delivered", Duration::from_secs(30), || {
            (bridge.metric("fanbridge_delivered_total", &[]) >= 100.0).then_some(())
        });
        let before = series(&bridge);
        invent(&bridge, 100..INVENTED);
        assert_eq!(series(&bridge), before);
        bridge.stop();
    }
}
