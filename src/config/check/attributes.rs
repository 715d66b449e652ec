//! The checks of a sink's list of attributes: each is a name, and an event can have it.
//!
//! A name that no source can state may be one of a source to come, so it is a warning; a name that no
//! attribute can have is an error.

use std::collections::BTreeSet;

use super::Check;
use super::sinks::SinkSurroundings;
use crate::config::file::AttributesFile;
use crate::config::yaml::spans::Path;
use crate::event::{IMPORT_EXTENSION, REDRIVEN_EXTENSION, REPLAY_EXTENSION};
use crate::provider::did_you_mean;
use crate::sink::CarriedAttributes;
use crate::sink::attributes::{Attribute, CONTENT_TYPE_ATTRIBUTE, attribute_name_problem};
use crate::source::SourceOptions;
use crate::telemetry::TRACEPARENT;

impl Check<'_> {
    /// The attributes that a sink's records carry.
    pub(super) fn attributes(
        &mut self,
        file: &AttributesFile,
        at: &Path,
        around: &SinkSurroundings<'_>,
    ) -> CarriedAttributes {
        let AttributesFile::Only(names) = file else { return CarriedAttributes::default() };
        if names.is_empty() && !self.places.has_inside(at) {
            let label = "expected names of attributes, or `attributes: all`; for no more than what every \
                         record carries, write `[specversion, id, source, type]`";
            self.error_at_key(at, "empty list of attributes", label.into());
        }
        let mut listed = BTreeSet::new();
        for (index, name) in names.iter().enumerate() {
            let at = at.index(index);
            if let Some(problem) = attribute_name_problem(name) {
                let label = format!("{problem}{}", meant(name, around.sources));
                self.error(&at, "impossible attribute", label);
            } else if !listed.insert(name.as_str()) {
                self.warning(&at, "duplicate attribute", format!("`{name}` is on the list already"));
            } else if around.all_sources && !can_come(name, around) {
                self.warn_of_unknown(name, &at, around.sources);
            }
        }
        CarriedAttributes::listed(listed)
    }

    fn warn_of_unknown(&mut self, name: &str, at: &Path, sources: &[SourceOptions]) {
        let meant = meant(name, sources);
        let label = format!("no event of a configured source has this attribute{meant}");
        let advice = if name == "all" {
            "to carry every attribute, write `attributes: all` without a list"
        } else if meant.is_empty() {
            "docs/EVENTS.md lists the attributes; a provider's own are its definition's `extensions`"
        } else {
            ""
        };
        let problem = self.warning(at, "unknown attribute", label);
        problem.notes.extend(Some(advice.to_owned()).filter(|advice| !advice.is_empty()));
    }
}

/// The attributes that the bridge itself can give an event.
fn own() -> impl Iterator<Item = &'static str> {
    let own = [CONTENT_TYPE_ATTRIBUTE, IMPORT_EXTENSION, REDRIVEN_EXTENSION, REPLAY_EXTENSION];
    Attribute::ALL.into_iter().map(Attribute::name).chain(own)
}

/// Whether an event of the sources can have this attribute.
fn can_come(name: &str, around: &SinkSurroundings<'_>) -> bool {
    let is_given = own().any(|own| own == name) || (around.traced && name == TRACEPARENT);
    is_given || around.sources.iter().any(|source| source.can_state(name))
}

/// The nearest name, also of one that is written as in Kafka's headers.
fn meant(name: &str, sources: &[SourceOptions]) -> String {
    let mut known: BTreeSet<&str> = own().collect();
    known.extend(sources.iter().flat_map(SourceOptions::extension_names));
    match name.strip_prefix("ce_").filter(|bare| known.contains(bare)) {
        Some(bare) => format!("; did you mean `{bare}`?"),
        None => did_you_mean(name, known),
    }
}
