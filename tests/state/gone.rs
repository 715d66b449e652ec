//! A sink that leaves the configuration before it has got what was redriven for it alone, through the
//! real binary: nothing is lost, and nothing is delivered that somebody has not asked for.

use std::time::Duration;

use fanbridge::event::Position;
use fanbridge::state::{FILE_NAME, Progress, State};
use serde_json::Value;

use crate::bench::refused;
use crate::support::bridge::{Bridge, Home, free_port};
use crate::support::load::Delivery;
use crate::support::oracle::Ledger;
use crate::support::{await_until, readers, turns};

const PATIENCE: Duration = Duration::from_secs(20);

/// The sinks that a life of the bridge has.
#[derive(Clone, Copy)]
enum Lake {
    /// With a cluster that never answers.
    Deaf,
    Gone,
    /// As files.
    Back,
}

fn configure(home: &Home, lake: Lake) {
    // Nothing but what is redriven is for it.
    let lake = match lake {
        Lake::Deaf => {
            format!(
                "  lake: {{ kafka: {{ brokers: \"127.0.0.1:{}\" }}, select: [call.ended] }}\n",
                free_port()
            )
        }
        Lake::Gone => String::new(),
        Lake::Back => {
            format!("  lake: {{ file: {{ dir: {} }}, select: [call.ended] }}\n", home.path("lake").display())
        }
    };
    let local = format!("  local: {{ file: {{ dir: {} }} }}\n", home.path("topics").display());
    home.configure("", &format!("shutdown_grace_seconds: 3\nsinks:\n{lake}{local}"));
}

/// Hands events over that are for the other sink, which has them when this returns.
fn hand_over(home: &Home, bridge: &Bridge, ledger: &Ledger, numbers: std::ops::Range<u64>) {
    let mut client = bridge.client();
    for number in numbers {
        Delivery::new("call.created", "default:gone", number, 0).hand_over(&mut client, ledger);
    }
    readers::drained(ledger, PATIENCE, || readers::files(&home.path("topics")));
}

fn letters(home: &Home) -> Vec<Value> {
    let listed = home.run_verb(&["dead", "list", "--sink", "lake", "--format", "ndjson"]);
    listed.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// A home in which an event was redriven for a sink that has not got it, and other events followed;
/// and the bridge that runs in it.
fn redriven() -> (Home, Bridge, Ledger) {
    let (home, ledger) = (Home::new(), Ledger::default());
    configure(&home, Lake::Deaf);
    let bridge = home.start();
    hand_over(&home, &bridge, &ledger, 0..5);
    bridge.stop();
    let state = State::open(&home.path("spool").join(FILE_NAME)).unwrap();
    let dead = vec![refused("lake", 3)];
    state.commit(&[Progress { sink: "lake".into(), cursor: Position(5), dead }]).unwrap();
    drop(state);
    let bridge = home.start();
    home.run_verb(&["dead", "redrive", "--sink", "lake", "--yes"]);
    assert_eq!(letters(&home), [Value::Null; 0]);
    hand_over(&home, &bridge, &ledger, 5..8);
    (home, bridge, ledger)
}

fn await_letter(home: &Home) {
    let letter = await_until("the event is a dead letter", PATIENCE, || letters(home).pop());
    assert_eq!((&letter["reason"], &letter["event_id"]), (&"sink_gone".into(), &"evt-3".into()), "{letter}");
    assert_eq!((&letter["position"], letters(home).len()), (&6.into(), 1), "{letter}");
}

#[test]
fn an_event_redriven_for_a_sink_that_goes_is_a_dead_letter_again_until_somebody_decides() {
    let _turn = turns::in_company();
    let (home, bridge, ledger) = redriven();
    // In order: so everything but the sink itself is past the event.
    bridge.stop();

    configure(&home, Lake::Gone);
    let bridge = home.start();
    await_letter(&home);
    hand_over(&home, &bridge, &ledger, 8..10);
    bridge.stop();
    home.start().stop();
    await_letter(&home);

    // The sink returns: what is a dead letter is not delivered beside that.
    configure(&home, Lake::Back);
    let bridge = home.start();
    hand_over(&home, &bridge, &ledger, 10..12);
    bridge.stop();
    assert_eq!(readers::files(&home.path("lake")), []);
    let bridge = home.start();
    home.run_verb(&["dead", "redrive", "--sink", "lake", "--yes"]);
    await_until("the redriven event arrives", PATIENCE, || readers::files(&home.path("lake")).pop());
    bridge.stop();

    let arrived = readers::files(&home.path("lake"));
    assert_eq!(arrived.iter().map(|arrival| &*arrival.id).collect::<Vec<_>>(), ["evt-3"]);
    assert_eq!(letters(&home), [Value::Null; 0]);
    ledger.judge(&readers::files(&home.path("topics"))).assert_kept(0, 0);
}

#[test]
fn a_crash_behind_the_redrive_keeps_the_event_and_a_letter_that_is_dropped_does_not_come_back() {
    let _turn = turns::in_company();
    let (home, bridge, ledger) = redriven();
    bridge.kill();

    configure(&home, Lake::Gone);
    let bridge = home.start();
    await_letter(&home);
    let number = letters(&home)[0]["id"].to_string();
    home.run_verb(&["dead", "drop", &number, "--yes"]);
    bridge.kill();
    let bridge = home.start();
    hand_over(&home, &bridge, &ledger, 8..10);
    bridge.stop();
    assert_eq!(letters(&home), [Value::Null; 0]);
    ledger.judge(&readers::files(&home.path("topics"))).assert_kept(2, 10);
}
