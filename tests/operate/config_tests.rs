//! The tests of a configuration.

use std::fs;
use std::process::Output;

use serde_json::Value;

use crate::support::bridge::Home;

fn home() -> Home {
    home_with("")
}

/// The same with more in its configuration.
fn home_with(more: &str) -> Home {
    let home = Home::new();
    let rest = format!(
        "select: [call.created, call.ended]\n\
         sinks:\n\
         \x20 lake: {{ file: {{ dir: {} }}, attributes: [subject] }}\n\
         \x20 billing: {{ file: {{ dir: {} }}, select: [call.ended], topic: \"bills.{{family}}\" }}\n\
         {more}",
        home.path("lake").display(),
        home.path("billing").display()
    );
    home.configure("", &rest);
    home
}

/// What holds of this configuration.
const GOOD: &str = r#"tests:
  - name: a call that is created goes to the lake alone
    source: stream-video
    sample: call.created
    set: { call.id: abc }
    expect:
      verdict: accepted
      type: call.created
      family: video.call-lifecycle
      key: default:abc
      sinks: { lake: { topic: stream.video.call-lifecycle, attributes: { subject: default:abc, time: "" } } }
  - name: a call that ends is billed, too
    source: stream-video
    body: { type: call.ended, call_cid: "default:1" }
    expect:
      sinks:
        lake: {}
        billing: { topic: bills.video.call-lifecycle }
  - name: a ring goes nowhere
    source: stream-video
    sample: call.ring
    expect: { verdict: filtered, sinks: {} }
  - name: what is no JSON is kept for a person
    source: stream-video
    body_file: body.txt
    expect: { verdict: quarantined, reason: json }
"#;

/// What does not.
const BAD: &str = r#"tests:
  - name: a call that is created is billed
    source: stream-video
    sample: call.created
    expect:
      family: video.session
      sinks:
        billing: {}
  - name: a ring arrives
    source: stream-video
    sample: call.ring
    expect: { sinks: { lake: {} } }
"#;

