//! A new process takes the listening sockets of the running bridge: nobody is refused, nothing is lost, and
//! whatever becomes of the new process before it has them, the running bridge goes on.

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, Mode, mkfifoat};
use serde_json::Value;

use crate::support::bridge::{Bridge, Home, free_port};
use crate::support::client::{Client, Failure};
use crate::support::load::{Delivery, Load, Shape, TOPICS};
use crate::support::oracle::{Arrival, Ledger};
use crate::support::{await_until, readers, servers, turns};

/// How long a bridge may take to end, to start or to deliver.
const WITHIN: Duration = Duration::from_secs(40);
/// What the running bridge logs about a process that did not take the sockets.
const GOES_ON: &str = "has not taken them: this bridge goes on";
/// What a process says first.
const TAKE: &str = r#"{"say":"take","release":"9.9.9","spool_format":99,"state_format":99}"#;
const HAVE: &str = r#"{"say":"have"}"#;
/// The most records that are on their way to a sink and can come again after a kill.
const IN_FLIGHT_RECORDS_MAX: usize = 1024;
/// The most records of a sink between its committed cursor and what it has read.
const UNSETTLED_RECORDS_MAX: usize = 8192;

/// A process that takes the sockets over, as far as the test lets it.
struct Taker(BufReader<UnixStream>);

impl Taker {
    fn connect(home: &Home) -> Self {
        let stream = UnixStream::connect(home.path("spool").join("handover.sock")).expect("a bridge runs");
        stream.set_read_timeout(Some(WITHIN)).unwrap();
        Self(BufReader::new(stream))
    }

    fn say(&mut self, text: &str) {
        // Who refuses does not wait for the question.
        let _ = self.0.get_mut().write_all(text.as_bytes());
    }

    /// Says something and reads the answer; descriptors that come with it are closed by the system.
    fn ask(&mut self, text: &str) -> Value {
        self.say(&format!("{text}\n"));
        let mut line = String::new();
        self.0.read_line(&mut line).expect("an answer");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }
}

/// What a process does before it goes away.
type Step = fn(&mut Taker);

/// One delivery that is acknowledged.
fn deliver(bridge: &Bridge, ledger: &Ledger, number: u64) {
    Delivery::new("call.created", "default:one", number, 0).hand_over(&mut bridge.client(), ledger);
}

/// How often these words are in the log.
fn count(bridge: &Bridge, words: &str) -> usize {
    bridge.log().matches(words).count()
}

#[test]
fn a_process_that_goes_away_before_it_has_the_sockets_changes_nothing() {
    let _turn = turns::in_company();
    let home = Home::new();
    home.configure_files();
    let (bridge, ledger) = (home.start(), Ledger::default());
    let steps: [(&str, Step); 6] = [
        ("it only connects", |_| {}),
        ("it is killed while it asks", |taker| taker.say(&TAKE[..20])),
        ("it is killed once it has asked", |taker| taker.say(&format!("{TAKE}\n"))),
        ("it is killed with the sockets in its hand", |taker| {
            let answer = taker.ask(TAKE);
            assert_eq!(answer["say"], "sockets", "{answer}");
            assert_eq!(answer["names"], serde_json::json!(["http", "admin"]));
            assert!(answer["ends_within_ms"].as_u64() > Some(30_000), "{answer}");
        }),
        ("it says what is no message", |taker| taker.say("GET / HTTP/1.1\r\n\r\n")),
        ("it says that it has what it was not given", |taker| {
            let answer = taker.ask(HAVE);
            assert_eq!(answer["say"], "refused", "{answer}");
        }),
    ];
    for (number, (what, step)) in (1..).zip(steps) {
        step(&mut Taker::connect(&home));
        await_until(what, WITHIN, || (count(&bridge, GOES_ON) == number as usize).then_some(()));
        deliver(&bridge, &ledger, number);
        assert_eq!(bridge.admin().get("/readyz").expect("an answer").status, 200, "{what}");
    }
    bridge.stop();
    assert!(!home.path("spool").join("handover.sock").exists(), "an orderly stop leaves no socket");
    ledger.judge(&readers::files(&home.path("topics"))).assert_kept(0, 0);
}

