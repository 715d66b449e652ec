//! Queues as a way in: forms, identity, order, dead letters, and the number of calls.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::inlet::{AS_TESTER, DEADLINE, Inlet, a_type_of_each_family, encodings, events, sample_of, texts};
use crate::support::await_until;
use crate::support::aws::{Aws, Message, messages};
use crate::support::bridge::free_port;
use crate::support::load::Delivery;
use crate::support::proxy::call::{Answer, Refusal};
use crate::support::proxy::{Fault, Proxy};
use crate::support::readers::file_events;

#[test]
fn each_form_of_a_message_lands_once_in_its_familys_topic_with_the_bytes_of_its_body() {
    let Some(aws) = Aws::connect("the forms of a message") else { return };
    let queue = aws.queue("forms", &[]);
    let (wrapped, raw) = (aws.topic("wrapped", &[]), aws.topic("raw", &[]));
    wrapped.subscribe(&queue, &[]);
    raw.subscribe(&queue, &[("RawMessageDelivery", "true")]);
    let inlet = Inlet::new(aws.endpoint(), &queue.url, "", "");

    let mut expected = BTreeMap::new();
    let mut sent = [Vec::new(), Vec::new(), Vec::new()];
    for (family, event_type) in a_type_of_each_family(&inlet) {
        for (way, messages) in sent.iter_mut().enumerate() {
            for form in 0..3 {
                let body = sample_of(&event_type, way * 3 + form);
                let delivery = crate::support::signing::digest_id(body.as_bytes());
                expected.insert(delivery, (format!("stream.{family}"), event_type.clone(), body.clone()));
                messages.push(Message::new(encodings(&body)[form].clone()).with("Kind", "sample"));
            }
        }
    }
    queue.send(&sent[0]);
    wrapped.publish(&sent[1]);
    raw.publish(&sent[2]);

    let bridge = inlet.start();
    let arrivals = inlet.await_arrivals(expected.len(), DEADLINE);
    queue.await_empty(DEADLINE);
    assert_eq!(bridge.metric("fanbridge_events_total", &["source=\"queue\""]), expected.len() as f64);
    bridge.stop();
    assert_eq!(arrivals.len(), expected.len(), "each once");
    for arrival in arrivals {
        let (topic, event_type, body) = &expected[&arrival.id];
        assert_eq!((&arrival.lane, &arrival.event_type), (topic, event_type));
        assert_eq!(arrival.sha256, crate::support::signing::sha256(body.as_bytes()), "{event_type}");
    }
    assert_attributes(&file_events(&inlet.home.path("topics")), &wrapped.arn);
    println!("{} messages in {} families", expected.len(), expected.len() / 9);
}

#[test]
fn a_trace_context_among_the_attributes_of_a_message_is_the_event_s_while_traces_are_on() {
    const SENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let Some(aws) = Aws::connect("a trace context in a message") else { return };
    let (queue, topic) = (aws.queue("traced", &[]), aws.topic("traced", &[]));
    topic.subscribe(&queue, &[]);
    let inlet = Inlet::new(aws.endpoint(), &queue.url, "", "");
    let config = inlet.home.path("fanbridge.yaml");
    // Nobody listens there, which delays nothing.
    let traces = format!("traces: {{ endpoint: \"http://127.0.0.1:{}\", sample_ratio: 0 }}\n", free_port());
    std::fs::write(&config, std::fs::read_to_string(&config).unwrap() + &traces).unwrap();
    let body = |number| Message::new(sample_of("call.created", number));
    queue.send(&[body(1).with("traceparent", SENT), body(2)]);
    topic.publish(&[body(3).with("traceparent", SENT)]);
    let bridge = inlet.start();
    inlet.await_arrivals(3, DEADLINE);
    bridge.stop();
    let events = file_events(&inlet.home.path("topics"));
    let traced = events.iter().filter(|event| event["traceparent"] == SENT).count();
    let bare = events.iter().filter(|event| event.get("traceparent").is_none()).count();
    assert_eq!((traced, bare), (2, 1), "{events:?}");
}

