//! Three replicas behind a real HAProxy and a shared duplicate window, while an orchestrator does to them
//! what orchestrators do: updates, scaling, nodes that fail, volumes that move, disks that are gone.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use crate::balancer::Front;
use crate::fleet::Fleet;
use crate::judge;
use crate::support::oracle::{Arrival, Ledger};
use crate::support::{Tier, turns};
use crate::traffic::{Met, SENDERS, Traffic, count};

/// How many records of each sink a crash may repeat.
const REPEATED_BY_A_CRASH: usize = 8_192;
/// Answers wait for the sink; the volume may be one that does not last.
const AWAITING: &str = "ack: { after: [lake], within: 4s }\n";

/// Nothing promised is missing, and nothing is there more often than what happened explains. A delivery that
/// its sender had to try again can be taken in by two replicas, and so can what a replica had answered and
/// not yet confirmed when it died, and what came while the shared window did not answer in time. Each crash
/// repeats a window of records at most.
#[track_caller]
fn assert_kept(what: &str, ledger: &Ledger, met: &Met, outcome: &(Vec<Arrival>, usize), crashes: usize) {
    let (arrivals, unasked) = outcome;
    let judgement = judge(ledger, arrivals);
    let distinct = arrivals.iter().map(|arrival| &arrival.id).collect::<HashSet<_>>().len();
    let (repeated, twice, again) =
        (arrivals.len() - distinct, taken_in_twice(arrivals), count(&met.tried_again));
    println!(
        "{what}: {crashes} crashes, {met:?}, {unasked} without the window; {repeated} records repeated, \
         {twice} events taken in twice"
    );
    assert!(judgement.acknowledged >= 100, "too little was acknowledged to prove anything");
    assert!(count(&met.sent_once_more) > 0, "nothing was sent once more, so the shared window did nothing");
    let by_two = again + unasked + crashes * SENDERS;
    assert!(twice <= by_two, "{twice} events are taken in twice, at most {by_two} can be");
    let explained = by_two + crashes * REPEATED_BY_A_CRASH;
    assert!(repeated <= explained, "{repeated} records are repeated, at most {explained} can be");
}

/// How many events have more than one place in the logs of the replicas.
fn taken_in_twice(arrivals: &[Arrival]) -> usize {
    let mut places = HashMap::<&str, HashSet<(&str, u64)>>::new();
    for arrival in arrivals {
        let replica = arrival.lane.split('/').next().expect("a lane has a name");
        places.entry(&arrival.id).or_default().insert((replica, arrival.sequence));
    }
    places.values().filter(|places| places.len() > 1).count()
}

/// Updates all replicas of a stateful set, from the highest number down, each once the one before is ready.
fn roll(fleet: &mut Fleet, traffic: &Traffic) -> Duration {
    let mut slowest = Duration::ZERO;
    for ordinal in (0..fleet.len()).rev() {
        traffic.await_more(20);
        slowest = slowest.max(fleet.delete_pod(ordinal));
        traffic.await_more(20);
        fleet.start_pod(ordinal);
    }
    slowest
}

#[test]
fn a_rolling_update_of_three_replicas_loses_nothing_and_refuses_no_connection() {
    let _turn = turns::in_company();
    let what = "a rolling update behind a balancer";
    let Some(mut fleet) = Fleet::start(3, Front::Connections, "", what) else { return };
    let traffic = Traffic::start(fleet.balancer.port);
    let mut slowest = Duration::ZERO;
    for _ in 0..Tier::of_this_run().pick(1, 2, 20) {
        slowest = slowest.max(roll(&mut fleet, &traffic));
    }
    let (ledger, met) = traffic.finish();
    let failed = fleet.balancer.connections_failed();
    let outcome = fleet.end();
    println!("the slowest pod took {slowest:?} behind SIGTERM");
    assert_kept(what, &ledger, &met, &outcome, 0);
    assert_eq!((count(&met.refused), failed, count(&met.put_off)), (0, 0, 0), "{met:?}");
}

#[test]
fn replicas_that_restart_unannounced_behind_haproxy_cost_no_sender_an_answer() {
    let _turn = turns::in_company();
    let what = "restarts behind HAProxy as it is handed out";
    let Some(mut fleet) = Fleet::start(3, Front::Requests, "", what) else { return };
    let traffic = Traffic::start(fleet.balancer.port);
    for _ in 0..Tier::of_this_run().pick(1, 2, 20) {
        for ordinal in 0..fleet.len() {
            traffic.await_more(20);
            fleet.restart_unannounced(ordinal);
        }
    }
    let (ledger, met) = traffic.finish();
    let outcome = fleet.end();
    assert_kept(what, &ledger, &met, &outcome, 0);
    assert_eq!((count(&met.refused), count(&met.cut), count(&met.put_off)), (0, 0, 0), "{met:?}");
}

