//! The Kafka sink against a real broker (`KAFKA_BROKERS`), which checks what the mock does not:
//! sequence numbers, sizes, topics that go and come back.
//!
//! Tests that stop or freeze the broker need it to be the one of `tests/servers/kafka.sh`, and run
//! while no other test is looking.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fanbridge::event::Record;
use fanbridge::sink::{Cause, Outcome, Publication, Sink};
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use tokio::sync::RwLock;

use crate::contract;
use crate::kafka_setup::{Consuming, sink};
use crate::seen::{
    Reader, Seen, assert_all_accepted, copies_of_all_in_order, large_record, publish_until_settled, record,
};
use crate::support::servers;

/// Shared by tests that need the broker as it is, exclusive for those that disturb it.
pub static BROKER: RwLock<()> = RwLock::const_new(());
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/kafka.sh");

/// The broker's address if the script can stop it; says so if not.
fn controlled_brokers(test: &str) -> Option<String> {
    let brokers = servers::kafka(test)?;
    let address = Command::new(SCRIPT).arg("address").output().unwrap().stdout;
    let controlled = String::from_utf8_lossy(&address).trim() == brokers;
    if !controlled {
        servers::tell_skipped(test, &format!("{brokers} is not the broker of tests/servers/kafka.sh"));
    }
    controlled.then_some(brokers)
}

fn control(verb: &[&str]) {
    assert!(Command::new(SCRIPT).args(verb).status().unwrap().success(), "kafka.sh {verb:?}");
}

pub struct Cluster {
    admin: AdminClient<DefaultClientContext>,
    prefix: String,
}

impl Cluster {
    pub fn new(brokers: &str, test: &str) -> Self {
        let admin = ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
        let moment = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
        Self { admin, prefix: format!("{test}-{moment}-") }
    }

    pub fn name(&self, topic: &str) -> String {
        format!("{}{topic}", self.prefix)
    }

    pub async fn create(&self, topic: &str, settings: &[(&str, &str)]) -> String {
        let name = self.name(topic);
        let mut new = NewTopic::new(&name, 3, TopicReplication::Fixed(1));
        for (setting, value) in settings {
            new = new.set(setting, value);
        }
        let created = self.admin.create_topics([&new], &AdminOptions::new()).await.unwrap();
        assert!(created[0].is_ok(), "{created:?}");
        name
    }

    fn lists(&self, topic: &str) -> bool {
        let metadata = self.admin.inner().fetch_metadata(None, Duration::from_secs(10)).unwrap();
        metadata.topics().iter().any(|listed| listed.name() == topic)
    }

