//! Tests that measure. `tests/run.sh` runs them one at a time after the others, which then need not
//! wait for them.

use std::time::Duration;

use crate::sns_set_up::{DEADLINE, Out, SHAPE, WINDOW, await_acknowledged};
use crate::support::load::{Load, Shape};
use crate::support::proxy::Fault;
use crate::support::proxy::call::Refusal;
use crate::support::turns;

#[test]
fn one_request_in_twenty_that_fails_is_repeated_and_no_trouble() {
    // Its bound is a second in which nothing is settled, and the emulator answers one at a time.
    let _turn = turns::alone();
    let Some(out) = Out::new("SNS requests that fail now and then", "accidents") else { return };
    out.proxy.every(20, "PublishBatch", Fault::Refuse(Refusal::INTERNAL));
    let bridge = out.home.start();
    let load = Load::start(out.home.http, Shape { pause: Duration::from_millis(20), ..SHAPE });
    out.proxy.await_calls("PublishBatch", 200, DEADLINE);
    let (ledger, _) = load.finish();
    let arrivals = out.drained(&ledger);
    let failed = bridge.metric("fanbridge_sink_retries_total", &["reason=\"service_error\""]);
    assert!(failed >= 10.0, "{failed} after failures of the service");
    let log = bridge.log();
    assert!(!log.contains("the sink is degraded"), "{log}");
    bridge.stop();
    ledger.judge(&arrivals).assert_kept(0, WINDOW);
}

#[test]
fn a_bridge_stopped_while_one_key_drains_slowly_repeats_no_more_than_was_on_its_way() {
    // What it does within the grace is counted, and the emulator answers one at a time.
    let _turn = turns::alone();
    let Some(out) = Out::new("a slow SNS at SIGTERM", "slow") else { return };
    out.configure_with("shutdown_grace_seconds: 5\n", &out.topic.arn, "");
    out.proxy.always("PublishBatch", Fault::HoldAnswer(Duration::from_millis(30)));
    let bridge = out.home.start();
    let shape = Shape { name: "hot", senders: 1, keys_per_sender: 1, body_bytes: 300, pause: Duration::ZERO };
    let load = Load::start(out.home.http, shape);
    await_acknowledged(&load, 1_000);
    let (ledger, _) = load.finish();
    let before = out.proxy.await_calls("PublishBatch", 20, DEADLINE).len();
    bridge.stop();
    let at_stop = out.calls();
    assert!(at_stop > before + 20, "{before} calls, then {at_stop}: it did not go on for the grace");
    assert!(at_stop + 100 < ledger.acknowledged(), "{at_stop} calls: no publication was left unresolved");
    out.proxy.heal();
    let bridge = out.home.start();
    let arrivals = out.drained(&ledger);
    bridge.stop();
    // One key has one request on its way, of one record.
    ledger.judge(&arrivals).assert_kept(1, 1);
}
