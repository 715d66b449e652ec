//! How a provider's catalogue differs from the provider's specification (pure).

use std::collections::BTreeSet;

use serde::Serialize;

use super::specification::{DescribedType, DescribedTypes, Specification};
use crate::provider::{Definition, TypeInfo, nearest};

/// What is different of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum DifferenceKind {
    /// The specification has the type, and the catalogue does not.
    New,
    /// The catalogue has the type, and the specification does not.
    Gone,
    /// Both have it, and say different things of it.
    Different,
}

/// A type that is not the same in the catalogue and in the specification.
#[derive(Debug, Serialize)]
pub(super) struct TypeDifference {
    #[serde(rename = "type")]
    pub(super) name: String,
    pub(super) what: DifferenceKind,
    /// The family that events of the type have with this catalogue.
    pub(super) family: String,
    /// What is different, each in half a sentence.
    pub(super) details: Vec<String>,
}

/// The differences, in the order of their kinds and names.
pub(super) fn differences(
    definition: &Definition,
    specification: &Specification,
    described: &DescribedTypes<'_>,
) -> Vec<TypeDifference> {
    let catalogue = &definition.catalogue;
    let gone: BTreeSet<&str> = catalogue
        .types()
        .filter(|info| info.webhook && !described.contains_key(&*info.name))
        .map(|info| &*info.name)
        .collect();
    let mut found = Vec::new();
    for (name, of_type) in described {
        let (what, details) = match catalogue.find(name) {
            None => (DifferenceKind::New, of_new(name, of_type, &gone)),
            Some(info) => (DifferenceKind::Different, of_known(definition, info, specification, of_type)),
        };
        if what == DifferenceKind::New || !details.is_empty() {
            let family = catalogue.family_of(name).to_string();
            found.push(TypeDifference { name: name.clone(), what, family, details });
        }
    }
    for name in gone {
        let family = catalogue.family_of(name).to_string();
        let details = vec!["the specification does not have it".into()];
        found.push(TypeDifference { name: name.into(), what: DifferenceKind::Gone, family, details });
    }
    found.sort_by(|one, other| (one.what, &one.name).cmp(&(other.what, &other.name)));
    found
}

fn of_new(name: &str, of_type: &DescribedType<'_>, gone: &BTreeSet<&str>) -> Vec<String> {
    let mut details = vec!["the catalogue does not have it".to_owned()];
    if let Some(former) = nearest(name, gone.iter().copied()) {
        details.push(format!("its name resembles that of `{former}`, which is gone"));
    }
    if of_type.is_deprecated {
        details.push("the specification calls it deprecated".into());
    }
    details
}

fn of_known(
    definition: &Definition,
    info: &TypeInfo,
    specification: &Specification,
    of_type: &DescribedType<'_>,
) -> Vec<String> {
    let mut details = Vec::new();
    if !info.webhook {
        details.push("the catalogue has it as one that no webhook brings".to_owned());
    }
    if of_type.is_deprecated {
        details.push("the specification calls it deprecated".into());
    }
    let key: Vec<&str> = info.key.iter().map(|pointer| &**pointer).collect();
    let (id, time) = (definition.id_pointers().collect(), definition.time_pointers().collect());
    for (what, pointers) in [("key", key), ("id", id), ("time", time)] {
        if specification.lacks(of_type, pointers.iter().copied()) {
            let places = pointers.join(" and no ");
            details.push(format!("the specification has no {places}, where its {what} is read"));
        }
    }
    details
}
