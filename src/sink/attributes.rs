//! Which CloudEvents attributes the records of a sink carry (pure).
//!
//! A record always carries what CloudEvents requires (`specversion`, `id`, `source`, `type`) and the content
//! type of its data, without which a consumer could not read it. A sink's configuration chooses the others.

use std::collections::BTreeSet;

use crate::event::Event;

/// An attribute that the bridge sets itself; every other one is an extension that a provider, a queue or a
/// topic states, or `redriven`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// `specversion`, required.
    SpecVersion,
    /// `id`, required.
    Id,
    /// `source`, required.
    Source,
    /// `type`, required.
    Type,
    /// `subject`.
    Subject,
    /// `time`.
    Time,
    /// `timeinferred`, which belongs to `time`.
    TimeInferred,
    /// `partitionkey`.
    PartitionKey,
    /// `family`.
    Family,
    /// `provider`.
    Provider,
    /// `intake`.
    Intake,
    /// `recordedtime`.
    RecordedTime,
    /// `sequence`.
    Sequence,
}

impl Attribute {
    /// All of them, in the order in which a record carries them.
    pub const ALL: [Self; 13] = [
        Self::SpecVersion,
        Self::Id,
        Self::Source,
        Self::Type,
        Self::Subject,
        Self::Time,
        Self::TimeInferred,
        Self::PartitionKey,
        Self::Family,
        Self::Provider,
        Self::Intake,
        Self::RecordedTime,
        Self::Sequence,
    ];
    /// Those that every record carries.
    pub const REQUIRED: [Self; 4] = [Self::SpecVersion, Self::Id, Self::Source, Self::Type];

    /// The attribute's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SpecVersion => "specversion",
            Self::Id => "id",
            Self::Source => "source",
            Self::Type => "type",
            Self::Subject => "subject",
            Self::Time => "time",
            Self::TimeInferred => "timeinferred",
            Self::PartitionKey => "partitionkey",
            Self::Family => "family",
            Self::Provider => "provider",
            Self::Intake => "intake",
            Self::RecordedTime => "recordedtime",
            Self::Sequence => "sequence",
        }
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// The attribute that states the content type; a record always carries it.
pub const CONTENT_TYPE_ATTRIBUTE: &str = "datacontenttype";

/// Which attributes the records of a sink carry, as far as an event has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CarriedAttributes {
    /// A bit for each [`Attribute`].
    own: u16,
    /// The names of extensions, `None` for all.
    extensions: Option<BTreeSet<String>>,
}

impl Default for CarriedAttributes {
    /// Every attribute.
    fn default() -> Self {
        Self { own: bits(&Attribute::ALL), extensions: None }
    }
}

impl CarriedAttributes {
    /// The required attributes and these. A `time` brings `timeinferred` along: without it, the arrival would
    /// pass for the provider's time.
    pub fn listed<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        let mut own = bits(&Attribute::REQUIRED);
        let mut extensions = BTreeSet::new();
        for name in names {
            match Attribute::ALL.into_iter().find(|attribute| attribute.name() == name) {
                Some(Attribute::Time) => own |= bits(&[Attribute::Time, Attribute::TimeInferred]),
                Some(attribute) => own |= attribute.bit(),
                None => drop(extensions.insert(name.to_owned())),
            }
        }
        Self { own, extensions: Some(extensions) }
    }

    /// Whether records carry this attribute.
    pub fn has(&self, attribute: Attribute) -> bool {
        self.own & attribute.bit() != 0
    }

    /// Whether records carry the extension of this name.
    pub fn has_extension(&self, name: &str) -> bool {
        self.extensions.as_ref().is_none_or(|listed| listed.contains(name))
    }

    /// The number of attributes that the record of this event carries at most.
    pub fn count_max(&self, event: &Event) -> usize {
        let listed = self.extensions.as_ref().map_or(usize::MAX, BTreeSet::len);
        self.own.count_ones() as usize + listed.min(event.extensions.len())
    }
}

fn bits(attributes: &[Attribute]) -> u16 {
    attributes.iter().fold(0, |bits, attribute| bits | attribute.bit())
}

/// What is wrong with a name that no attribute can have, `None` for any other: CloudEvents allows lower-case
/// letters and digits, and has another meaning for `data`.
pub fn attribute_name_problem(name: &str) -> Option<&'static str> {
    if name == "data" {
        return Some("`data` is no attribute but the event's body, which every record has");
    }
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_name = !name.is_empty() && name.bytes().all(fits);
    (!is_name).then_some("expected a CloudEvents name: lower-case letters and digits only")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::events::event;

    fn own(carried: &CarriedAttributes) -> Vec<&'static str> {
        Attribute::ALL.into_iter().filter(|one| carried.has(*one)).map(Attribute::name).collect()
    }

    #[test]
    fn a_list_adds_to_what_is_required_and_all_is_everything() {
        assert_eq!(own(&CarriedAttributes::listed([])), ["specversion", "id", "source", "type"]);
        let listed = CarriedAttributes::listed(["webhookid", "sequence", "id", "subject"]);
        assert_eq!(own(&listed), ["specversion", "id", "source", "type", "subject", "sequence"]);
        assert!(listed.has_extension("webhookid") && !listed.has_extension("traceparent"));
        assert_eq!(own(&CarriedAttributes::default()).len(), Attribute::ALL.len());
        assert!(CarriedAttributes::default().has_extension("anything"));
    }

    #[test]
    fn a_time_is_never_carried_without_the_mark_that_it_is_inferred() {
        let listed = CarriedAttributes::listed(["time"]);
        assert!(listed.has(Attribute::TimeInferred));
        assert!(!CarriedAttributes::listed(["recordedtime"]).has(Attribute::TimeInferred));
    }

    #[test]
    fn the_bound_is_what_an_event_has_or_what_is_listed_whichever_is_less() {
        let mut event = event("default:abc");
        event.extensions = ["a", "b", "c"].map(|name| (name.into(), "1".into())).to_vec();
        assert_eq!(CarriedAttributes::default().count_max(&event), 13 + 3);
        assert_eq!(CarriedAttributes::listed(["a"]).count_max(&event), 4 + 1);
        assert_eq!(CarriedAttributes::listed(["a", "b", "c", "d", "time"]).count_max(&event), 4 + 2 + 3);
    }

    #[test]
    fn a_name_has_lower_case_letters_and_digits() {
        for name in ["id", "sqsattrtenant", "2", "a-name-beyond-twenty".replace('-', "").as_str()] {
            assert_eq!(attribute_name_problem(name), None, "{name}");
        }
        for name in ["", "Type", "ce_type", "content-type", "a b", "zeit\u{e9}", "\u{ff41}", "data"] {
            assert!(attribute_name_problem(name).is_some(), "{name:?}");
        }
    }
}