#[test]
fn an_older_release_and_a_second_process_are_refused_and_the_bridge_goes_on() {
    let _turn = turns::in_company();
    let home = Home::new();
    home.configure_files();
    let (bridge, ledger) = (home.start(), Ledger::default());
    let older = TAKE.replace("\"spool_format\":99", "\"spool_format\":1");
    let answer = Taker::connect(&home).ask(&older);
    let reason = answer["reason"].as_str().expect("a reason");
    assert!(reason.contains("release 9.9.9 reads formats up to 1 of the log"), "{answer}");

    let mut first = Taker::connect(&home);
    assert_eq!(first.ask(TAKE)["say"], "sockets");
    let mut second = home.spawn_taking_over();
    assert_eq!(second.await_exit(WITHIN).code(), Some(75));
    bridge.assert_logs("and goes on: another process is taking them over");
    drop(first);
    await_until("the bridge goes on", WITHIN, || (count(&bridge, GOES_ON) == 2).then_some(()));
    deliver(&bridge, &ledger, 1);
    bridge.stop();
    ledger.judge(&readers::files(&home.path("topics"))).assert_kept(0, 0);
}

#[test]
fn a_bridge_whose_successor_dies_with_the_sockets_says_that_it_hands_over_and_ends_to_be_started_again() {
    let _turn = turns::in_company();
    let home = Home::new();
    home.configure_files();
    let (mut bridge, ledger) = (home.start(), Ledger::default());
    // A request that is under way keeps the bridge until the test has looked at it.
    let delivery = Delivery::new("call.created", "default:in-flight", 1, 0);
    let (first_half, second_half) = delivery.request.split_at(delivery.request.len() - 20);
    ledger.offer(&delivery.id, Some(&delivery.key), &delivery.body);
    let mut client = bridge.client();
    client.send(first_half).expect("the connection is open");
    bridge.client().get("/").expect("an answer");

    let mut taker = Taker::connect(&home);
    assert_eq!(taker.ask(TAKE)["say"], "sockets");
    assert_eq!(taker.ask(HAVE)["say"], "ends");
    bridge.assert_logs("a new process has the listening sockets: this bridge ends in order");
    await_until("the bridge says that it hands over", WITHIN, || {
        let answer = bridge.admin().get("/readyz").expect("an answer");
        (answer.status == 503 && answer.text().contains("hands over to a new process")).then_some(())
    });
    let answer = Taker::connect(&home).ask(TAKE);
    assert_eq!(answer["reason"], "another process is taking them over", "{answer}");
    drop(taker);
    bridge.assert_logs("has ended before this bridge: start the bridge again");

    client.send(second_half).expect("the connection is still open");
    let answer = client.receive().expect("the request in flight is answered");
    assert!(answer.is_success(), "answered {}: {}", answer.status, answer.text());
    ledger.acknowledge(&delivery.id);
    assert_eq!(bridge.await_exit(WITHIN).code(), Some(75), "a supervisor starts it again");
    let bridge = home.start();
    deliver(&bridge, &ledger, 2);
    bridge.stop();
    ledger.judge(&readers::files(&home.path("topics"))).assert_kept(0, 0);
}

