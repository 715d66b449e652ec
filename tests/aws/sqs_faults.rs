//! A service that throttles, fails, cuts, hangs, answers nonsense or is not there at all: nothing
//! is lost, nobody spins, and what to do is said where an operator looks.

use std::fs;
use std::time::{Duration, Instant};

use crate::inlet::{
    AS_TESTER, DEADLINE, Inlet, assert_each_once, await_readiness, await_untroubled, events, texts,
};
use crate::support::aws::{self, Aws, messages};
use crate::support::load::{Delivery, Load, Shape};
use crate::support::proxy::call::{Answer, Refusal};
use crate::support::proxy::{ANY, Fault, Proxy};
use crate::support::{await_until, inject};

/// Longer than any attempt is waited for.
const HANG: Duration = Duration::from_secs(30);

#[test]
fn a_bridge_without_credentials_says_so_and_reads_once_there_are_some() {
    let Some(aws) = Aws::connect("missing credentials") else { return };
    let queue = aws.queue("credentials", &[]);
    let inlet = Inlet::new(aws.endpoint(), &queue.url, "", "");
    // A program hands out the credentials, once it has some.
    let (settings, handed_out) = (inlet.home.path("aws-config"), inlet.home.path("credentials.json"));
    let line = format!("[default]\ncredential_process = cat {}\n", handed_out.display());
    fs::write(&settings, line).unwrap();
    let settings = format!("AWS_CONFIG_FILE={}", settings.display());
    let without = ["env", "-u", "AWS_ACCESS_KEY_ID", "-u", "AWS_SECRET_ACCESS_KEY", "-u", "AWS_PROFILE"];
    let quiet = ["AWS_EC2_METADATA_DISABLED=true", "AWS_SHARED_CREDENTIALS_FILE=/nonexistent", &settings];
    let mut bridge = inlet.home.spawn_under(&[&without[..], &quiet].concat());
    await_until("the admin listener answers", DEADLINE, || bridge.admin().get("/livez").ok());
    await_readiness(&bridge, 503, &["source queue", "no AWS credentials", "AWS_ACCESS_KEY_ID"]);

    // Webhooks are taken all the same.
    let load = events("credentials", 20);
    let answer = load[0].send(&mut bridge.client()).unwrap();
    assert!(answer.is_success(), "{}", answer.text());
    queue.send(&messages(texts(&load)));
    let handed = r#"{"Version":1,"AccessKeyId":"test","SecretAccessKey":"test"}"#;
    fs::write(inlet.home.path("half"), handed).unwrap();
    fs::rename(inlet.home.path("half"), handed_out).unwrap();
    bridge.await_ready();
    inlet.await_exactly(&load, &queue, DEADLINE);
    let told = bridge.log().matches("the source's queue is in trouble").count();
    assert_eq!(told, 1, "one line for one change");
    bridge.stop();
}

#[test]
fn a_queue_that_does_not_exist_is_named_until_it_does() {
    let Some(aws) = Aws::connect("a missing queue") else { return };
    let template = aws.queue("missing", &[]);
    let url = format!("{}-later", template.url);
    let inlet = Inlet::new(aws.endpoint(), &url, "", "");
    let mut bridge = inlet.home.spawn_under(&AS_TESTER);
    bridge.await_ready();
    // A queue is one source's affair; the bridge takes what the others bring.
    await_readiness(&bridge, 200, &["source queue is degraded", "there is no queue", &url, "queue_url"]);
    let name = url.rsplit('/').next().unwrap();
    let made = aws::wait(aws.sqs.create_queue().queue_name(name).send()).unwrap();
    assert_eq!(made.queue_url(), Some(url.as_str()));
    await_untroubled(&bridge);
    let load = events("missing", 1);
    let body = texts(&load).pop().unwrap();
    aws::wait(aws.sqs.send_message().queue_url(&url).message_body(body).send()).unwrap();
    assert_each_once(&inlet.await_arrivals(1, DEADLINE), &load);
    bridge.stop();
    aws::wait(aws.sqs.delete_queue().queue_url(&url).send()).unwrap();
}

