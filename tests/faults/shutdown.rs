//! SIGTERM: in order, in time, and without breaking a promise.

use std::fs;
use std::time::{Duration, Instant};

use crate::outlet::Outlet;
use crate::support::bridge::Home;
use crate::support::client::request;
use crate::support::inject::{self, Ballast};
use crate::support::load::{Delivery, Load, Shape};
use crate::support::oracle::Ledger;
use crate::support::{await_until, readers, turns};

/// What a shell says of a process that SIGTERM ended: 128 and the signal's number.
const EXIT_TERMINATED: i32 = 143;

#[test]
fn a_bridge_terminated_under_load_ends_in_order_and_repeats_nothing() {
    let _turn = turns::in_company();
    terminate_again_and_again(&Outlet::files());
}

#[test]
fn a_bridge_terminated_while_it_publishes_to_kafka_ends_in_order_and_repeats_nothing() {
    let _turn = turns::in_company();
    let Some(outlet) = Outlet::kafka("terminated") else { return };
    terminate_again_and_again(&outlet);
}

fn terminate_again_and_again(outlet: &Outlet) {
    let home = &outlet.home;
    let shape =
        Shape { name: "shutdown", senders: 6, keys_per_sender: 2, body_bytes: 300, pause: Duration::ZERO };
    let load = Load::start(home.http, shape);
    for round in 1..=5 {
        let bridge = home.start();
        let before = load.acknowledged();
        await_until("load flows", Duration::from_secs(20), || {
            (load.acknowledged() > before + 200).then_some(())
        });
        println!("round {round}: ended after {:?}", bridge.stop());
    }
    let bridge = home.start();
    let (ledger, _) = load.finish();
    bridge.stop();
    // What is settled was committed before the end, so no life repeats what another published.
    ledger.judge(&outlet.arrivals()).assert_kept(0, 0);
}

#[test]
fn a_request_in_flight_is_finished_while_new_ones_are_refused() {
    let _turn = turns::in_company();
    let home = Home::new();
    home.configure_files();
    let mut bridge = home.start();
    let ledger = Ledger::default();
    let delivery = Delivery::new("call.created", "default:in-flight", 1, 0);
    let (first_half, second_half) = delivery.request.split_at(delivery.request.len() - 20);
    ledger.offer(&delivery.id, Some(&delivery.key), &delivery.body);
    let mut client = bridge.client();
    client.send(first_half).expect("the connection is open");
    // Answered on another connection, which was opened later: so the first is being read.
    bridge.client().get("/").expect("an answer");

    bridge.terminate();
    await_until("new connections are refused", Duration::from_secs(5), || {
        let attempt = Delivery::new("call.created", "default:too-late", 2, 0).send(&mut bridge.client());
        attempt.map_or(true, |answer| answer.status == 503).then_some(())
    });
    client.send(second_half).expect("the connection is still open");
    let answer = client.receive().expect("the request in flight is answered");
    assert!(answer.is_success(), "answered {}: {}", answer.status, answer.text());
    ledger.acknowledge(&delivery.id);

    let status = bridge.await_exit(Duration::from_secs(20));
    assert_eq!(status.code(), Some(0), "the log ends:\n{}", bridge.log_tail());
    assert!(ledger.missing(ids(&readers::files(&home.path("topics")))).is_empty());
}

#[test]
fn requests_that_never_end_on_either_listener_make_no_failure_of_an_orderly_stop() {
    let _turn = turns::in_company();
    let home = Home::new();
    let sinks = format!("sinks:\n  local: {{ file: {{ dir: {} }} }}\n", home.path("topics").display());
    home.configure("", &format!("shutdown_grace_seconds: 7\n{sinks}"));
    let mut bridge = home.start();
    let ledger = Ledger::default();
    Delivery::new("call.created", "default:before", 1, 0).hand_over(&mut bridge.client(), &ledger);
    // Half of it is here, so that the rest may take longer than the grace.
    let delivery = Delivery::new("call.created", "default:never-ends", 1, 40_000).request;
    let redrive = request(
        "/api/dead/redrive",
        &[("x-fanbridge-request", "1")],
        br#"{"sink": "local", "dry_run": true}"#,
    );
    let (mut public, mut private) = (bridge.client(), bridge.admin());
    public.send(&delivery[..20_000]).expect("the connection is open");
    private.send(&redrive[..redrive.len() - 20]).expect("the connection is open");
    // Answered on others, which were opened later.
    bridge.client().get("/").expect("an answer");
    bridge.admin().get("/readyz").expect("an answer");

    let begun = Instant::now();
    bridge.terminate();
    let status = bridge.await_exit(Duration::from_secs(30));
    assert_eq!(status.code(), Some(0), "the log ends:\n{}", bridge.log_tail());
    assert!(begun.elapsed() > Duration::from_secs(6), "nobody was waited for");
    ledger.judge(&readers::files(&home.path("topics"))).assert_kept(0, 0);
}

