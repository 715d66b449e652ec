//! No room for the cursors and dead letters alone: events are taken in and delivered all the same,
//! and what could not be kept is kept as soon as there is room.

use std::time::Duration;

use serde_json::Value;

use crate::support::bridge::{Bridge, Home};
use crate::support::client::request;
use crate::support::inject::{self, Ballast, FileFault};
use crate::support::load::{Delivery, STREAM_PATH};
use crate::support::oracle::{Arrival, Ledger};
use crate::support::{await_until, readers, signing, turns};

/// What the process ends with when the disk did not take what it should (`EX_IOERR`).
const EXIT_DISK_FAILED: i32 = 74;
const PATIENCE: Duration = Duration::from_secs(20);

/// A home with a sink of files, events for it, and who hands them over.
struct Scene {
    home: Home,
    ledger: Ledger,
    handed_over: u64,
}

impl Scene {
    fn new() -> Self {
        let home = Home::new();
        home.configure_files();
        Self { home, ledger: Ledger::default(), handed_over: 0 }
    }

    fn hand_over(&mut self, bridge: &Bridge, count: u64) {
        let mut client = bridge.client();
        for number in self.handed_over..self.handed_over + count {
            Delivery::new("call.created", "default:no-room", number, 300)
                .hand_over(&mut client, &self.ledger);
        }
        self.handed_over += count;
    }

    fn no_room(&self, bridge: &Bridge) -> FileFault {
        self.state_fails(bridge, "pwrite64,ftruncate:error=ENOSPC")
    }

    fn state_fails(&self, bridge: &Bridge, what: &str) -> FileFault {
        FileFault::begin(bridge.pid(), &self.home.path("spool/state.redb"), what)
    }

    /// What has arrived, once nothing is missing.
    fn arrivals(&self) -> Vec<Arrival> {
        readers::drained(&self.ledger, PATIENCE, || readers::files(&self.home.path("topics")))
    }
}

fn ask(bridge: &Bridge, path: &str) -> Value {
    let answer = bridge.admin().get(path).expect("the admin listener answers");
    assert!(answer.is_success(), "{path} is answered {}: {}", answer.status, answer.text());
    serde_json::from_slice(&answer.body).expect("JSON")
}

/// Waits until the bridge says that there is no room for the cursor, or that there is.
fn await_shortage(bridge: &Bridge, short: bool) -> Value {
    await_until("what /api/status says of the room", PATIENCE, || {
        let no_room = ask(bridge, "/api/status")["no_room"].take();
        (no_room.is_object() == short).then_some(no_room)
    })
}

#[test]
fn without_room_for_the_cursor_events_are_taken_in_and_delivered_and_the_cursor_is_kept_later() {
    let _turn = turns::in_company();
    if !inject::can_attach("no room for the cursor") {
        return;
    }
    let mut scene = Scene::new();
    let bridge = scene.home.start();
    scene.hand_over(&bridge, 20);
    scene.arrivals();

    let no_room = scene.no_room(&bridge);
    scene.hand_over(&bridge, 200);
    scene.arrivals();
    let shortage = await_shortage(&bridge, true);
    assert!(
        shortage["waiting"].as_array().is_some_and(|names| names.contains(&"local".into())),
        "{shortage}"
    );
    await_until("it is tried again", PATIENCE, || {
        (bridge.metric("fanbridge_state_no_room_total", &[]) >= 3.0).then_some(())
    });
    let ready = bridge.admin().get("/readyz").expect("an answer");
    assert_eq!(ready.status, 200, "an event can be stored: {}", ready.text());
    assert!(ready.text().contains("no space on the disk to store cursors"), "{}", ready.text());
    drop(no_room);

    await_shortage(&bridge, false);
    let types = ask(&bridge, "/api/types");
    assert_eq!(types[0]["accepted"], 220, "none of the types seen is forgotten: {types}");
    // Whatever is not durable now is lost with the process.
    bridge.kill();
    let bridge = scene.home.start();
    scene.hand_over(&bridge, 5);
    let arrivals = scene.arrivals();
    let log = bridge.log();
    bridge.stop();
    scene.ledger.judge(&arrivals).assert_kept(0, 0);
    for line in ["the state file cannot be written for now", "there is space for the state file again"] {
        assert_eq!(log.matches(line).count(), 1, "{line}: one line for each change in\n{log}");
    }
}

