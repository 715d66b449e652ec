//! A replica that dies, or whose disk fails, between its claim and its promise: the other one takes
//! the event in.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::bridge::{Bridge, Home, free_port};
use crate::support::client::Client;
use crate::support::load::Delivery;
use crate::support::oracle::Ledger;
use crate::support::redis::Redis;
use crate::support::{Tier, await_until, inject, turns};
use crate::{judge, replica, replica_with, taken_twice, union, verdict};

fn delivery(number: u64) -> Delivery {
    Delivery::new("call.created", &format!("default:call-{number}"), number, 200)
}

/// The values of all events' keys.
fn values(redis: &Redis) -> Vec<String> {
    redis.values("fanbridge:").into_values().collect()
}

/// How many events are claimed and not durable.
fn claimed(redis: &Redis) -> usize {
    values(redis).iter().filter(|value| value.starts_with("pending:")).count()
}

/// Sends a delivery without waiting for the answer, which comes to the client that is returned.
fn send(bridge: &Bridge, ledger: &Ledger, delivery: &Delivery) -> Client {
    let mut client = bridge.client();
    ledger.offer(&delivery.id, Some(&delivery.key), &delivery.body);
    client.send(&delivery.request).expect("the bridge takes a request");
    client
}

/// A command prefix under which something is done to every fdatasync of the spool's writer.
fn with_fdatasync(home: &Home, what: &str) -> Vec<String> {
    let inject = format!("inject=fdatasync:{what}");
    inject::trace(&home.path("trace"), &["-e", "trace=fdatasync", "-e", &inject])
}

fn strs(strings: &[String]) -> Vec<&str> {
    strings.iter().map(String::as_str).collect()
}

#[test]
fn a_replica_killed_between_claim_and_fdatasync_costs_no_event() {
    const EVENTS: u64 = 8;
    let _turn = turns::in_company();
    let Some(redis) = Redis::start("a replica killed between claim and fdatasync") else { return };
    if !inject::can_trace("a replica killed between claim and fdatasync") {
        return;
    }
    let (home_a, home_b) = (replica(&redis.url()), replica(&redis.url()));
    // Counted by thread: a start is over long before that many.
    let slow = with_fdatasync(&home_a, "delay_enter=3000000:when=20+");
    let (a, b) = (home_a.start_under(&strs(&slow)), home_b.start());
    let ledger = Ledger::default();
    let mut client = a.client();
    (0..19).for_each(|number| delivery(number).hand_over(&mut client, &ledger));

    let caught = 100..100 + EVENTS;
    let unanswered: Vec<_> = caught.clone().map(|number| send(&a, &ledger, &delivery(number))).collect();
    await_until("everything is claimed", Duration::from_secs(10), || {
        (claimed(&redis) == EVENTS as usize).then_some(())
    });
    a.kill();
    drop(unanswered);
    assert_eq!(claimed(&redis), EVENTS as usize, "none of it had become durable");

    // The provider tries again and reaches the other replica, which does not wait for the dead one.
    let mut client = b.client();
    let begun = Instant::now();
    for number in caught {
        assert_eq!(verdict(&mut client, &delivery(number)), "accepted");
        ledger.acknowledge(&delivery(number).id);
    }
    println!("{EVENTS} events that a dead replica had claimed took {:?}", begun.elapsed());
    await_until("all of it is durable", Duration::from_secs(10), || (claimed(&redis) == 0).then_some(()));
    // What it had written may be there all the same, as after every crash.
    let arrivals = union(vec![(&home_a, home_a.start()), (&home_b, b)]);
    judge(&ledger, &arrivals);
    assert!(taken_twice(&arrivals) <= EVENTS as usize);
}

#[test]
fn an_event_is_called_durable_only_behind_its_fdatasync() {
    let _turn = turns::in_company();
    let Some(redis) = Redis::start("the order of fdatasync and mark") else { return };
    if !inject::can_trace("the order of fdatasync and mark") {
        return;
    }
    // A sink that writes no file: the failure is counted by thread, and is to hit the spool alone.
    let kafka = format!("kafka: {{ brokers: \"127.0.0.1:{}\" }}", free_port());
    let home = replica_with(&redis.url(), "", &kafka, "");
    let mut bridge = home.start_under(&strs(&with_fdatasync(&home, "error=EIO:when=20")));
    let mut client = bridge.client();
    for number in 0..19 {
        assert_eq!(verdict(&mut client, &delivery(number)), "accepted");
    }
    await_until("what is durable is told", Duration::from_secs(10), || {
        (values(&redis) == ["durable"; 19]).then_some(())
    });
    assert!(!delivery(19).send(&mut client).is_ok_and(|answer| answer.is_success()));
    bridge.await_exit(Duration::from_secs(60));
    let durable = values(&redis).iter().filter(|value| *value == "durable").count();
    assert_eq!(durable, 19, "what failed is not called durable");
}

