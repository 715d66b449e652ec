//! The configuration of a running bridge is read again: as a whole or not at all, and nobody notices but who
//! is meant to.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::OwnedFd;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, open};
use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::{Value, json};

use crate::support::bridge::{Bridge, Home};
use crate::support::client::{Answer, Client};
use crate::support::load::Delivery;
use crate::support::{await_until, readers, signing, turns};

/// How long anything may take on a busy machine.
pub const WITHIN: Duration = Duration::from_secs(60);
pub const CHANGE: &[(&str, &str)] = &[("x-fanbridge-request", "1")];
/// The type that is always selected, and those that are selected by turns.
const ALWAYS: &str = "call.created";
const BY_TURNS: [&str; 2] = ["call.ended", "call.ring"];

/// Configures a home: selected types, and more lines behind them.
fn configure(home: &Home, select: &str, more: &str) {
    let topics = home.path("topics").display().to_string();
    home.configure(
        "",
        &format!("select: {select}\n{more}sinks:\n  local: {{ file: {{ dir: {topics} }} }}\n"),
    );
}

/// The same with a file that a running bridge may read at any moment.
fn reconfigure(home: &Home, select: &str, more: &str) {
    let kept = Home::new();
    configure(&kept, select, more);
    let text = fs::read_to_string(kept.path("fanbridge.yaml")).unwrap();
    let text = text
        .replace(&kept.path("").display().to_string(), &home.path("").display().to_string())
        .replace(&format!("127.0.0.1:{}", kept.http), &format!("127.0.0.1:{}", home.http))
        .replace(&format!("127.0.0.1:{}", kept.admin), &format!("127.0.0.1:{}", home.admin));
    write(home, &text);
}

pub fn write(home: &Home, text: &str) {
    fs::write(home.path("new.yaml"), text).unwrap();
    fs::rename(home.path("new.yaml"), home.path("fanbridge.yaml")).unwrap();
}

fn home(select: &str) -> Home {
    let home = Home::new();
    configure(&home, select, "");
    home
}

pub fn asked(bridge: &Bridge, body: &Value) -> Answer {
    bridge.admin().post("/api/v1/reload", CHANGE, body.to_string().as_bytes()).expect("an answer")
}

pub fn document(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|_| panic!("{}", answer.text()))
}

/// What the bridge says of its configuration.
pub fn counts(bridge: &Bridge) -> Value {
    document(&bridge.admin().get("/api/v1/configuration").expect("an answer"))
}

/// Sends an event of a type; the verdict on it.
#[track_caller]
fn verdict(client: &mut Client, event_type: &str, number: u64) -> (String, String) {
    let delivery = Delivery::new(event_type, &format!("default:{number}"), number, 0);
    let answer = delivery.send(client).expect("an answer");
    assert!(answer.is_success(), "answered {}: {}", answer.status, answer.text());
    (delivery.id, document(&answer)["verdict"].as_str().expect("a verdict").to_owned())
}

/// Whether an event of this type is accepted now.
fn takes(bridge: &Bridge, event_type: &str) -> bool {
    static NUMBER: AtomicU64 = AtomicU64::new(1_000_000);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    verdict(&mut bridge.client(), event_type, number).1 == "accepted"
}

#[test]
fn what_a_reload_changes_counts_at_once_and_is_told() {
    let _turn = turns::in_company();
    let home = home("[call.created]");
    let bridge = home.start();
    assert!(takes(&bridge, ALWAYS) && !takes(&bridge, BY_TURNS[0]));
    let before = counts(&bridge);
    assert_eq!(before["last_reload"], Value::Null);
    let answer = document(&asked(&bridge, &json!({})));
    assert_eq!((&answer["result"], &answer["changes"]), (&json!("unchanged"), &json!([])), "{answer}");

    reconfigure(&home, "[call.created, call.ended]", "");
    let answer = document(&asked(&bridge, &json!({ "dry_run": true })));
    assert_eq!(answer["result"], "would_apply", "{answer}");
    assert!(!takes(&bridge, BY_TURNS[0]), "a dry run changes nothing");

    let answer = document(&asked(&bridge, &json!({ "dry_run": false })));
    assert_eq!(
        (&answer["result"], &answer["before"]),
        (&json!("applied"), &before["fingerprint"]),
        "{answer}"
    );
    let value = &answer["changes"][0];
    assert_eq!((&value["path"], &value["change"]), (&json!("select"), &json!("changed")));
    assert!(value["line"].as_str().unwrap().ends_with("fanbridge.yaml:7:1"), "{answer}");
    assert!(takes(&bridge, ALWAYS) && takes(&bridge, BY_TURNS[0]) && !takes(&bridge, BY_TURNS[1]));

    let after = counts(&bridge);
    assert_eq!(after["fingerprint"], answer["fingerprint"]);
    assert_eq!(after["values"]["select"], json!(["call.created", "call.ended"]));
    assert_eq!(
        (&after["last_reload"]["result"], &after["last_reload"]["by"]),
        (&json!("applied"), &json!("api"))
    );
    assert!(after["since"].as_str() > before["since"].as_str(), "{after}");
    let fingerprint = format!("fingerprint={}", answer["fingerprint"]);
    assert_eq!(bridge.metric("fanbridge_config_info", &[&fingerprint]), 1.0);
    assert_eq!(bridge.metric("fanbridge_config_info", &[]), 1.0, "there is one series");
    assert_eq!(bridge.metric("fanbridge_config_reloads_total", &["result=\"applied\""]), 1.0);
    bridge.assert_logs("the configuration was read again and counts from now on");

    // What explains an event judges by it, too.
    let explained = home.run_verb(&["explain", "--type", "call.ended"]);
    assert!(explained.contains("local") && !explained.contains("not selected"), "{explained}");
    bridge.stop();
}

