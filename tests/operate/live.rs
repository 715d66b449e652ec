//! The last steps over HTTP, of the real bridge and beside its load.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::live_stream::{LiveStream, ids};
use crate::support::bridge::{Bridge, Home};
use crate::support::load::{Delivery, Load, STREAM_PATH, Shape};
use crate::support::rounds::Rounds;
use crate::support::{await_until, turns};

const DEADLINE: Duration = Duration::from_secs(20);

/// A bridge that writes files, with the admin listener's port.
fn started() -> (Home, Bridge, u16) {
    let home = Home::new();
    home.configure_files();
    let (bridge, admin) = (home.start(), home.admin);
    (home, bridge, admin)
}

/// The steps that a request finds.
fn steps(bridge: &Bridge, query: &str) -> Vec<Value> {
    let answer = bridge.admin().get(&format!("/api/v1/events{query}")).expect("an answer");
    assert_eq!(answer.status, 200, "{query}: {}", answer.text());
    let page: Value = serde_json::from_slice(&answer.body).expect("JSON");
    page["items"].as_array().expect("steps").clone()
}

#[test]
fn what_is_delivered_is_seen_where_it_went_and_what_is_refused_is_seen_with_its_reason() {
    let _turn = turns::in_company();
    let (_home, bridge, admin) = started();
    let mut stream = LiveStream::open(admin, "?verdict=published", "");
    let event = Delivery::new("call.created", "default:seen", 1, 0);
    assert_eq!(event.send(&mut bridge.client()).expect("an answer").status, 200);
    assert_eq!(event.send(&mut bridge.client()).expect("an answer").status, 200);
    let forged = bridge.client().post(STREAM_PATH, &[("x-signature", "forged")], &event.body);
    assert_eq!(forged.expect("an answer").status, 401);

    let of_event = format!("?id={}&after=start", event.id);
    let found = await_until("the event is published", DEADLINE, || {
        Some(steps(&bridge, &of_event)).filter(|steps| steps.len() == 3)
    });
    let by = |name: &str, word: &str| found.iter().find(|step| step[name] == word).expect("the step");
    let (accepted, duplicate) = (by("verdict", "accepted"), by("verdict", "duplicate"));
    assert_eq!((&accepted["selected_by"], &accepted["position"]), (&json!(["local"]), &json!(1)));
    assert_eq!(duplicate["decided_by"], "seen_here");
    let published = by("step", "published");
    assert_eq!(
        (&published["sink"], &published["topic"]),
        (&json!("local"), &json!("stream.video.call-lifecycle"))
    );
    assert_eq!(published["placement"], json!({ "file": "00000001.jsonl", "offset": 0 }));
    assert_eq!(ids(&stream.expect("steps").data), [event.id.as_str()]);

    let refused = await_until("the refusal is a step", DEADLINE, || steps(&bridge, "?failed=true").pop());
    assert_eq!((&refused["step"], &refused["status"]), (&json!("refused"), &json!(401)));
    bridge.stop();
}

#[test]
fn a_stop_ends_the_streams_and_takes_no_longer_for_them() {
    let _turn = turns::in_company();
    let (_home, bridge, admin) = started();
    let mut streams: Vec<_> = (0..10).map(|_| LiveStream::open(admin, "", "")).collect();
    let stop = thread::spawn(move || bridge.stop());
    for stream in &mut streams {
        let ended = std::iter::from_fn(|| stream.next()).last().expect("a stream says why it ends");
        assert_eq!((ended.name.as_str(), &ended.data), ("end", &json!({ "because": "stopping" })));
    }
    let took = stop.join().expect("stopped");
    assert!(took < Duration::from_secs(5), "{took:?}");
}

mod alone {
    use super::*;

    /// What of rounds is compared, and how long one is.
    const PAIRS: usize = 9;
    const ROUND: Duration = Duration::from_secs(2);

    #[test]
    fn who_reads_steps_and_who_never_does_makes_no_delivery_wait() {
        let _turn = turns::alone();
        let (_home, bridge, admin) = started();
        let mut rounds = Rounds::new(bridge.http_port());
        rounds.warm_up(ROUND);
        let before = bridge.resident_bytes();
        for _ in 0..PAIRS {
            rounds.run(1, false, ROUND);
            // One is never read, and closed by the end of the round.
            let unread = LiveStream::send(admin, "?after=start", "");
            let mut stream = LiveStream::open(admin, "", "");
            let reading = thread::spawn(move || std::iter::from_fn(|| stream.next()).take(5).count());
            rounds.run(1, true, ROUND);
            drop(unread);
            assert_eq!(reading.join().expect("read"), 5);
        }
        let answers = rounds.answers();
        println!("{answers}; {} MiB more", bridge.resident_bytes().saturating_sub(before) >> 20);
        assert!(!answers.is_in_the_way(), "{answers}");
        bridge.stop();
    }

    #[test]
    fn ten_streams_and_a_scrape_are_answered_at_full_load() {
        let _turn = turns::alone();
        let (_home, bridge, admin) = started();
        let shape =
            Shape { name: "steps", senders: 32, keys_per_sender: 4, body_bytes: 1024, pause: Duration::ZERO };
        let load = Load::start(bridge.http_port(), shape);
        let streams: Vec<_> = (0..10).map(|_| LiveStream::open(admin, "", "")).collect();
        let reading = streams.into_iter().map(|mut stream| {
            thread::spawn(move || {
                let ends =
                    std::iter::from_fn(|| stream.next()).inspect(|event| assert_ne!(event.name, "restarted"));
                ends.filter(|event| event.name == "steps").count()
            })
        });
        let reading: Vec<_> = reading.collect();
        let mut client = bridge.admin();
        let mut took = Vec::new();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(10) {
            for path in ["/api/status", "/metrics", "/api/v1/events?limit=100"] {
                let asked = Instant::now();
                assert_eq!(client.get(path).expect("an answer").status, 200, "{path}");
                took.push(asked.elapsed());
            }
            thread::sleep(Duration::from_millis(20));
        }
        let (ledger, tally) = load.finish();
        drop(ledger);
        took.sort();
        let (count, p99) = (took.len(), took[took.len() * 99 / 100]);
        let acknowledged = tally.acknowledged.load(std::sync::atomic::Ordering::Relaxed);
        println!(
            "{count} answers, p50 {:?}, p99 {p99:?}, beside {acknowledged} events, {} steps dropped",
            took[count / 2],
            bridge.metric("fanbridge_timeline_steps_dropped_total", &[])
        );
        assert!(p99 < Duration::from_secs(1), "p99 {p99:?}");
        bridge.stop();
        for reader in reading {
            assert!(reader.join().expect("read") > 10, "a stream goes on at full load");
        }
    }
}
