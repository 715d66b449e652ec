//! Delivered events are sent to a sink again: by time, type and id, at a pace, over kills, and told apart.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::thread;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::support::bridge::{Bridge, Home};
use crate::support::load::Delivery;
use crate::support::{await_until, turns};

/// How long the bridge may take to deliver what was sent, and to replay it.
const WITHIN: Duration = Duration::from_secs(240);
const CHANGE: &[(&str, &str)] = &[("x-fanbridge-request", "1")];
/// Connections that send at the same time.
const SENDERS: u64 = 8;
const CREATED: &str = "call.created";
const ENDED: &str = "call.ended";

/// How many events the test of exactly one type and time sends; a tenth of them is replayed.
fn events() -> u64 {
    let asked = std::env::var("FANBRIDGE_REPLAY_EVENTS").ok();
    asked.map_or(20_000, |text| text.parse().expect("FANBRIDGE_REPLAY_EVENTS is a number"))
}

/// A home with the file sinks `lake` and `other`, and more keys of the spool's section.
fn home(spool: &str) -> Home {
    let home = Home::new();
    let dir = |name: &str| home.path(name).display().to_string();
    let sinks = format!(
        "sinks:\n  lake: {{ file: {{ dir: {} }} }}\n  other: {{ file: {{ dir: {} }} }}\n",
        dir("lake"),
        dir("other")
    );
    home.configure(spool, &sinks);
    home
}

/// Sends so many events of both types by turns, on several connections; the ids of each type.
fn send(bridge: &Bridge, from: u64, count: u64, bytes: usize) -> BTreeMap<&'static str, BTreeSet<String>> {
    let sender = |sender: u64| {
        let mut client = bridge.client();
        thread::spawn(move || {
            let mut ids: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
            for number in (from..from + count).filter(|number| number % SENDERS == sender) {
                let event_type = if (number / SENDERS).is_multiple_of(2) { CREATED } else { ENDED };
                let delivery = Delivery::new(event_type, &format!("default:{sender}"), number, bytes);
                let answer = delivery.send(&mut client).expect("an answer");
                assert!(answer.is_success(), "{}", answer.text());
                ids.entry(event_type).or_default().insert(delivery.id);
            }
            ids
        })
    };
    let senders: Vec<_> = (0..SENDERS).map(sender).collect();
    let mut ids: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for sent in senders.into_iter().map(|sender| sender.join().expect("no panic")) {
        for (event_type, more) in sent {
            ids.entry(event_type).or_default().extend(more);
        }
    }
    ids
}

/// A line of a sink.
#[derive(Debug)]
struct Line {
    id: String,
    key: String,
    number: u64,
    sequence: u64,
    replay: Option<String>,
}

/// What a sink has, in the order in which it was written.
fn lines(home: &Home, sink: &str) -> Vec<Line> {
    let mut files: Vec<_> = fs::read_dir(home.path(sink).join("stream.video.call-lifecycle"))
        .into_iter()
        .flatten()
        .map(|file| file.expect("readable").path())
        .filter(|file| file.extension().is_some_and(|ending| ending == "jsonl"))
        .collect();
    files.sort();
    let texts = files.iter().map(|file| fs::read_to_string(file).expect("readable"));
    let line = |text: &str| {
        let line: Value = serde_json::from_str(text).expect("JSON");
        let text = |name: &str| line[name].as_str().map(str::to_owned);
        Line {
            id: text("id").expect("an id"),
            key: text("partitionkey").expect("a key"),
            number: line["data"]["number"].as_u64().expect("a number"),
            sequence: text("sequence").and_then(|sequence| sequence.parse().ok()).expect("a sequence"),
            replay: text("replayid"),
        }
    };
    texts.flat_map(|text| text.lines().map(line).collect::<Vec<_>>()).collect()
}

fn replayed(home: &Home, sink: &str) -> Vec<Line> {
    lines(home, sink).into_iter().filter(|line| line.replay.is_some()).collect()
}

