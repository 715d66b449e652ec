//! A server that is frozen, killed, stopped or was never there: no delivery is refused, hardly one
//! is late, and the window is in use again by itself.

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::bridge::Bridge;
use crate::support::load::{Delivery, Load, Shape};
use crate::support::oracle::Ledger;
use crate::support::redis::Redis;
use crate::support::{await_until, turns};
use crate::{await_in_use, judge, replica, skipped, union, verdict};

/// A delivery that took this long has waited for the server, which is given 100 ms.
const LATE: Duration = Duration::from_millis(80);

fn delivery(number: u64) -> Delivery {
    Delivery::new("call.created", &format!("default:call-{number}"), number, 200)
}

/// Hands deliveries over one after the other for a while; how long each took.
fn hand_over_for(time: Duration, bridge: &Bridge, ledger: &Ledger, first: u64) -> Vec<Duration> {
    let (mut client, begun, mut took) = (bridge.client(), Instant::now(), Vec::new());
    while begun.elapsed() < time {
        let sent = Instant::now();
        delivery(first + took.len() as u64).hand_over(&mut client, ledger);
        took.push(sent.elapsed());
    }
    took
}

#[test]
fn a_frozen_server_costs_one_wait_and_not_one_for_every_event() {
    let _turn = turns::alone();
    let Some(redis) = Redis::start("a frozen server") else { return };
    let (home_a, home_b) = (replica(&redis.url()), replica(&redis.url()));
    let (a, b) = (home_a.start(), home_b.start());
    let ledger = Ledger::default();
    hand_over_for(Duration::from_millis(300), &a, &ledger, 0);

    redis.freeze();
    let took = hand_over_for(Duration::from_secs(5), &a, &ledger, 1_000_000);
    let (late, slowest) = (took.iter().filter(|took| **took >= LATE).count(), took.iter().max().unwrap());
    println!(
        "{} deliveries in 5 s of a frozen server, {late} of them late, the slowest {slowest:?}",
        took.len()
    );
    // The frozen server takes one; the rest is the machine's own.
    assert!(took.len() > 100 && late * 50 < took.len() + 50, "{late} of {} were late", took.len());
    assert!(*slowest < Duration::from_secs(2), "the slowest took {slowest:?}");
    assert!(skipped(&a, "timeout") <= 1.0);
    assert_eq!(skipped(&a, "timeout") + skipped(&a, "away"), took.len() as f64);
    assert_eq!(a.metric("fanbridge_shared_window_degraded", &[]), 1.0);

    redis.thaw();
    await_in_use(&a);
    // What was taken in meanwhile is told, and the other replica knows it.
    await_until("all of it is told", Duration::from_secs(20), || {
        (redis.keys("fanbridge:").len() == ledger.acknowledged()).then_some(())
    });
    let last = delivery(1_000_000 + took.len() as u64 - 1);
    assert_eq!(verdict(&mut b.client(), &last), "duplicate");
    let arrivals = union(vec![(&home_a, a), (&home_b, b)]);
    assert_eq!(judge(&ledger, &arrivals).arrivals, ledger.acknowledged());
}

/// What is done to a server.
type Change = fn(&mut Redis);

#[test]
fn a_server_that_dies_or_hangs_under_load_refuses_nothing_and_is_used_again_by_itself() {
    let _turn = turns::alone();
    let Some(mut redis) = Redis::start("a server that dies under load") else { return };
    let (home_a, home_b) = (replica(&redis.url()), replica(&redis.url()));
    let (a, b) = (home_a.start(), home_b.start());
    let pause = Duration::from_millis(2);
    let shape = |name| Shape { name, senders: 8, keys_per_sender: 3, body_bytes: 400, pause };
    let at_a = Load::start(home_a.http, shape("outage-a"));
    let at_b = Load::start_with(at_a.ledger.clone(), home_b.http, shape("outage-b"));

    let faults: [(&str, Change, Change); 3] = [
        ("killed", Redis::kill, Redis::start_again),
        ("frozen", |redis| redis.freeze(), |redis| redis.thaw()),
        ("stopped", Redis::stop, Redis::start_again),
    ];
    for (fault, begin, end) in faults {
        let skipped_before = [&a, &b].map(|bridge| skipped(bridge, "away"));
        begin(&mut redis);
        for (bridge, before) in [&a, &b].into_iter().zip(skipped_before) {
            await_until("events are taken in without the server", Duration::from_secs(10), || {
                (skipped(bridge, "away") > before + 50.0).then_some(())
            });
            assert_eq!(bridge.metric("fanbridge_shared_window_degraded", &[]), 1.0, "{fault}");
        }
        // Long enough for several attempts to reach it.
        std::thread::sleep(Duration::from_secs(3));
        end(&mut redis);
        [&a, &b].into_iter().for_each(await_in_use);
        println!("{fault}: in use again; {} deliveries so far", at_a.acknowledged() + at_b.acknowledged());
        assert_eq!(
            verdict(&mut a.client(), &delivery(0)),
            if fault == "killed" { "accepted" } else { "duplicate" }
        );
        assert_eq!(verdict(&mut b.client(), &delivery(0)), "duplicate", "{fault}");
    }

    let (ledger, tally_a) = at_a.finish();
    let (_, tally_b) = at_b.finish();
    ledger.offer(&delivery(0).id, Some(&delivery(0).key), &delivery(0).body);
    for (bridge, tally) in [(&a, tally_a), (&b, tally_b)] {
        assert_eq!(tally.put_off.load(Ordering::Relaxed), 0, "none is refused");
        println!("the slowest delivery took {:?}", tally.slowest());
        assert!(tally.slowest() < Duration::from_secs(2), "the slowest took {:?}", tally.slowest());
        assert_eq!(bridge.metric("fanbridge_refused_total", &[]), 0.0);
    }
    await_until("the log has the end of the outage", Duration::from_secs(30), || {
        a.log().contains("is in use again").then_some(())
    });
    a.assert_logs("the shared duplicate window cannot be used");
    let lines = a.log().lines().filter(|line| line.contains("shared duplicate window")).count();
    assert!((3..=10).contains(&lines), "one line for each change, found {lines}:\n{}", a.log());
    judge(&ledger, &union(vec![(&home_a, a), (&home_b, b)]));
}