#[test]
fn what_is_not_allowed_is_named_by_its_permission() {
    let Some(aws) = Aws::connect("missing permissions") else { return };
    let queue = aws.queue("denied", &[]);
    let proxy = Proxy::before(aws.endpoint());
    proxy.always("ReceiveMessage", Fault::Refuse(Refusal::DENIED));
    let inlet = Inlet::new(&proxy.endpoint(), &queue.url, "visibility_timeout: 2s", "");
    let mut bridge = inlet.home.spawn_under(&AS_TESTER);
    bridge.await_ready();
    await_readiness(&bridge, 200, &["source queue is degraded", "sqs:ReceiveMessage", &queue.url]);
    assert_eq!(bridge.metric("fanbridge_source_degraded", &["source=\"queue\""]), 1.0);

    proxy.heal();
    proxy.always("DeleteMessageBatch", Fault::Refuse(Refusal::DENIED));
    await_untroubled(&bridge);
    let load = events("denied", 10);
    queue.send(&messages(texts(&load)));
    inlet.await_arrivals(load.len(), DEADLINE);
    // Reading goes on, and what does not is told all the same.
    await_readiness(&bridge, 200, &["source queue is degraded", "sqs:DeleteMessage"]);
    bridge.assert_logs("sqs:DeleteMessage");
    let status = bridge.admin().get("/api/status").unwrap();
    let status: serde_json::Value = serde_json::from_slice(&status.body).unwrap();
    let source = status["sources"].as_array().unwrap().iter().find(|source| source["name"] == "queue");
    let because = source.unwrap()["degraded_because"].as_str();
    assert!(because.is_some_and(|because| because.contains("sqs:DeleteMessage")), "{status}");
    proxy.heal();
    inlet.await_exactly(&load, &queue, DEADLINE);
    await_untroubled(&bridge);
    bridge.stop();
}

/// One bridge each, all at the same time: they wait more than they work.
#[test]
fn no_fault_of_the_service_loses_a_message_or_makes_the_bridge_spin() {
    let Some(aws) = Aws::connect("faults of the service") else { return };
    const LASTING: Duration = Duration::from_secs(10);
    /// Each wait is at least a tenth of a bound that doubles from 200 ms: at 50 ms on average a
    /// loop would make two hundred.
    const CALLS_MAX: usize = 30;
    let nonsense = || Fault::Answer(Answer::new(200, "<html>"));
    let faults = [
        ("throttled", Fault::Refuse(Refusal::THROTTLED), "throttled"),
        ("queue-throttled", Fault::Refuse(Refusal::QUEUE_THROTTLED), "throttled"),
        ("failing", Fault::Refuse(Refusal::INTERNAL), "server_error"),
        ("away", Fault::Refuse(Refusal::UNAVAILABLE), "server_error"),
        ("expired", Fault::Refuse(Refusal::EXPIRED), "credentials"),
        ("cut-before", Fault::CutBefore, "connection"),
        ("cut-after", Fault::CutAfter, "connection"),
        ("nonsense", nonsense(), "malformed_answer"),
        // What a proxy in the way may answer: no messages, at once.
        ("hollow", Fault::Answer(Answer::new(200, "{}")), ""),
    ];
    let trial = |name: &str, fault: Fault, reason: &str| {
        let queue = aws.queue(name, &[]);
        let proxy = Proxy::before(aws.endpoint());
        let inlet = Inlet::new(&proxy.endpoint(), &queue.url, "visibility_timeout: 2s", "");
        let bridge = inlet.start();
        let load = events(name, 60);
        let (before, amid) = load.split_at(30);
        queue.send(&messages(texts(before)));
        inlet.await_arrivals(before.len(), DEADLINE);

        proxy.always(ANY, fault);
        queue.send(&messages(texts(amid)));
        let (start, calls) = (Instant::now(), proxy.count(ANY));
        std::thread::sleep(LASTING);
        let calls = proxy.count(ANY) - calls;
        assert!(calls <= CALLS_MAX, "{name}: {calls} calls in {:?}", start.elapsed());
        assert!(calls >= 1, "{name}: it goes on trying");
        if !reason.is_empty() {
            let errors = bridge.metric("fanbridge_sqs_errors_total", &[&format!("reason=\"{reason}\"")]);
            assert!(errors >= 1.0, "{name}: no error with the reason {reason}\n{}", bridge.log_tail());
        }
        proxy.heal();
        let arrivals = inlet.await_arrivals(load.len(), DEADLINE);
        queue.await_empty(DEADLINE);
        assert_each_once(&arrivals, &load);
        let told = bridge.log().matches("the source's queue is in trouble").count();
        println!("{name}: {calls} calls in {LASTING:?}, {told} lines");
        assert!(told <= 4, "{name}: {told} lines for one fault");
        bridge.stop();
    };
    std::thread::scope(|scope| {
        for (name, fault, reason) in faults {
            scope.spawn(move || trial(name, fault, reason));
        }
    });
}

