//! What an explanation needs of the configuration: names, rules and where they are written (pure).
//!
//! It holds no secret. Whoever reads the configuration fills it in.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use crate::event::Fingerprint;
use crate::provider::{Definition, builtin};
use crate::routing::TopicTemplate;
use crate::selection::Selection;

/// The rules by which events are taken in and delivered.
#[derive(Clone, Debug, Default)]
pub struct ExplainedConfiguration {
    /// The fingerprint, which events have that are admitted under it.
    pub fingerprint: Option<Fingerprint>,
    /// The sources.
    pub sources: Vec<ConfiguredSource>,
    /// The bridge's own selection.
    pub selection: ConfiguredSelection,
    /// The sinks.
    pub sinks: Vec<ConfiguredSink>,
}

/// A source as it is configured.
#[derive(Clone, Debug)]
pub struct ConfiguredSource {
    /// Its name.
    pub name: String,
    /// CloudEvents `source` of its events.
    pub event_source: String,
    /// The definition of its provider.
    pub definition: Arc<Definition>,
    /// The largest body that it takes, in bytes as they are sent.
    pub body_bytes_max: u64,
    /// Whether providers post to it, to `/in/{name}`.
    pub is_posted_to: bool,
}

/// A selection, and where it is written.
#[derive(Clone, Debug, Default)]
pub struct ConfiguredSelection {
    /// The key in the configuration: `select`, `sinks.lake.select`.
    pub key: String,
    /// Which types pass.
    pub selection: Selection,
    /// Where the key is written; `None` if its default counts.
    pub line: Option<String>,
    /// Where each type of a list is written.
    pub listed: BTreeMap<String, String>,
}

/// What a selection says of one type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectionRule {
    /// Whether the type passes.
    pub takes: bool,
    /// The rule in words: `all`, `list of 4 types, in it`, `list of 4 types, not in it`.
    pub rule: String,
    /// Where it is written.
    pub line: Option<String>,
}

/// A sink as it is configured.
#[derive(Clone, Debug)]
pub struct ConfiguredSink {
    /// Its name.
    pub name: String,
    /// The template of its topics.
    pub topic: TopicTemplate,
    /// Which of the bridge's events it takes.
    pub selection: ConfiguredSelection,
    /// Where its records go.
    pub place: SinkPlace,
}

/// Where a sink's records go, as far as a person needs it to look there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkPlace {
    /// A Kafka cluster.
    Kafka {
        /// `host:port,host:port,…`
        brokers: String,
        /// Whether connecting takes TLS or credentials.
        is_secured: bool,
    },
    /// SNS topics.
    Sns,
    /// A directory on this machine.
    Files(PathBuf),
}

impl ExplainedConfiguration {
    /// The source of this name.
    pub fn source(&self, name: &str) -> Option<&ConfiguredSource> {
        self.sources.iter().find(|source| source.name == name)
    }

    /// The sink of this name.
    pub fn sink(&self, name: &str) -> Option<&ConfiguredSink> {
        self.sinks.iter().find(|sink| sink.name == name)
    }

    /// The definitions by which a type is explained: those of the sources, which have the types of one's own,
    /// and the built-in ones of other providers.
    pub fn definitions(&self) -> Vec<Arc<Definition>> {
        let mut definitions: Vec<Arc<Definition>> = builtin().to_vec();
        for source in &self.sources {
            definitions.retain(|known| known.provider != source.definition.provider);
            definitions.push(Arc::clone(&source.definition));
        }
        definitions
    }

    /// CloudEvents `source` of the events of this source, or of all sources without a name.
    pub(super) fn event_sources(&self, source: Option<&str>) -> BTreeSet<&str> {
        let wanted = self.sources.iter().filter(|known| source.is_none_or(|name| known.name == name));
        wanted.map(|source| source.event_source.as_str()).collect()
    }
}

impl ConfiguredSelection {
    /// What the selection says of a type.
    pub fn rule(&self, event_type: &str) -> SelectionRule {
        let Selection::Only(types) = &self.selection else {
            return SelectionRule { takes: true, rule: "all".into(), line: self.line.clone() };
        };
        let (takes, count) = (types.contains(event_type), count_of(types.len(), "type"));
        let rule = format!("list of {count}, {}", if takes { "in it" } else { "not in it" });
        let line = self.listed.get(event_type).or(self.line.as_ref()).cloned();
        SelectionRule { takes, rule, line }
    }

    /// How many types are on the list, in words; `None` if it is no list.
    pub(super) fn types(&self) -> Option<String> {
        match &self.selection {
            Selection::All => None,
            Selection::Only(types) => Some(count_of(types.len(), "type")),
        }
    }
}

impl SinkPlace {
    /// The kind of the sink.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Kafka { .. } => "kafka",
            Self::Sns => "sns",
            Self::Files(_) => "file",
        }
    }
}

/// A number of things: `1 type`, `4 types`.
pub(super) fn count_of(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    }
}
