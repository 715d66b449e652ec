//! The Kafka sink against librdkafka's mock cluster, which can fail in ways a real broker seldom
//! does. It checks no sequence numbers and no sizes, so it is no witness for loss or order.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fanbridge::event::{Placement, Record};
use fanbridge::sink::{CarriedAttributes, Cause, Outcome, Sink};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use crate::contract;
use crate::kafka_setup::{Consuming, sink};
use crate::seen::{
    Reader, Seen, assert_all_accepted, assert_put_off, large_record, publish_until_settled, record,
};

type Cluster = MockCluster<'static, DefaultProducerContext>;

fn cluster(topics: &[&str]) -> (Cluster, String) {
    let cluster = MockCluster::new(1).unwrap();
    for topic in topics {
        cluster.create_topic(topic, 3, 1).unwrap();
    }
    let brokers = cluster.bootstrap_servers();
    (cluster, brokers)
}

fn batch(topic: &str, positions: std::ops::Range<u64>) -> Vec<Arc<Record>> {
    positions.map(|position| record(topic, position, Some("key"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kafka_sink_keeps_the_contract_on_a_mock_cluster() {
    let (_cluster, brokers) = cluster(&["order", "bytes", "keyless", "refused", "flush", "dropped"]);
    let sink = sink(&brokers, &[]);
    let reader = Consuming { brokers };
    contract::an_empty_batch_has_no_outcomes(&sink).await;
    contract::a_keys_records_keep_their_order_across_pipelined_batches(&sink, &reader, "order").await;
    contract::a_body_and_its_attributes_arrive_as_they_left(&sink, &reader, "bytes").await;
    contract::a_record_without_a_key_stays_without(&sink, &reader, "keyless").await;
    let refused = large_record("refused", 99, "key", 20 << 20);
    contract::a_refused_record_is_rejected_and_its_neighbours_are_accepted(
        &sink,
        &reader,
        "refused",
        refused,
        "too_large",
    )
    .await;
    contract::a_dropped_publication_withdraws_nothing(&sink, &reader, "dropped").await;
    contract::what_is_settled_is_counted_and_known_while_nobody_waits_for_it(&sink, "keyless").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_structured_sink_writes_one_document_with_the_body_verbatim() {
    let (_cluster, brokers) = cluster(&["t"]);
    let config = fanbridge::sink::kafka::KafkaOptions {
        brokers: brokers.clone(),
        properties: Vec::new(),
        token: None,
        structured: true,
    };
    let sink =
        fanbridge::sink::kafka::KafkaSink::new("lake", &config, &CarriedAttributes::default()).unwrap();
    let sent = record("t", 1, Some("key"));
    let body = sent.event.body.clone();
    assert_all_accepted(&sink.publish(vec![sent]).await, 1);
    let seen = Consuming { brokers }.read("t", 1).remove(0);
    assert_eq!(seen.attributes["content-type"], "application/cloudevents+json; charset=UTF-8");
    assert_eq!(seen.attributes.len(), 1);
    let tail = [br#""data":"#.as_slice(), &body, b"}"].concat();
    assert!(seen.body.ends_with(&tail), "{:?}", seen.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_accepts_nothing_and_ends_within_two_seconds_of_the_broker() {
    let (cluster, brokers) = cluster(&["t"]);
    let sink = sink(&brokers, &[]);
    assert_all_accepted(&sink.publish(batch("t", 0..1)).await, 1);
    cluster.broker_down(1).unwrap();
    let mut claim = sink.publish(batch("t", 1..4));
    let early = tokio::time::timeout(Duration::from_secs(3), &mut claim).await;
    assert!(early.is_err(), "reported during the outage: {early:?}");
    cluster.broker_up(1).unwrap();
    let up = Instant::now();
    assert_all_accepted(&claim.await, 3);
    assert!(up.elapsed() < Duration::from_secs(2), "{:?}", up.elapsed());
    let sequences: Vec<_> = Consuming { brokers }.read("t", 4).iter().map(Seen::sequence).collect();
    assert_eq!(sequences, [0, 1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fatal_producer_error_replaces_the_producer_within_two_seconds() {
    let (cluster, brokers) = cluster(&["t"]);
    let sink = sink(&brokers, &[]);
    assert_all_accepted(&sink.publish(batch("t", 0..1)).await, 1);
    // Not caused by a lost answer, so librdkafka cannot vouch for the sequence any more.
    let errors = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER];
    cluster.request_errors(RDKafkaApiKey::Produce, &errors);
    let failed = Instant::now();
    assert_put_off(&sink.publish(batch("t", 1..4)).await, "producer_fatal");
    let (outcomes, _) = publish_until_settled(&sink, batch("t", 1..4)).await;
    assert_all_accepted(&outcomes, 3);
    assert!(failed.elapsed() < Duration::from_secs(2), "{:?}", failed.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_a_broker_had_already_is_accepted_without_an_offset() {
    let (cluster, brokers) = cluster(&["t"]);
    let sink = sink(&brokers, &[]);
    let placements = |outcomes: Vec<Outcome>| -> Vec<Placement> {
        let placement = |outcome| match outcome {
            Outcome::Accepted(placement) => placement,
            other => panic!("{other:?}"),
        };
        outcomes.into_iter().map(placement).collect()
    };
    let first = placements(sink.publish(batch("t", 0..1)).await);
    assert!(matches!(first[..], [Placement::Offset { .. }]), "{first:?}");
    let errors = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_DUPLICATE_SEQUENCE_NUMBER];
    cluster.request_errors(RDKafkaApiKey::Produce, &errors);
    assert_eq!(placements(sink.publish(batch("t", 1..2)).await), [Placement::Unstated]);
    let third = placements(sink.publish(batch("t", 2..3)).await);
    assert!(matches!(third[..], [Placement::Offset { .. }]), "{third:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_refused_goes_again_one_by_one_and_nothing_is_rejected_for_another() {
    let (cluster, brokers) = cluster(&["t"]);
    let sink = sink(&brokers, &[]);
    assert_all_accepted(&sink.publish(batch("t", 0..1)).await, 1);
    cluster.request_errors(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE]);
    let (outcomes, reasons) = publish_until_settled(&sink, batch("t", 1..11)).await;
    assert_all_accepted(&outcomes, 10);
    assert!(reasons.iter().any(|reason| reason.cause == Cause::REFUSED_IN_COMPANY), "{reasons:?}");
}

/// The two producers, for batches and for single records, do not know each other's order.
#[tokio::test(flavor = "multi_thread")]
async fn behind_a_refused_batch_a_key_waits_until_what_was_sent_of_it_before_is_known() {
    const SLOW: Duration = Duration::from_secs(2);
    let cluster: Cluster = MockCluster::new(2).unwrap();
    cluster.create_topic("t", 2, 2).unwrap();
    (0..2).for_each(|partition| cluster.partition_leader("t", partition, Some(partition + 1)).unwrap());
    let sink = sink(&cluster.bootstrap_servers(), &[]);
    cluster.broker_round_trip_time(2, SLOW).unwrap();
    let (mut quick, mut slow) = (None, None);
    let mut keys = (0..).zip(["a", "b", "c", "d", "e", "f", "g", "h"]);
    while quick.is_none() || slow.is_none() {
        let (position, key) = keys.next().expect("both partitions have a key");
        let began = Instant::now();
        assert_all_accepted(&sink.publish(vec![record("t", position, Some(key))]).await, 1);
        *(if began.elapsed() < SLOW { &mut quick } else { &mut slow }) = Some(key);
    }
    let (first, refused, later) = (record("t", 10, slow), record("t", 11, quick), record("t", 12, slow));

    let on_its_way = sink.publish(vec![first.clone()]);
    // The first request has to be there before the error.
    tokio::time::sleep(SLOW * 3 / 4).await;
    cluster.request_errors(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE]);
    assert_put_off(&sink.publish(vec![refused.clone()]).await, "refused_in_company");
    assert_put_off(&sink.publish(vec![later.clone()]).await, "held");
    let mut again = vec![refused, later];
    if !on_its_way.await[0].is_accepted() {
        again.insert(0, first);
    }
    let count = again.len();
    assert_all_accepted(&publish_until_settled(&sink, again).await.0, count);
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_that_the_client_would_send_again_do_not_keep_a_dead_producer_from_being_replaced() {
    const SLOW: Duration = Duration::from_millis(400);
    let (cluster, brokers) = cluster(&["t"]);
    let sink = sink(&brokers, &[]);
    assert_all_accepted(&sink.publish(batch("t", 0..1)).await, 1);
    for round in 0..3 {
        // The answers to the later batches come while the dead producer is emptied, and are passing errors.
        cluster.broker_round_trip_time(1, SLOW).unwrap();
        let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
        let behind = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS;
        cluster.request_errors(RDKafkaApiKey::Produce, &[refused, behind, behind, behind, behind]);
        // A topic of which a batch was refused lately is not sent in batches.
        let topic = format!("t{round}");
        cluster.create_topic(&topic, 1, 1).unwrap();
        let mut publications = Vec::new();
        for position in 0..5 {
            publications.push(sink.publish(batch(&topic, position..position + 1)));
            tokio::time::sleep(SLOW / 4).await;
        }
        for publication in publications {
            let resolved = tokio::time::timeout(Duration::from_secs(20), publication).await;
            assert!(matches!(resolved.expect("the producer is replaced")[..], [Outcome::Retry(_)]));
        }
        cluster.clear_request_errors(RDKafkaApiKey::Produce);
        cluster.broker_round_trip_time(1, Duration::ZERO).unwrap();
        let (outcomes, _) = publish_until_settled(&sink, batch(&topic, 0..5)).await;
        assert_all_accepted(&outcomes, 5);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_may_not_be_written_is_kept_and_resumes_alone() {
    let (cluster, brokers) = cluster(&["t", "other"]);
    let sink = sink(&brokers, &[]);
    cluster.topic_error("t", RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED).unwrap();
    let outcomes = sink.publish([batch("t", 0..2), batch("other", 0..2)].concat()).await;
    assert_put_off(&outcomes[..2], "topic_forbidden");
    assert_all_accepted(&outcomes[2..], 2);
    cluster.topic_error("t", RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR).unwrap();
    let restored = Instant::now();
    let (outcomes, _) = publish_until_settled(&sink, batch("t", 0..2)).await;
    assert_all_accepted(&outcomes, 2);
    assert!(restored.elapsed() < Duration::from_secs(2), "{:?}", restored.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_may_be_seen_but_not_written_resumes_alone_too() {
    let (cluster, brokers) = cluster(&["t"]);
    let sink = sink(&brokers, &[]);
    assert_all_accepted(&sink.publish(batch("t", 0..1)).await, 1);
    let forbidden = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    for _ in 0..4 {
        cluster.request_errors(RDKafkaApiKey::Produce, &[forbidden]);
        assert_put_off(&sink.publish(batch("t", 1..2)).await, "topic_forbidden");
    }
    cluster.clear_request_errors(RDKafkaApiKey::Produce);
    let restored = Instant::now();
    let (outcomes, _) = publish_until_settled(&sink, batch("t", 1..3)).await;
    assert_all_accepted(&outcomes, 2);
    assert!(restored.elapsed() < Duration::from_secs(2), "{:?}", restored.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_puts_off_the_rest_of_the_batch_and_keeps_its_order() {
    let (_cluster, brokers) = cluster(&["t"]);
    let sink = sink(&brokers, &[("queue.buffering.max.messages", "10")]);
    let outcomes = sink.publish(batch("t", 0..30)).await;
    let accepted = outcomes.iter().take_while(|outcome| outcome.is_accepted()).count();
    assert_eq!(accepted, 10, "{outcomes:?}");
    for outcome in &outcomes[accepted..] {
        assert!(
            matches!(outcome, Outcome::Retry(reason) if reason.cause == Cause::QUEUE_FULL),
            "{outcome:?}"
        );
    }
    let (outcomes, _) = publish_until_settled(&sink, batch("t", 10..30)).await;
    assert_all_accepted(&outcomes, 20);
    let sequences: Vec<_> = Consuming { brokers }.read("t", 30).iter().map(Seen::sequence).collect();
    assert_eq!(sequences, (0..30).collect::<Vec<_>>());
}