fn run(home: &Home, tests: &str, arguments: &[&str]) -> Output {
    fs::write(home.path("body.txt"), "no JSON").expect("the home takes a file");
    fs::write(home.path("fanbridge.tests.yaml"), tests).expect("the home takes a file");
    home.try_verb(&[&["test"], arguments].concat())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

#[test]
fn what_holds_passes_and_what_does_not_is_said_with_its_place() {
    let home = home();
    let good = run(&home, GOOD, &[]);
    let shown = text(&good.stdout);
    assert_eq!(good.status.code(), Some(0), "{shown}{}", text(&good.stderr));
    assert!(shown.ends_with("4 of 4 tests pass\n") && !shown.contains("FAIL"), "{shown}");

    let bad = run(&home, BAD, &[]);
    let shown = text(&bad.stdout);
    assert_eq!(bad.status.code(), Some(1), "{shown}");
    let file = home.path("fanbridge.tests.yaml");
    let file = file.display();
    for expected in [
        format!("{file}:6:7: family: expected `video.session`, found `video.call-lifecycle`"),
        format!("{file}:8:9: expected that billing gets it; it does not"),
        format!("{file}:7:7: lake gets it, into stream.video.call-lifecycle; expected that it does not"),
        format!("{file}:9:5: expected accepted, but it is filtered: `select` does not have it"),
        "0 of 2 tests pass\n".into(),
    ] {
        assert!(shown.contains(&expected), "{expected} is not in\n{shown}");
    }
}

#[test]
fn programs_get_json_or_junit() {
    let home = home();
    let both = format!("{GOOD}{}", BAD.trim_start_matches("tests:\n"));
    let ndjson = run(&home, &both, &["--format", "ndjson"]);
    assert_eq!(ndjson.status.code(), Some(1));
    let results: Vec<Value> =
        text(&ndjson.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let failed = results.iter().filter(|result| result["mismatches"] != Value::Array(Vec::new())).count();
    assert_eq!((results.len(), failed), (6, 2));

    let junit = run(&home, &both, &["--format", "junit"]);
    let xml = text(&junit.stdout);
    assert!(
        xml.starts_with("<?xml") && xml.contains(r#"tests="6" "#) && xml.contains(r#"failures="2""#),
        "{xml}"
    );
    assert!(xml.contains(r#"<testcase name="a ring arrives""#), "{xml}");
}

#[test]
fn tests_that_make_no_sense_are_refused_with_every_place_at_once() {
    let home = home();
    let senseless = "tests:\n\
                     \x20 - name: nothing\n\
                     \x20   source: stream-vido\n\
                     \x20   expect: { sinks: { lak: {} } }\n\
                     \x20 - { name: both, source: stream-video, sample: call.ring, body: {}, expect: {} }\n\
                     \x20 - { name: new, source: stream-video, sample: call.rign, expect: {} }\n";
    let refused = run(&home, senseless, &[]);
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(78), "{said}");
    for expected in [
        "did you mean `stream-video`?",
        "did you mean `lake`?",
        "did you mean `call.ring`?",
        "expected exactly one of `sample`, `body` and `body_file`",
        "fanbridge.tests.yaml:3:5",
    ] {
        assert!(said.contains(expected), "{expected} is not in\n{said}");
    }
    let refused = run(&home, "tests:\n  - { name: a, sorce: stream-video, expect: {} }\n", &[]);
    let said = text(&refused.stderr);
    assert!(said.contains("unknown key `sorce`") && said.contains("did you mean `source`?"), "{said}");
    assert_eq!(run(&home, "", &[]).status.code(), Some(78));
    fs::remove_file(home.path("fanbridge.tests.yaml")).expect("it is there");
    let without = home.try_verb(&["test"]);
    let said = text(&without.stderr);
    assert_eq!(without.status.code(), Some(74), "{said}");
    assert!(said.contains("fanbridge.tests.yaml") && said.contains("\ntests:\n  - { name: "), "{said}");
    // What is shown is a file of tests but for the name of the source.
    let (_, shown) = said.split_once("another file:\n").expect("it shows one");
    let passed = run(&home, &shown.replace("source: stream,", "source: stream-video,"), &[]);
    assert!(passed.status.success(), "{}", text(&passed.stdout));
}

/// Line and column of the first place where a configuration has this text.
fn place_of(home: &Home, text: &str) -> String {
    let path = home.path("fanbridge.yaml");
    let written = fs::read_to_string(&path).expect("it is there");
    let (number, line) =
        (1..).zip(written.lines()).find(|(_, line)| line.contains(text)).expect("it is written");
    let column = line.find(text).expect("it is in the line") + 1;
    format!("{}:{number}:{column}", path.display())
}

#[test]
fn tests_in_the_configuration_run_with_those_of_the_file() {
    let home = home_with(BAD);
    let alone = home.try_verb(&["test"]);
    let shown = text(&alone.stdout);
    assert_eq!(alone.status.code(), Some(1), "{shown}{}", text(&alone.stderr));
    let family = place_of(&home, "family: video.session");
    for expected in [format!("{family}: family: expected `video.session`"), "0 of 2 tests pass\n".into()] {
        assert!(shown.contains(&expected), "{expected} is not in\n{shown}");
    }

    let both = run(&home, GOOD, &[]);
    let shown = text(&both.stdout);
    assert_eq!(both.status.code(), Some(1), "{shown}");
    assert!(shown.ends_with("4 of 6 tests pass\n"), "{shown}");
    assert_eq!(home.try_verb(&["check"]).status.code(), Some(0), "a test that fails is no error");
    let counts = text(&home.try_verb(&["config", "show", "--effective"]).stdout);
    assert!(!counts.contains("tests"), "nothing of the bridge depends on them: {counts}");
}

#[test]
fn what_is_wrong_with_tests_in_the_configuration_is_shown_and_keeps_no_bridge_from_starting() {
    let written = "tests:\n\
                   \x20 - { name: one, source: stream-vido, sample: call.ring, expect: { sinks: { lak: {} } } }\n";
    for (written, expected) in [
        (written.to_owned(), ["did you mean `stream-video`?", "did you mean `lake`?"]),
        (written.replace("source:", "sorce:"), ["unknown key `sorce`", "missing key `source`"]),
        ("tests: { a: b }\n".to_owned(), ["invalid value for `tests`", "expected a list"]),
    ] {
        let home = home_with(&written);
        for (verb, code) in [("check", 78), ("test", 78)] {
            let refused = home.try_verb(&[verb]);
            let said = text(&refused.stdout) + &text(&refused.stderr);
            assert_eq!(refused.status.code(), Some(code), "{verb}: {said}");
            assert!(expected.iter().all(|words| said.contains(words)), "{verb}: {said}");
            assert!(said.contains("fanbridge.yaml:"), "{verb}: {said}");
        }
        let bridge = home.start();
        assert!(!bridge.log().contains("tests"), "{}", bridge.log());
        bridge.stop();
    }
}
