//! The counters of the life after a crash test, at rest, against what the client and the readers counted.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::support::bridge::{Bridge, Home};
use crate::support::dice::Dice;
use crate::support::load::{Delivery, Load, STREAM_PATH, Shape, TYPES};
use crate::support::oracle::Ledger;
use crate::support::{await_until, readers, signing, turns};

const KILLS: usize = 8;
const DEADLINE: Duration = Duration::from_secs(60);

/// Counts by the values of two labels, or of one and nothing.
type Counts = BTreeMap<(String, String), u64>;

/// What one life is to have counted.
#[derive(Debug, Default, PartialEq)]
struct Counted {
    /// `requests_total` by source and code.
    requests: Counts,
    /// `events_total` by family and verdict.
    events: Counts,
    /// `delivered_total` by sink and family.
    delivered: Counts,
    /// `delivery_duration_seconds_count` by sink.
    durations: Counts,
    /// `ack_duration_seconds_count` by source.
    answers: Counts,
    /// `signature_secret_used_total` by source.
    verified: Counts,
}

fn add(counts: &mut Counts, first: &str, second: &str, count: u64) {
    *counts.entry((first.into(), second.into())).or_default() += count;
}

impl Counted {
    /// Sends a body, and counts it under what its answer says and the family that is known here.
    fn send(&mut self, bridge: &Bridge, path: &str, body: &[u8], signature: &str, family: &str) {
        let answer = bridge.client().post(path, &[("x-signature", signature)], body).expect("an answer");
        let source = path.strip_prefix("/in/").filter(|name| *name != "nobody").unwrap_or("none");
        add(&mut self.requests, source, &answer.status.to_string(), 1);
        if answer.status == 200 {
            let document: Value = serde_json::from_slice(&answer.body).expect("an answer is JSON");
            add(&mut self.events, family, document["verdict"].as_str().expect("a verdict"), 1);
            add(&mut self.answers, source, "", 1);
            add(&mut self.verified, source, "", 1);
        }
    }

    fn deliver(&mut self, bridge: &Bridge, delivery: &Delivery, family: &str) {
        self.send(bridge, STREAM_PATH, &delivery.body, &signing::stream(&delivery.body), family);
    }

    /// What the metrics of a bridge say.
    fn shown(bridge: &Bridge) -> Self {
        let text = bridge.admin().get("/metrics").expect("the metrics").text();
        let by = |name: &str, first: &str, second: &str| counts(&text, name, first, second);
        Self {
            requests: by("fanbridge_requests_total", "source", "code"),
            events: by("fanbridge_events_total", "family", "verdict"),
            delivered: by("fanbridge_delivered_total", "sink", "family"),
            durations: by("fanbridge_delivery_duration_seconds_count", "sink", ""),
            answers: by("fanbridge_ack_duration_seconds_count", "source", ""),
            verified: by("fanbridge_signature_secret_used_total", "source", ""),
        }
    }
}

/// The series of a metric that are not zero, summed by the values of these labels.
fn counts(text: &str, name: &str, first: &str, second: &str) -> Counts {
    let mut counts = Counts::new();
    for line in text.lines() {
        let Some((labels, value)) = line.strip_prefix(name).and_then(|rest| rest.split_once("} ")) else {
            continue;
        };
        let Some(labels) = labels.strip_prefix('{') else { continue };
        let label = |wanted: &str| {
            let value = labels.split(',').find_map(|label| label.strip_prefix(wanted)?.strip_prefix("=\""));
            value.map_or("", |value| value.trim_end_matches('"'))
        };
        let value = value.split(' ').next().and_then(|value| value.parse::<f64>().ok()).expect("a number");
        if value != 0.0 {
            add(&mut counts, label(first), label(second), value as u64);
        }
    }
    counts
}

/// The lines of a sink's files by family, each copy counted.
fn lines(dir: &Path, sink: &str) -> Counts {
    let mut counts = Counts::new();
    for event in readers::file_events(dir) {
        add(&mut counts, sink, event["family"].as_str().expect("a family"), 1);
    }
    counts
}

/// A bridge of two sinks of which one is paused, killed again and again under load; what was promised.
fn crash_test(home: &Home, ledger: Arc<Ledger>) -> Arc<Ledger> {
    let mut dice = Dice::thrown_for("moments of the kills before the count");
    let shape = Shape {
        name: "counted",
        senders: 4,
        keys_per_sender: 3,
        body_bytes: 400,
        pause: Duration::from_millis(4),
    };
    let mut bridge = home.start();
    let load = Load::start_with(ledger, home.http, shape);
    for _ in 0..KILLS {
        std::thread::sleep(Duration::from_millis(dice.within(50..600)));
        bridge.kill();
        bridge = home.start();
    }
    let (ledger, _) = load.finish();
    bridge.kill();
    ledger
}

