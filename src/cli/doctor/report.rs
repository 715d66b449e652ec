//! How findings are printed (pure): for people, each a line or two of at most 80 columns with its fix below;
//! for programs, as JSON.

use serde::Deserialize;
use serde_json::{Value, json};

use super::CHECKS;
use super::finding::{Finding, FindingVerdict, counted};
use crate::cli::wrapped::{COLUMNS_MAX, add_wrapped};
use crate::telemetry::Shown;

/// Columns of the verdict's word and the gap behind it, under which the text goes on.
const INDENT: usize = 9;

/// Everything that was found.
pub(super) struct DoctorReport(Vec<Finding>);

impl DoctorReport {
    /// The findings by check, in the order of `checks`; those of one check keep their order.
    pub(super) fn new(mut findings: Vec<Finding>, checks: &[&str]) -> Self {
        findings.sort_by_key(|finding| checks.iter().position(|check| *check == finding.check));
        Self(findings)
    }

    fn count(&self, verdict: FindingVerdict) -> usize {
        self.0.iter().filter(|finding| finding.verdict == verdict).count()
    }

    /// Whether the exit code is that of a failure. `strict` also minds warnings and what cannot be told.
    pub(super) fn has_failed(&self, strict: bool) -> bool {
        let minds = |verdict| self.count(verdict) > 0;
        minds(FindingVerdict::Failure)
            || (strict && (minds(FindingVerdict::Warning) || minds(FindingVerdict::Unknown)))
    }

    /// The findings for people.
    pub(super) fn text(&self) -> String {
        self.0.iter().map(lines).collect()
    }

    /// How many there are of each kind.
    pub(super) fn summary(&self) -> String {
        let mut parts = vec![
            counted(self.count(FindingVerdict::Failure), "failure"),
            counted(self.count(FindingVerdict::Warning), "warning"),
            format!("{} unknown", self.count(FindingVerdict::Unknown)),
            format!("{} ok", self.count(FindingVerdict::Ok)),
        ];
        let skipped = self.count(FindingVerdict::Skipped);
        if skipped > 0 {
            parts.push(format!("{skipped} skipped"));
        }
        parts.join(", ")
    }

    /// The findings for programs, in one document.
    pub(super) fn json(&self) -> Value {
        json!({
            "findings": self.0,
            "failures": self.count(FindingVerdict::Failure),
            "warnings": self.count(FindingVerdict::Warning),
            "unknown": self.count(FindingVerdict::Unknown),
        })
    }

    /// The findings for programs, a line each.
    pub(super) fn ndjson(&self) -> String {
        self.0.iter().map(line).collect()
    }
}

/// A finding for programs, as a line.
pub(super) fn line(finding: &Finding) -> String {
    format!("{}\n", json!(finding))
}

/// The finding that [`line()`] wrote; `None` if it is none of the checks of this release.
pub(super) fn read(line: &str) -> Option<Finding> {
    let read: WrittenFinding = serde_json::from_str(line).ok()?;
    let WrittenFinding { check, subject, verdict, found, fix, command } = read;
    let check = CHECKS.iter().find(|known| **known == check)?;
    Some(Finding { fix, command, ..Finding::new(verdict, check, subject, found) })
}

/// A finding as it is read.
#[derive(Deserialize)]
struct WrittenFinding {
    check: String,
    subject: String,
    verdict: FindingVerdict,
    found: String,
    fix: Option<String>,
    command: Option<String>,
}

/// One finding for people.
fn lines(finding: &Finding) -> String {
    let Finding { check, subject, verdict, found, fix, command, .. } = finding;
    let subject = if subject.is_empty() { String::new() } else { format!(" {subject}") };
    let mut text = String::new();
    let begin = |word: &str| format!("{word:INDENT$}");
    add_wrapped(&mut text, &begin(verdict.word()), &format!("{check}{subject}: {found}"), INDENT);
    if let Some(fix) = fix {
        add_wrapped(&mut text, &begin("  fix:"), fix, INDENT);
    }
    if let Some(command) = command {
        add_command(&mut text, command);
    }
    text
}

/// Adds a command. Where a line is full it goes on as a shell takes it, behind a backslash.
fn add_command(text: &mut String, command: &str) {
    const GOES_ON: &str = " \\";
    text.push_str(&format!("{:INDENT$}", "    $"));
    let mut column = INDENT;
    for (number, word) in command.split(' ').enumerate() {
        let word = Shown(word).to_string();
        let width = word.chars().count();
        if number > 0 && column + 1 + width + GOES_ON.len() > COLUMNS_MAX {
            text.push_str(GOES_ON);
            text.push('\n');
            text.push_str(&" ".repeat(INDENT));
            column = INDENT;
        } else if number > 0 {
            text.push(' ');
            column += 1;
        }
        text.push_str(&word);
        column += width;
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding() -> Finding {
        let names = "stream.video.call-lifecycle, stream.video.session, stream.video.member";
        Finding::failure("kafka.topics", "lake", format!("3 of 24 topics do not exist: {names}"))
            .fix("create them; the bridge never does")
            .command("fanbridge topics apply --sink lake --replication 3 --property min.insync.replicas=2")
    }

    #[test]
    fn a_finding_fits_eighty_columns_with_its_fix_and_a_command_that_can_be_copied() {
        let report = DoctorReport::new(vec![finding()], &["kafka.topics"]);
        let text = report.text();
        assert!(text.lines().all(|line| line.chars().count() <= COLUMNS_MAX), "{text}");
        assert!(text.starts_with("failure  kafka.topics lake: 3 of 24 topics"), "{text}");
        assert!(text.contains("\n  fix:   create them; the bridge never does\n"), "{text}");
        let command = text.split("    $").nth(1).expect("a command").replace(" \\\n", " ");
        let command = command.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(Some(command), finding().command);
    }

    #[test]
    fn nothing_that_a_server_says_steers_the_terminal() {
        let said = Finding::unknown("redis", "cache", "said \u{1b}[2J");
        let text = DoctorReport::new(vec![said], &["redis"]).text();
        assert!(!text.contains('\u{1b}') && text.contains(r"\u{1b}[2J"), "{text}");
    }

    #[test]
    fn findings_stand_in_the_order_of_the_checks_and_decide_the_exit_code() {
        let findings =
            || vec![Finding::unknown("b", "", "cannot be told"), Finding::ok("a", "", "as it has to be")];
        let report = DoctorReport::new(findings(), &["a", "b"]);
        assert!(report.text().starts_with("ok       a: as it has to be\nunknown  b: "), "{}", report.text());
        assert!(!report.has_failed(false) && report.has_failed(true), "what cannot be told is not good");
        assert_eq!(report.summary(), "0 failures, 0 warnings, 1 unknown, 1 ok");
        let mut failed = findings();
        failed.push(Finding::failure("b", "", "broken"));
        assert!(DoctorReport::new(failed, &["a", "b"]).has_failed(false));
        assert_eq!(report.json()["unknown"], 1);
        assert_eq!(report.ndjson().lines().count(), 2);
        assert_eq!(read(&line(&finding())), Some(finding()), "what a child writes is read as it was");
    }
}
