//! The checks of sinks: each has one kind, and its topics can exist. The checks of Kafka are in
//! `kafka`, those of SNS in `aws`.

use std::collections::BTreeMap;
use std::path::{Component, Path as FilePath, PathBuf};
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::Check;
use super::selection::KnownTypes;
use crate::config::file::{ConfigFile, OnFull, SinkFile};
use crate::config::topics::topics;
use crate::config::yaml::spans::Path;
use crate::routing::{TopicTemplate, kafka_topic_problem};
use crate::scalars::Period;
use crate::selection::Selection;
use crate::sink::file::FileSinkOptions;
use crate::sink::{Output, SinkOptions, StartFrom, StartFromError};
use crate::source::SourceOptions;

/// Name of the sink that is used if none is configured.
const DEFAULT_SINK: &str = "local";

/// The name under which metrics and `dead list` show quarantined deliveries, and its meaning.
const TAKEN: (&str, &str) = ("quarantine", "quarantined deliveries in metrics and in `fanbridge dead list`");

/// The kinds of sink.
const KINDS: [&str; 3] = ["kafka", "sns", "file"];

impl Check<'_> {
    pub(in crate::config) fn sinks(
        &mut self,
        file: &ConfigFile,
        around: &SinkSurroundings<'_>,
    ) -> Vec<SinkOptions> {
        let at = Path::default().key("sinks");
        if file.sinks.is_empty() && !self.places.has_inside(&at) {
            let dir = FileSinkOptions::default().dir;
            let label = format!("events go to the file sink `{DEFAULT_SINK}`, into {}", dir.display());
            self.warning(&at, "no sink is configured", label);
            let sink = SinkFile { file: Some(FileSinkOptions::default()), ..SinkFile::default() };
            return self.sink(DEFAULT_SINK, &sink, &at.key(DEFAULT_SINK), around).into_iter().collect();
        }
        let mut sinks = Vec::new();
        let mut dirs = BTreeMap::from([(resolved(&file.spool.dir), "the spool".to_owned())]);
        for (name, sink) in &file.sinks {
            let at = at.key(name);
            if let Some(output) = &sink.file {
                self.check_apart(&mut dirs, output, name, &at.key("file").key("dir"));
            }
            self.check_name(&at, name);
            self.check_free(&at, name, TAKEN);
            sinks.extend(self.sink(name, sink, &at, around));
            self.check_within(&sink.select, &at.key("select"), around.selection, around.known);
        }
        sinks
    }

    /// What is written, with the sink that is used if there is none.
    pub(in crate::config) fn with_sinks(&self, mut written: Json) -> Json {
        if !self.places.has_inside(&Path::default().key("sinks")) {
            written["sinks"] = json!({ DEFAULT_SINK: { "file": {} } });
        }
        written
    }

    /// Reports a directory to which another sink or the spool writes, by whatever path. Warns about a
    /// directory inside another sink's, or around it, because a topic's directory could be the same.
    fn check_apart(
        &mut self,
        dirs: &mut BTreeMap<PathBuf, String>,
        output: &FileSinkOptions,
        name: &str,
        at: &Path,
    ) {
        let dir = resolved(&output.dir);
        let nested = dirs.iter().find(|(other, owner)| {
            **owner != "the spool" && **other != dir && (other.starts_with(&dir) || dir.starts_with(other))
        });
        let nested = nested.map(|(other, owner)| (other.display().to_string(), owner.clone()));
        if let Some(owner) = dirs.insert(dir, format!("sink `{name}`")) {
            let label =
                format!("{owner} already writes to {}: choose another directory", output.dir.display());
            self.error(at, "directory used twice", label);
        } else if let Some((other, owner)) = nested {
            let label = format!("{owner} writes to {other}, where a topic could have the same directory");
            self.warning(at, "directory inside another sink's directory", label);
        }
    }

    fn sink(
        &mut self,
        name: &str,
        file: &SinkFile,
        at: &Path,
        around: &SinkSurroundings<'_>,
    ) -> Option<SinkOptions> {
        let selection = self.selection(&file.select, &at.key("select"), around.known);
        let mut region = None;
        let topic = match TopicTemplate::parse(&file.topic) {
            Ok(topic) if file.sns.is_some() => {
                let topic = topic.dashed();
                region = self.check_arns(&topic, &selection, &at.key("topic"), around);
                Some(topic)
            }
            Ok(topic) => {
                self.check_topics(&topic, &selection, &at.key("topic"), around);
                Some(topic)
            }
            Err(problem) => {
                self.error(&at.key("topic"), "unusable topic template", problem.to_string());
                None
            }
        };
        let output = self.output(file, region, at);
        let detaches = file.on_full == OnFull::DetachSink;
        let attributes = self.attributes(&file.attributes, &at.key("attributes"), around);
        let from = self.start_from(&file.from, &at.key("from"), around.retain);
        let (linger, name) = (file.linger, name.into());
        let (topic, from, output) = (topic?, from?, output?);
        Some(SinkOptions { name, topic, selection, from, detaches, linger, attributes, output })
    }

    /// Checks with which event a new sink begins. Warns of a moment at which nothing is found.
    fn start_from(&mut self, text: &str, at: &Path, retain: Duration) -> Option<StartFrom> {
        let from = match text.parse() {
            Ok(from) => from,
            Err(error @ StartFromError) => {
                self.error(at, "unusable beginning of a sink", error.to_string());
                return None;
            }
        };
        if let StartFrom::Moment(moment) = from {
            let now = self.outside.now;
            if moment > now {
                let label = "this moment is to come: a new sink begins with the next event, as with `next`";
                self.warning(at, "beginning of a sink in the future", label.into());
            } else if now.seconds_since(moment) > retain.as_secs_f64() {
                let label = format!(
                    "this is longer ago than `spool.retain`, which is {}: a new sink begins with what the \
                     log still holds",
                    Period(retain)
                );
                self.warning(at, "beginning of a sink that is forgotten", label);
            }
        }
        Some(from)
    }

    /// Checks the one kind of the sink. `region` is the region that its topics name, if they do.
    fn output(&mut self, file: &SinkFile, region: Option<String>, at: &Path) -> Option<Output> {
        match (&file.kafka, &file.sns, &file.file) {
            (Some(kafka), None, None) => self.kafka(kafka, &at.key("kafka")).map(Output::Kafka),
            (None, Some(sns), None) => self.sns_sink(sns, region, &at.key("sns")).map(Output::Sns),
            (None, None, Some(file)) => {
                self.check_dir(&file.dir, &at.key("file").key("dir"));
                Some(Output::File(file.clone()))
            }
            (None, None, None) => {
                if !KINDS.iter().any(|kind| self.places.has(&at.key(kind))) {
                    let label = "expected `kafka`, `sns` or `file` under this name".into();
                    self.error_at_key(at, "sink without a kind", label);
                }
                None
            }
            _ => {
                let label = "a sink has one of `kafka`, `sns` and `file`; give each a sink of its own".into();
                self.error_at_key(at, "sink of several kinds", label);
                None
            }
        }
    }

    /// Reports the first impossible topic of a sink, and the number of further ones. Returns whether
    /// there is one.
    pub(in crate::config) fn report_impossible(
        &mut self,
        mut wrong: impl Iterator<Item = String>,
        at: &Path,
    ) -> bool {
        let Some(label) = wrong.next() else { return false };
        let others = wrong.count();
        let problem = self.error(at, "impossible topic", label);
        let note = || format!("{others} more topics of this sink are impossible");
        problem.notes.extend((others > 0).then(note));
        true
    }

    /// Reports topics that the configuration can produce and that no broker accepts.
    fn check_topics(
        &mut self,
        template: &TopicTemplate,
        selection: &Selection,
        at: &Path,
        around: &SinkSurroundings<'_>,
    ) {
        let topics = topics(around.sources, around.selection, selection, template);
        let mut names: Vec<&str> = topics.iter().map(|topic| topic.name.as_str()).collect();
        // Without a usable source, only the template's own text can be checked.
        let stand_in = template.render("provider", "family", "source");
        if names.is_empty() {
            names.push(&stand_in);
        }
        let wrong = names
            .iter()
            .filter_map(|name| kafka_topic_problem(name).map(|problem| format!("`{name}`: {problem}")));
        if self.report_impossible(wrong, at) {
            return;
        }
        if let Some((one, other)) = colliding(names.into_iter()) {
            let label =
                format!("brokers cannot tell `{one}` and `{other}` apart: they differ only in `.` and `_`");
            self.error(at, "colliding topics", label);
        }
    }
}