#[test]
fn a_bridge_that_waits_for_a_reload_hands_over_all_the_same() {
    let _turn = turns::in_company();
    let home = Home::new();
    home.configure_files();
    let mut bridge = home.start();

    // A pipe that nobody writes into: the client of the new sink reads it for ever.
    let pipe = home.path("revoked.pem");
    mkfifoat(CWD, &pipe, Mode::RWXU).unwrap();
    let text = fs::read_to_string(home.path("fanbridge.yaml")).unwrap();
    let properties = format!("properties: {{ ssl.crl.location: \"{}\" }}", pipe.display());
    let sink = format!("  later: {{ kafka: {{ brokers: \"127.0.0.1:1\", tls: {{}}, {properties} }} }}\n");
    fs::write(home.path("fanbridge.yaml"), text + &sink).unwrap();
    let reload = |mut client: Client| client.post("/api/v1/reload", &[("x-fanbridge-request", "1")], b"{}");
    let waiting = bridge.admin();
    thread::scope(|scope| {
        scope.spawn(move || reload(waiting));
        await_until("a reload is under way", WITHIN, || {
            let answer = reload(bridge.admin()).ok()?;
            (answer.status == 409).then_some(())
        });
        thread::sleep(Duration::from_millis(500));
        let mut taker = Taker::connect(&home);
        assert_eq!(taker.ask(TAKE)["say"], "sockets");
        assert_eq!(taker.ask(HAVE)["say"], "ends");
        assert_eq!(bridge.await_exit(WITHIN).code(), Some(0));
    });
}

#[test]
fn a_new_process_that_cannot_start_takes_nothing() {
    let _turn = turns::in_company();
    let home = Home::new();
    home.configure_files();
    let (bridge, ledger) = (home.start(), Ledger::default());
    let config = home.path("fanbridge.yaml");
    let good = fs::read_to_string(&config).unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let elsewhere = taken.local_addr().unwrap().to_string();
    let file = home.path("a-file");
    fs::write(&file, "").unwrap();
    let certificate = "tls: { certificate: no.pem, key: no.pem } }";
    for (number, broken, code, asks) in [
        (1, good.replace("sources:", "sorces:"), 78, false),
        (2, good.replacen(" }", &format!(", {certificate}"), 1), 78, false),
        (3, good.replace(home.path("topics").to_str().unwrap(), file.to_str().unwrap()), 78, false),
        (4, good.replace(&format!("127.0.0.1:{}", home.http), &elsewhere), 74, true),
    ] {
        assert_ne!(broken, good, "{number}");
        fs::write(&config, &broken).unwrap();
        let mut taker = home.spawn_taking_over();
        assert_eq!(taker.await_exit(WITHIN).code(), Some(code), "{broken}\n{}", bridge.log_tail());
        if asks {
            bridge.assert_logs(GOES_ON);
        }
        assert_eq!(count(&bridge, GOES_ON), usize::from(asks), "{broken}");
        deliver(&bridge, &ledger, number);
    }
    bridge.stop();
    ledger.judge(&readers::files(&home.path("topics"))).assert_kept(0, 0);
}

#[test]
fn where_no_bridge_runs_a_process_that_would_take_over_starts_as_usual() {
    let _turn = turns::in_company();
    let home = Home::new();
    home.configure_files();
    let mut bridge = home.spawn_taking_over();
    bridge.await_ready();
    assert_eq!(count(&bridge, "this one starts as usual"), 1);
    // Killed, so that its socket stays.
    bridge.kill();
    assert!(home.path("spool").join("handover.sock").exists());
    let mut bridge = home.spawn_taking_over();
    bridge.await_ready();
    assert_eq!(count(&bridge, "this one starts as usual"), 2);
    let ledger = Ledger::default();
    deliver(&bridge, &ledger, 1);

    // What holds the sockets already has no use for those of a bridge.
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut other = home.spawn_on_with(socket.into(), "http", &["--take-over"]);
    assert_eq!(other.await_exit(WITHIN).code(), Some(2));
    bridge.stop();
}

#[test]
fn a_listener_that_is_configured_to_another_address_is_bound_there_by_the_new_process() {
    let _turn = turns::in_company();
    let mut home = Home::new();
    home.configure_files();
    let (mut bridge, ledger) = (home.start(), Ledger::default());
    deliver(&bridge, &ledger, 1);
    home.http = free_port();
    home.configure_files();
    let mut taker = home.spawn_taking_over();
    assert_eq!(bridge.await_exit(WITHIN).code(), Some(0), "{}", bridge.log_tail());
    taker.await_ready();
    taker.assert_logs("another address than that of the running bridge, and is bound there");
    let handed = "the listener has a socket that was handed over";
    assert_eq!(count(&taker, handed), 1, "that of the admin listener alone: {}", taker.log_tail());
    deliver(&taker, &ledger, 2);
    assert!(TcpStream::connect(("127.0.0.1", bridge.http_port())).is_err(), "nobody listens there any more");
    taker.stop();
    ledger.judge(&readers::files(&home.path("topics"))).assert_kept(0, 0);
}

