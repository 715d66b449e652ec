//! Nothing is deleted before it is durable: the tracer's clock and the proxy's, which are the
//! same, on a disk that takes its time.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::Value;

use crate::inlet::{DEADLINE, Inlet, assert_each_once, events, texts};
use crate::support::aws::{Aws, messages};
use crate::support::bridge::Bridge;
use crate::support::proxy::call::Refusal;
use crate::support::proxy::{Fault, Proxy};
use crate::support::{await_until, inject};

/// Starts a bridge whose log takes so long for each fdatasync, all of them traced.
fn start_on_a_slow_disk(inlet: &Inlet, delay: Duration) -> Bridge {
    let inject = format!("inject=fdatasync:delay_enter={}", delay.as_micros());
    inlet.start_traced(&["-ttt", "-T", "-s", "100000", "-e", "trace=pwrite64,fdatasync", "-e", &inject])
}

/// When each event, by its number, was durable: the end of the first fdatasync that began after
/// its write. Seconds since the Unix epoch.
fn durable_at(trace: &str) -> BTreeMap<u64, f64> {
    let mut begun: HashMap<&str, f64> = HashMap::new();
    let mut written: Vec<(u64, f64)> = Vec::new();
    let mut syncs: Vec<(f64, f64)> = Vec::new();
    for line in trace.lines() {
        let mut words = line.split_whitespace();
        let (Some(thread), Some(moment)) = (words.next(), words.next()) else { continue };
        let Ok(moment) = moment.parse::<f64>() else { continue };
        let took = line.rsplit_once('<').and_then(|(_, took)| took.strip_suffix('>')?.parse::<f64>().ok());
        if line.contains("pwrite64") {
            // The text of a write that was interrupted is in its first line.
            let end = moment + took.unwrap_or(0.0);
            written.extend(numbers(line).map(|number| (number, end)));
        } else if line.contains("fdatasync resumed") && line.contains("= 0") {
            syncs.extend(begun.remove(thread).map(|from| (from, moment)));
        } else if line.contains("fdatasync(") && line.contains("= 0") {
            syncs.extend(took.map(|took| (moment, moment + took)));
        } else if line.contains("fdatasync(") {
            begun.insert(thread, moment);
        }
    }
    let durable = |(number, at): (u64, f64)| {
        let ends = syncs.iter().filter(|(from, _)| *from >= at).map(|(_, to)| *to);
        Some((number, ends.min_by(f64::total_cmp)?))
    };
    written.into_iter().filter_map(durable).collect()
}

/// The numbers of the events in a line, whatever escapes surround their quotes.
fn numbers(line: &str) -> impl Iterator<Item = u64> {
    let starts = line.match_indices("number").map(|(at, word)| &line[at + word.len()..]);
    starts.filter_map(|rest| {
        let rest = rest.trim_start_matches(['\\', '"', ':']);
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    })
}

/// The number of the event behind each receipt, as the service handed it out.
fn receipts(proxy: &Proxy) -> HashMap<String, u64> {
    let mut receipts = HashMap::new();
    for answer in proxy.calls("ReceiveMessage").into_iter().filter_map(|call| call.answer) {
        let document: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        for message in document["Messages"].as_array().into_iter().flatten() {
            let body: Value = serde_json::from_str(message["Body"].as_str().unwrap()).unwrap();
            receipts.insert(
                message["ReceiptHandle"].as_str().unwrap().to_owned(),
                body["number"].as_u64().unwrap(),
            );
        }
    }
    receipts
}

