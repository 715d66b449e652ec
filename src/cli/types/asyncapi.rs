//! The topics of a configuration as an AsyncAPI 3.0 document (pure).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::delivered::{Carriage, DeliveredType, SeenTypes, delivered};
use super::names::identifier;
use crate::config::{Config, Topic};
use crate::event::{IMPORT_EXTENSION, REDRIVEN_EXTENSION, REPLAY_EXTENSION};
use crate::sink::SinkOptions;
use crate::sink::attributes::{Attribute, CONTENT_TYPE_ATTRIBUTE};
use crate::sink::envelope::BODY_CONTENT_TYPE;
use crate::source::SourceOptions;

/// The content type of an event as one JSON document.
const ENVELOPE: &str = "application/cloudevents+json";
/// Attributes that an event can lack.
const OPTIONAL: &[Attribute] = &[Attribute::Subject, Attribute::PartitionKey, Attribute::TimeInferred];

/// The document.
pub(super) fn document(config: &Config, seen: &SeenTypes) -> Value {
    let mut parts = Parts::default();
    for sink in &config.sinks {
        parts.add(config, sink, seen);
    }
    let Parts { channels, operations, messages, schemas } = parts;
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "fanbridge",
            "version": config.fingerprint,
            "description": "The events that this configuration publishes: CloudEvents 1.0, at least once, in \
                            order for each key. Types that no catalogue has can come as well where a \
                            selection takes all.",
        },
        "defaultContentType": BODY_CONTENT_TYPE,
        "channels": channels,
        "operations": operations,
        "components": { "messages": messages, "schemas": schemas },
    })
}

/// The parts of the document, by their keys.
#[derive(Default)]
struct Parts {
    channels: Map<String, Value>,
    operations: Map<String, Value>,
    messages: Map<String, Value>,
    schemas: Map<String, Value>,
}

impl Parts {
    /// Adds the topics of a sink, with all that goes there.
    fn add(&mut self, config: &Config, sink: &SinkOptions, seen: &SeenTypes) {
        let attributes = identifier(&["attributes", &sink.name]);
        self.schemas.insert(attributes.clone(), attributes_schema(config, sink));
        let types = delivered(config, sink, seen);
        for topic in config.topics(sink) {
            let mut carried = Map::new();
            for one in types.iter().filter(|one| one.topic == topic.name) {
                let body = identifier(&["body", &one.provider, &one.name]);
                self.schemas.entry(body.clone()).or_insert_with(|| seen.body(&one.provider, &one.name));
                let key = identifier(&[&sink.name, &one.provider, &one.name]);
                let reference = json!({ "$ref": format!("#/components/messages/{key}") });
                self.messages.entry(key).or_insert_with(|| message(sink, one, &body, &attributes));
                carried.insert(identifier(&[&one.provider, &one.name]), reference);
            }
            let channel = identifier(&[&sink.name, &topic.name]);
            let operation = json!({
                "action": "send",
                "channel": { "$ref": format!("#/channels/{channel}") },
            });
            self.operations.insert(identifier(&["publish", &sink.name, &topic.name]), operation);
            let description = describe(sink, &topic);
            self.channels.insert(
                channel,
                json!({ "address": topic.name, "description": description, "messages": carried }),
            );
        }
    }
}

/// What a topic is, and what goes there.
pub(super) fn describe(sink: &SinkOptions, topic: &Topic) -> String {
    let families: BTreeSet<&str> = topic.from.iter().map(|(_, family, _)| family.as_str()).collect();
    let families: Vec<&str> = families.into_iter().collect();
    let (kind, name) = (Carriage::of(sink).topic(), &sink.name);
    format!("{kind}, by the sink {name}. Families: {}", families.join(", "))
}

fn message(sink: &SinkOptions, one: &DeliveredType, body: &str, attributes: &str) -> Value {
    let reference = |schema: &str| json!({ "$ref": format!("#/components/schemas/{schema}") });
    let (body, attributes) = (reference(body), reference(attributes));
    let mut message = json!({
        "name": one.name,
        "title": one.name,
        "summary": format!("{} of the provider {}", one.family, one.provider),
    });
    let carriage = Carriage::of(sink);
    if carriage == Carriage::KafkaHeaders {
        message["contentType"] = BODY_CONTENT_TYPE.into();
        message["headers"] = attributes;
        message["payload"] = body;
    } else {
        let data = json!({ "type": "object", "properties": { "data": body } });
        message["contentType"] = ENVELOPE.into();
        message["payload"] = json!({ "allOf": [attributes, data] });
    }
    if let Carriage::KafkaHeaders | Carriage::Kafka = carriage
        && !one.key.is_empty()
    {
        let from = one.key.join(", ");
        let key = json!({ "type": "string", "description": format!("the first that is there of {from}") });
        message["bindings"] = json!({ "kafka": { "key": key, "bindingVersion": "0.5.0" } });
    }
    message
}

/// The attributes that the events of a sink carry: headers of a Kafka record, or members of a document.
fn attributes_schema(config: &Config, sink: &SinkOptions) -> Value {
    let carriage = Carriage::of(sink);
    let as_headers = carriage == Carriage::KafkaHeaders;
    let named = |name: &str| if as_headers { format!("ce_{name}") } else { name.to_owned() };
    let (mut properties, mut required) = (BTreeMap::new(), Vec::new());
    for attribute in Attribute::ALL.into_iter().filter(|attribute| sink.attributes.has(*attribute)) {
        let schema = match attribute {
            Attribute::TimeInferred if !as_headers => json!({ "const": true }),
            Attribute::TimeInferred => json!({ "const": "true" }),
            Attribute::SpecVersion => json!({ "const": "1.0" }),
            Attribute::Time | Attribute::RecordedTime => json!({ "type": "string", "format": "date-time" }),
            _ => json!({ "type": "string" }),
        };
        properties.insert(named(attribute.name()), schema);
        if !OPTIONAL.contains(&attribute) {
            required.push(named(attribute.name()));
        }
    }
    let stated = config.sources.iter().flat_map(SourceOptions::extension_names);
    for name in stated.chain([IMPORT_EXTENSION, REDRIVEN_EXTENSION, REPLAY_EXTENSION]) {
        if sink.attributes.has_extension(name) {
            properties.insert(named(name), json!({ "type": "string" }));
        }
    }
    let content_type = if as_headers { "content-type" } else { CONTENT_TYPE_ATTRIBUTE };
    properties.insert(content_type.to_owned(), json!({ "const": BODY_CONTENT_TYPE }));
    required.push(content_type.to_owned());
    // A body with line breaks of its own stands in a file as `data_base64`.
    if let Carriage::Kafka | Carriage::Sns = carriage {
        required.push("data".into());
    }
    json!({ "type": "object", "properties": properties, "required": required })
}
