//! Computes every topic that a configuration can produce.

use std::collections::{BTreeMap, BTreeSet};

use super::Config;
use crate::routing::TopicTemplate;
use crate::selection::Selection;
use crate::sink::SinkOptions;
use crate::source::SourceOptions;

/// A topic, and the events that go to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// The topic's full name, ARN or directory name.
    pub name: String,
    /// Provider, family and source of the events that go to the topic, each combination once, in
    /// order.
    pub from: Vec<(String, String, String)>,
}

impl Config {
    /// The topics of a sink, sorted by name.
    pub fn topics(&self, sink: &SinkOptions) -> Vec<Topic> {
        topics(&self.sources, &self.selection, &sink.selection, &sink.topic)
    }
}

/// The topics for events of these sources, sorted by name.
///
/// Under `all` these are the topics of every family and of unclassified types, because types can come
/// that are in no catalogue. Under a list they are those of each listed type at each source: a
/// selection names types but no providers, so a source can also send a type that only another
/// catalogue knows, and its family follows the rule of the source's own catalogue.
pub(super) fn topics(
    sources: &[SourceOptions],
    bridge: &Selection,
    sink: &Selection,
    template: &TopicTemplate,
) -> Vec<Topic> {
    let listed = listed(bridge, sink);
    let mut topics: BTreeMap<String, Vec<(String, String, String)>> = BTreeMap::new();
    for source in sources {
        let catalogue = &source.definition.catalogue;
        let families: BTreeSet<String> = match &listed {
            None => catalogue.families().map(ToString::to_string).collect(),
            Some(types) => types.iter().map(|name| catalogue.family_of(name).to_string()).collect(),
        };
        for family in families {
            let provider = &source.definition.provider;
            let name = template.render(provider, &family, &source.name);
            topics.entry(name).or_default().push((provider.to_string(), family, source.name.to_string()));
        }
    }
    topics.into_iter().map(|(name, from)| Topic { name, from }).collect()
}

/// The types that pass both selections, `None` if both accept all types.
fn listed<'s>(bridge: &'s Selection, sink: &'s Selection) -> Option<Vec<&'s str>> {
    let types = match (sink, bridge) {
        (Selection::Only(types), _) | (Selection::All, Selection::Only(types)) => types,
        (Selection::All, Selection::All) => return None,
    };
    let both = |name: &&str| bridge.takes(name) && sink.takes(name);
    Some(types.iter().map(String::as_str).filter(both).collect())
}
