//! What has to become of deliveries under a configuration: `tests` in it, or the file `fanbridge.tests.yaml`.
//!
//! Both are read as the rest of the configuration is: every problem is reported at once, with its place. No
//! problem of a test keeps a bridge from starting.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::Value as Json;

use super::Config;
use super::file::known_keys;
use super::origins::Origins;
use super::report::{Problem, Report, Severity};
use super::yaml::spans::{Path, Spans};
use super::yaml::{schema_check, tree};
use crate::provider::did_you_mean;

/// The key of the tests, in the configuration and in the file beside it.
pub(super) const TESTS: &str = "tests";

/// The tests of a configuration, and where each value of theirs is written.
#[derive(Debug, Default)]
pub struct ConfigTests {
    /// The tests in their order.
    pub tests: Vec<ConfigTest>,
    origins: Origins,
}

impl ConfigTests {
    /// Where the key at a path in a test is written, such as `expect.verdict`; of one that is not there,
    /// where the test begins.
    pub fn line(&self, test: usize, path: &str) -> String {
        let begin = format!("{TESTS}[{test}]");
        let line = self.origins.line(&format!("{begin}.{path}")).or_else(|| self.origins.line(&begin));
        line.unwrap_or_default()
    }
}

/// The whole file.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct TestsFile {
    /// The tests.
    tests: Vec<ConfigTest>,
}

/// What has to become of one delivery: exactly one of `sample`, `body` and `body_file`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfigTest {
    /// What the test is about.
    pub name: String,
    /// Name of the source to which the delivery comes.
    pub source: String,
    /// The event type of a sample, as `fanbridge send` makes it.
    #[serde(default)]
    pub sample: Option<String>,
    /// The body, as YAML.
    #[serde(default)]
    pub body: Option<BTreeMap<String, Json>>,
    /// A file with the body; a relative path begins at the file in which the test is written.
    #[serde(default)]
    pub body_file: Option<PathBuf>,
    /// Headers of the delivery, beside those that a sample has.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Values to set in the body, by their paths, such as `call.id`.
    #[serde(default)]
    pub set: BTreeMap<String, Json>,
    /// What has to become of it.
    pub expect: ExpectedOutcome,
}

/// What has to become of a delivery. What is left out is not compared.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ExpectedOutcome {
    /// What the bridge decides.
    pub verdict: ExpectedVerdict,
    /// Of a quarantined delivery: why, in one word.
    pub reason: Option<String>,
    /// CloudEvents `id`.
    pub id: Option<String>,
    /// CloudEvents `type`.
    #[serde(rename = "type")]
    pub event_type: Option<String>,
    /// The event's family.
    pub family: Option<String>,
    /// The partition key; `""` if it has none.
    pub key: Option<String>,
    /// The sinks that get it, and no others: `{}` if none does.
    pub sinks: Option<BTreeMap<String, ExpectedRecord>>,
}

/// What the bridge has to decide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum ExpectedVerdict {
    /// It is an event for the sinks.
    #[default]
    Accepted,
    /// The selection keeps it out.
    Filtered,
    /// It cannot become an event.
    Quarantined,
    /// It is refused, even if it is signed.
    Refused,
    /// It is the provider's probe, which is answered and not kept.
    Probe,
}

impl ExpectedVerdict {
    /// The verdict as it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Filtered => "filtered",
            Self::Quarantined => "quarantined",
            Self::Refused => "refused",
            Self::Probe => "probe",
        }
    }
}

/// What a sink has to get.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ExpectedRecord {
    /// The topic.
    pub topic: Option<String>,
    /// CloudEvents attributes that the record has to carry; `""` of one that it must not carry.
    pub attributes: BTreeMap<String, String>,
}

