//! Files that are replaced or taken away under a running bridge, as by a restore, `mv`, rsync or `sed -i`:
//! nothing is acknowledged into a file that nobody will find again, and what was is put back.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::support::bridge::{Bridge, Home, free_port};
use crate::support::load::Delivery;
use crate::support::oracle::Ledger;
use crate::support::{await_until, readers, turns};

/// The disk is not what it was.
const EXIT_IO: i32 = 74;
/// A person has to look first.
const EXIT_CONFIG: i32 = 78;
/// Bodies that a small spool has room for.
const LIMITS: &str = "limits: { body_bytes_max: 32 KiB, inflated_bytes_max: 32 KiB }\n";
const PATIENCE: Duration = Duration::from_secs(20);

/// A home whose only sink takes nothing, because its brokers are not there.
fn stalled() -> Home {
    let home = Home::new();
    let nowhere = free_port();
    home.configure(
        "bytes_max: 64 MiB, segment_bytes: 1100 KiB",
        &format!(
            "shutdown_grace_seconds: 3\n{LIMITS}\
             sinks:\n  local: {{ kafka: {{ brokers: \"127.0.0.1:{nowhere}\" }} }}\n"
        ),
    );
    home
}

fn deliveries() -> impl Iterator<Item = Delivery> {
    (0..).map(|number| Delivery::new("call.created", "default:replaced", number, 20_000))
}

/// Sends until one is not taken; that one is not in the ledger as promised.
fn send_until_refused(bridge: &Bridge, ledger: &Ledger, events: &mut impl Iterator<Item = Delivery>) {
    let mut client = bridge.client();
    for event in events.take(20_000) {
        ledger.offer(&event.id, Some(&event.key), &event.body);
        match event.send(&mut client) {
            Ok(answer) if answer.is_success() => ledger.acknowledge(&event.id),
            _ => return,
        }
    }
    panic!("nothing was refused");
}

/// Puts a copy in a file's place, as `cp -p FILE t; mv t FILE` does.
fn replace(path: &Path) {
    let copy = path.with_extension("t");
    fs::copy(path, &copy).unwrap();
    fs::rename(&copy, path).unwrap();
}

/// Has files take what is in the spool, and holds what arrives against what was promised.
fn assert_all_arrive(home: &Home, ledger: &Ledger) {
    home.configure_files();
    let bridge = home.start();
    let topics = home.path("topics");
    let arrivals = readers::drained(ledger, PATIENCE, || readers::files(&topics));
    bridge.stop();
    ledger.judge(&arrivals).assert_kept(0, 0);
}

#[test]
fn a_segment_that_is_replaced_under_a_stalled_sink_costs_no_acknowledged_event() {
    let _turn = turns::in_company();
    let home = stalled();
    let bridge = home.start();
    let (ledger, mut events) = (Ledger::default(), deliveries());
    let mut client = bridge.client();
    events.by_ref().take(50).for_each(|event| event.hand_over(&mut client, &ledger));
    replace(home.segments().last().unwrap());
    send_until_refused(&bridge, &ledger, &mut events);
    bridge.assert_logs("was replaced under the bridge");
    // Killed on its way out: what was acknowledged needs no orderly end.
    bridge.kill();
    assert_all_arrive(&home, &ledger);
}

#[test]
fn an_orderly_stop_puts_a_replaced_segment_back_and_does_not_pass_for_success() {
    let _turn = turns::in_company();
    let home = stalled();
    let mut bridge = home.start();
    let (ledger, mut events) = (Ledger::default(), deliveries());
    let mut client = bridge.client();
    let path = {
        events.by_ref().take(1).for_each(|event| event.hand_over(&mut client, &ledger));
        home.segments().pop().unwrap()
    };
    // What was taken in behind the copy and before the move is nowhere but in the file that is replaced.
    let copy = path.with_extension("t");
    fs::copy(&path, &copy).unwrap();
    events.by_ref().take(50).for_each(|event| event.hand_over(&mut client, &ledger));
    fs::rename(&copy, &path).unwrap();
    bridge.terminate();
    let status = bridge.await_exit(PATIENCE);
    assert_eq!(status.code(), Some(EXIT_IO), "{}", bridge.log_tail());
    bridge.assert_logs("put back under its name");
    assert_all_arrive(&home, &ledger);
}

/// Hands events over until the log has three segments.
fn fill(home: &Home, bridge: &Bridge, ledger: &Ledger, events: &mut impl Iterator<Item = Delivery>) {
    let mut client = bridge.client();
    while home.segments().len() < 3 {
        events.by_ref().take(50).for_each(|event| event.hand_over(&mut client, ledger));
    }
}

#[test]
fn a_closed_segment_with_events_that_wait_is_missed_before_any_cursor_passes_it() {
    let _turn = turns::in_company();
    let home = stalled();
    let mut bridge = home.start();
    let (ledger, mut events) = (Ledger::default(), deliveries());
    fill(&home, &bridge, &ledger, &mut events);
    let (gone, kept) = (home.segments().remove(0), home.path("kept"));
    let next = home.segments()[1].file_stem().unwrap().to_str().unwrap().parse::<u64>().unwrap();
    fs::rename(&gone, &kept).unwrap();
    let status = bridge.await_exit(PATIENCE);
    // No supervisor starts it again, which would pass what is gone.
    assert_eq!(status.code(), Some(EXIT_CONFIG), "{}", bridge.log_tail());
    let said = format!(
        "{} was removed from under the bridge: it held positions 1 to {}, and `local` has not got past them: \
         put the file back as it was and start again",
        gone.display(),
        next - 1
    );
    bridge.assert_logs(&said);

    fs::rename(&kept, &gone).unwrap();
    assert_all_arrive(&home, &ledger);
}

