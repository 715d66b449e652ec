//! Quarantined deliveries are redriven after the definition was corrected, while the provider sends
//! some of them again: each event is published once, whichever way came first.

use std::collections::HashSet;
use std::fs;

use crate::support::bridge::{Bridge, Home};
use crate::support::{await_until, readers, signing, turns};

const LETTERS: usize = 300;

/// A provider of the user's own, whose type is at `/type`, looked for at another place.
fn configure(home: &Home, type_at: &str) {
    let topics = home.path("topics");
    home.configure(
        "",
        &format!(
            "\x20 acme: {{ provider: acme, secrets: [env:STREAM_SECRET] }}\n\
             providers:\n\
             \x20 acme:\n\
             \x20   signature: {{ scheme: hmac-sha256, header: x-signature }}\n\
             \x20   event: {{ type: {{ pointers: [{type_at}] }}, id: [/id] }}\n\
             sinks:\n  local: {{ file: {{ dir: {} }} }}\n",
            topics.display()
        ),
    );
}

/// Half of them state an id; of the others the digest of the body is the id, of the letter as of the
/// event.
fn body(number: usize) -> String {
    match number % 2 {
        0 => format!(r#"{{"type":"invoice.paid","id":"inv-{number}"}}"#),
        _ => format!(r#"{{"type":"invoice.paid","number":{number}}}"#),
    }
}

#[track_caller]
fn send(bridge: &Bridge, number: usize, verdict: &str) {
    let body = body(number);
    let signature = signing::stream(body.as_bytes());
    let answer = bridge.client().post("/in/acme", &[("x-signature", &signature)], body.as_bytes());
    let answer = answer.expect("an answer").text();
    assert!(answer.contains(&format!(r#""verdict":"{verdict}""#)), "delivery {number}: {answer}");
}

fn await_letters(bridge: &Bridge) {
    await_until("all of them are dead letters", std::time::Duration::from_secs(20), || {
        let kept = bridge.metric("fanbridge_dead_letters_kept", &["sink=\"quarantine\""]);
        (kept == LETTERS as f64).then_some(())
    });
}

/// Redrives all of them, and says what was said.
fn redrive(home: &Home) -> String {
    let output = home.try_verb(&["dead", "redrive", "--quarantined", "--yes"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

fn assert_published_once(home: &Home, bridge: Bridge) {
    bridge.stop();
    let arrivals = readers::files(&home.path("topics"));
    let ids: HashSet<_> = arrivals.iter().map(|arrival| &arrival.id).collect();
    assert_eq!((ids.len(), arrivals.len()), (LETTERS, LETTERS));
}

#[test]
fn a_redriven_delivery_that_its_provider_sends_again_is_published_once_whichever_came_first() {
    let _turn = turns::in_company();
    let home = Home::new();
    configure(&home, "/kind");
    let bridge = home.start();
    (0..LETTERS).for_each(|number| send(&bridge, number, "quarantined"));
    await_letters(&bridge);
    bridge.stop();

    configure(&home, "/type");
    let bridge = home.start();
    (0..50).for_each(|number| send(&bridge, number, "accepted"));
    let said = redrive(&home);
    assert!(said.contains("redriven 250, already delivered 50, kept 0"), "{said}");
    (30..80).for_each(|number| send(&bridge, number, "duplicate"));
    assert_eq!(bridge.metric("fanbridge_dead_letters_kept", &[]), 0.0);
    assert_published_once(&home, bridge);
}

#[test]
fn a_crash_between_the_redrive_and_the_removal_of_the_letters_repeats_nothing() {
    let _turn = turns::in_company();
    let home = Home::new();
    let state = home.path("spool").join("state.redb");
    configure(&home, "/kind");
    let bridge = home.start();
    (0..LETTERS).for_each(|number| send(&bridge, number, "quarantined"));
    await_letters(&bridge);
    bridge.stop();
    fs::copy(&state, home.path("state-with-letters")).expect("the state can be copied");

    configure(&home, "/type");
    let bridge = home.start();
    assert!(redrive(&home).contains("redriven 300, kept 0"));
    bridge.kill();
    // As a crash leaves it that comes before the removal is durable: the sink's cursor is behind, too.
    fs::remove_dir_all(home.path("topics")).expect("the topics can be removed");
    fs::copy(home.path("state-with-letters"), &state).expect("the state can be put back");

    let bridge = home.start();
    let said = redrive(&home);
    assert!(said.contains("redriven 0, already delivered 300, kept 0"), "{said}");
    assert_published_once(&home, bridge);
}