/// What stands beside a body travels along, by the way it came.
fn assert_attributes(events: &[serde_json::Value], topic: &str) {
    let has = |event: &serde_json::Value, name: &str| event.get(name).is_some();
    for event in events {
        assert_eq!((&event["intake"], &event["sqsreceivecount"]), (&"queue".into(), &"1".into()));
        assert!(event["sqssenttime"].as_str().unwrap().ends_with('Z') && has(event, "sqsmessageid"));
    }
    let wrapped: Vec<_> = events.iter().filter(|event| has(event, "snsmessageid")).collect();
    assert_eq!(wrapped.len(), events.len() / 3);
    assert!(wrapped.iter().all(|event| event["snstopic"] == topic));
    let named = events.iter().filter(|event| event.get("sqsattrkind") == Some(&"sample".into())).count();
    assert_eq!(named, events.len(), "an envelope holds its attributes inside, and they travel along, too");
}

#[test]
fn the_same_event_by_webhook_and_by_queue_is_one_event() {
    let Some(aws) = Aws::connect("one event by two channels") else { return };
    let queue = aws.queue("twice", &[]);
    let inlet = Inlet::new(aws.endpoint(), &queue.url, "", "");
    let load = events("twice", 40);
    let (by_webhook_first, by_queue_first) = load.split_at(20);
    let bridge = inlet.start();
    let post = |load: &[Delivery]| {
        let mut client = bridge.client();
        load.iter().map(|delivery| delivery.send(&mut client).unwrap().text()).collect::<Vec<_>>()
    };

    let answers = post(by_webhook_first);
    assert!(answers.iter().all(|answer| answer.contains("accepted")), "{answers:?}");
    queue.send(&messages(texts(&load)));
    queue.await_empty(DEADLINE);
    let answers = post(by_queue_first);
    for (answer, delivery) in answers.iter().zip(by_queue_first) {
        assert!(answer.contains("duplicate") && answer.contains(&delivery.id), "{answer}");
    }
    inlet.await_exactly(&load, &queue, DEADLINE);
    let duplicates = bridge.metric("fanbridge_events_total", &["verdict=\"duplicate\""]);
    assert_eq!(duplicates, load.len() as f64, "each once more by the other way");
    bridge.stop();
}

#[test]
fn a_message_of_no_use_becomes_a_dead_letter_and_is_deleted() {
    let Some(aws) = Aws::connect("messages of no use") else { return };
    let queue = aws.queue("useless", &[]);
    let inlet = Inlet::new(aws.endpoint(), &queue.url, "", "");
    let broken = &encodings("{\"type\":\"call.created\"}")[2];
    let useless = ["!!!not base64!!!", "@@@", "null", "[{\"feed\":\"legacy\"}]", &broken[..24], "{\"a\":1}"];
    queue.send(&messages(useless));
    let bridge = inlet.start();
    queue.await_empty(DEADLINE);
    assert_eq!(bridge.metric("fanbridge_events_total", &["verdict=\"quarantined\""]), useless.len() as f64);
    await_until("the dead letters are kept", DEADLINE, || {
        (bridge.metric("fanbridge_dead_letters_kept", &[]) >= useless.len() as f64).then_some(())
    });
    assert_eq!(bridge.metric("fanbridge_dead_letters_kept", &["reason=\"bad_encoding\""]), 1.0);
    bridge.stop();
    assert!(inlet.arrivals().is_empty());
}

/// Has every message come for the so-manieth time.
pub fn received(times: u32) -> Fault {
    Fault::rewrite(move |_, answer| {
        let mut document: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        for message in document["Messages"].as_array_mut().into_iter().flatten() {
            message["Attributes"]["ApproximateReceiveCount"] = times.to_string().into();
        }
        Answer { body: document.to_string().into(), ..answer }
    })
}

