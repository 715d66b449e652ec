//! `fanbridge spool verify` of a log from which a segment was taken away, by what is known of the sinks.

use std::fs;
use std::process::{Command, Output};

use crate::support::bridge::{Home, free_port};
use crate::support::load::Delivery;
use crate::support::oracle::Ledger;
use crate::support::turns;

const LIMITS: &str =
    "shutdown_grace_seconds: 3\nlimits: { body_bytes_max: 32 KiB, inflated_bytes_max: 32 KiB }\n";

/// One sink takes everything, and the other one, if it is there, nothing.
fn configure(home: &Home, slow: &str) {
    let local = format!("  local: {{ file: {{ dir: {} }} }}\n", home.path("topics").display());
    home.configure("bytes_max: 64 MiB, segment_bytes: 1100 KiB", &format!("{LIMITS}sinks:\n{local}{slow}"));
}

fn first_segment(home: &Home) -> (std::path::PathBuf, usize) {
    let paths = fs::read_dir(home.path("spool")).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some_and(|kind| kind == "log")).collect();
    paths.sort();
    (paths[0].clone(), paths.len())
}

#[track_caller]
fn assert_said(ran: &Output, code: i32, said: &[&str]) {
    let text = String::from_utf8_lossy(&ran.stdout);
    assert_eq!(ran.status.code(), Some(code), "{text}{}", String::from_utf8_lossy(&ran.stderr));
    said.iter().for_each(|said| assert!(text.contains(said), "{said} is not in:\n{text}"));
}

#[test]
fn what_a_sink_has_not_got_is_judged_by_whether_it_is_still_configured() {
    let _turn = turns::in_company();
    let home = Home::new();
    let nowhere = free_port();
    let slow = format!("  slow: {{ kafka: {{ brokers: \"127.0.0.1:{nowhere}\" }} }}\n");
    configure(&home, &slow);
    let bridge = home.start();
    let (ledger, mut client) = (Ledger::default(), bridge.client());
    let mut events = (0..).map(|number| Delivery::new("call.created", "default:verify", number, 20_000));
    loop {
        events.by_ref().take(20).for_each(|event| event.hand_over(&mut client, &ledger));
        if first_segment(&home).1 > 2 {
            break;
        }
    }
    bridge.stop();
    fs::remove_file(first_segment(&home).0).unwrap();

    let dir = home.path("spool").display().to_string();
    let configured = home.try_verb(&["spool", "verify"]);
    assert_said(&configured, 1, &["cursor of `slow`: at 0\n  undelivered: positions 1 to ", "\ndamaged: "]);
    let beside = home.try_verb(&["spool", "verify", &dir]);
    assert_said(&beside, 1, &["undelivered: positions 1 to ", "\ndamaged: "]);

    // Without a configuration there is no telling.
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanbridge"));
    let alone = command.args(["spool", "verify", &dir]).env_remove("FANBRIDGE_CONFIG").output().unwrap();
    assert_said(
        &alone,
        1,
        &["cursor of `slow`: at 0\n", "undelivered if it is still a sink", "\nnot known to be clean: "],
    );

    configure(&home, &slow.replace("} }", "}, on_full: detach_sink }"));
    let detached = home.try_verb(&["spool", "verify"]);
    assert_said(&detached, 0, &["`on_full: detach_sink`", "and it will not get them", "\nclean: "]);

    configure(&home, "");
    for words in [&["spool", "verify"][..], &["spool", "verify", &dir]] {
        let removed = home.try_verb(words);
        assert_said(&removed, 0, &["cursor of `slow`: at 0, and it is no longer configured", "\nclean: "]);
    }

    // The configuration of another bridge does not tell which sinks this one has.
    let moved = home.path("moved");
    fs::rename(&dir, &moved).unwrap();
    for sink in [String::new(), slow.replace("} }", "}, on_full: detach_sink }")] {
        configure(&home, &sink);
        let others = home.try_verb(&["spool", "verify", moved.to_str().unwrap()]);
        assert_said(&others, 1, &["undelivered if it is still a sink", "\nnot known to be clean: "]);
        let warning = String::from_utf8_lossy(&others.stderr);
        assert!(warning.contains("spool, and ") && warning.contains("moved is verified"), "{warning}");
    }
    configure(&home, &slow);
    let named = home.try_verb(&["spool", "verify", moved.to_str().unwrap()]);
    assert_said(&named, 1, &["undelivered: positions 1 to ", "\ndamaged: "]);
}
