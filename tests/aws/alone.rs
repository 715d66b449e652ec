//! Tests that measure. `tests/run.sh` runs them one at a time after the others, which then need not
//! wait for them.

use std::time::Duration;

use crate::sns_set_up::{DEADLINE, Out, SHAPE, WINDOW};
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
