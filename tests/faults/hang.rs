//! A disk that neither answers nor fails, as a frozen file system or a lost volume: it is told while it
//! lasts, nothing is acknowledged, and it keeps nobody from ending the bridge.

use std::path::PathBuf;
use std::time::Duration;

use crate::support::bridge::{Bridge, Home, free_port};
use crate::support::inject::{self, FileFault};
use crate::support::load::Delivery;
use crate::support::oracle::Ledger;
use crate::support::{await_until, readers, turns};

/// The disk is not what it was.
const EXIT_IO: i32 = 74;
const PATIENCE: Duration = Duration::from_secs(30);
/// Longer than the test.
const HANGS: &str = "fdatasync:delay_enter=600000000";
const OUTSTANDING: &str = "fanbridge_spool_disk_outstanding_seconds";

fn home(sink: &str) -> Home {
    let home = Home::new();
    let rest = format!("shutdown_grace_seconds: 4\nlimits: {{ ack_timeout: 1s }}\nsinks:\n  local: {sink}\n");
    home.configure("", &rest);
    home
}

/// Its brokers are not there, so that nothing but the log is written.
fn stuck() -> String {
    format!("{{ kafka: {{ brokers: \"127.0.0.1:{}\" }} }}", free_port())
}

fn delivery(number: u64) -> Delivery {
    Delivery::new("call.created", "default:hang", number, 0)
}

/// Waits until the disk has answered all calls: the bridge writes also when no delivery waits for it.
fn await_nothing_out(bridge: &Bridge) {
    await_until("nothing is out", PATIENCE, || (bridge.metric(OUTSTANDING, &[]) == 0.0).then_some(()));
}

