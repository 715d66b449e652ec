//! What is genuine: taken, decoded, kept, and known again.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::message::{Message, OTHER_LISTED_TOPIC, TOPIC};
use crate::support::bridge::free_port;
use crate::support::{await_until, gzip, readers, signing, turns};
use crate::world::World;

const BODY: &str = "{\n  \"type\": \"call.created\", \"call_cid\": \"default:é \u{1F39E}\", \"n\": 0.10\n}";

/// Waits until so many events are in the topics' files.
fn await_delivered(world: &World, count: usize) {
    await_until("the events are delivered", Duration::from_secs(20), || {
        (world.bridge.metric("fanbridge_delivered_total", &[]) >= count as f64).then_some(())
    });
}

#[test]
fn a_signed_notification_becomes_one_event_with_the_bytes_that_were_published() {
    let _turn = turns::in_company();
    let world = World::start();
    let message = Message::notification(BODY).with("Subject", "é").signed();
    world.assert_taken(0, &message, "accepted");
    world.assert_taken(0, &message, "duplicate");
    world.assert_taken(0, &Message::notification(BODY).signed(), "duplicate");
    await_delivered(&world, 1);

    let arrivals = readers::files(&world.home.path("topics"));
    assert_eq!(arrivals.len(), 1);
    assert_eq!(arrivals[0].sha256, signing::sha256(BODY.as_bytes()), "byte for byte");
    assert_eq!(arrivals[0].id, signing::digest_id(BODY.as_bytes()));
    let event = &readers::file_events(&world.home.path("topics"))[0];
    assert_eq!(event["snsmessageid"], message.get("MessageId"));
    assert_eq!(event["snstopic"], TOPIC);
    assert_eq!(event["intake"], "sns-0");
    assert_eq!(world.double.connections(), 1, "the certificate was fetched once");
    assert!(world.service.calls().is_empty());
}

#[test]
fn a_trace_context_among_the_attributes_of_a_notification_is_carried_on_while_traces_are_on() {
    const SENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let _turn = turns::in_company();
    let world = World::start();
    let attributes = json!({ "traceparent": { "Type": "String", "Value": SENT } });
    let message =
        |body: &str| Message::notification(body).with_json("MessageAttributes", attributes.clone()).signed();
    world.assert_taken(0, &message(BODY), "accepted");
    await_delivered(&world, 1);
    let config = world.home.path("fanbridge.yaml");
    // Nobody listens there, which delays nothing.
    let traces = format!("traces: {{ endpoint: \"http://127.0.0.1:{}\" }}\n", free_port());
    fs::write(&config, traces + &fs::read_to_string(&config).unwrap()).unwrap();
    let world = world.restarted();
    world.assert_taken(0, &message(&BODY.replacen('{', "{ ", 1)), "accepted");
    await_delivered(&world, 1);
    let events = readers::file_events(&world.home.path("topics"));
    assert_eq!(events.len(), 2);
    assert_eq!(events[0].get("traceparent"), None, "traces were off");
    assert_eq!(events[1]["traceparent"], SENT);
}