#[test]
fn bridges_with_spools_of_their_own_share_a_port_if_both_are_told_to() {
    let _turn = turns::in_company();
    let (one, mut other) = (Home::new(), Home::new());
    other.http = one.http;
    for home in [&one, &other] {
        home.configure_files();
        let config = home.path("fanbridge.yaml");
        let text = fs::read_to_string(&config).unwrap();
        fs::write(&config, text.replacen(" }", ", reuse_port: true }", 1)).unwrap();
    }
    let bridges = [one.start(), other.start()];
    let ledger = Ledger::default();
    (0..64).for_each(|number| deliver(&bridges[0], &ledger, number));
    let taken = bridges.each_ref().map(|bridge| bridge.metric("fanbridge_events_total", &[]));
    assert_eq!(taken.iter().sum::<f64>(), 64.0);
    assert!(taken.iter().all(|taken| *taken > 0.0), "{taken:?}");
    for bridge in bridges {
        bridge.stop();
    }
}

/// The load of a test that is not alone.
const STEADY: Shape = Shape {
    name: "handover-kafka",
    senders: 4,
    keys_per_sender: 4,
    body_bytes: 400,
    pause: Duration::from_millis(5),
};

/// Five hand-overs under load of a bridge that publishes to Kafka, where one topic is made in this round.
/// What was promised, and what has arrived.
fn hand_over_to_kafka(what: &str, made_in: usize) -> Option<(Arc<Ledger>, Vec<Arrival>)> {
    const HAND_OVERS: usize = 5;
    let brokers = servers::kafka(what)?;
    let prefix = servers::own_name("handover");
    let topics = TOPICS.map(|topic| format!("{prefix}.{topic}"));
    topics[1..].iter().for_each(|topic| servers::create_topic(&brokers, topic, &[]));
    let home = Home::new();
    let template = format!("{prefix}.{{provider}}.{{family}}");
    let lake = format!("{{ kafka: {{ brokers: \"{brokers}\" }}, topic: \"{template}\" }}");
    home.configure("", &format!("sinks: {{ lake: {lake} }}\n"));
    let mut bridge = home.start();
    let load = Load::start(home.http, STEADY);
    for round in 1..=HAND_OVERS {
        if round == made_in {
            servers::create_topic(&brokers, &topics[0], &[]);
        }
        let before = (load.acknowledged(), delivered(&bridge));
        await_until("load flows in and out", WITHIN, || {
            let (taken, delivered) = (load.acknowledged() - before.0, delivered(&bridge) - before.1);
            (taken > 200 && delivered > 100.0).then_some(())
        });
        let mut taker = home.spawn_taking_over();
        let status = bridge.await_exit(WITHIN);
        assert!(status.success(), "{round}: {status}\n{}", bridge.log_tail());
        taker.await_ready();
        bridge = taker;
    }
    let (ledger, tally) = load.finish();
    assert_eq!(count(&bridge, "the former bridge has released the spool"), HAND_OVERS);
    assert_eq!(tally.put_off.load(Ordering::Relaxed), 0, "nobody was sent away");
    let read = || -> Vec<Arrival> {
        let topics: Vec<_> = topics.iter().map(String::as_str).collect();
        readers::kafka(&brokers, &topics).iter().map(readers::KafkaRecord::arrival).collect()
    };
    let arrivals = readers::drained(&ledger, WITHIN, read);
    bridge.stop();
    let has_some = |topic: &String| arrivals.iter().any(|arrival| arrival.lane.starts_with(topic.as_str()));
    assert!(topics.iter().all(has_some), "each topic is a part of it");
    Some((ledger, arrivals))
}

