//! The shapes of event types: what the binary learns of them, says and keeps.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::bridge::{Bridge, Home};
use crate::support::load::STREAM_PATH;
use crate::support::{await_until, signing, turns};

const WITHIN: Duration = Duration::from_secs(30);
const NEWS: &str = "events of this type have another shape than before";

/// Sends an event of the type `call.created`, and returns its id.
#[track_caller]
fn send(bridge: &Bridge, number: u64, more: &str) -> String {
    let call = r#""type":"call.created","call_cid":"default:shape""#;
    let body = format!(r#"{{{call},"number":{number},"members":{{"jane@example.com":1}}{more}}}"#);
    let signature = signing::stream(body.as_bytes());
    let answer = bridge.client().post(STREAM_PATH, &[("x-signature", &signature)], body.as_bytes());
    assert!(answer.expect("an answer").is_success());
    signing::digest_id(body.as_bytes())
}

fn detail(bridge: &Bridge) -> Value {
    let answer = bridge.admin().get("/api/v1/types/stream/call.created").expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_slice(&answer.body).expect("JSON")
}

/// What is known of the type once its shape is as this says.
#[track_caller]
fn known(bridge: &Bridge, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    await_until(what, WITHIN, || {
        let detail = detail(bridge);
        is_so(&detail).then_some(detail)
    })
}

#[test]
fn a_new_member_of_a_type_is_reported_once_with_the_event_that_showed_it() {
    let _turn = turns::in_company();
    let home = Home::new();
    home.configure_files();
    let bridge = home.start();
    send(&bridge, 1, "");
    send(&bridge, 2, "");
    let shown = send(&bridge, 3, r#","reason":"canary-in-a-value""#);
    send(&bridge, 4, r#","reason":"canary-in-a-value""#);
    let detail = known(&bridge, "the change is there", |detail| detail["changes"].is_array());
    assert_eq!(detail["changes"][0]["path"], "/reason");
    assert_eq!((&detail["changes"][0]["what"], &detail["changes"][0]["id"]), (&json!("new"), &json!(shown)));
    let properties = &detail["shape"]["properties"];
    assert_eq!(properties["number"], json!({ "type": "integer" }));
    assert_eq!(properties["reason"], json!({ "type": "string" }));
    assert_eq!(
        properties["members"],
        json!({ "type": "object", "additionalProperties": { "type": "integer" } })
    );
    assert_eq!(detail["shape"]["required"], json!(["call_cid", "members", "number", "type"]));
    for data in ["canary-in-a-value", "default:shape", "jane"] {
        assert!(!detail.to_string().contains(data) && !bridge.log().contains(data), "{data}: {detail}");
    }
    bridge.assert_logs(NEWS);
    bridge.assert_logs("new /reason");
    bridge.assert_logs(&shown);
    bridge.stop();

    // A restart knows the shape, so what came before it is no news.
    let bridge = home.start();
    let before = known(&bridge, "the shape is kept", |detail| detail["learnt_from"] == 4);
    assert_eq!((&before["changes"], &before["shape"]["properties"]), (&detail["changes"], properties));
    send(&bridge, 5, r#","reason":"r""#);
    send(&bridge, 6, r#","reason":null"#);
    let after = known(&bridge, "another kind is a change", |detail| detail["changes"][1].is_object());
    assert_eq!(
        (&after["changes"][1]["path"], &after["changes"][1]["what"]),
        (&json!("/reason"), &json!("kind"))
    );
    assert_eq!(after["changes"].as_array().map(Vec::len), Some(2));
    assert_eq!(after["shape"]["properties"]["reason"], json!({ "type": ["null", "string"] }));
    assert_eq!(bridge.log().matches(NEWS).count(), 2, "{}", bridge.log());
    assert!(bridge.metric("fanbridge_shape_changes_total", &[]) >= 1.0);
    bridge.stop();
}

#[test]
fn filters_of_the_types_that_were_seen_combine() {
    let _turn = turns::in_company();
    let home = Home::new();
    let topics = home.path("topics");
    home.configure(
        "",
        &format!("select: [call.created]\nsinks:\n  local: {{ file: {{ dir: {} }} }}\n", topics.display()),
    );
    let bridge = home.start();
    for event_type in ["call.created", "call.ring", "my.own", "user.banned"] {
        let delivery = crate::support::load::Delivery::new(event_type, "default:types", 1, 0);
        assert!(delivery.send(&mut bridge.client()).expect("an answer").is_success());
    }
    let listed = |arguments: &[&str]| -> Vec<String> {
        let arguments = [&["types"], arguments, &["--format", "json"]].concat();
        let rows: Vec<Value> = serde_json::from_str(&home.run_verb(&arguments)).expect("JSON");
        rows.iter().map(|row| row["type"].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(listed(&["--seen"])[0], "my.own", "what is new and not selected comes first");
    assert_eq!(listed(&["--new"]), ["my.own"]);
    let mut unselected = listed(&["--unselected"]);
    unselected.sort();
    assert_eq!(unselected, ["call.ring", "my.own", "user.banned"]);
    assert_eq!(listed(&["--unselected", "--family", "video,unclassified"]).len(), 2);
    assert_eq!(listed(&["--new", "--family", "video"]), [""; 0]);
    let pasted = home.run_verb(&["types", "--unselected", "--family", "video", "--yaml"]);
    assert_eq!(pasted, "select:\n  # stream: video.ringing\n  - call.ring\n");
    bridge.stop();
}
