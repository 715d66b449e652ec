//! Selection against a reference that cannot be wrong: a look through the list, byte for byte.

use std::sync::Arc;

use fanbridge::admit::{AdmissionSource, admit};
use fanbridge::config::Config;
use fanbridge::event::{Event, HeaderClaims, Timestamp, Verdict, Verified};
use fanbridge::selection::Selection;
use fanbridge::source::SourceOptions;
use proptest::prelude::*;

use super::{SOURCE, VALID, read};

/// Names, and names that look like them: other case, more or fewer dots, letters of other scripts.
fn name() -> impl Strategy<Value = String> {
    let plain = prop_oneof![
        Just("call.created".to_owned()),
        Just("call.ended".to_owned()),
        Just("video.mediaAI.named-entities.ready".to_owned()),
        "[a-c.]{0,6}",
        "\\PC{0,8}",
    ];
    (plain, 0..8_u8).prop_map(|(name, change)| match change {
        0 => name.to_uppercase(),
        1 => format!("{name}."),
        2 => format!(" {name}"),
        3 => name.replace('a', "а"), // Cyrillic
        4 => name.replace('.', "․"), // one dot leader
        5 => name.replace('e', "e\u{301}"),
        6 => format!("{name}\0"),
        _ => name,
    })
}

proptest! {
    #[test]
    fn a_list_takes_exactly_what_is_on_it(
        listed in prop::collection::vec(name(), 0..12),
        asked in prop::collection::vec(name(), 0..24),
    ) {
        let selection = Selection::Only(listed.iter().cloned().collect());
        for name in asked.iter().chain(&listed) {
            let reference = listed.iter().any(|on_list| on_list.as_bytes() == name.as_bytes());
            prop_assert_eq!(selection.takes(name), reference, "{:?}", name);
            prop_assert!(Selection::All.takes(name));
        }
    }

    /// Any bytes of text are read or refused, never worse; and what was refused shows its place.
    #[test]
    fn any_text_is_read_or_refused(text in "(\\PC|[ \n:{}\\[\\],&*!|>'\"#-]){0,200}") {
        if let Err(report) = read(&text) {
            prop_assert!(report.has_errors());
            report.problems().iter().for_each(|problem| assert!(report.position(problem).0 >= 1));
            prop_assert!(!report.render(false).is_empty());
        }
    }

    /// One wrong byte in a valid text is read or refused, never worse.
    #[test]
    fn a_valid_text_with_a_wrong_character_is_read_or_refused(at in 0..VALID.len(), wrong in any::<char>()) {
        let text: String = VALID.char_indices().map(|(n, c)| if n == at { wrong } else { c }).collect();
        if let Err(report) = read(&text) {
            prop_assert!(!report.render(true).is_empty());
        }
    }
}

#[test]
fn a_name_from_the_providers_documents_becomes_the_name_on_the_wire() {
    let text = format!(
        "{SOURCE}select: [ActivityAddedEvent, call.created]\nsinks: {{ b: {{ file: {{}}, select: [ActivityAddedEvent] }} }}\n"
    );
    let config = read(&text).expect("valid").config;
    assert!(config.selection.takes("feeds.activity.added"));
    assert!(!config.selection.takes("ActivityAddedEvent"));
    assert!(config.sinks[0].selection.takes("feeds.activity.added"));
}

#[test]
fn types_of_ones_own_can_be_selected_once_their_source_names_them() {
    let text = "\
sources: { a: { provider: stream, secrets: [env:SECRET], custom_types: [game.won] } }
select: [game.won]
sinks: { b: { file: {} } }
";
    let loaded = read(text).expect("valid");
    assert!(loaded.config.selection.takes("game.won"));
    let topics = loaded.config.topics(&loaded.config.sinks[0]);
    assert_eq!(topics.iter().map(|topic| topic.name.as_str()).collect::<Vec<_>>(), ["stream.unclassified"]);
}

#[test]
fn topics_are_those_of_the_listed_types_or_of_every_family() {
    let text =
        format!("{SOURCE}select: [call.created, feeds.follow.created]\nsinks: {{ b: {{ file: {{}} }} }}\n");
    let config = read(&text).expect("valid").config;
    let names: Vec<String> = config.topics(&config.sinks[0]).into_iter().map(|topic| topic.name).collect();
    assert_eq!(names, ["stream.feeds.follow", "stream.video.call-lifecycle"]);

    let config = read(VALID).expect("valid").config;
    let topics = config.topics(&config.sinks[0]);
    assert_eq!(topics.len(), config.sources[0].definition.catalogue.families().len());
    assert!(topics.iter().any(|topic| topic.name == "stream.unclassified"));
}

