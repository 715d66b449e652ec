//! The results of tests as text, as JSON, and as JUnit's XML.

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::super::Failure;
use super::judge::TestResult;
use crate::telemetry::Shown;

/// A line for each test, and one for each mismatch.
pub(super) fn table(results: &[TestResult]) -> String {
    let mut text = String::new();
    for result in results {
        let word = if result.passed() { "ok  " } else { "FAIL" };
        text.push_str(&format!("{word}  {}\n", Shown(&result.name)));
        for mismatch in &result.mismatches {
            text.push_str(&format!("      {}: {}\n", mismatch.line, Shown(&mismatch.message)));
        }
    }
    let passed = results.iter().filter(|result| result.passed()).count();
    text + &format!("{passed} of {} tests pass\n", results.len())
}

/// One JSON object for each test.
///
/// # Errors
/// When a result cannot be written.
pub(super) fn ndjson(results: &[TestResult]) -> Result<String, Failure> {
    let mut text = String::new();
    for result in results {
        let line = serde_json::to_string(result);
        text.push_str(&line.map_err(|error| Failure::io("cannot write the results", &error))?);
        text.push('\n');
    }
    Ok(text)
}

/// One suite with a case for each test.
///
/// # Errors
/// When the document cannot be written.
pub(super) fn junit(results: &[TestResult]) -> Result<String, Failure> {
    let mut suite = TestSuite::new("configuration");
    for result in results {
        let mut status = TestCaseStatus::success();
        if !result.passed() {
            status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            let messages = result.mismatches.iter();
            let messages: Vec<_> =
                messages.map(|mismatch| format!("{}: {}", mismatch.line, mismatch.message)).collect();
            status.set_message(messages.first().cloned().unwrap_or_default());
            status.set_description(messages.join("\n"));
        }
        let mut case = TestCase::new(result.name.clone(), status);
        case.set_classname("fanbridge");
        suite.add_test_case(case);
    }
    let mut report = Report::new("fanbridge");
    report.add_test_suite(suite);
    report.to_string().map_err(|error| Failure::io("cannot write the results", &error))
}
