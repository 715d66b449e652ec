//! Events as they come, in a terminal and for scripts.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, ChildStdout};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::bridge::Home;
use crate::support::load::{Delivery, STREAM_PATH};
use crate::support::{await_until, signing, turns};

/// How long anything may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(70);
/// The same for the verb itself, which then says how much it saw.
const WITHIN: &str = "60s";

/// A home whose bridge takes only calls that are created, and writes files.
fn home() -> Home {
    let home = Home::new();
    home.configure_files_for("[call.created]");
    home
}

/// A call that is created.
fn call(number: u64) -> Delivery {
    Delivery::new("call.created", "default:tail", number, 0)
}

/// A `tail` that shows what happens from now on.
struct Tail {
    child: Child,
    shows: BufReader<ChildStdout>,
    said: BufReader<ChildStderr>,
}

impl Tail {
    fn start(home: &Home, arguments: &[&str]) -> Self {
        // Whoever started the tests may have had SIGHUP ignored, as nohup does.
        let wrapper = ["env", "--default-signal=HUP"];
        let mut child = home.spawn_verb_under(&wrapper, &[&["tail", "--for", WITHIN], arguments].concat());
        let shows = BufReader::new(child.stdout.take().unwrap());
        let said = BufReader::new(child.stderr.take().unwrap());
        let mut tail = Self { child, shows, said };
        let mut line = String::new();
        tail.said.read_line(&mut line).unwrap();
        assert!(line.starts_with("showing what happens from "), "{line}");
        tail
    }

    /// The next line that it shows, without its time; empty if it has ended.
    fn next_line(&mut self) -> String {
        let mut line = String::new();
        self.shows.read_line(&mut line).unwrap();
        without_time(line.trim_end())
    }

    /// What it has shown since when it ends, how it ended, and what it said about that.
    fn ended(mut self) -> (String, Option<i32>, String) {
        let status =
            await_until("it ends", DEADLINE, || self.child.try_wait().expect("the child can be asked"));
        let (mut shown, mut said) = (String::new(), String::new());
        self.shows.read_to_string(&mut shown).unwrap();
        self.said.read_to_string(&mut said).unwrap();
        (shown, status.code(), said)
    }

    /// The lines of one that has shown all that was asked for, without their times.
    #[track_caller]
    fn lines(self) -> Vec<String> {
        let (shown, code, said) = self.ended();
        assert_eq!(code, Some(0), "{shown}{said}");
        shown.lines().map(without_time).collect()
    }

    fn signal(&self, signal: Signal) {
        let process = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).unwrap();
        kill_process(process, signal).expect("it can be signalled");
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        // Fails only when the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A line without its time of day, if it has one.
fn without_time(line: &str) -> String {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b':');
    match line.split_once(' ') {
        Some((time, rest)) if time.len() == 8 && digits(time) => rest.to_owned(),
        _ => line.to_owned(),
    }
}

/// The twelve characters by which an event is found.
fn short(delivery: &Delivery) -> &str {
    &delivery.id["sha256-".len()..][..12]
}

#[test]
fn what_is_sent_is_seen_where_it_went() {
    let _turn = turns::in_company();
    let home = home();
    let bridge = home.start();
    let tail = Tail::start(&home, &["--count", "1"]);
    assert_eq!(call(1).send(&mut bridge.client()).unwrap().status, 200);
    let lines = tail.lines();
    let place = "call.created → stream.video.call-lifecycle 00000001.jsonl@0 +";
    assert!(lines.len() == 1 && lines[0].starts_with(place) && lines[0].ends_with(" ms"), "{lines:?}");

    // What people type elsewhere works here, also for what happened before.
    for verb in ["tap", "listen"] {
        let shown = home.run_verb(&[verb, "--since-start", "--count", "1", "--for", WITHIN]);
        assert!(shown.contains(place), "{shown}");
    }
    let accepted = ["tail", "--since-start", "--verdict", "accepted", "--count", "1", "--for", WITHIN];
    let shown = home.run_verb(&accepted);
    assert!(shown.contains(&format!(" accepted for local  stream-video {}", short(&call(1)))), "{shown}");
    bridge.stop();
}