#[test]
fn a_file_with_an_error_leaves_the_bridge_as_it_was() {
    let _turn = turns::in_company();
    let home = home("[call.created]");
    let bridge = home.start();
    let before = counts(&bridge);
    let text = fs::read_to_string(home.path("fanbridge.yaml")).unwrap();
    write(&home, &text.replace("[call.created]", "[call.creatd, call.ended]"));
    for dry_run in [true, false] {
        let answer = asked(&bridge, &json!({ "dry_run": dry_run }));
        let said = document(&answer);
        assert_eq!((answer.status, &said["code"]), (422, &json!("configuration_errors")), "{said}");
        let problem = &said["problems"][0];
        assert_eq!((&problem["line"], &problem["column"]), (&json!(7), &json!(10)), "{said}");
        assert!(said["detail"].as_str().unwrap().contains("fanbridge.yaml:7:10: "), "{said}");
        assert!(!said.to_string().contains(signing::STREAM_SECRET));
    }
    write(&home, "\t{");
    assert_eq!(asked(&bridge, &json!({})).status, 422);
    fs::remove_file(home.path("fanbridge.yaml")).unwrap();
    let answer = asked(&bridge, &json!({}));
    assert_eq!((answer.status, &document(&answer)["code"]), (409, &json!("reload_failed")));

    let after = counts(&bridge);
    assert_eq!((&after["fingerprint"], &after["since"]), (&before["fingerprint"], &before["since"]));
    assert_eq!(after["last_reload"]["result"], "failed");
    assert!(takes(&bridge, ALWAYS) && !takes(&bridge, BY_TURNS[0]));
    assert_eq!(bridge.metric("fanbridge_config_reload_refused", &[]), 1.0);
    assert_eq!(bridge.metric("fanbridge_config_reloads_total", &["result=\"errors\""]), 2.0);
    bridge.assert_logs("is not taken over, so nothing changes: the configuration has errors");

    write(&home, &text);
    assert_eq!(document(&asked(&bridge, &json!({})))["result"], "unchanged");
    assert_eq!(bridge.metric("fanbridge_config_reload_refused", &[]), 0.0);
    bridge.stop();
}

#[test]
fn a_reload_that_needs_a_restart_changes_nothing_and_says_which_line() {
    let _turn = turns::in_company();
    let home = home("[call.created]");
    let bridge = home.start();
    let before = counts(&bridge);
    reconfigure(&home, "[call.created, call.ended]", "limits: { body_bytes_max: 1 MiB }\n");
    let answer = asked(&bridge, &json!({}));
    let said = document(&answer);
    assert_eq!((answer.status, &said["code"]), (409, &json!("restart_needed")), "{said}");
    let [value] = &said["needs_restart"].as_array().unwrap()[..] else { panic!("{said}") };
    assert_eq!(value["path"], "limits.body_bytes_max");
    assert!(value["line"].as_str().unwrap().ends_with("fanbridge.yaml:8:11"), "{said}");
    assert!(value["what"].as_str().unwrap().contains("2 MiB"), "{said}");
    assert_eq!(counts(&bridge)["fingerprint"], before["fingerprint"]);
    assert!(!takes(&bridge, BY_TURNS[0]), "its other changes are not taken over either");

    let refused = home.try_verb(&["reload"]);
    let (out, err) = (String::from_utf8(refused.stdout).unwrap(), String::from_utf8(refused.stderr).unwrap());
    assert_eq!(refused.status.code(), Some(1), "{out}{err}");
    assert!(out.starts_with("restart  limits.body_bytes_max  ") && out.ends_with("yaml:8:11\n"), "{out}");
    assert!(err.contains("nothing was changed: a running bridge cannot take this over"), "{err}");
    bridge.stop();
}