/// Waits until the bridge says that its disk does not answer.
fn await_told(bridge: &Bridge) {
    await_until("the bridge tells that its disk hangs", PATIENCE, || {
        let ready = bridge.admin().get("/readyz").ok()?;
        (ready.status == 503 && ready.text().contains("has not answered for")).then_some(())
    });
    let status = bridge.admin().get("/api/status").expect("an answer").text();
    assert!(status.contains(r#""ready":false"#) && status.contains("has not answered for"), "{status}");
    assert!(bridge.metric(OUTSTANDING, &[]) > 1.0);
}

#[test]
fn a_hung_disk_is_told_while_it_hangs_and_holds_no_stop_up_beyond_the_grace() {
    let _turn = turns::in_company();
    if !inject::can_attach("a disk that hangs") {
        return;
    }
    let home = home(&stuck());
    let mut bridge = home.start();
    let ledger = Ledger::default();
    let mut client = bridge.client().with_timeout(PATIENCE);
    (0..3).for_each(|number| delivery(number).hand_over(&mut client, &ledger));
    await_nothing_out(&bridge);

    let segment: PathBuf = home.path("spool/00000000000000000001.log");
    let fault = FileFault::begin(bridge.pid(), &segment, HANGS);
    let late = delivery(3);
    ledger.offer(&late.id, Some(&late.key), &late.body);
    assert_eq!(late.send(&mut client).expect("an answer").status, 503);
    await_told(&bridge);
    // Nobody is let wait for what cannot come.
    let refused = delivery(4).send(&mut client).expect("an answer");
    assert_eq!(refused.status, 503);
    assert!(bridge.metric("fanbridge_refused_total", &["reason=\"disk_hangs\""]) >= 1.0);

    bridge.terminate();
    await_until("the bridge gives its disk up", PATIENCE, || {
        let log = bridge.log();
        let last = log.lines().last()?;
        (last.contains("has not answered for") && last.contains("ends without it")).then_some(())
    });
    // The call is held back by the tracer, which also keeps the process from being waited for.
    drop(fault);
    let status = bridge.await_exit(PATIENCE);
    assert_eq!(status.code(), Some(EXIT_IO), "{}", bridge.log_tail());

    home.configure_files();
    let bridge = home.start();
    let arrivals = readers::drained(&ledger, PATIENCE, || readers::files(&home.path("topics")));
    bridge.stop();
    ledger.judge(&arrivals).assert_kept(0, 0);
}

#[test]
fn a_state_file_whose_disk_hangs_is_told_until_it_answers_again() {
    let _turn = turns::in_company();
    if !inject::can_attach("a disk that hangs") {
        return;
    }
    let home = Home::new();
    let topics = home.path("topics");
    let sink = format!("{{ file: {{ dir: {} }} }}", topics.display());
    home.configure("", &format!("limits: {{ ack_timeout: 1s }}\nsinks:\n  local: {sink}\n"));
    let mut bridge = home.start();
    let ledger = Ledger::default();
    let fault = FileFault::begin(bridge.pid(), &home.path("spool/state.redb"), HANGS);
    let mut client = bridge.client().with_timeout(PATIENCE);
    delivery(0).hand_over(&mut client, &ledger);
    await_told(&bridge);
    drop(fault);
    bridge.await_ready();
    await_nothing_out(&bridge);
    let arrivals = readers::drained(&ledger, PATIENCE, || readers::files(&topics));
    bridge.stop();
    ledger.judge(&arrivals).assert_kept(0, 0);
}

#[test]
fn while_nobody_can_tell_whether_a_segment_is_there_the_bridge_is_not_ready_and_acknowledges_nothing() {
    let _turn = turns::in_company();
    if !inject::can_attach("a segment that cannot be looked at") {
        return;
    }
    let home = home(&stuck());
    let mut bridge = home.start();
    let ledger = Ledger::default();
    let mut client = bridge.client().with_timeout(PATIENCE);
    (0..3).for_each(|number| delivery(number).hand_over(&mut client, &ledger));
    let segment: PathBuf = home.path("spool/00000000000000000001.log");
    // It is waited for as long as it lasts: an EIO ends the bridge after ten seconds.
    let fault = FileFault::begin(bridge.pid(), &segment, "statx:error=ENOMEM");
    assert_eq!(delivery(3).send(&mut client).expect("an answer").status, 503);
    await_until("the bridge says that it is not ready", PATIENCE, || {
        let ready = bridge.admin().get("/readyz").ok()?;
        (ready.status == 503 && ready.text().contains("no_memory")).then_some(())
    });
    drop(fault);
    bridge.await_ready();
    (3..5).for_each(|number| delivery(number).hand_over(&mut client, &ledger));
    bridge.stop();

    home.configure_files();
    let bridge = home.start();
    let arrivals = readers::drained(&ledger, PATIENCE, || readers::files(&home.path("topics")));
    bridge.stop();
    ledger.judge(&arrivals).assert_kept(0, 0);
}

#[test]
fn a_cursor_is_kept_again_while_nobody_can_tell_whether_the_state_file_is_there() {
    let _turn = turns::in_company();
    if !inject::can_attach("a state file that cannot be looked at") {
        return;
    }
    let home = Home::new();
    home.configure_files();
    let topics = home.path("topics");
    let bridge = home.start();
    let ledger = Ledger::default();
    let mut client = bridge.client();
    let fault = FileFault::begin(bridge.pid(), &home.path("spool/state.redb"), "statx:error=ENOMEM");
    (0..3).for_each(|number| delivery(number).hand_over(&mut client, &ledger));
    readers::drained(&ledger, PATIENCE, || readers::files(&topics));
    await_until("a cursor could not be kept", PATIENCE, || {
        (bridge.metric("fanbridge_state_no_room_total", &[]) > 0.0).then_some(())
    });
    drop(fault);
    (3..5).for_each(|number| delivery(number).hand_over(&mut client, &ledger));
    bridge.stop();
    let bridge = home.start();
    let arrivals = readers::drained(&ledger, PATIENCE, || readers::files(&topics));
    bridge.stop();
    ledger.judge(&arrivals).assert_kept(0, 0);
}
