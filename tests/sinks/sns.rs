//! The SNS sink against the emulator of SQS and SNS: what a subscribed queue gets.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fanbridge::aws::Aws as SetUp;
use fanbridge::aws::AwsOptions;
use fanbridge::event::Record;
use fanbridge::sink::sns::{SnsSink, SnsSinkOptions};
use fanbridge::sink::{CarriedAttributes, Outcome, Sink};
use serde_json::Value;

use crate::contract;
use crate::seen::{Reader, Seen, assert_all_accepted, large_record, record};
use crate::support::aws::queue::Queue;
use crate::support::aws::topic::Topic;
use crate::support::aws::{Aws, REGION};
use crate::support::proxy::Proxy;
use crate::support::published::published;
use crate::support::servers::skip;

const DEADLINE: Duration = Duration::from_secs(30);

/// Topics, each with a queue that gets what is published, as it was published.
struct Subscribed {
    aws: Aws,
    proxy: Proxy,
    queues: Mutex<BTreeMap<String, (Topic, Queue)>>,
}

/// The same topics as the service sees them: the queue of a standard topic has no order.
struct Asked<'a>(&'a Subscribed);

impl Subscribed {
    /// The emulator, if there is one and the sink has credentials for it.
    fn connect(test: &str) -> Option<Self> {
        let aws = Aws::connect(test)?;
        if std::env::var_os("AWS_ACCESS_KEY_ID").is_none() {
            skip(test, "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set; the emulator takes any");
            return None;
        }
        let proxy = Proxy::before(aws.endpoint());
        Some(Self { aws, proxy, queues: Mutex::default() })
    }

    /// A new topic's ARN.
    fn topic(&self, name: &str) -> String {
        let (topic, queue) = (self.aws.topic(name, &[]), self.aws.queue(name, &[]));
        topic.subscribe(&queue, &[("RawMessageDelivery", "true")]);
        let arn = topic.arn.clone();
        self.queues.lock().unwrap().insert(arn.clone(), (topic, queue));
        arn
    }

    async fn sink(&self) -> SnsSink {
        let set_up = AwsOptions { endpoint: Some(self.proxy.endpoint()), ..AwsOptions::default() };
        let config =
            SnsSinkOptions { region: Some(REGION.into()), requests_max: 16, message_bytes_max: 256 << 10 };
        SnsSink::new("billing", &config, &CarriedAttributes::default(), &SetUp::new(set_up)).await
    }
}

impl Reader for Subscribed {
    fn read(&self, topic: &str, count: usize) -> Vec<Seen> {
        let queues = self.queues.lock().unwrap();
        let (_, queue) = &queues[topic];
        queue.take(count, DEADLINE).iter().map(|message| Seen::structured(message.body().unwrap())).collect()
    }
}

impl Reader for Asked<'_> {
    fn read(&self, topic: &str, count: usize) -> Vec<Seen> {
        let taken = published(&self.0.proxy, topic);
        assert!(taken.len() >= count, "{} of {count}", taken.len());
        taken.iter().map(|entry| Seen::structured(entry.field("Message"))).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sns_sink_keeps_the_contract() {
    let Some(topics) = Subscribed::connect("the SNS sink's contract") else { return };
    let (sink, asked) = (topics.sink().await, Asked(&topics));
    contract::an_empty_batch_has_no_outcomes(&sink).await;
    let topic = topics.topic("order");
    contract::a_keys_records_keep_their_order_across_pipelined_batches(&sink, &asked, &topic).await;
    let topic = topics.topic("bytes");
    contract::a_body_and_its_attributes_arrive_as_they_left(&sink, &topics, &topic).await;
    contract::a_record_without_a_key_stays_without(&sink, &topics, &topics.topic("keyless")).await;
    let topic = topics.topic("refused");
    let refused = large_record(&topic, 99, "key", 256 << 10);
    contract::a_refused_record_is_rejected_and_its_neighbours_are_accepted(
        &sink,
        &asked,
        &topic,
        refused,
        "too_large",
    )
    .await;
    contract::a_dropped_publication_withdraws_nothing(&sink, &asked, &topics.topic("dropped")).await;
    let topic = topics.topic("counted");
    contract::what_is_settled_is_counted_and_known_while_nobody_waits_for_it(&sink, &topic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fifo_topics_queue_gets_what_the_contract_promises() {
    let Some(topics) = Subscribed::connect("the SNS sink's contract for FIFO topics") else { return };
    let sink = topics.sink().await;
    let topic = topics.topic("order.fifo");
    contract::a_keys_records_keep_their_order_across_pipelined_batches(&sink, &topics, &topic).await;
    let topic = topics.topic("bytes.fifo");
    contract::a_body_and_its_attributes_arrive_as_they_left(&sink, &topics, &topic).await;
    contract::a_record_without_a_key_stays_without(&sink, &topics, &topics.topic("keyless.fifo")).await;
    let topic = topics.topic("refused.fifo");
    let refused = large_record(&topic, 99, "key", 256 << 10);
    contract::a_refused_record_is_rejected_and_its_neighbours_are_accepted(
        &sink,
        &topics,
        &topic,
        refused,
        "too_large",
    )
    .await;
    contract::a_dropped_publication_withdraws_nothing(&sink, &topics, &topics.topic("dropped.fifo")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_carries_the_attributes_that_subscribers_filter_by() {
    let Some(topics) = Subscribed::connect("the attributes of SNS messages") else { return };
    let topic = topics.topic("attributes");
    assert_all_accepted(&topics.sink().await.publish(vec![record(&topic, 1, Some("key"))]).await, 1);
    let queues = topics.queues.lock().unwrap();
    let message = queues[&topic].1.take(1, DEADLINE).remove(0);
    let attributes = message.message_attributes().unwrap();
    let expected = [
        ("type", "call.ring"),
        ("source", "/stream/default"),
        ("family", "video"),
        ("provider", "stream"),
        ("id", "id-1"),
    ];
    for (name, value) in expected {
        assert_eq!(attributes[name].string_value(), Some(value), "{name}");
        assert_eq!(attributes[name].data_type(), "String", "{name}");
    }
    assert_eq!(attributes.len(), expected.len(), "{attributes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_message_is_reported_with_the_id_that_the_service_gave_it() {
    const RECORDS: usize = 12;
    let Some(topics) = Subscribed::connect("the ids of SNS messages") else { return };
    let (topic, queue) = (topics.aws.topic("placed", &[]), topics.aws.queue("placed", &[]));
    // A message that is not delivered raw says its id.
    topic.subscribe(&queue, &[]);
    let records: Vec<_> = (0..RECORDS as u64).map(|position| record(&topic.arn, position, None)).collect();
    let outcomes = topics.sink().await.publish(records.clone()).await;
    let place = |(record, outcome): (&Arc<Record>, Outcome)| match outcome {
        Outcome::Accepted(placement) => (placement.to_string(), record.position.0),
        other => panic!("{other:?}"),
    };
    let placed: BTreeMap<_, _> = records.iter().zip(outcomes).map(place).collect();
    let delivered = |body: &str| {
        let message: BTreeMap<String, Value> = serde_json::from_str(body).unwrap();
        let text = |name: &str| message[name].as_str().unwrap().to_owned();
        (text("MessageId"), Seen::structured(&text("Message")).sequence())
    };
    let messages = queue.take(RECORDS, DEADLINE);
    let found: BTreeMap<_, _> = messages.iter().map(|message| delivered(message.body().unwrap())).collect();
    assert_eq!((placed.len(), placed), (RECORDS, found));
}
