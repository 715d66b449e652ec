//! SNS fails in every way it can; nothing is lost, no key is reordered, nothing spins.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::sns_set_up::{DEADLINE, Out, SHAPE, WINDOW, await_acknowledged, await_degraded};
use crate::support::dice::Dice;
use crate::support::load::{Load, Shape};
use crate::support::proxy::Fault;
use crate::support::proxy::call::{Entry, Refusal};
use crate::support::{Tier, await_until, turns};

/// One record in five fails, whichever it is.
fn one_in_five(what: &str) -> impl Fn(&Entry) -> bool + Send + Sync + 'static {
    let dice = Mutex::new(Dice::thrown_for(what));
    move |_| dice.lock().unwrap().within(0..5) == 0
}

#[test]
fn the_events_of_64_keys_stay_in_order_while_entries_fail_one_by_one() {
    let _turn = turns::in_company();
    let Some(out) = Out::new("SNS entries that fail", "entries") else { return };
    let internal = Fault::fail_entries(one_in_five("entries"), Refusal::INTERNAL);
    out.proxy.always("PublishBatch", internal);
    let bridge = out.home.start();
    let load = Load::start(out.home.http, SHAPE);
    await_acknowledged(&load, Tier::of_this_run().pick(1_500, 4_000, 40_000));
    let (ledger, _) = load.finish();
    let arrivals = out.drained(&ledger);
    let asked: usize = out.proxy.calls("PublishBatch").iter().map(|call| call.entries.len()).sum();
    assert!(asked > arrivals.len() * 6 / 5, "{asked} entries for {} events: too few failed", arrivals.len());
    bridge.stop();
    ledger.judge(&arrivals).assert_kept(0, WINDOW);
}

#[test]
fn a_backlog_of_64_keys_is_published_with_at_most_12_calls_for_100_events() {
    let _turn = turns::in_company();
    let Some(out) = Out::new("SNS calls for each event", "calls") else { return };
    out.proxy.always("PublishBatch", Fault::Refuse(Refusal::UNAVAILABLE));
    let bridge = out.home.start();
    let load = Load::start(out.home.http, SHAPE);
    await_acknowledged(&load, 3_000);
    let (ledger, _) = load.finish();
    out.proxy.heal();
    // The probe that is on its way may still be refused.
    let before = out.calls();
    let arrivals = out.drained(&ledger);
    let calls = out.calls() - before;
    println!("{} events in {calls} calls: {:.3}", arrivals.len(), calls as f64 / arrivals.len() as f64);
    assert!(calls * 100 <= arrivals.len() * 12, "{calls} calls for {} events", arrivals.len());
    bridge.stop();
    ledger.judge(&arrivals).assert_kept(0, WINDOW);
}

#[test]
fn throttled_failing_and_cut_requests_lose_nothing() {
    let _turn = turns::in_company();
    let Some(out) = Out::new("SNS requests that fail", "requests") else { return };
    let bridge = out.home.start();
    let load = Load::start(out.home.http, Shape { pause: Duration::from_millis(5), ..SHAPE });
    let faults = [
        Fault::Refuse(Refusal::THROTTLED),
        Fault::Refuse(Refusal::INTERNAL),
        Fault::Refuse(Refusal::UNAVAILABLE),
        Fault::CutBefore,
        Fault::CutAfter,
        Fault::disown_entries(one_in_five("requests"), Refusal::INTERNAL),
    ];
    for fault in faults {
        out.proxy.every(3, "PublishBatch", fault);
        await_acknowledged(&load, 200);
        out.proxy.await_calls("PublishBatch", out.calls() + 20, DEADLINE);
        out.proxy.heal();
    }
    let (ledger, _) = load.finish();
    let arrivals = out.drained(&ledger);
    let retries =
        |reason: &str| bridge.metric("fanbridge_sink_retries_total", &[&format!("reason=\"{reason}\"")]);
    let (failed, cut) = (retries("service_error"), retries("timed_out"));
    assert!(failed > 0.0 && cut > 0.0, "{failed} after failures of the service, {cut} after cut connections");
    let suspects = bridge.metric("fanbridge_possible_duplicates_total", &[]);
    assert!(suspects >= failed + cut, "{suspects} possible duplicates for {failed} and {cut}");
    bridge.stop();
    // What was cut off or disowned after it was done arrives once more.
    ledger.judge(&arrivals).assert_kept(1, WINDOW);
}

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
fn a_service_that_throttles_on_and_on_is_told_of_and_counted() {
    let _turn = turns::in_company();
    let Some(out) = Out::new("SNS that throttles for long", "throttled") else { return };
    let bridge = out.home.start();
    let allowed = || bridge.metric("fanbridge_sink_requests_allowed", &["sink=\"billing\""]);
    await_until("the pace is shown", DEADLINE, || (allowed() == 16.0).then_some(()));
    out.proxy.always("PublishBatch", Fault::Refuse(Refusal::THROTTLED));
    let load = Load::start(out.home.http, Shape { pause: Duration::from_millis(20), ..SHAPE });
    let trouble = await_degraded(&bridge);
    assert!(trouble.starts_with("throttled: ") && trouble.contains("quota"), "{trouble}");
    assert_eq!(allowed(), 1.0);
    let repeated = bridge.metric("fanbridge_sink_retries_total", &["reason=\"throttled\""]);
    assert!(repeated > 0.0, "nothing was counted");
    out.proxy.heal();
    let (ledger, _) = load.finish();
    let arrivals = out.drained(&ledger);
    await_until("the pace is regained", DEADLINE, || (allowed() > 1.0).then_some(()));
    bridge.stop();
    ledger.judge(&arrivals).assert_kept(0, WINDOW);
}

