//! The attributes that a sink's records carry, as they are listed.

use fanbridge::config::Severity;
use fanbridge::sink::attributes::{Attribute, CarriedAttributes};

use super::{SOURCE, expect, problems, read};

fn listing(list: &str) -> String {
    format!("{SOURCE}sinks: {{ b: {{ file: {{}}, attributes: {list} }} }}\n")
}

#[track_caller]
fn is_fine(text: &str) {
    let report = problems(text);
    assert!(report.problems().is_empty(), "{report}");
}

#[test]
fn a_sink_carries_all_attributes_unless_it_lists_some() {
    let carried = |text: &str| read(text).expect("valid").config.sinks[0].attributes.clone();
    for text in [listing("all"), format!("{SOURCE}sinks: {{ b: {{ file: {{}} }} }}\n")] {
        assert_eq!(carried(&text), CarriedAttributes::default());
    }
    let listed = CarriedAttributes::listed(["sequence", "traceparent"]);
    assert_eq!(carried(&listing("[traceparent, id, sequence]")), listed);
    is_fine(&listing("[specversion, id, source, type]"));
    is_fine(&listing("[datacontenttype, redriven, time, timeinferred]"));
}

#[test]
fn a_name_that_no_attribute_can_have_is_refused_where_it_stands() {
    let title = "impossible attribute";
    let expected = "expected a CloudEvents name: lower-case letters and digits only";
    for (name, meant) in [
        ("Subject", "; did you mean `subject`?"),
        ("ce_family", "; did you mean `family`?"),
        ("ce_webhookid", "; did you mean `webhookid`?"),
        ("content-type", "; did you mean `datacontenttype`?"),
        ("\"\"", ""),
        ("\"a b\"", ""),
        ("\"sub*\"", ""),
    ] {
        expect(&listing(&format!("[id, ‹{name}›]")), title, &format!("{expected}{meant}"));
    }
    let label = "`data` is no attribute but the event's body, which every record has";
    expect(&listing("[‹data›]"), title, label);
    assert!(problems(&listing("[Type]")).has_errors());
}

#[test]
fn a_list_of_nothing_and_what_is_no_list_are_refused_with_what_to_write() {
    let title = "empty list of attributes";
    let label = "expected names of attributes, or `attributes: all`; for no more than what every record \
                 carries, write `[specversion, id, source, type]`";
    for empty in ["{ file: {}, ‹attributes›: [] }", "{ file: {}, ‹attributes›: }"] {
        expect(&format!("{SOURCE}sinks: {{ b: {empty} }}\n"), title, label);
    }
    expect(&listing("‹al›"), "unknown value", "did you mean `all`?");
}

#[test]
fn a_name_that_no_source_can_state_is_warned_of_with_the_nearest() {
    let title = "unknown attribute";
    let label = "no event of a configured source has this attribute";
    let meant = |name: &str| format!("{label}; did you mean `{name}`?");
    expect(&listing("[‹sequense›]"), title, &meant("sequence"));
    expect(&listing("[‹webhokid›]"), title, &meant("webhookid"));
    for (name, note) in [("dataref", "docs/EVENTS.md"), ("all", "`attributes: all` without a list")] {
        let text = listing(&format!("[id, ‹{name}›]"));
        expect(&text, title, label);
        let report = problems(&text.replace(['‹', '›'], ""));
        assert_eq!(report.problems()[0].severity, Severity::Warning);
        assert!(report.problems()[0].notes[0].contains(note), "{report}");
    }
    expect(&listing("[id, ‹id›]"), "duplicate attribute", "`id` is on the list already");
}

/// What an event can have depends on how it comes, and not on its provider alone.
#[test]
fn what_a_source_can_state_depends_on_how_deliveries_reach_it() {
    const WEBHOOK: &str = "{ provider: stream, secrets: [env:SECRET] }";
    const QUEUE: &str =
        "{ provider: stream, sqs: { queue_url: \"https://sqs.eu-west-1.amazonaws.com/222222222222/q\" } }";
    const TOPIC: &str = "{ provider: stream, sns: { topics: [\"arn:aws:sns:eu-west-1:222222222222:t\"] } }";
    let text = |source: &str, name: &str| {
        format!("sources: {{ a: {source} }}\nsinks: {{ b: {{ file: {{}}, attributes: [{name}] }} }}\n")
    };
    for (name, sources) in [
        ("traceparent", &[WEBHOOK][..]),
        ("webhookid", &[WEBHOOK, QUEUE]),
        ("snstopic", &[QUEUE, TOPIC]),
        ("sqsgroupid", &[QUEUE]),
        ("sqsattrtenant", &[QUEUE]),
        ("sqsattr", &[]),
        ("sqsattrlongerthantwenty", &[]),
    ] {
        for source in [WEBHOOK, QUEUE, TOPIC] {
            let report = problems(&text(source, name));
            let unknown = report.problems().iter().any(|problem| problem.title == "unknown attribute");
            assert_eq!(unknown, !sources.contains(&source), "{name} of {source}: {report}");
            assert!(!report.has_errors(), "{report}");
        }
    }
    let traced = format!("traces: {{ endpoint: \"http://127.0.0.1:4318\" }}\n{}", text(TOPIC, "traceparent"));
    assert!(problems(&traced).problems().is_empty(), "with traces any event can have a context");
}

#[test]
fn nothing_is_called_unknown_while_a_source_cannot_be_read() {
    let text = "sources: { a: { provider: stream, secrets: [env:SECRET] }, b: { provider: acme } }\n\
                sinks: { b: { file: {}, attributes: [acmedelivery] } }\n";
    let report = problems(text);
    assert!(report.has_errors(), "the provider is unknown");
    assert!(report.problems().iter().all(|problem| problem.title != "unknown attribute"), "{report}");
}

#[test]
fn no_provider_can_state_an_attribute_that_the_bridge_sets_itself() {
    for attribute in Attribute::ALL.map(Attribute::name).into_iter().chain(["datacontenttype", "redriven"]) {
        let text = format!(
            "providers: {{ acme: {{ signature: {{ scheme: hmac-sha256, header: X-S }}, event: {{ type: \
             {{ pointers: [/t] }} }}, extensions: {{ {attribute}: X-H }} }} }}\n\
             sources: {{ a: {{ provider: acme, secrets: [env:SECRET] }} }}\n"
        );
        let report = problems(&text);
        let is_reserved = |label: &str| label.contains("the bridge sets this attribute itself");
        assert!(report.problems().iter().any(|problem| is_reserved(&problem.label)), "{attribute}: {report}");
    }
}
