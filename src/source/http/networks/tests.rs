#![allow(clippy::unwrap_used)]

use super::*;
use crate::source::http::body_budget::BodyBudget;
use crate::source::http::body_error::BodyError;
use crate::telemetry::Metrics;

fn networks(all_max: usize, each_max: usize) -> Arc<Networks> {
    Networks::new(all_max, each_max, Connections::new("http", &Metrics::new()))
}

fn enter(networks: &Arc<Networks>, address: &str) -> Option<ConnectionPermit> {
    networks.enter(address.parse().unwrap(), CancellationToken::new())
}

fn counts(networks: &Networks) -> (usize, usize, usize) {
    let book = networks.lock();
    (book.open, book.strangers, book.entries.len())
}

/// Makes a connection look as if its request was being answered, so that it does not wait for its peer.
fn busy(permit: &ConnectionPermit) {
    let (_stream, state) = crate::source::http::timeout_stream::TimeoutStream::new(
        tokio::io::empty(),
        crate::source::http::timeout_stream::Timeouts { head: Duration::ZERO, idle: Duration::ZERO },
    );
    state.begin(false).unwrap_err();
    permit.0.set_state(state);
}

#[tokio::test]
async fn an_address_has_only_so_many_connections_and_gets_them_back() {
    let networks = networks(100, 1);
    let (one, same, other) = ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1");
    let permit = enter(&networks, one).unwrap();
    busy(&permit);
    assert!(enter(&networks, same).is_none(), "the same /64");
    assert!(enter(&networks, other).is_some(), "another /64");
    drop(permit);
    assert!(enter(&networks, same).is_some());
    assert_eq!(counts(&networks), (0, 0, 0), "nothing is left behind");
}

#[test]
fn an_ipv4_address_in_ipv6_clothes_is_the_same_address() {
    let (plain, mapped) = ("192.0.2.1", "::ffff:192.0.2.1");
    assert_eq!(network(plain.parse().unwrap()), network(mapped.parse().unwrap()));
}

#[tokio::test]
async fn strangers_leave_a_part_to_the_known_and_make_room_for_each_other() {
    let networks = networks(8, 8);
    let known = enter(&networks, "192.0.2.9").unwrap();
    known.0.prove();
    let crowd: Vec<_> = (0..6).map(|_| enter(&networks, "192.0.2.1").unwrap()).collect();
    assert_eq!(counts(&networks), (7, 6, 2), "six of eight are for strangers");
    let newcomer = enter(&networks, "192.0.2.2").unwrap();
    assert!(crowd[0].0.is_displaced(), "the oldest of the network with the most");
    assert!(crowd[0].0.closing.is_cancelled());
    assert!(!newcomer.0.is_displaced());
    let more: Vec<_> = (0..3).map(|_| enter(&networks, "192.0.2.9").unwrap()).collect();
    assert!(crowd[1].0.is_displaced() && crowd[2].0.is_displaced(), "the known may have all");
    assert!(!newcomer.0.is_displaced(), "a network with one connection keeps it");
    assert_eq!(counts(&networks), (8, 4, 3));
    drop((known, crowd, newcomer, more));
    assert_eq!(counts(&networks), (0, 0, 1), "only the known network is remembered");
}

#[tokio::test]
async fn a_stranger_with_many_networks_in_one_site_goes_before_one_with_two_connections() {
    let networks = networks(12, 8);
    let two: Vec<_> = (0..2).map(|_| enter(&networks, "192.0.2.1").unwrap()).collect();
    let spread = |number| enter(&networks, &format!("2001:db8:1:{number:x}::1")).unwrap();
    let many: Vec<_> = (0..7).map(spread).collect();
    assert_eq!(counts(&networks), (9, 9, 8), "strangers have their part");
    let newcomers: Vec<_> =
        (2..5).map(|last| enter(&networks, &format!("192.0.2.{last}")).unwrap()).collect();
    assert_eq!(many.iter().filter(|permit| permit.0.is_displaced()).count(), 3);
    assert!(two.iter().chain(&newcomers).all(|permit| !permit.0.is_displaced()));
}

#[tokio::test]
async fn of_strangers_with_one_connection_each_the_oldest_goes_whatever_its_address() {
    let networks = networks(4, 4);
    let addresses = ["192.0.2.1", "192.0.2.200", "2001:db8:ffff::1"];
    let old: Vec<_> = addresses.iter().map(|address| enter(&networks, address).unwrap()).collect();
    let newcomer = enter(&networks, "2001:db8:fffe::1").unwrap();
    assert!(old[0].0.is_displaced());
    let _another = enter(&networks, "192.0.2.3").unwrap();
    assert!(old[1].0.is_displaced() && !old[2].0.is_displaced() && !newcomer.0.is_displaced());
}

#[tokio::test]
async fn a_stranger_whose_request_is_being_answered_is_not_displaced() {
    let networks = networks(4, 4);
    let permits: Vec<_> = (0..3).map(|_| enter(&networks, "192.0.2.1").unwrap()).collect();
    permits.iter().for_each(busy);
    assert!(enter(&networks, "192.0.2.2").is_none(), "strangers have their part");
    assert!(permits.iter().all(|permit| !permit.0.is_displaced()));
}