#[test]
fn a_message_that_was_received_fifty_times_becomes_a_dead_letter_unread() {
    let Some(aws) = Aws::connect("a message that keeps coming back") else { return };
    let queue = aws.queue("poison", &[]);
    let proxy = Proxy::before(aws.endpoint());
    proxy.always("ReceiveMessage", received(50));
    let inlet = Inlet::new(&proxy.endpoint(), &queue.url, "", "");
    queue.send(&messages(texts(&events("poison", 1))));
    let bridge = inlet.start();
    queue.await_empty(DEADLINE);
    await_until("the dead letter is kept", DEADLINE, || {
        (bridge.metric("fanbridge_dead_letters_kept", &["reason=\"received_often\""]) == 1.0).then_some(())
    });
    bridge.assert_logs("this message keeps coming back from the queue");
    bridge.stop();
    assert!(inlet.arrivals().is_empty());
}

#[test]
fn a_message_that_is_stored_and_cannot_be_deleted_is_no_dead_letter_however_often_it_comes() {
    let Some(aws) = Aws::connect("a message that cannot be deleted") else { return };
    let queue = aws.queue("undeletable", &[]);
    let proxy = Proxy::before(aws.endpoint());
    proxy.always("DeleteMessageBatch", Fault::Refuse(Refusal::DENIED));
    proxy.times(1, "ReceiveMessage", received(40));
    proxy.always("ReceiveMessage", received(60));
    let inlet = Inlet::new(&proxy.endpoint(), &queue.url, "visibility_timeout: 2s", "");
    let load = events("undeletable", 1);
    // In base64 the message's digest is not the event's.
    queue.send(&messages([encodings(&texts(&load)[0])[1].clone()]));
    let bridge = inlet.start();
    await_until("it came back and was known", DEADLINE, || {
        (bridge.metric("fanbridge_events_total", &["verdict=\"duplicate\""]) >= 2.0).then_some(())
    });
    assert_eq!(bridge.metric("fanbridge_events_total", &["verdict=\"quarantined\""]), 0.0);
    proxy.heal();
    inlet.await_exactly(&load, &queue, DEADLINE);
    bridge.stop();
}

#[test]
fn no_body_is_in_the_log_at_any_level() {
    let Some(aws) = Aws::connect("a log of everything") else { return };
    let queue = aws.queue("log", &[]);
    let inlet = Inlet::new(aws.endpoint(), &queue.url, "", "");
    let load = events("marked-body", 5);
    queue.send(&messages(texts(&load)));
    let line = [&AS_TESTER[..], &["FANBRIDGE_LOG=trace"]].concat();
    let bridge = inlet.home.start_under(&line);
    inlet.await_exactly(&load, &queue, DEADLINE);
    let log = bridge.log();
    assert!(log.contains("\"TRACE\""), "everything else is logged");
    assert!(!log.contains("marked-body"), "a part of a body is logged");
    bridge.stop();
}

#[test]
fn a_message_of_no_use_is_left_for_the_queues_own_redrive_if_told_so() {
    let Some(aws) = Aws::connect("a queue's own redrive") else { return };
    let dead = aws.queue("dead", &[]);
    let queue = aws.queue("redriven", &[("RedrivePolicy", &dead.redrive_after(2))]);
    let inlet = Inlet::new(aws.endpoint(), &queue.url, "visibility_timeout: 2s, on_malformed: redrive", "");
    let load = events("redrive", 15);
    queue.send(&messages(texts(&load)));
    queue.send(&messages(["!!!not base64!!!", "null"]));
    let bridge = inlet.start();
    inlet.await_exactly(&load, &queue, DEADLINE);
    let moved = dead.take(2, DEADLINE);
    let bodies: BTreeSet<_> = moved.iter().map(|message| message.body().unwrap()).collect();
    assert_eq!(bodies, BTreeSet::from(["!!!not base64!!!", "null"]));
    assert_eq!(bridge.metric("fanbridge_events_total", &["verdict=\"quarantined\""]), 0.0, "never both");
    assert_eq!(bridge.metric("fanbridge_sqs_messages_left_total", &[]), 4.0, "twice each");
    assert_eq!(bridge.metric("fanbridge_sqs_messages_deleted_total", &[]), load.len() as f64);
    bridge.stop();
}

