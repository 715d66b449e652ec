//! `ack.after` beside a shared duplicate window: what one replica has on its disk alone is no duplicate at
//! another one.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::bridge::{Bridge, Home};
use crate::support::client::{Answer, Client};
use crate::support::load::Delivery;
use crate::support::oracle::Ledger;
use crate::support::redis::Redis;
use crate::support::{Tier, await_until, readers, turns};
use crate::{replica, replica_with, taken_twice, union, verdict};

/// How long anything may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);
/// Where the deliveries here go to.
const TOPIC: &str = "stream.video.call-lifecycle";

fn awaiting_replica(redis: &Redis, within: &str) -> Home {
    replica_with(&redis.url(), "", "", &format!("ack: {{ after: [local], within: {within} }}\n"))
}

/// A file stands where the topic's directory has to be, so that the sink accepts nothing.
fn obstruct(home: &Home) {
    fs::create_dir_all(home.path("topics")).unwrap();
    fs::write(home.path("topics").join(TOPIC), "").unwrap();
}

fn delivery(number: u64) -> Delivery {
    Delivery::new("call.created", &format!("default:call-{}", number % 7), number, 200)
}

fn send(bridge: &Bridge, delivery: &Delivery) -> Answer {
    delivery.send(&mut bridge.client().with_timeout(DEADLINE)).expect("an answer")
}

/// Sends it until it is answered 2xx.
fn insist(bridge: &Bridge, delivery: &Delivery) {
    await_until("the delivery is answered 2xx", DEADLINE, || {
        Some(send(bridge, delivery)).filter(Answer::is_success)
    });
}

#[test]
fn what_one_replica_has_stored_and_its_sink_not_accepted_is_acknowledged_by_another_only_once_its_own_has() {
    let _turn = turns::in_company();
    let Some(redis) = Redis::start("answers that wait at two replicas") else { return };
    let (home_a, home_b) = (awaiting_replica(&redis, "500ms"), awaiting_replica(&redis, "4s"));
    obstruct(&home_a);
    let (a, b) = (home_a.start(), home_b.start());
    let delivery = delivery(1);
    for _ in 0..2 {
        assert_eq!(send(&a, &delivery).status, 503, "on the disk of one replica alone");
    }
    insist(&b, &delivery);
    let at_b = readers::files(&home_b.path("topics"));
    assert!(at_b.iter().any(|arrival| arrival.id == delivery.id), "acknowledged, and in no sink");
    // Its sink is as far away as before, but another one has the event.
    assert_eq!(verdict(&mut a.client(), &delivery), "duplicate");
    // The lost disk of the replica that never acknowledged it.
    a.kill();
    b.stop();
}

#[test]
fn an_event_that_a_sink_has_accepted_is_a_duplicate_at_every_replica_and_published_once() {
    let _turn = turns::in_company();
    let Some(redis) = Redis::start("accepted events at two replicas") else { return };
    let (home_a, home_b) = (awaiting_replica(&redis, "4s"), awaiting_replica(&redis, "4s"));
    let (a, b) = (home_a.start(), home_b.start());
    let deliveries: Vec<_> = (0..20).map(delivery).collect();
    deliveries.iter().for_each(|delivery| insist(&a, delivery));
    await_until("the window knows what was accepted", DEADLINE, || {
        let values = redis.values("fanbridge:");
        let accepted = values.values().filter(|value| value.starts_with("accepted:")).count();
        (accepted == deliveries.len()).then_some(())
    });
    for delivery in &deliveries {
        assert_eq!(verdict(&mut b.client(), delivery), "duplicate");
    }
    let arrivals = union(vec![(&home_a, a), (&home_b, b)]);
    assert_eq!((arrivals.len(), taken_twice(&arrivals)), (deliveries.len(), 0));
}

#[test]
fn an_event_that_was_acknowledged_without_a_sink_is_none_that_the_sink_has() {
    let _turn = turns::in_company();
    let Some(redis) = Redis::start("an event from before ack.after") else { return };
    let home_a = replica(&redis.url());
    obstruct(&home_a);
    let a = home_a.start();
    let delivery = delivery(1);
    assert_eq!(verdict(&mut a.client(), &delivery), "accepted");
    await_until("the window knows it as durable", DEADLINE, || {
        redis.values("fanbridge:").values().any(|value| value == "durable").then_some(())
    });
    a.kill();
    let home_b = awaiting_replica(&redis, "4s");
    let b = home_b.start();
    insist(&b, &delivery);
    let at_b = readers::files(&home_b.path("topics"));
    assert!(at_b.iter().any(|arrival| arrival.id == delivery.id), "acknowledged, and in no sink");
    b.stop();
}

/// Each sender turns to the other replica when one does not answer 2xx, as a balancer has it.
fn send_to_either(ports: [u16; 2], number: u64, ledger: &Ledger, stop: &AtomicBool) {
    let mut clients = ports.map(|port| Client::new(port).with_timeout(DEADLINE));
    for event in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let delivery = Delivery::new("call.created", &format!("default:{number}"), event, 200);
        ledger.offer(&delivery.id, Some(&delivery.key), &delivery.body);
        let mut which = event as usize % 2;
        while !delivery.send(&mut clients[which]).is_ok_and(|answer| answer.is_success()) {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            which = 1 - which;
            thread::sleep(Duration::from_millis(3));
        }
        ledger.acknowledge(&delivery.id);
    }
}

/// Ends the senders, also when the test has failed.
struct StopAtTheEnd<'a>(&'a AtomicBool);

impl Drop for StopAtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn replicas_that_lose_their_disks_in_turn_lose_nothing_that_either_of_them_acknowledged() {
    let _turn = turns::in_company();
    let Some(redis) = Redis::start("replicas that lose their disks") else { return };
    let losses = Tier::of_this_run().pick(6, 20, 100);
    let homes = [awaiting_replica(&redis, "4s"), awaiting_replica(&redis, "4s")];
    let mut bridges = [0, 1].map(|which: usize| Some(homes[which].start()));
    let ports = [homes[0].http, homes[1].http];
    let (ledger, stop) = (Ledger::default(), AtomicBool::new(false));
    thread::scope(|scope| {
        for number in 0..4 {
            let (ledger, stop) = (&ledger, &stop);
            scope.spawn(move || send_to_either(ports, number, ledger, stop));
        }
        let _stop = StopAtTheEnd(&stop);
        for loss in 0..losses {
            let before = ledger.acknowledged();
            await_until("something is acknowledged", DEADLINE, || {
                (ledger.acknowledged() >= before + 30).then_some(())
            });
            let which = loss % 2;
            bridges[which].take().expect("it runs").kill();
            fs::remove_dir_all(homes[which].path("spool")).expect("the disk can be lost");
            bridges[which] = Some(homes[which].start());
        }
    });
    bridges.into_iter().flatten().for_each(Bridge::kill);
    let arrivals: Vec<_> = homes.iter().flat_map(|home| readers::files(&home.path("topics"))).collect();
    let missing = ledger.missing(arrivals.iter().map(|arrival| arrival.id.as_str()));
    let acknowledged = ledger.acknowledged();
    println!("{losses} disks lost, {acknowledged} acknowledged, {} records", arrivals.len());
    assert!(missing.is_empty(), "{} of {acknowledged} are missing", missing.len());
    assert!(acknowledged >= losses * 30, "too little was acknowledged");
}
