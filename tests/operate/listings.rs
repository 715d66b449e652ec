//! How things are, and the listings of sinks, sources, types and the spool, over HTTP.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::bridge::{Bridge, Home, free_port};
use crate::support::load::{Delivery, STREAM_PATH};
use crate::support::{await_until, signing, turns};

const WITHIN: Duration = Duration::from_secs(30);

/// A bridge that takes two types, writes one to files, and has a sink for the other whose broker is nowhere.
fn home() -> Home {
    let home = Home::new();
    let sinks = format!(
        "select: [call.created, call.ended]\n\
         sinks:\n\
         \x20 local: {{ select: [call.created], file: {{ dir: {} }} }}\n\
         \x20 lake: {{ select: [call.ended], kafka: {{ brokers: \"127.0.0.1:{}\" }} }}\n",
        home.path("topics").display(),
        free_port()
    );
    home.configure("", &sinks);
    home
}

/// A document of the API.
#[track_caller]
fn get(bridge: &Bridge, path: &str) -> Value {
    let answer = bridge.admin().get(&format!("/api/v1/{path}")).expect("an answer");
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    serde_json::from_slice(&answer.body).expect("JSON")
}

/// The item of this name.
#[track_caller]
fn item(listing: &Value, name: &str) -> Value {
    let items = listing["items"].as_array().expect("items");
    items.iter().find(|item| item["name"] == name).cloned().unwrap_or_else(|| panic!("{name}: {listing}"))
}

#[track_caller]
fn send(bridge: &Bridge, event_type: &str, number: u64) {
    let delivery = Delivery::new(event_type, "default:listings", number, 0);
    let answer = delivery.send(&mut bridge.client()).expect("an answer");
    assert!(answer.is_success(), "{}", answer.text());
}

#[test]
fn the_listings_say_what_came_what_was_delivered_and_what_waits_for_what() {
    let _turn = turns::in_company();
    let home = home();
    let bridge = home.start();
    let calm = get(&bridge, "status");
    assert_eq!(calm["sentence"], "Accepting; nothing waits", "{calm}");
    assert_eq!((&calm["ready"], &calm["last_event"]), (&json!(true), &Value::Null));

    for number in 0..3 {
        send(&bridge, "call.created", number);
    }
    send(&bridge, "call.created", 0);
    send(&bridge, "call.ring", 4);
    let refused =
        bridge.client().post(STREAM_PATH, &[("x-signature", &"0".repeat(64))], b"{}").expect("an answer");
    assert_eq!(refused.status, 401);

    let local = await_until("the files have three events", WITHIN, || {
        let local = item(&get(&bridge, "sinks"), "local");
        (local["cursor"] == 3 && local["state"] == "idle").then_some(local)
    });
    assert_eq!(
        (&local["kind"], &local["delivered"], &local["lag_events"]),
        (&json!("file"), &json!(3), &json!(0))
    );
    assert!(local["rate"]["delivered_per_second"].as_f64().expect("a rate") > 0.0, "{local}");
    assert!(local["delivery_ms"]["p99"].as_f64().expect("a time") > 0.0, "{local}");
    assert_eq!((&local["held"], &local["rejected"]), (&json!([]), &json!({})));
    await_until("the sentence says when the last event came", WITHIN, || {
        let status = get(&bridge, "status");
        let sentence = status["sentence"].as_str().expect("a sentence").to_owned();
        let is_so =
            sentence.starts_with("Accepting; nothing waits; last event ") && sentence.ends_with(" s ago");
        is_so.then_some(())
    });

    let source = item(&get(&bridge, "sources"), "stream-video");
    let verdicts = json!({ "accepted": 3, "filtered": 1, "duplicate": 1, "quarantined": 0 });
    assert_eq!(source["verdicts"], verdicts, "{source}");
    assert_eq!(source["refused"], json!({ "wrong_signature": 1 }), "{source}");
    assert_eq!(source["answers"], json!({ "200": 5, "401": 1 }), "{source}");
    assert_eq!(source["secrets"], json!([{ "name": "env:STREAM_SECRET", "deliveries": 5 }]));
    assert_eq!((&source["kind"], &source["provider"]), (&json!("webhook"), &json!("stream")));
    assert!(source["rate"]["refused_per_second"].as_f64().expect("a rate") > 0.0, "{source}");
    let idle = item(&get(&bridge, "sources"), "fastpix");
    assert_eq!((&idle["answers"], &idle["ack_ms"]["p50"]), (&json!({}), &Value::Null));

    let spool = get(&bridge, "spool");
    assert_eq!(
        (&spool["accepting"], &spool["head"], &spool["corrupt_records"]),
        (&json!(true), &json!(3), &json!(0))
    );
    assert!(spool["fdatasync_ms"]["p50"].as_f64().expect("a time") > 0.0, "{spool}");
    assert!(spool["capacity_left"].as_u64() <= spool["capacity_whole"].as_u64(), "{spool}");
    assert_eq!(spool["seconds_to_full"], Value::Null, "nothing says that it fills: {spool}");
}

