//! What became of an event, and what a replay would send, asked while no bridge runs.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::process::Output;
use std::time::Duration;

use fanbridge::state::State;
use serde_json::Value;

use crate::support::bridge::{Bridge, Home, free_port};
use crate::support::load::Delivery;
use crate::support::{await_until, turns};

const WITHIN: Duration = Duration::from_secs(30);
/// What the cause begins with.
const STOPPED: &str = "the bridge is stopped; this is what its log and cursors prove: ";

/// Three sinks: one of files, one whose broker is nobody, and one that does not take the type.
fn home() -> Home {
    let home = Home::new();
    let (lake, billing) = (home.path("lake"), home.path("billing"));
    let (lake, billing, nobody) = (lake.display(), billing.display(), free_port());
    let sinks = format!(
        "sinks:\n\
         \x20 lake: {{ file: {{ dir: {lake} }} }}\n\
         \x20 away: {{ kafka: {{ brokers: \"127.0.0.1:{nobody}\" }} }}\n\
         \x20 billing: {{ file: {{ dir: {billing} }}, select: [call.ended] }}\n"
    );
    home.configure("", &sinks);
    home
}

/// Sends an event; its id.
fn send(bridge: &Bridge, number: u64) -> String {
    let delivery = Delivery::new("call.created", "default:stopped", number, 0);
    assert!(delivery.send(&mut bridge.client()).expect("an answer").is_success());
    delivery.id
}

fn explain(home: &Home, asked: &str) -> (Option<i32>, Value, String) {
    let Output { status, stdout, stderr } = home.try_verb(&["explain", asked, "--format", "json"]);
    let json = serde_json::from_slice(&stdout).unwrap_or_default();
    (status.code(), json, String::from_utf8_lossy(&stderr).into_owned())
}

/// What became of the event at a sink.
fn state<'j>(json: &'j Value, sink: &str) -> &'j str {
    let rows = json["sinks"].as_array().map(Vec::as_slice).unwrap_or_default();
    let row = rows.iter().find(|row| row["sink"] == sink);
    row.and_then(|row| row["state"].as_str()).unwrap_or_default()
}

/// The files of the spool, with their lengths and the times of their last changes.
fn files(home: &Home) -> BTreeMap<String, (u64, i64, i64)> {
    let entries = fs::read_dir(home.path("spool")).unwrap().map(Result::unwrap);
    let file = |entry: fs::DirEntry| {
        let metadata = entry.metadata().unwrap();
        let changed = (metadata.len(), metadata.mtime(), metadata.mtime_nsec());
        (entry.file_name().into_string().unwrap(), changed)
    };
    entries.map(file).collect()
}

#[test]
fn log_and_cursors_of_a_stopped_bridge_tell_what_became_of_an_event_and_stay_as_they_are() {
    let _turn = turns::in_company();
    let home = home();
    let bridge = home.start();
    let ids = [1, 2].map(|number| send(&bridge, number));
    await_until("the file has both", WITHIN, || {
        (state(&explain(&home, &ids[1]).1, "lake") == "delivered").then_some(())
    });
    await_until("its cursor is kept", WITHIN, || {
        // The file itself is the bridge's.
        fs::copy(home.path("spool/state.redb"), home.path("copy.redb")).ok()?;
        let cursors = State::cursors_left(&home.path("copy.redb")).ok()?;
        cursors.iter().any(|(sink, cursor)| sink == "lake" && cursor.0 >= 2).then_some(())
    });
    home.run_verb(&["pause", "lake", "--reason", "maintenance"]);
    let waiting = send(&bridge, 3);
    // Neither log nor state is closed in order.
    bridge.kill();

    let before = files(&home);
    for asked in [&*ids[0], &ids[0]["sha256-".len()..][..12], "position:1"] {
        let (code, json, errors) = explain(&home, asked);
        assert_eq!((code, json["event"]["id"].as_str()), (Some(0), Some(&*ids[0])), "{errors}");
        assert!(json["cause"].as_str().unwrap_or_default().starts_with(STOPPED), "{json}");
        let states = ["lake", "away", "billing"].map(|sink| state(&json, sink));
        assert_eq!(states, ["delivered_before", "pending", "not_selected"], "{json}");
        assert_eq!(json["fix"], "`fanbridge run` starts the bridge, which goes on with it");
    }
    let (_, json, _) = explain(&home, &waiting);
    assert_eq!(state(&json, "lake"), "paused", "{json}");
    assert!(json.to_string().contains("maintenance"), "{json}");

    let (code, json, _) = explain(&home, "0123456789ab");
    let cause = json["cause"].as_str().unwrap_or_default();
    assert_eq!(code, Some(1), "{json}");
    assert!(
        cause.contains("nothing with this id") && cause.contains("only a running bridge knows"),
        "{cause}"
    );
    let (code, json, _) = explain(&home, "request:5f1c0a9b8e7d6c5a");
    assert_eq!(code, Some(1), "{json}");
    assert!(json["cause"].as_str().unwrap_or_default().contains("only its memory had"), "{json}");
    let hidden = home.try_verb(&["explain", &ids[0], "--payload"]);
    let said = String::from_utf8_lossy(&hidden.stderr).into_owned();
    assert_eq!(hidden.status.code(), Some(1), "{said}");
    assert!(said.contains("`admin.show_payloads: true`"), "{said}");
    assert_eq!(files(&home), before, "nothing is written, and nothing is mended");

    // The bridge goes on with what it has left, and is asked again.
    let bridge = home.start();
    let (_, json, _) = explain(&home, &waiting);
    assert!(!json["cause"].as_str().unwrap_or_default().contains("is stopped"), "{json}");
    drop(bridge);
}