/// The other parts of the configuration that a sink is checked against.
pub(in crate::config) struct SinkSurroundings<'a> {
    /// The bridge's own selection.
    pub selection: &'a Selection,
    /// The configured sources that can be used.
    pub sources: &'a [SourceOptions],
    /// Whether these are all configured sources.
    pub all_sources: bool,
    /// The event types that these sources can send.
    pub known: &'a KnownTypes,
    /// How long the log holds delivered events.
    pub retain: Duration,
    /// Whether traces are on, so that an event of any source can have a trace context.
    pub traced: bool,
}

/// Two topics that a broker refuses to keep side by side.
fn colliding<'t>(topics: impl Iterator<Item = &'t str>) -> Option<(&'t str, &'t str)> {
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for topic in topics {
        match seen.insert(topic.replace('.', "_"), topic) {
            Some(other) if other != topic => return Some((other, topic)),
            _ => {}
        }
    }
    None
}

/// The same absolute path for every spelling of a place, as far as it exists: links are followed, and
/// `.` and `..` are resolved after them.
fn resolved(path: &FilePath) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_default();
    absolute.components().fold(PathBuf::new(), |mut path, component| {
        match component {
            Component::ParentDir => drop(path.pop()),
            component => path.push(component),
        }
        path.canonicalize().unwrap_or(path)
    })
}
