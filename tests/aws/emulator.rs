//! The emulator by itself: what the other tests take for granted of SQS and SNS.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use aws_sdk_sqs::types::{Message as Received, MessageSystemAttributeName};

use crate::support::await_until;
use crate::support::aws::queue::Depth;
use crate::support::aws::topic::Subscription;
use crate::support::aws::{self, Aws, Message, messages};

const DEADLINE: Duration = Duration::from_secs(20);
const NO_WAIT: Duration = Duration::ZERO;

fn bodies(received: &[Received]) -> Vec<&str> {
    received.iter().map(|message| message.body().unwrap()).collect()
}

#[test]
fn a_message_is_in_flight_once_received_and_gone_once_deleted() {
    let Some(aws) = Aws::connect("sending, receiving and deleting in batches") else { return };
    let queue = aws.queue("inbox", &[]);
    let sent: Vec<_> =
        (0..25).map(|number| Message::new(format!("body-{number}")).with("kind", "call")).collect();
    queue.send(&sent);
    assert_eq!(queue.depth(), Depth { visible: 25, in_flight: 0, delayed: 0 });

    let received = queue.receive(NO_WAIT);
    assert_eq!(received.len(), aws::BATCH_ENTRIES_MAX);
    assert_eq!(queue.depth(), Depth { visible: 15, in_flight: 10, delayed: 0 });
    let first = &received[0];
    assert_eq!(first.message_attributes().unwrap()["kind"].string_value(), Some("call"));
    let attributes = first.attributes().unwrap();
    assert_eq!(attributes[&MessageSystemAttributeName::ApproximateReceiveCount], "1");
    assert!(attributes.contains_key(&MessageSystemAttributeName::SentTimestamp));

    queue.delete(&received);
    assert_eq!(queue.depth(), Depth { visible: 15, in_flight: 0, delayed: 0 });
    let rest = queue.take(15, DEADLINE);
    let mut all = [bodies(&received), bodies(&rest)].concat();
    all.sort_unstable();
    let mut expected: Vec<_> = sent.iter().map(|message| message.body.as_str()).collect();
    expected.sort_unstable();
    assert_eq!(all, expected);
    queue.await_empty(DEADLINE);
}

#[test]
fn a_waiting_receive_is_woken_by_a_message() {
    let Some(aws) = Aws::connect("a long poll") else { return };
    let queue = aws.queue("inbox", &[]);
    let start = Instant::now();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| queue.receive(Duration::from_secs(20)));
        queue.send(&messages(["late"]));
        assert_eq!(bodies(&waiting.join().unwrap()), ["late"]);
    });
    assert!(start.elapsed() < Duration::from_secs(10), "after {:?}", start.elapsed());
}

#[test]
fn a_message_that_is_never_deleted_comes_again_and_ends_among_the_dead_letters() {
    let Some(aws) = Aws::connect("visibility and redrive") else { return };
    let dead = aws.queue("dead", &[]);
    let redrive = dead.redrive_after(2);
    let queue = aws.queue("inbox", &[("VisibilityTimeout", "1"), ("RedrivePolicy", &redrive)]);
    queue.send(&messages(["poison"]));
    for count in ["1", "2"] {
        let received = queue.receive(Duration::from_secs(5));
        assert_eq!(bodies(&received), ["poison"]);
        let attributes = received[0].attributes().unwrap();
        assert_eq!(attributes[&MessageSystemAttributeName::ApproximateReceiveCount], count);
    }
    await_until("the message is a dead letter", DEADLINE, || {
        assert!(queue.receive(NO_WAIT).is_empty(), "received a third time");
        (dead.depth().visible == 1).then_some(())
    });
    assert_eq!(queue.depth().total(), 0);
}

#[test]
fn a_message_whose_visibility_is_put_off_stays_away() {
    let Some(aws) = Aws::connect("putting visibility off") else { return };
    let queue = aws.queue("inbox", &[("VisibilityTimeout", "1")]);
    queue.send(&messages(["put off", "left alone"]));
    let received = queue.receive(NO_WAIT);
    assert_eq!(received.len(), 2);
    let put_off = received.iter().find(|message| message.body() == Some("put off")).unwrap();
    let request = aws.sqs.change_message_visibility().queue_url(&queue.url).visibility_timeout(60);
    aws::wait(request.receipt_handle(put_off.receipt_handle().unwrap()).send()).unwrap();
    assert_eq!(bodies(&queue.receive(Duration::from_secs(5))), ["left alone"]);
    assert_eq!(queue.depth(), Depth { visible: 0, in_flight: 2, delayed: 0 });
}