#[test]
fn a_backlog_takes_few_calls_and_an_idle_queue_one_loop() {
    let Some(aws) = Aws::connect("the number of calls") else { return };
    let queue = aws.queue("backlog", &[]);
    let proxy = Proxy::before(aws.endpoint());
    let load = events("backlog", 3000);
    queue.send(&messages(texts(&load)));
    let inlet = Inlet::new(&proxy.endpoint(), &queue.url, "receivers_max: 4", "");
    let bridge = inlet.start();
    inlet.await_exactly(&load, &queue, DEADLINE);
    // A receive that brought nothing was there for the wait, not for a message.
    let received = proxy.calls("ReceiveMessage");
    let brought = received.iter().filter(|call| {
        call.answer.as_ref().is_some_and(|answer| answer.body.windows(10).any(|text| text == b"\"Messages\""))
    });
    let calls = brought.count() + proxy.count("DeleteMessageBatch");
    let each = calls as f64 / load.len() as f64;
    println!("{calls} calls for {} messages, {each:.3} each", load.len());
    assert!(each <= 0.22, "{each} calls for each message");
    assert_eq!(proxy.count("ChangeMessageVisibilityBatch"), 0);
    let max = bridge.metric("fanbridge_sqs_receivers", &[]);
    assert!(max > 1.0, "the backlog had {max} loops");
    await_until("one loop is left", DEADLINE, || {
        (bridge.metric("fanbridge_sqs_receivers", &[]) == 1.0).then_some(())
    });
    bridge.stop();
}

#[test]
fn a_stop_finishes_what_was_received_and_repeats_nothing() {
    let Some(aws) = Aws::connect("a stop while a queue is read") else { return };
    let queue = aws.queue("stopped", &[]);
    let load = events("stopped", 4000);
    queue.send(&messages(texts(&load)));
    let inlet = Inlet::new(aws.endpoint(), &queue.url, "visibility_timeout: 10m", "");
    let bridge = inlet.start();
    inlet.await_arrivals(200, DEADLINE);
    bridge.stop();
    let (depth, arrived) = (queue.depth(), inlet.arrivals().len());
    assert_eq!(depth.in_flight, 0, "{depth:?} with {arrived} published");
    assert_eq!(depth.visible + arrived, load.len());
    assert!(depth.visible > 0, "it was stopped amid the work");
    let bridge = inlet.start();
    inlet.await_exactly(&load, &queue, DEADLINE);
    bridge.stop();
}

/// How often the service says a message was received, as the event has it.
#[test]
fn the_receive_count_and_a_repeated_receipt_are_kept() {
    let Some(aws) = Aws::connect("receive counts") else { return };
    let queue = aws.queue("counted", &[("VisibilityTimeout", "1")]);
    let load = events("counted", 3);
    queue.send(&messages(texts(&load)));
    for _ in 0..2 {
        await_until("all three are received", DEADLINE, || {
            (queue.receive(Duration::ZERO).len() == 3).then_some(())
        });
    }
    let inlet = Inlet::new(aws.endpoint(), &queue.url, "", "");
    let bridge = inlet.start();
    inlet.await_exactly(&load, &queue, DEADLINE);
    for event in file_events(&inlet.home.path("topics")) {
        let count: u32 = event["sqsreceivecount"].as_str().unwrap().parse().unwrap();
        assert!(count >= 3, "{count}");
    }
    assert!(bridge.metric("fanbridge_sqs_receive_count_sum", &[]) >= 9.0);
    bridge.stop();
}
