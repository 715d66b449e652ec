//! One test: the delivery that it describes, what becomes of it, and what of that is not as expected.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;
use serde_json::Value;

use super::super::recorded::read;
use super::super::send::assignment;
use super::super::{Exit, Failure};
use crate::config::{Config, ConfigTest, ConfigTests, ExpectedRecord, ExpectedVerdict};
use crate::event::{Event, Position, Record, Timestamp, Verdict};
use crate::explain::{ExplainedConfiguration, verdict_on};
use crate::provider::{event_headers, sample, sign};
use crate::sink::SinkOptions;
use crate::sink::envelope::{AttributeName, attributes};
use crate::source::SourceOptions;

/// The position of the only event that a test has.
const POSITION: Position = Position(1);

/// What came of a test.
#[derive(Debug, Serialize)]
pub(super) struct TestResult {
    /// The test's name.
    pub(super) name: String,
    /// Where the test is written.
    pub(super) line: String,
    /// What is not as expected.
    pub(super) mismatches: Vec<TestMismatch>,
}

/// Something that is not as expected.
#[derive(Debug, Serialize)]
pub(super) struct TestMismatch {
    /// Where the expectation is written.
    pub(super) line: String,
    /// What was expected, and what was found.
    pub(super) message: String,
}

impl TestResult {
    /// Whether all is as expected.
    pub(super) fn passed(&self) -> bool {
        self.mismatches.is_empty()
    }
}

/// Runs a test.
///
/// # Errors
/// When its delivery cannot be made.
pub(super) fn judge(
    tests: &ConfigTests,
    index: usize,
    config: &Config,
    explained: &ExplainedConfiguration,
    dir: &Path,
    now: Timestamp,
) -> Result<TestResult, Failure> {
    let test = &tests.tests[index];
    let unusable = |path: &str, message: String| {
        Failure::new(Exit::Config, format!("{}: {message}", tests.line(index, path)))
    };
    let unknown = || unusable("source", format!("there is no source `{}`", test.source));
    let source = config.sources.iter().find(|source| *source.name == *test.source).ok_or_else(unknown)?;
    let configured = explained.source(&test.source).ok_or_else(unknown)?;
    let body = body(test, source, dir, now).map_err(|(path, message)| unusable(path, message))?;
    let headers = headers(test, source, &body, now).map_err(|message| unusable("headers", message))?;
    let limits = config.limits.body_limits();
    let mut compared = Compared { tests, index, mismatches: Vec::new() };
    match verdict_on(explained, configured, (&headers, body), now, &limits) {
        Err(refusal) => compared.verdict(ExpectedVerdict::Refused, &format!(": {refusal}")),
        Ok(None) => compared.verdict(ExpectedVerdict::Probe, ""),
        Ok(Some(Verdict::Quarantine(quarantined))) => {
            let why = format!(": {} ({})", quarantined.reason, quarantined.detail);
            compared.verdict(ExpectedVerdict::Quarantined, &why);
            compared.text("reason", test.expect.reason.as_deref(), &quarantined.reason);
            compared.text("id", test.expect.id.as_deref(), &quarantined.id);
        }
        Ok(Some(Verdict::Filter(filtered))) => {
            compared.verdict(ExpectedVerdict::Filtered, ": `select` does not have it");
            compared.text("id", test.expect.id.as_deref(), &filtered.id);
            compared.text("type", test.expect.event_type.as_deref(), &filtered.event_type);
            compared.text("family", test.expect.family.as_deref(), &filtered.family);
        }
        Ok(Some(Verdict::Accept(event))) => compared.event(event, config),
    }
    if test.expect.verdict != ExpectedVerdict::Accepted && compared.mismatches.is_empty() {
        // Nobody gets what is not accepted.
        compared.sinks(&BTreeMap::new());
    }
    let line = tests.line(index, "");
    Ok(TestResult { name: test.name.clone(), line, mismatches: compared.mismatches })
}

/// The body of a test's delivery; else which key is wrong, and why.
fn body(
    test: &ConfigTest,
    source: &SourceOptions,
    dir: &Path,
    now: Timestamp,
) -> Result<Bytes, (&'static str, String)> {
    let (body, is_sample) = match (&test.sample, &test.body, &test.body_file) {
        (Some(event_type), _, _) => {
            let made = sample(&source.definition, event_type, now, now.0.unsigned_abs());
            (made.ok_or_else(|| ("sample", format!("there is no sample of `{event_type}`")))?, true)
        }
        (_, Some(body), _) => (serde_json::to_vec(body).map_err(|error| ("body", error.to_string()))?, false),
        (_, _, Some(file)) => {
            (read(&dir.join(file)).map_err(|failure| ("body_file", failure.to_string()))?, false)
        }
        (None, None, None) => return Err(("", "there is no body".into())),
    };
    if test.set.is_empty() {
        return Ok(body.into());
    }
    let document =
        serde_json::from_slice(&body).map_err(|error| ("set", format!("no JSON body: {error}")))?;
    let document: Value = test.set.iter().try_fold(document, |document, (path, value)| {
        let set = assignment(&format!("{path}={value}")).and_then(|set| set.apply(document, is_sample));
        set.map_err(|message| ("set", message))
    })?;
    Ok(document.to_string().into())
}