#[test]
fn a_filtered_a_refused_and_a_repeated_delivery_each_have_their_line() {
    let _turn = turns::in_company();
    let home = home();
    let bridge = home.start();
    let mut client = bridge.client();
    let tail = Tail::start(&home, &["--count", "4"]);
    let filtered = Delivery::new("call.ring", "default:tail", 2, 0);
    for delivery in [&call(1), &call(1), &filtered] {
        assert_eq!(delivery.send(&mut client).unwrap().status, 200);
    }
    let body = call(3).body;
    let forged = signing::stream_with("another-secret-of-somebody-0001", &body);
    assert_eq!(client.post(STREAM_PATH, &[("x-signature", &forged)], &body).unwrap().status, 401);
    let lines = tail.lines();
    let refused = format!("401 stream-video wrong_signature {} bytes {}", body.len(), short(&call(3)));
    for expected in [
        format!("call.created = duplicate {}", short(&call(1))),
        format!("call.ring ✕ filtered: not on the list  stream-video {}", short(&filtered)),
        refused.clone(),
    ] {
        assert!(lines.contains(&expected), "{expected} is not in {lines:#?}");
    }

    let failed = Tail::start(&home, &["--since-start", "--failed", "--count", "1"]);
    assert_eq!(failed.lines(), [refused]);
    let of_one =
        ["--since-start", "--id", short(&filtered), "--type", "call.ring", "--source", "stream-video"];
    let of_one = Tail::start(&home, &[&of_one[..], &["--count", "1"]].concat());
    assert_eq!(of_one.lines().len(), 1);
    bridge.stop();
}

#[test]
fn escape_sequences_of_a_sender_are_text() {
    let _turn = turns::in_company();
    let home = home();
    let bridge = home.start();
    let mut client = bridge.client();
    let tail = Tail::start(&home, &["--count", "3"]);
    let steering = Delivery::new(r"call.\u001b[2J\u202e\u009b1m", "default:tail", 1, 0);
    let looks_escaped = Delivery::new(r"call.\\u{1b}[2J", "default:tail", 2, 0);
    for delivery in [&steering, &looks_escaped] {
        assert_eq!(delivery.send(&mut client).unwrap().status, 200);
    }
    let forged = client.post(STREAM_PATH, &[("x-signature", "\u{9b}2J")], &steering.body).unwrap();
    assert_eq!(forged.status, 401);
    let lines = tail.lines();
    let kept = format!("! quarantined: type stream-video {}", short(&steering));
    assert!(lines.contains(&kept), "what steers a terminal is no type: {lines:?}");
    let filtered = r"call.\\u{1b}[2J ✕ filtered";
    assert!(lines.iter().any(|line| line.starts_with(filtered)), "{lines:?}");
    assert!(!lines.iter().flat_map(|line| line.chars()).any(char::is_control), "{lines:?}");
    bridge.stop();
}

