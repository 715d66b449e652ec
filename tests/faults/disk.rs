//! No room: the disk is full, or the spool has reached its bound. Either way the provider is told
//! to come back, and is served again as soon as there is room.

use std::time::Duration;

use crate::support::bridge::{Bridge, Home};
use crate::support::client::Client;
use crate::support::inject::{self, Ballast};
use crate::support::load::Delivery;
use crate::support::oracle::Ledger;
use crate::support::{await_until, readers, turns};

#[test]
fn a_full_disk_answers_503_and_recovers_by_itself() {
    let _turn = turns::in_company();
    if !inject::can_mount("a full disk") {
        return;
    }
    let home = Home::new();
    home.configure_files();
    let spool = home.path("spool");
    let wrapper = inject::tiny_disk(&spool, 16 * 1024);
    let bridge = home.start_under(&wrapper.iter().map(String::as_str).collect::<Vec<_>>());
    let (ledger, mut client) = (Ledger::default(), bridge.client());
    let mut events = (0..).map(|number| Delivery::new("call.created", "default:full-disk", number, 2000));
    events.by_ref().take(20).for_each(|event| event.hand_over(&mut client, &ledger));

    let ballast = Ballast::fill(&bridge.path_inside(&spool));
    let refused = send_until_refused(&mut events, &mut client, &ledger);
    assert_unready(&bridge);
    ballast.drop_it();
    send_until_accepted(&refused, &mut client, &ledger);
    events.take(20).for_each(|event| event.hand_over(&mut client, &ledger));

    let arrivals =
        readers::drained(&ledger, Duration::from_secs(10), || readers::files(&home.path("topics")));
    bridge.stop();
    ledger.judge(&arrivals).assert_kept(0, 0);
}

#[test]
fn a_spool_at_its_bound_answers_503_until_a_sink_makes_room() {
    let _turn = turns::in_company();
    if !inject::can_mount("a full spool") {
        return;
    }
    let home = Home::new();
    let topics = home.path("topics");
    let limits = "limits: { body_bytes_max: 64 KiB, inflated_bytes_max: 64 KiB }\n";
    let sinks = format!("sinks:\n  local: {{ file: {{ dir: {} }} }}\n", topics.display());
    home.configure("bytes_max: 9 MiB, segment_bytes: 1100 KiB, retain: 0s", &format!("{limits}{sinks}"));
    // The sink has a disk of its own, and that one is full: nothing can leave the spool.
    let wrapper = inject::tiny_disk(&topics, 32 * 1024);
    let bridge = home.start_under(&wrapper.iter().map(String::as_str).collect::<Vec<_>>());
    let ballast = Ballast::fill(&bridge.path_inside(&topics));
    let (ledger, mut client) = (Ledger::default(), bridge.client());
    let mut events = (0..).map(|number| Delivery::new("call.created", "default:full-spool", number, 8000));

    let refused = send_until_refused(&mut events, &mut client, &ledger);
    assert!(ledger.acknowledged() > 500, "refused after only {} events of 8 kB", ledger.acknowledged());
    assert!(bridge.metric("fanbridge_spool_bytes", &[]) <= 9.0 * 1024.0 * 1024.0, "the bound is kept");
    assert_unready(&bridge);
    ballast.drop_it();
    send_until_accepted(&refused, &mut client, &ledger);

    let inside = bridge.path_inside(&topics);
    let arrivals = readers::drained(&ledger, Duration::from_secs(20), || readers::files(&inside));
    bridge.stop();
    ledger.judge(&arrivals).assert_kept(0, 0);
}

