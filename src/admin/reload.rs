//! How the bridge is asked to read its configuration again, and what became of that.
//!
//! A [`Reloader`] hands each request to the loop of the bridge, one at a time; whoever asks waits for the
//! outcome. The rules of a reload are there: here are its words.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::event::Timestamp;

/// Asks the bridge to read its configuration again. Clones ask the same bridge.
#[derive(Clone, Debug)]
pub struct Reloader {
    asked: mpsc::Sender<AskedReload>,
    turn: Arc<Semaphore>,
    known: Arc<Mutex<KnownReloads>>,
}

/// What is known of the reloads so far.
#[derive(Clone, Debug)]
pub struct KnownReloads {
    /// Since when the configuration counts.
    pub since: Timestamp,
    /// The last reload that was no dry run; `None` before the first one.
    pub last: Option<LastReload>,
}

/// A request to read the configuration again.
#[derive(Debug)]
pub struct AskedReload {
    /// What asks.
    pub by: ReloadTrigger,
    /// Whether only to say what would change.
    pub dry_run: bool,
    answer: oneshot::Sender<ReloadOutcome>,
}

/// What asks for a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReloadTrigger {
    /// A person or program, by the admin API.
    Api,
    /// The signal SIGHUP.
    Signal,
    /// A change of the file, with `reload_on_change`.
    File,
}

/// What became of a reload.
pub type ReloadOutcome = Result<ReloadAnswer, ReloadRefusal>;

/// A reload that was granted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReloadAnswer {
    /// What became of it.
    pub result: ReloadResult,
    /// First 12 hexadecimal digits of the SHA-256 of the text that was read.
    pub fingerprint: String,
    /// The same of the configuration that counted before.
    pub before: String,
    /// Every value that changes, with its place; none if only comments or the order of keys do.
    pub changes: Vec<ReloadedValue>,
    /// What was probably not meant, as `fanbridge check --format json` prints it.
    pub warnings: Vec<Json>,
}

/// What became of a reload that was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReloadResult {
    /// The configuration counts from now on.
    Applied,
    /// The file has the text that counts already.
    Unchanged,
    /// It could count; it was a dry run.
    WouldApply,
}

/// A value that a reload changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReloadedValue {
    /// Its path, such as `sinks.lake.topic`.
    pub path: String,
    /// `added`, `removed` or `changed`.
    pub change: String,
    /// File, line and column; `null` if it is not written.
    pub line: Option<String>,
}

/// A value whose change needs a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RestartValue {
    /// Its path, such as `http.listen`.
    pub path: String,
    /// File, line and column; `null` if it is not written.
    pub line: Option<String>,
    /// What changes, and why that needs a restart.
    pub what: String,
}

/// Why nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReloadRefusal {
    /// The bridge runs without a configuration file.
    NoFile,
    /// The file has errors, as `fanbridge check --format json` prints them.
    Errors(Vec<Json>),
    /// Some values change that a running bridge cannot take over.
    Restart(Vec<RestartValue>),
    /// The file cannot be read, or what it asks for cannot be prepared. Contains no secret.
    Failed(String),
    /// The bridge stops.
    Stopping,
}

/// The last reload that was no dry run.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct LastReload {
    /// When it ended, in RFC 3339.
    pub at: String,
    /// What asked for it.
    pub by: ReloadTrigger,
    /// `applied`, `unchanged`, `errors`, `restart_needed` or `failed`.
    pub result: &'static str,
    /// What became of it, in a sentence.
    pub detail: String,
}

/// Another reload is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("another reload is under way: repeat this one when it has ended")]
pub struct ReloadUnderWay;

impl Reloader {
    /// A reloader, and what the bridge receives its requests with. The configuration counts since `since`.
    pub fn new(since: Timestamp) -> (Self, mpsc::Receiver<AskedReload>) {
        let (asked, requests) = mpsc::channel(1);
        let known = Arc::new(Mutex::new(KnownReloads { since, last: None }));
        (Self { asked, turn: Arc::new(Semaphore::new(1)), known }, requests)
    }

    /// Asks for a reload, and waits for its outcome. It goes on if the future is dropped.
    ///
    /// # Errors
    /// When another one is under way.
    pub async fn reload(&self, by: ReloadTrigger, dry_run: bool) -> Result<ReloadOutcome, ReloadUnderWay> {
        let turn = Arc::clone(&self.turn).try_acquire_owned().map_err(|_| ReloadUnderWay)?;
        let (answer, answered) = oneshot::channel();
        let (asked, request) = (self.asked.clone(), AskedReload { by, dry_run, answer });
        let waiting = tokio::spawn(async move {
            let _turn = turn;
            let outcome = match asked.send(request).await {
                Ok(()) => answered.await.ok(),
                Err(_) => None,
            };
            outcome.unwrap_or(Err(ReloadRefusal::Stopping))
        });
        Ok(waiting.await.unwrap_or(Err(ReloadRefusal::Stopping)))
    }

    /// What is known of the reloads so far.
    pub fn known(&self) -> KnownReloads {
        self.known.lock().clone()
    }

    /// Notes what became of a reload, for [`Reloader::known`]. Only the bridge does.
    pub fn note(&self, by: ReloadTrigger, outcome: &ReloadOutcome, at: Timestamp) {
        let mut known = self.known.lock();
        if matches!(outcome, Ok(answer) if answer.result == ReloadResult::Applied) {
            known.since = at;
        }
        let (result, detail) = (word(outcome), sentence(outcome));
        known.last = Some(LastReload { at: at.to_rfc3339(), by, result, detail });
    }
}

impl AskedReload {
    /// Tells whoever asked what became of it.
    pub fn answer(self, outcome: ReloadOutcome) {
        // Whoever asked may have left.
        let _ = self.answer.send(outcome);
    }
}

