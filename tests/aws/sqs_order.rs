//! FIFO queues: the order of each group, also when one of its messages finds no room.

use crate::inlet::{DEADLINE, Inlet, texts};
use crate::support::aws::queue::Queue;
use crate::support::aws::{Aws, Message};
use crate::support::bridge::Bridge;
use crate::support::inject;
use crate::support::load::Delivery;
use crate::support::readers::file_events;

/// Groups that a load's messages take turns in.
const GROUPS: u64 = 5;

/// Puts so many events into a FIFO queue, each in the group of its key.
fn fill(queue: &Queue, count: u64) -> Vec<Delivery> {
    let delivery =
        |number| Delivery::new("call.created", &format!("default:{}", number % GROUPS), number, 200);
    let load: Vec<_> = (0..count).map(delivery).collect();
    let in_groups = load.iter().zip(texts(&load));
    let sent: Vec<_> =
        in_groups.map(|(event, body)| Message::new(body).in_group(&event.key, &event.id)).collect();
    queue.send(&sent);
    load
}

/// Waits for all of it, and compares the order in the log, group by group.
fn await_in_order(inlet: &Inlet, bridge: Bridge, load: &[Delivery], queue: &Queue) {
    inlet.await_exactly(load, queue, DEADLINE);
    bridge.stop();
    let mut arrivals = inlet.arrivals();
    arrivals.sort_by_key(|arrival| arrival.sequence);
    for key in (0..GROUPS).map(|group| format!("default:{group}")) {
        let arrived = arrivals.iter().filter(|arrival| arrival.key.as_ref() == Some(&key));
        let sent = load.iter().filter(|delivery| delivery.key == key);
        assert!(
            arrived.map(|arrival| &arrival.id).eq(sent.map(|delivery| &delivery.id)),
            "the order of {key}"
        );
    }
}

#[test]
fn the_order_of_each_group_of_a_fifo_queue_is_kept() {
    let Some(aws) = Aws::connect("the order of a FIFO queue") else { return };
    let queue = aws.queue("ordered.fifo", &[]);
    let inlet = Inlet::new(aws.endpoint(), &queue.url, "", "");
    let load = fill(&queue, 300);
    await_in_order(&inlet, inlet.start(), &load, &queue);
    let events = file_events(&inlet.home.path("topics"));
    assert!(events.iter().all(|event| event["sqsgroupid"] == event["partitionkey"]));
}

#[test]
fn a_useless_message_of_a_group_goes_the_way_of_the_redrive_policy_by_itself() {
    let Some(aws) = Aws::connect("a FIFO queue's own redrive") else { return };
    let dead = aws.queue("dead.fifo", &[]);
    let queue = aws.queue("redriven.fifo", &[("RedrivePolicy", &dead.redrive_after(2))]);
    let inlet = Inlet::new(aws.endpoint(), &queue.url, "visibility_timeout: 2s, on_malformed: redrive", "");
    queue.send(&[Message::new("null").in_group("default:0", "useless")]);
    let load = fill(&queue, 20);
    let bridge = inlet.start();
    let moved = dead.take(1, DEADLINE);
    assert_eq!(moved[0].body(), Some("null"));
    await_in_order(&inlet, bridge, &load, &queue);
    assert_eq!(dead.depth().total(), 0, "what stood behind it has stayed");
}

#[test]
fn a_message_that_finds_no_room_is_not_overtaken_by_those_behind_it_in_its_group() {
    let Some(aws) = Aws::connect("a FIFO queue and a full disk") else { return };
    if !inject::can_trace("a disk that is full now and then") {
        return;
    }
    let queue = aws.queue("no-room.fifo", &[]);
    let inlet = Inlet::new(aws.endpoint(), &queue.url, "visibility_timeout: 2s", "");
    let load = fill(&queue, 60);
    // The log is written by one thread, a group at a time.
    let bridge = inlet.start_traced(&["-e", "inject=pwrite64:error=ENOSPC:when=2+5"]);
    inlet.await_arrivals(load.len(), DEADLINE);
    let left =
        |reason: &str| bridge.metric("fanbridge_sqs_messages_left_total", &[&format!("reason=\"{reason}\"")]);
    let (without_room, held_back) = (left("disk_full"), left("held_back"));
    println!("{without_room} messages found no room, {held_back} behind them were held back");
    assert!(without_room >= 1.0 && held_back >= 1.0, "nothing was held back");
    await_in_order(&inlet, bridge, &load, &queue);
}
