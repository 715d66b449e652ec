//! What admits the quarantined deliveries among the dead letters again.

use std::sync::Arc;

use crate::admit::{AdmissionSource, readmit};
use crate::config::Config;
use crate::dead_letter::Readmit;
use crate::event::Verdict;
use crate::source::SourceOptions;

/// Admits quarantined deliveries again, by the definitions and the selection of this configuration.
pub(super) fn readmission(config: &Config) -> Readmit {
    let view = |source: &SourceOptions| {
        AdmissionSource::new(Arc::clone(&source.definition), source.name.clone(), source.event_source())
    };
    let views: Vec<_> = config.sources.iter().map(view).collect();
    let (selection, fingerprint) = (config.selection.clone(), config.fingerprint);
    Arc::new(move |quarantined| {
        let Some(view) = views.iter().find(|view| *view.source_name() == quarantined.source_name) else {
            return Verdict::Quarantine(quarantined.clone().into());
        };
        readmit(view, quarantined, &selection).under(Some(fingerprint))
    })
}
