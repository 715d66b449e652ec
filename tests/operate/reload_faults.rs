//! Reloads when something else goes wrong: a kill, a stop, a disk that is full or does not answer, a sink
//! that hangs.

use std::fs;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::reload::{CHANGE, StopAtEnd, WITHIN, asked, counts, document, write};
use crate::support::aws::{Aws, Message, REGION};
use crate::support::bridge::{Bridge, Home};
use crate::support::client::Client;
use crate::support::dice::Dice;
use crate::support::inject::{self, FileFault};
use crate::support::load::{Delivery, Load, Shape};
use crate::support::oracle::{Arrival, Ledger};
use crate::support::{await_until, readers, turns};

/// How long a reload can take that is refused because a disk does not answer, on a busy machine.
const BOUNDED: Duration = Duration::from_secs(40);
/// Most records that a kill repeats.
const WINDOW: usize = 8192;

/// Writes a configuration: what is above the sinks, and the sinks, each on a line, beside `local`. A running
/// bridge can read it at any moment.
fn configure(home: &Home, more: &str, sinks: &[String]) {
    let path = |name: &str| home.path(name).display().to_string();
    let sinks: String = sinks.iter().map(|sink| format!("  {sink}\n")).collect();
    let text = format!(
        "http: {{ listen: 127.0.0.1:{} }}\nadmin: {{ listen: 127.0.0.1:{} }}\n\
         spool: {{ dir: {}, free_bytes_min: 0 }}\n\
         sources:\n  stream-video: {{ provider: stream, secrets: [env:STREAM_SECRET] }}\n\
         {more}sinks:\n  local: {{ file: {{ dir: {} }} }}\n{sinks}",
        home.http,
        home.admin,
        path("spool"),
        path("topics")
    );
    write(home, &text);
}

/// A file sink's line.
fn file_sink(home: &Home, name: &str, dir: &str, more: &str) -> String {
    format!("{name}: {{ {more}file: {{ dir: {} }} }}", home.path(dir).display())
}

fn reload(bridge: &Bridge) -> (u16, Value) {
    let answer = asked(bridge, &json!({}));
    (answer.status, document(&answer))
}

/// Has the bridge take the file over; a sink that is still at the change before is waited for.
#[track_caller]
fn taken_over(bridge: &Bridge) -> Value {
    await_until("the reload is taken over", WITHIN, || {
        let (status, said) = reload(bridge);
        assert!(status == 200 || said.to_string().contains("has not ended yet"), "{said}");
        (status == 200).then_some(said)
    })
}

fn hand_over(bridge: &Bridge, ledger: &Ledger, numbers: std::ops::Range<u64>) {
    let mut client = bridge.client();
    for number in numbers {
        Delivery::new("call.created", "default:reload", number, 0).hand_over(&mut client, ledger);
    }
}

fn arrivals(home: &Home, dirs: &[&str]) -> Vec<Arrival> {
    let of = |dir: &&str| {
        let renamed = move |one: Arrival| Arrival { lane: format!("{dir}/{}", one.lane), ..one };
        readers::files(&home.path(dir)).into_iter().map(renamed).collect::<Vec<_>>()
    };
    dirs.iter().flat_map(of).collect()
}

#[track_caller]
fn judge(home: &Home, ledger: &Ledger, dirs: &[&str], kills: usize) {
    let arrived = readers::drained(ledger, Duration::from_secs(20), || arrivals(home, dirs));
    ledger.judge(&arrived).assert_kept(kills, WINDOW);
}

/// The sinks of a turn: one moves, one takes other topics, one comes and goes.
fn by_turns(home: &Home, turn: usize) -> Vec<String> {
    let mut sinks = vec![
        file_sink(home, "moved", &format!("moved-{}", turn / 2 % 2), ""),
        file_sink(home, "named", "named", &format!("topic: \"named-{}\", ", turn % 2)),
    ];
    if turn % 3 != 1 {
        sinks.push(file_sink(home, "guest", "guest", ""));
    }
    sinks
}

