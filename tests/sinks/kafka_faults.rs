//! Brokers that fail while records flow: they go down, change leaders, lack replicas, lose answers.
//!
//! librdkafka's mock cluster fails as it is told, and appends what is sent again: it checks no
//! sequence numbers. So here the faults it shows strike whole brokers, never a request between two
//! others, and a repetition in its log is one that a real broker would have recognised.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fanbridge::event::Record;
use fanbridge::sink::kafka::KafkaSink;
use fanbridge::sink::{Publication, Sink};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use crate::kafka_real;
use crate::kafka_setup::{Consuming, sink};
use crate::seen::{Reader, assert_all_accepted, copies_of_all_in_order, record};
use crate::support::bridge::free_port;
use crate::support::gate::Gate;
use crate::support::servers::Broker;

type Cluster = MockCluster<'static, DefaultProducerContext>;

const KEYS: u64 = 5;
/// Records in a batch, and the time from one batch of a flow to the next.
const BATCH: u64 = 20;
const EVERY: Duration = Duration::from_millis(20);
/// Requests that the client has on their way to one broker.
const REQUESTS_MAX: u64 = 5;

fn cluster(brokers: i32) -> (Cluster, String) {
    let cluster = MockCluster::new(brokers).unwrap();
    cluster.create_topic("t", 3, brokers).unwrap();
    let address = cluster.bootstrap_servers();
    (cluster, address)
}

fn batch(topic: &str, positions: Range<u64>) -> Vec<Arc<Record>> {
    positions.map(|position| record(topic, position, Some(&format!("key-{}", position % KEYS)))).collect()
}

/// Publishes batch after batch without waiting for outcomes, until the faults are over; then waits
/// for all of them. How many records that were, each of them accepted at once.
async fn flow(sink: &KafkaSink, topic: &str, faults: impl Future<Output = ()>) -> u64 {
    let mut claims = Vec::new();
    let mut faults = std::pin::pin!(faults);
    loop {
        let first = claims.len() as u64 * BATCH;
        claims.push(sink.publish(batch(topic, first..first + BATCH)));
        if tokio::time::timeout(EVERY, &mut faults).await.is_ok() {
            break;
        }
    }
    let count = claims.len() as u64 * BATCH;
    for claim in claims {
        assert_accepted(claim).await;
    }
    count
}

async fn assert_accepted(claim: Publication) {
    let outcomes = tokio::time::timeout(Duration::from_secs(20), claim).await.expect("outcomes in time");
    assert_all_accepted(&outcomes, BATCH as usize);
}

/// How many copies a topic holds beyond the first of each of so many records, all of them in order.
fn copies(brokers: &str, topic: &str, count: u64) -> u64 {
    let seen = Consuming { brokers: brokers.into() }.read(topic, count as usize);
    let copies = copies_of_all_in_order(&seen, 0..count);
    println!("{count} records and {copies} copies");
    copies
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_comes_and_goes_five_times_a_second_loses_nothing_and_no_order() {
    const FLAPS: u64 = 10;
    let (cluster, brokers) = cluster(1);
    let sink = sink(&brokers, &[]);
    let count = flow(&sink, "t", async {
        for _ in 0..FLAPS {
            tokio::time::sleep(Duration::from_millis(100)).await;
            cluster.broker_down(1).unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
            cluster.broker_up(1).unwrap();
        }
    })
    .await;
    let copies = copies(&brokers, "t", count);
    assert!(copies <= FLAPS * REQUESTS_MAX * BATCH, "{copies} copies, more than was on its way");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_leaders_under_way_and_a_while_without_any_lose_nothing_and_no_order() {
    let (cluster, brokers) = cluster(3);
    // A newer answer names the new leader, and the mock cluster has none to name for a while.
    cluster.apiversion(RDKafkaApiKey::Produce, Some(0), Some(9)).unwrap();
    let lead =
        |leader| (0..3).for_each(|partition| cluster.partition_leader("t", partition, leader).unwrap());
    lead(Some(1));
    let sink = sink(&brokers, &[]);
    let count = flow(&sink, "t", async {
        for leader in [Some(2), Some(3), None, Some(1)] {
            tokio::time::sleep(Duration::from_millis(500)).await;
            lead(leader);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    })
    .await;
    assert_eq!(copies(&brokers, "t", count), 0, "a broker that does not lead appends nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_a_broker_never_sent_repeat_no_more_than_they_were_about() {
    let (cluster, brokers) = cluster(1);
    let sink = sink(&brokers, &[]);
    assert_accepted(sink.publish(batch("t", 0..BATCH))).await;
    cluster.broker_round_trip_time(1, Duration::from_secs(10)).unwrap();
    let claims: Vec<_> =
        (1..5).map(|number| sink.publish(batch("t", number * BATCH..(number + 1) * BATCH))).collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    cluster.broker_down(1).unwrap();
    cluster.broker_round_trip_time(1, Duration::ZERO).unwrap();
    cluster.broker_up(1).unwrap();
    for claim in claims {
        assert_accepted(claim).await;
    }
    let copies = copies(&brokers, "t", 5 * BATCH);
    assert!((1..=4 * BATCH).contains(&copies), "{copies} copies of {} records", 4 * BATCH);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_lost_on_the_way_from_a_real_broker_repeat_nothing() {
    let (listener, port) = (free_port(), free_port());
    let settings = vec![("KAFKA_EXTRA_LISTENERS", format!("GATED:PLAINTEXT:{listener}:{port}"))];
    let Some(broker) = Broker::start_with("answers that are lost", settings) else { return };
    let gate = Gate::new(port, listener);
    let topic = kafka_real::Cluster::new(&broker.address, "lost-answers").create("t", &[]).await;
    let sink = sink(&format!("localhost:{port}"), &[]);
    let count = flow(&sink, &topic, async {
        for _ in 0..8 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            gate.hold_answers();
            tokio::time::sleep(Duration::from_millis(100)).await;
            gate.cut();
        }
    })
    .await;
    assert!(gate.cut_off() > 0, "every answer came through");
    assert_eq!(copies(&broker.address, &topic, count), 0, "the broker knows what it has");
}

/// One request for each partition at a time: the mock cluster would take one behind another that it
/// refuses, which no broker does.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_short_of_replicas_takes_nothing_for_a_while_and_then_everything_in_order() {
    use RDKafkaRespErr::{
        RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS as TOO_FEW,
        RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND as FEWER_SINCE,
        RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT as TIMED_OUT,
    };
    let (cluster, brokers) = cluster(1);
    let sink = sink(&brokers, &[("linger.ms", "50")]);
    assert_accepted(sink.publish(batch("t", 0..BATCH))).await;
    for (number, error) in (1..).zip([TOO_FEW, FEWER_SINCE, TIMED_OUT]) {
        cluster.request_errors(RDKafkaApiKey::Produce, &[error; 200]);
        let mut claim = sink.publish(batch("t", number * BATCH..(number + 1) * BATCH));
        let early = tokio::time::timeout(Duration::from_millis(700), &mut claim).await;
        assert!(early.is_err(), "reported before anything was taken: {early:?}");
        cluster.clear_request_errors(RDKafkaApiKey::Produce);
        let healed = Instant::now();
        assert_accepted(claim).await;
        assert!(healed.elapsed() < Duration::from_secs(2), "{:?}", healed.elapsed());
    }
    assert_eq!(copies(&brokers, "t", 4 * BATCH), 0);
}
