//! What has the right form and could never work: found before anything is started.

use super::{SOURCE, expect, problems};

#[test]
fn one_directory_is_not_shared_however_it_is_spelled() {
    let here = std::env::current_dir().expect("a directory");
    let absolute = here.join("t").display().to_string();
    let title = "directory used twice";
    for again in ["t", "./t", "t/", "x/../t", "x/./y/../../t", &absolute] {
        expect(
            &format!(
                "{SOURCE}sinks: {{ a: {{ file: {{ dir: t }} }}, b: {{ file: {{ dir: ‹{again}› }} }} }}\n"
            ),
            title,
            &format!("sink `a` already writes to {again}: choose another directory"),
        );
        expect(
            &format!("{SOURCE}spool: {{ dir: t }}\nsinks: {{ b: {{ file: {{ dir: ‹{again}› }} }} }}\n"),
            title,
            &format!("the spool already writes to {again}: choose another directory"),
        );
    }
    for other in ["t/t", "../t", "T", "t."] {
        let report = problems(&format!(
            "{SOURCE}sinks: {{ a: {{ file: {{ dir: t }} }}, b: {{ file: {{ dir: {other} }} }} }}\n"
        ));
        assert!(!report.has_errors(), "{report}");
    }
}

#[test]
fn one_directory_is_not_shared_by_way_of_a_link() {
    let dir = tempfile::tempdir().expect("a directory");
    let real = dir.path().join("real/topics");
    std::fs::create_dir_all(&real).expect("made");
    std::os::unix::fs::symlink(&real, dir.path().join("link")).expect("made");
    let base = dir.path().display();
    for again in ["link", "link/.", "link/../topics", "link/../../real/topics"] {
        expect(
            &format!(
                "{SOURCE}sinks: {{ a: {{ file: {{ dir: {base}/real/topics }} }}, \
                 b: {{ file: {{ dir: ‹{base}/{again}› }} }} }}\n"
            ),
            "directory used twice",
            &format!("sink `a` already writes to {base}/{again}: choose another directory"),
        );
    }
    // Neither the link nor what it leads to has to hold the directory yet.
    expect(
        &format!(
            "{SOURCE}sinks: {{ a: {{ file: {{ dir: {base}/real/topics/new }} }}, \
             b: {{ file: {{ dir: ‹{base}/link/new› }} }} }}\n"
        ),
        "directory used twice",
        &format!("sink `a` already writes to {base}/link/new: choose another directory"),
    );
}

#[test]
fn a_sinks_directory_inside_another_sinks_is_warned_of() {
    expect(
        &format!("{SOURCE}sinks: {{ a: {{ file: {{ dir: /t }} }}, b: {{ file: {{ dir: ‹/t/t› }} }} }}\n"),
        "directory inside another sink's directory",
        "sink `a` writes to /t, where a topic could have the same directory",
    );
}

#[test]
fn a_name_that_no_event_type_can_have_is_refused_wherever_types_are_listed() {
    let title = "impossible event type";
    let expected =
        "expected text of 1 to 255 bytes, not only white space, and without control or invisible characters";
    let long = "x".repeat(256);
    for name in ["", " ", "\u{3000}", "call\u{202e}created", "call\u{7}", &long] {
        let name = serde_json::Value::from(name).to_string();
        // Any other name may come from a provider without a catalogue.
        let open = "sources: { a: { provider: standard-webhooks, secrets: [env:FASTPIX] } }\n";
        expect(&format!("{open}select: [a.b, ‹{name}›]\n"), title, expected);
        expect(&format!("{open}sinks: {{ b: {{ file: {{}}, select: [‹{name}›] }} }}\n"), title, expected);
        expect(
            &format!(
                "sources: {{ a: {{ provider: stream, secrets: [env:SECRET], custom_types: [a.b, ‹{name}›] \
                 }} }}\n"
            ),
            title,
            expected,
        );
    }
    expect(
        &format!("{SOURCE}select: [‹\"call.created\\u200b\"›]\n"),
        title,
        &format!("{expected}; did you mean \"call.created\"?"),
    );
}

#[test]
fn a_source_of_whose_secrets_none_is_valid_now_is_warned_of() {
    let source = |key: &str, secrets: &str| {
        format!(
            "sources: {{ a: {{ provider: stream, {key}: [{secrets}] }} }}\nsinks: {{ b: {{ file: {{}} }} }}\n"
        )
    };
    let title = "no secret is valid now";
    let label =
        "each secret has expired or is not valid yet: until one is valid, every delivery is answered 401";
    let expired = "{ secret: env:SECRET, not_after: \"2026-11-21T06:39:59Z\" }";
    let early = "{ secret: env:OTHER_SECRET, not_before: \"2026-11-21T06:40:01Z\" }";
    for none in [expired.to_owned(), early.to_owned(), format!("{expired}, {early}")] {
        expect(&source("‹secrets›", &none), title, label);
        assert!(!problems(&source("secrets", &none)).has_errors(), "a rotation may be prepared: {none}");
    }
    for one in [
        format!("{expired}, env:OTHER_SECRET"),
        "{ secret: env:SECRET, not_before: \"2026-11-21T06:40:00Z\" }".to_owned(),
    ] {
        let report = problems(&source("secrets", &one));
        assert!(report.problems().is_empty(), "{report}");
    }
}

#[test]
fn a_name_that_metrics_give_to_something_else_is_not_free() {
    expect(
        "sources: { ‹none›: { provider: stream, secrets: [env:SECRET] } }\n",
        "reserved name `none`",
        "this name stands for requests without a source in metrics; choose another one",
    );
    expect(
        &format!("{SOURCE}sinks: {{ ‹quarantine›: {{ file: {{}} }} }}\n"),
        "reserved name `quarantine`",
        "this name stands for quarantined deliveries in metrics and in `fanbridge dead list`; choose another \
         one",
    );
    let swapped = "sources: { quarantine: { provider: stream, secrets: [env:SECRET] } }\nsinks: { none: { \
                   file: {} } }\n";
    assert!(!problems(swapped).has_errors());
}