#[test]
fn the_verb_says_what_changes_and_what_went_wrong() {
    let _turn = turns::in_company();
    let home = home("[call.created]");
    let bridge = home.start();
    reconfigure(&home, "all", "");
    for (arguments, told) in [
        (&["reload", "--dry-run"][..], "can be taken over, instead of "),
        (&["reload"], "counts from now on, instead of "),
        (&["reload"], "which counts already"),
    ] {
        let output = home.try_verb(arguments);
        let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {err}");
        assert!(err.contains(told), "{arguments:?}: {err}");
        let is_change = out.starts_with("changed  select  ") && out.ends_with("fanbridge.yaml:7:1\n");
        assert_eq!(is_change, !told.contains("already"), "{arguments:?}: {out}");
    }
    let json: Value = serde_json::from_str(&home.run_verb(&["reload", "--format", "json"])).unwrap();
    assert_eq!(json["result"], "unchanged", "{json}");
    assert!(takes(&bridge, BY_TURNS[0]));
    bridge.stop();
    let output = home.try_verb(&["reload"]);
    assert_eq!(output.status.code(), Some(75), "{output:?}");
}

#[test]
fn a_file_that_changes_is_read_again_by_itself_if_that_is_asked_for() {
    let _turn = turns::in_company();
    let home = home("[call.created]");
    let bridge = home.start();
    // What is not asked for is asked for by a reload.
    reconfigure(&home, "[call.created]", "reload_on_change: true\n");
    assert_eq!(document(&asked(&bridge, &json!({})))["result"], "applied");
    reconfigure(&home, "[call.created, call.ended]", "reload_on_change: true\n");
    await_until("the change counts", WITHIN, || takes(&bridge, BY_TURNS[0]).then_some(()));
    assert_eq!(counts(&bridge)["last_reload"]["by"], "file");

    // A file that cannot be used is read once, and not again and again.
    write(&home, "nothing: of use\n");
    let refused = || bridge.metric("fanbridge_config_reloads_total", &["result=\"errors\""]);
    await_until("the change is refused", WITHIN, || (refused() > 0.0).then_some(()));
    thread::sleep(Duration::from_secs(6));
    assert_eq!(refused(), 1.0);

    reconfigure(&home, "[call.created]", "");
    await_until("the change counts", WITHIN, || (!takes(&bridge, BY_TURNS[0])).then_some(()));
    reconfigure(&home, "all", "");
    thread::sleep(Duration::from_secs(6));
    assert!(!takes(&bridge, BY_TURNS[0]), "nobody looks any more");
    bridge.stop();
}

/// Both ends of a terminal.
fn terminal() -> (OwnedFd, OwnedFd) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&master).and_then(|()| unlockpt(&master)).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    (master, open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).unwrap())
}

#[test]
fn a_hangup_at_a_terminal_is_a_reload_and_the_end_of_the_terminal_is_an_orderly_stop() {
    let _turn = turns::in_company();
    let home = home("[call.created]");
    let (master, end) = terminal();
    // In a session of its own, so that the terminal is the bridge's. Whoever started the tests may have had
    // SIGHUP ignored, as nohup does.
    let mut bridge = home.start_at(&["setsid", "--ctty", "env", "--default-signal=HUP"], end);
    reconfigure(&home, "all", "");
    bridge.signal(Signal::HUP);
    await_until("the change counts", WITHIN, || takes(&bridge, BY_TURNS[0]).then_some(()));
    assert_eq!(counts(&bridge)["last_reload"]["by"], "signal");
    drop(master);
    let status = bridge.await_exit(WITHIN);
    assert!(status.success(), "{status}");
    assert!(bridge.log().contains("the bridge has stopped"), "{}", bridge.log());
}

/// One delivery: when it was sent and answered, and what became of it.
struct Sent {
    event_type: &'static str,
    began: Instant,
    ended: Instant,
    accepted: bool,
}

/// Sends events of every type until the end.
fn send_until(ended: &AtomicBool, port: u16, sender: u64, sent: &Mutex<BTreeMap<String, Sent>>) {
    let mut client = Client::new(port);
    let types = [ALWAYS, BY_TURNS[0], BY_TURNS[1]];
    for number in 0.. {
        if ended.load(Ordering::Relaxed) {
            return;
        }
        let (event_type, began) = (types[number as usize % types.len()], Instant::now());
        let (id, verdict) = verdict(&mut client, event_type, sender * 1_000_000_000 + number);
        let accepted = match verdict.as_str() {
            "accepted" => true,
            "filtered" => false,
            other => panic!("{id} is {other}"),
        };
        sent.lock().unwrap().insert(id, Sent { event_type, began, ended: Instant::now(), accepted });
    }
}