/// Reads the tests of a configuration. `origin` names the text in messages.
///
/// # Errors
/// With all problems, in the order of their places.
pub fn load_tests(origin: &str, text: &str, config: &Config) -> Result<ConfigTests, Report> {
    let mut report = Report::new(origin, text, known_keys());
    let tree = match tree::parse(text) {
        Ok(tree) => tree,
        Err(error) => {
            report.add(problem("unreadable YAML", error.message, error.span, ""));
            return Err(report);
        }
    };
    let schema: Json = schema_for!(TestsFile).into();
    let (json, places) = schema_check::check(&tree, &schema, &mut report);
    if report.has_errors() {
        return Err(report);
    }
    let file: TestsFile = match serde_json::from_value(json) {
        Ok(file) => file,
        // The check above has found nothing, so the parser's message is better than none.
        Err(error) => {
            report.add(problem("unusable tests", error.to_string(), 0..0, ""));
            return Err(report);
        }
    };
    if file.tests.is_empty() {
        let label = "expected `tests:` with a list of tests".into();
        report.add(problem("there is no test", label, 0..0, ""));
        return Err(report);
    }
    let origins = Origins::new(origin, text, &places);
    meaningful(file.tests, (report, &places), config, origins)
}

/// The tests that are written in a configuration. `report` has what is wrong with their form; `places` are
/// those of the whole configuration.
pub(super) fn tests_within(
    tests: Json,
    mut report: Report,
    places: &Spans,
    config: &Config,
) -> Result<ConfigTests, Report> {
    if report.has_errors() {
        return Err(report);
    }
    match serde_json::from_value::<Option<Vec<ConfigTest>>>(tests) {
        Ok(tests) => meaningful(tests.unwrap_or_default(), (report, places), config, config.origins.clone()),
        Err(error) => {
            report.add(problem("unusable tests", error.to_string(), places.key(&tests_path()), TESTS));
            Err(report)
        }
    }
}

/// The tests, if they make sense under the configuration.
fn meaningful(
    tests: Vec<ConfigTest>,
    (report, places): (Report, &Spans),
    config: &Config,
    origins: Origins,
) -> Result<ConfigTests, Report> {
    let mut meaning = Meaning { report, places, config };
    for (index, test) in tests.iter().enumerate() {
        meaning.check(test, &tests_path().index(index));
    }
    if meaning.report.has_errors() { Err(meaning.report) } else { Ok(ConfigTests { tests, origins }) }
}

fn tests_path() -> Path {
    Path::default().key(TESTS)
}

fn problem(title: &str, label: String, span: std::ops::Range<usize>, path: &str) -> Problem {
    let (title, path) = (title.into(), path.into());
    Problem { severity: Severity::Error, title, label, notes: Vec::new(), span, path, passes: false }
}

/// Checks tests against the configuration.
struct Meaning<'c> {
    report: Report,
    places: &'c Spans,
    config: &'c Config,
}

impl Meaning<'_> {
    fn check(&mut self, test: &ConfigTest, at: &Path) {
        let given = [test.sample.is_some(), test.body.is_some(), test.body_file.is_some()];
        if given.iter().filter(|given| **given).count() != 1 {
            let label = "expected exactly one of `sample`, `body` and `body_file`".into();
            self.error(at, "what is delivered is not clear", label);
        }
        let config = self.config;
        let sources = config.sources.iter().map(|source| &*source.name);
        match config.sources.iter().find(|source| *source.name == *test.source) {
            None => self.unknown("source", &test.source, sources, &at.key("source")),
            Some(source) => {
                let catalogue = &source.definition.catalogue;
                let types = catalogue.types().map(|info| &*info.name);
                let sample = test.sample.as_ref().filter(|sample| catalogue.find(sample).is_none());
                if let Some(sample) = sample {
                    self.unknown("event type", sample, types, &at.key("sample"));
                }
            }
        }
        let sinks_at = at.key("expect").key("sinks");
        for name in test.expect.sinks.iter().flatten().map(|(name, _)| name) {
            let known = config.sinks.iter().map(|sink| sink.name.as_str());
            if !known.clone().any(|known| known == name) {
                self.unknown("sink", name, known, &sinks_at.key(name));
            }
        }
    }

    fn unknown<'n>(&mut self, what: &str, name: &str, known: impl Iterator<Item = &'n str>, at: &Path) {
        let meant = did_you_mean(name, known);
        let label = format!("the configuration has no {what} `{name}`{meant}");
        self.error(at, &format!("unknown {what}"), label);
    }

    fn error(&mut self, at: &Path, title: &str, label: String) {
        let span = self.places.key(at);
        self.report.add(problem(title, label, span, &at.to_string()));
    }
}
