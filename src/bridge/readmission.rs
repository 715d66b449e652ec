//! By which rules events are admitted now, for whoever asks beside the way of a delivery: the redrive of
//! quarantined deliveries, and the counts of types.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::summary::{catalogued_by, definitions};
use crate::admit::{AdmissionSource, readmit};
use crate::config::Config;
use crate::dead_letter::Readmit;
use crate::event::{Fingerprint, Verdict};
use crate::provider::Definition;
use crate::selection::Selection;
use crate::source::SourceOptions;
use crate::source::types_seen::Catalogued;

/// The rules of one configuration.
pub(super) struct AdmissionRules {
    views: Vec<AdmissionSource>,
    definitions: Vec<Arc<Definition>>,
    selection: Selection,
    fingerprint: Fingerprint,
}

impl AdmissionRules {
    pub(super) fn of(config: &Config) -> Self {
        let view = |source: &SourceOptions| {
            AdmissionSource::new(Arc::clone(&source.definition), source.name.clone(), source.event_source())
        };
        let views = config.sources.iter().map(view).collect();
        let (selection, fingerprint) = (config.selection.clone(), config.fingerprint);
        Self { views, definitions: definitions(config), selection, fingerprint }
    }
}

/// The rules of the configuration as it is now.
#[derive(Clone)]
pub(super) struct CurrentRules(Arc<ArcSwap<AdmissionRules>>);

impl CurrentRules {
    pub(super) fn new(rules: AdmissionRules) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(rules)))
    }

    /// Replaces the rules.
    pub(super) fn replace(&self, rules: AdmissionRules) {
        self.0.store(Arc::new(rules));
    }

    /// Admits quarantined deliveries again, by the current definitions and the current selection.
    pub(super) fn readmission(&self) -> Readmit {
        let Self(current) = self.clone();
        Arc::new(move |quarantined| {
            let rules = current.load();
            let view = rules.views.iter().find(|view| *view.source_name() == quarantined.source_name);
            let Some(view) = view else { return Verdict::Quarantine(quarantined.clone().into()) };
            readmit(view, quarantined, &rules.selection).under(Some(rules.fingerprint))
        })
    }

    /// Whether the catalogue of a configured provider has a type.
    pub(super) fn catalogued(&self) -> Catalogued {
        let Self(current) = self.clone();
        Box::new(move |provider, event_type| catalogued_by(&current.load().definitions, provider, event_type))
    }
}
