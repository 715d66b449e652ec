//! What comes and goes by the second, in a pipe and at a terminal.

use std::io::Read;
use std::time::Duration;

use serde_json::Value;

use super::keys::Terminal;
use crate::support::bridge::{Bridge, Home};
use crate::support::load::Delivery;
use crate::support::{await_until, turns};

/// How long anything may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(70);

fn home() -> Home {
    let home = Home::new();
    home.configure_files();
    home
}

/// What `top` shows while events come without an end.
fn shown(home: &Home, bridge: &Bridge, call: &str, arguments: &[&str]) -> String {
    let mut child = home.spawn_verb_under(&[], &[&["top", "--every", "200ms"], arguments].concat());
    let mut client = bridge.client();
    let mut number = 0;
    let status = await_until("it ends", DEADLINE, || {
        number += 1;
        let delivery = Delivery::new("call.created", call, number, 0);
        delivery.send(&mut client).expect("an answer");
        child.try_wait().expect("it can be asked")
    });
    let mut shown = String::new();
    child.stdout.take().unwrap().read_to_string(&mut shown).unwrap();
    assert!(status.success(), "{shown}");
    shown
}

#[test]
fn what_comes_and_goes_is_shown_by_source_and_sink() {
    let _turn = turns::in_company();
    let home = home();
    let bridge = home.start();
    let table = shown(&home, &bridge, "default:table", &["--count", "3"]);
    assert_eq!(table.matches("SOURCE ").count(), 3, "{table}");
    for block in table.split("\n\n") {
        let words: Vec<_> = block.lines().map(|line| line.split(' ').next().unwrap_or_default()).collect();
        assert_eq!(words[1..], ["SOURCE", "fastpix", "stream-video", "SINK", "local"], "{table}");
        assert!(block.lines().all(|line| line.chars().count() <= 80), "{table}");
        assert!(block.contains("of 20.0 GiB"), "{table}");
    }
    assert!(table.contains(" ms\n"), "{table}");
    let blocks = shown(&home, &bridge, "default:json", &["--count", "4", "--format", "ndjson"]);
    let blocks: Vec<Value> = blocks.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(blocks.len(), 4);
    for block in &blocks {
        let source = &block["sources"][1];
        assert_eq!(source["source"], "stream-video");
        assert!(source["accepted"].is_number() && source["filtered"] == 0.0, "{block}");
    }
    // On a busy machine nothing may come in a single block.
    let any_has = |of: &str| blocks.iter().any(|block| block["sources"][1][of].as_f64() > Some(0.0));
    assert!(any_has("accepted") && any_has("ack_p99_seconds"), "{blocks:?}");
    assert!(blocks.iter().any(|block| block["sinks"][0]["out"].as_f64() > Some(0.0)), "{blocks:?}");
    let refused = home.try_verb(&["top", "--every", "1ms"]);
    assert_eq!(refused.status.code(), Some(2));
    bridge.stop();
    assert_eq!(home.try_verb(&["top"]).status.code(), Some(74));
}

#[test]
fn at_a_terminal_a_block_takes_the_place_of_the_one_before_until_q_ends_it() {
    let _turn = turns::in_company();
    let home = home();
    let bridge = home.start();
    let mut terminal = Terminal::start(&home, &["top", "--every", "100ms"], "SINK ");
    // The block has six lines.
    terminal.await_shown("\u{1b}[6A\r\u{1b}[J");
    terminal.press("q");
    terminal.assert_ended(0);
    bridge.stop();
}
