//! What explanations of events need of a configuration.

use std::sync::Arc;

use super::Config;
use crate::explain::{
    ConfiguredSelection, ConfiguredSink, ConfiguredSource, ExplainedConfiguration, SinkPlace,
};
use crate::selection::Selection;
use crate::sink::Output;
use crate::source::Channel;

/// The property that says how brokers are reached; without it, without TLS and without credentials.
const SECURITY_PROTOCOL: &str = "security.protocol";

impl Config {
    /// The names, the rules and where they are written, without a secret.
    pub fn explained(&self) -> ExplainedConfiguration {
        let sources = self.sources.iter().map(|source| ConfiguredSource {
            name: source.name.to_string(),
            event_source: source.event_source().to_string(),
            definition: Arc::clone(&source.definition),
            body_bytes_max: source.body_bytes_max.unwrap_or(self.limits.body_bytes_max) as u64,
            is_posted_to: !matches!(source.channel, Channel::Sqs(_)),
        });
        let sinks = self.sinks.iter().map(|sink| ConfiguredSink {
            name: sink.name.clone(),
            topic: sink.topic.clone(),
            selection: self.explained_selection(format!("sinks.{}.select", sink.name), &sink.selection),
            place: place(&sink.output),
        });
        ExplainedConfiguration {
            fingerprint: Some(self.fingerprint),
            sources: sources.collect(),
            selection: self.explained_selection("select".into(), &self.selection),
            sinks: sinks.collect(),
        }
    }

    fn explained_selection(&self, key: String, selection: &Selection) -> ConfiguredSelection {
        let origins = &self.origins;
        let types = match selection {
            Selection::All => None,
            Selection::Only(types) => Some(types),
        };
        let place = |name: &String| Some((name.clone(), origins.listed(&key, name)?));
        let listed = types.into_iter().flatten().filter_map(place).collect();
        ConfiguredSelection { line: origins.line(&key), listed, selection: selection.clone(), key }
    }
}

fn place(output: &Output) -> SinkPlace {
    match output {
        Output::Kafka(kafka) => SinkPlace::Kafka {
            brokers: kafka.brokers.clone(),
            is_secured: kafka.properties.iter().any(|(name, _)| name == SECURITY_PROTOCOL),
        },
        Output::Sns(_) => SinkPlace::Sns,
        Output::File(file) => SinkPlace::Files(file.dir.clone()),
    }
}