/// The word for an outcome: the label `result` of the metric.
pub fn word(outcome: &ReloadOutcome) -> &'static str {
    match outcome {
        Ok(answer) => match answer.result {
            ReloadResult::Applied => "applied",
            ReloadResult::Unchanged => "unchanged",
            ReloadResult::WouldApply => "would_apply",
        },
        Err(ReloadRefusal::Errors(_)) => "errors",
        Err(ReloadRefusal::Restart(_)) => "restart_needed",
        Err(ReloadRefusal::NoFile | ReloadRefusal::Failed(_) | ReloadRefusal::Stopping) => "failed",
    }
}

/// What became of a reload, in a sentence.
pub fn sentence(outcome: &ReloadOutcome) -> String {
    match outcome {
        Ok(ReloadAnswer { result, fingerprint, changes, .. }) => {
            let values = match changes.len() {
                0 => "no value changes".to_owned(),
                1 => format!("`{}` changes", changes[0].path),
                count => format!("{count} values change"),
            };
            match result {
                ReloadResult::Applied => format!("configuration {fingerprint} counts: {values}"),
                ReloadResult::Unchanged => format!("the file is configuration {fingerprint}, as before"),
                ReloadResult::WouldApply => format!("configuration {fingerprint} can be used: {values}"),
            }
        }
        Err(refusal) => refusal.to_string(),
    }
}

impl fmt::Display for ReloadRefusal {
    /// Names the first problem and how many more there are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFile => f.write_str(
                "the bridge runs without a configuration file: restart it with one, as with \
                 `fanbridge run --config FILE`",
            ),
            Self::Errors(problems) => {
                let is_error = |problem: &&Json| problem["severity"] == "error";
                let mut errors = problems.iter().filter(is_error);
                f.write_str("the configuration has errors and cannot be used")?;
                if let Some(problem) = errors.next() {
                    write!(f, ": {}", problem_line(problem))?;
                }
                more(f, errors.count())
            }
            Self::Restart(values) => {
                f.write_str("a running bridge cannot take this over, restart it")?;
                if let Some(RestartValue { path, line, what }) = values.first() {
                    let line = line.as_ref().map(|line| format!("{line}: ")).unwrap_or_default();
                    write!(f, ": {line}{path}: {what}")?;
                }
                more(f, values.len().saturating_sub(1))
            }
            Self::Failed(why) => f.write_str(why),
            Self::Stopping => f.write_str("the bridge stops"),
        }
    }
}

fn more(f: &mut fmt::Formatter<'_>, count: usize) -> fmt::Result {
    if count > 0 { write!(f, "; and {count} more") } else { Ok(()) }
}

/// A problem of a configuration on one line, such as `fanbridge.yaml:3:5: unknown key …`.
pub fn problem_line(problem: &Json) -> String {
    let text = |key: &str| problem[key].as_str().unwrap_or_default();
    let [file, title, label] = [text("file"), text("title"), text("label")];
    let label = if label.is_empty() { String::new() } else { format!(": {label}") };
    format!("{file}:{}:{}: {title}{label}", problem["line"], problem["column"])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn a_reload_waits_for_its_outcome_and_another_one_does_not_wait_behind_it() {
        let (reloader, mut requests) = Reloader::new(Timestamp(0));
        let first = tokio::spawn({
            let reloader = reloader.clone();
            async move { reloader.reload(ReloadTrigger::Signal, false).await }
        });
        let asked = requests.recv().await.expect("a request");
        assert_eq!((asked.by, asked.dry_run), (ReloadTrigger::Signal, false));
        assert_eq!(reloader.reload(ReloadTrigger::Api, true).await, Err(ReloadUnderWay));
        asked.answer(Err(ReloadRefusal::NoFile));
        assert_eq!(first.await.expect("no panic"), Ok(Err(ReloadRefusal::NoFile)));
        drop(requests);
        assert_eq!(reloader.reload(ReloadTrigger::Api, true).await, Ok(Err(ReloadRefusal::Stopping)));
    }

    #[test]
    fn a_refusal_names_the_first_problem_and_says_how_many_more_there_are() {
        let problem = |severity: &str, title: &str| {
            let (line, column, label) = (3, 5, "x");
            json!({
                "severity": severity, "file": "f.yaml", "line": line, "column": column, "title": title,
                "label": label,
            })
        };
        let errors = [problem("warning", "a"), problem("error", "b"), problem("error", "c")];
        let said = ReloadRefusal::Errors(errors.into()).to_string();
        assert!(said.ends_with("cannot be used: f.yaml:3:5: b: x; and 1 more"), "{said}");
        let value =
            RestartValue { path: "http.listen".into(), line: Some("f.yaml:1:1".into()), what: "y".into() };
        let said = ReloadRefusal::Restart(vec![value]).to_string();
        assert!(said.ends_with("restart it: f.yaml:1:1: http.listen: y"), "{said}");
    }

    #[test]
    fn only_what_was_applied_counts_from_then_on() {
        let (reloader, _requests) = Reloader::new(Timestamp(1));
        reloader.note(ReloadTrigger::File, &Err(ReloadRefusal::NoFile), Timestamp(2));
        let known = reloader.known();
        assert_eq!((known.since, known.last.map(|last| last.result)), (Timestamp(1), Some("failed")));
        let answer = ReloadAnswer {
            result: ReloadResult::Applied,
            fingerprint: "1".into(),
            before: "0".into(),
            changes: Vec::new(),
            warnings: Vec::new(),
        };
        reloader.note(ReloadTrigger::File, &Ok(answer), Timestamp(3));
        assert_eq!(reloader.known().since, Timestamp(3));
    }
}
