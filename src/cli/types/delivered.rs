//! Which types can go to which topics of a configuration, and what is known of their bodies (pure).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::config::Config;
use crate::selection::Selection;
use crate::sink::{Output, SinkOptions};
use crate::source::SourceOptions;
use crate::state::OTHER_TYPE;

/// The types that a running bridge has seen, by provider and type, with the JSON Schema of those whose shape
/// it has learnt.
#[derive(Debug, Default)]
pub(super) struct SeenTypes(BTreeMap<(String, String), Option<Value>>);

impl SeenTypes {
    /// Adds a type, with its schema if there is one.
    pub(super) fn add(&mut self, provider: &str, name: &str, schema: Option<Value>) {
        // It stands for types beyond a bound, and is none itself.
        if name != OTHER_TYPE {
            self.0.insert((provider.to_owned(), name.to_owned()), schema);
        }
    }

    /// The names of the types of a provider.
    fn of<'s>(&'s self, provider: &'s str) -> impl Iterator<Item = &'s str> {
        self.0.keys().filter(move |(of, _)| of == provider).map(|(_, name)| name.as_str())
    }

    /// The JSON Schema of a type's body. Of one whose shape is not known it says only that it is an object.
    pub(super) fn body(&self, provider: &str, name: &str) -> Value {
        let known = self.0.get(&(provider.to_owned(), name.to_owned())).and_then(Option::as_ref);
        let mut schema = match known {
            Some(schema) if schema.is_object() => schema.clone(),
            _ => json!({ "type": "object", "$comment": "no event of this type was looked at" }),
        };
        if let Some(members) = schema.as_object_mut() {
            members.remove("$schema");
            members.insert("title".into(), name.into());
        }
        schema
    }
}

/// A type that can go to a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct DeliveredType {
    pub(super) topic: String,
    pub(super) provider: String,
    pub(super) name: String,
    pub(super) family: String,
    /// Pointers to the key, in the order in which they are tried; none of a type in no catalogue.
    pub(super) key: Vec<String>,
}

/// The types that can go to the topics of a sink, in the order of topics and names: those of a list, or those
/// of the catalogues and what has come.
pub(super) fn delivered(config: &Config, sink: &SinkOptions, seen: &SeenTypes) -> BTreeSet<DeliveredType> {
    let mut types = BTreeSet::new();
    for source in &config.sources {
        let catalogue = &source.definition.catalogue;
        let provider = source.definition.provider.to_string();
        for name in names(source, [&config.selection, &sink.selection], seen) {
            let family = catalogue.family_of(&name).to_string();
            let topic = sink.topic.render(&provider, &family, &source.name);
            let info = catalogue.find(&name);
            let key = info.map(|info| info.key.iter().map(ToString::to_string).collect()).unwrap_or_default();
            types.insert(DeliveredType { topic, provider: provider.clone(), name, family, key });
        }
    }
    types
}

/// The names of the types that a source can bring and that pass both selections.
fn names(source: &SourceOptions, selections: [&Selection; 2], seen: &SeenTypes) -> BTreeSet<String> {
    let definition = &source.definition;
    let listed = selections.iter().filter_map(|selection| match selection {
        Selection::All => None,
        Selection::Only(names) => Some(names),
    });
    let listed = listed.flatten().filter(|name| definition.expects(name)).cloned();
    let catalogued = definition.catalogue.types().filter(|info| info.webhook);
    let catalogued = catalogued.map(|info| info.name.to_string());
    let come = seen.of(&definition.provider).map(ToOwned::to_owned);
    let names = listed.chain(catalogued).chain(come);
    names.filter(|name| selections.iter().all(|selection| selection.takes(name))).collect()
}

/// How the events of a sink travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carriage {
    /// The body, with the attributes as headers of a Kafka record.
    KafkaHeaders,
    /// One JSON document as a Kafka record.
    Kafka,
    /// One JSON document as a message of SNS.
    Sns,
    /// One JSON document on a line of a file.
    File,
}

impl Carriage {
    /// That of a sink.
    pub(super) fn of(sink: &SinkOptions) -> Self {
        match &sink.output {
            Output::Kafka(kafka) if !kafka.structured => Self::KafkaHeaders,
            Output::Kafka(_) => Self::Kafka,
            Output::Sns(_) => Self::Sns,
            Output::File(_) => Self::File,
        }
    }

    /// What a topic is.
    pub(super) fn topic(self) -> &'static str {
        match self {
            Self::KafkaHeaders | Self::Kafka => "A topic of Kafka",
            Self::Sns => "A topic of SNS",
            Self::File => "A directory of files with one event a line",
        }
    }

    /// The protocol by which consumers read it, in a word.
    pub(super) fn protocol(self) -> &'static str {
        match self {
            Self::KafkaHeaders | Self::Kafka => "kafka",
            Self::Sns => "sns",
            Self::File => "file",
        }
    }
}