#[test]
fn the_same_event_by_webhook_and_by_sns_is_one_event() {
    let _turn = turns::in_company();
    let world = World::start();
    let signature = signing::stream(BODY.as_bytes());
    let headers = [("x-signature", signature.as_str())];
    let by_webhook = || {
        let answer =
            world.bridge.client().post("/in/stream-video", &headers, BODY.as_bytes()).expect("an answer");
        answer.text()
    };
    let id = signing::digest_id(BODY.as_bytes());
    assert_eq!(by_webhook(), format!(r#"{{"verdict":"accepted","id":"{id}"}}"#));
    let by_sns = world.deliver(&Message::notification(BODY).signed());
    assert_eq!(by_sns.text(), format!(r#"{{"verdict":"duplicate","id":"{id}"}}"#));

    let other = BODY.replace("0.10", "0.1");
    world.assert_taken(
        0,
        &Message::notification(&other).with("TopicArn", OTHER_LISTED_TOPIC).signed(),
        "accepted",
    );
    await_delivered(&world, 2);
    assert_eq!(readers::files(&world.home.path("topics")).len(), 2);
}

#[test]
fn all_three_encodings_of_a_body_are_decoded() {
    let _turn = turns::in_company();
    let world = World::start();
    let bodies: Vec<String> = (0..3).map(|n| BODY.replace("0.10", &format!("{n}"))).collect();
    let texts = [
        bodies[0].clone(),
        BASE64_STANDARD.encode(&bodies[1]),
        BASE64_STANDARD.encode(gzip(bodies[2].as_bytes())),
    ];
    for text in &texts {
        world.assert_taken(0, &Message::notification(text).signed(), "accepted");
    }
    // The same body in another encoding is the same event.
    world.assert_taken(0, &Message::notification(&BASE64_STANDARD.encode(&bodies[0])).signed(), "duplicate");
    await_delivered(&world, 3);
    let mut found: Vec<_> = readers::files(&world.home.path("topics")).iter().map(|a| a.sha256).collect();
    let mut expected: Vec<_> = bodies.iter().map(|body| signing::sha256(body.as_bytes())).collect();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
}

#[test]
fn the_signature_covers_the_text_behind_every_escape() {
    let _turn = turns::in_company();
    let world = World::start();
    for text in [
        "\0",
        "a\u{0}b\u{1f}\u{7f}\"\\/\u{8}\u{c}\n\r\t",
        "\u{1F39E} \u{10FFFF} \u{2028}",
        "{\"type\":\"a\0\"}",
        "",
    ] {
        let message = Message::notification(text).with("Subject", text).signed();
        // Genuine, and no event: it is kept, and not refused.
        world.assert_taken(0, &message, "quarantined");
        // Every escape that JSON allows is the same text.
        let escaped: String =
            message.get("Message").encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
        let json = String::from_utf8(message.json()).unwrap();
        let plain = serde_json::to_string(text).unwrap();
        let json = json.replace(&format!("\"Message\": {plain}"), &format!("\"Message\": \"{escaped}\""));
        assert!(json.contains(&escaped));
        let answer = world.post(0, &[], json.as_bytes());
        assert_eq!(answer.status, 200, "{text:?}: {}", answer.text());
    }
}

#[test]
fn an_authentic_message_of_no_use_is_kept_and_answered_as_a_success() {
    let _turn = turns::in_company();
    let world = World::start();
    let broken = BASE64_STANDARD.encode(&gzip(BODY.as_bytes())[..20]);
    let bomb = BASE64_STANDARD.encode(gzip(&vec![b' '; 32 << 20]));
    for text in ["!!!not base64!!!", "[]", r#"{"no":"type"}"#, &broken, &bomb] {
        world.assert_taken(0, &Message::notification(text).signed(), "quarantined");
    }
    // In the words that a queue has for them, too.
    await_until("the dead letters are kept", Duration::from_secs(20), || {
        let kept = |reason: &str| world.bridge.metric("fanbridge_dead_letters_kept", &[reason]);
        let reasons = ["json", "not_object", "type", "bad_encoding", "too_large"];
        reasons.iter().all(|reason| kept(&format!("reason=\"{reason}\"")) == 1.0).then_some(())
    });
    let attributes = json!({ "family": { "Type": "String", "Value": "x" } });
    let message =
        Message::notification(BODY).with_json("MessageAttributes", attributes).with("SequenceNumber", "1");
    world.assert_taken(0, &message.signed(), "accepted");
}

#[test]
fn a_bridge_that_cannot_store_answers_503_and_asks_nobody_for_a_certificate() {
    let _turn = turns::in_company();
    let world = World::start_with(|setting, _| setting.full = true);
    for message in [Message::notification(BODY), Message::subscription(), Message::end()] {
        let answer = world.deliver(&message.signed());
        assert_eq!(answer.status, 503);
        assert!(answer.header("retry-after").is_some());
    }
    assert_eq!(world.double.connections(), 0);
    assert!(world.service.calls().is_empty());
}

#[test]
fn one_sample_of_every_family_lands_once_in_its_familys_topic() {
    let _turn = turns::in_company();
    let world = World::start();
    let types: Vec<Value> =
        serde_json::from_str(&world.home.run_verb(&["types", "--format", "json"])).unwrap();
    let streams = types.iter().filter(|event_type| event_type["provider"] == "stream");
    let by_family: BTreeMap<&str, &str> =
        streams.map(|t| (t["family"].as_str().unwrap(), t["type"].as_str().unwrap())).collect();
    assert!(by_family.len() > 20, "{by_family:?}");
    let mut expected = Vec::new();
    for (number, (family, name)) in by_family.iter().enumerate() {
        let body = json!({ "type": name, "created_at": "2026-11-21T06:40:11.402Z", "note": "é \u{1F39E} \0", "n": number });
        let body = serde_json::to_string_pretty(&body).unwrap();
        let text = match number % 3 {
            0 => body.clone(),
            1 => BASE64_STANDARD.encode(&body),
            _ => BASE64_STANDARD.encode(gzip(body.as_bytes())),
        };
        let message = Message::notification(&text).signed();
        world.assert_taken(0, &message, "accepted");
        world.assert_taken(0, &message, "duplicate");
        expected.push((
            format!("stream.{family}"),
            signing::digest_id(body.as_bytes()),
            signing::sha256(body.as_bytes()),
        ));
    }
    await_delivered(&world, expected.len());
    let arrivals = readers::files(&world.home.path("topics"));
    let mut found: Vec<_> =
        arrivals.into_iter().map(|arrival| (arrival.lane, arrival.id, arrival.sha256)).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    println!("{} families, each event once", expected.len());
    assert!(
        fs::read_to_string(world.home.path("log")).unwrap().contains("certificate"),
        "the double is warned of"
    );
}

#[test]
fn with_ack_after_a_notification_is_503_until_its_sink_has_the_event_and_what_is_no_event_always() {
    let _turn = turns::in_company();
    let world = World::start();
    let file = world.home.path("fanbridge.yaml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text + "ack: { after: [local], within: 500ms }\n").unwrap();
    // A file stands where the topic's directory has to be.
    let obstacle = world.home.path("topics").join("stream.video.call-lifecycle");
    fs::create_dir_all(world.home.path("topics")).unwrap();
    fs::write(&obstacle, "").unwrap();
    let world = world.restarted();
    let message = Message::notification(BODY).signed();
    world.assert_unavailable(0, &message, "ack_late");
    world.assert_unavailable(0, &Message::notification("no event").signed(), "ack_quarantined");
    fs::remove_file(&obstacle).unwrap();
    await_until("the notification is taken", Duration::from_secs(60), || {
        (world.deliver(&message).status == 200).then_some(())
    });
    assert_eq!(readers::files(&world.home.path("topics")).len(), 1, "once, and there when it was answered");
}
