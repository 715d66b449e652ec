//! Attacks from four addresses, without a secret, while a provider delivers from a fifth: none of its
//! deliveries is refused, and none has to wait.
//!
//! The figures of docs/PERFORMANCE.md are what these print:
//! `FANBRIDGE_SOAK=1 cargo test --release --locked --test faults strangers -- --nocapture --test-threads 1`.

mod attack;
mod tls;

use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use self::attack::{Attack, Kind};
use self::tls::Identity;
use crate::support::bridge::{Bridge, Home};
use crate::support::client::{Client, request};
use crate::support::load::{Delivery, STREAM_PATH};
use crate::support::{Tier, await_until, signing, turns};

/// How long a genuine delivery may take, unless the machine is so slow that it takes a twentieth of
/// that without any attack.
const ANSWERED_WITHIN: Duration = Duration::from_secs(1);
const SLOWDOWN_MAX: u32 = 20;
/// How long an attack goes on before anything genuine comes. What is held, or inflates, takes a while to
/// take hold.
fn head_start(kind: Kind) -> Duration {
    match kind {
        Kind::Gzip | Kind::Unsigned | Kind::Forged => Duration::from_secs(4),
        _ => Duration::from_secs(1),
    }
}

/// What a provider sends, on a connection that it keeps and on a new one each time.
const SHAPES: [(&str, usize, bool); 3] =
    [("1 KiB", 1 << 10, false), ("100 KiB", 100 << 10, false), ("100 KiB in gzip", 100 << 10, true)];

#[test]
fn gzip_of_strangers_that_inflates_to_the_bound_delays_no_senders_delivery() {
    withstand(Kind::Gzip);
}

#[test]
fn small_gzip_of_strangers_delays_no_senders_delivery() {
    withstand(Kind::SmallGzip);
}

#[test]
fn bodies_without_a_signature_take_no_memory_from_senders() {
    let (bridge, _home) = withstand(Kind::Unsigned);
    let refused = |reason: &str| bridge.metric("fanbridge_refused_total", &[reason]);
    assert!(refused("reason=\"missing_signature\"") > 0.0, "the strangers were there");
    assert_eq!(refused("reason=\"in_flight_bytes\""), 0.0);
}

#[test]
fn bodies_under_forged_signatures_leave_memory_to_senders() {
    let (bridge, _home) = withstand(Kind::Forged);
    let refused = |reason: &str| bridge.metric("fanbridge_refused_total", &[reason]);
    assert!(refused("reason=\"strangers_in_flight_bytes\"") > 0.0, "the strangers were there");
    assert_eq!(refused("reason=\"in_flight_bytes\""), 0.0);
}

#[test]
fn probes_of_strangers_take_no_connections_from_senders() {
    let (bridge, _home) = withstand(Kind::Probes);
    assert!(bridge.metric("fanbridge_connections_refused_total", &["reason=\"displaced\""]) > 0.0);
}

#[test]
fn connections_of_strangers_who_say_nothing_give_way_to_senders() {
    let (bridge, _home) = withstand(Kind::Silent);
    assert!(bridge.metric("fanbridge_connections_refused_total", &["reason=\"displaced\""]) > 0.0);
}

#[test]
fn handshakes_of_strangers_delay_no_senders_connection() {
    let (bridge, _home) = withstand(Kind::Handshakes);
    await_until("handshakes of strangers were begun and left", Duration::from_secs(20), || {
        let failed = bridge.metric("fanbridge_connections_refused_total", &["reason=\"tls_handshake\""]);
        (failed > 100.0).then_some(())
    });
}

#[test]
fn connections_of_strangers_without_end_keep_no_senders_connection_waiting() {
    let (bridge, _home) = withstand(Kind::Connections);
    assert!(bridge.metric("fanbridge_connections_refused_total", &["reason=\"displaced\""]) > 0.0);
}

#[test]
fn a_burst_of_connections_waits_in_the_systems_queue_while_the_bridge_is_busy() {
    let _turn = turns::in_company();
    let home = Home::new();
    home.configure_files();
    let bridge = home.start();
    // Busy, for as long as it takes to make them.
    bridge.signal(Signal::STOP);
    let connect = |_| TcpStream::connect_timeout(&([127, 0, 0, 1], home.http).into(), ANSWERED_WITHIN);
    let systems = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
    let size = systems.trim().parse().unwrap_or(500).min(500);
    let burst: Vec<_> = (0..size).map_while(|number| connect(number).ok()).collect();
    bridge.signal(Signal::CONT);
    assert_eq!(burst.len(), size, "for the next one there was no room");
    let delivery = genuine("default:behind-a-burst", 1, 300, false);
    assert_eq!(bridge.client().exchange(&delivery).expect("an answer").status, 200);
}