#[test]
fn hand_overs_of_a_bridge_that_publishes_to_kafka_lose_nothing_keep_the_order_of_keys_and_repeat_nothing() {
    let _turn = turns::in_company();
    let Some((ledger, arrivals)) = hand_over_to_kafka("hand-overs with Kafka", 1) else { return };
    ledger.judge(&arrivals).assert_kept(0, 0);
}

/// Each stop is cut short by the topic that takes nothing, and repeats at most what was confirmed behind the
/// oldest event of that topic.
#[test]
fn hand_overs_while_a_kafka_topic_is_missing_lose_nothing_and_repeat_what_one_sink_has_unsettled_at_most() {
    const MISSING_AT: usize = 2;
    let _turn = turns::in_company();
    let what = "hand-overs while a topic of Kafka is missing";
    let Some((ledger, arrivals)) = hand_over_to_kafka(what, MISSING_AT + 1) else { return };
    ledger.judge(&arrivals).assert_kept(MISSING_AT, UNSETTLED_RECORDS_MAX);
    let is_late = |arrival: &&Arrival| arrival.lane.contains(TOPICS[0]);
    let late: Vec<Arrival> = arrivals.iter().filter(is_late).cloned().collect();
    let ids: HashSet<&str> = late.iter().map(|arrival| arrival.id.as_str()).collect();
    assert_eq!(ids.len(), late.len(), "what waited for its topic is there once");
}

/// How many events the only sink of this process has accepted.
fn delivered(bridge: &Bridge) -> f64 {
    bridge.metric("fanbridge_delivered_total", &[])
}

/// Tests that measure, or that load the whole machine: `tests/run.sh` runs them one at a time.
mod alone {
    use super::*;

    const HAND_OVERS: usize = 20;
    const LOAD: Shape =
        Shape { name: "handover", senders: 4, keys_per_sender: 2, body_bytes: 300, pause: Duration::ZERO };

    /// What was met by those who open a connection for each delivery.
    #[derive(Default)]
    struct Met {
        refused: AtomicU64,
        unanswered: AtomicU64,
        put_off: AtomicU64,
        /// When an attempt began, and how long it took until it was acknowledged.
        waits: Mutex<Vec<(Instant, Duration)>>,
    }

