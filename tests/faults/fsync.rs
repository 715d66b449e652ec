//! A 2xx means durable: seen in the system calls, and held when the disk says no.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::support::bridge::{Home, free_port};
use crate::support::inject;
use crate::support::load::{Delivery, Load, Shape};
use crate::support::oracle::Ledger;
use crate::support::{await_until, readers, turns};
use crate::trace;

/// What the process ends with when its disk cannot be trusted (`EX_IOERR`).
const EXIT_DISK_FAILED: i32 = 74;

#[test]
fn a_2xx_is_sent_only_after_the_fdatasync_of_its_event() {
    let _turn = turns::in_company();
    if !inject::can_trace("the order of fdatasync and answer") {
        return;
    }
    let home = Home::new();
    home.configure_files();
    let trace = home.path("trace");
    let bridge = home.start_under(&strs(&inject::trace(&trace, &["-s", "1000000", "-e", trace::CALLS])));

    let ledger = Ledger::default();
    std::thread::scope(|scope| {
        for sender in 0..4 {
            let (bridge, ledger) = (&bridge, &ledger);
            scope.spawn(move || {
                let mut client = bridge.client();
                for number in 0..25 {
                    let key = format!("default:{}", trace::marker(sender * 25 + number));
                    Delivery::new("call.created", &key, number, 0).hand_over(&mut client, ledger);
                }
            });
        }
    });
    bridge.stop();

    let findings = trace::examine(&finished_trace(&trace));
    assert!(findings.premature.is_empty(), "answered before durable: {:?}", findings.premature);
    assert_eq!(findings.in_order.len(), 100, "every answer is found in the trace");
    println!("100 answers, each behind its fdatasync; {} fdatasyncs", findings.synced);
    ledger.judge(&readers::files(&home.path("topics"))).assert_kept(0, 0);
}

#[test]
fn a_failed_fdatasync_stops_the_answers_and_the_process_and_loses_nothing() {
    let _turn = turns::in_company();
    if !inject::can_trace("a failing fdatasync") {
        return;
    }
    let home = Home::new();
    // A sink that writes no file: the failure is counted by thread, and is to hit the spool alone.
    let nowhere = free_port();
    home.configure("", &format!("sinks:\n  local: {{ kafka: {{ brokers: \"127.0.0.1:{nowhere}\" }} }}\n"));
    let trace = home.path("trace");
    // One failure only: a process that tried again would be told that all is well.
    let inject = "inject=fdatasync:error=EIO:when=30";
    let arguments = ["-s", "1000000", "-e", trace::CALLS, "-e", inject];
    let mut bridge = home.start_under(&strs(&inject::trace(&trace, &arguments)));
    let shape = Shape {
        name: "fsync",
        senders: 4,
        keys_per_sender: 2,
        body_bytes: 200,
        pause: Duration::from_millis(5),
    };
    let load = Load::start(home.http, shape);

    let status = bridge.await_exit(Duration::from_secs(60));
    assert_eq!(status.code(), Some(EXIT_DISK_FAILED), "the log ends:\n{}", bridge.log_tail());
    let findings = trace::examine(&finished_trace(&trace));
    assert_eq!(findings.failed, 1, "exactly the injected failure, and no second try");

    home.configure_files();
    let bridge = home.start();
    let (ledger, _) = load.finish();
    assert!(ledger.acknowledged() > 20, "the failure came amid acknowledged deliveries");
    let arrivals =
        readers::drained(&ledger, Duration::from_secs(10), || readers::files(&home.path("topics")));
    bridge.stop();
    ledger.judge(&arrivals).assert_kept(1, crate::crash::IN_FLIGHT_RECORDS_MAX);
}

#[test]
fn a_disk_that_never_syncs_ends_every_start_with_the_same_code() {
    let _turn = turns::in_company();
    if !inject::can_trace("a disk that never syncs") {
        return;
    }
    let home = Home::new();
    home.configure_files();
    let inject = ["-e", "trace=fdatasync,fsync", "-e", "inject=fdatasync,fsync:error=EIO:when=1+"];
    for _ in 0..2 {
        let mut bridge = home.spawn_under(&strs(&inject::trace(&home.path("trace"), &inject)));
        let status = bridge.await_exit(Duration::from_secs(30));
        assert_eq!(status.code(), Some(EXIT_DISK_FAILED), "the log ends:\n{}", bridge.log_tail());
    }
}

#[test]
fn every_directory_and_segment_that_a_first_start_makes_is_durable_before_the_first_2xx() {
    let _turn = turns::in_company();
    if !inject::can_trace("the durability of new directories") {
        return;
    }
    let home = Home::new();
    home.configure_files();
    let (spool, nested) = (home.path("spool").display().to_string(), home.path("spool/b/c"));
    let config = home.path("fanbridge.yaml");
    let text = fs::read_to_string(&config).expect("just written");
    fs::write(&config, text.replace(&spool, &nested.display().to_string())).expect("the home takes a file");
    let trace = home.path("trace");
    let arguments = ["-y", "-s", "4096", "-e", trace::ENTRY_CALLS];
    let bridge = home.start_under(&strs(&inject::trace(&trace, &arguments)));
    Delivery::new("call.created", "default:first", 1, 0).hand_over(&mut bridge.client(), &Ledger::default());
    bridge.stop();

    let entries = trace::durable_entries(&finished_trace(&trace), &spool);
    let segment = nested.join("00000000000000000001.log").display().to_string();
    for made in [&spool, &format!("{spool}/b"), &format!("{spool}/b/c"), &segment] {
        assert_eq!(entries.get(made), Some(&true), "{made} in {entries:#?}");
    }
}

/// The tracer writes on for a moment after its tracee is gone.
fn finished_trace(path: &Path) -> String {
    await_until("the trace is complete", Duration::from_secs(20), || {
        let trace = fs::read_to_string(path).ok()?;
        let last = trace.trim_end().lines().last()?;
        (last.contains("+++ exited with") || last.contains("+++ killed by")).then_some(trace)
    })
}

fn strs(strings: &[String]) -> Vec<&str> {
    strings.iter().map(String::as_str).collect()
}
