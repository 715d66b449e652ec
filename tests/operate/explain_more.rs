//! Explanations of what happened more than once, and of what has not happened yet.

use std::fs;
use std::process::Output;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::bridge::{Home, free_port};
use crate::support::inject::{self, FileFault};
use crate::support::load::Delivery;
use crate::support::{await_until, turns};

const WITHIN: Duration = Duration::from_secs(30);

fn call(number: u64, bytes: usize) -> Delivery {
    Delivery::new("call.created", "default:explain-more", number, bytes)
}

/// The explanation of an id once it is so.
#[track_caller]
fn explained(home: &Home, id: &str, is_so: impl Fn(&Value) -> bool) -> (Value, String) {
    let json = await_until("the explanation is as it is to become", WITHIN, || {
        let output = home.try_verb(&["explain", id, "--format", "ndjson"]);
        let json: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        is_so(&json).then_some(json)
    });
    let Output { stdout, .. } = home.try_verb(&["explain", id]);
    (json, String::from_utf8(stdout).unwrap())
}

fn cause(json: &Value) -> &str {
    json["cause"].as_str().unwrap_or_default()
}

#[test]
fn a_second_delivery_is_told_as_the_copy_that_it_is() {
    let _turn = turns::in_company();
    let home = Home::new();
    home.configure_files();
    let bridge = home.start();
    let once = call(1, 0);
    for _ in 0..2 {
        assert!(once.send(&mut bridge.client()).expect("an answer").is_success());
    }
    let is_so = |json: &Value| json["duplicates"] == 1 && json["sinks"][0]["state"] == "delivered";
    let (json, text) = explained(&home, &once.id, is_so);
    let words = "; it came once more, a copy of the event at position 1; published once";
    assert!(cause(&json).starts_with("delivered to local: ") && cause(&json).ends_with(words), "{json}");
    let steps: Vec<_> = json["steps"].as_array().expect("steps").iter().map(|step| &step["step"]).collect();
    assert_eq!(steps.len(), 3, "accepted, published and the duplicate: {json}");
    assert!(text.contains("duplicate by stream-video in "), "{text}");
    assert!(text.contains("local has it: stream.video.call-lifecycle 00000001.jsonl@0 +"), "{text}");
    assert!(text.lines().all(|line| line.starts_with("see:") || line.chars().count() <= 80), "{text}");
    assert!(once.send(&mut bridge.client()).expect("an answer").is_success());
    let (json, _) = explained(&home, &once.id, |json| json["duplicates"] == 2);
    assert!(
        cause(&json).contains("it came 2 times more, each time a copy of the event at position 1"),
        "{json}"
    );
}

#[test]
fn a_redriven_event_says_that_it_was_a_dead_letter_and_where_it_is_now() {
    let _turn = turns::in_company();
    let home = Home::new();
    let small = format!(
        "sinks:\n  lake: {{ kafka: {{ brokers: \"127.0.0.1:{}\", properties: {{ message.max.bytes: 1000 }} }} }}\n",
        free_port()
    );
    home.configure("", &small);
    let bridge = home.start();
    let large = call(1, 4000);
    assert!(large.send(&mut bridge.client()).expect("an answer").is_success());
    // The steps are collected a moment later.
    // Before the rejection can stand that nobody answers there.
    let is_so = |json: &Value| {
        let steps = json["steps"].as_array().map(Vec::as_slice).unwrap_or_default();
        json["sinks"][0]["state"] == "dead_letter" && steps.iter().any(|one| one["step"] == "rejected")
    };
    let (_, text) = explained(&home, &large.id, is_so);
    assert!(text.contains("lake rejected it: too_large"), "{text}");
    bridge.stop();

    // The sink of this name takes it now.
    let files = format!("sinks:\n  lake: {{ file: {{ dir: {} }} }}\n", home.path("topics").display());
    home.configure("", &files);
    let bridge = home.start();
    home.run_verb(&["dead", "redrive", "1", "--yes"]);
    let (json, _) = explained(&home, &large.id, |json| json["sinks"][0]["state"] == "delivered");
    assert_eq!(json["sinks"][0]["redriven"], 2, "{json}");
    let words = "a dead letter of lake, redriven as entry 2, delivered to lake: stream.video.call-lifecycle";
    assert!(cause(&json).starts_with(words), "{json}");
    drop(bridge);
}

#[test]
fn a_delivery_that_the_disk_keeps_waiting_is_not_said_to_be_lost() {
    let _turn = turns::in_company();
    if !inject::can_attach("an explanation of what is not durable yet") {
        return;
    }
    let home = Home::new();
    let files = format!("sinks:\n  local: {{ file: {{ dir: {} }} }}\n", home.path("topics").display());
    home.configure("", &format!("limits: {{ ack_timeout: 1s }}\n{files}"));
    let bridge = home.start();
    assert!(call(1, 0).send(&mut bridge.client()).expect("an answer").is_success());
    let spool = fs::read_dir(home.path("spool")).unwrap().map(|entry| entry.unwrap().path());
    let segment = spool.filter(|path| path.extension().is_some_and(|ending| ending == "log")).last();
    let fault = FileFault::begin(bridge.pid(), &segment.unwrap(), "fdatasync:delay_enter=8000000");
    let late = call(2, 0);
    assert_eq!(late.send(&mut bridge.client()).expect("an answer").status, 503);
    let (json, _) = explained(&home, &late.id, |json| json["situation"] == "unanswered");
    assert!(cause(&json).starts_with("not yet durable: the disk has not answered for 1 s"), "{json}");
    assert!(cause(&json).contains("answered 503; the provider sends it again"), "{json}");
    assert!(json["fix"].as_str().expect("a fix").contains("look at the disk"), "{json}");
    assert_eq!((&json["event"]["source"], &json["found"]), (&json!("/stream/default"), &json!("one")));
    drop(fault);
    explained(&home, &late.id, |json| json["sinks"][0]["state"] == "delivered");
}