#[test]
fn a_stop_during_a_reload_and_a_reload_during_a_stop_end_in_order() {
    let _turn = turns::in_company();
    let home = Home::new();
    let ledger = Ledger::default();
    for life in 0..5_u64 {
        configure(&home, "", &by_turns(&home, 0));
        let mut bridge = home.start();
        let ended = AtomicBool::new(false);
        let statuses = thread::scope(|scope| {
            let (ended, home) = (&ended, &home);
            let stop = StopAtEnd(ended);
            let reloads = scope.spawn(move || {
                let mut statuses = Vec::new();
                for turn in 0.. {
                    if ended.load(Ordering::Relaxed) {
                        break;
                    }
                    configure(home, "", &by_turns(home, turn));
                    let answer = Client::new(home.admin).post("/api/v1/reload", CHANGE, b"{}");
                    statuses.extend(answer.ok().map(|answer| (answer.status, answer.text())));
                }
                statuses
            });
            hand_over(&bridge, &ledger, life * 100..life * 100 + 30);
            thread::sleep(Duration::from_millis(37 * life));
            bridge.terminate();
            let status = bridge.await_exit(WITHIN);
            assert!(status.success(), "{status}: {}", bridge.log_tail());
            drop(stop);
            reloads.join().expect("no panic")
        });
        let is_known = |(status, said): &&(u16, String)| {
            *status == 200 || said.contains("has not ended yet") || said.contains("the bridge stops")
        };
        assert_eq!(statuses.iter().find(|one| !is_known(one)), None);
    }
    configure(&home, "", &by_turns(&home, 0));
    let bridge = home.start();
    for dirs in [&["topics"][..], &["moved-0", "moved-1"], &["named"], &["guest"]] {
        judge(&home, &ledger, dirs, 0);
    }
    bridge.stop();
}

#[test]
fn a_sink_whose_broker_does_not_answer_is_changed_and_removed_within_a_bound() {
    let _turn = turns::in_company();
    let home = Home::new();
    // It takes connections and says nothing, like a broker that is frozen.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let frozen = |linger: u32| {
        let properties = format!("properties: {{ linger.ms: {linger} }}");
        [format!("frozen: {{ kafka: {{ brokers: \"127.0.0.1:{port}\", {properties} }} }}")]
    };
    configure(&home, "", &frozen(1));
    let bridge = home.start();
    let ledger = Ledger::default();
    hand_over(&bridge, &ledger, 0..50);
    for (turn, sinks) in [&frozen(2)[..], &frozen(3), &[], &frozen(4), &[]].into_iter().enumerate() {
        configure(&home, "", sinks);
        let begun = Instant::now();
        taken_over(&bridge);
        println!("turn {turn} took {:.1?}", begun.elapsed());
        assert!(begun.elapsed() < BOUNDED, "{:?}", begun.elapsed());
        let from = 100 * (turn as u64 + 1);
        hand_over(&bridge, &ledger, from..from + 50);
    }
    bridge.assert_logs("the sink was removed from the configuration with `left` undelivered records");
    judge(&home, &ledger, &["topics"], 0);
    bridge.stop();
}

#[test]
fn a_directory_whose_disk_does_not_answer_has_the_reload_refused_and_the_bridge_goes_on() {
    let _turn = turns::in_company();
    if !inject::can_attach("a directory that cannot be made for now") {
        return;
    }
    let home = Home::new();
    configure(&home, "", &[]);
    let mut bridge = home.start();
    let ledger = Ledger::default();
    hand_over(&bridge, &ledger, 0..20);
    judge(&home, &ledger, &["topics"], 0);
    let before = counts(&bridge);
    let fault = FileFault::everywhere(bridge.pid(), "mkdir:delay_enter=600000000");
    configure(&home, "select: [call.ended]\n", &[file_sink(&home, "guest", "guest", "")]);
    let begun = Instant::now();
    let answer = bridge.admin().with_timeout(BOUNDED).post("/api/v1/reload", CHANGE, b"{}");
    let answer = answer.expect("an answer");
    println!("refused after {:.1?}", begun.elapsed());
    assert_eq!(answer.status, 409, "{}", answer.text());
    assert!(answer.text().contains("could not be made within"), "{}", answer.text());
    assert_eq!(counts(&bridge)["fingerprint"], before["fingerprint"]);
    hand_over(&bridge, &ledger, 20..40);
    judge(&home, &ledger, &["topics"], 0);

    // What needs no directory is taken over all the same.
    configure(&home, "select: [call.created, call.ended]\n", &[]);
    assert_eq!(reload(&bridge).0, 200);
    hand_over(&bridge, &ledger, 40..60);
    judge(&home, &ledger, &["topics"], 0);
    bridge.terminate();
    // A tracer that ends while it passes a signal on can take it along.
    bridge.assert_logs("the bridge stops: it takes no new deliveries");
    drop(fault);
    let status = bridge.await_exit(WITHIN);
    assert!(status.success(), "{status}: {}", bridge.log_tail());
}

