//! What has changed since an event was admitted.

use super::super::admitted::ChangedRules;
use super::SINKS_NAMED_MAX;

/// Of an event that was admitted under an earlier configuration; it goes on a sentence.
pub(in crate::explain) fn of_changed(changed: &ChangedRules) -> String {
    let ChangedRules { earlier, now, bridge, sinks } = changed;
    let now = now.map_or_else(|| "that of now".to_owned(), |now| format!("that of now ({now})"));
    let would = |takes: bool| if takes { "would take" } else { "would not take" };
    let bridge = bridge.iter().map(|(_, is_taken)| format!("`select` {} it", would(*is_taken)));
    let sinks = sinks.iter().take(SINKS_NAMED_MAX);
    let sinks = sinks.map(|(sink, then)| format!("{sink} {} it", would(!*then)));
    let parts = bridge.chain(sinks).collect::<Vec<_>>().join(", ");
    format!("; it was admitted under configuration {earlier}, which counts for it; by {now} {parts}")
}
