//! Each fault of the proxy, between a client and the emulator: what the client is told, and what
//! the service has done.

use std::time::{Duration, Instant, SystemTime};

use aws_sdk_sns::error::ProvideErrorMetadata as _;
use aws_sdk_sns::types::PublishBatchRequestEntry;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::error::SdkError;
use aws_sdk_sqs::types::DeleteMessageBatchRequestEntry;

use crate::support::aws::queue::Queue;
use crate::support::aws::{self, Aws, messages};
use crate::support::proxy::call::{Answer, Entry, Refusal};
use crate::support::proxy::{ANY, Fault, Proxy};

const DEADLINE: Duration = Duration::from_secs(20);

/// The emulator, a proxy before it, and clients of both.
struct Scene {
    service: Aws,
    proxy: Proxy,
    bridge: Aws,
}

impl Scene {
    fn new(what: &str) -> Option<Self> {
        let service = Aws::connect(what)?;
        let proxy = Proxy::before(service.endpoint());
        let bridge = Aws::at(&proxy.endpoint());
        Some(Self { service, proxy, bridge })
    }

    /// Sends one message through the proxy; the code of the error, if there is one.
    fn send(&self, queue: &Queue) -> Result<(), String> {
        let request = self.bridge.sqs.send_message().queue_url(&queue.url).message_body("hello");
        aws::wait(request.send()).map(drop).map_err(|error| match error {
            SdkError::DispatchFailure(_) => "no answer".into(),
            error => error.code().unwrap_or("no code").to_owned(),
        })
    }
}

#[test]
fn every_call_of_a_client_comes_by_though_the_queues_url_names_the_service() {
    let Some(scene) = Scene::new("a proxy that only looks") else { return };
    let before = SystemTime::now();
    let queue = scene.bridge.queue("inbox", &[]);
    assert!(queue.url.starts_with(scene.service.endpoint()), "{}", queue.url);
    queue.send(&messages(["one", "two"]));
    let received = queue.receive(Duration::from_secs(1));
    queue.delete(&received);
    assert_eq!(queue.depth().total(), 0);
    let topic = scene.bridge.topic("lake", &[]);
    topic.publish(&messages(["three"]));

    let calls = scene.proxy.calls(ANY);
    let actions: Vec<&str> = calls.iter().map(|call| call.action.as_str()).collect();
    assert_eq!(
        actions,
        [
            "CreateQueue",
            "GetQueueAttributes",
            "SendMessageBatch",
            "ReceiveMessage",
            "DeleteMessageBatch",
            "GetQueueAttributes",
            "CreateTopic",
            "PublishBatch"
        ]
    );
    assert!(calls.is_sorted_by_key(|call| call.at) && before <= calls[0].at);
    assert!(calls.iter().all(|call| call.answer.as_ref().unwrap().status == 200));
    let (came, deleted, published) = (&calls[3], &calls[4], &calls[7]);
    let receipts = |entries: &[Entry]| -> Vec<String> {
        entries.iter().map(|entry| entry.field("ReceiptHandle").to_owned()).collect()
    };
    let expected: Vec<_> = received.iter().map(|message| message.receipt_handle().unwrap()).collect();
    assert_eq!(receipts(&came.received()), expected);
    assert_eq!(receipts(&deleted.entries), expected);
    assert_eq!(deleted.resource, queue.url);
    assert_eq!(published.resource, topic.arn);
    assert_eq!(published.entries[0].field("Message"), "three");
}

#[test]
fn a_refused_call_carries_the_code_and_changes_nothing() {
    let Some(scene) = Scene::new("refusals") else { return };
    let (queue, topic) = (scene.service.queue("inbox", &[]), scene.service.topic("lake", &[]));
    for refusal in [
        Refusal::THROTTLED,
        Refusal::QUEUE_THROTTLED,
        Refusal::INTERNAL,
        Refusal::UNAVAILABLE,
        Refusal::EXPIRED,
        Refusal::DENIED,
    ] {
        scene.proxy.times(2, ANY, Fault::Refuse(refusal));
        assert_eq!(scene.send(&queue), Err(refusal.code.into()));
        let published = scene.bridge.sns.publish().topic_arn(&topic.arn).message("hello").send();
        let error = aws::wait(published).unwrap_err();
        assert_eq!(error.code(), Some(refusal.code));
        assert_eq!(error.raw_response().unwrap().status().as_u16(), refusal.status);
    }
    assert_eq!(queue.depth().total(), 0);
    assert_eq!(scene.send(&queue), Ok(()), "the rules are used up");
    assert_eq!(queue.depth().visible, 1);
}