#[test]
fn without_room_in_the_state_a_reload_changes_nothing_and_says_so() {
    let _turn = turns::in_company();
    if !inject::can_attach("no room for a configuration") {
        return;
    }
    let home = Home::new();
    configure(&home, "select: [call.created]\n", &[]);
    let bridge = home.start();
    let ledger = Ledger::default();
    hand_over(&bridge, &ledger, 0..20);
    judge(&home, &ledger, &["topics"], 0);
    let before = counts(&bridge);
    let no_room =
        FileFault::begin(bridge.pid(), &home.path("spool/state.redb"), "pwrite64,ftruncate:error=ENOSPC");
    for sinks in [&[][..], &[file_sink(&home, "guest", "guest", "")]] {
        configure(&home, "select: [call.ended]\n", sinks);
        let (status, said) = reload(&bridge);
        assert_eq!((status, &said["code"]), (409, &json!("reload_failed")), "{said}");
        let detail = said["detail"].as_str().unwrap();
        println!("{detail}");
        assert!(detail.contains("space"), "{said}");
        assert_eq!(counts(&bridge)["fingerprint"], before["fingerprint"]);
        assert!(!home.path("guest").exists(), "what was made is removed again");
    }
    hand_over(&bridge, &ledger, 20..40);
    drop(no_room);
    let sinks = [file_sink(&home, "guest", "guest", "")];
    configure(&home, "select: [call.created, call.ended]\n", &sinks);
    await_until("there is room again", WITHIN, || (reload(&bridge).0 == 200).then_some(()));
    let later = Ledger::default();
    hand_over(&bridge, &later, 40..60);
    judge(&home, &later, &["guest"], 0);
    hand_over(&bridge, &ledger, 60..80);
    await_until("all is delivered", WITHIN, || (arrivals(&home, &["topics"]).len() == 80).then_some(()));
    let guests = || arrivals(&home, &["guest"]).len();
    await_until("the guest has what came since", WITHIN, || (guests() >= 40).then_some(()));
    assert_eq!(guests(), 40, "it begins with its addition");
    bridge.stop();
}

#[test]
fn a_sink_that_cannot_be_made_has_the_whole_file_refused() {
    let _turn = turns::in_company();
    let home = Home::new();
    configure(&home, "select: [call.created]\n", &[]);
    let bridge = home.start();
    let before = counts(&bridge);
    fs::write(home.path("in-the-way"), "").unwrap();
    let sinks =
        [file_sink(&home, "fine", "fine/deep", ""), file_sink(&home, "guest", "in-the-way/guest", "")];
    let extra = "  extra: { provider: stream, secrets: [env:STREAM_SECRET] }\n";
    configure(&home, &format!("{extra}select: [call.ended]\n"), &sinks);
    for dry_run in [true, false] {
        let answer = asked(&bridge, &json!({ "dry_run": dry_run }));
        let said = document(&answer);
        assert_eq!((answer.status, &said["code"]), (409, &json!("reload_failed")), "{said}");
        let detail = said["detail"].as_str().unwrap();
        assert!(
            detail.contains("sink `guest` cannot be made") && detail.contains("in-the-way/guest"),
            "{said}"
        );
        assert!(!home.path("fine").exists(), "what was made for the sink before it is removed again");
    }
    assert_eq!(counts(&bridge)["fingerprint"], before["fingerprint"]);
    let verdict = |event_type: &str, number: u64| {
        let delivery = Delivery::new(event_type, "default:reload", number, 0);
        document(&delivery.send(&mut bridge.client()).expect("an answer"))["verdict"].clone()
    };
    assert_eq!(
        (verdict("call.created", 1), verdict("call.ended", 2)),
        (json!("accepted"), json!("filtered"))
    );
    let extra = bridge.client().post("/in/extra", &[], b"{}").expect("an answer");
    assert_eq!(extra.status, 404, "no source was added");
    let status = document(&bridge.admin().get("/api/status").expect("an answer"));
    assert_eq!(status["sinks"].as_array().map(Vec::len), Some(1), "{status}");
    bridge.stop();
}