#[test]
fn what_a_replay_would_send_is_counted_from_what_a_stopped_bridge_has_left() {
    let _turn = turns::in_company();
    let home = home();
    let bridge = home.start();
    let ids = [1, 2, 3].map(|number| send(&bridge, number));
    await_until("the file has all", WITHIN, || {
        (state(&explain(&home, &ids[2]).1, "lake") == "delivered").then_some(())
    });
    let replay = |arguments: &[&str]| {
        let words = [&["replay", "--format", "json"], arguments].concat();
        let Output { status, stdout, stderr } = home.try_verb(&words);
        let json: Value = serde_json::from_slice(&stdout).unwrap_or_default();
        (status.code(), json, String::from_utf8_lossy(&stderr).into_owned())
    };
    let hour = ["--sink", "lake", "--since", "1h", "--dry-run"];
    let running = replay(&hour);
    assert_eq!(running.1["events"], 3, "{running:?}");
    bridge.stop();

    let before = files(&home);
    let stopped = replay(&hour);
    assert_eq!((stopped.0, &stopped.1), (Some(0), &running.1), "{stopped:?}");
    assert!(stopped.2.contains("the bridge is stopped") && stopped.2.contains("3 events would be sent"));
    let one = replay(&["--sink", "lake", "--id", &ids[0]["sha256-".len()..][..12], "--dry-run"]);
    assert_eq!((one.0, &one.1["events"]), (Some(0), &1.into()), "{one:?}");
    for (arguments, code, words) in [
        (&["--sink", "lak", "--since", "1h", "--dry-run"][..], 1, "did you mean `lake`?"),
        (&["--sink", "lake", "--id", "0123456789ab", "--dry-run"], 1, "has no event with the id"),
        (&["--sink", "away", "--id", &ids[0], "--dry-run"], 1, "has not passed the event"),
        (&["--sink", "lake", "--since", "1h", "--yes"], 75, "no bridge is running"),
        (&["--sink", "lake", "--since", "1h"], 75, "no bridge is running"),
    ] {
        let (found, _, said) = replay(arguments);
        assert_eq!(found, Some(code), "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
    assert_eq!(files(&home), before, "nothing is written");
}

#[test]
fn a_bridge_that_ends_in_the_middle_of_its_answer_is_named_as_the_reason() {
    let _turn = turns::in_company();
    let home = home();
    let listener = TcpListener::bind(("127.0.0.1", home.admin)).expect("the port is free");
    let ending = std::thread::spawn(move || {
        let (mut connection, _) = listener.accept().expect("the verb connects");
        let mut requests = BufReader::new(connection.try_clone().expect("a descriptor"));
        let mut read_head = || {
            let mut lines = requests.by_ref().lines().map(|line| line.expect("a line of a request"));
            lines.find(String::is_empty).expect("a whole head");
        };
        read_head();
        connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").expect("the verb reads");
        read_head();
    });
    let (code, _, errors) = explain(&home, "evt_12345");
    assert_eq!(code, Some(74), "{errors}");
    let said = errors.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("the request to /api/v1/events/evt_12345 failed: "), "{errors}");
    assert!(said.contains("(has the bridge ended meanwhile? its log says why; ask again"), "{errors}");
    ending.join().expect("it was asked twice");
}

#[test]
fn a_bridge_that_starts_while_its_log_is_read_is_not_kept_from_it() {
    let _turn = turns::in_company();
    let home = home();
    let bridge = home.start();
    let id = send(&bridge, 1);
    drop(bridge);
    let starting = std::sync::atomic::AtomicBool::new(true);
    std::thread::scope(|scope| {
        let ask = || {
            let mut known = 0;
            while starting.load(std::sync::atomic::Ordering::Relaxed) {
                let (code, json, errors) = explain(&home, &id);
                match code {
                    Some(0) => {
                        assert_eq!(json["event"]["id"], *id);
                        known += 1;
                    }
                    // A bridge has the spool, and does not answer yet, or ends while it does; or one has
                    // started meanwhile.
                    Some(74 | 75) => assert!(errors.contains("bridge"), "{errors}"),
                    _ => panic!("{code:?}: {json} {errors}"),
                }
            }
            known
        };
        let asking = [scope.spawn(ask), scope.spawn(ask)];
        for _ in 0..5 {
            // A start that finds the spool in use ends at once.
            drop(home.start());
        }
        starting.store(false, std::sync::atomic::Ordering::Relaxed);
        assert!(asking.map(|asking| asking.join().unwrap()).iter().all(|known| *known > 0));
    });
}