/// Waits until both sinks have all that was sent.
#[track_caller]
fn await_delivered(bridge: &Bridge, count: u64) {
    await_until(&format!("{count} events are delivered"), WITHIN, || {
        let delivered = bridge.metric("fanbridge_delivered_total", &[]);
        (delivered >= 2.0 * count as f64).then_some(())
    });
}

/// A replay as the command line shows it.
fn show(home: &Home, id: u64) -> Value {
    let text = home.run_verb(&["replay", "show", &id.to_string(), "--format", "json"]);
    serde_json::from_str(&text).expect("JSON")
}

#[track_caller]
fn await_done(home: &Home, id: u64) -> Value {
    await_until(&format!("replay {id} is done"), WITHIN, || {
        let replay = show(home, id);
        (replay["state"] != "running").then_some(replay)
    })
}

fn moment() -> String {
    // Arrivals are told from this moment by more than the clock's steps.
    thread::sleep(Duration::from_millis(20));
    let now = OffsetDateTime::from(SystemTime::now()).format(&Rfc3339).expect("a moment");
    thread::sleep(Duration::from_millis(20));
    now
}

/// The lines of each key rise by number.
#[track_caller]
fn assert_in_order(lines: &[Line]) {
    let mut last: BTreeMap<&str, u64> = BTreeMap::new();
    for line in lines {
        let before = last.insert(&line.key, line.number);
        assert!(before.is_none_or(|before| before < line.number), "{line:?} is behind {before:?}");
    }
}

#[test]
fn exactly_the_events_of_a_type_and_a_time_go_again_to_one_sink() {
    let _turn = turns::in_company();
    let (home, all) = (home(""), events());
    let bridge = home.start();
    let (before, during) = (all * 2 / 5, all / 5);
    send(&bridge, 0, before, 0);
    let since = moment();
    let wanted = send(&bridge, before, during, 0).remove(ENDED).expect("some have this type");
    let until = moment();
    send(&bridge, before + during, all - before - during, 0);
    await_delivered(&bridge, all);
    let rate = (during / 2 / 4).clamp(1, 5_000);
    let rate_text = rate.to_string();

    let arguments =
        ["replay", "--sink", "lake", "--type", ENDED, "--since", &since, "--until", &until, "--rate"];
    let arguments = [&arguments[..], &[&rate_text]].concat();
    let counted = home.run_verb(&[&arguments[..], &["--dry-run", "--format", "json"]].concat());
    let counted: Value = serde_json::from_str(&counted).expect("JSON");
    assert_eq!((&counted["events"], &counted["types"][ENDED]), (&wanted.len().into(), &wanted.len().into()));
    let unsure = home.try_verb(&arguments);
    assert_eq!(unsure.status.code(), Some(2), "nothing is sent without --yes");
    let begun = home.try_verb(&[&arguments[..], &["--yes"]].concat());
    assert!(begun.status.success(), "{}", String::from_utf8_lossy(&begun.stderr));
    let replay = await_done(&home, 1);
    assert_eq!((&replay["state"], &replay["sent"]), (&"done".into(), &wanted.len().into()), "{replay}");
    assert_eq!((&replay["lost"], &replay["not_selected"]), (&0.into(), &0.into()), "{replay}");

    let copies = replayed(&home, "lake");
    assert_eq!(copies.len(), wanted.len(), "each once");
    let ids: BTreeSet<String> = copies.iter().map(|line| line.id.clone()).collect();
    assert_eq!(ids, wanted);
    let name = replay["replay_id"].as_str();
    assert!(copies.iter().all(|line| line.replay.as_deref() == name), "{name:?}");
    assert_in_order(&copies);
    assert_eq!(replayed(&home, "other").len(), 0, "no other sink gets a replayed event");
    assert_eq!(lines(&home, "other").len() as u64, all);
    assert_eq!(bridge.metric("fanbridge_delivered_total", &["sink=\"lake\""]), all as f64, "counted apart");
    assert_eq!(bridge.metric("fanbridge_replayed_total", &["sink=\"lake\""]), wanted.len() as f64);
    assert_eq!(bridge.metric("fanbridge_replayed_total", &["sink=\"other\""]), 0.0);
    assert_eq!(bridge.metric("fanbridge_replay_pending", &[]), 0.0);
    let took = seconds_between(&replay["created"], &replay["changed"]);
    let pace = wanted.len() as f64 / took;
    assert!(pace <= rate as f64 * 1.05, "{pace} a second, of {rate}");
    eprintln!("{} of {all} events were replayed in {took:.1} s: {pace:.0} a second, of {rate}", wanted.len());
    let listed = home.run_verb(&["replay", "list"]);
    assert!(listed.contains("done") && listed.contains(ENDED), "{listed}");
}

