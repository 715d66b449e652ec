//! Turns a text into a [`Config`], or reports everything that is wrong with it.
//!
//! The steps: YAML to a tree (a syntax error stops here), the tree to a checked shape, the shape to
//! its meaning. Each step reports its problems and goes on with the usable part, so that one run
//! shows all problems. Nothing is bound, written or connected. Environment and files are read through
//! [`Environment`]; the only global that counts is the working directory, at which relative paths begin.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path as FilePath;
use std::time::Duration;

use rustix::fs::OFlags;
use serde_json::Value as Json;

use super::aws_secrets::FetchedSecrets;
use super::check::sinks::SinkSurroundings;
use super::check::sources::expect_custom_types;
use super::check::{Check, Environment};
use super::effective::effective;
use super::file::{ConfigFile, known_keys, schema};
use super::fingerprint::fingerprint;
use super::origins::Origins;
use super::report::{Problem, Report, Severity};
use super::tests_file::{ConfigTests, TESTS, tests_within};
use super::yaml::spans::Path;
use super::yaml::{schema_check, tree};
use crate::admin::AdminOptions;
use crate::admin::effective::EffectiveConfiguration;
use crate::aws::AwsOptions;
use crate::dedup::shared::SharedWindowOptions;
use crate::event::Fingerprint;
use crate::reference::{AwsSecret, FILE_BYTES_MAX};
use crate::selection::Selection;
use crate::sink::SinkOptions;
use crate::source::SourceOptions;
use crate::source::http::{HttpOptions, Limits};
use crate::spool::SpoolOptions;
use crate::telemetry::TraceOptions;
use crate::timeline::TimelineOptions;

/// The whole configuration of a bridge.
#[derive(Debug)]
pub struct Config {
    /// The public listener.
    pub http: HttpOptions,
    /// The limits for senders.
    pub limits: Limits,
    /// The admin listener.
    pub admin: AdminOptions,
    /// The log on disk.
    pub spool: SpoolOptions,
    /// The last steps of deliveries and events, in memory.
    pub timeline: TimelineOptions,
    /// Where the spans of sampled events go, if they go anywhere.
    pub traces: Option<TraceOptions>,
    /// The duplicate window that replicas share, if it is configured.
    pub shared_window: Option<SharedWindowOptions>,
    /// How sources and sinks reach AWS.
    pub aws: AwsOptions,
    /// The secrets that AWS keeps, wherever the configuration names them.
    pub aws_secrets: BTreeSet<AwsSecret>,
    /// The sources.
    pub sources: Vec<SourceOptions>,
    /// The event types that the bridge accepts.
    pub selection: Selection,
    /// The sinks.
    pub sinks: Vec<SinkOptions>,
    /// How long a shutdown can take before it is cut short.
    pub shutdown_grace: Duration,
    /// Whether it is read again by itself when its file changes.
    pub reload_on_change: bool,
    /// Tells the configuration from others, and its rules from those of others.
    pub fingerprint: Fingerprint,
    /// Where its values are written.
    pub origins: Origins,
    /// Every value that counts, without secrets.
    pub effective: EffectiveConfiguration,
    /// The tests in the configuration, or what is wrong with them. A bridge does not look at them.
    pub tests: Result<ConfigTests, Report>,
}

/// A usable configuration and its warnings.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The warnings about what was probably not meant.
    pub warnings: Report,
}

/// Loads a configuration. `origin` names the text in messages, usually by its file. AWS is not asked:
/// random text stands for the secrets that it keeps.
///
/// # Errors
/// With all problems, warnings included, in the order of their places.
pub fn load(origin: &str, text: &str, outside: &Environment<'_>) -> Result<Loaded, Report> {
    load_with(origin, text, outside, None)
}

fn load_with(
    origin: &str,
    text: &str,
    outside: &Environment<'_>,
    fetched: Option<&FetchedSecrets>,
) -> Result<Loaded, Report> {
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
                passes: false,
            });
            return Err(report);
        }
    };
    let (mut json, places) = schema_check::check(&tree, &schema(), &mut report);
    let tests = json.as_object_mut().and_then(|top| top.remove(TESTS)).unwrap_or_default();
    let wrong_with_tests = report.split_off(TESTS);
    let (aws, aws_secrets) = (AwsOptions::default(), BTreeSet::new());
    let mut check = Check { report, places, outside, aws, fetched, aws_secrets };
    match check.config(json, origin, text) {
        Some(mut config) if !check.report.has_errors() => {
            config.tests = tests_within(tests, wrong_with_tests, &check.places, &config);
            Ok(Loaded { config, warnings: check.report })
        }
        _ => {
            check.report.join(wrong_with_tests);
            Err(check.report)
        }
    }
}