    /// Delivers until told to stop, each time on a new connection.
    fn connect_again_and_again(port: u16, name: usize, ledger: &Ledger, met: &Met, ended: &AtomicBool) {
        for number in 0.. {
            if ended.load(Ordering::Relaxed) {
                return;
            }
            let delivery = Delivery::new("call.created", &format!("default:new-{name}"), number, 0);
            ledger.offer(&delivery.id, Some(&delivery.key), &delivery.body);
            loop {
                let begun = Instant::now();
                match delivery.send(&mut Client::new(port).with_timeout(WITHIN)) {
                    Ok(answer) if answer.is_success() => {
                        met.waits.lock().unwrap().push((begun, begun.elapsed()));
                        break;
                    }
                    Ok(answer) if answer.status == 503 => met.put_off.fetch_add(1, Ordering::Relaxed),
                    Ok(answer) => panic!("answered {}: {}", answer.status, answer.text()),
                    Err(Failure::NotSent(_)) => met.refused.fetch_add(1, Ordering::Relaxed),
                    Err(Failure::Unanswered(_)) => met.unanswered.fetch_add(1, Ordering::Relaxed),
                };
            }
            ledger.acknowledge(&delivery.id);
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// The middle one and the longest of these.
    fn middle_and_longest(mut waits: Vec<Duration>) -> (Duration, Duration) {
        waits.sort();
        (waits[waits.len() / 2], waits[waits.len() - 1])
    }

    #[test]
    fn twenty_hand_overs_under_load_lose_nothing_and_refuse_no_connection() {
        let _turn = turns::alone();
        let home = Home::new();
        home.configure_files();
        let mut bridge = home.start();
        let load = Load::start(home.http, LOAD);
        let (met, ended, port) = (Met::default(), AtomicBool::new(false), home.http);
        let ledger = load.ledger.clone();
        let mut spans = Vec::new();
        let bridge = thread::scope(|scope| {
            for name in 0..4 {
                let (met, ended, ledger) = (&met, &ended, &ledger);
                scope.spawn(move || connect_again_and_again(port, name, ledger, met, ended));
            }
            for round in 1..=HAND_OVERS {
                let before = load.acknowledged();
                await_until("load flows", WITHIN, || (load.acknowledged() > before + 100).then_some(()));
                let begun = Instant::now();
                let mut taker = home.spawn_taking_over();
                let status = bridge.await_exit(WITHIN);
                assert!(status.success(), "{round}: {status}\n{}", bridge.log_tail());
                taker.await_ready();
                spans.push((begun, Instant::now()));
                bridge = taker;
            }
            ended.store(true, Ordering::Relaxed);
            bridge
        });
        let (ledger, tally) = load.finish();
        assert_eq!(count(&bridge, "the former bridge has released the spool"), HAND_OVERS);
        bridge.stop();

        let waits = met.waits.into_inner().unwrap();
        let is_in = |(from, to): (Instant, Instant), (begun, took): (Instant, Duration)| {
            begun < to && begun + took > from
        };
        let longest = spans.iter().map(|span| {
            let within = waits.iter().filter(|wait| is_in(*span, **wait)).map(|(_, took)| *took);
            within.max().expect("somebody connected")
        });
        let (middle, most) = middle_and_longest(longest.collect());
        println!(
            "of {HAND_OVERS} hand-overs the longest wait of a new connection for its 2xx: p50 {middle:?}, \
             max {most:?}; {} new connections, {} requests on kept connections were cut and sent again, {} \
             on new ones",
            waits.len(),
            tally.unanswered.load(Ordering::Relaxed),
            met.unanswered.load(Ordering::Relaxed),
        );
        assert_eq!(met.refused.into_inner(), 0, "connections were refused");
        assert_eq!(met.unanswered.into_inner(), 0, "new connections were cut");
        assert_eq!((met.put_off.into_inner(), tally.put_off.load(Ordering::Relaxed)), (0, 0));
        ledger.judge(&readers::files(&home.path("topics"))).assert_kept(0, 0);
    }

    #[test]
    fn a_new_process_that_is_killed_at_any_moment_costs_no_event() {
        let _turn = turns::alone();
        let home = Home::new();
        home.configure_files();
        let mut bridge = home.start();
        let load = Load::start(home.http, LOAD);
        // How long it takes here until the former bridge has ended.
        let begun = Instant::now();
        let mut taker = home.spawn_taking_over();
        assert!(bridge.await_exit(WITHIN).success(), "{}", bridge.log_tail());
        let whole = begun.elapsed();
        taker.await_ready();
        bridge = taker;
        let (mut kept, mut ended) = (0, 0);
        for round in 0_u32..20 {
            let taker = home.spawn_taking_over();
            thread::sleep(whole * round / 12);
            taker.kill();
            // What it has said last is heard by then.
            thread::sleep(Duration::from_millis(100));
            let goes_on = await_until("the bridge goes on or ends", WITHIN, || match bridge.ended() {
                Some(_) => Some(false),
                None => {
                    bridge.admin().get("/readyz").ok().filter(|answer| answer.status == 200).map(|_| true)
                }
            });
            if goes_on {
                kept += 1;
            } else {
                ended += 1;
                bridge = home.start();
            }
            let before = load.acknowledged();
            await_until("load flows", WITHIN, || (load.acknowledged() > before + 20).then_some(()));
        }
        println!("the running bridge went on {kept} times and ended {ended} times");
        let (ledger, _) = load.finish();
        bridge.stop();
        assert!(kept > 0 && ended > 0, "{kept} {ended}");
        ledger.judge(&readers::files(&home.path("topics"))).assert_kept(ended, IN_FLIGHT_RECORDS_MAX);
    }
}