fn seconds_between(from: &Value, to: &Value) -> f64 {
    let at = |moment: &Value| {
        OffsetDateTime::parse(moment.as_str().expect("a moment"), &Rfc3339).expect("RFC 3339")
    };
    (at(to) - at(from)).as_seconds_f64()
}

#[test]
fn a_replay_that_is_killed_again_and_again_goes_on_without_a_gap() {
    const EVENTS: u64 = 8000;
    const KILLS: u64 = 20;
    /// What is sent at once at 1,000 events a second.
    const BATCH: u64 = 100;
    let _turn = turns::in_company();
    let home = home("");
    let mut bridge = home.start();
    let sent = send(&bridge, 0, EVENTS, 0);
    await_delivered(&bridge, EVENTS);
    let begun = home.try_verb(&["replay", "--sink", "lake", "--since", "1h", "--rate", "1000", "--yes"]);
    assert!(begun.status.success(), "{}", String::from_utf8_lossy(&begun.stderr));
    for kill in 1..=KILLS {
        let least = kill * EVENTS / (KILLS + 2);
        await_until(&format!("kill {kill}: {least} are sent"), WITHIN, || {
            (show(&home, 1)["sent"].as_u64() >= Some(least)).then_some(())
        });
        bridge.kill();
        bridge = home.start();
    }
    let replay = await_done(&home, 1);
    assert_eq!(replay["state"], "done", "{replay}");
    drop(bridge);

    let copies = replayed(&home, "lake");
    let ids: BTreeSet<&String> = copies.iter().map(|line| &line.id).collect();
    let all: BTreeSet<&String> = sent.values().flatten().collect();
    assert_eq!(ids, all, "there is no gap");
    // A sink can get a copy twice after a kill, as any event; the replay makes a batch twice at most.
    let made: BTreeMap<u64, &Line> = copies.iter().map(|line| (line.sequence, line)).collect();
    assert!(made.len() as u64 <= EVENTS + KILLS * BATCH, "{} copies of {EVENTS}", made.len());
    let mut last: BTreeMap<(&str, u64), u64> = BTreeMap::new();
    for (sequence, line) in &made {
        last.insert((&line.key, line.number), *sequence);
    }
    let mut order: BTreeMap<&str, u64> = BTreeMap::new();
    for ((key, number), sequence) in last {
        let before = order.insert(key, sequence);
        assert!(
            before.is_none_or(|before| before < sequence),
            "{key} {number}: its last copies are in order"
        );
    }
}

#[test]
fn a_replay_waits_while_the_spool_is_short_of_space_and_refuses_nobody() {
    const BODY_BYTES: usize = 256 << 10;
    let _turn = turns::in_company();
    let home = home("bytes_max: 136MiB");
    let bridge = home.start();
    send(&bridge, 0, 100, BODY_BYTES);
    await_delivered(&bridge, 100);
    // What it has got is noted by now, and so can go.
    await_until("the cursor of `other` is behind what was sent", WITHIN, || {
        let sinks: Value =
            serde_json::from_slice(&bridge.admin().get("/api/v1/sinks").expect("an answer").body)
                .expect("JSON");
        let other = sinks["items"].as_array()?.iter().find(|sink| sink["name"] == "other")?;
        (other["cursor"] == 100).then_some(())
    });
    let paused = home.try_verb(&["pause", "other", "--reason", "it is to hold the spool"]);
    assert!(paused.status.success(), "{}", String::from_utf8_lossy(&paused.stderr));
    send(&bridge, 100, 424, BODY_BYTES);
    let begun = home.try_verb(&["replay", "--sink", "lake", "--since", "1h", "--yes"]);
    assert!(begun.status.success(), "{}", String::from_utf8_lossy(&begun.stderr));
    let replay = await_until("the replay waits", WITHIN, || {
        let replay = show(&home, 1);
        replay["waits_for"].is_string().then_some(replay)
    });
    assert_eq!(replay["waits_for"], "less than a quarter of the spool's space is left", "{replay}");
    // Live events have what is left.
    send(&bridge, 524, 16, BODY_BYTES);
    assert_eq!(bridge.metric("fanbridge_refused_total", &[]), 0.0);
    assert!(home.try_verb(&["resume", "other"]).status.success());
    let replay = await_done(&home, 1);
    let number = |name: &str| replay[name].as_u64().expect("a number");
    assert!(number("sent") > 0, "{replay}");
    let looked_through = number("end") - number("begun_at");
    assert_eq!(number("sent") + number("lost"), looked_through, "what was gone is counted: {replay}");
    assert_eq!(bridge.metric("fanbridge_refused_total", &[]), 0.0);
}