#[test]
fn a_sink_that_cannot_publish_is_named_first_with_what_keeps_it() {
    let _turn = turns::in_company();
    let home = home();
    let bridge = home.start();
    send(&bridge, "call.ended", 1);
    let lake = await_until("the sink says that it is in trouble", WITHIN, || {
        let lake = item(&get(&bridge, "sinks"), "lake");
        (lake["state"] == "degraded").then_some(lake)
    });
    assert_eq!((&lake["lag_events"], &lake["delivered"]), (&json!(1), &json!(0)), "{lake}");
    assert!(lake["oldest_pending_seconds"].as_f64().expect("an age") > 0.0, "{lake}");
    assert!(lake["degraded_because"].as_str().is_some(), "{lake}");
    let status = get(&bridge, "status");
    let sentence = status["sentence"].as_str().expect("a sentence");
    assert!(sentence.starts_with("lake is ") && sentence.contains(" behind: "), "{sentence}");
    assert_eq!(item(&get(&bridge, "sinks"), "local")["state"], "idle");
}

#[test]
fn a_type_says_how_often_it_came_and_where_it_goes() {
    let _turn = turns::in_company();
    let home = home();
    let bridge = home.start();
    for (event_type, number) in [("call.created", 1), ("call.created", 1), ("call.ring", 2), ("my.own", 3)] {
        send(&bridge, event_type, number);
    }
    let listing = get(&bridge, "types");
    let items = listing["items"].as_array().expect("items");
    let names: Vec<_> = items.iter().map(|item| item["type"].as_str().expect("a name")).collect();
    assert_eq!(names, ["my.own", "call.ring", "call.created"], "what needs a decision comes first");
    let created = &items[2];
    assert_eq!((&created["count"], &created["family"]), (&json!(2), &json!("video.call-lifecycle")));
    assert_eq!(created["verdicts"], json!({ "accepted": 1, "duplicate": 1 }));
    assert_eq!((&created["new"], &created["selected_by"]), (&json!(false), &json!(["local"])));
    assert!(created["first_seen"].as_str() <= created["last_seen"].as_str(), "{created}");

    let one = get(&bridge, "types/stream/call.created");
    assert_eq!((&one["arrived"], &one["type"]), (created, &json!("call.created")));
    assert_eq!((&one["takes"], &one["provider"]), (&json!(true), &json!("stream")));
    let never_came = get(&bridge, "types/stream/call.rejected");
    assert_eq!((&never_came["arrived"], &never_came["takes"]), (&Value::Null, &json!(false)));
    assert!(never_came["cause"].as_str().expect("a cause").contains("not on it"), "{never_came}");
    for path in ["types/stream/nobody.sends", "types/nobody/call.created"] {
        let answer = bridge.admin().get(&format!("/api/v1/{path}")).expect("an answer");
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
    }
}

#[test]
fn no_listing_has_a_secret_or_a_body() {
    let _turn = turns::in_company();
    let home = home();
    let bridge = home.start();
    let body = br#"{"type":"call.created","call_cid":"default:1","note":"canary-in-a-body"}"#;
    let answer = bridge.client().post(STREAM_PATH, &[("x-signature", &signing::stream(body))], body);
    assert!(answer.expect("an answer").is_success());
    for path in ["status", "sinks", "sources", "spool", "types", "types/stream/call.created"] {
        let text = get(&bridge, path).to_string();
        for word in ["canary-in-a-body", signing::STREAM_SECRET, signing::FASTPIX_SECRET] {
            assert!(!text.contains(word), "{path}: {text}");
        }
    }
}
