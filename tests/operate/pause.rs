//! A sink that is paused and resumed, by the command line and over HTTP.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use crate::support::bridge::{Bridge, Home};
use crate::support::{await_until, signing, turns};

/// How long the bridge may take to deliver.
const WITHIN: Duration = Duration::from_secs(30);
const CHANGE: &[(&str, &str)] = &[("x-fanbridge-request", "1")];

/// A home with the file sinks `lake` and `other`, and more of the configuration.
fn home(more: &str) -> Home {
    let home = Home::new();
    let dir = |name: &str| home.path(name).display().to_string();
    let sinks = format!(
        "sinks:\n  lake: {{ file: {{ dir: {} }} }}\n  other: {{ file: {{ dir: {} }} }}\n{more}",
        dir("lake"),
        dir("other")
    );
    home.configure("", &sinks);
    home
}

/// Sends so many events; the id of the last one.
#[track_caller]
fn send(bridge: &Bridge, from: u64, count: u64) -> String {
    let mut client = bridge.client();
    let mut id = String::new();
    for number in from..from + count {
        let body = format!(r#"{{"type":"call.created","call_cid":"default:{number}"}}"#);
        let signature = signing::stream(body.as_bytes());
        let answer = client.post("/in/stream-video", &[("x-signature", &signature)], body.as_bytes());
        let answer = answer.expect("an answer");
        assert!(answer.is_success(), "{}", answer.text());
        let said: Value = serde_json::from_str(&answer.text()).expect("JSON");
        id = said["id"].as_str().expect("an id").to_owned();
    }
    id
}

/// The lines that a sink has.
fn lines(home: &Home, sink: &str) -> Vec<String> {
    let dir = home.path(sink).join("stream.video.call-lifecycle");
    let files = fs::read_dir(dir).into_iter().flatten().map(|file| file.expect("readable").path());
    let texts = files.filter(|file| file.extension().is_some_and(|ending| ending == "jsonl"));
    let texts = texts.map(|file| fs::read_to_string(file).expect("readable"));
    texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[track_caller]
fn await_lines(home: &Home, sink: &str, count: usize) {
    await_until(&format!("{sink} has {count} events"), WITHIN, || {
        (lines(home, sink).len() >= count).then_some(())
    });
}

fn status(bridge: &Bridge) -> Value {
    let answer = bridge.admin().get("/api/status").expect("an answer");
    let status: Value = serde_json::from_str(&answer.text()).expect("JSON");
    status["sinks"][0].clone()
}

#[test]
fn a_paused_sink_gets_nothing_until_it_is_resumed_also_over_a_restart_and_then_each_event_once() {
    let _turn = turns::in_company();
    let home = home("");
    let bridge = home.start();
    send(&bridge, 0, 3);
    await_lines(&home, "lake", 3);

    let paused = home.try_verb(&["pause", "lake", "--reason", "its consumers move"]);
    let said = String::from_utf8_lossy(&paused.stderr).into_owned();
    assert!(paused.status.success() && said.contains("`fanbridge resume lake`"), "{said}");
    let id = send(&bridge, 3, 20);
    await_lines(&home, "other", 23);
    assert_eq!(lines(&home, "lake").len(), 3);

    assert_eq!(bridge.metric("fanbridge_sink_paused", &["sink=\"lake\""]), 1.0);
    assert_eq!(bridge.metric("fanbridge_sink_paused", &["sink=\"other\""]), 0.0);
    assert_eq!(status(&bridge)["paused"]["reason"], "its consumers move");
    let said = |path: &str| -> Value {
        let answer = bridge.admin().get(path).expect("an answer");
        serde_json::from_str(&answer.text()).expect("JSON")
    };
    let sink = &said("/api/v1/sinks")["items"][0];
    assert_eq!((&sink["state"], &sink["paused"]["reason"]), (&"paused".into(), &"its consumers move".into()));
    let sentence = said("/api/v1/status")["sentence"].to_string();
    assert!(sentence.contains("lake is") && sentence.contains("paused: its consumers move"), "{sentence}");
    let ready = bridge.admin().get("/readyz").expect("an answer");
    assert_eq!(ready.status, 200);
    assert!(ready.text().contains("sink lake is paused since"), "{}", ready.text());
    let explained = home.run_verb(&["explain", &id, "--format", "json"]);
    let explained: Value = serde_json::from_str(&explained).expect("JSON");
    assert_eq!(
        (&explained["situation"], &explained["sinks"][0]["state"]),
        (&"paused".into(), &"paused".into())
    );
    let cause = explained["cause"].as_str().expect("a cause");
    assert!(cause.contains("lake is paused since") && cause.contains("(its consumers move)"), "{cause}");
    assert_eq!(explained["fix"], "`fanbridge resume lake`");
    let text = home.run_verb(&["explain", &id]);
    assert!(text.contains("is paused since") && text.contains("fanbridge resume lake"), "{text}");

    assert!(bridge.stop() < Duration::from_secs(3), "a paused sink holds no stop up");
    let bridge = home.start();
    bridge.assert_logs("the sink is paused, as it was before");
    send(&bridge, 23, 2);
    await_lines(&home, "other", 25);
    assert_eq!(lines(&home, "lake").len(), 3, "it is paused still");
    assert_eq!(status(&bridge)["paused"]["reason"], "its consumers move");
    let age = || bridge.metric("fanbridge_sink_oldest_pending_seconds", &["sink=\"lake\""]);
    await_until("what waits has an age", WITHIN, || (age() > 0.0).then_some(()));
    let top = home.run_verb(&["top", "--every", "100ms", "--count", "1"]);
    assert!(top.lines().any(|line| line.starts_with("lake ") && line.ends_with(" paused")), "{top}");

    let resumed = home.try_verb(&["resume", "lake"]);
    assert!(resumed.status.success(), "{}", String::from_utf8_lossy(&resumed.stderr));
    await_lines(&home, "lake", 25);
    await_until("its cursor is behind all of them", WITHIN, || {
        (status(&bridge)["cursor"] == 25).then_some(())
    });
    let mut distinct = lines(&home, "lake");
    assert_eq!(distinct.len(), 25);
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), 25, "each event once");
    assert_eq!(status(&bridge)["paused"], Value::Null);
    let again = home.try_verb(&["resume", "lake"]);
    assert!(again.status.success());
    assert!(String::from_utf8_lossy(&again.stderr).contains("lake was not paused"));
}