    /// Deletes the topic, and waits until the broker refuses records for it: its answer comes before that.
    pub async fn delete(&self, topic: &str) {
        let deleted = self.admin.delete_topics(&[topic], &AdminOptions::new()).await.unwrap();
        assert!(deleted[0].is_ok(), "{deleted:?}");
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.lists(topic) {
            assert!(Instant::now() < deadline, "{topic} is still there");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

pub fn batch(topic: &str, positions: std::ops::Range<u64>) -> Vec<Arc<Record>> {
    positions.map(|position| record(topic, position, Some("key"))).collect()
}

pub fn sequences(reader: &Consuming, topic: &str, count: usize) -> Vec<u64> {
    reader.read(topic, count).iter().map(Seen::sequence).collect()
}

async fn assert_unreported(publication: &mut Publication, wait: Duration) {
    let early = tokio::time::timeout(wait, publication).await;
    assert!(early.is_err(), "reported during the outage: {early:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kafka_sink_keeps_the_contract_on_a_real_broker() {
    let Some(brokers) = servers::kafka("the contract on a real broker") else { return };
    let _calm = BROKER.read().await;
    let cluster = Cluster::new(&brokers, "contract");
    let (sink, reader) = (sink(&brokers, &[]), Consuming { brokers });
    let topic = cluster.create("order", &[]).await;
    contract::a_keys_records_keep_their_order_across_pipelined_batches(&sink, &reader, &topic).await;
    let topic = cluster.create("bytes", &[]).await;
    contract::a_body_and_its_attributes_arrive_as_they_left(&sink, &reader, &topic).await;
    let topic = cluster.create("keyless", &[]).await;
    contract::a_record_without_a_key_stays_without(&sink, &reader, &topic).await;
    let topic = cluster.create("dropped", &[]).await;
    contract::a_dropped_publication_withdraws_nothing(&sink, &reader, &topic).await;
    contract::what_is_settled_is_counted_and_known_while_nobody_waits_for_it(&sink, &topic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_too_large_for_its_topic_is_rejected_and_its_neighbours_are_accepted() {
    let Some(brokers) = servers::kafka("a record too large for its topic") else { return };
    let _calm = BROKER.read().await;
    let cluster = Cluster::new(&brokers, "too-large");
    let (sink, reader) = (sink(&brokers, &[]), Consuming { brokers });
    let topic = cluster.create("t", &[("max.message.bytes", "20000")]).await;
    let refused = large_record(&topic, 99, "key", 100_000);
    contract::a_refused_record_is_rejected_and_its_neighbours_are_accepted(
        &sink,
        &reader,
        &topic,
        refused,
        "too_large",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_too_large_for_its_topic_loses_no_record_and_no_order() {
    let Some(brokers) = servers::kafka("a batch too large for its topic") else { return };
    let _calm = BROKER.read().await;
    let cluster = Cluster::new(&brokers, "company");
    let (sink, reader) = (sink(&brokers, &[]), Consuming { brokers });
    let topic = cluster.create("t", &[("max.message.bytes", "20000")]).await;
    let batch: Vec<_> = (0..30).map(|position| large_record(&topic, position, "key", 9_000)).collect();
    let (outcomes, reasons) = publish_until_settled(&sink, batch).await;
    assert_all_accepted(&outcomes, 30);
    assert!(reasons.iter().any(|reason| reason.cause == Cause::REFUSED_IN_COMPANY), "{reasons:?}");
    assert_eq!(sequences(&reader, &topic, 30), (0..30).collect::<Vec<_>>());
}

/// Four batches are on their way at once, as a dispatcher keeps them, and travel in small sets:
/// some sets hold a record that the topic does not take, with good sets of their keys behind them.
#[tokio::test(flavor = "multi_thread")]
async fn refusals_in_a_full_pipeline_break_no_keys_order() {
    let Some(brokers) = servers::kafka("refusals in a full pipeline") else { return };
    let _calm = BROKER.read().await;
    let cluster = Cluster::new(&brokers, "pipeline");
    let (sink, reader) = (sink(&brokers, &[("batch.num.messages", "5")]), Consuming { brokers });
    let topic = cluster.create("t", &[("max.message.bytes", "50000")]).await;
    let make = |position: u64| match position % 100 {
        50 => large_record(&topic, position, "key-1", 200_000),
        _ => large_record(&topic, position, &format!("key-{}", position % 5), 500),
    };
    let mut pending: BTreeMap<u64, Arc<Record>> =
        (0..1000).map(|position| (position, make(position))).collect();
    let mut in_flight = VecDeque::new();
    let mut rejected = BTreeSet::new();
    let deadline = Instant::now() + Duration::from_secs(30);
    while !pending.is_empty() || !in_flight.is_empty() {
        assert!(Instant::now() < deadline, "{} records are not settled", pending.len());
        while in_flight.len() < 4 && !pending.is_empty() {
            let batch: Vec<_> =
                std::iter::from_fn(|| pending.pop_first()).take(50).map(|(_, next)| next).collect();
            in_flight.push_back((batch.clone(), sink.publish(batch)));
        }
        let (batch, publication) = in_flight.pop_front().unwrap();
        for (record, outcome) in batch.into_iter().zip(publication.await) {
            match outcome {
                Outcome::Accepted(_) => {}
                Outcome::Rejected(reason) => drop(rejected.insert((record.position.0, reason.word()))),
                Outcome::Retry(_) => drop(pending.insert(record.position.0, record)),
            }
        }
    }
    assert_eq!(rejected, (0..10).map(|n| (n * 100 + 50, "too_large")).collect());
    let seen = reader.read(&topic, 990);
    let taken = (0..1000).filter(|position| position % 100 != 50);
    println!("990 records and {} copies", copies_of_all_in_order(&seen, taken));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_sent_alone_overtakes_none_of_its_key_that_the_dead_producer_still_holds() {
    let Some(brokers) = servers::kafka("a refusal before a full queue") else { return };
    let _calm = BROKER.read().await;
    let cluster = Cluster::new(&brokers, "queue");
    let (sink, reader) = (sink(&brokers, &[("batch.num.messages", "5")]), Consuming { brokers });
    let topic = cluster.create("t", &[("max.message.bytes", "50000")]).await;
    let last = 3000;
    let make = |position| match position {
        10 => large_record(&topic, position, "large", 200_000),
        _ if position < last => record(&topic, position, Some(&format!("other-{}", position % 50))),
        // The key's first record stands last in the queue of the producer that the refusal ends.
        _ => record(&topic, position, Some("key")),
    };
    let mut publications = Vec::new();
    let mut publish = |records: Vec<Arc<Record>>| publications.push((records.clone(), sink.publish(records)));
    publish((0..=last).map(make).collect());
    for position in last + 1..last + 100 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        publish(vec![make(position)]);
    }
    let mut again = Vec::new();
    for (records, publication) in publications {
        let outcomes = records.into_iter().zip(publication.await);
        again.extend(outcomes.filter(|(_, outcome)| matches!(outcome, Outcome::Retry(_))));
    }
    again.sort_by_key(|(record, _)| record.position);
    assert!(again.iter().any(|(record, _)| record.position.0 == last), "the refusal came too late");
    let again = again.into_iter().map(|(record, _)| record).collect();
    publish_until_settled(&sink, again).await;
    let all = (0..last + 100).filter(|position| *position != 10);
    let seen = reader.read(&topic, usize::try_from(last).unwrap() + 99);
    println!("{} copies", copies_of_all_in_order(&seen, all));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_without_the_key_that_a_compacted_topic_needs_is_rejected_while_the_topic_takes_others() {
    let Some(brokers) = servers::kafka("a compacted topic") else { return };
    let _calm = BROKER.read().await;
    let cluster = Cluster::new(&brokers, "compacted");
    let (sink, reader) = (sink(&brokers, &[]), Consuming { brokers });
    let topic = cluster.create("t", &[("cleanup.policy", "compact")]).await;
    let keyless = record(&topic, 0, None);
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut others = 0;
    let refused = loop {
        assert!(Instant::now() < deadline, "not rejected beside {others} that were accepted");
        // As a dispatcher does: what was refused in company is published again with what it was refused with.
        let other = record(&topic, others + 1, Some("key"));
        let outcomes = sink.publish(vec![Arc::clone(&keyless), other]).await;
        others += u64::from(outcomes[1].is_accepted());
        if let Outcome::Rejected(reason) = &outcomes[0] {
            break reason.clone();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(refused.word(), "invalid_record", "{refused:?}");
    let seen: BTreeSet<u64> = sequences(&reader, &topic, others as usize).into_iter().collect();
    assert_eq!(seen, (1..=others).collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_a_topic_takes_none_like_are_kept_until_it_does() {
    let Some(brokers) = servers::kafka("a topic that takes nothing") else { return };
    let _calm = BROKER.read().await;
    let cluster = Cluster::new(&brokers, "refusing");
    let (sink, reader) = (sink(&brokers, &[]), Consuming { brokers });
    let topic = cluster.create("t", &[("cleanup.policy", "compact")]).await;
    let batch: Vec<_> = (0..4).map(|position| record(&topic, position, None)).collect();
    let (deadline, mut rounds_alone) = (Instant::now() + Duration::from_secs(30), 0);
    while rounds_alone < 5 {
        assert!(Instant::now() < deadline, "they do not travel alone");
        let outcomes = sink.publish(batch.clone()).await;
        let is_kept = |outcome: &Outcome| matches!(outcome, Outcome::Retry(_));
        assert!(outcomes.iter().all(is_kept), "{outcomes:?}");
        let is_alone = |outcome: &Outcome| match outcome {
            Outcome::Retry(reason) => reason.cause == Cause::INVALID_RECORD,
            Outcome::Accepted(_) | Outcome::Rejected(_) => false,
        };
        rounds_alone += u32::from(outcomes.iter().all(is_alone));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mended = AlterConfig::new(ResourceSpecifier::Topic(&topic)).set("cleanup.policy", "delete");
    cluster.admin.alter_configs([&mended], &AdminOptions::new()).await.unwrap()[0].as_ref().unwrap();
    let (outcomes, _) = publish_until_settled(&sink, batch).await;
    assert_all_accepted(&outcomes, 4);
    assert_eq!(reader.read(&topic, 4).len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_client_reads_the_same_key_headers_and_body() {
    let Some(brokers) = servers::kafka("reading with kcat") else { return };
    let _calm = BROKER.read().await;
    let cluster = Cluster::new(&brokers, "kcat");
    let sink = sink(&brokers, &[]);
    let topic = cluster.create("t", &[]).await;
    assert_all_accepted(&sink.publish(vec![record(&topic, 7, Some("call:1"))]).await, 1);
    let arguments = ["-C", "-b", &brokers, "-t", &topic, "-o", "beginning", "-e", "-q", "-f", "%k|%h|%s"];
    let read = Command::new("kcat").args(arguments).output().unwrap();
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    assert_eq!(
        String::from_utf8(read.stdout).unwrap(),
        "call:1|content-type=application/json,ce_specversion=1.0,ce_id=id-7,ce_source=/stream/default,\
         ce_type=call.ring,ce_subject=call:1,ce_time=2025-11-21T07:20:00.123456789Z,ce_partitionkey=call:1,\
         ce_family=video,ce_provider=stream,ce_intake=stream-video,ce_recordedtime=2025-11-21T07:20:00Z,\
         ce_sequence=00000000000000000007,ce_webhookid=w-1|{\"type\":\"call.ring\", \"n\":7}"
    );
}

/// The records of several batches are in three partitions, and each batch is split among them.
#[tokio::test(flavor = "multi_thread")]
async fn each_record_is_reported_with_the_partition_and_offset_at_which_kcat_finds_it() {
    let Some(brokers) = servers::kafka("finding a record by its offset") else { return };
    let _calm = BROKER.read().await;
    let sink = sink(&brokers, &[]);
    let topic = Cluster::new(&brokers, "placed").create("t", &[]).await;
    let mut placed = BTreeMap::new();
    for positions in [0..40, 40..41, 41..60] {
        let make = |position| record(&topic, position, Some(&format!("key-{}", position % 11)));
        let batch: Vec<_> = positions.map(make).collect();
        for (record, outcome) in batch.iter().zip(sink.publish(batch.clone()).await) {
            let Outcome::Accepted(placement) = outcome else { panic!("{outcome:?}") };
            placed.insert(placement.to_string(), String::from_utf8(record.event.body.to_vec()).unwrap());
        }
    }
    let arguments = ["-C", "-b", &brokers, "-t", &topic, "-o", "beginning", "-e", "-q", "-f", "p%p@%o %s\\n"];
    let read = Command::new("kcat").args(arguments).output().unwrap();
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    let lines = String::from_utf8(read.stdout).unwrap();
    let found: BTreeMap<_, _> = lines
        .lines()
        .map(|line| line.split_once(' ').expect("a place and a body"))
        .map(|(place, body)| (place.to_owned(), body.to_owned()))
        .collect();
    assert_eq!((placed.len(), placed), (60, found));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_broker_gets_every_record_once_and_in_order() {
    let Some(brokers) = controlled_brokers("a restarted broker") else { return };
    let _alone = BROKER.write().await;
    let cluster = Cluster::new(&brokers, "restarted");
    let (sink, reader) = (sink(&brokers, &[]), Consuming { brokers });
    let topic = cluster.create("t", &[]).await;
    let mut publications = vec![sink.publish(batch(&topic, 0..500))];
    control(&["kill"]);
    let mut during = sink.publish(batch(&topic, 500..1000));
    assert_unreported(&mut during, Duration::from_secs(1)).await;
    publications.push(during);
    let port = reader.brokers.rsplit(':').next().unwrap().to_owned();
    control(&["start", &port]);
    let up = Instant::now();
    for publication in publications {
        assert_all_accepted(&publication.await, 500);
    }
    println!("a restarted broker had everything after {:?}", up.elapsed());
    assert!(up.elapsed() < Duration::from_secs(2), "{:?}", up.elapsed());
    assert_eq!(sequences(&reader, &topic, 1000), (0..1000).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_broker_accepts_nothing_and_gets_everything_once_it_thaws() {
    let Some(brokers) = controlled_brokers("a frozen broker") else { return };
    let _alone = BROKER.write().await;
    let cluster = Cluster::new(&brokers, "frozen");
    let (sink, reader) = (sink(&brokers, &[]), Consuming { brokers });
    let topic = cluster.create("t", &[]).await;
    assert_all_accepted(&sink.publish(batch(&topic, 0..1)).await, 1);
    control(&["freeze"]);
    let mut publication = sink.publish(batch(&topic, 1..500));
    assert_unreported(&mut publication, Duration::from_secs(2)).await;
    control(&["thaw"]);
    let thawed = Instant::now();
    assert_all_accepted(&publication.await, 499);
    println!("a thawed broker had everything after {:?}", thawed.elapsed());
    assert!(thawed.elapsed() < Duration::from_secs(2), "{:?}", thawed.elapsed());
    assert_eq!(sequences(&reader, &topic, 500), (0..500).collect::<Vec<_>>());
}
