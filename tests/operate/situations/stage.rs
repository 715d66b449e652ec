//! What situations are made of.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use crate::support::bridge::{Bridge, Home, free_port};
use crate::support::client::Answer;
use crate::support::load::{Delivery, STREAM_PATH};
use crate::support::{await_until, signing};

/// A text of bodies that no answer may have.
pub const CANARY: &str = "canary-in-a-body";
/// How long a delivery may take to be stored.
const WITHIN: Duration = Duration::from_secs(30);

/// A home with this selection and these sinks, each with its own lines.
pub fn home(select: &str, sinks: &[(&str, String)]) -> Home {
    let home = Home::new();
    configure(&home, "", &format!("select: {select}\n"), sinks);
    home
}

/// Configures a home anew.
pub fn configure(home: &Home, spool: &str, rest: &str, sinks: &[(&str, String)]) {
    let sinks: String = sinks.iter().map(|(name, sink)| format!("  {name}: {{ {sink} }}\n")).collect();
    home.configure(
        spool,
        &format!("{rest}sinks:\n{}", sinks.replace("HOME", home.path("").to_str().unwrap())),
    );
}

/// A sink of files in the home's directory of this name.
pub fn files(name: &str) -> String {
    format!("file: {{ dir: \"HOME{name}\" }}")
}

/// A sink of Kafka topics whose brokers do not exist.
pub fn nobody() -> String {
    format!("kafka: {{ brokers: \"127.0.0.1:{}\" }}", free_port())
}

/// A body of a type.
pub fn body(event_type: &str) -> String {
    format!(r#"{{"type":"{event_type}","call_cid":"default:1","note":"{CANARY}"}}"#)
}

/// Posts a body to `stream-video`.
pub fn post(bridge: &Bridge, body: &[u8]) -> Answer {
    let signature = signing::stream(body);
    bridge.client().post(STREAM_PATH, &[("x-signature", &signature)], body).expect("an answer")
}

/// The same of a body that is taken; the id that it was given.
#[track_caller]
pub fn send(bridge: &Bridge, body: &str) -> String {
    let answer = post(bridge, body.as_bytes());
    assert!(answer.is_success(), "{}", answer.text());
    let said: Value = serde_json::from_str(&answer.text()).expect("JSON");
    said["id"].as_str().expect("an id").to_owned()
}

/// The number of a refused request, as `explain` takes it.
#[track_caller]
pub fn request(answer: &Answer) -> String {
    let document: Value =
        serde_json::from_slice(&answer.body).unwrap_or_else(|_| panic!("{}", answer.text()));
    document["instance"].as_str().expect("an instance").to_owned()
}

/// An event about a call of so many bytes, which no compression makes smaller.
pub fn call(number: u64, bytes: usize) -> Delivery {
    Delivery::new("call.created", "default:situations", number, bytes)
}

/// Keys of a spool that a hundred and fifty events of sixty kilobytes fill, and of bodies of that size.
pub const SMALL_SPOOL: &str = "bytes_max: 9 MiB, segment_bytes: 1100 KiB, retain: 0s";
/// The limits that go with it.
pub const SMALL_BODIES: &str = "limits: { body_bytes_max: 64 KiB, inflated_bytes_max: 64 KiB }\n";
/// The bytes of an event of which so few fill it.
pub const LARGE: usize = 60_000;

/// Sends so many large events, each until it is taken; the id of the first.
pub fn fill(bridge: &Bridge, count: u64) -> String {
    let mut client = bridge.client();
    for number in 0..count {
        let event = call(number, LARGE);
        await_until("a large event is taken", WITHIN, || {
            event.send(&mut client).is_ok_and(|answer| answer.is_success()).then_some(())
        });
    }
    call(0, LARGE).id
}

/// Waits until the first segment of the log is gone.
pub fn await_pruned(home: &Home) {
    let first = home.path("spool").join("00000000000000000001.log");
    await_until("the oldest events have given way", WITHIN, || (!first.exists()).then_some(()));
}

/// Waits until a sink has settled all that it has to.
pub fn await_settled(bridge: &Bridge, sink: &str) {
    await_until(&format!("{sink} is at the end of the log"), WITHIN, || {
        let label = format!("sink=\"{sink}\"");
        (bridge.metric("fanbridge_sink_lag_records", &[&label]) == 0.0).then_some(())
    });
}

/// Where a line of the configuration begins with this key, as an explanation names it.
pub fn place(home: &Home, key: &str) -> String {
    let path = home.path("fanbridge.yaml");
    let text = fs::read_to_string(&path).expect("the configuration");
    let line = text.lines().position(|line| line.trim_start().starts_with(key)).expect("the key is there");
    format!("{}:{}:", path.display(), line + 1)
}