#[test]
fn one_event_goes_again_by_its_id_and_is_explained_and_a_restart_forgets_none_of_it() {
    let _turn = turns::in_company();
    let home = home("");
    let bridge = home.start();
    let ids = send(&bridge, 0, 40, 0);
    await_delivered(&bridge, 40);
    let id = ids[ENDED].first().expect("there is one").clone();
    let request = format!(r#"{{"sink":"lake","events":{{"ids":["{id}"]}}}}"#);
    let answer = bridge.admin().post("/api/v1/replays", CHANGE, request.as_bytes()).expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let begun: Value = serde_json::from_str(&answer.text()).expect("JSON");
    let name = begun["replay_id"].as_str().expect("a name").to_owned();
    assert_eq!(await_done(&home, 1)["sent"], 1);
    let copies = replayed(&home, "lake");
    assert_eq!(copies.iter().map(|line| &line.id).collect::<Vec<_>>(), [&id]);

    let explain = || {
        let text = home.run_verb(&["explain", &id, "--format", "json"]);
        serde_json::from_str::<Value>(&text).expect("JSON")
    };
    let explained = await_until("the copy is explained with its place", WITHIN, || {
        let explained = explain();
        (explained["replays"][0]["copy"]["state"] == "delivered").then_some(explained)
    });
    let cause = explained["cause"].as_str().expect("a cause");
    let words = format!("replayed by replay 1 (replayid {name}): delivered again to lake: stream.video");
    assert!(cause.contains(&words), "{cause}");
    assert_eq!(explained["sinks"][0]["state"], "delivered", "the first time, too");
    let (first, again) = (&explained["sinks"][0]["offset"], &explained["replays"][0]["copy"]["offset"]);
    assert!(first.as_u64() < again.as_u64(), "{first} {again}");
    let not_replayed = ids[CREATED].first().expect("there is one");
    let other: Value =
        serde_json::from_str(&home.run_verb(&["explain", not_replayed, "--format", "json"])).expect("JSON");
    assert_eq!(other["replays"], Value::Null);
    let beginning = id.strip_prefix("sha256-").and_then(|rest| rest.get(..12)).expect("a long id");
    let by_beginning = ["replay", "--sink", "lake", "--id", beginning, "--dry-run", "--format", "json"];
    let counted: Value = serde_json::from_str(&home.run_verb(&by_beginning)).expect("JSON");
    assert_eq!(counted["events"], 1, "{counted}");
    let steps = bridge.admin().get(&format!("/api/v1/events?id={id}&sink=lake")).expect("an answer").text();
    assert!(steps.contains(r#""replay":true"#) && steps.contains(r#""replay":false"#), "{steps}");

    bridge.stop();
    let _bridge = home.start();
    let explained = explain();
    let cause = explained["cause"].as_str().expect("a cause");
    assert!(cause.contains(&format!("(replayid {name}): lake has passed the copy")), "{cause}");
    assert_eq!(show(&home, 1)["state"], "done");
}

#[test]
fn a_replay_that_cannot_be_says_what_is_wrong_and_one_that_runs_can_be_cancelled() {
    let _turn = turns::in_company();
    let home = home("");
    let bridge = home.start();
    send(&bridge, 0, 40, 0);
    await_delivered(&bridge, 40);
    let of_types =
        |types: Vec<String>| serde_json::json!({ "sink": "lake", "events": { "types": types } }).to_string();
    let many = of_types((0..1001).map(|number| number.to_string()).collect());
    let long = of_types(vec!["a".repeat(17_000)]);
    for (body, status, words) in [
        (r#"{"sink":"like","events":{"types":["a"]}}"#, 404, "no sink is named `like`"),
        (r#"{"sink":"lake"}"#, 400, "say which events"),
        (r#"{"sink":"lake","events":{"ids":["nobody"]}}"#, 404, "no event with the id `nobody`"),
        (r#"{"sink":"lake","events":{"since":"yesterday"}}"#, 400, "expected a moment in RFC 3339"),
        (r#"{"sink":"lake","events":{"type":"a"}}"#, 400, "unknown field `type`"),
        (r#"{"sink":"lake","events":{"types":["a"]},"rate":0}"#, 400, "expected 1 to 100000"),
        (&many, 400, "1001 types, families and sources are named"),
        (&long, 400, "expected at most 1000 in 16384 bytes"),
    ] {
        let answer = bridge.admin().post("/api/v1/replays", CHANGE, body.as_bytes()).expect("an answer");
        assert_eq!(answer.status, status, "{body}: {}", answer.text());
        assert!(answer.text().contains(words), "{body}: {}", answer.text());
    }
    for wrong in [&["replay"][..], &["replay", "--sink", "lake"], &["replay", "--since", "1h"]] {
        assert_eq!(home.try_verb(wrong).status.code(), Some(2), "{wrong:?}");
    }
    assert_eq!(home.try_verb(&["replay", "show", "1"]).status.code(), Some(1), "there is none");
    let nothing = home.try_verb(&["replay", "--sink", "lake", "--type", "call.ring", "--dry-run"]);
    assert!(nothing.status.success());
    assert!(String::from_utf8_lossy(&nothing.stderr).contains("0 events would be sent to lake again"));

    let slow = ["replay", "--sink", "lake", "--since", "1h", "--rate", "1", "--yes", "--format", "json"];
    let begun: Value = serde_json::from_str(&home.run_verb(&slow)).expect("JSON");
    assert_eq!((&begun["id"], &begun["state"]), (&1.into(), &"running".into()));
    assert!(bridge.metric("fanbridge_replay_pending", &["sink=\"lake\""]) > 0.0);
    let cancelled: Value =
        serde_json::from_str(&home.run_verb(&["replay", "cancel", "1", "--format", "json"])).expect("JSON");
    assert_eq!(cancelled["state"], "cancelled");
    assert_eq!(home.try_verb(&["replay", "cancel", "1"]).status.code(), Some(1), "it has ended");
    assert_eq!(bridge.metric("fanbridge_replay_pending", &["sink=\"lake\""]), 0.0);
    bridge.stop();
    let alone = home.try_verb(&["replay", "list"]);
    assert_eq!(alone.status.code(), Some(75), "{}", String::from_utf8_lossy(&alone.stderr));
}

mod alone {
    use super::*;

    #[test]
    fn a_replay_sends_as_many_events_in_a_second_as_it_was_told() {
        const EVENTS: u64 = 12_000;
        let _turn = turns::alone();
        let home = home("");
        let bridge = home.start();
        send(&bridge, 0, EVENTS, 0);
        await_delivered(&bridge, EVENTS);
        let begun = home.try_verb(&["replay", "--sink", "lake", "--since", "1h", "--rate", "1200", "--yes"]);
        assert!(begun.status.success(), "{}", String::from_utf8_lossy(&begun.stderr));
        let replay = await_done(&home, 1);
        assert_eq!(replay["sent"], EVENTS, "{replay}");
        let pace = EVENTS as f64 / seconds_between(&replay["created"], &replay["changed"]);
        println!("{pace:.0} a second, of 1200");
        assert!((1140.0..=1260.0).contains(&pace), "{pace} a second, expected 1200 within 5 %");
        bridge.stop();
    }
}