/// Delivers while strangers attack; the first delivery comes from a network that is not known yet.
fn withstand(kind: Kind) -> (Bridge, Home) {
    let _turn = turns::alone();
    let tier = Tier::of_this_run();
    let (each, rounds) = (tier.pick(64, 64, 1024), tier.pick(10, 10, 100));
    let home = Home::new();
    let topics = home.path("topics");
    home.configure(
        "",
        &format!(
            "limits: {{ connections_max: {}, connections_per_address_max: {each} }}\n\
             sinks:\n  local: {{ file: {{ dir: {} }} }}\n",
            4 * each,
            topics.display()
        ),
    );
    let identity = (kind == Kind::Handshakes).then(|| Identity::install(&home));
    let connect = || {
        let client = Client::new(home.http).with_timeout(Duration::from_secs(30));
        match &identity {
            Some(identity) => client.with_tls(identity.trusted.clone()),
            None => client,
        }
    };
    // A life of its own tells what the machine takes without an attack.
    let calm = home.start();
    let allowed = ANSWERED_WITHIN.max(SLOWDOWN_MAX * deliver(connect, "calm", rounds).slowest());
    calm.stop();

    let bridge = home.start();
    let attack = Attack::start(kind, home.http, each);
    std::thread::sleep(head_start(kind));
    let before = attack.begun.load(Ordering::Relaxed);
    let answers = deliver(connect, &format!("{kind:?}"), rounds);
    let begun = attack.begun.load(Ordering::Relaxed);
    println!("{kind:?}: {before} attempts of strangers before, {begun} in all; {answers}");
    assert!(before > 0, "nobody attacked");
    drop(attack);
    assert!(answers.slowest() < allowed, "{answers}, where {allowed:?} were allowed");
    (bridge, home)
}

/// How long each delivery took, by shape.
struct Answers([Vec<Duration>; SHAPES.len()]);

/// Delivers each shape so many times, on a connection that is kept and on a new one.
fn deliver(connect: impl Fn() -> Client, name: &str, rounds: u64) -> Answers {
    let mut kept = connect();
    let mut answers = Answers(Default::default());
    for round in 0..rounds {
        for ((shape, bytes, zipped), times) in SHAPES.into_iter().zip(&mut answers.0) {
            for fresh in [true, false] {
                let key = format!("default:{name}-{shape}-{fresh}").replace(' ', "-");
                let request = genuine(&key, round, bytes, zipped);
                let start = Instant::now();
                let mut new = connect();
                let client = if fresh { &mut new } else { &mut kept };
                let answer = client.exchange(&request);
                let answer = answer.unwrap_or_else(|error| panic!("{shape}, {name}: {error:?}"));
                assert_eq!(answer.status, 200, "{shape}, {name}, round {round}: {}", answer.text());
                times.push(start.elapsed());
            }
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    answers
}

fn genuine(key: &str, number: u64, bytes: usize, zipped: bool) -> Vec<u8> {
    let delivery = Delivery::new("call.created", key, number, bytes);
    if !zipped {
        return delivery.request;
    }
    let signature = signing::stream(&delivery.body);
    let headers = [("x-signature", &*signature), ("content-encoding", "gzip")];
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut encoder, &delivery.body).unwrap();
    request(STREAM_PATH, &headers, &encoder.finish().unwrap())
}

impl Answers {
    fn slowest(&self) -> Duration {
        self.0.iter().flatten().copied().max().unwrap_or_default()
    }
}

impl std::fmt::Display for Answers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count: usize = self.0.iter().map(Vec::len).sum();
        write!(f, "{count} deliveries answered 200")?;
        for ((shape, ..), times) in SHAPES.iter().zip(&self.0) {
            let mut times = times.clone();
            times.sort();
            let (median, slowest) = (times[times.len() / 2], times[times.len() - 1]);
            write!(f, "; {shape}: median {median:.1?}, slowest {slowest:.1?}")?;
        }
        Ok(())
    }
}