#[test]
fn a_second_sigterm_ends_the_bridge_at_once_and_loses_nothing() {
    let _turn = turns::in_company();
    if !inject::can_mount("a sink that takes nothing") {
        return;
    }
    let home = Home::new();
    home.configure_files();
    let topics = home.path("topics");
    let wrapper = inject::tiny_disk(&topics, 1024);
    let mut bridge = home.start_under(&wrapper.iter().map(String::as_str).collect::<Vec<_>>());
    let _ballast = Ballast::fill(&bridge.path_inside(&topics));
    let (ledger, mut client) = (Ledger::default(), bridge.client());
    (0..50)
        .for_each(|n| Delivery::new("call.created", "default:stuck", n, 0).hand_over(&mut client, &ledger));
    // Half a request: the first SIGTERM has something to wait for.
    let waiting = Delivery::new("call.created", "default:waiting", 1, 0);
    let mut half_way = bridge.client();
    half_way.send(&waiting.request[..waiting.request.len() - 20]).expect("the connection is open");
    bridge.client().get("/").expect("an answer");

    bridge.terminate();
    await_until("the first signal is heard", Duration::from_secs(5), || {
        let attempt = Delivery::new("call.created", "default:too-late", 2, 0).send(&mut bridge.client());
        attempt.map_or(true, |answer| answer.status == 503).then_some(())
    });
    let second = Instant::now();
    bridge.terminate();
    let status = bridge.await_exit(Duration::from_secs(2));
    assert_eq!(status.code(), Some(EXIT_TERMINATED), "the log ends:\n{}", bridge.log_tail());
    println!("ended {:?} after the second signal", second.elapsed());

    // The next life has a disk with room under its topics.
    let bridge = home.start();
    let arrivals = readers::drained(&ledger, Duration::from_secs(10), || readers::files(&topics));
    bridge.stop();
    assert_eq!(ledger.acknowledged(), 50);
    assert!(ledger.missing(ids(&arrivals)).is_empty());
}

#[test]
fn a_bridge_terminated_while_it_recovers_does_not_wait_for_the_end_of_it() {
    let _turn = turns::in_company();
    let home = Home::new();
    home.configure_files();
    let bridge = home.start();
    let delivery = Delivery::new("call.created", "default:before", 1, 0);
    assert!(delivery.send(&mut bridge.client()).expect("an answer").is_success());
    bridge.stop();
    // A segment that takes very long to be read, and no room on the disk: nothing is behind its record.
    let segment = home.path("spool").join(format!("{:020}.log", 1));
    let segment = fs::File::options().write(true).open(segment).expect("the segment is there");
    segment.set_len(60 << 30).expect("a file may have holes");
    let mut bridge = home.spawn_under(&[]);
    await_until("the bridge recovers", Duration::from_secs(10), || {
        (bridge.log_tail().matches("the bridge recovers the spool").count() == 2).then_some(())
    });
    bridge.terminate();
    let status = bridge.await_exit(Duration::from_secs(10));
    assert_eq!(status.code(), Some(0), "the log ends:\n{}", bridge.log_tail());
}

#[test]
fn a_sink_that_takes_nothing_does_not_hold_the_end_beyond_the_grace() {
    let _turn = turns::in_company();
    let home = Home::new();
    let nowhere = crate::support::bridge::free_port();
    home.configure(
        "",
        &format!(
            "shutdown_grace_seconds: 3\nsinks:\n  lake: {{ kafka: {{ brokers: \"127.0.0.1:{nowhere}\" }} }}\n"
        ),
    );
    let bridge = home.start();
    let (ledger, mut client) = (Ledger::default(), bridge.client());
    (0..50)
        .for_each(|n| Delivery::new("call.created", "default:stuck", n, 0).hand_over(&mut client, &ledger));
    let took = bridge.stop();
    assert!(took < Duration::from_secs(5), "a grace of 3 s took {took:?}");

    // The spool is intact: the same sink, now of files, gets all of it.
    home.configure(
        "",
        &format!("sinks:\n  lake: {{ file: {{ dir: {} }} }}\n", home.path("topics").display()),
    );
    let bridge = home.start();
    let arrivals =
        readers::drained(&ledger, Duration::from_secs(10), || readers::files(&home.path("topics")));
    bridge.stop();
    ledger.judge(&arrivals).assert_kept(0, 0);
}

fn ids(arrivals: &[crate::support::oracle::Arrival]) -> impl Iterator<Item = &str> {
    arrivals.iter().map(|arrival| arrival.id.as_str())
}
