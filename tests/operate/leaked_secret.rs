//! A signing secret that somebody else knows: how an operator ends it at once while the bridge runs.

use std::fs;

use crate::support::bridge::{Bridge, Home};
use crate::support::load::Delivery;
use crate::support::turns;

const LEAKED: &str = "env:STREAM_SECRET";
const NEXT: &str = "file:next-secret";

/// Has the running bridge read a configuration with these secrets.
fn reload(home: &Home, bridge: &Bridge, secrets: &str) {
    home.configure_files();
    let text = fs::read_to_string(home.path("fanbridge.yaml")).unwrap();
    let text = text.replace(&format!("secrets: [{LEAKED}]"), &format!("secrets: [{secrets}]"));
    fs::write(home.path("fanbridge.yaml"), text).unwrap();
    let answer = bridge.admin().post("/api/v1/reload", &[("x-fanbridge-request", "1")], b"{}");
    let answer = answer.expect("an answer");
    assert!(answer.is_success(), "answered {}: {}", answer.status, answer.text());
    assert!(answer.text().contains("applied"), "{}", answer.text());
}

/// The status of a delivery that is signed with the leaked secret.
fn forged(bridge: &Bridge, number: u64) -> u16 {
    let delivery = Delivery::new("call.created", "default:a", number, 0);
    delivery.send(&mut bridge.client()).expect("an answer").status
}

#[test]
fn a_leaked_secret_is_refused_at_once_if_it_is_listed_with_an_end_that_is_over() {
    let _turn = turns::in_company();
    let home = Home::new();
    home.configure_files();
    fs::write(home.path("next-secret"), "the-secret-that-comes-next").unwrap();
    let bridge = home.start();
    assert_eq!(forged(&bridge, 1), 200);

    reload(&home, &bridge, NEXT);
    assert_eq!(forged(&bridge, 2), 200, "a rotation loses no delivery");
    let ended = format!("{{ secret: {LEAKED}, not_after: \"2020-01-01T00:00:00Z\" }}");
    reload(&home, &bridge, &format!("{NEXT}, {ended}"));
    assert_eq!(forged(&bridge, 3), 401, "an operator has ended it");
    reload(&home, &bridge, NEXT);
    assert_eq!(forged(&bridge, 4), 401, "and it does not come back");
    bridge.stop();
}
