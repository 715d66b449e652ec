//! Starts with many segments retained: the closed ones are taken by their footers, whatever ended the life
//! before, and what they hold is verified afterwards.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::support::bridge::{Bridge, Home};
use crate::support::load::Delivery;
use crate::support::oracle::Ledger;
use crate::support::{await_until, readers, turns};

const PATIENCE: Duration = Duration::from_secs(20);

/// A home in which some fifty events fill a segment.
fn home() -> Home {
    let home = Home::new();
    let topics = home.path("topics");
    home.configure(
        "bytes_max: 64 MiB, segment_bytes: 1100 KiB",
        &format!(
            "limits: {{ body_bytes_max: 32 KiB, inflated_bytes_max: 32 KiB }}\n\
             sinks:\n  local: {{ file: {{ dir: {} }} }}\n",
            topics.display()
        ),
    );
    home
}

fn delivery(number: u64) -> Delivery {
    Delivery::new("call.created", "default:footers", number, 20_000)
}

/// How many segments the last start took by their footers, and how many it scanned.
fn taken(bridge: &Bridge, starts: usize) -> (u64, u64) {
    let ready = await_until("the last start is in the log", PATIENCE, || {
        let log = bridge.log();
        let lines = log.lines().filter(|line| line.contains("the bridge is ready: deliveries are taken"));
        let ready: Vec<Value> = lines.filter_map(|line| serde_json::from_str(line).ok()).collect();
        (ready.len() == starts).then(|| ready.last().cloned()).flatten()
    });
    let count = |name: &str| ready[name].as_u64().expect("a number of segments");
    (count("segments_by_footer"), count("segments_scanned"))
}

fn await_verified(bridge: &Bridge) {
    await_until("everything is verified", PATIENCE, || {
        let status: Value = serde_json::from_str(&bridge.admin().get("/api/status").ok()?.text()).ok()?;
        let spool = &status["spool"];
        (spool["unverified_segments"] == 0 && spool["unverified_bytes"] == 0).then_some(())
    });
}

/// Sends events that are known already; each is answered as the duplicate that it is.
fn assert_known(bridge: &Bridge, numbers: &[u64]) {
    let duplicates = || bridge.metric("fanbridge_events_total", &["verdict=\"duplicate\""]);
    let (before, mut client) = (duplicates(), bridge.client());
    for &number in numbers {
        assert!(delivery(number).send(&mut client).expect("an answer").is_success());
    }
    assert_eq!(duplicates() - before, numbers.len() as f64);
}

#[test]
fn a_bridge_with_many_segments_starts_by_their_footers_and_after_a_kill_as_well() {
    let _turn = turns::in_company();
    let (home, ledger) = (home(), Ledger::default());
    let bridge = home.start();
    let mut client = bridge.client();
    (0..400).for_each(|number| delivery(number).hand_over(&mut client, &ledger));
    let count = home.segments().len() as u64;
    assert!(count >= 7, "{count} segments");
    bridge.stop();

    let bridge = home.start();
    assert_eq!(taken(&bridge, 2), (count, 0));
    assert_known(&bridge, &[0, 60, 200, 399]);
    bridge.assert_logs("every entry in them can be read");
    await_verified(&bridge);
    let mut client = bridge.client();
    (400..410).for_each(|number| delivery(number).hand_over(&mut client, &ledger));
    bridge.kill();

    let bridge = home.start();
    assert_eq!(taken(&bridge, 3), (count, 1), "only the newest has no footer");
    assert_known(&bridge, &[0, 399, 400, 409]);
    let mut client = bridge.client();
    (410..420).for_each(|number| delivery(number).hand_over(&mut client, &ledger));
    bridge.kill();

    let bridge = home.start();
    assert_eq!(taken(&bridge, 4), (count + 1, 1), "the one before was closed by the next life");
    let topics = home.path("topics");
    let arrivals = readers::drained(&ledger, PATIENCE, || readers::files(&topics));
    await_verified(&bridge);
    assert_eq!(bridge.metric("fanbridge_spool_corrupt_records_total", &[]), 0.0);
    bridge.stop();
    ledger.judge(&arrivals).assert_kept(2, 1024);
    assert!(home.run_verb(&["spool", "verify"]).contains("clean: "));
}

#[test]
fn damage_behind_a_good_footer_is_found_in_the_background_and_a_damaged_footer_is_no_damage() {
    let _turn = turns::in_company();
    let (home, ledger) = (home(), Ledger::default());
    let bridge = home.start();
    let mut client = bridge.client();
    (0..300).for_each(|number| delivery(number).hand_over(&mut client, &ledger));
    let topics = home.path("topics");
    readers::drained(&ledger, PATIENCE, || readers::files(&topics));
    bridge.stop();

    let paths = home.segments();
    let flip = |path: &PathBuf, at: fn(usize) -> usize| {
        let mut bytes = fs::read(path).unwrap();
        let at = at(bytes.len());
        bytes[at] ^= 4;
        fs::write(path, bytes).unwrap();
    };
    flip(&paths[1], |_| 5_000);
    flip(&paths[2], |len| len - 10);
    let verified = home.try_verb(&["spool", "verify"]);
    let printed = String::from_utf8(verified.stdout).unwrap();
    assert_eq!(verified.status.code(), Some(1), "{printed}");
    assert_eq!(printed.matches("footer damaged: ").count(), 1, "{printed}");
    assert_eq!(printed.matches("  damaged: ").count(), 1, "{printed}");

    let bridge = home.start();
    assert_eq!(taken(&bridge, 2), (paths.len() as u64 - 1, 1));
    bridge.assert_logs("the footer of a segment cannot be used");
    bridge.assert_logs("hold no readable entry");
    bridge.assert_logs("1 entries in them are lost");
    await_verified(&bridge);
    assert_eq!(bridge.metric("fanbridge_spool_corrupt_records_total", &[]), 1.0);
    assert_known(&bridge, &[0, 70, 120, 299]);
    bridge.stop();
}
