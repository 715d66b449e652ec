//! A hundred changes while deliveries come.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::peer::{Peer, event};
use super::*;
use crate::testing::bench::awaited;
use crate::timeline::TakenAs;

const SENDERS: usize = 6;
const SWAPS: usize = 100;

const FIRST: &str = "select: [call.created]\n\
    sources:\n\
    \x20 stays: { provider: stream, app: stays, secrets: [env:OLD] }\n\
    \x20 turns: { provider: stream, app: first, secrets: [env:OLD] }\n";
const SECOND: &str = "select: all\n\
    sources:\n\
    \x20 stays: { provider: stream, app: stays, secrets: [env:OLD] }\n\
    \x20 turns: { provider: stream, app: second, secrets: [env:NEW] }\n\
    \x20 comes: { provider: stream, app: comes, secrets: ['file:DIR/secret'] }\n";

/// What the senders do, and what they have seen.
#[derive(Default)]
struct Sent {
    stop: AtomicBool,
    answered: AtomicUsize,
    gone: AtomicUsize,
}

/// Posts to a source that is always there, with both secrets by turns, until it is told to stop. Each answer
/// is to be a 200, and the connection is to stay.
async fn send_on(sent: Arc<Sent>, sender: usize, address: SocketAddr) {
    let mut peer = Peer::new(address);
    for number in 0.. {
        if sent.stop.load(Ordering::Relaxed) {
            break;
        }
        let event_type = ["call.created", "call.ring"][number % 2];
        let (source, secret) = match sender % 3 {
            0 => ("stays", OLD),
            _ => ("turns", [OLD, NEW][number / 2 % 2]),
        };
        let (status, text) =
            peer.post(source, secret, &event(event_type, &format!("{sender} {number}"))).await;
        assert_eq!(status, 200, "{source} {event_type}: {text}");
        let verdicts: &[&str] =
            if event_type == "call.ring" { &["accepted", "filtered"] } else { &["accepted"] };
        assert!(verdicts.iter().any(|verdict| text.contains(verdict)), "{event_type}: {text}");
        sent.answered.fetch_add(usize::from(source == "turns"), Ordering::Relaxed);
    }
    assert_eq!(peer.connected, 1, "no change closes a connection");
}

/// Posts to a source that comes and goes: each answer is to be 200 or 404.
async fn send_to_what_comes(sent: Arc<Sent>, address: SocketAddr) {
    let mut peer = Peer::new(address);
    for number in 0.. {
        if sent.stop.load(Ordering::Relaxed) {
            break;
        }
        let (status, text) = peer.post("comes", OLD, &event("call.ring", &number.to_string())).await;
        assert!(status == 200 || status == 404, "{status}: {text}");
        sent.gone.fetch_add(usize::from(status == 404), Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_changes_refuse_nothing_and_each_delivery_is_judged_by_one_configuration() {
    let mut bridge = Swapped::start(FIRST).await;
    bridge.swap(SECOND, &["stays"]).await;
    let alive = Handle::current().metrics().num_alive_tasks();
    let sent = Arc::new(Sent::default());
    let mut senders = JoinSet::new();
    for sender in 0..SENDERS {
        senders.spawn(send_on(Arc::clone(&sent), sender, bridge.address()));
    }
    senders.spawn(send_to_what_comes(Arc::clone(&sent), bridge.address()));
    let mut series = Vec::new();
    for number in 0..SWAPS {
        bridge.swap([FIRST, SECOND][number % 2], &["stays"]).await;
        sleep(Duration::from_millis(10)).await;
        if number == SWAPS / 4 * 2 - 1 {
            series = bridge.series();
        }
    }
    sent.stop.store(true, Ordering::Relaxed);
    while let Some(ended) = senders.join_next().await {
        ended.unwrap();
    }
    assert!(sent.gone.load(Ordering::Relaxed) > 0, "a source that is gone has no path");

    let answered = sent.answered.load(Ordering::Relaxed);
    awaited(|| bridge.taken("turns").len() >= answered).await;
    let mut judged = std::collections::BTreeMap::new();
    for taken in bridge.taken("turns") {
        let by = (taken.event_type, taken.verdict == TakenAs::Filtered, taken.event_source);
        *judged.entry(by).or_insert(0_usize) += 1;
    }
    let allowed = [
        ("call.created", false, "/stream/first"),
        ("call.created", false, "/stream/second"),
        ("call.ring", true, "/stream/first"),
        ("call.ring", false, "/stream/second"),
    ];
    let allowed = allowed.map(|(name, filtered, source)| (name.to_owned(), filtered, source.to_owned()));
    assert_eq!(judged.keys().cloned().collect::<Vec<_>>(), {
        let mut allowed = allowed.to_vec();
        allowed.sort();
        allowed
    });
    assert_eq!(judged.values().sum::<usize>(), answered, "each was judged once");

    assert_eq!(bridge.series(), series, "no series is left behind");
    let tasks = |bridge: &mut Swapped| bridge.bridge.sources.tasks();
    awaited(|| tasks(&mut bridge) == (0, 2)).await;
    // What follows the secrets had perhaps not begun its own tasks when they were counted.
    awaited(|| Handle::current().metrics().num_alive_tasks() <= alive + 8).await;
    bridge.stop().await;
}
