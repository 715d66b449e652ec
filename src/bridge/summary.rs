//! What the admin API shows of the configuration, and which sinks answers wait for.

use std::sync::Arc;

use super::readmission::AdmissionRules;
use crate::ack::{AwaitedSinks, WaitingBounds};
use crate::admin::{SinkSummary, SourceSummary, Summary};
use crate::config::Config;
use crate::provider::Definition;
use crate::sink::Output;
use crate::source::Channel;
use crate::telemetry::Metrics;

/// What is asked of a configuration beside the way of a delivery.
pub(super) struct ConfigurationView {
    pub(super) summary: Summary,
    pub(super) rules: AdmissionRules,
}

impl ConfigurationView {
    pub(super) fn of(config: &Config) -> Self {
        Self { summary: summary(config), rules: AdmissionRules::of(config) }
    }
}

/// The names and selections of a configuration.
pub(super) fn summary(config: &Config) -> Summary {
    let sources = config.sources.iter().map(|source| SourceSummary {
        name: source.name.to_string(),
        kind: match source.channel {
            Channel::Webhook => "webhook",
            Channel::Sns(_) => "sns",
            Channel::Sqs(_) => "sqs",
        },
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
        awaited: is_awaited(config, &sink.name),
    });
    let definitions = definitions(config);
    Summary {
        fingerprint: config.fingerprint.to_string(),
        sources: sources.collect(),
        sinks: sinks.collect(),
        selection: config.selection.clone(),
        catalogued: Box::new(move |provider, event_type| catalogued_by(&definitions, provider, event_type)),
        effective: Arc::new(config.effective.clone()),
        explained: Arc::new(config.explained()),
    }
}

/// The sinks that the answers of some source wait for.
pub(super) fn awaited(config: &Config, metrics: &Metrics) -> AwaitedSinks {
    let sinks = config.sinks.iter().filter(|sink| is_awaited(config, &sink.name));
    let sinks = sinks.map(|sink| (sink.name.as_str(), &sink.selection));
    let most = WaitingBounds::of(config.limits.connections_max, config.limits.in_flight_bytes_max);
    AwaitedSinks::new(sinks, config.spool.duplicates.window, most, metrics)
}

fn is_awaited(config: &Config, sink: &str) -> bool {
    config.sources.iter().any(|source| source.ack.after.iter().any(|name| name == sink))
}

/// The definitions of the configured providers.
pub(super) fn definitions(config: &Config) -> Vec<Arc<Definition>> {
    config.sources.iter().map(|source| Arc::clone(&source.definition)).collect()
}

/// Whether the catalogue of one of these providers has a type.
pub(super) fn catalogued_by(definitions: &[Arc<Definition>], provider: &str, event_type: &str) -> bool {
    let mut theirs = definitions.iter().filter(|definition| *definition.provider == *provider);
    theirs.any(|definition| definition.catalogue.find(event_type).is_some())
}
