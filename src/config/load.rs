//! Turns a text into a [`Config`], or reports everything that is wrong with it.
//!
//! The steps: YAML to a tree (a syntax error stops here), the tree to a checked shape, the shape to
//! its meaning. Each step reports its problems and goes on with the usable part, so that one run
//! shows all problems. Nothing is bound, written or connected. Environment and files are read through
//! [`Environment`]; the only global that counts is the working directory, at which relative paths begin.

use std::time::Duration;

use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use super::Config;
use super::check::Check;
use super::check::sinks::SinkSurroundings;
use super::check::sources::expect_custom_types;
use super::environment::Environment;
use super::file::{ConfigFile, known_keys, schema};
use super::report::{Problem, Report, Severity};
use super::yaml::spans::Path;
use super::yaml::{schema_check, tree};

/// A usable configuration and its warnings.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The warnings about what was probably not meant.
    pub warnings: Report,
}

/// Loads a configuration. `origin` names the text in messages, usually by its file.
///
/// # Errors
/// With all problems, warnings included, in the order of their places.
pub fn load(origin: &str, text: &str, outside: &Environment<'_>) -> Result<Loaded, Report> {
    let mut report = Report::new(origin, text, known_keys());
    let tree = match tree::parse(text) {
        Ok(tree) => tree,
        Err(error) => {
            report.add(Problem {
                severity: Severity::Error,
                title: "unreadable YAML".into(),
                label: error.message,
                notes: Vec::new(),
                span: error.span,
                path: String::new(),
            });
            return Err(report);
        }
    };
    let (json, places) = schema_check::check(&tree, &schema(), &mut report);
    let mut check = Check { report, places, outside };
    let config = check.config(json, text);
    match config {
        Some(config) if !check.report.has_errors() => Ok(Loaded { config, warnings: check.report }),
        _ => Err(check.report),
    }
}

/// Loads a configuration from bytes.
///
/// # Errors
/// As for [`load`], and when the bytes are not UTF-8 text.
pub fn load_bytes(origin: &str, bytes: &[u8], outside: &Environment<'_>) -> Result<Loaded, Report> {
    let start = match std::str::from_utf8(bytes) {
        Ok(text) => return load(origin, text, outside),
        Err(error) => error.valid_up_to(),
    };
    // The text before the invalid byte stays as it is, and so does the byte's offset.
    let mut report = Report::new(origin, &String::from_utf8_lossy(bytes), known_keys());
    report.add(Problem {
        severity: Severity::Error,
        title: "not UTF-8 text".into(),
        label: "this byte is not UTF-8; save the file as UTF-8".into(),
        notes: Vec::new(),
        span: start..start + char::REPLACEMENT_CHARACTER.len_utf8(),
        path: String::new(),
    });
    Err(report)
}

/// First 12 hexadecimal digits of the text's SHA-256, which identify the configuration in the log.
pub fn fingerprint(text: &str) -> String {
    hex::encode(&Sha256::digest(text)[..6])
}

impl Check<'_> {
    fn config(&mut self, mut json: Json, text: &str) -> Option<Config> {
        self.warn_of_placeholders(&json, &Path::default());
        let providers = json.as_object_mut().and_then(|top| top.remove("providers"));
        let file: ConfigFile = match serde_json::from_value(json) {
            Ok(file) => file,
            // The schema check has reported the reason. In case it has not, the parser's message is better
            // than none.
            Err(error) => {
                if !self.report.has_errors() {
                    self.error(&Path::default(), "unusable configuration", error.to_string());
                }
                return None;
            }
        };
        let top = Path::default();
        let mut definitions = self.definitions(providers.unwrap_or_default());
        expect_custom_types(&mut definitions, &file);
        let sources = self.sources(&file, &definitions);
        let known = self.known_types(&file, &sources, &definitions);
        let selection = self.selection(&file.select, &top.key("select"), &known);
        let around = SinkSurroundings { selection: &selection, sources: &sources, known: &known };
        let sinks = self.sinks(&file, &around);
        self.check_sizes(&file, &sinks);
        Some(Config {
            http: self.http(&file),
            admin: self.admin(&file),
            spool: self.spool(&file),
            aws: self.aws(&file),
            sources,
            selection,
            sinks,
            shutdown_grace: Duration::from_secs(file.shutdown_grace_seconds.0),
            fingerprint: fingerprint(text),
        })
    }
}
