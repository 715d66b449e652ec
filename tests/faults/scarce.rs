//! Descriptors and threads run short, because strangers have them or the machine does. That is told
//! as "not now", and passes; nobody ends for it, and nothing is lost.

use std::net::TcpStream;
use std::time::Duration;

use crate::support::bridge::{Bridge, Home};
use crate::support::client::Client;
use crate::support::inject::{self, FileFault};
use crate::support::load::Delivery;
use crate::support::oracle::Ledger;
use crate::support::{await_until, readers, turns};

/// Files that the bridge may have open here: a service manager's default, less what makes the test long.
const FILES: usize = 300;

/// Small segments, so that many are begun, and strangers who may stay.
fn configure(home: &Home) {
    let rest = format!(
        "limits: {{ body_bytes_max: 128 KiB, inflated_bytes_max: 128 KiB, header_timeout: 60s, \
         connections_per_address_max: 4096 }}\n\
         sinks:\n  local: {{ file: {{ dir: {} }} }}\n",
        home.path("topics").display()
    );
    home.configure("bytes_max: 256 MiB, segment_bytes: 2 MiB", &rest);
}

/// Hands events over, each until it is taken; how often that was "not now", which is all it may be.
fn hand_over(events: impl Iterator<Item = Delivery>, client: &mut Client, ledger: &Ledger) -> usize {
    let mut refused = 0;
    for event in events {
        ledger.offer(&event.id, Some(&event.key), &event.body);
        await_until("the event is taken", Duration::from_secs(30), || {
            let answer = event.send(client).expect("a bridge that is short of something still answers");
            assert!([200, 503].contains(&answer.status), "answered {}: {}", answer.status, answer.text());
            refused += usize::from(answer.status == 503);
            answer.is_success().then_some(())
        });
        ledger.acknowledge(&event.id);
    }
    refused
}

fn events(key: &'static str) -> impl Iterator<Item = Delivery> {
    (0..).map(move |number| Delivery::new("call.created", key, number, 40_000))
}

fn readyz(bridge: &Bridge) -> u16 {
    bridge.admin().get("/readyz").expect("the private listener answers").status
}

#[test]
fn idle_strangers_leave_the_log_the_sinks_and_the_admin_listener_their_descriptors() {
    let _turn = turns::in_company();
    let home = Home::new();
    configure(&home);
    let limit = format!("--nofile={FILES}:{FILES}");
    let bridge = home.start_under(&["prlimit", &limit]);
    bridge.assert_logs("the listener takes no more than");
    let (ledger, mut client) = (Ledger::default(), bridge.client());
    let mut events = events("default:strangers");
    hand_over(events.by_ref().take(1), &mut client, &ledger);

    // More than there are descriptors, and none of them says a word. What is not taken waits.
    let address = ([127, 0, 0, 1], bridge.http_port()).into();
    let strangers: Vec<_> = (0..FILES + 100)
        // The system's queue may be shorter than that.
        .map_while(|_| TcpStream::connect_timeout(&address, Duration::from_millis(500)).ok())
        .collect();
    let open = || bridge.metric("fanbridge_connections", &["listener=\"http\""]) as usize;
    let mut before = 0;
    await_until("all the slots are taken", Duration::from_secs(20), || {
        let now = open();
        (now > 50 && std::mem::replace(&mut before, now) == now).then_some(())
    });
    // 16 MB: eight segments are begun while the strangers sit there.
    hand_over(events.by_ref().take(400), &mut client, &ledger);
    assert_eq!(readyz(&bridge), 200);
    let open = open();
    println!("{open} connections of {} were taken, with {FILES} descriptors", strangers.len() + 1);
    assert!((50..FILES - 100).contains(&open));
    drop(strangers);
    hand_over(events.take(10), &mut client, &ledger);

    let arrivals =
        readers::drained(&ledger, Duration::from_secs(20), || readers::files(&home.path("topics")));
    bridge.stop();
    ledger.judge(&arrivals).assert_kept(0, 0);
}