#[tokio::test]
async fn behind_a_proxy_connections_without_a_granted_request_go_first() {
    let networks = networks(4, 2);
    let (first, second) = (enter(&networks, "192.0.2.1").unwrap(), enter(&networks, "192.0.2.1").unwrap());
    first.0.prove();
    let third = enter(&networks, "192.0.2.1").unwrap();
    assert!(second.0.is_displaced() && !first.0.is_displaced());
    third.0.prove();
    assert!(enter(&networks, "192.0.2.1").is_none(), "no connection is left that could be closed");
}

#[tokio::test(start_paused = true)]
async fn a_network_is_known_for_a_day_after_its_last_granted_request_and_not_for_an_open_connection() {
    let networks = networks(8, 8);
    let visit = || enter(&networks, "192.0.2.1").unwrap();
    let permit = visit();
    assert!(!permit.0.network.is_known());
    permit.0.prove();
    tokio::time::advance(KNOWN_FOR - Duration::from_secs(1)).await;
    assert!(visit().0.network.is_known() && permit.0.is_proven());
    assert_eq!(counts(&networks), (1, 0, 1));
    tokio::time::advance(Duration::from_secs(1)).await;
    // Any connection makes the book look for networks that are no longer known.
    drop(enter(&networks, "192.0.2.2"));
    assert!(!permit.0.network.is_known() && !permit.0.is_proven(), "its connection alone says nothing");
    assert_eq!(counts(&networks), (1, 1, 1), "it counts among the strangers' connections");
    permit.0.prove();
    assert!(permit.0.network.is_known());
    assert_eq!(counts(&networks), (1, 0, 1));
    drop(permit);
    tokio::time::advance(KNOWN_FOR).await;
    drop(enter(&networks, "192.0.2.2"));
    assert_eq!(counts(&networks), (0, 0, 0), "nothing is left behind");
}

#[tokio::test(start_paused = true)]
async fn a_network_that_goes_on_being_granted_requests_stays_known_for_a_day_after_the_last() {
    let networks = networks(8, 8);
    let permit = enter(&networks, "192.0.2.1").unwrap();
    // At any pace, so that what is not noted within the hour makes no difference.
    for minutes in [0, 1, 59, 61, 30, 29, 600, 1440, 59] {
        tokio::time::advance(Duration::from_secs(60 * minutes)).await;
        assert!(minutes == 0 || enter(&networks, "192.0.2.1").unwrap().0.network.is_known(), "{minutes}");
        permit.0.prove();
        assert!(permit.0.is_proven());
    }
    drop(permit);
    tokio::time::advance(Duration::from_secs(24 * 3600)).await;
    assert!(enter(&networks, "192.0.2.1").unwrap().0.network.is_known());
}

#[tokio::test(start_paused = true)]
async fn a_connection_whose_proof_is_old_makes_room_like_one_without() {
    let networks = networks(8, 2);
    let (old, new) = (enter(&networks, "192.0.2.1").unwrap(), enter(&networks, "192.0.2.1").unwrap());
    old.0.prove();
    tokio::time::advance(KNOWN_FOR).await;
    new.0.prove();
    assert!(enter(&networks, "192.0.2.1").is_some(), "the network is known, and has two connections");
    assert!(old.0.is_displaced() && !new.0.is_displaced());
}

#[tokio::test(start_paused = true)]
async fn only_so_many_known_networks_are_remembered() {
    let networks = networks(8, 8);
    for number in 0..REMEMBERED_MAX as u32 + 10 {
        let permit = enter(&networks, &std::net::Ipv4Addr::from_bits(number).to_string()).unwrap();
        permit.0.prove();
        drop(permit);
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    assert_eq!(counts(&networks).2, REMEMBERED_MAX);
    assert!(!enter(&networks, "0.0.0.0").unwrap().0.network.is_known(), "the first is forgotten");
    assert!(enter(&networks, "0.0.16.0").unwrap().0.network.is_known());
}

#[tokio::test]
async fn a_network_whose_requests_are_all_being_answered_shields_no_other() {
    let networks = networks(8, 8);
    let answered: Vec<_> = (0..4).map(|_| enter(&networks, "192.0.2.1").unwrap()).collect();
    answered.iter().for_each(busy);
    let idle: Vec<_> = (0..2).map(|_| enter(&networks, "192.0.2.2").unwrap()).collect();
    assert!(enter(&networks, "192.0.2.3").is_some(), "those who wait for their peer go");
    assert!(idle[0].0.is_displaced() && answered.iter().all(|permit| !permit.0.is_displaced()));
}

#[tokio::test]
async fn strangers_who_fill_their_part_of_the_memory_keep_no_small_body_out() {
    let networks = networks(16, 8);
    let budget = BodyBudget::new(2 << 20, 1 << 20);
    let permits: Vec<_> = (1..10).map(|last| enter(&networks, &format!("192.0.2.{last}")).unwrap()).collect();
    let mut permits_of_bodies = Vec::new();
    for permit in &permits {
        permits_of_bodies.push(GUEST.scope(Arc::clone(&permit.0), async { budget.permit() }).await);
    }
    let mut newcomer = permits_of_bodies.pop().unwrap();
    permits_of_bodies.iter_mut().for_each(|permit| permit.grow_to(128 << 10).unwrap());
    assert_eq!(newcomer.grow_to((64 << 10) + 1), Err(BodyError::NoMemoryForStrangers));
    assert_eq!(newcomer.grow_to(64 << 10), Ok(()));
    assert_eq!(budget.bytes_free(), (1 << 20) - (64 << 10));
    drop((permits_of_bodies, newcomer));
    assert_eq!(budget.bytes_free(), 2 << 20, "all of it is given back");
}
