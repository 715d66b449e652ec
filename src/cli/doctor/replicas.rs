//! Whether what a topic acknowledges outlives a disk, and whether it can acknowledge anything.

use std::collections::{BTreeMap, BTreeSet};

use super::Finding;
use super::brokers::{AskedSink, REPLICAS};
use super::finding::{counted, named};
use crate::sink::kafka::{KafkaAdmin, TopicShape};

/// Whether what a topic acknowledges outlives a disk, and whether it can acknowledge anything now.
pub(super) fn safety(
    asked: &AskedSink,
    admin: &KafkaAdmin,
    there: &BTreeMap<&str, TopicShape>,
) -> Vec<Finding> {
    let sink = &*asked.sink;
    if there.is_empty() {
        return vec![Finding::skipped(REPLICAS, sink, "there is no topic to look at")];
    }
    let names: Vec<&str> = there.keys().copied().collect();
    let runtime = tokio::runtime::Handle::current();
    // Credentials that cannot read the property still see the topics.
    let known = runtime.block_on(admin.min_insync(&names)).unwrap_or_default();
    let mut by_weakness: BTreeMap<Weakness, BTreeSet<&str>> = BTreeMap::new();
    for (topic, shape) in there {
        let weakness = Weakness::of(shape, known.get(*topic).copied());
        by_weakness.entry(weakness).or_default().insert(topic);
    }
    let safe = by_weakness.remove(&Weakness::None).unwrap_or_default();
    let mut findings: Vec<Finding> =
        by_weakness.into_iter().map(|(weakness, topics)| weak(asked, weakness, &topics)).collect();
    if findings.is_empty() {
        let found =
            format!("{}, each with two copies before a record is acknowledged", counted(safe.len(), "topic"));
        findings.push(Finding::ok(REPLICAS, sink, found));
    }
    findings
}

/// The finding of topics with one weakness.
fn weak(asked: &AskedSink, weakness: Weakness, topics: &BTreeSet<&str>) -> Finding {
    let which = format!("{}: {}", counted(topics.len(), "topic"), named(topics.iter().copied()));
    let sink = &*asked.sink;
    let first = asked.first_broker();
    let one = topics.first().copied().unwrap_or_default();
    let alter = format!(
        "kafka-configs.sh --bootstrap-server {first} --alter --topic {one} \
             --add-config min.insync.replicas=2"
    );
    match weakness {
        Weakness::CannotAcknowledge => {
            let found = format!(
                "fewer in-sync replicas than `min.insync.replicas`: nothing is acknowledged; {which}"
            );
            Finding::failure(REPLICAS, sink, found)
                .fix("bring the brokers back, or give the topics more replicas")
                .command(format!(
                    "kafka-topics.sh --bootstrap-server {first} --describe --under-min-isr-partitions"
                ))
        }
        Weakness::OneReplica => {
            let found = format!(
                "one replica: an acknowledged record is lost with that disk, `acks=all` or not; {which}"
            );
            Finding::warning(REPLICAS, sink, found)
                .fix(
                    "give them three (kafka-reassign-partitions.sh), or make them anew with \
                         `--replication 3 --property min.insync.replicas=2`",
                )
                .command(asked.apply())
        }
        Weakness::OneAcknowledges => {
            let found = format!(
                "`min.insync.replicas` is below 2: one copy confirms `acks=all`, and is lost with its \
                     disk; {which}"
            );
            Finding::warning(REPLICAS, sink, found).fix("set it to 2").command(alter)
        }
        Weakness::Unknown | Weakness::None => {
            let found = format!("`min.insync.replicas` cannot be read; {which}");
            Finding::unknown(REPLICAS, sink, found)
                .fix("DescribeConfigs on the topics (an OAuth token cannot); it should be 2 or more")
                .command(format!("kafka-configs.sh --bootstrap-server {first} --describe --topic {one}"))
        }
    }
}

/// What is wrong with how a topic keeps its records; the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Weakness {
    CannotAcknowledge,
    OneReplica,
    OneAcknowledges,
    Unknown,
    None,
}

impl Weakness {
    fn of(shape: &TopicShape, min_insync: Option<u32>) -> Self {
        let asked = min_insync.map_or(1, |least| least as usize);
        match min_insync {
            _ if shape.in_sync < asked => Self::CannotAcknowledge,
            _ if shape.replication < 2 => Self::OneReplica,
            None => Self::Unknown,
            Some(0 | 1) => Self::OneAcknowledges,
            Some(_) => Self::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_of_a_topic_is_what_is_said() {
        let of = |replication, in_sync, least| {
            Weakness::of(&TopicShape { partitions: 3, replication, in_sync, min_insync: None }, least)
        };
        assert_eq!(of(1, 1, Some(1)), Weakness::OneReplica);
        assert_eq!(of(1, 1, Some(2)), Weakness::CannotAcknowledge);
        assert_eq!(of(3, 1, Some(2)), Weakness::CannotAcknowledge);
        assert_eq!(of(3, 0, None), Weakness::CannotAcknowledge, "without a leader nothing is acknowledged");
        assert_eq!(of(3, 3, Some(1)), Weakness::OneAcknowledges);
        assert_eq!(of(3, 3, None), Weakness::Unknown, "what cannot be told is not called good");
        assert_eq!(of(3, 2, Some(2)), Weakness::None);
    }
}
