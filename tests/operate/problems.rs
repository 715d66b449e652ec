//! Problem documents: their codes, and what the number of a refused request leads to.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use fanbridge::problem::ProblemCode;
use serde_json::{Value, json};

use crate::support::bridge::{Bridge, Home};
use crate::support::client::{Answer, Client, without_request};
use crate::support::load::STREAM_PATH;
use crate::support::{await_until, turns};

const WITHIN: Duration = Duration::from_secs(20);

#[test]
fn every_problem_has_a_code_that_is_documented() {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/OPERATING.md")).unwrap();
    let (_, section) = text.split_once("### Problem codes").expect("the section");
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        Some((cells.next()?.trim_end_matches('`').to_owned(), cells.next()?.to_owned()))
    });
    let documented: BTreeMap<String, String> = rows.collect();
    let codes =
        ProblemCode::ALL.iter().map(|code| (code.as_str().to_owned(), code.status().as_str().to_owned()));
    assert_eq!(documented, codes.collect());
}

/// The number in a problem document, as `explain` takes it.
#[track_caller]
fn request(answer: &Answer) -> String {
    let document: Value =
        serde_json::from_slice(&answer.body).unwrap_or_else(|_| panic!("{}", answer.text()));
    let instance = document["instance"].as_str().expect("an instance");
    instance.strip_prefix("urn:fanbridge:").expect("a number of ours").to_owned()
}

/// What the bridge knows of a refused request, once the timeline has it.
fn explained(bridge: &Bridge, request: &str) -> Value {
    await_until("the refusal is among the last steps", WITHIN, || {
        let answer = bridge.admin().get(&format!("/api/v1/events/{request}")).expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text());
        let explanation: Value = serde_json::from_slice(&answer.body).unwrap();
        (explanation["found"] == "one").then_some(explanation)
    })
}

#[test]
fn a_401_is_the_same_for_every_reason_but_for_its_instance() {
    let _turn = turns::in_company();
    let home = Home::new();
    home.configure_files();
    let bridge = home.start();
    let body = br#"{"type":"call.created","note":"canary-in-a-body"}"#;
    let zeros = "0".repeat(64);
    let mut bodies = BTreeSet::new();
    for (headers, reason) in [
        (&[("x-signature", zeros.as_str())][..], "wrong_signature"),
        (&[("x-signature", "00")], "malformed_signature"),
        (&[("x-other", "1")], "missing_signature"),
    ] {
        let answer = bridge.client().post(STREAM_PATH, headers, body).expect("an answer");
        assert_eq!(answer.status, 401, "{reason}");
        bodies.insert(without_request(&answer.text()));
        let explanation = explained(&bridge, &request(&answer));
        assert_eq!(explanation["verdict"]["reason"], reason, "{explanation}");
        assert_eq!(
            (&explanation["situation"], &explanation["verdict"]["word"]),
            (&json!("refused"), &json!("refused"))
        );
        assert_eq!(explanation["steps"][0]["status"], 401, "{explanation}");
        let text = explanation.to_string();
        assert!(!text.contains(&zeros) && !text.contains("canary-in-a-body"), "{text}");
    }
    assert_eq!(bodies.len(), 1, "{bodies:?}");
}

#[test]
fn the_admin_listener_says_by_a_code_what_it_does_not_grant() {
    let _turn = turns::in_company();
    let home = Home::new();
    home.configure_files();
    let bridge = home.start();
    let code = |answer: &Answer| {
        let document: Value = serde_json::from_slice(&answer.body).expect("a problem document");
        assert_eq!(document["type"], format!("urn:fanbridge:problem:{}", document["code"].as_str().unwrap()));
        document["code"].as_str().unwrap().to_owned()
    };
    let mut admin = Client::new(home.admin);
    for (path, expected) in [
        ("/nothing", "no_such_path"),
        ("/api/v1/dead/redrive", "no_such_method"),
        ("/api/v1/dead/99", "not_found"),
        ("/api/v1/events?limit=0", "bad_query"),
        ("/api/v1/types/stream/nobody.sends", "not_found"),
    ] {
        assert_eq!(code(&admin.get(path).expect("an answer")), expected, "{path}");
    }
    let (change, text) = (("x-fanbridge-request", "1"), ("content-type", "text/plain"));
    for (headers, body, expected) in [
        (&[][..], "{}", "no_request_header"),
        (&[change, text], "{}", "not_json"),
        (&[change], "{", "bad_body"),
        (&[change], r#"{"ids":[1],"confirm":2}"#, "conflict"),
    ] {
        let answer = admin.post("/api/v1/dead/drop", headers, body.as_bytes()).expect("an answer");
        assert_eq!(code(&answer), expected, "{body}");
    }
    drop(bridge);
}
