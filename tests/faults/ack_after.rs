//! `ack.after`: a 2xx that also means that a sink has the event. What is acknowledged is in the sink,
//! whatever becomes of the disk, and what is not is delivered all the same.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Value;

use crate::outlet::Outlet;
use crate::support::bridge::{Bridge, Home};
use crate::support::client::Answer;
use crate::support::dice::Dice;
use crate::support::load::{Delivery, Load, STREAM_PATH, Shape, TOPICS};
use crate::support::oracle::Arrival;
use crate::support::{Tier, await_until, readers, servers, signing, turns};

/// How long anything may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);
/// An event of this type goes to the first of [`TOPICS`].
const TYPE: &str = "call.session_started";
/// Waits for long, so that whatever is answered sooner was not answered for want of time.
const PATIENT: &str = "ack: { after: [local], within: 50s }\nlimits: { ack_timeout: 58s }\n\
                       shutdown_grace_seconds: 60\n";
/// Waits for a moment.
const SHORT: &str = "ack: { after: [local], within: 500ms }\n";

/// A home with a file sink of this name, which answers wait for as `ack` says.
fn home_with(sink: &str, ack: &str) -> Home {
    let home = Home::new();
    configure(&home, sink, "", ack);
    home
}

fn configure(home: &Home, sink: &str, keys: &str, ack: &str) {
    let dir = home.path(sink);
    home.configure("", &format!("sinks:\n  {sink}: {{ file: {{ dir: {} }}, {keys} }}\n{ack}", dir.display()));
}

/// What stands in the way of the topic: the sink cannot make the topic's directory.
struct Obstacle(PathBuf);

impl Obstacle {
    fn before_the_start(home: &Home) -> Self {
        let dir = home.path("local");
        fs::create_dir_all(&dir).expect("the home takes a directory");
        let path = dir.join(TOPICS[0]);
        fs::write(&path, "").expect("the sink's directory takes a file");
        Self(path)
    }

    fn remove(self) {
        fs::remove_file(self.0).expect("it can be removed");
    }
}

fn event(number: u64) -> Delivery {
    Delivery::new(TYPE, &format!("default:ack-{}", number % 3), number, 300)
}

#[track_caller]
fn send(bridge: &Bridge, delivery: &Delivery) -> Answer {
    delivery.send(&mut bridge.client().with_timeout(DEADLINE)).expect("the bridge answers")
}

