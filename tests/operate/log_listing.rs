//! The entries of the log, listed by the admin API.

use serde_json::Value;

use crate::support::bridge::{Bridge, Home};
use crate::support::{signing, turns};

/// A text that no listing may have.
const CANARY: &str = "canary-in-a-body";

fn send(bridge: &Bridge, body: &str) -> String {
    let signature = signing::stream(body.as_bytes());
    let answer = bridge.client().post("/in/stream-video", &[("x-signature", &signature)], body.as_bytes());
    let answer = answer.expect("an answer");
    assert!(answer.is_success(), "{}", answer.text());
    let said: Value = serde_json::from_str(&answer.text()).expect("JSON");
    said["id"].as_str().expect("an id").to_owned()
}

fn call(event_type: &str, number: u64) -> String {
    format!(r#"{{"type":"{event_type}","call_cid":"default:{number}","note":"{CANARY}"}}"#)
}

/// A page; its text has no part of a body.
#[track_caller]
fn page(bridge: &Bridge, query: &str) -> Value {
    let answer = bridge.admin().get(&format!("/api/v1/log?{query}")).expect("an answer");
    assert_eq!(answer.status, 200, "{query}: {}", answer.text());
    assert!(!answer.text().contains(CANARY), "{query}: {}", answer.text());
    serde_json::from_str(&answer.text()).expect("JSON")
}

fn positions(page: &Value) -> Vec<u64> {
    let items = page["items"].as_array().expect("items");
    items.iter().map(|item| item["position"].as_u64().expect("a position")).collect()
}

#[test]
fn the_log_is_listed_newest_first_in_pages_that_leave_nothing_out() {
    let _turn = turns::in_company();
    let home = Home::new();
    home.configure_files();
    let bridge = home.start();
    let mut ids: Vec<String> = (1..=20).map(|number| send(&bridge, &call("call.created", number))).collect();
    // What is on disk outlives a restart.
    bridge.stop();
    let bridge = home.start();
    ids.extend((21..=30).map(|number| send(&bridge, &call("call.ended", number))));

    let (mut query, mut listed, mut pages) = ("limit=7".to_owned(), Vec::new(), 0);
    loop {
        let page = page(&bridge, &query);
        let items = page["items"].as_array().expect("items").iter();
        listed.extend(items.map(|item| item["id"].as_str().expect("an id").to_owned()));
        pages += 1;
        assert_eq!(page["complete"], page["next"].is_null(), "{page}");
        let Some(next) = page["next"].as_str() else { break };
        query = format!("limit=7&before={next}");
    }
    ids.reverse();
    assert_eq!(listed, ids);
    assert!((5..=6).contains(&pages), "{pages}");

    let first = &page(&bridge, "before=2")["items"][0];
    assert_eq!((&first["position"], &first["type"]), (&1.into(), &"call.created".into()), "{first}");
    assert_eq!((&first["intake"], &first["provider"]), (&"stream-video".into(), &"stream".into()));
    assert_eq!((&first["key"], &first["family"]), (&"default:1".into(), &"video.call-lifecycle".into()));
    assert_eq!(first["bytes"], call("call.created", 1).len());
}

#[test]
fn entries_are_chosen_by_type_family_source_and_time() {
    let _turn = turns::in_company();
    let home = Home::new();
    home.configure_files();
    let bridge = home.start();
    send(&bridge, &call("call.created", 1));
    send(&bridge, &call("call.ended", 2));
    send(&bridge, &format!(r#"{{"type":"call.created","note":"{CANARY}","type":"call.ended"}}"#));
    send(&bridge, &call("call.created", 4));
    let whole = page(&bridge, "");
    assert_eq!(positions(&whole), [4, 3, 2, 1]);
    let quarantined = &whole["items"][1];
    assert_eq!((&quarantined["reason"], quarantined.get("type")), (&"duplicate_key".into(), None));
    let arrived = |at: usize| whole["items"][at]["arrived"].as_str().expect("a moment").to_owned();
    for (query, expected) in [
        ("type=call.created".to_owned(), &[4, 1][..]),
        ("family=video.call-lifecycle&limit=1".to_owned(), &[4]),
        ("source=fastpix".to_owned(), &[]),
        ("source=stream-video&type=call.ended".to_owned(), &[2]),
        (format!("since={}", arrived(1)), &[4, 3]),
        (format!("until={}", arrived(2)), &[1]),
        (format!("since={}&until={}", arrived(2), arrived(1)), &[2]),
    ] {
        assert_eq!(positions(&page(&bridge, &query)), expected, "{query}");
    }
    for wrong in [
        "limit=0",
        "limit=1001",
        "before=x",
        "since=yesterday",
        "until=1",
        "nothing=1",
        "since=2026-11-21T06:00:00Z&until=2026-11-21T06:00:00Z",
    ] {
        let answer = bridge.admin().get(&format!("/api/v1/log?{wrong}")).expect("an answer");
        assert_eq!(answer.status, 400, "{wrong}: {}", answer.text());
        assert!(answer.text().contains("bad_query"), "{wrong}: {}", answer.text());
    }
}