/// New events, duplicates of former lives, what nobody selected, what is no event, and what is refused.
fn send_of_each(bridge: &Bridge, ledger: &Ledger, early: &[Delivery]) -> Counted {
    let mut counted = Counted::default();
    for (number, (event_type, family)) in TYPES
        .iter()
        .zip(["video.session", "video.recording", "video.call-lifecycle"])
        .cycle()
        .take(10)
        .enumerate()
    {
        let delivery = Delivery::new(event_type, "default:last", number as u64, 0);
        ledger.offer(&delivery.id, Some(&delivery.key), &delivery.body);
        counted.deliver(bridge, &delivery, family);
        ledger.acknowledge(&delivery.id);
    }
    early.iter().for_each(|delivery| counted.deliver(bridge, delivery, "video.session"));
    for number in 0..4 {
        counted.deliver(bridge, &Delivery::new("call.ring", "default:last", number, 0), "video.ringing");
    }
    for body in [&b"[]"[..], b"{}"] {
        counted.send(bridge, STREAM_PATH, body, &signing::stream(body), "none");
    }
    for number in 0..3 {
        counted.send(bridge, STREAM_PATH, b"{}", &signing::stream(&[number]), "none");
        counted.send(bridge, "/in/nobody", b"{}", "", "none");
    }
    let of_verdict = |verdict: &str| {
        let verdicts = counted.events.iter().filter(|((_, of), _)| of == verdict);
        verdicts.map(|(_, count)| count).sum::<u64>()
    };
    let verdicts = ["accepted", "duplicate", "filtered", "quarantined"].map(of_verdict);
    assert_eq!(verdicts, [10, 7, 4, 1], "the duplicate window outlives each kill");

    counted
}

#[test]
fn after_a_crash_test_every_counter_at_rest_is_what_the_client_and_the_readers_counted() {
    let _turn = turns::in_company();
    let home = Home::new();
    let (now, later) = (home.path("topics"), home.path("later"));
    home.configure(
        "",
        &format!(
            "select: [{}]\nsinks:\n  local: {{ file: {{ dir: {} }} }}\n  later: {{ file: {{ dir: {} }} }}\n",
            TYPES.join(", "),
            now.display(),
            later.display()
        ),
    );
    let ledger = Arc::<Ledger>::default();
    let early: Vec<_> = (0..6).map(|number| Delivery::new(TYPES[0], "default:early", number, 0)).collect();
    let bridge = home.start();
    home.run_verb(&["pause", "later", "--reason", "the count"]);
    early.iter().for_each(|delivery| delivery.hand_over(&mut bridge.client(), &ledger));
    Counted::default().send(&bridge, STREAM_PATH, b"[]", &signing::stream(b"[]"), "none");
    bridge.stop();
    let ledger = crash_test(&home, ledger);

    let before = lines(&now, "local");
    assert!(lines(&later, "later").is_empty(), "a paused sink gets nothing");
    let bridge = home.start();
    let mut counted = send_of_each(&bridge, &ledger, &early);
    home.run_verb(&["resume", "later"]);
    await_until("all is settled and kept", DEADLINE, || {
        let sum = |name: &str| bridge.metric(&format!("fanbridge_{name}"), &[]);
        let is_at_rest = sum("sink_lag_events") == 0.0 && sum("sink_in_flight") == 0.0;
        (is_at_rest && sum("dead_letters_kept") == 2.0).then_some(())
    });
    let arrivals = readers::files(&now);
    let judgement = ledger.judge(&arrivals);
    judgement.assert_kept(KILLS + 1, 1024);
    for (sink, dir, before) in [("local", &now, &before), ("later", &later, &Counts::new())] {
        for (place, count) in lines(dir, sink) {
            let new = count - before.get(&place).copied().unwrap_or_default();
            add(&mut counted.durations, sink, "", new);
            add(&mut counted.delivered, sink, &place.1, new);
        }
    }
    counted.delivered.retain(|_, count| *count > 0);
    assert_eq!(Counted::shown(&bridge), counted);

    // All lives together: each event has one place in the log, and both sinks are behind the last one.
    let mut stored: Vec<_> = arrivals.iter().map(|arrival| arrival.sequence).collect();
    stored.sort_unstable();
    stored.dedup();
    let sinks = bridge.admin().get("/api/v1/sinks").expect("an answer");
    let sinks: Value = serde_json::from_slice(&sinks.body).expect("JSON");
    for sink in sinks["items"].as_array().expect("sinks") {
        assert_eq!(sink["cursor"], stored.len() + 2, "{sink}: the events and two quarantined deliveries");
    }
    let repeated = bridge.metric("fanbridge_possible_duplicates_total", &["sink=\"local\""]);
    assert!(repeated >= judgement.duplicates.min(1) as f64, "{judgement}");
    bridge.stop();
}
