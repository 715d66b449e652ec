//! Checks of Kafka sinks: whether a broker answers, whether the topics are there and safe, and whether the
//! credentials can publish. Nothing is written and no topic is created.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::context::Context;
use super::finding::{counted, named};
use super::probe::FoundSoFar;
use super::{Finding, Probe};
use crate::sink::Output;
use crate::sink::kafka::{HiddenBy, KafkaAdmin, KafkaAdminError, KafkaOptions, TopicShape};

const REACH: &str = "kafka.reach";
const TOPICS: &str = "kafka.topics";
const REPLICAS: &str = "kafka.replicas";
const WRITE: &str = "kafka.write";

/// How long one question can take. With the client's own explanation behind it, less than a check.
const TIMEOUT: Duration = Duration::from_secs(6);
/// How long the idempotent producer can take to get its id.
const PRODUCER_TIMEOUT: Duration = Duration::from_secs(3);

/// The checks of each Kafka sink.
pub(super) fn probes(context: &Context) -> Vec<Probe> {
    let kafka = context.config.sinks.iter().filter_map(|sink| match &sink.output {
        Output::Kafka(kafka) => Some((sink, kafka)),
        _ => None,
    });
    let probe = |(sink, kafka): (&crate::sink::SinkOptions, &KafkaOptions)| {
        let topics = context.config.topics(sink).into_iter().map(|topic| topic.name).collect();
        let (sink, kafka, named) = (sink.name.clone(), kafka.clone(), context.named.clone());
        let asked = AskedSink { sink: sink.clone(), named, kafka, topics };
        Probe::blocking(&[REACH, TOPICS, REPLICAS, WRITE], sink, move |found| asked.ask(found))
    };
    kafka.map(probe).collect()
}

/// A sink whose cluster is asked.
struct AskedSink {
    sink: String,
    /// The option that names the configuration.
    named: String,
    kafka: KafkaOptions,
    topics: Vec<String>,
}

/// The sink's topics as the cluster shows them.
struct SeenTopics<'t> {
    there: BTreeMap<&'t str, TopicShape>,
    missing: Vec<&'t str>,
    forbidden: Vec<&'t str>,
    unclear: Vec<(&'t str, String)>,
}

impl AskedSink {
    fn ask(&self, found: &FoundSoFar) {
        let sink = &*self.sink;
        let reached = KafkaAdmin::new(&self.kafka, TIMEOUT).and_then(|admin| Ok((admin.topics()?, admin)));
        let (shapes, admin) = match reached {
            Ok(reached) => reached,
            Err(error) => {
                found.add(self.unreached(&error));
                let why = "not asked, because no broker answers";
                [TOPICS, REPLICAS, WRITE]
                    .into_iter()
                    .for_each(|check| found.add(Finding::unknown(check, sink, why)));
                return;
            }
        };
        found.add(Finding::ok(REACH, sink, format!("{} answers", self.kafka.brokers)));
        let seen = self.seen(&shapes, &admin);
        self.existence(&seen).into_iter().for_each(|finding| found.add(finding));
        self.writing(&admin, &seen).into_iter().for_each(|finding| found.add(finding));
        self.safety(&admin, &seen).into_iter().for_each(|finding| found.add(finding));
    }

    fn unreached(&self, error: &KafkaAdminError) -> Finding {
        let found = match error {
            KafkaAdminError::Cluster { problem, .. } => format!("{}: {problem}", self.kafka.brokers),
            error => error.to_string(),
        };
        let tls = self.kafka.properties.iter().any(|(name, _)| name == "security.protocol");
        let first = self.kafka.brokers.split(',').next().unwrap_or_default().trim();
        let command = if tls {
            format!("openssl s_client -connect {first} </dev/null")
        } else {
            format!("kcat -b {first} -L")
        };
        Finding::failure(REACH, &*self.sink, found)
            .fix("`brokers`, `tls` and `sasl` of the sink, the network between, and the brokers themselves")
            .command(command)
    }

