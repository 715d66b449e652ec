//! The part of the configuration that the admin API shows: names and selections, never a secret.

use std::sync::Arc;

use schemars::JsonSchema;

use super::effective::EffectiveConfiguration;
use crate::explain::ExplainedConfiguration;
use crate::selection::Selection;
pub use crate::source::types_seen::Catalogued;

/// The visible part of the configuration.
pub struct Summary {
    /// First 12 hexadecimal digits of the SHA-256 of the configuration's text.
    pub fingerprint: String,
    /// The configured sources.
    pub sources: Vec<SourceSummary>,
    /// The configured sinks.
    pub sinks: Vec<SinkSummary>,
    /// The event types that the bridge accepts.
    pub selection: Selection,
    /// Whether a type is in a provider's catalogue.
    pub catalogued: Catalogued,
    /// Every value that counts, without secrets.
    pub effective: Arc<EffectiveConfiguration>,
    /// What explanations need of the configuration.
    pub explained: Arc<ExplainedConfiguration>,
}

/// A source in the admin API.
#[derive(Clone, Debug, serde::Serialize, JsonSchema)]
pub struct SourceSummary {
    /// Name from the configuration.
    pub name: String,
    /// How deliveries come: `webhook`, `sns` or `sqs`.
    pub kind: &'static str,
    /// Name of the source's provider.
    pub provider: String,
    /// CloudEvents `source` of its events: `/{provider}/{app}`.
    pub event_source: String,
}

/// A sink in the admin API.
#[derive(Clone, Debug)]
pub struct SinkSummary {
    /// Name from the configuration.
    pub name: String,
    /// `kafka`, `sns` or `file`.
    pub kind: &'static str,
    /// The template of its topics.
    pub topic: String,
    /// The event types that the sink accepts of those that the bridge accepts.
    pub selection: Selection,
    /// Whether answers wait for the sink.
    pub awaited: bool,
}

impl Summary {
    /// The sinks that an event of this type goes to.
    pub fn selected_by(&self, event_type: &str) -> Vec<String> {
        let takes =
            |sink: &&SinkSummary| self.selection.takes(event_type) && sink.selection.takes(event_type);
        self.sinks.iter().filter(takes).map(|sink| sink.name.clone()).collect()
    }
}
