//! The configuration under which an event was admitted, by whose rules it is judged (pure).

use super::configuration::{ConfiguredSelection, ConfiguredSink, ExplainedConfiguration, SelectionRule};
use crate::event::Fingerprint;
use crate::selection::Selection;
use crate::state::ConfigurationRow;

/// The configuration under which an event was admitted.
#[derive(Debug, Default)]
pub(super) enum AdmittedUnder {
    /// The configuration of now.
    Now,
    /// An earlier one, whose rules the state has.
    Earlier(ConfigurationRow),
    /// It is not known, or its rules are not, so the event is judged by the rules of now.
    #[default]
    Unknown,
}

/// An earlier configuration lets another part of a type through than that of now.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ChangedRules {
    pub(super) earlier: Fingerprint,
    pub(super) now: Option<Fingerprint>,
    /// Whether the bridge took the type, and takes it now, if that has changed.
    pub(super) bridge: Option<(bool, bool)>,
    /// The sinks for which it has changed, and whether each took the type.
    pub(super) sinks: Vec<(String, bool)>,
}

impl AdmittedUnder {
    /// The configuration with this fingerprint, if one is `now` and the state keeps this of it.
    pub(super) fn new(
        fingerprint: Option<Fingerprint>,
        now: Option<Fingerprint>,
        kept: Option<ConfigurationRow>,
    ) -> Self {
        match (fingerprint, kept) {
            (None, _) => Self::Unknown,
            (fingerprint, _) if fingerprint == now => Self::Now,
            (Some(_), kept) => kept.map_or(Self::Unknown, Self::Earlier),
        }
    }

    /// What the bridge's selection said of a type.
    pub(super) fn bridge_rule(&self, now: &ConfiguredSelection, event_type: &str) -> SelectionRule {
        match self {
            Self::Earlier(earlier) => as_of(earlier, &earlier.select, event_type),
            Self::Now | Self::Unknown => now.rule(event_type),
        }
    }

    /// What a sink's selection says of an event of a type.
    pub(super) fn rule_at(&self, sink: &ConfiguredSink, event_type: &str) -> SelectionRule {
        match self.earlier_at(&sink.name) {
            Some((earlier, selection)) => as_of(earlier, selection, event_type),
            None => sink.selection.rule(event_type),
        }
    }

    /// The earlier configuration by which a sink judges the event.
    pub(super) fn judged_by(&self, sink: &str) -> Option<Fingerprint> {
        self.earlier_at(sink).map(|(earlier, _)| earlier.fingerprint)
    }

    /// Whether a sink judges the event by the rules of now, although it came under another configuration, or
    /// before this start under one that is not known.
    pub(super) fn is_judged_anew(&self, sink: &str, is_older: bool) -> bool {
        match self {
            Self::Now => false,
            Self::Earlier(_) => self.earlier_at(sink).is_none(),
            Self::Unknown => is_older,
        }
    }

    /// What has changed for a type since then.
    pub(super) fn changes(&self, now: &ExplainedConfiguration, event_type: &str) -> Option<ChangedRules> {
        let Self::Earlier(earlier) = self else { return None };
        let (then, takes) = (earlier.select.takes(event_type), now.selection.selection.takes(event_type));
        let changed = |sink: &ConfiguredSink| {
            let then = earlier.sinks.get(&sink.name)?.takes(event_type);
            (then != sink.selection.selection.takes(event_type)).then(|| (sink.name.clone(), then))
        };
        let changes = ChangedRules {
            earlier: earlier.fingerprint,
            now: now.fingerprint,
            bridge: (then != takes).then_some((then, takes)),
            sinks: now.sinks.iter().filter_map(changed).collect(),
        };
        (changes.bridge.is_some() || !changes.sinks.is_empty()).then_some(changes)
    }

    fn earlier_at(&self, sink: &str) -> Option<(&ConfigurationRow, &Selection)> {
        let Self::Earlier(earlier) = self else { return None };
        Some((earlier, earlier.sinks.get(sink)?))
    }
}

/// What a selection of an earlier configuration says of a type; where it was written is not known.
fn as_of(earlier: &ConfigurationRow, selection: &Selection, event_type: &str) -> SelectionRule {
    let selection = ConfiguredSelection { selection: selection.clone(), ..ConfiguredSelection::default() };
    let SelectionRule { takes, rule, line } = selection.rule(event_type);
    SelectionRule { takes, rule: format!("{rule}, by configuration {}", earlier.fingerprint), line }
}