/// Three sources, and a list of types that each of them knows one of.
const SEVERAL: &str = "\
providers:
  acme:
    signature: { scheme: hmac-sha256, header: Acme-Signature }
    event: { type: { pointers: [/type] } }
    families: { invoices: { types: { invoice.paid: {} } } }
sources:
  a: { provider: stream, secrets: [env:SECRET] }
  b: { provider: fastpix, secrets: [env:FASTPIX], custom_types: [video.media.archived] }
  c: { provider: acme, secrets: [env:SECRET] }
select: [call.created, video.media.archived, invoice.paid]
sinks:
  lake: { file: { dir: lake } }
  media: { file: { dir: media }, select: [video.media.archived], topic: \"{source}.{family}\" }
";

#[test]
fn a_listed_type_has_a_topic_at_every_source_also_where_only_another_one_knows_it() {
    let config = read(SEVERAL).expect("valid").config;
    let [lake, media] = [0, 1].map(|sink| topic_names(&config, sink));
    assert_eq!(
        lake,
        [
            "acme.invoices",
            "acme.unclassified",
            "fastpix.media",
            "fastpix.unclassified",
            "stream.unclassified",
            "stream.video.call-lifecycle",
        ]
    );
    assert_eq!(media, ["a.unclassified", "b.media", "c.unclassified"]);
}

#[test]
fn every_event_that_is_admitted_goes_to_a_topic_that_was_listed() {
    let listed = read(SEVERAL).expect("valid").config;
    let all = SEVERAL.replace("select: [call.created, video.media.archived, invoice.paid]", "select: all");
    let all = read(&all).expect("valid").config;
    let types = ["call.created", "call.recording_paused", "video.media.archived", "invoice.paid", "x.y", "x"];
    for (config, admitted) in [(&listed, 3 * 3), (&all, 3 * types.len())] {
        let events: Vec<Arc<Event>> = (config.sources.iter())
            .flat_map(|source| types.map(|name| admitted_event(config, source, name)))
            .flatten()
            .collect();
        assert_eq!(events.len(), admitted);
        for (index, sink) in config.sinks.iter().enumerate() {
            let names = topic_names(config, index);
            for event in events.iter().filter(|event| sink.selection.takes(&event.event_type)) {
                let topic = sink.topic.render(&event.provider, &event.family, &event.source_name);
                assert!(names.contains(&topic), "{topic} of {} is not in {names:?}", event.event_type);
            }
        }
    }
}

#[test]
fn custom_types_that_a_header_states_tell_events_of_one_body_apart_at_every_source_of_the_provider() {
    let text = "sources:\n  a: { provider: github, secrets: [env:SECRET], custom_types: [one, two] }\n  \
                b: { provider: github, secrets: [env:SECRET] }\nsinks: { b: { file: {} } }\n";
    let config = read(text).expect("valid").config;
    let id = |source: &SourceOptions, event_type: &str| {
        let view =
            AdmissionSource::new(source.definition.clone(), source.name.clone(), source.event_source());
        let stated = HeaderClaims { event_type: Some(event_type.into()), ..HeaderClaims::default() };
        match admit(&view, authentic("{}", stated), &config.selection) {
            Verdict::Accept(event) => event.id.clone(),
            other => panic!("{other:?}"),
        }
    };
    let [a, b] = &config.sources[..] else { panic!("two sources") };
    assert_ne!(id(a, "one"), id(a, "two"));
    assert_eq!((id(a, "one"), id(a, "two")), (id(b, "one"), id(b, "two")));
    assert_eq!(id(a, "invented"), id(b, "invented-too"));
}

fn authentic(body: &str, stated: HeaderClaims) -> Verified {
    Verified {
        body: bytes::Bytes::copy_from_slice(body.as_bytes()),
        stated,
        secret: 0,
        skew_seconds: None,
        arrived: Timestamp(1_763_709_600_000_000_000),
    }
}

fn topic_names(config: &Config, sink: usize) -> Vec<String> {
    config.topics(&config.sinks[sink]).into_iter().map(|topic| topic.name).collect()
}

/// What an authentic delivery of a type becomes at a source, if it is not filtered.
fn admitted_event(config: &Config, source: &SourceOptions, event_type: &str) -> Option<Arc<Event>> {
    let view = AdmissionSource::new(source.definition.clone(), source.name.clone(), source.event_source());
    let verified = authentic(&format!(r#"{{"type":"{event_type}","id":"1"}}"#), HeaderClaims::default());
    match admit(&view, verified, &config.selection) {
        Verdict::Accept(event) => Some(event),
        Verdict::Filter(_) => None,
        Verdict::Quarantine(quarantined) => panic!("{quarantined:?}"),
    }
}