/// Reloads valid and unusable files by turns; from when until when which type was selected beside the one
/// that always is.
fn reload_by_turns(home: &Home, bridge: &Bridge, count: usize) -> Vec<(Instant, Instant, &'static str)> {
    let (mut windows, mut since, mut selected) = (Vec::new(), Instant::now(), BY_TURNS[0]);
    let mut fingerprint = counts(bridge)["fingerprint"].clone();
    for round in 0..count {
        let (select, more, expected) = match round % 4 {
            0 | 2 => (BY_TURNS[(round / 2 + 1) % 2], String::new(), 200),
            1 => (BY_TURNS[round % 2], "limits: { connections_max: many }\n".to_owned(), 422),
            _ => (BY_TURNS[round % 2], "limits: { connections_max: 77 }\n".to_owned(), 409),
        };
        let comment = format!("# {round}\n{more}");
        reconfigure(home, &format!("[{ALWAYS}, {select}]"), &comment);
        let until = Instant::now();
        let answer = asked(bridge, &json!({}));
        assert_eq!(answer.status, expected, "round {round}: {}", answer.text());
        if expected == 200 {
            windows.push((since, until, selected));
            (since, selected) = (Instant::now(), select);
            fingerprint = document(&answer)["fingerprint"].clone();
        }
        assert_eq!(counts(bridge)["fingerprint"], fingerprint, "round {round}");
        thread::sleep(Duration::from_millis(10));
    }
    windows.push((since, Instant::now(), selected));
    windows
}

/// How many threads and open files the bridge has.
pub fn kept(bridge: &Bridge) -> [usize; 2] {
    ["task", "fd"].map(|what| fs::read_dir(format!("/proc/{}/{what}", bridge.pid())).unwrap().count())
}

/// How many series there are, without those that a reload counts.
pub fn series(bridge: &Bridge) -> usize {
    let text = bridge.admin().get("/metrics").unwrap().text();
    text.lines().filter(|line| !line.starts_with('#') && !line.contains("config_reloads_total")).count()
}

#[test]
fn a_hundred_reloads_under_load_lose_nothing_judge_nothing_by_a_mixture_and_refuse_nobody() {
    const SENDERS: u64 = 4;
    let _turn = turns::alone();
    let home = home(&format!("[{ALWAYS}, {}]", BY_TURNS[0]));
    let bridge = home.start();
    let (ended, sent) = (AtomicBool::new(false), Mutex::new(BTreeMap::new()));
    let (windows, before, after) = thread::scope(|scope| {
        for sender in 0..SENDERS {
            let (ended, port, sent) = (&ended, bridge.http_port(), &sent);
            scope.spawn(move || send_until(ended, port, sender, sent));
        }
        let stop = StopAtEnd(&ended);
        reload_by_turns(&home, &bridge, 8);
        let before = (kept(&bridge), series(&bridge));
        let windows = reload_by_turns(&home, &bridge, 100);
        let after = (kept(&bridge), series(&bridge));
        drop(stop);
        (windows, before, after)
    });
    let sent = sent.into_inner().unwrap();
    let (kept_before, kept_after) = (before.0, after.0);
    assert!(
        kept_after.iter().zip(&kept_before).all(|(after, before)| *after <= before + 8),
        "{before:?} {after:?}"
    );
    assert_eq!(before.1, after.1, "series come and stay");

    // What was under way during a reload may be judged by either configuration; all else by its own.
    let mut judged = 0;
    for one in sent.values() {
        assert!(one.accepted || one.event_type != ALWAYS, "the type that is always selected was filtered");
        let window = windows.iter().find(|(since, until, _)| *since <= one.began && one.ended <= *until);
        if let Some((_, _, selected)) = window.filter(|_| one.event_type != ALWAYS) {
            assert_eq!(one.accepted, one.event_type == *selected, "{}", one.event_type);
            judged += 1;
        }
    }
    assert!(judged > 100, "only {judged} were judged within a window");
    let delivered =
        || -> Vec<String> { readers::files(&home.path("topics")).into_iter().map(|a| a.id).collect() };
    let accepted: Vec<&String> = sent.iter().filter(|(_, one)| one.accepted).map(|(id, _)| id).collect();
    await_until("all is delivered", WITHIN, || (delivered().len() >= accepted.len()).then_some(()));
    let mut arrived = delivered();
    arrived.sort();
    assert_eq!(arrived.iter().collect::<Vec<_>>(), accepted, "each accepted event once, and no other");
    for code in ["401", "403", "404", "503"] {
        assert_eq!(bridge.metric("fanbridge_requests_total", &[&format!("code=\"{code}\"")]), 0.0);
    }
    println!("{} deliveries, {judged} of them judged within a window", sent.len());
    bridge.stop();
}

/// Has the senders end also if a check fails.
pub struct StopAtEnd<'a>(pub &'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