#[track_caller]
fn assert_taken(answer: &Answer, verdict: &str) {
    assert!(answer.is_success(), "answered {}: {}", answer.status, answer.text());
    assert!(answer.text().contains(&format!(r#""verdict":"{verdict}""#)), "{}", answer.text());
}

/// A 503 that says why, and when to come back.
#[track_caller]
fn assert_put_off(answer: &Answer, why: &str) {
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.header("retry-after").is_some(), "a 503 says when to come back");
    assert!(answer.text().contains(why), "{}", answer.text());
}

/// Sends it again until it is answered 2xx, as a provider does.
#[track_caller]
fn insist(bridge: &Bridge, delivery: &Delivery) -> Answer {
    await_until("the delivery is answered 2xx", DEADLINE, || {
        Some(send(bridge, delivery)).filter(Answer::is_success)
    })
}

fn copies(arrivals: &[Arrival], delivery: &Delivery) -> usize {
    arrivals.iter().filter(|arrival| arrival.id == delivery.id).count()
}

fn refused(bridge: &Bridge, reason: &str) -> f64 {
    bridge.metric("fanbridge_refused_total", &["source=\"stream-video\"", &format!("reason=\"{reason}\"")])
}

/// The fleet of a cloud: each disk has a life or two, and is lost together with the process. Senders give up
/// nothing; what was answered 2xx is never sent again.
#[test]
fn a_disk_that_dies_with_its_machine_again_and_again_loses_nothing_that_was_acknowledged_after_kafka() {
    let _turn = turns::in_company();
    let Some(outlet) = Outlet::kafka("lost-disk") else { return };
    let disks = Tier::of_this_run().pick(20, 100, 500);
    let config = outlet.home.path("fanbridge.yaml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text + "ack: { after: [lake], within: 4s }\n").unwrap();
    let mut dice = Dice::thrown_for("moments of the losses");
    let shape = Shape {
        name: "lost-disk",
        senders: 8,
        keys_per_sender: 3,
        body_bytes: 400,
        pause: Duration::from_millis(2),
    };
    let load = Load::start(outlet.home.http, shape);
    let (mut lives, mut cut_off) = (0, 0);
    for disk in 0..disks {
        for _ in 0..dice.within(1..3) {
            lives += 1;
            let bridge = outlet.home.start();
            let (before, unanswered) = (load.acknowledged(), load.tally.unanswered.load(Ordering::Relaxed));
            await_until(&format!("disk {disk}, life {lives}: something is acknowledged"), DEADLINE, || {
                (load.acknowledged() >= before + 20).then_some(())
            });
            std::thread::sleep(Duration::from_millis(dice.within(0..30)));
            bridge.kill();
            cut_off += usize::from(load.tally.unanswered.load(Ordering::Relaxed) > unanswered);
        }
        fs::remove_dir_all(outlet.home.path("spool")).expect("the disk can be lost");
    }
    let last = outlet.home.start();
    let (ledger, tally) = load.finish();
    last.kill();
    let (acknowledged, arrivals) = (ledger.acknowledged(), outlet.arrivals());
    let arrived: HashSet<&str> = arrivals.iter().map(|arrival| arrival.id.as_str()).collect();
    let missing = ledger.missing(arrived.iter().copied());
    println!(
        "{disks} disks, {lives} lives, {acknowledged} acknowledged, {} records of {} events, {} put off, \
         {cut_off} lives ended with a request under way, {} missing",
        arrivals.len(),
        arrived.len(),
        tally.put_off.load(Ordering::Relaxed),
        missing.len()
    );
    let some = &missing[..missing.len().min(3)];
    assert!(missing.is_empty(), "{} of {acknowledged} are missing, as {some:?}", missing.len());
    assert!(acknowledged >= lives * 20, "too little was acknowledged");
    assert!(cut_off * 2 > lives, "too few lives ended with a request under way");
}

#[test]
fn a_delivery_that_its_sink_has_not_accepted_in_time_is_503_and_its_retry_2xx_and_published_once() {
    let _turn = turns::in_company();
    let home = home_with("local", SHORT);
    let obstacle = Obstacle::before_the_start(&home);
    let bridge = home.start();
    let (first, second) = (event(1), event(2));
    for _ in 0..2 {
        assert_put_off(&send(&bridge, &first), "has not accepted it in time");
    }
    assert_put_off(&send(&bridge, &second), "has not accepted it in time");
    // An event of another topic is not held up by this one.
    let other = Delivery::new("call.recording_ready", "default:other", 3, 300);
    assert!(insist(&bridge, &other).is_success());

    assert!(refused(&bridge, "ack_late") >= 3.0);
    assert!(bridge.metric("fanbridge_ack_late_total", &["sink=\"local\""]) >= 3.0);
    assert_eq!(bridge.metric("fanbridge_ack_waiting", &["sink=\"local\""]), 0.0);
    let status: Value = serde_json::from_str(&bridge.admin().get("/api/status").unwrap().text()).unwrap();
    assert!(status["sinks"][0]["answers"]["late"].as_u64() >= Some(3), "{status}");
    let ready = bridge.admin().get("/readyz").expect("an answer");
    assert_eq!(ready.status, 200, "what is put off is stored all the same: {}", ready.text());
    assert!(ready.text().contains("sink local is degraded"), "{}", ready.text());

    obstacle.remove();
    assert_taken(&insist(&bridge, &first), "duplicate");
    assert_taken(&insist(&bridge, &second), "duplicate");
    let third = event(4);
    assert!(insist(&bridge, &third).is_success());
    assert!(bridge.metric("fanbridge_ack_wait_seconds_count", &["sink=\"local\""]) >= 1.0);
    bridge.stop();
    let arrivals = readers::files(&home.path("local"));
    for delivery in [&first, &second, &other, &third] {
        assert_eq!(copies(&arrivals, delivery), 1, "each once");
    }
}

/// While as many wait as may, each on its own connection.
#[test]
fn a_sink_that_is_away_leaves_connections_to_whoever_does_not_wait_for_it() {
    let _turn = turns::in_company();
    let home = home_with("local", PATIENT);
    let config = home.path("fanbridge.yaml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("limits: { ", "limits: { connections_max: 8, ")).unwrap();
    let _obstacle = Obstacle::before_the_start(&home);
    let bridge = home.start();
    let port = bridge.http_port();
    for number in 1..=2 {
        std::thread::spawn(move || {
            let mut client = crate::support::client::Client::new(port).with_timeout(DEADLINE);
            let _ = event(number).send(&mut client);
        });
    }
    let waiting = || bridge.metric("fanbridge_ack_waiting", &["sink=\"local\""]);
    await_until("two deliveries wait", DEADLINE, || (waiting() == 2.0).then_some(()));
    assert_put_off(&send(&bridge, &event(3)), "has not accepted it in time");
    assert_eq!(waiting(), 2.0, "a quarter of the connections waits, and the third was answered at once");
    bridge.kill();
}

#[test]
fn a_retry_after_a_restart_waits_for_the_sink_as_its_first_attempt_did() {
    let _turn = turns::in_company();
    let home = home_with("local", SHORT);
    let obstacle = Obstacle::before_the_start(&home);
    let delivery = event(1);
    for _ in 0..2 {
        let bridge = home.start();
        assert_put_off(&send(&bridge, &delivery), "has not accepted it in time");
        bridge.kill();
    }
    obstacle.remove();
    let bridge = home.start();
    assert_taken(&insist(&bridge, &delivery), "duplicate");
    bridge.stop();
    assert_eq!(copies(&readers::files(&home.path("local")), &delivery), 1);
}

#[test]
fn a_source_of_its_own_waits_for_no_sink_and_without_the_block_no_source_does() {
    let _turn = turns::in_company();
    for ack in ["", SHORT] {
        let home = home_with("local", ack);
        let config = home.path("fanbridge.yaml");
        let text = fs::read_to_string(&config).unwrap();
        let own = "provider: fastpix, secrets: [env:FASTPIX_SECRET]";
        assert!(text.contains(own));
        fs::write(&config, text.replace(own, &format!("{own}, ack: {{ after: [] }}"))).unwrap();
        let _obstacle = Obstacle::before_the_start(&home);
        let bridge = home.start();
        let answer = send(&bridge, &event(1));
        assert_eq!(answer.status, if ack.is_empty() { 200 } else { 503 }, "{}", answer.text());
        let body = br#"{"type":"video.media.ready","id":"1","object":{"type":"media","id":"m"}}"#;
        let signature = signing::fastpix(body);
        let answer = bridge.client().post("/in/fastpix", &[("fastpix-signature", &signature)], body);
        assert_taken(&answer.expect("an answer"), "accepted");
        let status = bridge.admin().get("/api/status").unwrap().text();
        assert_eq!(status.contains("\"answers\""), !ack.is_empty(), "{status}");
    }
}

#[test]
fn a_type_that_the_sink_does_not_take_needs_no_acceptance_until_it_is_taken() {
    let _turn = turns::in_company();
    let home = Home::new();
    configure(&home, "local", "select: [call.created]", PATIENT);
    let obstacle = Obstacle::before_the_start(&home);
    let bridge = home.start();
    let delivery = event(1);
    assert_taken(&send(&bridge, &delivery), "accepted");
    bridge.stop();

    // The sink has passed the event without taking it: its retry must not be taken for delivered.
    configure(&home, "local", "select: all", SHORT);
    let bridge = home.start();
    assert_put_off(&send(&bridge, &delivery), "has not accepted it in time");
    obstacle.remove();
    assert_taken(&insist(&bridge, &delivery), "duplicate");
    bridge.stop();
    assert_eq!(copies(&readers::files(&home.path("local")), &delivery), 1);
}

#[test]
fn a_retry_of_an_event_from_before_a_sink_was_there_is_acknowledged_only_once_that_sink_has_it() {
    let _turn = turns::in_company();
    let home = home_with("first", "ack: { after: [first], within: 4s }\n");
    let bridge = home.start();
    let delivery = event(1);
    assert!(insist(&bridge, &delivery).is_success());
    bridge.stop();

    configure(&home, "local", "", "ack: { after: [local], within: 4s }\n");
    for _ in 0..2 {
        let bridge = home.start();
        assert_taken(&insist(&bridge, &delivery), "duplicate");
        let again = bridge.metric("fanbridge_ack_stored_again_total", &["source=\"stream-video\""]);
        assert!(again >= 1.0, "nobody can tell whether the new sink has it");
        bridge.kill();
        let arrivals = readers::files(&home.path("local"));
        assert!(copies(&arrivals, &delivery) >= 1, "acknowledged, and not there");
    }
    // Of what came since the sink was there, and since the start, no retry is published again.
    let bridge = home.start();
    let new = event(2);
    for _ in 0..3 {
        assert!(insist(&bridge, &new).is_success());
    }
    bridge.stop();
    assert_eq!(copies(&readers::files(&home.path("local")), &new), 1);
}

#[test]
fn a_delivery_that_cannot_become_an_event_is_not_acknowledged_and_kept_as_a_dead_letter() {
    let _turn = turns::in_company();
    let home = home_with("local", PATIENT);
    let bridge = home.start();
    let body = b"{ no event";
    let signature = signing::stream(body);
    for _ in 0..2 {
        let answer =
            bridge.client().with_timeout(DEADLINE).post(STREAM_PATH, &[("x-signature", &signature)], body);
        assert_put_off(&answer.expect("an answer"), "cannot become an event");
    }
    assert_eq!(refused(&bridge, "ack_quarantined"), 2.0);
    await_until("it is a dead letter, once", DEADLINE, || {
        (bridge.metric("fanbridge_dead_letters_kept", &["sink=\"quarantine\""]) == 1.0).then_some(())
    });
}

#[test]
fn a_stop_answers_those_that_wait_for_a_sink_within_the_grace() {
    let _turn = turns::in_company();
    let home = home_with("local", "ack: { after: [local], within: 3s }\n");
    let _obstacle = Obstacle::before_the_start(&home);
    let mut bridge = home.start();
    let port = bridge.http_port();
    let waits = std::thread::spawn(move || {
        let mut client = crate::support::client::Client::new(port).with_timeout(DEADLINE);
        event(1).send(&mut client).expect("answered, and not cut off")
    });
    await_until("the delivery waits", DEADLINE, || {
        (bridge.metric("fanbridge_ack_waiting", &["sink=\"local\""]) == 1.0).then_some(())
    });
    bridge.terminate();
    assert_put_off(&waits.join().unwrap(), "has not accepted it in time");
    assert!(bridge.await_exit(DEADLINE).success());
}

/// A home whose sink `local` is Kafka, with topics that take no record of more than 20,000 bytes.
fn home_of_small_topics(name: &str) -> Option<(Home, String, String)> {
    let brokers = servers::kafka("events that a sink rejects")?;
    let prefix = servers::own_name(name);
    let topic = format!("{prefix}.{}", TOPICS[0]);
    servers::create_topic(&brokers, &topic, &[("max.message.bytes", "20000")]);
    let home = Home::new();
    let template = format!("{prefix}.{{provider}}.{{family}}");
    let sink = format!("{{ kafka: {{ brokers: \"{brokers}\" }}, topic: \"{template}\" }}");
    home.configure("", &format!("sinks: {{ local: {sink} }}\n{PATIENT}"));
    Some((home, brokers, topic))
}

#[test]
fn an_event_that_its_sink_rejects_is_never_acknowledged_until_somebody_drops_its_dead_letter() {
    let _turn = turns::in_company();
    let Some((home, brokers, topic)) = home_of_small_topics("ack-rejected") else { return };
    let bridge = home.start();
    let (fine, large) = (event(1), Delivery::new(TYPE, "default:large", 2, 100_000));
    assert!(insist(&bridge, &fine).is_success());
    for _ in 0..2 {
        assert_put_off(&send(&bridge, &large), "a sink has rejected it");
    }
    bridge.kill();

    let bridge = home.start();
    for _ in 0..2 {
        assert_put_off(&send(&bridge, &large), "a sink has rejected it");
    }
    assert!(refused(&bridge, "ack_rejected") >= 2.0);
    // Redriven, it is rejected once more.
    home.run_verb(&["dead", "redrive", "--sink", "local", "--yes"]);
    assert_put_off(&send(&bridge, &large), "a sink has rejected it");
    let letters = await_until("it is a dead letter again", DEADLINE, || {
        let letters = home.run_verb(&["dead", "list", "--format", "ndjson"]);
        let ids: Vec<_> =
            letters.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).collect();
        (ids.len() == 1).then(|| ids[0]["id"].clone())
    });
    assert_put_off(&send(&bridge, &large), "a sink has rejected it");
    home.run_verb(&["dead", "drop", &letters.to_string(), "--yes"]);
    assert_taken(&send(&bridge, &large), "duplicate");
    bridge.stop();
    let records = readers::kafka(&brokers, &[&topic]);
    assert_eq!(records.len(), 1, "the fine one: {records:?}");
}

#[test]
fn a_redriven_event_is_acknowledged_once_its_sink_has_accepted_it() {
    let _turn = turns::in_company();
    let Some((home, brokers, topic)) = home_of_small_topics("ack-redriven") else { return };
    let bridge = home.start();
    let large = Delivery::new(TYPE, "default:large", 1, 100_000);
    assert_put_off(&send(&bridge, &large), "a sink has rejected it");
    await_until("it is a dead letter", DEADLINE, || {
        (bridge.metric("fanbridge_dead_letters_kept", &["sink=\"local\""]) == 1.0).then_some(())
    });
    servers::alter_topic(&brokers, &topic, "max.message.bytes", "1000000");
    // The broker may need a moment to heed the change, and reject the event once more.
    await_until("the redriven event is acknowledged", DEADLINE, || {
        home.run_verb(&["dead", "redrive", "--sink", "local", "--yes"]);
        std::thread::sleep(Duration::from_millis(300));
        Some(send(&bridge, &large)).filter(Answer::is_success)
    });
    bridge.stop();
    let records = readers::kafka(&brokers, &[&topic]);
    let redriven: Vec<_> = records.iter().map(|record| record.header("ce_redriven")).collect();
    assert_eq!(redriven, ["1"], "it is there, once");
}

#[test]
fn a_delivery_is_answered_while_its_broker_has_no_such_topic_and_acknowledged_once_it_has() {
    let _turn = turns::in_company();
    let Some(brokers) = servers::kafka("a topic that is not there yet") else { return };
    let prefix = servers::own_name("ack-topic");
    let topic = format!("{prefix}.{}", TOPICS[0]);
    let home = Home::new();
    let template = format!("{prefix}.{{provider}}.{{family}}");
    let sink = format!("{{ kafka: {{ brokers: \"{brokers}\" }}, topic: \"{template}\" }}");
    home.configure("", &format!("sinks: {{ local: {sink} }}\n{SHORT}"));
    let bridge = home.start();
    let delivery = event(1);
    for _ in 0..2 {
        assert_put_off(&send(&bridge, &delivery), "has not accepted it in time");
    }
    servers::create_topic(&brokers, &topic, &[]);
    assert_taken(&insist(&bridge, &delivery), "duplicate");
    bridge.stop();
    assert_eq!(readers::kafka(&brokers, &[&topic]).len(), 1, "published once");
}
