//! Checks of Kafka sinks: whether a broker answers, whether the topics are there and safe, and whether the
//! credentials can publish. Nothing is written and no topic is created.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::context::Context;
use super::finding::{counted, named};
use super::probe::FoundSoFar;
use super::running::{RunningBridge, RunningPart};
use super::{Finding, Probe, replicas};
use crate::explain::cause::quoted;
use crate::sink::Output;
use crate::sink::kafka::{HiddenBy, KafkaAdmin, KafkaAdminError, KafkaOptions, TopicShape};

const REACH: &str = "kafka.reach";
const TOPICS: &str = "kafka.topics";
pub(super) const REPLICAS: &str = "kafka.replicas";
const WRITE: &str = "kafka.write";

/// The reason of a topic that the running bridge is forbidden to write to.
const FORBIDDEN: &str = "topic_forbidden";

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
        let running = context.running.clone();
        let asked = AskedSink { sink: sink.clone(), named, kafka, topics, running };
        Probe::blocking(&[REACH, TOPICS, REPLICAS, WRITE], sink, move |found| asked.ask(found))
    };
    kafka.map(probe).collect()
}

/// A sink whose cluster is asked.
pub(super) struct AskedSink {
    pub(super) sink: String,
    /// The option that names the configuration.
    named: String,
    kafka: KafkaOptions,
    topics: Vec<String>,
    running: Arc<RunningBridge>,
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
        replicas::safety(self, &admin, &seen.there).into_iter().for_each(|finding| found.add(finding));
    }

    fn unreached(&self, error: &KafkaAdminError) -> Finding {
        let found = match error {
            KafkaAdminError::Cluster { problem, .. } => format!("{}: {problem}", self.kafka.brokers),
            error => error.to_string(),
        };
        let tls = self.kafka.properties.iter().any(|(name, _)| name == "security.protocol");
        let first = self.first_broker();
        let command = if tls {
            format!("openssl s_client -connect {} </dev/null", quoted(first))
        } else {
            format!("kcat -b {} -L", quoted(first))
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
        if let Some(part) = self.running.sink(sink) {
            findings.extend(self.forbidden_in_use(part));
        }
        match admin.producer_id(PRODUCER_TIMEOUT) {
            Some(Ok(())) if findings.is_empty() => findings.extend(self.shown_by_use(seen)),
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

    /// What the running bridge was forbidden to publish.
    fn forbidden_in_use(&self, part: &RunningPart) -> Option<Finding> {
        let held: Vec<_> = part.held.iter().filter(|held| held.reason == FORBIDDEN).collect();
        let first = held.first()?;
        let found = format!(
            "the running bridge is forbidden to write to {}: {}; {}",
            counted(held.len(), "topic"),
            named(held.iter().map(|held| &*held.topic)),
            first.detail
        );
        let finding = Finding::failure(WRITE, &*self.sink, found);
        Some(
            finding.fix("grant the sink's user Write on its topics (a prefix will do)").command(self.grant()),
        )
    }

    /// To which topics the running bridge has published. Of the others a write alone would show it.
    fn shown_by_use(&self, seen: &SeenTopics<'_>) -> Vec<Finding> {
        let sink = &*self.sink;
        let published = self.running.sink(sink).map(|part| &*part.published).unwrap_or_default();
        let (took, others): (Vec<&str>, Vec<&str>) =
            seen.there.keys().partition(|topic| published.iter().any(|name| name == **topic));
        let mut findings = Vec::new();
        if !took.is_empty() {
            let found = format!("{} took records of the running bridge", counted(took.len(), "topic"));
            findings.push(Finding::ok(WRITE, sink, found));
        }
        if !others.is_empty() {
            let found = format!(
                "the cluster gives the idempotent producer its id; whether {} may be written to shows only \
                 when a record is published",
                counted(others.len(), "topic")
            );
            findings.push(
                Finding::unknown(WRITE, sink, found)
                    .fix("start the bridge and let events through: it then says which topics took one"),
            );
        }
        if findings.is_empty() {
            findings.push(Finding::unknown(WRITE, sink, "there is no topic to write to"));
        }
        findings
    }

    /// The command that creates what is missing.
    pub(super) fn apply(&self) -> String {
        format!(
            "fanbridge topics apply --sink {}{} --replication 3 --property min.insync.replicas=2",
            self.sink, self.named
        )
    }

    /// The first of its brokers, for commands.
    pub(super) fn first_broker(&self) -> &str {
        self.kafka.brokers.split(',').next().unwrap_or_default().trim()
    }

    fn grant(&self) -> String {
        let first = self.first_broker();
        let prefix = common_prefix(&self.topics);
        let topics = if prefix.is_empty() {
            "--topic '*'".into()
        } else {
            format!("--topic {} --resource-pattern-type prefixed", quoted(prefix))
        };
        format!(
            "kafka-acls.sh --bootstrap-server {} --add --allow-principal User:NAME --producer {topics}",
            quoted(first)
        )
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