#[test]
fn a_service_that_only_fails_is_asked_a_few_times_a_second() {
    let _turn = turns::in_company();
    let Some(out) = Out::new("SNS that fails for long", "spin") else { return };
    let bridge = out.home.start();
    let load = Load::start(out.home.http, Shape { pause: Duration::from_millis(50), ..SHAPE });
    await_acknowledged(&load, 100);
    let seconds = Tier::of_this_run().pick(4, 10, 60);
    for (what, fault) in [
        ("throttled", Fault::Refuse(Refusal::THROTTLED)),
        ("unavailable", Fault::Refuse(Refusal::UNAVAILABLE)),
        ("denied", Fault::Refuse(Refusal::DENIED)),
        ("cut", Fault::CutBefore),
        ("throttled entries", Fault::fail_entries(|_| true, Refusal::THROTTLED)),
    ] {
        out.proxy.always("PublishBatch", fault);
        // Its first second holds what was under way, and the short rests of the first attempts.
        std::thread::sleep(Duration::from_secs(1));
        let (before, start) = (out.calls(), Instant::now());
        std::thread::sleep(Duration::from_secs(seconds));
        let each_second = (out.calls() - before) as f64 / start.elapsed().as_secs_f64();
        println!("{what}: {each_second:.1} calls a second");
        assert!((0.5..10.0).contains(&each_second), "{what}: {each_second:.1} calls a second");
        out.proxy.heal();
        let published = out.arrivals().len();
        await_until("it is published again", DEADLINE, || (out.arrivals().len() > published).then_some(()));
    }
    let (ledger, _) = load.finish();
    let arrivals = out.drained(&ledger);
    bridge.stop();
    ledger.judge(&arrivals).assert_kept(1, WINDOW);
}

#[test]
fn requests_that_hang_are_given_up_after_ten_seconds_and_tried_again() {
    let _turn = turns::in_company();
    let Some(out) = Out::new("SNS that hangs", "hang") else { return };
    out.proxy.times(1, "PublishBatch", Fault::HoldCall(Duration::from_secs(30)));
    out.proxy.times(1, "PublishBatch", Fault::HoldAnswer(Duration::from_secs(30)));
    let bridge = out.home.start();
    let load = Load::start(out.home.http, Shape { pause: Duration::from_millis(50), ..SHAPE });
    await_acknowledged(&load, 300);
    let trouble = await_degraded(&bridge);
    assert!(
        ["timed_out", "unreachable", "no_answer"].iter().any(|word| trouble.starts_with(word)),
        "{trouble}"
    );
    let (ledger, _) = load.finish();
    let arrivals = out.drained(&ledger);
    assert!(bridge.metric("fanbridge_sink_retries_total", &["reason=\"timed_out\""]) > 0.0);
    bridge.stop();
    ledger.judge(&arrivals).assert_kept(1, WINDOW);
}