#[test]
fn a_sink_that_detaches_misses_what_a_full_spool_gives_up_and_nobody_is_turned_away_for_it() {
    const EVENTS: u64 = 4000;
    let _turn = turns::in_company();
    if !inject::can_mount("a sink that detaches") {
        return;
    }
    let home = Home::new();
    let (stuck, other) = (home.path("stuck"), home.path("topics"));
    let sinks = format!(
        "limits: {{ body_bytes_max: 64 KiB, inflated_bytes_max: 64 KiB }}\n\
         sinks:\n  stuck: {{ file: {{ dir: {} }}, on_full: detach_sink }}\n  other: {{ file: {{ dir: {} }} }}\n",
        stuck.display(),
        other.display()
    );
    home.configure("bytes_max: 16 MiB, segment_bytes: 2 MiB, retain: 0s", &sinks);
    let wrapper = inject::tiny_disk(&stuck, 64 * 1024);
    let bridge = home.start_under(&wrapper.iter().map(String::as_str).collect::<Vec<_>>());
    let ballast = Ballast::fill(&bridge.path_inside(&stuck));
    let (ledger, mut client) = (Ledger::default(), bridge.client());
    // Twice what the spool may hold; every one is taken. Cursors follow once a second at the latest, and
    // before that nothing gives way.
    for number in 0..EVENTS {
        Delivery::new("call.created", "default:detached", number, 8000).hand_over(&mut client, &ledger);
        if number % 100 == 0 {
            std::thread::sleep(Duration::from_millis(250));
        }
    }
    assert!(bridge.metric("fanbridge_spool_bytes", &[]) <= 16.0 * 1024.0 * 1024.0, "the bound is kept");
    let given_up = bridge.log().matches("were pruned before every sink with `on_full: detach_sink`").count();
    assert!(given_up > 5, "{given_up} pruned segments in the log");

    // Counted as it is given up: the sink itself is stuck, and may never get there.
    let missed = || bridge.metric("fanbridge_sink_missed_records_total", &["sink=\"stuck\""]) as u64;
    await_until("what was given up is counted", Duration::from_secs(20), || (missed() > 0).then_some(()));
    ballast.drop_it();
    let inside = bridge.path_inside(&stuck);
    let arrived = || readers::files(&inside).len() as u64;
    await_until("the sink has all that is left", Duration::from_secs(20), || {
        (arrived() + missed() == EVENTS).then_some(())
    });
    println!("of {EVENTS} events the sink that detaches got {} and missed {}", arrived(), missed());
    assert!((100..EVENTS).contains(&missed()));
    let others = readers::drained(&ledger, Duration::from_secs(20), || readers::files(&other));
    // In their order, none twice, and no other than were sent.
    assert!(readers::files(&inside).windows(2).all(|pair| pair[0].sequence < pair[1].sequence));
    bridge.stop();
    ledger.judge(&others).assert_kept(0, 0);
}

/// Sends events until one is refused with 503 and a time to come back; that one.
fn send_until_refused(
    events: &mut impl Iterator<Item = Delivery>,
    client: &mut Client,
    ledger: &Ledger,
) -> Delivery {
    for event in events.take(20_000) {
        ledger.offer(&event.id, Some(&event.key), &event.body);
        let answer = event.send(client).expect("a bridge without room still answers");
        if !answer.is_success() {
            assert_eq!(answer.status, 503, "{}", answer.text());
            let seconds = answer.header("retry-after").expect("a 503 says when to come back");
            assert!(seconds.parse::<u32>().is_ok_and(|seconds| seconds > 0), "retry-after: {seconds}");
            assert_eq!(answer.header("content-type"), Some("application/problem+json"));
            return event;
        }
        ledger.acknowledge(&event.id);
    }
    panic!("twenty thousand events were taken in, and no bound was met");
}

fn send_until_accepted(event: &Delivery, client: &mut Client, ledger: &Ledger) {
    await_until("the refused event is taken in", Duration::from_secs(30), || {
        event.send(client).ok().filter(|answer| answer.is_success())
    });
    ledger.acknowledge(&event.id);
}

fn assert_unready(bridge: &Bridge) {
    await_until("the bridge says that it is not ready", Duration::from_secs(5), || {
        bridge.admin().get("/readyz").ok().filter(|answer| answer.status == 503)
    });
}
