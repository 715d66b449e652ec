//! The types of a configuration as the files of an EventCatalog (pure).
//!
//! | In the catalogue | Of fanbridge |
//! |---|---|
//! | domain | a provider |
//! | service, which sends events | a family of the provider |
//! | event, with `schema.json` | a type of the family |
//! | channel, to which a service sends | a topic of a sink |
//!
//! A path consists of identifiers only, a value in the head of a file is a quoted YAML scalar, and a name in
//! its text is escaped.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::asyncapi::describe;
use super::delivered::{Carriage, DeliveredType, SeenTypes, delivered};
use super::names::{identifier, mdx, yaml};
use crate::config::Config;
use crate::sink::SinkOptions;

/// The version of everything: what is described has none of its own.
const VERSION: &str = "1.0.0";

/// The files by their paths below the directory of the catalogue.
pub(super) type Files = BTreeMap<String, String>;

/// A type with the channels to which it goes.
type Channels = BTreeMap<DeliveredName, Destinations>;

/// A type by provider, family and name.
type DeliveredName = (String, String, String);

/// Where a type goes, and what its key is made of.
#[derive(Debug, Default)]
struct Destinations {
    /// The identifiers of the channels, with the topic and the sink of each.
    channels: BTreeMap<String, (String, String)>,
    key: Vec<String>,
}

/// All files of the catalogue.
pub(super) fn files(config: &Config, seen: &SeenTypes) -> Files {
    let mut files = Files::new();
    let mut types = Channels::new();
    for sink in &config.sinks {
        for topic in config.topics(sink) {
            let id = identifier(&[&sink.name, &topic.name]);
            let page = channel_page(&id, &topic.name, &describe(sink, &topic), Carriage::of(sink).protocol());
            files.insert(format!("channels/{id}/index.mdx"), page);
        }
        for one in delivered(config, sink, seen) {
            add(&mut types, sink, one);
        }
    }
    let mut families: BTreeMap<(&str, &str), Vec<(&str, &Destinations)>> = BTreeMap::new();
    for ((provider, family, name), destinations) in &types {
        let family = families.entry((provider.as_str(), family.as_str())).or_default();
        family.push((name.as_str(), destinations));
    }
    for ((provider, family), events) in &families {
        let service = identifier(&[provider, family]);
        let place = format!("domains/{}/services/{service}", identifier(&[provider]));
        files.insert(format!("{place}/index.mdx"), service_page(&service, provider, family, events));
        for (name, destinations) in events {
            let id = identifier(&[provider, name]);
            let page = event_page(&id, (provider, family, name), destinations);
            files.insert(format!("{place}/events/{id}/index.mdx"), page);
            let mut schema = seen.body(provider, name);
            schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
            files.insert(format!("{place}/events/{id}/schema.json"), format!("{schema:#}\n"));
        }
    }
    let providers: BTreeSet<&str> = families.keys().map(|(provider, _)| *provider).collect();
    for provider in providers {
        let of_provider = families.keys().filter(|(of, _)| *of == provider).map(|(_, family)| *family);
        let page = domain_page(provider, of_provider);
        files.insert(format!("domains/{}/index.mdx", identifier(&[provider])), page);
    }
    files
}

/// Notes that a type goes to a topic of a sink.
fn add(types: &mut Channels, sink: &SinkOptions, one: DeliveredType) {
    let DeliveredType { topic, provider, name, family, key } = one;
    let destinations = types.entry((provider, family, name)).or_default();
    destinations.key = key;
    destinations.channels.insert(identifier(&[&sink.name, &topic]), (topic, sink.name.clone()));
}

/// The head of a page.
fn head(id: &str, name: &str, summary: &str, more: &[String]) -> String {
    let mut text = format!(
        "---\nid: {}\nname: {}\nversion: {}\nsummary: {}\n",
        yaml(id),
        yaml(name),
        yaml(VERSION),
        yaml(summary)
    );
    more.iter().for_each(|line| text.push_str(&format!("{line}\n")));
    text + "---\n\n"
}

/// The lines that point to another thing of the catalogue, within a list.
fn pointer(id: &str, indent: usize) -> [String; 2] {
    let space = " ".repeat(indent);
    [format!("{space}- id: {}", yaml(id)), format!("{space}  version: {}", yaml(VERSION))]
}

fn domain_page<'f>(provider: &str, families: impl Iterator<Item = &'f str>) -> String {
    let mut more = vec!["services:".to_owned()];
    families.for_each(|family| more.extend(pointer(&identifier(&[provider, family]), 2)));
    let summary = format!("The events of the provider {provider}, as fanbridge publishes them.");
    let text = "The services are families of event types; the events of a family share a topic.";
    format!("{}{text}\n\n<NodeGraph />\n", head(&identifier(&[provider]), provider, &summary, &more))
}

fn service_page(id: &str, provider: &str, family: &str, events: &[(&str, &Destinations)]) -> String {
    let mut more = vec!["sends:".to_owned()];
    for (name, destinations) in events {
        more.extend(pointer(&identifier(&[provider, name]), 2));
        more.push("    to:".into());
        destinations.channels.keys().for_each(|channel| more.extend(pointer(channel, 6)));
    }
    let summary = format!("The family {family} of the provider {provider}.");
    let text = format!(
        "The family {} of {}: event types that share a topic.\n\n<NodeGraph />\n",
        mdx(family),
        mdx(provider)
    );
    head(id, &format!("{provider} {family}"), &summary, &more) + &text
}

fn event_page(id: &str, (provider, family, name): (&str, &str, &str), to: &Destinations) -> String {
    let summary = format!("An event of the family {family} of the provider {provider}.");
    let mut text = head(id, name, &summary, &["schemaPath: \"schema.json\"".to_owned()]);
    text.push_str(&format!("{} of {} goes to:\n\n", mdx(name), mdx(provider)));
    for (topic, sink) in to.channels.values() {
        text.push_str(&format!("- {}, by the sink {}\n", mdx(topic), mdx(sink)));
    }
    if !to.key.is_empty() {
        let places: Vec<String> = to.key.iter().map(|pointer| mdx(pointer)).collect();
        let places = places.join(", ");
        text.push_str(&format!("\nIts key is the first that is there of {places}; a key keeps its order.\n"));
    }
    text + "\n<SchemaViewer file=\"schema.json\" title=\"Body\" maxHeight=\"500\" />\n\n<NodeGraph />\n"
}

fn channel_page(id: &str, topic: &str, description: &str, protocol: &str) -> String {
    let more = [
        format!("address: {}", yaml(topic)),
        "protocols:".to_owned(),
        format!("  - {}", yaml(protocol)),
        "deliveryGuarantee: at-least-once".to_owned(),
    ];
    let text = "The events come at least once, and those with the same key in their order.";
    format!("{}{text}\n\n<ChannelInformation />\n", head(id, topic, description, &more))
}