#[test]
fn deletes_that_fail_in_part_are_tried_again_and_nothing_is_published_twice() {
    let Some(aws) = Aws::connect("deletes that fail in part") else { return };
    let queue = aws.queue("partly", &[]);
    let proxy = Proxy::before(aws.endpoint());
    // One of ten is refused, another is done and said to be refused, and now and then all are.
    proxy.every(4, "DeleteMessageBatch", Fault::CutAfter);
    proxy.every(3, "DeleteMessageBatch", Fault::Refuse(Refusal::INTERNAL));
    proxy.every(2, "DeleteMessageBatch", Fault::disown_entries(|entry| entry.id == "2", Refusal::INTERNAL));
    proxy.always("DeleteMessageBatch", Fault::fail_entries(|entry| entry.id == "3", Refusal::INTERNAL));
    let load = events("partly", 300);
    queue.send(&messages(texts(&load)));
    // Long: what is given up would not be there again before the deadline.
    let inlet = Inlet::new(&proxy.endpoint(), &queue.url, "visibility_timeout: 10m", "");
    let bridge = inlet.start();
    inlet.await_exactly(&load, &queue, DEADLINE);
    assert_eq!(bridge.metric("fanbridge_events_total", &["verdict=\"duplicate\""]), 0.0);
    assert!(bridge.metric("fanbridge_sqs_delete_failures_total", &[]) > 30.0);
    let calls = proxy.count("DeleteMessageBatch");
    assert!(calls < load.len(), "{calls} calls for {} deletes", load.len());
    bridge.stop();
}

#[test]
fn a_stale_receipt_is_let_go() {
    let Some(aws) = Aws::connect("stale receipts") else { return };
    let queue = aws.queue("stale", &[]);
    let proxy = Proxy::before(aws.endpoint());
    let stale = Refusal { status: 404, code: "ReceiptHandleIsInvalid", sender_fault: true };
    proxy.times(1, "DeleteMessageBatch", Fault::fail_entries(|_| true, stale));
    let load = events("stale", 10);
    queue.send(&messages(texts(&load)));
    let inlet = Inlet::new(&proxy.endpoint(), &queue.url, "visibility_timeout: 2s", "");
    let bridge = inlet.start();
    inlet.await_exactly(&load, &queue, DEADLINE);
    let failures = bridge.metric("fanbridge_sqs_delete_failures_total", &["reason=\"receipt_stale\""]);
    let again = bridge.metric("fanbridge_events_total", &["verdict=\"duplicate\""]);
    assert!(failures >= 1.0 && failures == again, "{failures} let go, {again} came back");
    bridge.stop();
}