#[test]
fn a_rule_concerns_its_action_and_its_turn_only() {
    let Some(scene) = Scene::new("rules") else { return };
    let queue = scene.service.queue("inbox", &[]);
    scene.proxy.always("ReceiveMessage", Fault::CutBefore);
    scene.proxy.every(3, "SendMessage", Fault::Refuse(Refusal::INTERNAL));
    let sent: Vec<bool> = (0..7).map(|_| scene.send(&queue).is_ok()).collect();
    assert_eq!(sent, [true, true, false, true, true, false, true]);
    scene.proxy.heal();
    assert!((0..3).all(|_| scene.send(&queue).is_ok()));
    assert_eq!(queue.depth().visible, 8);
    assert_eq!(scene.proxy.await_calls("SendMessage", 10, DEADLINE).len(), 10);
}

#[test]
fn a_cut_connection_leaves_no_answer_whether_the_service_has_done_it_or_not() {
    let Some(scene) = Scene::new("cut connections") else { return };
    let queue = scene.service.queue("inbox", &[]);
    scene.proxy.times(1, "SendMessage", Fault::CutBefore);
    assert_eq!(scene.send(&queue), Err("no answer".into()));
    assert_eq!(queue.depth().visible, 0);
    scene.proxy.times(1, "SendMessage", Fault::CutAfter);
    assert_eq!(scene.send(&queue), Err("no answer".into()));
    assert_eq!(queue.depth().visible, 1);
    assert!(scene.proxy.calls("SendMessage").iter().all(|call| call.answer.is_none()));
    assert_eq!(scene.send(&queue), Ok(()));
}

#[test]
fn a_held_call_reaches_the_service_late_and_a_held_answer_leaves_it_late() {
    let Some(scene) = Scene::new("held calls") else { return };
    let queue = scene.service.queue("inbox", &[]);
    let hold = Duration::from_millis(300);
    for fault in [Fault::HoldCall(hold), Fault::HoldAnswer(hold)] {
        scene.proxy.times(1, "SendMessage", fault);
        let start = Instant::now();
        assert_eq!(scene.send(&queue), Ok(()));
        assert!(start.elapsed() >= hold, "{:?}", start.elapsed());
    }
    assert_eq!(queue.depth().visible, 2);
}

#[test]
fn a_client_that_gives_up_a_held_call_has_sent_nothing_and_a_held_answer_something() {
    let Some(scene) = Scene::new("clients that give up") else { return };
    let queue = scene.service.queue("inbox", &[]);
    let hold = Duration::from_secs(2);
    let patience = TimeoutConfig::builder().operation_timeout(hold / 4).build();
    let give_up = |fault| {
        scene.proxy.times(1, "SendMessage", fault);
        let request = scene.bridge.sqs.send_message().queue_url(&queue.url).message_body("hello");
        let request = request
            .customize()
            .config_override(aws_sdk_sqs::Config::builder().timeout_config(patience.clone()));
        let error = aws::wait(request.send()).unwrap_err();
        assert!(matches!(error, SdkError::TimeoutError(_)), "{error:?}");
    };
    give_up(Fault::HoldAnswer(hold));
    assert_eq!(queue.depth().visible, 1);
    let start = Instant::now();
    give_up(Fault::HoldCall(hold));
    // That nothing comes is seen only once it would have come.
    std::thread::sleep((hold + hold / 4).saturating_sub(start.elapsed()));
    assert_eq!(queue.depth().visible, 1);
}

