//! What a running bridge tells of itself.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use serde_json::Value as Json;

use super::Diagnosis;
use crate::support::bridge::{Bridge, Home};
use crate::support::clock::WallClock;
use crate::support::load::Delivery;
use crate::support::oracle::Ledger;
use crate::support::servers::{self, own_name};
use crate::support::{await_until, turns};

const PATIENCE: Duration = Duration::from_secs(30);

fn deliver(bridge: &Bridge, count: u64) {
    let (ledger, mut client) = (Ledger::default(), bridge.client());
    for number in 0..count {
        Delivery::new("call.created", "default:doctor", number, 0).hand_over(&mut client, &ledger);
    }
}

fn facts(bridge: &Bridge) -> Json {
    let answer = bridge.admin().get("/api/v1/doctor/facts").unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_slice(&answer.body).unwrap()
}

#[test]
fn a_running_bridge_tells_what_no_other_process_knows_and_its_disk_is_not_measured_beside_it() {
    let _turn = turns::in_company();
    let home = Home::new();
    home.configure_files();
    let bridge = home.start();
    let only = ["--only", "bridge.degraded,process.descriptors,disk.fdatasync"];
    let said = Diagnosis::of(&home, &only);
    said.mentions("disk.fdatasync", &["writes"]);

    deliver(&bridge, 150);
    let said = Diagnosis::of(&home, &only);
    said.says("bridge.degraded", "ok", &["takes deliveries", "no part of it is degraded"]);
    said.says("process.descriptors", "ok", &["the running bridge has", "files open"]);
    said.mentions("disk.fdatasync", &["p99", "of the running bridge"]);
    assert_eq!(said.code, Some(0), "{:#}", said.report);
    await_until("its sink has published, which the facts tell", Duration::from_secs(30), || {
        let told = facts(&bridge);
        let topic = told["sinks"][0]["published"][0].as_str()?.to_owned();
        let is_told = told["files_open"].as_u64()? > 8 && told["fdatasyncs"].as_u64()? >= 100;
        (is_told && topic.starts_with("stream.video")).then_some(())
    });

    home.run_verb(&["pause", "local", "--reason", "its consumers move"]);
    Diagnosis::of(&home, &only).warns("bridge.degraded", &["paused since", "move", "fanbridge resume local"]);
    home.run_verb(&["resume", "local"]);

    let text = fs::read_to_string(home.path("fanbridge.yaml")).unwrap();
    fs::write(home.path("fanbridge.yaml"), format!("{text}# changed since\n")).unwrap();
    Diagnosis::of(&home, &only).warns("bridge.degraded", &["runs with configuration", "restart"]);
    bridge.stop();
    Diagnosis::of(&home, &only).says("bridge.degraded", "skipped", &["no bridge runs"]);
}

#[test]
fn what_a_sink_has_published_answers_what_no_question_to_a_broker_can() {
    let _turn = turns::in_company();
    let Some(brokers) = servers::kafka("what a sink has published") else { return };
    let home = Home::new();
    let (there, missing) = (own_name("doctor-published"), own_name("doctor-held"));
    servers::create_topic(&brokers, &there, &[]);
    let sink = |topic: &str| format!("{{ kafka: {{ brokers: \"{brokers}\" }}, topic: {topic} }}");
    home.configure(
        "",
        &format!(
            "select: [call.created]\nsinks:\n  there: {}\n  missing: {}\n",
            sink(&there),
            sink(&missing)
        ),
    );
    let bridge = home.start();
    let only = ["--only", "kafka.write,kafka.clock,bridge.degraded"];
    let said = Diagnosis::of(&home, &only);
    said.says("kafka.write", "unknown", &["there", "shows only when a record is published"]);
    said.says("kafka.clock", "unknown", &["there", "does not tell its time"]);

    deliver(&bridge, 3);
    await_until("both sinks have said something", PATIENCE, || {
        let told = facts(&bridge);
        let sinks = told["sinks"].as_array().unwrap();
        let of = |name| sinks.iter().find(|sink| sink["name"] == name).unwrap();
        let is_held = !of("missing")["held"].as_array().unwrap().is_empty();
        (of("there")["published"][0] == there && is_held).then_some(())
    });
    let said = Diagnosis::of(&home, &only);
    said.says("kafka.write", "ok", &["there", "1 topic took records"]);
    said.says("kafka.clock", "ok", &["there", "this machine's time"]);
    let degraded = said.findings("bridge.degraded");
    assert!(degraded.iter().any(|finding| finding["subject"] == "sink missing"), "{:#}", said.report);
    said.says("kafka.write", "unknown", &["missing"]);
    bridge.stop();
}

#[test]
fn a_clock_that_a_topic_does_not_take_is_a_failure() {
    let _turn = turns::in_company();
    let Some(brokers) = servers::kafka("a clock that a topic does not take") else { return };
    let home = Home::new();
    let Some(clock) = WallClock::new(&home, "a clock that a topic does not take") else { return };
    let topic = own_name("doctor-clock");
    servers::create_topic(&brokers, &topic, &[("message.timestamp.after.max.ms", "60000")]);
    let sinks = format!("sinks:\n  lake: {{ kafka: {{ brokers: \"{brokers}\" }}, topic: {topic} }}\n");
    home.configure("", &format!("select: [call.created]\n{sinks}"));
    clock.set(3600);
    let bridge = clock.start(&home);
    deliver(&bridge, 1);
    await_until("the topic has refused the time", PATIENCE, || {
        (facts(&bridge)["sinks"][0]["held"][0]["reason"] == "clock").then_some(())
    });
    let said = Diagnosis::of(&home, &["--only", "kafka.clock"]);
    said.fails("kafka.clock", &[&topic, "clock"]);
    bridge.kill();
}

#[test]
fn another_program_at_the_admin_address_is_not_taken_for_a_bridge_that_is_well() {
    let home = Home::new();
    home.configure_files();
    let listener = TcpListener::bind(("127.0.0.1", home.admin)).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ =
                stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
    });
    let said = Diagnosis::of(&home, &["--only", "bridge.degraded"]);
    said.says("bridge.degraded", "unknown", &["tells nothing"]);
    let strict = Diagnosis::of(&home, &["--only", "bridge.degraded", "--strict"]);
    assert_eq!((said.code, strict.code), (Some(0), Some(1)));
}
