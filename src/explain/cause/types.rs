//! Where an event type goes, or why nowhere.

use super::super::configuration::ExplainedConfiguration;
use super::super::event_type::TypeExplanation;
use super::{CauseAndFix, Situation, at_line};

/// Of an event type.
pub(in crate::explain) fn of_type(
    found: &TypeExplanation,
    configuration: &ExplainedConfiguration,
) -> CauseAndFix {
    let name = &found.event_type;
    if found.sources.is_empty() {
        return of_unsent_type(found);
    }
    if !found.takes {
        return of_filtered(name, configuration);
    }
    let takes: Vec<String> = found
        .sinks
        .iter()
        .filter(|sink| sink.takes)
        .map(|sink| format!("{} ({})", sink.sink, sink.topics.join(", ")))
        .collect();
    if takes.is_empty() {
        let cause = format!("accepted, and no sink selects `{name}`");
        return CauseAndFix::new(Situation::NoSink, cause, Some("add it to a sink's `select`".into()));
    }
    let left_out = found.sinks.iter().find(|sink| !sink.takes);
    let fix = left_out.map(|sink| format!("to get it there too, add it to `sinks.{}.select`", sink.sink));
    let out = left_out.map_or_else(String::new, |sink| {
        format!("; {} does not select `{name}`{}", sink.sink, at_line(sink.line.as_ref()))
    });
    let cause = format!("goes to {}{out}", takes.join(", "));
    let situation = if left_out.is_some() { Situation::NotSelected } else { Situation::Delivered };
    CauseAndFix::new(situation, cause, fix)
}

/// Of a type that the bridge's selection filters, or of a delivery of that type.
pub(in crate::explain) fn of_filtered(name: &str, configuration: &ExplainedConfiguration) -> CauseAndFix {
    let selection = &configuration.selection;
    let (key, types) = (&selection.key, selection.types().unwrap_or_default());
    let line = at_line(selection.rule(name).line.as_ref());
    let cause = format!("filtered: `{key}` is a list of {types} and `{name}` is not on it{line}");
    CauseAndFix::new(Situation::Filtered, cause, Some(format!("add `{name}` to `{key}`")))
}

/// Of a type that comes to no source.
fn of_unsent_type(found: &TypeExplanation) -> CauseAndFix {
    let name = &found.event_type;
    let by_webhook =
        found.known.iter().find(|known| known.channels.iter().any(|channel| channel == "webhook"));
    match (by_webhook, found.known.first()) {
        (Some(known), _) => {
            let fix = format!("configure a source with `provider: {}`", known.provider);
            let cause = format!("no configured provider sends it: `{name}` is a type of {}", known.provider);
            CauseAndFix::new(Situation::NobodySends, cause, Some(fix))
        }
        (None, Some(known)) => {
            let cause = format!("{} sends `{name}` to WebSocket clients only", known.provider);
            CauseAndFix::new(Situation::WebSocketOnly, cause, Some("it never reaches a webhook".into()))
        }
        (None, None) => {
            let own = "if it is a type of your own, add it to the source's `custom_types`";
            let fix = found.near.as_ref().map_or(own.into(), |near| format!("did you mean `{near}`? {own}"));
            CauseAndFix::new(Situation::NobodySends, "no configured provider sends it", Some(fix))
        }
    }
}
