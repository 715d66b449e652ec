//! A sink that is added begins where its `from` says.

use std::collections::BTreeSet;
use std::fs;
use std::thread;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::support::bridge::{Bridge, Home};
use crate::support::load::Delivery;
use crate::support::{await_until, turns};

const WITHIN: Duration = Duration::from_secs(30);

/// Configures file sinks of these names, each with its `from`.
fn configure(home: &Home, sinks: &[(&str, &str)]) {
    let sink = |(name, from): &(&str, &str)| {
        format!("  {name}: {{ file: {{ dir: {} }}, from: {from} }}\n", home.path(name).display())
    };
    home.configure("", &format!("sinks:\n{}", sinks.iter().map(sink).collect::<String>()));
}

fn send(bridge: &Bridge, numbers: std::ops::Range<u64>) -> BTreeSet<String> {
    let mut client = bridge.client();
    let send = |number| {
        let delivery = Delivery::new("call.created", "default:from", number, 0);
        assert!(delivery.send(&mut client).expect("an answer").is_success());
        delivery.id
    };
    numbers.map(send).collect()
}

/// The ids that a sink has; none twice.
fn has(home: &Home, sink: &str) -> BTreeSet<String> {
    let file = home.path(sink).join("stream.video.call-lifecycle/00000001.jsonl");
    let text = fs::read_to_string(file).unwrap_or_default();
    let id = |line: &str| {
        let line: Value = serde_json::from_str(line).expect("JSON");
        line["id"].as_str().expect("an id").to_owned()
    };
    let ids: Vec<String> = text.lines().map(id).collect();
    let distinct: BTreeSet<String> = ids.iter().cloned().collect();
    assert_eq!(distinct.len(), ids.len(), "{sink} has an event twice");
    distinct
}

#[track_caller]
fn await_has(home: &Home, sink: &str, ids: &BTreeSet<String>) {
    await_until(&format!("{sink} has {} events", ids.len()), WITHIN, || {
        (has(home, sink).len() >= ids.len()).then_some(())
    });
    assert_eq!(has(home, sink), *ids, "{sink}");
}

#[test]
fn a_new_sink_starts_from_the_hour_it_was_given() {
    let _turn = turns::in_company();
    let home = Home::new();
    configure(&home, &[("lake", "next")]);
    let bridge = home.start();
    let before = send(&bridge, 0..20);
    thread::sleep(Duration::from_millis(20));
    let moment = OffsetDateTime::from(SystemTime::now()).format(&Rfc3339).expect("a moment");
    thread::sleep(Duration::from_millis(20));
    let after = send(&bridge, 20..30);
    let all: BTreeSet<String> = before.union(&after).cloned().collect();
    await_has(&home, "lake", &all);
    bridge.stop();

    configure(&home, &[("lake", "next"), ("hour", &moment), ("all", "earliest"), ("none", "next")]);
    let bridge = home.start();
    bridge.assert_logs("a new sink begins where `from` says");
    await_has(&home, "hour", &after);
    await_has(&home, "all", &all);
    let live = send(&bridge, 30..35);
    await_has(&home, "none", &live);
    bridge.stop();

    // A sink that has begun goes on where it was.
    configure(&home, &[("lake", "earliest"), ("hour", "earliest"), ("none", "earliest")]);
    let bridge = home.start();
    let more = send(&bridge, 35..36);
    let with = |ids: &BTreeSet<String>| ids.iter().chain(&more).cloned().collect::<BTreeSet<_>>();
    await_has(&home, "none", &with(&live));
    await_has(&home, "hour", &with(&after.union(&live).cloned().collect()));
    await_has(&home, "lake", &with(&all.union(&live).cloned().collect()));
}