#[test]
fn a_sink_that_answers_wait_for_is_paused_by_force_only_and_its_deliveries_are_answered_503() {
    let _turn = turns::in_company();
    let home = home("ack: { after: [lake], within: 500ms }\n");
    let bridge = home.start();
    let path = "/api/v1/sinks/lake/pause";
    let asked = |body: &str| bridge.admin().post(path, CHANGE, body.as_bytes()).expect("an answer");
    let refused = asked(r#"{"reason":"a while"}"#);
    assert_eq!(refused.status, 409, "{}", refused.text());
    assert!(refused.text().contains("`ack.after` names `lake`"), "{}", refused.text());
    let refused = home.try_verb(&["pause", "lake", "--reason", "a while"]);
    assert_eq!(refused.status.code(), Some(1));
    send(&bridge, 0, 1);

    let paused = asked(r#"{"reason":"a while","force":true}"#);
    assert_eq!(paused.status, 200, "{}", paused.text());
    let body = r#"{"type":"call.created","call_cid":"default:late"}"#;
    let signature = signing::stream(body.as_bytes());
    let mut client = bridge.client();
    let mut post = || client.post("/in/stream-video", &[("x-signature", &signature)], body.as_bytes());
    assert_eq!(post().expect("an answer").status, 503);
    let resumed = bridge.admin().post("/api/v1/sinks/lake/resume", CHANGE, b"{}").expect("an answer");
    assert_eq!(resumed.status, 200, "{}", resumed.text());
    await_lines(&home, "lake", 2);
    assert!(post().expect("an answer").is_success(), "its event was stored, and lake has it now");
    assert_eq!(lines(&home, "lake").len(), 2);
}

#[test]
fn a_pause_that_cannot_be_says_what_is_wrong_and_changes_nothing() {
    let _turn = turns::in_company();
    let home = home("");
    let bridge = home.start();
    for (path, body, status, words) in [
        (
            "/api/v1/sinks/like/pause",
            r#"{"reason":"a"}"#,
            404,
            "no sink is named `like` (configured: lake, other)",
        ),
        ("/api/v1/sinks/lake/pause", r#"{"reason":" "}"#, 400, "expected a reason of 1 to 300 characters"),
        ("/api/v1/sinks/lake/pause", "{}", 400, "missing field `reason`"),
        ("/api/v1/sinks/lake/pause", r#"{"reason":"a","for":"1h"}"#, 400, "unknown field `for`"),
        ("/api/v1/sinks/like/resume", "{}", 404, "no sink is named `like`"),
    ] {
        let answer = bridge.admin().post(path, CHANGE, body.as_bytes()).expect("an answer");
        assert_eq!(answer.status, status, "{path} {body}: {}", answer.text());
        assert!(answer.text().contains(words), "{path} {body}: {}", answer.text());
    }
    let unguarded = bridge.admin().post("/api/v1/sinks/lake/pause", &[], br#"{"reason":"a"}"#);
    assert_eq!(unguarded.expect("an answer").status, 403, "any page could send that");
    assert_eq!(bridge.metric("fanbridge_sink_paused", &[]), 0.0);
    for wrong in [&["pause", "lake"][..], &["pause", "--reason", "a"], &["resume"]] {
        assert_eq!(home.try_verb(wrong).status.code(), Some(2), "{wrong:?}");
    }
    bridge.stop();
    let alone = home.try_verb(&["pause", "lake", "--reason", "a"]);
    assert_eq!(alone.status.code(), Some(75));
    let said = String::from_utf8_lossy(&alone.stderr).into_owned();
    assert!(said.contains("only a running bridge can change its sinks"), "{said}");
}