#[test]
fn a_crash_without_room_for_the_cursor_repeats_what_was_delivered_since_and_loses_nothing() {
    let _turn = turns::in_company();
    if !inject::can_attach("a crash without room for the cursor") {
        return;
    }
    let mut scene = Scene::new();
    let bridge = scene.home.start();
    scene.hand_over(&bridge, 20);
    scene.arrivals();
    let no_room = scene.no_room(&bridge);
    scene.hand_over(&bridge, 200);
    scene.arrivals();
    await_shortage(&bridge, true);
    bridge.kill();
    drop(no_room);

    let bridge = scene.home.start();
    scene.hand_over(&bridge, 5);
    let arrivals = scene.arrivals();
    bridge.stop();
    let judgement = scene.ledger.judge(&arrivals);
    judgement.assert_kept(1, 220);
    assert!(judgement.duplicates >= 190, "the fault was not met: {judgement}");
}

#[test]
fn a_stop_without_room_for_the_cursor_ends_in_time_and_says_so_and_loses_nothing() {
    let _turn = turns::in_company();
    if !inject::can_attach("a stop without room for the cursor") {
        return;
    }
    let mut scene = Scene::new();
    let mut bridge = scene.home.start();
    let no_room = scene.no_room(&bridge);
    scene.hand_over(&bridge, 50);
    scene.arrivals();
    await_shortage(&bridge, true);
    bridge.terminate();
    let status = bridge.await_exit(Duration::from_secs(20));
    drop(no_room);
    assert_eq!(status.code(), Some(EXIT_DISK_FAILED), "the log ends:\n{}", bridge.log_tail());
    let log = bridge.log();
    assert!(log.contains("the cursor of `local` cannot be stored"), "the log ends:\n{}", bridge.log_tail());

    let bridge = scene.home.start();
    scene.hand_over(&bridge, 5);
    let arrivals = scene.arrivals();
    bridge.stop();
    scene.ledger.judge(&arrivals).assert_kept(1, 55);
}

#[test]
fn dead_letters_that_do_not_fit_on_a_full_disk_are_kept_when_they_do_and_hold_no_sink_up() {
    let _turn = turns::in_company();
    if !inject::can_mount("a full disk under the state") {
        return;
    }
    let mut scene = Scene::new();
    // A life on a roomy disk leaves a state file behind.
    scene.home.start().stop();
    let (state, disk) = (scene.home.path("spool/state.redb"), scene.home.path("disk"));
    let wrapper = inject::tiny_disk_under(&state, &disk, 16 * 1024);
    let bridge = scene.home.start_under(&wrapper.iter().map(String::as_str).collect::<Vec<_>>());
    let ballast = Ballast::fill(&bridge.path_inside(&disk));

    let mut client = bridge.client();
    for number in 0..30 {
        let unusable = format!("{{\"number\": {number}, {}", " ".repeat(100_000)).into_bytes();
        let signature = signing::stream(&unusable);
        let answer = client.exchange(&request(STREAM_PATH, &[("x-signature", &signature)], &unusable));
        let answer = answer.expect("the bridge answers");
        assert!(answer.is_success(), "answered {}: {}", answer.status, answer.text());
    }
    scene.hand_over(&bridge, 100);
    scene.arrivals();
    let shortage = await_shortage(&bridge, true);
    assert!(shortage["waiting"].to_string().contains("(quarantine)"), "{shortage}");
    ballast.drop_it();

    let kept = || bridge.metric("fanbridge_dead_letters_kept", &["sink=\"quarantine\""]);
    await_until("all are kept", PATIENCE, || (kept() >= 30.0).then_some(()));
    await_shortage(&bridge, false);
    assert_eq!(kept(), 30.0);
    let arrivals = scene.arrivals();
    bridge.stop();
    scene.ledger.judge(&arrivals).assert_kept(0, 0);
}

#[test]
fn a_state_file_that_fails_otherwise_ends_the_bridge_and_loses_nothing() {
    let _turn = turns::in_company();
    if !inject::can_attach("a failing state file") {
        return;
    }
    // Also an fsync that finds no room: what it has not written is taken for written from then on.
    for what in ["pwrite64:error=EIO", "fdatasync:error=ENOSPC"] {
        let mut scene = Scene::new();
        let mut bridge = scene.home.start();
        let fault = scene.state_fails(&bridge, what);
        scene.hand_over(&bridge, 1);
        let status = bridge.await_exit(PATIENCE);
        drop(fault);
        assert_eq!(status.code(), Some(EXIT_DISK_FAILED), "{what}; the log ends:\n{}", bridge.log_tail());

        let bridge = scene.home.start();
        scene.hand_over(&bridge, 5);
        let arrivals = scene.arrivals();
        bridge.stop();
        scene.ledger.judge(&arrivals).assert_kept(1, 6);
    }
}