#[test]
fn a_paused_sink_stays_paused_over_changes_of_it_and_of_others() {
    let _turn = turns::in_company();
    let home = Home::new();
    let lake = |dir: &str, topic: &str| file_sink(&home, "lake", dir, &format!("topic: {topic}, "));
    configure(&home, "", &[lake("lake", "one")]);
    let bridge = home.start();
    home.run_verb(&["pause", "lake", "--reason", "a test"]);
    let ledger = Ledger::default();
    hand_over(&bridge, &ledger, 0..10);
    let guest = file_sink(&home, "guest", "guest", "");
    for sinks in [&[lake("lake", "two")][..], &[lake("other", "two")], &[lake("other", "two"), guest]] {
        configure(&home, "", sinks);
        taken_over(&bridge);
        judge(&home, &ledger, &["topics"], 0);
        thread::sleep(Duration::from_millis(300));
        assert_eq!(arrivals(&home, &["lake", "other"]).len(), 0, "{sinks:?}");
        assert_eq!(bridge.metric("fanbridge_sink_paused", &["sink=\"lake\""]), 1.0);
    }
    home.run_verb(&["resume", "lake"]);
    judge(&home, &ledger, &["other"], 0);
    // It goes and comes back while it is paused.
    home.run_verb(&["pause", "lake", "--reason", "a test"]);
    hand_over(&bridge, &ledger, 10..20);
    for sinks in [&[][..], &[lake("other", "two")]] {
        configure(&home, "", sinks);
        taken_over(&bridge);
    }
    thread::sleep(Duration::from_millis(300));
    assert_eq!(arrivals(&home, &["other"]).len(), 10, "it is paused still");
    home.run_verb(&["resume", "lake"]);
    judge(&home, &ledger, &["other"], 0);
    bridge.stop();
}

#[test]
fn a_replay_to_a_sink_that_is_removed_stops_and_says_why() {
    let _turn = turns::in_company();
    let home = Home::new();
    configure(&home, "", &[file_sink(&home, "lake", "lake", "")]);
    let bridge = home.start();
    let ledger = Ledger::default();
    hand_over(&bridge, &ledger, 0..200);
    judge(&home, &ledger, &["lake"], 0);
    // At one event a second, it is not done before the sink is gone.
    home.run_verb(&["replay", "--sink", "lake", "--type", "call.created", "--rate", "1", "--yes"]);
    configure(&home, "", &[]);
    taken_over(&bridge);
    let replay = await_until("the replay stops", WITHIN, || {
        let shown = home.run_verb(&["replay", "show", "1", "--format", "json"]);
        let replay: Value = serde_json::from_str(&shown).expect("JSON");
        (replay["state"] != "running").then_some(replay)
    });
    assert_eq!(replay["state"], "stopped", "{replay}");
    assert!(replay["because"].as_str().is_some_and(|why| why.contains("lake")), "{replay}");
    // Back again, the sink gets what is new, and the replay stays where it stopped.
    configure(&home, "", &[file_sink(&home, "lake", "lake", "")]);
    taken_over(&bridge);
    hand_over(&bridge, &ledger, 200..210);
    judge(&home, &ledger, &["topics"], 0);
    await_until("what is new is delivered", WITHIN, || {
        ledger.missing(arrivals(&home, &["lake"]).iter().map(|one| one.id.as_str())).is_empty().then_some(())
    });
    bridge.stop();
}