/// Loads a configuration from bytes, without asking AWS.
///
/// # Errors
/// As for [`load`], and when the bytes are not UTF-8 text.
pub fn load_bytes(origin: &str, bytes: &[u8], outside: &Environment<'_>) -> Result<Loaded, Report> {
    load_bytes_with(origin, bytes, outside, None)
}

/// The same, with what AWS keeps if it was asked.
pub(super) fn load_bytes_with(
    origin: &str,
    bytes: &[u8],
    outside: &Environment<'_>,
    fetched: Option<&FetchedSecrets>,
) -> Result<Loaded, Report> {
    let start = match std::str::from_utf8(bytes) {
        Ok(text) => return load_with(origin, text, outside, fetched),
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
        passes: false,
    });
    Err(report)
}

/// The text of a configuration file, which can be a pipe.
///
/// # Errors
/// When the file cannot be read, is a pipe without a writer, or is longer than 1 MiB.
pub fn read_configuration(path: &FilePath) -> io::Result<Vec<u8>> {
    // Without this flag, opening a pipe waits for its writer.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let mut content = vec![0; 1];
    match (&file).read(&mut content) {
        Ok(0) if file.metadata()?.file_type().is_fifo() => {
            return Err(io::Error::other("it is a pipe to which no process writes"));
        }
        Ok(read) => content.truncate(read),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => content.clear(),
        Err(error) => return Err(error),
    }
    // From here on, reading waits for the writer.
    rustix::fs::fcntl_setfl(&file, OFlags::empty())?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut content)?;
    match content.len() as u64 > FILE_BYTES_MAX {
        true => Err(io::Error::other("it is larger than 1 MiB, which no configuration is")),
        false => Ok(content),
    }
}

impl Check<'_> {
    fn config(&mut self, mut json: Json, origin: &str, text: &str) -> Option<Config> {
        self.warn_of_placeholders(&json, &Path::default());
        let written = json.clone();
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
        self.aws = file.aws.clone();
        let top = Path::default();
        let mut definitions = self.definitions(providers.unwrap_or_default());
        expect_custom_types(&mut definitions, &file);
        self.check_queues_are_reached(&file);
        let sources = self.sources(&file, &definitions);
        let known = self.known_types(&file, &sources, &definitions);
        let selection = self.selection(&file.select, &top.key("select"), &known);
        let around = SinkSurroundings {
            selection: &selection,
            sources: &sources,
            all_sources: !sources.is_empty() && sources.len() == file.sources.len(),
            known: &known,
            retain: file.spool.retain.max(file.spool.duplicates.window),
            traced: file.traces.is_some(),
        };
        let sinks = self.sinks(&file, &around);
        self.check_sizes(&file, &sinks);
        self.check_acks(&file, &selection, &sources, &sinks);
        let mut origins = Origins::new(origin, text, &self.places);
        origins.list(&top.key("select"), known.wire_names(&file.select));
        for (name, sink) in &file.sinks {
            origins.list(&top.key("sinks").key(name).key("select"), known.wire_names(&sink.select));
        }
        let largest_body_bytes = file.largest_body_bytes();
        let limits = Limits { largest_body_bytes, ..file.limits };
        self.check_limits(&limits);
        let fingerprint = fingerprint(text, &selection, &sinks);
        let mut config = Config {
            admin: self.admin(&file),
            spool: self.spool(&file, &limits),
            timeline: self.timeline(&file),
            traces: self.traces(&file),
            shared_window: self.shared_window(&file.spool.duplicates, &limits),
            http: self.http(file.http),
            aws: self.aws(file.aws),
            aws_secrets: BTreeSet::new(),
            limits,
            sources,
            selection,
            sinks,
            shutdown_grace: Duration::from_secs(file.shutdown_grace_seconds.0),
            reload_on_change: file.reload_on_change,
            fingerprint,
            effective: effective(self.with_sinks(written), &schema(), &origins),
            origins,
            tests: Ok(ConfigTests::default()),
        };
        config.aws_secrets = std::mem::take(&mut self.aws_secrets);
        Some(config)
    }
}