#[test]
fn a_claim_whose_append_failed_is_given_back() {
    let _turn = turns::in_company();
    let Some(redis) = Redis::start("a claim whose append failed") else { return };
    // What the spool refuses for certain: it lets deliveries in, and has no room for this one.
    let limits = "body_bytes_max: 20 MiB, inflated_bytes_max: 20 MiB, body_timeout: 30s, ack_timeout: 60s";
    // A sink that settles none of it: a record beyond its bound would be a dead letter at once, and
    // what is settled gives way.
    let takes_large = "properties: { message.max.bytes: 33554432 }";
    let nowhere = format!("kafka: {{ brokers: \"127.0.0.1:{}\", {takes_large} }}", free_port());
    let home = replica_with(&redis.url(), "", &nowhere, &format!("limits: {{ {limits} }}\n"));
    let config = fs::read_to_string(home.path("fanbridge.yaml")).unwrap();
    let small = "free_bytes_min: 0, segment_bytes: 21 MiB, bytes_max: 172 MiB,";
    fs::write(home.path("fanbridge.yaml"), config.replace("free_bytes_min: 0,", small)).unwrap();
    let bridge = home.start();
    let mut client = bridge.client().with_timeout(Duration::from_secs(60));
    let large = |number| Delivery::new("call.created", "default:call", number, (20 << 20) - 1024);
    for number in 0..8 {
        assert_eq!(verdict(&mut client, &large(number)), "accepted");
    }
    await_until("what is durable is told", Duration::from_secs(10), || {
        (values(&redis) == ["durable"; 8]).then_some(())
    });
    assert_eq!(large(8).send(&mut client).expect("an answer").status, 503);
    // Long before it would be past its time.
    await_until("the claim is given back", Duration::from_secs(10), || {
        let counts = redis.connect().ask(&["INFO", "commandstats"]).pop().flatten().expect("text");
        counts.contains("cmdstat_eval:calls=1,").then_some(())
    });
    assert_eq!(values(&redis), ["durable"; 8]);
}

#[test]
fn a_replica_killed_under_load_loses_nothing_that_its_partner_is_sent_again() {
    const SENDERS: u64 = 8;
    let _turn = turns::in_company();
    let Some(redis) = Redis::start("a replica killed under load") else { return };
    let (home_a, home_b) = (replica(&redis.url()), replica(&redis.url()));
    let b = home_b.start();
    let ledger = Ledger::default();
    let rounds = Tier::of_this_run().pick(3, 10, 100);
    let (mut cut_off, mut known) = (0, 0);
    for round in 0..rounds {
        let a = home_a.start();
        let sent = thread::scope(|scope| {
            let senders = (0..SENDERS).map(|sender| {
                let (ledger, mut client) = (&ledger, a.client());
                scope.spawn(move || {
                    let mut sent = Vec::new();
                    for number in 0.. {
                        let delivery = delivery((round * SENDERS + sender) * 1_000_000 + number);
                        ledger.offer(&delivery.id, Some(&delivery.key), &delivery.body);
                        let taken = delivery.send(&mut client).is_ok_and(|answer| answer.is_success());
                        if taken {
                            ledger.acknowledge(&delivery.id);
                        }
                        sent.push((delivery, taken));
                        if !taken {
                            break;
                        }
                    }
                    sent
                })
            });
            let senders: Vec<_> = senders.collect();
            thread::sleep(Duration::from_millis(100 + 37 * round));
            a.kill();
            senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect::<Vec<_>>()
        });
        // Everything again, at the other one: also what was answered, as by a provider whose
        // connection broke before it read the answer.
        thread::scope(|scope| {
            let resent = sent.chunks(sent.len().div_ceil(8)).map(|sent| {
                let (ledger, mut client) = (&ledger, b.client());
                scope.spawn(move || {
                    let mut known = 0;
                    for (delivery, taken) in sent {
                        known += usize::from(verdict(&mut client, delivery) == "duplicate" && *taken);
                        ledger.acknowledge(&delivery.id);
                    }
                    known
                })
            });
            let resent: Vec<_> = resent.collect();
            known += resent.into_iter().map(|sender| sender.join().unwrap()).sum::<usize>();
        });
        cut_off += sent.iter().filter(|(_, taken)| !taken).count();
    }
    let arrivals = union(vec![(&home_a, home_a.start()), (&home_b, b)]);
    let judgement = judge(&ledger, &arrivals);
    let twice = taken_twice(&arrivals);
    println!("{rounds} kills, {cut_off} cut off, {known} of the answered known, {twice} taken in twice");
    assert!(cut_off > 0 && known > 0, "a run that met none of what it is about has proved nothing");
    // What was under way, and what was durable and not yet told: a group or two of each kill.
    assert!(twice as u64 <= rounds * SENDERS * 4, "{twice} taken in twice: {judgement}");
}