#[test]
fn a_queue_goes_on_over_reloads_and_one_that_is_changed_loses_no_message() {
    let _turn = turns::in_company();
    let Some(aws) = Aws::connect("a queue over reloads") else { return };
    let (queue, home) = (aws.queue("reloads", &[]), Home::new());
    let more = |wait: u32, select: &str| {
        format!(
            "  queue: {{ provider: stream, sqs: {{ queue_url: \"{}\", receivers_max: {wait} }} }}\n\
             aws: {{ endpoint: \"{}\", region: {REGION} }}\nselect: {select}\n",
            queue.url,
            aws.endpoint()
        )
    };
    configure(&home, &more(1, "all"), &[]);
    let bridge = home.start();
    let message = |number: usize| {
        let call = number % 7;
        Message::new(format!(r#"{{"type":"call.created","call_cid":"default:{call}","number":{number}}}"#))
    };
    let mut sent = 0;
    for turn in 0..10_usize {
        let messages: Vec<_> = (sent..sent + 30).map(message).collect();
        queue.send(&messages);
        sent += 30;
        // Unchanged but for the rules, changed, gone for a moment.
        match turn % 3 {
            0 => configure(&home, &more(1, "[call.created, call.ended]"), &[]),
            1 => configure(&home, &more(2, "all"), &[]),
            _ => configure(
                &home,
                &format!("aws: {{ endpoint: \"{}\", region: {REGION} }}\n", aws.endpoint()),
                &[],
            ),
        }
        taken_over(&bridge);
    }
    configure(&home, &more(1, "all"), &[]);
    taken_over(&bridge);
    let count = || arrivals(&home, &["topics"]).len();
    await_until("all messages are delivered", WITHIN, || (count() >= sent).then_some(()));
    queue.await_empty(WITHIN);
    assert_eq!(count(), sent, "each once");
    bridge.stop();
}

mod alone {
    use super::*;

    /// Has the bridge read its configuration again and again, whatever the answer is.
    fn reload_until(ended: &AtomicBool, home: &Home, turn: &AtomicUsize, granted: &AtomicUsize) {
        while !ended.load(Ordering::Relaxed) {
            configure(home, "", &by_turns(home, turn.fetch_add(1, Ordering::Relaxed)));
            let answer = Client::new(home.admin).post("/api/v1/reload", CHANGE, b"{}");
            if answer.is_ok_and(|answer| answer.status == 200) {
                granted.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    #[test]
    fn a_bridge_that_is_killed_amid_reloads_comes_back_with_everything() {
        const KILLS: usize = 20;
        let _turn = turns::alone();
        let home = Home::new();
        configure(&home, "", &by_turns(&home, 0));
        let mut dice = Dice::thrown_for("kills amid reloads");
        let shape = Shape {
            name: "reloads",
            senders: 3,
            keys_per_sender: 4,
            body_bytes: 300,
            pause: Duration::from_millis(2),
        };
        let (turn, granted, ledger) = (AtomicUsize::new(0), AtomicUsize::new(0), Arc::new(Ledger::default()));
        let load = Load::start_with(Arc::clone(&ledger), home.http, shape);
        for _ in 0..KILLS {
            let bridge = home.start();
            let ended = AtomicBool::new(false);
            thread::scope(|scope| {
                let stop = StopAtEnd(&ended);
                scope.spawn(|| reload_until(&ended, &home, &turn, &granted));
                thread::sleep(Duration::from_millis(dice.within(50..900)));
                bridge.kill();
                drop(stop);
            });
        }
        configure(&home, "", &by_turns(&home, 0));
        let bridge = home.start();
        thread::sleep(Duration::from_millis(300));
        load.finish();
        for dirs in [&["topics"][..], &["moved-0", "moved-1"], &["guest"]] {
            judge(&home, &ledger, dirs, KILLS);
        }
        // What a kill repeats goes to the topic of now, where it can come behind what is newer.
        let named = readers::drained(&ledger, WITHIN, || arrivals(&home, &["named"]));
        let named = ledger.judge(&named);
        println!("judged: {named}");
        assert!(
            named.missing.is_empty() && named.spurious.is_empty() && named.corrupted.is_empty(),
            "{named}"
        );
        println!("{} reloads were granted amid {KILLS} kills", granted.into_inner());
        bridge.stop();
        home.run_verb(&["spool", "verify"]);
    }
}
