//! What the API tells of the configuration: names and choices, never a secret.

use crate::config::{Config, Output};
use crate::selection::Selection;
pub use crate::source::types_seen::Catalogued;

/// The configuration, as far as it may be seen.
pub struct Summary {
    /// The configuration's fingerprint.
    pub fingerprint: String,
    /// Ways in.
    pub sources: Vec<SourceSummary>,
    /// Ways out.
    pub sinks: Vec<SinkSummary>,
    /// Which types pass at all.
    pub selection: Selection,
    /// Which types are known.
    pub catalogued: Catalogued,
}

/// One way in.
#[derive(Clone, Debug, serde::Serialize)]
pub struct SourceSummary {
    /// Its name.
    pub name: String,
    /// The provider's name.
    pub provider: String,
    /// CloudEvents `source` of its events.
    pub event_source: String,
}

/// One way out.
#[derive(Clone, Debug)]
pub struct SinkSummary {
    /// Its name.
    pub name: String,
    /// `kafka`, `sns` or `file`.
    pub kind: &'static str,
    /// Its topic template.
    pub topic: String,
    /// Narrows the bridge's selection.
    pub selection: Selection,
}

impl Summary {
    /// The summary of a configuration.
    pub fn new(config: &Config, catalogued: Catalogued) -> Self {
        let sources = config.sources.iter().map(|source| SourceSummary {
            name: source.name.to_string(),
            provider: source.definition.provider.to_string(),
            event_source: source.event_source().to_string(),
        });
        let sinks = config.sinks.iter().map(|sink| SinkSummary {
            name: sink.name.clone(),
            kind: match sink.output {
                Output::Kafka(_) => "kafka",
                Output::Sns(_) => "sns",
                Output::File(_) => "file",
            },
            topic: sink.topic.to_string(),
            selection: sink.selection.clone(),
        });
        Self {
            fingerprint: config.fingerprint.clone(),
            sources: sources.collect(),
            sinks: sinks.collect(),
            selection: config.selection.clone(),
            catalogued,
        }
    }

    /// The sinks that an event of this type goes to.
    pub fn selected_by(&self, event_type: &str) -> Vec<String> {
        let takes =
            |sink: &&SinkSummary| self.selection.takes(event_type) && sink.selection.takes(event_type);
        self.sinks.iter().filter(takes).map(|sink| sink.name.clone()).collect()
    }
}
