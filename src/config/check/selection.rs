//! The checks of selections: a configured source can send every listed event type.
//!
//! A misspelt name would silently keep a wanted type out, so a name that no source can send is an
//! error.

use std::collections::{BTreeMap, BTreeSet};

use super::Check;
use super::sources::Definitions;
use crate::config::file::{ConfigFile, SelectFile};
use crate::config::yaml::spans::Path;
use crate::provider::{Definition, event_type_problem, nearest};
use crate::selection::Selection;
use crate::source::SourceOptions;

/// The event types that the configured sources can send.
#[derive(Debug, Default)]
pub(in crate::config) struct KnownTypes {
    /// Types that are sent to webhooks, by their names on the wire.
    sent: BTreeSet<String>,
    /// Types that are sent to WebSocket clients only.
    websocket_only: BTreeSet<String>,
    /// The names on the wire, by the names in the providers' documents.
    aliases: BTreeMap<String, String>,
    /// Set if a source's provider has no catalogue or an unusable definition, so that any type can
    /// come.
    open: bool,
}

impl KnownTypes {
    fn add(&mut self, definition: &Definition) {
        self.open |= is_open(definition);
        for info in definition.catalogue.types() {
            let names = if info.webhook { &mut self.sent } else { &mut self.websocket_only };
            names.insert(info.name.to_string());
            if let Some(alias) = &info.alias {
                self.aliases.insert(alias.to_string(), info.name.to_string());
            }
        }
    }
}

impl KnownTypes {
    /// The names on the wire of the types on a list, in its order; none if it is no list.
    pub(in crate::config) fn wire_names<'s>(&'s self, file: &'s SelectFile) -> Vec<&'s str> {
        let SelectFile::Only(names) = file else { return Vec::new() };
        names.iter().map(|name| self.aliases.get(name).unwrap_or(name).as_str()).collect()
    }
}

/// Whether a provider can send any type, because it has no catalogue.
fn is_open(definition: &Definition) -> bool {
    definition.catalogue.types().len() == 0
}

impl Check<'_> {
    /// The event types that the file's sources can send.
    pub(in crate::config) fn known_types(
        &mut self,
        file: &ConfigFile,
        sources: &[SourceOptions],
        definitions: &Definitions,
    ) -> KnownTypes {
        self.check_custom_types(file);
        let custom = file.sources.values().flat_map(|source| &source.custom_types);
        let mut known = KnownTypes { sent: custom.cloned().collect(), ..KnownTypes::default() };
        sources.iter().for_each(|source| known.add(&source.definition));
        if sources.len() < file.sources.len() || sources.is_empty() {
            // An unusable source could send the types of any provider.
            definitions
                .values()
                .filter(|definition| !is_open(definition))
                .for_each(|definition| known.add(definition));
            let mut providers = file.sources.values().filter_map(|source| source.provider.as_deref());
            let own = |name| self.places.has(&Path::default().key("providers").key(name));
            known.open |= providers.any(|name| !definitions.contains_key(name) && own(name));
        }
        known.websocket_only.retain(|name| !known.sent.contains(name));
        known
    }

    fn check_custom_types(&mut self, file: &ConfigFile) {
        let sources = Path::default().key("sources");
        for (name, source) in &file.sources {
            let at = sources.key(name).key("custom_types");
            for (index, custom) in source.custom_types.iter().enumerate() {
                self.check_event_type(custom, &at.index(index), String::new);
            }
        }
    }

    /// Reports a name that no event can have. Returns whether an event can have it.
    fn check_event_type(&mut self, name: &str, at: &Path, meant: impl FnOnce() -> String) -> bool {
        let Some(expected) = event_type_problem(name) else { return true };
        self.error(at, "impossible event type", format!("{expected}{}", meant()));
        false
    }

    /// The selection, with every alias replaced by the name on the wire.
    pub(in crate::config) fn selection(
        &mut self,
        file: &SelectFile,
        at: &Path,
        known: &KnownTypes,
    ) -> Selection {
        let SelectFile::Only(names) = file else { return Selection::All };
        if names.is_empty() && !self.places.has_inside(at) {
            let label = "an empty list selects no event; expected event types, or `select: all`".into();
            self.error_at_key(at, "empty selection", label);
        }
        let mut types = BTreeSet::new();
        for (index, name) in names.iter().enumerate() {
            let at = at.index(index);
            let wire = known.aliases.get(name).unwrap_or(name);
            self.check_listed(name, wire, &at, known);
            if !types.insert(wire.clone()) {
                self.warning(&at, "duplicate event type", format!("`{wire}` is on the list already"));
            }
        }
        Selection::Only(types)
    }

    fn check_listed(&mut self, name: &str, wire: &str, at: &Path, known: &KnownTypes) {
        let meant = || {
            let names = known.sent.iter().chain(known.aliases.keys()).map(String::as_str);
            nearest(name, names).map_or_else(String::new, |near| format!("; did you mean \"{near}\"?"))
        };
        if !self.check_event_type(wire, at, meant) {
            return;
        }
        if known.websocket_only.contains(wire) {
            let label = format!("`{wire}` is sent to WebSocket clients only, so it would never arrive");
            self.error(at, "event type that is not sent to webhooks", label);
        } else if !known.sent.contains(wire) && !known.open {
            let meant = meant();
            let label = format!("no configured provider sends this event type{meant}");
            let advice = if name == "all" {
                "to accept every event, write `select: all` without a list"
            } else if name.contains(['*', '?']) {
                "a list has no patterns, which would let new types in; `fanbridge types --family FAMILY \
                 --yaml` prints the names to paste"
            } else if meant.is_empty() {
                "`fanbridge types` lists the known event types; add your own to the source's `custom_types`"
            } else {
                ""
            };
            let problem = self.error(at, "unknown event type in an explicit selection", label);
            problem.notes.extend(Some(advice.to_owned()).filter(|advice| !advice.is_empty()));
        }
    }

    /// Warns about types on a sink's list that the bridge's own selection filters.
    pub(in crate::config) fn check_within(
        &mut self,
        sink: &SelectFile,
        at: &Path,
        bridge: &Selection,
        known: &KnownTypes,
    ) {
        let SelectFile::Only(names) = sink else { return };
        for (index, name) in names.iter().enumerate() {
            let wire = known.aliases.get(name).unwrap_or(name);
            if !bridge.takes(wire) {
                let label =
                    format!("`{wire}` never reaches this sink, because the bridge's own `select` filters it");
                self.warning(&at.index(index), "event type that the bridge filters", label);
            }
        }
    }
}
