//! Replicas that share a duplicate window: real bridges, each with its own spool and sink, and one real
//! Redis, which is asked, frozen and killed. What counts is the union of what came out.

#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod ack;
mod balancer;
mod crash;
mod duplicates;
mod fleet;
mod login;
mod orchestrated;
mod outage;
mod traffic;

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use support::bridge::{Bridge, Home};
use support::client::{Answer, Client};
use support::load::Delivery;
use support::oracle::{Arrival, Judgement, Ledger};
use support::{await_until, readers};

/// How long may pass until a server that is back is in use again: an attempt a second, and slack
/// for a busy machine.
const IN_USE_AGAIN: Duration = Duration::from_secs(20);

/// The home of a replica with a file sink whose shared window is kept at a URL.
fn replica(url: &str) -> Home {
    replica_with(url, "", "", "")
}

/// The same with more keys of the section `duplicates`, in flow style, with another sink if one is
/// given, and with more of the rest.
fn replica_with(url: &str, duplicates: &str, sink: &str, rest: &str) -> Home {
    let home = Home::new();
    fs::write(home.path("redis-url"), url).expect("the home takes a file");
    let files = format!("file: {{ dir: {} }}", home.path("topics").display());
    let sink = if sink.is_empty() { &files } else { sink };
    home.configure(
        &format!("duplicates: {{ redis: \"file:{}\", {duplicates} }}", home.path("redis-url").display()),
        &format!("sinks:\n  local: {{ {sink} }}\n{rest}"),
    );
    home
}

/// Sends a delivery once and says with which verdict it was taken in.
///
/// # Panics
/// When it is not answered 2xx.
#[track_caller]
fn verdict(client: &mut Client, delivery: &Delivery) -> String {
    verdict_of(&delivery.send(client).expect("the bridge answers"))
}

#[track_caller]
fn verdict_of(answer: &Answer) -> String {
    assert!(answer.is_success(), "answered {}: {}", answer.status, answer.text());
    let answer: serde_json::Value = serde_json::from_slice(&answer.body).expect("an answer is JSON");
    answer["verdict"].as_str().expect("an answer has a verdict").to_owned()
}

/// Ends the replicas in order, which publishes what is pending, and reads what all of them made of
/// it. Each replica's topics are lanes of their own.
fn union(replicas: Vec<(&Home, Bridge)>) -> Vec<Arrival> {
    let mut arrivals = Vec::new();
    for (number, (home, bridge)) in replicas.into_iter().enumerate() {
        bridge.stop();
        let of_one = readers::files(&home.path("topics")).into_iter();
        arrivals
            .extend(of_one.map(|arrival| Arrival { lane: format!("{number}/{}", arrival.lane), ..arrival }));
    }
    arrivals
}

/// The comparison of what was promised with what came out, after what may not be at all was ruled
/// out. Replicas promise no order among each other.
#[track_caller]
fn judge(ledger: &Ledger, arrivals: &[Arrival]) -> Judgement {
    let judgement = ledger.judge(arrivals);
    println!("judged: {judgement}");
    assert!(judgement.missing.is_empty(), "missing, for example {:?}; {judgement}", judgement.missing[0]);
    assert!(judgement.spurious.is_empty(), "spurious: {judgement}");
    assert!(judgement.corrupted.is_empty(), "corrupted: {judgement}");
    judgement
}

/// How many events more than one replica took in.
fn taken_twice(arrivals: &[Arrival]) -> usize {
    let mut takers = HashMap::<&str, &str>::new();
    let mut twice = std::collections::HashSet::new();
    for arrival in arrivals {
        let replica = arrival.lane.split('/').next().expect("a lane begins with its replica");
        if *takers.entry(&arrival.id).or_insert(replica) != replica {
            twice.insert(&arrival.id);
        }
    }
    twice.len()
}

/// Waits until a replica uses the shared window.
fn await_in_use(bridge: &Bridge) {
    await_until("the shared window is in use", IN_USE_AGAIN, || {
        (bridge.metric("fanbridge_shared_window_degraded", &[]) == 0.0).then_some(())
    });
}

/// How many deliveries were taken in without the shared window's word, for this reason.
fn skipped(bridge: &Bridge, reason: &str) -> f64 {
    bridge.metric("fanbridge_shared_window_skipped_total", &[&format!("reason=\"{reason}\"")])
}