#[test]
fn an_update_whose_configuration_is_wrong_stops_at_its_first_replica_and_the_others_serve() {
    let _turn = turns::in_company();
    let what = "an update with a wrong configuration";
    let Some(mut fleet) = Fleet::start(3, Front::Connections, "", what) else { return };
    let traffic = Traffic::start(fleet.balancer.port);
    traffic.await_more(50);
    fleet.roll_out("select: [call.sesion_ended]\n");
    fleet.delete_pod(2);
    // It is started again and again, and never gets ready; so no other pod is touched.
    for _ in 0..3 {
        assert_eq!(fleet.start_in_vain(2), Some(78), "the configuration cannot be used");
    }
    traffic.await_more(100);
    fleet.roll_out("");
    fleet.start_pod(2);
    traffic.await_more(50);
    let (ledger, met) = traffic.finish();
    let failed = fleet.balancer.connections_failed();
    let outcome = fleet.end();
    assert_kept(what, &ledger, &met, &outcome, 0);
    assert_eq!((count(&met.refused), failed), (0, 0), "{met:?}");
}

#[test]
fn what_waits_on_the_volume_of_a_replica_that_is_scaled_in_is_delivered_once_it_is_scaled_out_again() {
    let _turn = turns::in_company();
    let what = "scaling in and out";
    let Some(mut fleet) = Fleet::start(3, Front::Connections, "", what) else { return };
    let traffic = Traffic::start(fleet.balancer.port);
    traffic.await_more(50);
    // The sink of the highest replica takes nothing, as in an outage.
    fleet.verb(2, &["pause", "lake", "--reason", "an outage"]);
    traffic.await_more(150);
    for ordinal in [2, 1] {
        fleet.delete_pod(ordinal);
        traffic.await_more(50);
    }
    let (ledger, met) = traffic.finish();
    let waiting = ledger.missing(fleet.arrivals().iter().map(|arrival| arrival.id.as_str())).len();
    assert!(waiting > 0, "nothing waits on the volume, so nothing is proved");
    assert!(fleet.has_nothing_left(1), "a replica whose sink was well has left events on its volume");
    assert!(!fleet.has_nothing_left(2), "so it can be told that the other one has");
    let traffic = Traffic::go_on((ledger, met), fleet.balancer.port);
    for ordinal in [1, 2] {
        fleet.move_to_another_node(ordinal);
        fleet.start_pod(ordinal);
    }
    traffic.await_more(50);
    fleet.verb(2, &["resume", "lake"]);
    let (ledger, met) = traffic.finish();
    let failed = fleet.balancer.connections_failed();
    println!("{waiting} events waited on the volume that nobody had mounted");
    let outcome = fleet.end();
    assert_kept(what, &ledger, &met, &outcome, 0);
    assert_eq!((count(&met.refused), failed), (0, 0), "{met:?}");
}

#[test]
fn nodes_that_fail_under_load_lose_nothing_and_their_volumes_go_on_elsewhere() {
    let _turn = turns::in_company();
    let what = "nodes that fail";
    let Some(mut fleet) = Fleet::start(3, Front::Connections, "", what) else { return };
    let traffic = Traffic::start(fleet.balancer.port);
    let losses = Tier::of_this_run().pick(3, 9, 60);
    for loss in 0..losses {
        traffic.await_more(60);
        let ordinal = loss % fleet.len();
        match loss % 2 {
            0 => fleet.lose_node(ordinal),
            // From its first moments to where it waits for its sink.
            _ => fleet.kill_while_it_stops(ordinal, Duration::from_millis(13 * loss as u64)),
        }
        traffic.await_more(30);
        fleet.move_to_another_node(ordinal);
        fleet.start_pod(ordinal);
    }
    let (ledger, met) = traffic.finish();
    let outcome = fleet.end();
    assert_kept(what, &ledger, &met, &outcome, losses);
    assert!(count(&met.refused) + count(&met.cut) > 0, "no sender noticed, so nothing was proved");
}

#[test]
fn replicas_without_a_lasting_volume_that_are_updated_and_lost_lose_nothing_after_kafka() {
    let _turn = turns::in_company();
    let what = "replicas without a lasting volume";
    let Some(mut fleet) = Fleet::start_with_kafka(3, Front::Connections, AWAITING, what) else { return };
    let traffic = Traffic::start(fleet.balancer.port);
    for _ in 0..Tier::of_this_run().pick(1, 2, 10) {
        // An update: each replica's successor comes with an empty disk before it goes, with its own.
        for ordinal in 0..fleet.len() {
            traffic.await_more(30);
            fleet.surge(ordinal);
        }
    }
    assert_eq!(count(&traffic.met.refused), 0, "{:?}", traffic.met);
    let losses = Tier::of_this_run().pick(3, 9, 60);
    for loss in 0..losses {
        traffic.await_more(30);
        let ordinal = loss % fleet.len();
        fleet.lose_node(ordinal);
        fleet.replace_with_empty_disk(ordinal);
        fleet.start_pod(ordinal);
    }
    let (ledger, met) = traffic.finish();
    let outcome = fleet.end();
    assert_kept(what, &ledger, &met, &outcome, losses);
}
