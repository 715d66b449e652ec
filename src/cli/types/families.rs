//! `fanbridge types --families`: the families that events can have, and the topic of each as sinks spell it.
//! What creates topics beforehand, such as Terraform, reads it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::json;

use crate::cli::Failure;
use crate::cli::output::{Format, Rows, print};
use crate::provider::Definition;
use crate::routing::TopicTemplate;

/// The version of the document; another one has another form.
const FORMAT: u32 = 1;

/// The template of an SNS topic's name that corresponds to the default one of Kafka.
const SNS_TEMPLATE: &str = "{provider}-{family}";

/// The families of each provider, by its name.
#[derive(Debug, Serialize)]
struct Document {
    format: u32,
    providers: BTreeMap<String, Provider>,
}

#[derive(Debug, Serialize)]
struct Provider {
    families: Vec<Family>,
}

/// A family, and the topics for its events where a sink's `topic` is as usual.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Family {
    family: String,
    kafka: String,
    sns: String,
}

/// Prints the families of these providers that `takes` takes.
///
/// # Errors
/// When stdout cannot be written.
pub(super) fn run(
    definitions: &[Arc<Definition>],
    takes: impl Fn(&str, &str) -> bool,
    format: Format,
) -> Result<(), Failure> {
    let mut providers = BTreeMap::new();
    for definition in definitions {
        let name = definition.provider.to_string();
        let families = families(definition).into_iter().filter(|family| takes(&name, &family.family));
        let families: Vec<_> = families.collect();
        if !families.is_empty() {
            providers.insert(name, Provider { families });
        }
    }
    if format == Format::Json {
        let document = serde_json::to_string_pretty(&Document { format: FORMAT, providers });
        let document = document.map_err(|error| Failure::io("cannot write the families", &error))?;
        return print(&format!("{document}\n"));
    }
    let mut rows = Rows::new(&["provider", "family", "kafka", "sns"]);
    for (provider, Provider { families }) in &providers {
        for Family { family, kafka, sns } in families {
            rows.add(json!({ "provider": provider, "family": family, "kafka": kafka, "sns": sns }));
        }
    }
    rows.print(format)
}

/// The families of a provider by name, the one of types that resemble no other among them.
fn families(definition: &Definition) -> Vec<Family> {
    let template = |text| TopicTemplate::parse(text).unwrap_or_else(|_| unreachable!("{text} is a template"));
    let (kafka, sns) = (template(TopicTemplate::DEFAULT), template(SNS_TEMPLATE).dashed());
    let named = definition.catalogue.families().map(|family| {
        // No usual topic has the name of a source.
        let topic = |template: &TopicTemplate| template.render(&definition.provider, family, "");
        Family { family: family.to_string(), kafka: topic(&kafka), sns: topic(&sns) }
    });
    let mut named: Vec<_> = named.collect();
    named.sort();
    named
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::provider;

    #[test]
    fn no_two_built_in_families_share_a_topic() {
        let families: Vec<Family> =
            provider::builtin().iter().flat_map(|definition| families(definition)).collect();
        let names = |of: fn(&Family) -> &String| families.iter().map(of).collect::<BTreeSet<_>>().len();
        assert_eq!(names(|family| &family.kafka), families.len());
        assert_eq!(names(|family| &family.sns), families.len());
        let chat = families.iter().find(|family| family.family == "chat.message").expect("Stream has it");
        assert_eq!((&*chat.kafka, &*chat.sns), ("stream.chat.message", "stream-chat-message"));
        assert!(families.iter().any(|family| family.kafka == "stream.unclassified"));
    }
}
