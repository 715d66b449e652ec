//! How soon the Kafka sink uses a topic that is there again, on a real broker.
//!
//! This is measured, so these tests run alone behind the others.

use std::time::{Duration, Instant};

use fanbridge::sink::{Outcome, Sink};

use crate::kafka_real::{BROKER, Cluster, batch, sequences};
use crate::kafka_setup::{Consuming, sink};
use crate::seen::{assert_all_accepted, assert_put_off, publish_until_settled};
use crate::support::servers;

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_topic_holds_its_records_and_heals_within_two_seconds_of_its_creation() {
    let Some(brokers) = servers::kafka("a missing topic") else { return };
    let _calm = BROKER.read().await;
    let cluster = Cluster::new(&brokers, "missing");
    let (sink, reader) = (sink(&brokers, &[]), Consuming { brokers });
    let other = cluster.create("other", &[]).await;
    let topic = cluster.name("t");
    let outcomes = sink.publish([batch(&topic, 0..2), batch(&other, 0..2)].concat()).await;
    assert_put_off(&outcomes[..2], "unknown_topic");
    assert_all_accepted(&outcomes[2..], 2);
    cluster.create("t", &[]).await;
    let created = Instant::now();
    let (outcomes, _) = publish_until_settled(&sink, batch(&topic, 0..2)).await;
    println!("a created topic was used after {:?}", created.elapsed());
    assert_all_accepted(&outcomes, 2);
    assert!(created.elapsed() < Duration::from_secs(2), "{:?}", created.elapsed());
    assert_eq!(sequences(&reader, &topic, 2), [0, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_deleted_and_created_again_gets_everything_that_was_accepted_since() {
    let Some(brokers) = servers::kafka("a deleted topic") else { return };
    let _calm = BROKER.read().await;
    let cluster = Cluster::new(&brokers, "deleted");
    let (sink, reader) = (sink(&brokers, &[]), Consuming { brokers });
    let topic = cluster.create("t", &[]).await;
    assert_all_accepted(&sink.publish(batch(&topic, 0..10)).await, 10);
    cluster.delete(&topic).await;
    let outcomes = sink.publish(batch(&topic, 10..20)).await;
    for outcome in &outcomes {
        assert!(matches!(outcome, Outcome::Retry(_)), "{outcome:?}");
    }
    cluster.create("t", &[]).await;
    let created = Instant::now();
    let (outcomes, _) = publish_until_settled(&sink, batch(&topic, 10..20)).await;
    println!("a topic created again was used after {:?}", created.elapsed());
    assert_all_accepted(&outcomes, 10);
    assert!(created.elapsed() < Duration::from_secs(2), "{:?}", created.elapsed());
    assert_eq!(sequences(&reader, &topic, 10), (10..20).collect::<Vec<_>>());
}
