//! One event is taken in once, whichever replica its provider reaches, and however often.

use std::thread;

use crate::support::bridge::{Bridge, Home};
use crate::support::load::{Delivery, STREAM_PATH};
use crate::support::oracle::Ledger;
use crate::support::redis::Redis;
use crate::support::{await_until, signing, turns};
use crate::{judge, replica, replica_with, taken_twice, union, verdict, verdict_of};

fn delivery(number: u64) -> Delivery {
    Delivery::new("call.created", &format!("default:call-{}", number % 7), number, 200)
}

#[test]
fn a_retry_that_reaches_another_replica_is_published_once() {
    let _turn = turns::alone();
    let Some(redis) = Redis::start("a retry at another replica") else { return };
    let (home_a, home_b) = (replica(&redis.url()), replica(&redis.url()));
    let (a, b) = (home_a.start(), home_b.start());
    let (mut client_a, mut client_b) = (a.client(), b.client());
    let ledger = Ledger::default();
    for number in 0..100 {
        let delivery = delivery(number);
        delivery.hand_over(&mut client_a, &ledger);
        assert_eq!(verdict(&mut client_b, &delivery), "duplicate");
        assert_eq!(verdict(&mut client_a, &delivery), "duplicate");
    }
    assert_eq!(b.metric("fanbridge_shared_window_duplicates_total", &[]), 100.0);
    assert_eq!(b.metric("fanbridge_events_total", &["verdict=\"duplicate\""]), 100.0);
    for bridge in [&a, &b] {
        assert_eq!(bridge.metric("fanbridge_shared_window_skipped_total", &[]), 0.0);
        assert_eq!(bridge.metric("fanbridge_shared_window_degraded", &[]), 0.0);
    }
    let judgement = judge(&ledger, &union(vec![(&home_a, a), (&home_b, b)]));
    assert_eq!(judgement.arrivals, 100);
}

#[test]
fn copies_that_race_at_two_replicas_are_all_answered_and_none_is_lost() {
    const EVENTS: u64 = 1000;
    const SENDERS: u64 = 8;
    let _turn = turns::alone();
    let Some(redis) = Redis::start("copies that race") else { return };
    let (home_a, home_b) = (replica(&redis.url()), replica(&redis.url()));
    let (a, b) = (home_a.start(), home_b.start());
    let ledger = Ledger::default();
    let deliveries: Vec<_> = (0..EVENTS).map(delivery).collect();
    deliveries.iter().for_each(|delivery| ledger.offer(&delivery.id, Some(&delivery.key), &delivery.body));
    thread::scope(|scope| {
        for sender in 0..SENDERS {
            // Two senders with the same events: one at each replica.
            for bridge in [&a, &b] {
                let (deliveries, ledger) = (&deliveries, &ledger);
                scope.spawn(move || {
                    let mut client = bridge.client();
                    for delivery in deliveries.iter().skip(sender as usize).step_by(SENDERS as usize) {
                        verdict(&mut client, delivery);
                        ledger.acknowledge(&delivery.id);
                    }
                });
            }
        }
    });
    let skipped = [&a, &b].map(|bridge| bridge.metric("fanbridge_shared_window_skipped_total", &[]));
    let without_its_word = skipped.iter().sum::<f64>();
    let known = a.metric("fanbridge_shared_window_duplicates_total", &[])
        + b.metric("fanbridge_shared_window_duplicates_total", &[]);
    let arrivals = union(vec![(&home_a, a), (&home_b, b)]);
    let judgement = judge(&ledger, &arrivals);
    let twice = taken_twice(&arrivals);
    println!(
        "{EVENTS} events raced at two replicas: {twice} taken in twice, {without_its_word} without its word"
    );
    assert_eq!((judgement.acknowledged, judgement.arrivals), (EVENTS as usize, EVENTS as usize + twice));
    assert_eq!(twice as f64, EVENTS as f64 - known);
    // Each repetition has a copy behind it that was let in because the patience had an end.
    assert!(twice as f64 <= without_its_word, "{twice} taken in twice");
}

#[test]
fn copies_that_race_at_one_replica_are_kept_apart_by_its_own_window() {
    let _turn = turns::in_company();
    let Some(redis) = Redis::start("copies that race at one replica") else { return };
    let home = replica(&redis.url());
    let bridge = home.start();
    let ledger = Ledger::default();
    for number in 0..20 {
        let delivery = delivery(number);
        thread::scope(|scope| {
            (0..8).for_each(|_| drop(scope.spawn(|| delivery.hand_over(&mut bridge.client(), &ledger))));
        });
    }
    assert_eq!(bridge.metric("fanbridge_shared_window_skipped_total", &["reason=\"pending\""]), 0.0);
    assert_eq!(judge(&ledger, &union(vec![(&home, bridge)])).arrivals, 20);
}

#[test]
fn what_became_durable_just_before_a_stop_is_known_to_the_other_replica() {
    let _turn = turns::in_company();
    let Some(redis) = Redis::start("what is told at a stop") else { return };
    let (home_a, home_b) = (replica(&redis.url()), replica(&redis.url()));
    let (a, b) = (home_a.start(), home_b.start());
    let ledger = Ledger::default();
    thread::scope(|scope| {
        for sender in 0..8 {
            let (a, ledger) = (&a, &ledger);
            scope.spawn(move || {
                let mut client = a.client();
                (0..25).for_each(|number| delivery(sender * 25 + number).hand_over(&mut client, ledger));
            });
        }
    });
    let mut arrivals = union(vec![(&home_a, a)]);
    let mut client = b.client();
    assert!((0..200).all(|number| verdict(&mut client, &delivery(number)) == "duplicate"));
    arrivals.extend(union(vec![(&home_b, b)]));
    assert_eq!(judge(&ledger, &arrivals).arrivals, 200);
}