#[test]
fn a_replica_starts_without_its_server_and_uses_it_once_it_is_there() {
    let _turn = turns::in_company();
    let Some(mut redis) = Redis::start("a start without the server") else { return };
    redis.kill();
    let (home_a, home_b) = (replica(&redis.url()), replica(&redis.url()));
    let (a, b) = (home_a.start(), home_b.start());
    a.assert_logs("the shared duplicate window cannot be used");
    let ledger = Ledger::default();
    for number in 0..50 {
        delivery(number).hand_over(&mut a.client(), &ledger);
    }
    assert_eq!(skipped(&a, "away"), 50.0);

    redis.start_again();
    [&a, &b].into_iter().for_each(await_in_use);
    await_until("what was taken in meanwhile is told", Duration::from_secs(10), || {
        (redis.keys("fanbridge:").len() == 50).then_some(())
    });
    let mut client = b.client();
    assert!((0..50).all(|number| verdict(&mut client, &delivery(number)) == "duplicate"));
    assert_eq!(judge(&ledger, &union(vec![(&home_a, a), (&home_b, b)])).arrivals, 50);
}

/// Takes connections as a name does that always leads to the primary: one that is made goes to the port that
/// is the primary's then, and stays there.
fn name_of(primary: &Arc<AtomicU16>) -> u16 {
    let (listener, primary) = (TcpListener::bind("127.0.0.1:0").unwrap(), Arc::clone(primary));
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(("127.0.0.1", primary.load(Ordering::Relaxed))).unwrap();
            let ways = [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)];
            for (mut from, mut to) in ways {
                thread::spawn(move || {
                    // An end that is gone ends the other.
                    let _ = io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Both);
                });
            }
        }
    });
    port
}

#[test]
fn a_primary_that_has_become_a_read_only_replica_is_left_for_the_one_that_its_name_leads_to_now() {
    let _turn = turns::in_company();
    let (Some(before), Some(after)) = (Redis::start("a primary"), Redis::start("the next primary")) else {
        return;
    };
    let primary = Arc::new(AtomicU16::new(before.port));
    let home = replica(&format!("redis://127.0.0.1:{}", name_of(&primary)));
    let bridge = home.start();
    assert_eq!(verdict(&mut bridge.client(), &delivery(0)), "accepted");

    await_until("the primary knows the event", Duration::from_secs(20), || {
        before.values("fanbridge:").values().any(|value| value == "durable").then_some(())
    });

    // It keeps its connections, and answers on them.
    before.connect().ask(&["REPLICAOF", "127.0.0.1", "1"]);
    primary.store(after.port, Ordering::Relaxed);
    assert_eq!(verdict(&mut bridge.client(), &delivery(1)), "accepted");
    assert_eq!(skipped(&bridge, "error"), 1.0, "it refuses to be written to");
    await_until("the next primary knows the event", Duration::from_secs(20), || {
        (after.keys("fanbridge:").len() == 1).then_some(())
    });
    await_in_use(&bridge);
    assert_eq!(verdict(&mut bridge.client(), &delivery(2)), "accepted");
    assert_eq!((skipped(&bridge, "error"), after.keys("fanbridge:").len()), (1.0, 2));
}