#[test]
fn a_segment_that_every_sink_has_got_past_may_be_removed_under_the_bridge() {
    let _turn = turns::in_company();
    let home = Home::new();
    let topics = home.path("topics");
    let sink = format!("sinks:\n  local: {{ file: {{ dir: {} }} }}\n", topics.display());
    home.configure("bytes_max: 64 MiB, segment_bytes: 1100 KiB", &(LIMITS.to_owned() + &sink));
    let bridge = home.start();
    let (ledger, mut events) = (Ledger::default(), deliveries());
    fill(&home, &bridge, &ledger, &mut events);
    readers::drained(&ledger, PATIENCE, || readers::files(&topics));
    // Behind a restart all cursors are kept.
    bridge.stop();
    let bridge = home.start();
    fs::remove_file(home.segments().remove(0)).unwrap();
    await_until("the bridge notices", PATIENCE, || {
        bridge.log().contains("somebody removed a segment that every sink has passed").then_some(())
    });
    events.by_ref().take(50).for_each(|event| event.hand_over(&mut bridge.client(), &ledger));
    let arrivals = readers::drained(&ledger, PATIENCE, || readers::files(&topics));
    assert_eq!(bridge.metric("fanbridge_spool_corrupt_records_total", &[]), 0.0, "nothing is lost");
    bridge.stop();
    ledger.judge(&arrivals).assert_kept(0, 0);
}

#[test]
fn a_copy_in_the_place_of_a_closed_segment_ends_nothing_and_is_delivered() {
    let _turn = turns::in_company();
    let home = stalled();
    let bridge = home.start();
    let (ledger, mut events) = (Ledger::default(), deliveries());
    fill(&home, &bridge, &ledger, &mut events);
    replace(&home.segments()[0]);
    await_until("the bridge notices", PATIENCE, || {
        bridge.log().contains("somebody replaced a closed segment by a copy of it").then_some(())
    });
    events.by_ref().take(50).for_each(|event| event.hand_over(&mut bridge.client(), &ledger));
    bridge.stop();
    assert_all_arrive(&home, &ledger);
}

#[test]
fn a_state_file_that_is_replaced_repeats_nothing_that_was_delivered_before() {
    let _turn = turns::in_company();
    let home = Home::new();
    home.configure_files();
    let mut bridge = home.start();
    let (ledger, mut events) = (Ledger::default(), deliveries());
    let mut client = bridge.client();
    let topics = home.path("topics");
    let (state, copy) = (home.path("spool/state.redb"), home.path("spool/t"));
    fs::copy(&state, &copy).unwrap();
    events.by_ref().take(200).for_each(|event| event.hand_over(&mut client, &ledger));
    let arrived = readers::drained(&ledger, PATIENCE, || readers::files(&topics));
    assert_eq!(arrived.len(), 200);
    await_until("the cursor is kept", PATIENCE, || {
        let status = bridge.admin().get("/api/status").ok()?.text();
        status.contains(r#""cursor":200"#).then_some(())
    });
    std::thread::sleep(Duration::from_millis(300));
    fs::rename(&copy, &state).unwrap();
    let status = bridge.await_exit(PATIENCE);
    assert_eq!(status.code(), Some(EXIT_IO), "{}", bridge.log_tail());
    bridge.assert_logs("state.redb was replaced under the bridge");

    let bridge = home.start();
    events.by_ref().take(1).for_each(|event| event.hand_over(&mut bridge.client(), &ledger));
    readers::drained(&ledger, PATIENCE, || readers::files(&topics));
    bridge.stop();
    ledger.judge(&readers::files(&topics)).assert_kept(0, 0);
}

#[test]
fn a_lock_or_a_directory_that_is_replaced_ends_the_bridge_and_is_named() {
    let _turn = turns::in_company();
    // A supervisor that starts the bridge again would begin with an empty directory.
    let cases = [("spool/lock", "lock was replaced", EXIT_IO), ("spool", "spool was replaced", EXIT_CONFIG)];
    for (replaced, said, code) in cases {
        let home = stalled();
        let mut bridge = home.start();
        let mut client = bridge.client();
        deliveries().take(5).for_each(|event| event.hand_over(&mut client, &Ledger::default()));
        let (path, copy) = (home.path(replaced), home.path("copy"));
        if path.is_dir() {
            fs::create_dir(&copy).unwrap();
            fs::rename(&path, home.path("elsewhere")).unwrap();
            fs::rename(&copy, &path).unwrap();
        } else {
            replace(&path);
        }
        let status = bridge.await_exit(PATIENCE);
        assert_eq!(status.code(), Some(code), "{}", bridge.log_tail());
        bridge.assert_logs(&format!("{said} under the bridge"));
    }
}