#[test]
fn a_process_that_may_open_too_few_files_says_how_many_it_needs() {
    let home = Home::new();
    configure(&home);
    let mut bridge = home.spawn_under(&["prlimit", "--nofile=100:100"]);
    let status = bridge.await_exit(Duration::from_secs(20));
    assert_eq!(status.code(), Some(78), "{}", bridge.log_tail());
    let log = bridge.log();
    assert!(log.contains("can open 100 files, but this configuration needs"), "{log}");
    assert!(log.contains("LimitNOFILE"), "{log}");
}

#[test]
fn a_machine_without_descriptors_gets_503_and_is_served_once_it_has_some() {
    let _turn = turns::in_company();
    if !inject::can_attach("a machine without descriptors") {
        return;
    }
    let home = Home::new();
    configure(&home);
    let bridge = home.start();
    let (ledger, mut client) = (Ledger::default(), bridge.client());
    let mut events = events("default:no-descriptors");
    hand_over(events.by_ref().take(20), &mut client, &ledger);
    // Connections that are there already need none.
    let mut admin = bridge.admin();
    assert_eq!(admin.get("/readyz").expect("it answers").status, 200);

    let fault = FileFault::everywhere(bridge.pid(), "openat:error=ENFILE");
    let refused = events.by_ref().find(|event| {
        ledger.offer(&event.id, Some(&event.key), &event.body);
        let answer = event.send(&mut client).expect("it answers");
        assert!([200, 503].contains(&answer.status), "answered {}", answer.status);
        if answer.is_success() {
            ledger.acknowledge(&event.id);
        }
        answer.status == 503
    });
    let refused = refused.expect("the numbers do not end");
    await_until("the bridge says why", Duration::from_secs(10), || {
        let answer = admin.get("/readyz").expect("it answers");
        (answer.status == 503 && answer.text().contains("no_descriptors")).then_some(())
    });
    drop(fault);
    hand_over([refused].into_iter().chain(events.take(200)), &mut client, &ledger);
    bridge.assert_logs("the system has no file descriptor or no memory left for it");

    let arrivals =
        readers::drained(&ledger, Duration::from_secs(20), || readers::files(&home.path("topics")));
    bridge.stop();
    ledger.judge(&arrivals).assert_kept(0, 0);
}

#[test]
fn a_machine_without_threads_to_spare_goes_on_with_those_there_are() {
    let _turn = turns::in_company();
    if !inject::can_attach("a machine without threads") {
        return;
    }
    let home = Home::new();
    configure(&home);
    let bridge = home.start();
    let (ledger, mut client) = (Ledger::default(), bridge.client());
    let mut numbered = (0..).map(|number| {
        // Every other one is large enough to be worked on apart from the connections.
        let bytes = if number % 2 == 0 { 500 } else { 100_000 };
        Delivery::new("call.created", "default:no-threads", number, bytes)
    });
    hand_over(numbered.by_ref().take(10), &mut client, &ledger);
    // By now a thread that had nothing to do would be gone.
    std::thread::sleep(Duration::from_secs(12));
    let fault = FileFault::everywhere(bridge.pid(), "clone3:error=EAGAIN");
    assert_eq!(hand_over(numbered.by_ref().take(100), &mut client, &ledger), 0);
    let arrivals =
        readers::drained(&ledger, Duration::from_secs(20), || readers::files(&home.path("topics")));
    assert_eq!(arrivals.len(), ledger.acknowledged());
    await_until("what was delivered is settled", Duration::from_secs(20), || {
        (bridge.metric("fanbridge_sink_oldest_pending_seconds", &[]) == 0.0).then_some(())
    });
    assert_eq!(bridge.admin().get("/api/dead").expect("it answers").status, 200);
    drop(fault);
    bridge.stop();
    ledger.judge(&arrivals).assert_kept(0, 0);
}
