//! `ack.after` at a queue: a message is deleted only once its sink has the event.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::inlet::{DEADLINE, Inlet, TOPIC, assert_each_once, await_readiness, events, texts};
use crate::sqs::received;
use crate::support::await_until;
use crate::support::aws::{Aws, messages};
use crate::support::bridge::Bridge;
use crate::support::load::{Delivery, TOPICS};
use crate::support::proxy::Proxy;

/// A home whose answers wait for the sink `local`.
fn inlet(aws: &Aws, queue_url: &str, within: &str) -> Inlet {
    inlet_with(aws.endpoint(), queue_url, "2s", &format!("ack: {{ after: [local], within: {within} }}\n"))
}

fn inlet_with(endpoint: &str, queue_url: &str, visibility: &str, rest: &str) -> Inlet {
    let inlet = Inlet::new(endpoint, queue_url, &format!("visibility_timeout: {visibility}"), "");
    let file = inlet.home.path("fanbridge.yaml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text + rest).unwrap();
    inlet
}

/// A file where the topic's directory has to be.
fn obstacle(inlet: &Inlet, topic: &str) -> PathBuf {
    let obstacle = inlet.home.path("topics").join(topic);
    fs::create_dir_all(inlet.home.path("topics")).unwrap();
    fs::write(&obstacle, "").unwrap();
    obstacle
}

fn left(bridge: &Bridge, reason: &str) -> f64 {
    bridge.metric("fanbridge_sqs_messages_left_total", &[&format!("reason=\"{reason}\"")])
}

#[test]
fn messages_whose_sink_is_away_stay_in_the_queue_and_are_deleted_and_published_once_it_is_back() {
    let Some(aws) = Aws::connect("messages that wait for a sink") else { return };
    let queue = aws.queue("ack", &[]);
    let inlet = inlet(&aws, &queue.url, "500ms");
    let obstacle = obstacle(&inlet, TOPIC);
    let load = events("ack", 30);
    queue.send(&messages(texts(&load)));
    let bridge = inlet.start();
    await_until("messages are late, and come again", DEADLINE, || {
        let duplicates = bridge.metric("fanbridge_events_total", &["verdict=\"duplicate\""]);
        (left(&bridge, "ack_late") >= 15.0 && duplicates >= 1.0).then_some(())
    });
    assert_eq!(bridge.metric("fanbridge_sqs_messages_deleted_total", &[]), 0.0);
    // One that becomes visible while the queue counts is missed by a count; one that was deleted by all.
    await_until("each is counted in the queue", DEADLINE, || {
        (queue.depth().total() == load.len()).then_some(())
    });

    fs::remove_file(&obstacle).unwrap();
    queue.await_empty(DEADLINE);
    bridge.stop();
    assert_each_once(&inlet.arrivals(), &load);
}

#[test]
fn a_message_that_no_sink_can_accept_goes_to_the_queues_own_dead_letters() {
    let Some(aws) = Aws::connect("messages that no sink can accept") else { return };
    let failed = aws.queue("ack-failed", &[]);
    let queue = aws.queue("ack-useless", &[("RedrivePolicy", &failed.redrive_after(3))]);
    let inlet = inlet(&aws, &queue.url, "1s");
    let load = events("ack-useless", 3);
    let bridge = inlet.start();
    queue.send(&messages(texts(&load)));
    queue.send(&messages(["no event"]));
    await_until("the queue has moved it", DEADLINE, || {
        std::thread::sleep(Duration::from_millis(100));
        (failed.depth().total() == 1).then_some(())
    });
    queue.await_empty(DEADLINE);
    assert!(left(&bridge, "ack_quarantined") >= 1.0);
    assert_eq!(bridge.metric("fanbridge_dead_letters_kept", &["sink=\"quarantine\""]), 1.0, "and here, once");
    assert_eq!(bridge.metric("fanbridge_sqs_messages_deleted_total", &[]), load.len() as f64);
    bridge.stop();
    assert_each_once(&inlet.arrivals(), &load);
}

#[test]
fn a_message_whose_topic_is_away_holds_up_the_deletion_of_no_other_of_its_receive() {
    let Some(aws) = Aws::connect("messages of which one waits for its topic") else { return };
    let queue = aws.queue("ack-mixed", &[]);
    let patient = "ack: { after: [local], within: 50s }\nlimits: { ack_timeout: 58s }\n\
                   shutdown_grace_seconds: 60\n";
    let inlet = inlet_with(aws.endpoint(), &queue.url, "2m", patient);
    let obstacle = obstacle(&inlet, TOPICS[1]);
    let mut load = events("ack-mixed", 9);
    load.push(Delivery::new("call.recording_ready", "default:ack-mixed", 9, 300));
    queue.send(&messages(texts(&load)));
    let bridge = inlet.start();
    await_until("all others are deleted", DEADLINE, || {
        (bridge.metric("fanbridge_sqs_messages_deleted_total", &[]) == 9.0).then_some(())
    });
    assert_eq!(left(&bridge, "ack_late"), 0.0, "they were deleted while it waited");
    fs::remove_file(&obstacle).unwrap();
    queue.await_empty(DEADLINE);
    bridge.stop();
    assert_each_once(&inlet.arrivals(), &load);
}

#[test]
fn a_message_that_nobody_settles_degrades_its_source_at_the_fiftieth_receive() {
    let Some(aws) = Aws::connect("a message that no sink can accept and no policy moves") else { return };
    let queue = aws.queue("ack-stuck", &[]);
    let proxy = Proxy::before(aws.endpoint());
    proxy.always("ReceiveMessage", received(50));
    let ack = "ack: { after: [local], within: 1s }\n";
    let inlet = inlet_with(&proxy.endpoint(), &queue.url, "2s", ack);
    queue.send(&messages(["no event"]));
    let bridge = inlet.start();
    await_readiness(&bridge, 200, &["source queue is degraded: a message comes again and again"]);
    bridge.assert_logs("the source's queue is in trouble: a message comes again and again");
    await_until("it is still there", DEADLINE, || (queue.depth().total() == 1).then_some(()));
    bridge.kill();
}
