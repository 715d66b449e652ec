//! Every situation that an operator can ask about, made for real: is its true cause named, and its fix?
//!
//! A row is one situation. What another test makes, with more around it, is named in `words.rs`, which sees
//! to it that no cause and no refusal of the bridge is without a row or a reason.

mod doctor;
mod kafka;
mod log;
mod refused;
pub(crate) mod stage;
mod taken;
mod unavailable;
mod words;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::bridge::Home;
use crate::support::{signing, turns};

/// How long it may take until it is as it is to be.
const WITHIN: Duration = Duration::from_secs(40);
/// How many situations are made at once.
const AT_ONCE: usize = 4;

/// A situation, what `explain` is to say of it, and what to do about it.
struct Row {
    name: &'static str,
    /// The situation's word, or that of a check of `doctor`.
    situation: &'static str,
    /// The word of a refusal; empty if it is about something else.
    reason: &'static str,
    /// Makes it so. `None` if this machine or run cannot, which is then said.
    make: fn(what: &str) -> Option<Made>,
    cause: &'static str,
    fix: &'static str,
}

/// A situation as it is now, with all that keeps it so.
struct Made {
    /// Ends before the home does.
    _alive: Vec<Box<dyn Any>>,
    home: Home,
    /// What the bridge is asked.
    asked: Vec<String>,
    /// More words of the cause, which are not known before.
    words: Vec<String>,
}

impl Made {
    /// Asked about an event or a request by its id, or about a type by `--type`.
    fn explain(home: Home, asked: &[&str], alive: impl Any) -> Option<Self> {
        let asked = [&["explain"], asked].concat().into_iter().map(str::to_owned).collect();
        Some(Self { home, asked, words: Vec::new(), _alive: vec![Box::new(alive)] })
    }

    /// A check of the doctor alone is asked for.
    fn doctor(home: Home, check: &str, alive: impl Any) -> Option<Self> {
        let asked = ["doctor", "--only", check].map(str::to_owned).into();
        Some(Self { home, asked, words: Vec::new(), _alive: vec![Box::new(alive)] })
    }

    /// The same with more words of its cause.
    fn with(self, words: &[&str]) -> Option<Self> {
        Some(Self { words: words.iter().map(|word| (*word).to_owned()).collect(), ..self })
    }

    fn say(&self, format: &str) -> String {
        let asked: Vec<&str> = self.asked.iter().map(String::as_str).collect();
        let output = self.home.try_verb(&[&asked[..], &["--format", format]].concat());
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Row {
    /// Whether what `explain` or `doctor` says is the truth.
    fn is_said(&self, said: &Value, more: &[String]) -> bool {
        if let Some(findings) = said["findings"].as_array() {
            return findings.iter().any(|finding| {
                let text = |name: &str| finding[name].as_str().unwrap_or_default();
                let is_trouble = ["warning", "failure"].contains(&text("verdict"));
                let is_it = finding["check"] == self.situation && is_trouble;
                is_it && text("found").contains(self.cause) && text("fix").contains(self.fix)
            });
        }
        let text = |name: &str| said[name].as_str().unwrap_or_default();
        let more = more.iter().all(|word| text("cause").contains(word));
        let reason = self.reason.is_empty() || said["verdict"]["reason"] == self.reason;
        // Nothing to do is said by no fix.
        let fix = if self.fix.is_empty() { said["fix"].is_null() } else { text("fix").contains(self.fix) };
        said["situation"] == self.situation && text("cause").contains(self.cause) && more && reason && fix
    }

    /// Makes the situation and asks until the answer is as it has to be.
    fn check(&self) {
        let Some(made) = (self.make)(self.name) else { return };
        let begun = Instant::now();
        loop {
            let said = made.say("json");
            let json: Value = serde_json::from_str(&said).unwrap_or_default();
            if self.is_said(&json, &made.words) {
                break;
            }
            assert!(
                begun.elapsed() < WITHIN,
                "{}: waited in vain for {} ({}): {} {:?}: {}\n{said}",
                self.name,
                self.situation,
                self.reason,
                self.cause,
                made.words,
                self.fix
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        let text = made.say("table");
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains(self.cause) && words.contains(self.fix), "{}: {text}", self.name);
        for line in text.lines().filter(|line| !line.starts_with("see:")) {
            // What is copied is not broken: a path is as long as it is.
            let longest = line.split(' ').map(|word| word.chars().count()).max().unwrap_or(0);
            assert!(line.chars().count() <= 80.max(longest + 14), "{}: {line}", self.name);
        }
        for secret in [signing::STREAM_SECRET, signing::FASTPIX_SECRET, stage::CANARY] {
            assert!(!text.contains(secret), "{}: {text}", self.name);
        }
    }
}

/// All rows.
fn rows() -> impl Iterator<Item = &'static Row> {
    [taken::ROWS, refused::ROWS, unavailable::ROWS, log::ROWS, kafka::ROWS, doctor::ROWS]
        .into_iter()
        .flatten()
}

#[test]
fn each_situation_is_told_by_its_true_cause_and_its_fix() {
    let _turn = turns::in_company();
    let rows: Vec<&Row> = rows().collect();
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(row) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if catch_unwind(AssertUnwindSafe(|| row.check())).is_err() {
                        failed.lock().unwrap().push(row.name);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} of {} situations: {failed:#?}", failed.len(), rows.len());
}
