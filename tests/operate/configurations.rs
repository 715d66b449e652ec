//! Events are judged by the configuration under which they were admitted, also after a restart with another.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use crate::support::bridge::{Bridge, Home};
use crate::support::{await_until, readers, servers, signing, turns};

/// How long the bridge may take to deliver.
const WITHIN: Duration = Duration::from_secs(30);

/// Configures the file sink `lake`, which takes these types and has these topics.
fn configure(home: &Home, select: &str, topic: &str) {
    let dir = home.path("lake");
    let lake = format!("{{ topic: \"{topic}\", select: {select}, file: {{ dir: {} }} }}", dir.display());
    home.configure("", &format!("sinks:\n  lake: {lake}\n"));
}

/// Sends an event of this type; its id.
#[track_caller]
fn send(bridge: &Bridge, event_type: &str, number: u64) -> String {
    let body = format!(r#"{{"type":"{event_type}","call_cid":"default:{number}"}}"#);
    let signature = signing::stream(body.as_bytes());
    let answer = bridge.client().post("/in/stream-video", &[("x-signature", &signature)], body.as_bytes());
    let answer = answer.expect("an answer");
    assert!(answer.is_success(), "{}", answer.text());
    let said: Value = serde_json::from_str(&answer.text()).expect("JSON");
    said["id"].as_str().expect("an id").to_owned()
}

/// Which ids a topic has.
fn ids(home: &Home, topic: &str) -> Vec<String> {
    let files = fs::read_dir(home.path("lake").join(topic)).into_iter().flatten();
    let files = files.map(|file| file.expect("readable").path());
    let texts = files.filter(|file| file.extension().is_some_and(|ending| ending == "jsonl"));
    let lines = texts.flat_map(|file| {
        fs::read_to_string(file).expect("readable").lines().map(str::to_owned).collect::<Vec<_>>()
    });
    let id = |line: String| {
        serde_json::from_str::<Value>(&line).expect("JSON")["id"].as_str().expect("an id").to_owned()
    };
    lines.map(id).collect()
}

fn await_settled(bridge: &Bridge, position: u64) {
    await_until("the sink's cursor is behind all events", WITHIN, || {
        let answer = bridge.admin().get("/api/status").expect("an answer");
        let status: Value = serde_json::from_str(&answer.text()).expect("JSON");
        (status["sinks"][0]["cursor"] == position).then_some(())
    });
}

fn explain(home: &Home, id: &str) -> Value {
    let explained = home.run_verb(&["explain", id, "--format", "json"]);
    serde_json::from_str(&explained).expect("JSON")
}

/// The fingerprint of the configuration that a bridge has.
pub fn fingerprint(bridge: &Bridge) -> String {
    let answer = bridge.admin().get("/api/v1/configuration").expect("an answer");
    let said: Value = serde_json::from_str(&answer.text()).expect("JSON");
    said["fingerprint"].as_str().expect("a fingerprint").to_owned()
}

#[test]
fn an_event_that_waits_over_a_restart_is_judged_by_the_configuration_under_which_it_came() {
    let _turn = turns::in_company();
    let home = Home::new();
    configure(&home, "[call.created]", "first");
    let bridge = home.start();
    let first = fingerprint(&bridge);
    home.run_verb(&["pause", "lake", "--reason", "a test"]);
    let taken = send(&bridge, "call.created", 1);
    let left_out = send(&bridge, "call.ended", 2);
    bridge.stop();

    // The same after a kill, which leaves the log without a footer and the state as it was.
    configure(&home, "[call.ended]", "second");
    for is_killed in [true, false] {
        let bridge = home.start();
        assert_ne!(fingerprint(&bridge), first);
        let said = explain(&home, &taken);
        assert_eq!(
            (&said["sinks"][0]["state"], &said["event"]["configuration"]),
            (&"paused".into(), &Value::from(first.as_str()))
        );
        let cause = said["cause"].as_str().expect("a cause");
        let words = format!(
            "it was admitted under configuration {first}, which counts for it; by that of now ({}) lake \
             would not take it",
            fingerprint(&bridge)
        );
        assert!(cause.contains(&words), "{cause}");
        let text = home.run_verb(&["explain", &taken]);
        assert!(text.contains(&format!("configuration {first}")), "{text}");
        let said = explain(&home, &left_out);
        assert!(
            said["fix"].as_str().is_some_and(|fix| fix.contains("fanbridge replay --sink lake")),
            "{said}"
        );
        assert_eq!(
            (&said["situation"], &said["sinks"][0]["rule_of"]),
            (&"no_sink".into(), &Value::from(first.as_str()))
        );
        match is_killed {
            true => bridge.kill(),
            false => assert!(bridge.stop() < WITHIN),
        }
    }

    let bridge = home.start();
    let now = send(&bridge, "call.ended", 3);
    send(&bridge, "call.created", 4);
    home.run_verb(&["resume", "lake"]);
    await_settled(&bridge, 4);
    assert_eq!(ids(&home, "first"), [""; 0], "its topic is that of now: one that was wrong can be mended");
    assert_eq!(ids(&home, "second"), [taken.clone(), now]);

    // A copy for the sink alone is for it, whatever it selects.
    home.run_verb(&["replay", "--sink", "lake", "--id", &left_out, "--yes"]);
    await_settled(&bridge, 5);
    assert_eq!(ids(&home, "second").last(), Some(&left_out));
    bridge.stop();
}

#[test]
fn a_configuration_that_is_used_again_judges_what_came_under_it_as_before() {
    let _turn = turns::in_company();
    let home = Home::new();
    let mut expected = Vec::new();
    for (number, select) in (0..).zip(["[call.created]", "[call.ended]", "[call.created]", "all"]) {
        configure(&home, select, "events");
        let bridge = home.start();
        if number == 0 {
            home.run_verb(&["pause", "lake", "--reason", "a test"]);
        }
        for event_type in ["call.created", "call.ended"] {
            let id = send(&bridge, event_type, number);
            if select.contains(event_type) || select == "all" {
                expected.push(id);
            }
        }
        bridge.stop();
    }
    configure(&home, "[call.updated]", "events");
    let bridge = home.start();
    home.run_verb(&["resume", "lake"]);
    await_settled(&bridge, 8);
    assert_eq!(ids(&home, "events"), expected);
    bridge.stop();
}

/// What keeps the events here is Kafka itself: their topic is missing.
#[test]
fn events_that_wait_for_kafka_over_a_restart_are_judged_by_the_configuration_under_which_they_came() {
    let _turn = turns::in_company();
    let Some(brokers) = servers::kafka("events of an earlier configuration") else { return };
    let topic = servers::own_name("earlier");
    let home = Home::new();
    let configure = |select: &str, selected: &str| {
        let kafka = format!("kafka: {{ brokers: \"{brokers}\" }}");
        let lake = format!("{{ topic: \"{topic}\", select: {selected}, {kafka} }}");
        home.configure("", &format!("select: {select}\nsinks:\n  lake: {lake}\n"));
    };
    configure("[call.created, call.ended]", "[call.created]");
    let bridge = home.start();
    let first = fingerprint(&bridge);
    let taken = send(&bridge, "call.created", 1);
    let left_out = send(&bridge, "call.ended", 2);
    let degraded = await_until("the sink waits for its topic", WITHIN, || bridge.degraded_because());
    assert!(degraded.starts_with("unknown_topic"), "{degraded}");
    bridge.kill();
    for segment in home.segments() {
        let bytes = fs::read(segment).expect("a segment");
        assert_eq!((&bytes[..8], &bytes[8..12]), (&b"fanspool"[..], &[3, 0, 0, 0][..]), "format 3");
    }

    // Now neither the bridge nor the sink takes what waits, and both take what the sink left out.
    configure("[call.ended, call.updated]", "[call.ended, call.updated]");
    let bridge = home.start();
    let second = fingerprint(&bridge);
    assert_ne!(second, first);
    let cause = await_until("the event is held", WITHIN, || {
        let said = explain(&home, &taken);
        (said["situation"] == "held").then(|| said["cause"].as_str().expect("a cause").to_owned())
    });
    let changed = format!(
        "it was admitted under configuration {first}, which counts for it; by that of now ({second}) `select` \
         would not take it, lake would not take it"
    );
    assert!(
        cause.contains(&format!("lake holds {topic}: unknown_topic")) && cause.contains(&changed),
        "{cause}"
    );
    let now = send(&bridge, "call.ended", 3);
    send(&bridge, "call.created", 4);
    servers::create_topic(&brokers, &topic, &[]);
    await_settled(&bridge, 3);
    assert!(explain(&home, &taken)["cause"].as_str().is_some_and(|cause| cause.contains(&changed)));
    bridge.stop();
    let mut found: Vec<_> = readers::kafka(&brokers, &[&topic])
        .iter()
        .map(|record| {
            (
                record.header("ce_sequence").parse::<u64>().expect("a number"),
                record.header("ce_id").to_owned(),
            )
        })
        .collect();
    found.sort();
    assert_eq!(found, [(1, taken), (3, now)], "{left_out} was for no sink");
}