#[test]
fn another_body_under_the_same_unsigned_id_is_another_event_for_every_replica() {
    let _turn = turns::in_company();
    let Some(redis) = Redis::start("another body under the same id") else { return };
    let (home_a, home_b) = (replica(&redis.url()), replica(&redis.url()));
    let (a, b) = (home_a.start(), home_b.start());
    let ledger = Ledger::default();
    for (bridge, number) in [(&a, 1), (&b, 2)] {
        let delivery = delivery(number);
        ledger.offer(&delivery.id, Some(&delivery.key), &delivery.body);
        let signature = signing::stream(&delivery.body);
        let headers = [("x-signature", signature.as_str()), ("x-webhook-id", "the-same-for-both")];
        let answer = bridge.client().post(STREAM_PATH, &headers, &delivery.body).expect("an answer");
        assert_eq!(verdict_of(&answer), "accepted");
        ledger.acknowledge(&delivery.id);
    }
    assert_eq!(judge(&ledger, &union(vec![(&home_a, a), (&home_b, b)])).arrivals, 2);
}

#[test]
fn a_delivery_of_no_use_is_kept_by_one_replica() {
    let _turn = turns::in_company();
    let Some(redis) = Redis::start("a delivery of no use") else { return };
    let (home_a, home_b) = (replica(&redis.url()), replica(&redis.url()));
    let (a, b) = (home_a.start(), home_b.start());
    let body = br#"{"no":"type"}"#;
    let signature = signing::stream(body);
    let verdicts = [&a, &b].map(|bridge| {
        let answer = bridge.client().post(STREAM_PATH, &[("x-signature", &signature)], body);
        verdict_of(&answer.expect("an answer"))
    });
    assert_eq!(verdicts, ["quarantined", "duplicate"]);
}

#[test]
fn a_delivery_that_is_redriven_here_and_was_sent_again_to_another_replica_is_published_once() {
    let _turn = turns::in_company();
    let Some(redis) = Redis::start("a redrive beside another replica") else { return };
    let of_acme = |type_at: &str| {
        format!(
            "providers:\n  acme:\n    signature: {{ scheme: hmac-sha256, header: x-signature }}\n    \
             event: {{ type: {{ pointers: [{type_at}] }} }}\n"
        )
    };
    let configured = |home: &Home, type_at: &str| {
        let config = std::fs::read_to_string(home.path("fanbridge.yaml")).unwrap();
        let (config, _) = config.split_once("providers:").unwrap_or((&config, ""));
        let source = "sources:\n  acme: { provider: acme, secrets: [env:STREAM_SECRET] }\n";
        let config = match config.contains("acme") {
            true => config.to_owned(),
            false => config.replace("sources:\n", source),
        };
        std::fs::write(home.path("fanbridge.yaml"), config + &of_acme(type_at)).unwrap();
    };
    let (home_a, home_b) = (replica(&redis.url()), replica(&redis.url()));
    let send = |bridge: &Bridge, number: u64| {
        let body = format!(r#"{{"type":"invoice.paid","number":{number}}}"#).into_bytes();
        let signature = signing::stream(&body);
        verdict_of(&bridge.client().post("/in/acme", &[("x-signature", &signature)], &body).unwrap())
    };
    configured(&home_a, "/kind");
    let a = home_a.start();
    assert_eq!([1, 2].map(|number| send(&a, number)), ["quarantined", "quarantined"]);
    await_until("both are dead letters", std::time::Duration::from_secs(20), || {
        (a.metric("fanbridge_dead_letters_kept", &[]) == 2.0).then_some(())
    });
    a.stop();
    configured(&home_a, "/type");
    configured(&home_b, "/type");
    let (a, b) = (home_a.start(), home_b.start());
    assert_eq!(send(&b, 1), "accepted");

    let done = home_a.try_verb(&["dead", "redrive", "--all", "--yes"]);
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(said.contains("redriven 1, already delivered 1, kept 0"), "{said}");
    assert_eq!(send(&b, 2), "duplicate");
    assert_eq!(union(vec![(&home_a, a), (&home_b, b)]).len(), 2);
}

#[test]
fn a_filtered_event_is_no_business_of_the_shared_window() {
    let _turn = turns::in_company();
    let Some(redis) = Redis::start("a filtered event") else { return };
    let home = replica_with(&redis.url(), "", "", "select: [call.ended]\n");
    let bridge = home.start();
    assert_eq!(verdict(&mut bridge.client(), &delivery(1)), "filtered");
    assert!(redis.values("").is_empty(), "{:?}", redis.values(""));
}

#[test]
fn bridges_with_prefixes_of_their_own_do_not_take_each_others_events_for_duplicates() {
    let _turn = turns::in_company();
    let Some(redis) = Redis::start("prefixes") else { return };
    let home = |prefix: &str| replica_with(&redis.url(), &format!("redis_prefix: \"{prefix}\""), "", "");
    let homes: [Home; 2] = [home("lake:"), home("billing:")];
    let bridges = homes.each_ref().map(Home::start);
    assert_eq!(bridges.each_ref().map(|bridge| verdict(&mut bridge.client(), &delivery(1))), ["accepted"; 2]);
    for prefix in ["lake:", "billing:"] {
        assert_eq!(redis.values(prefix).len(), 1);
    }
}