    /// Which topics are there. One that the cluster does not list is asked for by its name, because a
    /// permission that is missing hides it, too.
    fn seen(&self, shapes: &BTreeMap<String, TopicShape>, admin: &KafkaAdmin) -> SeenTopics<'_> {
        let mut seen = SeenTopics {
            there: BTreeMap::new(),
            missing: Vec::new(),
            forbidden: Vec::new(),
            unclear: Vec::new(),
        };
        for topic in self.topics.iter().map(String::as_str) {
            if let Some(shape) = shapes.get(topic) {
                seen.there.insert(topic, *shape);
                continue;
            }
            match admin.hidden_by(topic) {
                Ok(Some(HiddenBy::Absence)) => seen.missing.push(topic),
                Ok(Some(HiddenBy::Permission)) => seen.forbidden.push(topic),
                Ok(Some(HiddenBy::Other(said))) => seen.unclear.push((topic, said)),
                Ok(None) => seen.unclear.push((topic, "the cluster lists it only when it is named".into())),
                Err(error) => seen.unclear.push((topic, error.to_string())),
            }
        }
        seen
    }

    fn existence(&self, seen: &SeenTopics<'_>) -> Vec<Finding> {
        let sink = &*self.sink;
        let mut findings = Vec::new();
        if !seen.missing.is_empty() {
            let found = format!(
                "{} of {} do not exist: {}",
                seen.missing.len(),
                counted(self.topics.len(), "topic"),
                named(seen.missing.iter().copied())
            );
            findings.push(
                Finding::failure(TOPICS, sink, found)
                    .fix("create them; the bridge never does")
                    .command(self.apply()),
            );
        }
        if !seen.forbidden.is_empty() {
            let found = format!(
                "these credentials are not allowed to see {}: {}",
                counted(seen.forbidden.len(), "topic"),
                named(seen.forbidden.iter().copied())
            );
            findings.push(
                Finding::unknown(TOPICS, sink, found).fix("grant Describe and Write on the sink's topics"),
            );
        }
        if let Some((topic, said)) = seen.unclear.first() {
            let found = format!("{} not known: {topic}: {said}", counted(seen.unclear.len(), "topic"));
            findings.push(Finding::unknown(TOPICS, sink, found));
        }
        if findings.is_empty() {
            findings.push(match seen.there.len() {
                0 => Finding::skipped(TOPICS, sink, "the configuration produces no topic here"),
                count => Finding::ok(TOPICS, sink, format!("{} that exist", counted(count, "topic"))),
            });
        }
        findings
    }

    /// Whether the credentials can publish, as far as that shows without publishing.
    fn writing(&self, admin: &KafkaAdmin, seen: &SeenTopics<'_>) -> Vec<Finding> {
        let sink = &*self.sink;
        let mut findings = Vec::new();
        if !seen.forbidden.is_empty() {
            let found = format!(
                "the brokers forbid {}: {}",
                counted(seen.forbidden.len(), "topic"),
                named(seen.forbidden.iter().copied())
            );
            findings.push(
                Finding::failure(WRITE, sink, found)
                    .fix("grant the sink's user Write on its topics (a prefix will do)")
                    .command(self.grant()),
            );
        }
        match admin.producer_id(PRODUCER_TIMEOUT) {
            Some(Ok(())) if findings.is_empty() => {
                let found = "the cluster gives the idempotent producer its id; whether each topic takes a \
                             record shows only when one is published";
                findings
                    .push(Finding::unknown(WRITE, sink, found).fix(
                        "start the bridge and let an event through: it then says which topics took one",
                    ));
            }
            Some(Ok(())) => {}
            Some(Err(refusal)) => findings.push(
                Finding::failure(
                    WRITE,
                    sink,
                    format!("the cluster refuses the idempotent producer: {refusal}"),
                )
                .fix("grant Write on a topic, or IdempotentWrite on a cluster before Kafka 2.8")
                .command(self.grant()),
            ),
            None => findings.push(Finding::unknown(
                WRITE,
                sink,
                format!(
                    "the cluster gave the idempotent producer no id within {} s",
                    PRODUCER_TIMEOUT.as_secs()
                ),
            )),
        }
        findings
    }

    /// Whether what a topic acknowledges outlives a disk, and whether it can acknowledge anything now.
    fn safety(&self, admin: &KafkaAdmin, seen: &SeenTopics<'_>) -> Vec<Finding> {
        let sink = &*self.sink;
        if seen.there.is_empty() {
            return vec![Finding::skipped(REPLICAS, sink, "there is no topic to look at")];
        }
        let names: Vec<&str> = seen.there.keys().copied().collect();
        let runtime = tokio::runtime::Handle::current();
        // Credentials that cannot read the property still see the topics.
        let known = runtime.block_on(admin.min_insync(&names)).unwrap_or_default();
        let mut weak: BTreeMap<Weakness, BTreeSet<&str>> = BTreeMap::new();
        for (topic, shape) in &seen.there {
            let weakness = Weakness::of(shape, known.get(*topic).copied());
            weak.entry(weakness).or_default().insert(topic);
        }
        let safe = weak.remove(&Weakness::None).unwrap_or_default();
        let mut findings: Vec<Finding> =
            weak.into_iter().map(|(weakness, topics)| self.weak(weakness, &topics)).collect();
        if findings.is_empty() {
            let found = format!(
                "{}, each with two copies before a record is acknowledged",
                counted(safe.len(), "topic")
            );
            findings.push(Finding::ok(REPLICAS, sink, found));
        }
        findings
    }

    fn weak(&self, weakness: Weakness, topics: &BTreeSet<&str>) -> Finding {
        let which = format!("{}: {}", counted(topics.len(), "topic"), named(topics.iter().copied()));
        let sink = &*self.sink;
        let first = self.kafka.brokers.split(',').next().unwrap_or_default().trim();
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
                    .command(self.apply())
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

    fn apply(&self) -> String {
        format!(
            "fanbridge topics apply --sink {}{} --replication 3 --property min.insync.replicas=2",
            self.sink, self.named
        )
    }

    fn grant(&self) -> String {
        let first = self.kafka.brokers.split(',').next().unwrap_or_default().trim();
        let prefix = common_prefix(&self.topics);
        let topics = if prefix.is_empty() {
            "--topic '*'".into()
        } else {
            format!("--topic {prefix} --resource-pattern-type prefixed")
        };
        format!(
            "kafka-acls.sh --bootstrap-server {first} --add --allow-principal User:NAME --producer {topics}"
        )
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

/// The beginning that all topics have.
fn common_prefix(topics: &[String]) -> &str {
    let Some((first, others)) = topics.split_first() else { return "" };
    let shared = |other: &String| {
        first
            .char_indices()
            .zip(other.chars())
            .take_while(|((_, a), b)| a == b)
            .map(|((at, a), _)| at + a.len_utf8())
            .last()
    };
    let length = others.iter().map(|other| shared(other).unwrap_or_default()).min().unwrap_or(first.len());
    &first[..length]
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

    #[test]
    fn topics_are_granted_by_what_they_have_in_common() {
        let of = |topics: &[&str]| {
            let topics: Vec<String> = topics.iter().map(|&topic| topic.into()).collect();
            common_prefix(&topics).to_owned()
        };
        assert_eq!(of(&["stream.video.a", "stream.video.b"]), "stream.video.");
        assert_eq!(of(&["a", "b"]), "");
        assert_eq!(of(&["a"]), "a");
    }
}
