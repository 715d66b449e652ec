//! What has changed since an event was admitted.

use super::super::admitted::ChangedRules;
use super::SINKS_NAMED_MAX;

/// Of an event that was admitted under an earlier configuration; it goes on a sentence.
pub(in crate::explain) fn of_changed(changed: &ChangedRules, event_type: &str) -> String {
    let ChangedRules { earlier, now, bridge, sinks } = changed;
    let now = now.map_or_else(|| "that of now".to_owned(), |now| format!("that of now ({now})"));
    let takes = |takes: bool| if takes { "takes" } else { "does not take" };
    let mut parts = Vec::new();
    if let Some((then, is_taken)) = bridge {
        let (then, is_taken) = (takes(*then), takes(*is_taken));
        parts.push(format!("`select` {then} `{event_type}` by it, and {is_taken} it by {now}"));
    }
    for (sink, then) in sinks.iter().take(SINKS_NAMED_MAX) {
        let (then, is_taken) = (takes(*then), takes(!*then));
        parts.push(format!("{sink} {then} `{event_type}` by it, and {is_taken} it by {now}"));
    }
    let parts = parts.join("; ");
    format!("; it was admitted under configuration {earlier}, whose rules count for it: {parts}")
}
