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
    home.configure("bytes_max: 8 MiB, segment_bytes: 2 MiB, retain: 0s", &format!("{limits}{sinks}"));
    // The sink has a disk of its own, and that one is full: nothing can leave the spool.
    let wrapper = inject::tiny_disk(&topics, 32 * 1024);
    let bridge = home.start_under(&wrapper.iter().map(String::as_str).collect::<Vec<_>>());
    let ballast = Ballast::fill(&bridge.path_inside(&topics));
    let (ledger, mut client) = (Ledger::default(), bridge.client());
    let mut events = (0..).map(|number| Delivery::new("call.created", "default:full-spool", number, 8000));

    let refused = send_until_refused(&mut events, &mut client, &ledger);
    assert!(ledger.acknowledged() > 500, "refused after only {} events of 8 kB", ledger.acknowledged());
    assert!(bridge.metric("fanbridge_spool_bytes", &[]) <= 8.0 * 1024.0 * 1024.0, "the bound is kept");
    assert_unready(&bridge);
    ballast.drop_it();
    send_until_accepted(&refused, &mut client, &ledger);

    let inside = bridge.path_inside(&topics);
    let arrivals = readers::drained(&ledger, Duration::from_secs(20), || readers::files(&inside));
    bridge.stop();
    ledger.judge(&arrivals).assert_kept(0, 0);
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
