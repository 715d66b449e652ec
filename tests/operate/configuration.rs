//! The configuration that counts, as it is shown.

use std::fs;

use serde_json::Value;

use crate::support::bridge::Home;
use crate::support::{signing, turns};

fn home() -> Home {
    let home = Home::new();
    let topics = home.path("topics");
    let rest = format!(
        "select: [call.created, call.ended]\n\
         sinks:\n\
         \x20 local: {{ file: {{ dir: {} }}, linger: 10ms }}\n\
         \x20 lake:\n\
         \x20   kafka: {{ brokers: \"127.0.0.1:1\", properties: {{ ssl.key.password: env:STREAM_SECRET }} }}\n",
        topics.display()
    );
    home.configure("retain: 2h", &rest);
    home
}

fn shown(home: &Home, arguments: &[&str]) -> String {
    let shown = home.run_verb(&[&["config", "show"], arguments].concat());
    for secret in [signing::STREAM_SECRET, signing::FASTPIX_SECRET] {
        assert!(!shown.contains(secret), "{shown}");
    }
    shown
}

#[test]
fn every_value_that_counts_is_shown_with_its_place_and_no_secret() {
    let _turn = turns::in_company();
    let home = home();
    let file = home.path("fanbridge.yaml");
    let effective = shown(&home, &["--effective", "--origin"]);
    let text = fs::read_to_string(&file).unwrap();
    let place = |words: &str| {
        let line = text.lines().position(|line| line.contains(words)).unwrap();
        format!(
            "{}:{}:{}",
            file.display(),
            line + 1,
            text.lines().nth(line).unwrap().find(words).unwrap() + 1
        )
    };
    for expected in [
        format!("  retain: \"2h\"  # {}\n", place("retain")),
        format!("    linger: \"10ms\"  # {}\n", place("linger")),
        format!("select:  # {}\n  - call.created\n  - call.ended\n", place("select")),
        format!("    secrets:  # {}\n      - env:FASTPIX_SECRET\n", place("secrets: [env:FASTPIX")),
        "  bytes_max: \"20 GiB\"  # default\n".into(),
        "    on_full: block  # default\n".into(),
        "        ssl.key.password: env:STREAM_SECRET".into(),
    ] {
        assert!(effective.contains(&expected), "{expected} is not in\n{effective}");
    }
    let written = shown(&home, &[]);
    assert!(written.contains("retain: \"2h\"\n") && !written.contains("bytes_max"), "{written}");
    assert!(!written.contains('#'), "{written}");

    // What is shown is a configuration, and the same one.
    let values = shown(&home, &["--effective", "--format", "json"]);
    let again = Home::new();
    fs::write(again.path("fanbridge.yaml"), shown(&home, &["--effective"])).unwrap();
    assert_eq!(shown(&again, &["--effective", "--format", "json"]), values);
}

#[test]
fn the_running_bridge_says_what_counts() {
    let _turn = turns::in_company();
    let home = home();
    let bridge = home.start();
    let answer = bridge.admin().get("/api/v1/configuration").unwrap();
    assert_eq!(answer.status, 200);
    let mut said: Value = serde_json::from_slice(&answer.body).unwrap();
    let fingerprint = said.as_object_mut().unwrap().remove("fingerprint").unwrap();
    assert_eq!(fingerprint.as_str().unwrap().len(), 12);
    assert!(said.as_object_mut().unwrap().remove("since").unwrap().is_string());
    assert_eq!(said.as_object_mut().unwrap().remove("last_reload"), Some(Value::Null));
    let printed = shown(&home, &["--effective", "--origin", "--format", "json"]);
    assert_eq!(said, serde_json::from_str::<Value>(&printed).unwrap());
    for secret in [signing::STREAM_SECRET, signing::FASTPIX_SECRET] {
        assert!(!answer.text().contains(secret));
    }
    bridge.stop();
}

#[test]
fn a_configuration_with_an_error_is_not_shown_as_if_it_counted() {
    let home = Home::new();
    home.configure("retain: soon", "");
    let refused = home.try_verb(&["config", "show"]);
    assert_eq!((refused.status.code(), refused.stdout.len()), (Some(78), 0));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("soon"));
}