#[test]
fn a_message_is_deleted_only_after_the_fdatasync_of_its_event() {
    let Some(aws) = Aws::connect("the order of fdatasync and delete") else { return };
    if !inject::can_trace("the order of fdatasync and delete") {
        return;
    }
    let queue = aws.queue("durable", &[]);
    let proxy = Proxy::before(aws.endpoint());
    let load = events("durable", 100);
    let inlet = Inlet::new(&proxy.endpoint(), &queue.url, "", "");
    let bridge = start_on_a_slow_disk(&inlet, Duration::from_millis(100));
    queue.send(&messages(texts(&load)));
    inlet.await_exactly(&load, &queue, DEADLINE);
    bridge.stop();

    let trace = await_until("the trace is complete", DEADLINE, || {
        let trace = fs::read_to_string(inlet.home.path("trace")).ok()?;
        trace.trim_end().lines().last()?.contains("+++ exited with").then_some(trace)
    });
    let (durable, receipts) = (durable_at(&trace), receipts(&proxy));
    assert_eq!(durable.len(), load.len(), "the trace shows every event");
    let mut deleted = 0;
    for call in proxy.calls("DeleteMessageBatch") {
        let at = call.at.duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        for entry in &call.entries {
            let number = receipts[entry.field("ReceiptHandle")];
            assert!(durable[&number] <= at, "{number} deleted at {at}, durable at {}", durable[&number]);
            deleted += 1;
        }
    }
    assert_eq!(deleted, load.len());
    println!("{deleted} deletes, each behind its fdatasync");
}

#[test]
fn what_a_slow_disk_has_not_taken_is_kept_hidden_until_it_has() {
    let Some(aws) = Aws::connect("heartbeats") else { return };
    if !inject::can_trace("a slow disk") {
        return;
    }
    let queue = aws.queue("heartbeats", &[]);
    let proxy = Proxy::before(aws.endpoint());
    let load = events("heartbeats", 10);
    queue.send(&messages(texts(&load)));
    // Half of it is left to a machine that is busy with other tests.
    let inlet = Inlet::new(&proxy.endpoint(), &queue.url, "visibility_timeout: 4s", "");
    let bridge = start_on_a_slow_disk(&inlet, Duration::from_secs(12));
    // One heartbeat fails in part, and is made up for in time.
    proxy.times(
        1,
        "ChangeMessageVisibilityBatch",
        Fault::fail_entries(|entry| entry.id == "0", Refusal::INTERNAL),
    );
    inlet.await_exactly(&load, &queue, DEADLINE);
    let heartbeats = proxy.calls("ChangeMessageVisibilityBatch");
    assert!(heartbeats.len() >= 5 && heartbeats.len() <= 20, "{} heartbeats in 12 s", heartbeats.len());
    assert!(heartbeats[0].entries.iter().all(|entry| entry.field("VisibilityTimeout") == "4"));
    assert_eq!(bridge.metric("fanbridge_events_total", &["verdict=\"duplicate\""]), 0.0, "none came back");
    assert_eq!(bridge.metric("fanbridge_sqs_receive_count_sum", &[]), load.len() as f64);
    assert_eq!(bridge.metric("fanbridge_sqs_heartbeat_failures_total", &["reason=\"server_error\""]), 1.0);
    let deletes = proxy.calls("DeleteMessageBatch");
    // Each message is deleted as it becomes durable, while the others of its receive still wait for the disk.
    for delete in &deletes {
        let later = heartbeats.iter().filter(|heartbeat| heartbeat.at > delete.at);
        let beats: Vec<_> = later
            .flat_map(|heartbeat| &heartbeat.entries)
            .map(|entry| entry.field("ReceiptHandle"))
            .collect();
        let still = delete.entries.iter().find(|entry| beats.contains(&entry.field("ReceiptHandle")));
        assert!(still.is_none(), "what is durable needs no heartbeat: {still:?}");
    }
    bridge.kill();
}

#[test]
fn a_message_that_becomes_visible_in_mid_work_is_published_once() {
    let Some(aws) = Aws::connect("visibility that expires") else { return };
    if !inject::can_trace("a slow disk") {
        return;
    }
    let queue = aws.queue("expires", &[]);
    let proxy = Proxy::before(aws.endpoint());
    proxy.always("ChangeMessageVisibilityBatch", Fault::Refuse(Refusal::UNAVAILABLE));
    let load = events("expires", 20);
    queue.send(&messages(texts(&load)));
    let inlet = Inlet::new(&proxy.endpoint(), &queue.url, "visibility_timeout: 2s", "");
    let bridge = start_on_a_slow_disk(&inlet, Duration::from_secs(5));
    queue.await_empty(DEADLINE);
    let duplicates = bridge.metric("fanbridge_events_total", &["verdict=\"duplicate\""]);
    assert!(duplicates >= 1.0, "nothing came back while the disk was at it");
    let arrivals = inlet.await_arrivals(load.len(), DEADLINE);
    assert_each_once(&arrivals, &load);
    bridge.kill();
}