/// The headers of a test's delivery: those that the provider would send, and the test's own.
fn headers(
    test: &ConfigTest,
    source: &SourceOptions,
    body: &Bytes,
    now: Timestamp,
) -> Result<HeaderMap, String> {
    let definition = &source.definition;
    let mut headers = HeaderMap::new();
    if let Some(event_type) = &test.sample {
        headers = event_headers(definition, event_type);
    }
    // A provider can state the id beside its signature.
    if let Some(kept) = source.secrets.first() {
        headers.extend(sign(definition, &kept.secret, body, now, "msg_of_a_test"));
    }
    for (name, value) in &test.headers {
        let wrong = || format!("`{name}` and its value are no header");
        let name: HeaderName = name.parse().map_err(|_| wrong())?;
        headers.insert(name.clone(), HeaderValue::from_str(value).map_err(|_| wrong())?);
    }
    Ok(headers)
}

/// A test, and what of it is not as expected.
struct Compared<'t> {
    tests: &'t ConfigTests,
    index: usize,
    mismatches: Vec<TestMismatch>,
}

impl Compared<'_> {
    fn test(&self) -> &ConfigTest {
        &self.tests.tests[self.index]
    }

    fn mismatch(&mut self, path: &str, message: String) {
        let line = self.tests.line(self.index, &format!("expect.{path}"));
        self.mismatches.push(TestMismatch { line, message });
    }

    fn verdict(&mut self, found: ExpectedVerdict, why: &str) {
        let expected = self.test().expect.verdict;
        if expected != found {
            let message = format!("expected {}, but it is {}{why}", expected.word(), found.word());
            self.mismatch("verdict", message);
        }
    }

    /// Compares a text, if one is expected.
    fn text(&mut self, path: &str, expected: Option<&str>, found: &str) {
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            self.mismatch(path, format!("{path}: expected {}, found {}", named(expected), named(found)));
        }
    }

    fn event(&mut self, event: Arc<Event>, config: &Config) {
        self.verdict(ExpectedVerdict::Accepted, "");
        let expect = self.test().expect.clone();
        self.text("id", expect.id.as_deref(), &event.id);
        self.text("type", expect.event_type.as_deref(), &event.event_type);
        self.text("family", expect.family.as_deref(), &event.family);
        self.text("key", expect.key.as_deref(), event.key.as_deref().unwrap_or_default());
        let takes = |sink: &&SinkOptions| sink.selection.takes(&event.event_type);
        let record = |sink: &SinkOptions| {
            let topic = sink.topic.render(&event.provider, &event.family, &event.source_name);
            let record = Record { position: POSITION, topic: topic.into(), event: Arc::clone(&event) };
            (sink.name.clone(), FoundRecord::of(&record, sink))
        };
        self.sinks(&config.sinks.iter().filter(takes).map(record).collect());
    }

    /// Compares which sinks get what, if that is expected.
    fn sinks(&mut self, found: &BTreeMap<String, FoundRecord>) {
        let Some(expected) = self.test().expect.sinks.clone() else { return };
        let names: BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
        for name in names {
            let path = format!("sinks.{name}");
            match (expected.get(name), found.get(name)) {
                (Some(expected), Some(found)) => self.record(&path, expected, found),
                (Some(_), None) => self.mismatch(&path, format!("expected that {name} gets it; it does not")),
                (None, Some(found)) => {
                    let message = format!("{name} gets it, into {}; expected that it does not", found.topic);
                    self.mismatch("sinks", message);
                }
                (None, None) => {}
            }
        }
    }

    fn record(&mut self, path: &str, expected: &ExpectedRecord, found: &FoundRecord) {
        self.text(&format!("{path}.topic"), expected.topic.as_deref(), &found.topic);
        for (name, value) in &expected.attributes {
            let found = found.attributes.get(name).map_or("", String::as_str);
            self.text(&format!("{path}.attributes.{name}"), Some(value), found);
        }
    }
}

/// A text as it is shown; nothing is shown as such.
fn named(text: &str) -> String {
    if text.is_empty() { "nothing".into() } else { format!("`{text}`") }
}

/// What a sink gets.
struct FoundRecord {
    topic: String,
    attributes: BTreeMap<String, String>,
}

impl FoundRecord {
    fn of(record: &Record, sink: &SinkOptions) -> Self {
        let mut found = BTreeMap::new();
        attributes(record, &sink.attributes, |name, value| {
            let name = match name {
                AttributeName::Own(attribute) => attribute.name(),
                AttributeName::Extension(name) => name,
            };
            found.insert(name.to_owned(), value.as_text().to_owned());
        });
        Self { topic: record.topic.to_string(), attributes: found }
    }
}