#[test]
fn lines_fit_eighty_columns() {
    let _turn = turns::in_company();
    let home = home();
    let topics = home.path("topics");
    let topic = "a-team-with-a-long-name.and-a-long-word-for-each.{provider}.{family}";
    let sink = format!("sinks:\n  local: {{ topic: {topic:?}, file: {{ dir: {} }} }}\n", topics.display());
    home.configure("", &sink);
    let bridge = home.start();
    let long = Delivery::new(&format!("call.{}", "created_".repeat(20)), "default:tail", 1, 0);
    for delivery in [&call(1), &long] {
        assert_eq!(delivery.send(&mut bridge.client()).unwrap().status, 200);
    }
    let terminal = ["sh", "-c", r#"script -qec "stty cols 80 && $0 $* 2>said" /dev/null"#];
    let arguments = ["tail", "--since-start", "--count", "2", "--for", WITHIN];
    let terminal = home.try_verb_under(&terminal, &arguments);
    let shown = String::from_utf8(terminal.stdout).unwrap();
    assert!(terminal.status.success(), "{shown}");
    let lines: Vec<_> = shown.lines().collect();
    assert_eq!(lines.len(), 2, "{shown}");
    for line in lines {
        assert!(line.chars().count() <= 80 && line.contains('…') && line.contains(" ms"), "{line}");
    }
    bridge.stop();
}

#[test]
fn ndjson_has_every_field_in_full() {
    let _turn = turns::in_company();
    let home = home();
    let bridge = home.start();
    let mut client = bridge.client();
    let tail = Tail::start(&home, &["--format", "ndjson", "--count", "3"]);
    for delivery in [&call(1), &Delivery::new("call.ring", "default:tail", 2, 0)] {
        assert_eq!(delivery.send(&mut client).unwrap().status, 200);
    }
    let shown: Vec<Value> =
        tail.lines().iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let answer = bridge.admin().get("/api/v1/events?after=start").unwrap();
    let page: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(Value::from(shown.clone()), page["items"]);
    let accepted = shown.iter().find(|step| step["verdict"] == "accepted").expect("it was accepted");
    assert_eq!((&accepted["id"], &accepted["selected_by"]), (&json!(call(1).id), &json!(["local"])));
    bridge.stop();
}

#[test]
fn tail_goes_on_over_a_restart_and_says_so_and_ends_with_the_bridge() {
    let _turn = turns::in_company();
    let home = home();
    let bridge = home.start();
    let mut tail = Tail::start(&home, &["--count", "2"]);
    let endless = Tail::start(&home, &[]);
    let is_place = |line: &str| line.starts_with("call.created → stream.video.call-lifecycle 0000000");
    assert_eq!(call(1).send(&mut bridge.client()).unwrap().status, 200);
    // It is shown before the bridge ends: what nobody has read by then is gone with the bridge.
    let line = tail.next_line();
    assert!(is_place(&line), "{line}");
    bridge.stop();
    let bridge = home.start();
    assert_eq!(call(2).send(&mut bridge.client()).unwrap().status, 200);
    let lines = tail.lines();
    assert!(lines.len() == 2 && is_place(&lines[1]), "{lines:?}");
    assert_eq!(lines[0], "-- the bridge has started again");

    bridge.stop();
    let (shown, code, said) = endless.ended();
    assert_eq!(code, Some(75), "{shown}{said}");
    assert!(
        said.contains("waiting up to 15 s for the bridge") && said.contains("the bridge was away for 15 s"),
        "{said}"
    );
}

#[test]
fn what_came_too_fast_to_be_kept_is_counted() {
    const DELIVERIES: u64 = 3000;
    let _turn = turns::in_company();
    let home = home();
    let sinks = format!(
        "select: [call.created]\ntimeline: {{ steps_max: 1000 }}\n\
         sinks:\n  local: {{ file: {{ dir: {} }} }}\n",
        home.path("topics").display()
    );
    home.configure("", &sinks);
    let bridge = home.start();
    let mut client = bridge.client();
    for number in 0..DELIVERIES {
        let filtered = Delivery::new("call.ring", "default:tail", number, 0);
        assert_eq!(filtered.send(&mut client).unwrap().status, 200);
    }
    // Steps that are collected while it reads would push out others.
    await_until("the last step is collected", Duration::from_secs(30), || {
        let last = Delivery::new("call.ring", "default:tail", DELIVERIES - 1, 0).id;
        let steps = bridge.admin().get(&format!("/api/v1/events/{last}")).ok()?.text();
        steps.contains("filtered").then_some(())
    });
    let mut tail = Tail::start(&home, &["--since-start"]);
    let first = tail.next_line();
    let number = |words: &str| words.replace(',', "").parse::<u64>().ok();
    let missed = first.strip_prefix("-- ").and_then(|line| line.strip_suffix(" steps were not shown"));
    let missed = missed.and_then(number).expect(&first);
    assert!(missed >= DELIVERIES - 1000, "{missed}");
    for _ in missed..DELIVERIES {
        let line = tail.next_line();
        assert!(line.starts_with("call.ring ✕ filtered"), "{line}");
    }
    tail.signal(Signal::INT);
    assert_eq!(tail.ended(), (String::new(), Some(0), String::new()));
    bridge.stop();
}

#[test]
fn the_exit_code_says_whether_what_was_awaited_came() {
    let _turn = turns::in_company();
    let home = home();
    let refused = home.try_verb(&["tail"]);
    assert_eq!(refused.status.code(), Some(74), "no bridge answers");
    let bridge = home.start();
    for (arguments, code, words) in [
        (&["--for", "300ms"][..], 0, ""),
        (&["--for", "300ms", "--count", "1"], 1, "only 0 of 1 steps came in time"),
        (&["--sink", "loca"], 2, "the configuration has no sink `loca`; did you mean `local`?"),
        (&["--source", "nobody"], 2, "the configuration has no source `nobody`"),
        (&["--verdict", "acepted"], 2, "expected accepted, filtered"),
        (&["--id", "9f"], 2, "the beginning of an id has 4 characters"),
        (&["--for", "soon"], 2, "--for"),
        (&["--count", "0"], 2, "--count"),
    ] {
        let output = home.try_verb(&[&["tail"], arguments].concat());
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
    // At no terminal there is nothing to restore, and every other signal ends it as it ends any program.
    for (signal, code) in [(Signal::INT, Some(0)), (Signal::TERM, None), (Signal::HUP, None)] {
        let tail = Tail::start(&home, &[]);
        tail.signal(signal);
        assert_eq!(tail.ended().1, code);
    }
    bridge.stop();
}

#[test]
fn send_says_where_each_event_went() {
    let _turn = turns::in_company();
    let home = home();
    let bridge = home.start();
    let send = |arguments: &[&str]| {
        home.run_verb(&[&["send", "stream-video", "call.created", "--format", "ndjson"], arguments].concat())
    };
    let sent: Vec<Value> = send(&["--count", "2", "--wait", WITHIN])
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(sent[0]["to"], json!(["local stream.video.call-lifecycle 00000001.jsonl@0"]));
    let second = sent[1]["to"][0].as_str().unwrap();
    assert!(second.starts_with("local stream.video.call-lifecycle 00000001.jsonl@"), "{second}");
    let table = home.run_verb(&["send", "stream-video", "call.created", "--wait", WITHIN]);
    assert!(table.lines().next().unwrap().ends_with("TO"), "{table}");
    assert!(!send(&["--no-wait"]).contains("\"to\""), "nobody waits for the sinks");
    assert!(
        !home.run_verb(&["send", "stream-video", "call.ring"]).contains("TO"),
        "a filtered event goes nowhere"
    );
    bridge.stop();
}

#[test]
fn on_a_terminal_what_was_sent_is_a_table_of_eighty_columns() {
    let _turn = turns::in_company();
    let home = home();
    let bridge = home.start();
    let terminal = ["sh", "-c", r#"script -qec "stty cols 80 && $0 $* 2>said" /dev/null"#];
    let sent = ["send", "stream-video", "call.created", "--wait", WITHIN];
    let sent = home.try_verb_under(&terminal, &sent);
    let shown = String::from_utf8(sent.stdout).unwrap();
    assert!(sent.status.success(), "{shown}");
    let widest = shown.lines().map(|line| line.chars().count()).max();
    assert!(widest <= Some(80) && shown.starts_with("TYPE "), "{shown}");
    let id = shown.lines().nth(1).and_then(|line| line.split_whitespace().nth(3)).expect(&shown);
    assert!(id.len() == 12 && !id.starts_with("sha256-"), "{shown}");
    assert!(shown.contains("00000001.jsonl@0"), "{shown}");
    let piped = home.run_verb(&["send", "stream-video", "call.created", "--no-wait"]);
    assert!(piped.contains("sha256-"), "{piped}");
    bridge.stop();
}

#[test]
fn send_says_which_sink_has_an_event_not_yet() {
    let _turn = turns::in_company();
    let home = home();
    std::fs::create_dir(home.path("topics")).unwrap();
    std::fs::write(home.path("topics/stream.video.call-lifecycle"), "a file in the way").unwrap();
    let bridge = home.start();
    let sent = home.run_verb(&["send", "stream-video", "call.created", "--format", "ndjson"]);
    let sent: Value = serde_json::from_str(&sent).unwrap();
    assert_eq!((&sent["verdict"], &sent["to"]), (&json!("accepted"), &json!(["local pending"])));
    bridge.stop();
}
