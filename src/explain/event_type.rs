//! What is known of an event type: who sends it, and where it goes (pure).

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cause::{self, Situation};
use super::configuration::ExplainedConfiguration;
use crate::provider::{Definition, TypeInfo, nearest};

/// What is known of an event type.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TypeExplanation {
    /// The name that was asked about.
    pub asked: String,
    /// The type's name on the wire: another one if the providers' documents call it `asked`.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The catalogues that have it.
    pub known: Vec<KnownType>,
    /// The most similar name of a type that a configured provider sends, if no catalogue has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub near: Option<String>,
    /// The sources to which it can come.
    pub sources: Vec<TypeAtSource>,
    /// Whether the bridge takes it.
    pub takes: bool,
    /// The rule of the bridge's selection, in words.
    pub rule: String,
    /// Where the rule is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<String>,
    /// What each sink makes of it.
    pub sinks: Vec<TypeAtSink>,
    /// What came of it so far, by provider and verdict; `None` if no bridge was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen: Option<Vec<SeenVerdict>>,
    /// The situation, in one word.
    pub situation: Situation,
    /// Where it goes, or why nowhere, in a sentence.
    pub cause: String,
    /// What to do about it, if there is anything to do.
    pub fix: Option<String>,
}

/// A type in a catalogue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KnownType {
    /// The provider's name.
    pub provider: String,
    /// The type's family.
    pub family: String,
    /// `webhook`, `websocket`, or both.
    pub channels: Vec<String>,
    /// The name in the provider's documents, if it differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// Pointers to the partition key, in the order in which they are tried.
    pub key: Vec<String>,
}

/// A source to which a type can come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TypeAtSource {
    /// The source's name.
    pub source: String,
    /// Its provider.
    pub provider: String,
    /// The family that the type has there.
    pub family: String,
    /// Whether the provider's catalogue has it. If not, it is a type of one's own, or the provider has none.
    pub catalogued: bool,
}

/// What a sink makes of a type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TypeAtSink {
    /// The sink's name.
    pub sink: String,
    /// Whether its events go there.
    pub takes: bool,
    /// The rule of the sink's selection, in words.
    pub rule: String,
    /// Where the rule is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<String>,
    /// The topics of its events, one for each source at most.
    pub topics: Vec<String>,
}

/// How many deliveries had a type and a verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SeenVerdict {
    /// The provider's name.
    pub provider: String,
    /// `accepted`, `filtered` or `duplicate`.
    pub verdict: String,
    /// How many deliveries.
    pub count: u64,
}

/// Explains a type by its name on the wire or in the providers' documents. `definitions` are those that are
/// built in and those of the configuration.
pub fn explain_type(
    configuration: &ExplainedConfiguration,
    definitions: &[Arc<Definition>],
    asked: &str,
) -> TypeExplanation {
    let found: Vec<_> = definitions.iter().filter_map(|definition| known(definition, asked)).collect();
    let event_type = found.first().map_or(asked, |(_, info)| &info.name).to_owned();
    let known: Vec<KnownType> = found.iter().map(|(definition, info)| known_type(definition, info)).collect();
    let sources = sources(configuration, &event_type);
    let rule = configuration.selection.rule(&event_type);
    let sinks: Vec<TypeAtSink> = configuration
        .sinks
        .iter()
        .map(|sink| {
            let own = sink.selection.rule(&event_type);
            let takes = own.takes && rule.takes;
            let render = |at: &TypeAtSource| sink.topic.render(&at.provider, &at.family, &at.source);
            let mut topics: Vec<String> = sources.iter().filter(|_| takes).map(render).collect();
            topics.dedup();
            TypeAtSink { sink: sink.name.clone(), takes, rule: own.rule, line: own.line, topics }
        })
        .collect();
    let mut explanation = TypeExplanation {
        asked: asked.to_owned(),
        near: if known.is_empty() { near(configuration, asked) } else { None },
        event_type,
        known,
        sources,
        takes: rule.takes,
        rule: rule.rule,
        line: rule.line,
        sinks,
        seen: None,
        situation: Situation::Unknown,
        cause: String::new(),
        fix: None,
    };
    let told = cause::of_type(&explanation, configuration);
    (explanation.situation, explanation.cause, explanation.fix) = (told.situation, told.cause, told.fix);
    explanation
}

fn known<'d>(definition: &'d Definition, asked: &str) -> Option<(&'d Definition, &'d TypeInfo)> {
    let catalogue = &definition.catalogue;
    let info = catalogue.find(asked).or_else(|| catalogue.find_alias(asked))?;
    Some((definition, info))
}

fn known_type(definition: &Definition, info: &TypeInfo) -> KnownType {
    let channels = [("webhook", info.webhook), ("websocket", info.websocket)];
    KnownType {
        provider: definition.provider.to_string(),
        family: info.family.to_string(),
        channels: channels.into_iter().filter(|(_, is)| *is).map(|(name, _)| name.to_owned()).collect(),
        alias: info.alias.as_ref().map(ToString::to_string),
        key: info.key.iter().map(ToString::to_string).collect(),
    }
}

/// The sources to which a type can come.
fn sources(configuration: &ExplainedConfiguration, event_type: &str) -> Vec<TypeAtSource> {
    let can_come = |definition: &Definition| {
        let known = definition.catalogue.find(event_type);
        known.map_or_else(|| definition.expects(event_type), |info| info.webhook)
    };
    let sources = configuration.sources.iter().filter(|source| can_come(&source.definition));
    let at = sources.map(|source| TypeAtSource {
        source: source.name.clone(),
        provider: source.definition.provider.to_string(),
        family: source.definition.catalogue.family_of(event_type).to_string(),
        catalogued: source.definition.catalogue.find(event_type).is_some(),
    });
    at.collect()
}

/// The most similar name of a type that a configured provider sends.
fn near(configuration: &ExplainedConfiguration, asked: &str) -> Option<String> {
    let types = configuration.sources.iter().flat_map(|source| source.definition.catalogue.types());
    let names = types.flat_map(|info| [Some(&*info.name), info.alias.as_deref()]).flatten();
    nearest(asked, names).map(str::to_owned)
}
