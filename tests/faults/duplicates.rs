//! One event is published once, however often its provider tries.

use std::time::Duration;

use crate::support::bridge::{Bridge, Home};
use crate::support::load::{Delivery, STREAM_PATH};
use crate::support::oracle::Ledger;
use crate::support::{readers, signing, turns};

#[test]
fn a_delivery_retried_across_a_restart_and_a_kill_is_published_once() {
    let _turn = turns::in_company();
    let home = Home::new();
    home.configure_files();
    let (ledger, delivery) = (Ledger::default(), Delivery::new("call.created", "default:once", 1, 0));

    let bridge = home.start();
    (0..3).for_each(|_| delivery.hand_over(&mut bridge.client(), &ledger));
    bridge.stop();
    let bridge = home.start();
    (0..3).for_each(|_| delivery.hand_over(&mut bridge.client(), &ledger));
    bridge.kill();
    let bridge = home.start();
    (0..3).for_each(|_| delivery.hand_over(&mut bridge.client(), &ledger));
    assert_eq!(bridge.metric("fanbridge_events_total", &["verdict=\"duplicate\""]), 3.0);

    let judgement = ledger.judge(&all_arrivals(&home, bridge));
    judgement.assert_kept(0, 0);
    assert_eq!(judgement.arrivals, 1);
}

#[test]
fn retries_that_overlap_are_all_answered_and_published_once() {
    let _turn = turns::in_company();
    let home = Home::new();
    home.configure_files();
    let bridge = home.start();
    let (ledger, delivery) = (Ledger::default(), Delivery::new("call.created", "default:once", 1, 0));
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| delivery.hand_over(&mut bridge.client(), &ledger));
        }
    });
    let judgement = ledger.judge(&all_arrivals(&home, bridge));
    judgement.assert_kept(0, 0);
    assert_eq!(judgement.arrivals, 1);
}

#[test]
fn another_body_under_the_same_unsigned_id_is_another_event() {
    let _turn = turns::in_company();
    let home = Home::new();
    home.configure_files();
    let bridge = home.start();
    let ledger = Ledger::default();
    for number in [1, 2] {
        let delivery = Delivery::new("call.created", "default:twice", number, 0);
        ledger.offer(&delivery.id, Some(&delivery.key), &delivery.body);
        let signature = signing::stream(&delivery.body);
        let headers = [("x-signature", signature.as_str()), ("x-webhook-id", "the-same-for-both")];
        let answer = bridge.client().post(STREAM_PATH, &headers, &delivery.body).expect("an answer");
        assert!(answer.is_success(), "answered {}: {}", answer.status, answer.text());
        ledger.acknowledge(&delivery.id);
    }
    assert_eq!(bridge.metric("fanbridge_id_reuse_total", &[]), 1.0);
    let judgement = ledger.judge(&all_arrivals(&home, bridge));
    judgement.assert_kept(0, 0);
    assert_eq!(judgement.arrivals, 2);
}

/// A clean stop publishes what is pending; then the files are complete.
fn all_arrivals(home: &Home, bridge: Bridge) -> Vec<crate::support::oracle::Arrival> {
    assert!(bridge.stop() < Duration::from_secs(10));
    readers::files(&home.path("topics"))
}