#[test]
fn a_fifo_queue_keeps_the_order_of_each_group_and_takes_a_repetition_once() {
    let Some(aws) = Aws::connect("a FIFO queue") else { return };
    let queue = aws.queue("inbox.fifo", &[]);
    let sent: Vec<_> = (0..20)
        .map(|number| Message::new(number.to_string()).in_group(["a", "b"][number % 2], &number.to_string()))
        .collect();
    queue.send(&sent);
    queue.send(&sent[..5]);
    let received = queue.take(20, DEADLINE);
    assert_eq!(received.len(), 20);
    for (group, order) in by_group(&received) {
        assert!(order.is_sorted(), "{group}: {order:?}");
        assert_eq!(order.len(), 10);
    }
    assert_eq!(queue.depth().total(), 0);
}

#[test]
fn a_topic_tells_its_queues_raw_or_in_an_envelope_what_their_filters_let_through() {
    let Some(aws) = Aws::connect("a topic with queues") else { return };
    let topic = aws.topic("lake", &[]);
    let (raw, wrapped) = (aws.queue("raw", &[]), aws.queue("wrapped", &[]));
    topic.subscribe(&raw, &[("RawMessageDelivery", "true"), ("FilterPolicy", r#"{"family":["calls"]}"#)]);
    topic.subscribe(&wrapped, &[]);
    topic.publish(&[
        Message::new("ring").with("family", "calls"),
        Message::new("post").with("family", "feeds"),
        Message::new("none"),
    ]);

    let received = raw.take(1, DEADLINE);
    assert_eq!(bodies(&received), ["ring"]);
    assert_eq!(received[0].message_attributes().unwrap()["family"].string_value(), Some("calls"));
    let received = wrapped.take(3, DEADLINE);
    let mut told: Vec<String> = Vec::new();
    for body in bodies(&received) {
        let envelope: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(envelope["Type"], "Notification");
        assert_eq!(envelope["TopicArn"], topic.arn);
        told.push(envelope["Message"].as_str().unwrap().to_owned());
    }
    told.sort_unstable();
    assert_eq!(told, ["none", "post", "ring"]);
    assert_eq!(raw.depth().total(), 0);
}

#[test]
fn a_fifo_topic_passes_groups_on_in_order_and_numbered() {
    let Some(aws) = Aws::connect("a FIFO topic") else { return };
    let (topic, queue) = (aws.topic("lake.fifo", &[]), aws.queue("inbox.fifo", &[]));
    topic.subscribe(&queue, &[("RawMessageDelivery", "true")]);
    let published: Vec<_> = (0..20)
        .map(|number| Message::new(number.to_string()).in_group(["a", "b"][number % 2], &number.to_string()))
        .collect();
    topic.publish(&published);
    topic.publish(&published[..5]);
    let received = queue.take(20, DEADLINE);
    assert_eq!(received.len(), 20);
    for (group, order) in by_group(&received) {
        assert!(order.is_sorted(), "{group}: {order:?}");
    }
    let numbered = |message: &Received| {
        message.attributes().unwrap().contains_key(&MessageSystemAttributeName::SequenceNumber)
    };
    assert!(received.iter().all(numbered));
    assert_eq!(queue.depth().total(), 0);
}

#[test]
fn a_topic_that_is_there_is_created_again_without_a_word() {
    let Some(aws) = Aws::connect("creating a topic twice") else { return };
    let topic = aws.topic("lake.fifo", &[("ContentBasedDeduplication", "false")]);
    let name = topic.arn.rsplit(':').next().unwrap().to_owned();
    let request = aws.sns.create_topic().name(name).attributes("FifoTopic", "true");
    let again = aws::wait(request.attributes("ContentBasedDeduplication", "false").send()).unwrap();
    assert_eq!(again.topic_arn(), Some(topic.arn.as_str()));
}

#[test]
fn a_subscriber_that_is_no_queue_waits_until_it_is_confirmed() {
    let Some(aws) = Aws::connect("subscriptions") else { return };
    let (topic, queue) = (aws.topic("lake", &[]), aws.queue("inbox", &[]));
    topic.subscribe(&queue, &[]);
    // Nobody listens there: it never confirms.
    topic.subscribe_endpoint("http", "http://127.0.0.1:1/in/lake", &[]);
    let mut subscriptions = topic.subscriptions();
    subscriptions.sort_by(|a, b| a.protocol.cmp(&b.protocol));
    let subscription = |protocol: &str, endpoint: &str, confirmed| Subscription {
        protocol: protocol.into(),
        endpoint: endpoint.into(),
        confirmed,
    };
    assert_eq!(
        subscriptions,
        [subscription("http", "http://127.0.0.1:1/in/lake", false), subscription("sqs", &queue.arn, true)]
    );
}

/// The numbers in the bodies, in the order in which they came, by message group.
fn by_group(received: &[Received]) -> BTreeMap<&str, Vec<u32>> {
    let mut groups: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    for message in received {
        let group = &message.attributes().unwrap()[&MessageSystemAttributeName::MessageGroupId];
        groups.entry(group).or_default().push(message.body().unwrap().parse().unwrap());
    }
    groups
}
