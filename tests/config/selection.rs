//! Selection against a reference that cannot be wrong: a look through the list, byte for byte.

use std::collections::BTreeSet;

use fanbridge::selection::Selection;
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
    fn a_list_takes_exactly_what_is_on_it(listed in prop::collection::vec(name(), 0..12), asked in prop::collection::vec(name(), 0..24)) {
        let selection = Selection::Only(listed.iter().cloned().collect::<BTreeSet<_>>());
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
