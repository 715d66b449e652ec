//! A Kafka sink and a reader, for whichever cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use fanbridge::sink::CarriedAttributes;
use fanbridge::sink::kafka::KafkaOptions;
use fanbridge::sink::kafka::KafkaSink;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::{Offset, TopicPartitionList};

use crate::seen::{Reader, Seen};

pub fn sink(brokers: &str, properties: &[(&str, &str)]) -> KafkaSink {
    let properties = properties.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let config = KafkaOptions { brokers: brokers.into(), properties, token: None, structured: false };
    KafkaSink::new("lake", &config, &CarriedAttributes::default()).unwrap()
}

/// Reads with a consumer.
pub struct Consuming {
    pub brokers: String,
}

impl Reader for Consuming {
    fn read(&self, topic: &str, count: usize) -> Vec<Seen> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .set("group.id", "reader")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .create()
            .unwrap();
        let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(10)).unwrap();
        let mut assignment = TopicPartitionList::new();
        for partition in metadata.topics()[0].partitions() {
            assignment.add_partition_offset(topic, partition.id(), Offset::Beginning).unwrap();
        }
        consumer.assign(&assignment).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        let (mut seen, mut at_end) = (Vec::new(), BTreeSet::new());
        while seen.len() < count || at_end.len() < assignment.count() {
            assert!(Instant::now() < deadline, "{} of {count} records in {topic}", seen.len());
            match consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    at_end.remove(&message.partition());
                    seen.push(parse(&message));
                }
                Some(Err(rdkafka::error::KafkaError::PartitionEOF(partition))) => {
                    at_end.insert(partition);
                }
                Some(Err(error)) => panic!("{error}"),
                None => {}
            }
        }
        seen
    }
}

fn parse(message: &impl Message) -> Seen {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let headers = message.headers().unwrap();
    let attributes: BTreeMap<_, _> = headers
        .iter()
        .map(|header| (header.key.trim_start_matches("ce_").to_owned(), text(header.value.unwrap())))
        .collect();
    assert_eq!(attributes.len(), headers.count(), "a header came twice");
    Seen { key: message.key().map(text), attributes, body: message.payload().unwrap().to_vec().into() }
}