#[test]
fn calls_that_hang_lose_nothing_and_hold_no_webhook_up() {
    let Some(aws) = Aws::connect("calls that hang") else { return };
    let trial = |action: &str, fault: Fault| {
        let queue = aws.queue("hangs", &[]);
        let proxy = Proxy::before(aws.endpoint());
        let inlet = Inlet::new(&proxy.endpoint(), &queue.url, "visibility_timeout: 2s", "");
        let bridge = inlet.start();
        let name = format!("hangs-{action}");
        let load = events(&name, 40);
        proxy.times(3, action, fault);
        queue.send(&messages(texts(&load)));
        let shape = Shape {
            name: "hangs",
            senders: 2,
            keys_per_sender: 2,
            body_bytes: 200,
            pause: Duration::from_millis(20),
        };
        let webhooks = Load::start(inlet.home.http, shape);
        await_until(
            &format!("all is published and deleted beside {action} that hangs"),
            DEADLINE * 3,
            || {
                std::thread::sleep(Duration::from_millis(200));
                let published =
                    inlet.arrivals().iter().filter(|arrival| is_of(arrival.key.as_ref(), &name)).count();
                (published >= load.len() && queue.depth().total() == 0).then_some(())
            },
        );
        let (_, tally) = webhooks.finish();
        bridge.stop();
        let mut arrivals = inlet.arrivals();
        arrivals.retain(|arrival| is_of(arrival.key.as_ref(), &name));
        assert_each_once(&arrivals, &load);
        assert!(tally.slowest() < Duration::from_secs(5), "a webhook took {:?}", tally.slowest());
    };
    std::thread::scope(|scope| {
        scope.spawn(|| trial("ReceiveMessage", Fault::HoldCall(HANG)));
        scope.spawn(|| trial("ReceiveMessage", Fault::HoldAnswer(HANG)));
        scope.spawn(|| trial("DeleteMessageBatch", Fault::HoldCall(HANG)));
        scope.spawn(|| trial("DeleteMessageBatch", Fault::HoldAnswer(HANG)));
    });
}

fn is_of(key: Option<&String>, name: &str) -> bool {
    key.is_some_and(|key| key.starts_with(&format!("default:{name}-")))
}

#[test]
fn a_queue_is_not_read_while_the_spool_is_nearly_full_and_is_read_again_when_there_is_room() {
    let Some(aws) = Aws::connect("a queue before a full spool") else { return };
    if !inject::can_mount("a full spool") {
        return;
    }
    const SMALL: &str = "bytes_max: 256 MiB, segment_bytes: 64 MiB";
    const DISK_KIBIBYTES: u32 = 20 << 10;
    let queue = aws.queue("full", &[]);
    let proxy = Proxy::before(aws.endpoint());
    // Nothing is settled until the sink has a directory instead of a file in its way.
    let inlet = Inlet::new(&proxy.endpoint(), &queue.url, "visibility_timeout: 2s", SMALL);
    let load: Vec<_> =
        (0..1400).map(|number| Delivery::new("call.created", "default:full", number, 20 << 10)).collect();
    let in_the_way = inlet.home.path("topics").join(crate::inlet::TOPIC);
    fs::create_dir_all(inlet.home.path("topics")).unwrap();
    fs::write(&in_the_way, "not a directory").unwrap();
    queue.send(&messages(texts(&load)));
    let disk = inject::tiny_disk(&inlet.home.path("spool"), DISK_KIBIBYTES);
    let line: Vec<&str> = AS_TESTER.into_iter().chain(disk.iter().map(String::as_str)).collect();
    let bridge = inlet.home.start_under(&line);
    await_until("the queue is not read any more", DEADLINE, || {
        (bridge.metric("fanbridge_sqs_paused", &[]) == 1.0).then_some(())
    });
    await_until("what was under way is done", DEADLINE, || (queue.depth().in_flight == 0).then_some(()));
    let calls = proxy.count("ReceiveMessage");
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(proxy.count("ReceiveMessage"), calls, "no receive while it waits");
    assert!(queue.depth().visible > 100, "{:?}", queue.depth());
    // Webhooks have the room that is left.
    let webhook = Delivery::new("call.created", "default:webhook", 1, 100);
    assert!(webhook.send(&mut bridge.client()).unwrap().is_success());
    assert_eq!(bridge.admin().get("/readyz").unwrap().status, 200);

    fs::remove_file(&in_the_way).unwrap();
    inlet.await_arrivals(load.len() + 1, DEADLINE * 2);
    queue.await_empty(DEADLINE);
    let mut arrivals = inlet.arrivals();
    arrivals.retain(|arrival| arrival.id != webhook.id);
    assert_each_once(&arrivals, &load);
    assert_eq!(bridge.metric("fanbridge_sqs_paused", &[]), 0.0);
    bridge.stop();
}
