//! What a record costs on its way to the Kafka client: allocations, counted on the thread that hands the
//! records over. The client's own, in C, are not among them.

use std::sync::Arc;

use allocation_counter::measure;
use fanbridge::event::{EventTime, Record};
use fanbridge::sink::kafka::{KafkaOptions, KafkaSink};
use fanbridge::sink::{CarriedAttributes, Sink};
use rdkafka::mocking::MockCluster;

use crate::seen::{assert_all_accepted, record};

const RECORDS: u64 = 1000;
/// What the batch itself costs: its outcomes, its buffers.
const FOR_THE_BATCH: u64 = 50;

/// Records as a webhook brings them, with every attribute that the bridge can set.
fn batch(from: u64) -> Vec<Arc<Record>> {
    let with_all = |position| {
        let mut record = record("t", position, Some("key"));
        let event = Arc::make_mut(&mut Arc::make_mut(&mut record).event);
        event.time = EventTime::Inferred(event.arrived);
        event.extensions.push(("traceparent".into(), "00-1-1-01".into()));
        record
    };
    (from..from + RECORDS).map(with_all).collect()
}

/// Allocations of one batch, once the sink has published another.
async fn allocations(structured: bool, carried: &CarriedAttributes) -> u64 {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("t", 1, 1).unwrap();
    let config = KafkaOptions {
        brokers: cluster.bootstrap_servers(),
        properties: Vec::new(),
        token: None,
        structured,
    };
    let sink = KafkaSink::new("lake", &config, carried).unwrap();
    assert_all_accepted(&sink.publish(batch(0)).await, RECORDS as usize);
    let (batch, mut publication) = (batch(RECORDS), None);
    let counted = measure(|| publication = Some(sink.publish(batch)));
    assert_all_accepted(&publication.unwrap().await, RECORDS as usize);
    counted.count_total
}

/// The one is the topic's name, as a text that ends with a zero: the client takes no other.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_costs_one_allocation_on_its_way_to_the_client_whatever_it_carries() {
    let lists = [CarriedAttributes::default(), CarriedAttributes::listed(["time", "webhookid"])];
    for (structured, carried) in
        [false, true].into_iter().flat_map(|form| lists.iter().map(move |list| (form, list)))
    {
        let allocations = allocations(structured, carried).await;
        println!("structured: {structured}, {carried:?}: {allocations} allocations for {RECORDS} records");
        assert!(allocations <= RECORDS + FOR_THE_BATCH, "{allocations} for {RECORDS} records");
    }
}
