//! What `fanbridge doctor` finds: each check is made to fail for real.

mod alone;
mod aws;
pub(crate) mod kafka;
mod machine;
mod network;
mod provider;
mod running;
mod secrets;

use std::fs;
use std::time::Instant;

use serde_json::Value as Json;

use crate::support::bridge::Home;

/// What a doctor has said.
struct Diagnosis {
    code: Option<i32>,
    report: Json,
    seconds: f64,
}

impl Diagnosis {
    /// Of a home, by these words.
    fn of(home: &Home, words: &[&str]) -> Self {
        Self::under(&[], home, words)
    }

    /// The same, under a command that becomes the doctor in the end. Only the doctor is waited for: what it
    /// has started can hang, and would keep a pipe open.
    fn under(wrapper: &[&str], home: &Home, words: &[&str]) -> Self {
        let words = [&["doctor", "--format", "json"], words].concat();
        let [out, err] = ["doctor.out", "doctor.err"].map(|name| home.path(name));
        let begun = Instant::now();
        let status = home.verb_into(wrapper, &words, &out, &err);
        let seconds = begun.elapsed().as_secs_f64();
        let [said, errors] = [&out, &err].map(|path| fs::read_to_string(path).unwrap());
        let report = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}{errors}"));
        fs::remove_file(out).unwrap();
        fs::remove_file(err).unwrap();
        Self { code: status.code(), report, seconds }
    }

    /// The findings of a check.
    fn findings(&self, check: &str) -> Vec<&Json> {
        let findings = self.report["findings"].as_array().expect("a list").iter();
        findings.filter(|finding| finding["check"] == check).collect()
    }

    /// A finding of this check with this verdict, in which all of these words are.
    #[track_caller]
    fn says(&self, check: &str, verdict: &str, words: &[&str]) -> &Json {
        let said = self.findings(check).into_iter().find(|finding| {
            let text = finding.to_string();
            finding["verdict"] == verdict && words.iter().all(|word| text.contains(word))
        });
        said.unwrap_or_else(|| panic!("no {verdict} of {check} with {words:?}: {:#}", self.report))
    }

    /// A finding of this check in which all of these words are, whatever its verdict: how fast a disk is
    /// depends on the machine.
    #[track_caller]
    fn mentions(&self, check: &str, words: &[&str]) {
        let found = self.findings(check);
        let all = |finding: &&Json| words.iter().all(|word| finding.to_string().contains(word));
        assert!(found.iter().any(all), "{check} says nothing of {words:?}: {:#}", self.report);
    }

    /// The same of a failure, which is to have a fix.
    #[track_caller]
    fn fails(&self, check: &str, words: &[&str]) {
        let finding = self.says(check, "failure", words);
        assert!(finding["fix"].is_string(), "a failure without a fix: {finding}");
        assert_eq!(self.code, Some(1), "a failure is the exit code's business: {:#}", self.report);
    }

    /// The same of a warning, which fails nothing.
    #[track_caller]
    fn warns(&self, check: &str, words: &[&str]) {
        let finding = self.says(check, "warning", words);
        assert!(finding["fix"].is_string(), "a warning without a fix: {finding}");
    }
}