#[test]
fn chosen_entries_of_a_batch_fail_and_the_service_does_the_rest() {
    let Some(scene) = Scene::new("batches that fail in part") else { return };
    let (topic, queue) = (scene.service.topic("lake", &[]), scene.service.queue("inbox", &[]));
    topic.subscribe(&queue, &[("RawMessageDelivery", "true")]);
    let fault = Fault::fail_entries(|entry| entry.field("Message").contains('b'), Refusal::INTERNAL);
    scene.proxy.times(2, "PublishBatch", fault);
    let outcome = scene.publish(&topic.arn, &["a1", "b1", "a2", "b2"]);
    assert_eq!(outcome, ["0 done", "2 done", "1 InternalError false", "3 InternalError false"]);
    assert_eq!(scene.publish(&topic.arn, &["b3"]), ["0 InternalError false"]);
    let mut received: Vec<_> =
        queue.take(2, DEADLINE).into_iter().map(|message| message.body.unwrap()).collect();
    received.sort_unstable();
    assert_eq!(received, ["a1", "a2"]);

    queue.send(&messages(["x", "y", "z"]));
    let fault = Fault::fail_entries(|entry| entry.id != "1", Refusal::THROTTLED);
    scene.proxy.times(1, "DeleteMessageBatch", fault);
    assert_eq!(
        scene.delete_all(&queue),
        ["1 done", "0 ThrottlingException true", "2 ThrottlingException true"]
    );
    assert_eq!(queue.depth().in_flight, 2);
}

#[test]
fn disowned_entries_are_done_and_said_to_have_failed() {
    let Some(scene) = Scene::new("outcomes that are wrong") else { return };
    let (topic, queue) = (scene.service.topic("lake", &[]), scene.service.queue("inbox", &[]));
    topic.subscribe(&queue, &[("RawMessageDelivery", "true")]);
    let fault = || Fault::disown_entries(|entry| entry.id == "1", Refusal::INVALID);
    scene.proxy.times(1, "PublishBatch", fault());
    assert_eq!(scene.publish(&topic.arn, &["a", "b"]), ["0 done", "1 InvalidParameter true"]);
    assert_eq!(queue.take(2, DEADLINE).len(), 2);

    queue.send(&messages(["x", "y"]));
    scene.proxy.times(1, "DeleteMessageBatch", fault());
    assert_eq!(scene.delete_all(&queue), ["0 done", "1 InvalidParameter true"]);
    assert_eq!(queue.depth().total(), 0);
}

#[test]
fn an_answer_may_be_made_up_or_made_over() {
    let Some(scene) = Scene::new("answers that are wrong") else { return };
    let queue = scene.service.queue("inbox", &[]);
    scene.proxy.times(1, "SendMessage", Fault::Answer(Answer::new(200, "{\"MessageId\":")));
    assert_eq!(scene.send(&queue), Err("no code".into()));
    assert_eq!(queue.depth().visible, 0);
    let cut_short = Fault::rewrite(|_, answer| Answer { body: answer.body.slice(..10), ..answer });
    scene.proxy.times(1, "SendMessage", cut_short);
    assert_eq!(scene.send(&queue), Err("no code".into()));
    assert_eq!(queue.depth().visible, 1);
}

impl Scene {
    /// Publishes one batch through the proxy: `<id> done` or `<id> <code> <sender's fault>`.
    fn publish(&self, topic: &str, bodies: &[&str]) -> Vec<String> {
        let entries = bodies.iter().enumerate().map(|(number, body)| {
            PublishBatchRequestEntry::builder().id(number.to_string()).message(*body).build().unwrap()
        });
        let request = self.bridge.sns.publish_batch().topic_arn(topic);
        let outcome =
            aws::wait(request.set_publish_batch_request_entries(Some(entries.collect())).send()).unwrap();
        let done = outcome.successful().iter().map(|entry| format!("{} done", entry.id().unwrap()));
        let failed = outcome.failed().iter();
        let failed = failed.map(|entry| format!("{} {} {}", entry.id(), entry.code(), entry.sender_fault()));
        done.chain(failed).collect()
    }

    /// Receives what is there and deletes it through the proxy; the outcome in the same words.
    fn delete_all(&self, queue: &Queue) -> Vec<String> {
        let received = queue.receive(Duration::from_secs(1));
        let entries = received.iter().enumerate().map(|(number, message)| {
            let entry = DeleteMessageBatchRequestEntry::builder().id(number.to_string());
            entry.receipt_handle(message.receipt_handle().unwrap()).build().unwrap()
        });
        let request = self.bridge.sqs.delete_message_batch().queue_url(&queue.url);
        let outcome = aws::wait(request.set_entries(Some(entries.collect())).send()).unwrap();
        let done = outcome.successful().iter().map(|entry| format!("{} done", entry.id()));
        let failed = outcome.failed().iter();
        let failed = failed.map(|entry| format!("{} {} {}", entry.id(), entry.code(), entry.sender_fault()));
        done.chain(failed).collect()
    }
}
