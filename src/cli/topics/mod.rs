//! `fanbridge topics`: lists every topic that the configuration can produce, says which exist, and
//! creates the missing ones.
//!
//! The running bridge never creates a topic, because a broker's defaults are seldom what the topic's
//! owner wants.

mod sns;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::json;

use super::client::block_on;
use super::output::{Format, Rows};
use super::{ConfigArgs, Exit, Failure, configuration, notice};
use crate::config::Config;
use crate::sink::kafka::KafkaOptions;
use crate::sink::kafka::{KafkaAdmin, KafkaAdminError, TopicShape};
use crate::sink::sns::TopicProperties;
use crate::sink::{Output, SinkOptions};

/// How long a cluster can take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Arguments of `topics`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Show every topic the configuration can produce, and whether it exists
    ///
    /// A record counts as delivered once every in-sync replica has it. So for Kafka this also warns about
    /// topics with one replica, and about topics whose `min.insync.replicas` is below 2.
    Plan(Plan),
    /// Create the topics that are missing
    ///
    /// For Kafka, `--replication 3 --property min.insync.replicas=2` makes an acknowledged record outlive
    /// the loss of a broker. Existing topics are not changed.
    Apply {
        #[command(flatten)]
        plan: Plan,
        /// Number of partitions of a new Kafka topic; the broker's default if left out
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
        partitions: Option<u16>,
        /// Number of replicas of a new Kafka topic; the broker's default if left out
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
        replication: Option<u16>,
        /// Property of a new Kafka topic, such as `min.insync.replicas=2`; can be repeated
        #[arg(long = "property", value_name = "NAME=VALUE", value_parser = sns::pair)]
        kafka_properties: Vec<(String, String)>,
        /// Attribute of a new SNS topic, such as `KmsMasterKeyId=alias/events`; can be repeated
        #[arg(long = "attribute", value_name = "NAME=VALUE", value_parser = sns::attribute)]
        attributes: Vec<(String, String)>,
        /// Tag of a new SNS topic; can be repeated
        #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = sns::pair)]
        tags: Vec<(String, String)>,
    },
}

#[derive(Debug, clap::Args)]
struct Plan {
    /// List only the topics of this sink
    #[arg(long)]
    sink: Option<String>,
    /// How to print the list
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    config: ConfigArgs,
}

/// The properties of new topics.
struct NewTopics {
    partitions: Option<u16>,
    replication: Option<u16>,
    kafka_properties: Vec<(String, String)>,
    properties: TopicProperties,
}

/// The state of each topic by name: `Ok(Some(…))` if it existed, with its shape if it has one,
/// `Ok(None)` if it was missing, or why it could not be created.
type States = BTreeMap<String, Result<Option<Option<TopicShape>>, String>>;

/// One topic in the list.
#[derive(Debug)]
struct Line {
    sink: String,
    topic: String,
    /// `standard` or `fifo` for an SNS topic.
    kind: Option<&'static str>,
    families: BTreeSet<String>,
    state: State,
}

#[derive(Debug)]
enum State {
    Exists(Option<TopicShape>),
    Missing,
    Created,
    Failed(String),
    /// A directory of a file sink, which makes it when it is needed.
    Directory,
}

impl State {
    fn weakness(&self) -> Option<String> {
        match self {
            Self::Exists(shape) => shape.as_ref()?.weakness(),
            _ => None,
        }
    }
}

/// Lists topics, or creates the missing ones.
///
/// # Errors
/// Exit code 1 if topics are missing (`plan`) or could not be created (`apply`), 75 if a cluster
/// does not answer, 78 if the configuration cannot be used.
pub fn run(args: &Args) -> Result<(), Failure> {
    let (plan, new) = match &args.verb {
        Verb::Plan(plan) => (plan, None),
        Verb::Apply { plan, partitions, replication, kafka_properties, attributes, tags } => {
            let properties = TopicProperties { attributes: attributes.clone(), tags: tags.clone() };
            let (partitions, replication) = (*partitions, *replication);
            let kafka_properties = kafka_properties.clone();
            (plan, Some(NewTopics { partitions, replication, kafka_properties, properties }))
        }
    };
    let config = configuration(&plan.config)?;
    let mut lines = Vec::new();
    for sink in sinks(&config, plan.sink.as_deref())? {
        lines.extend(look(&config, sink, new.as_ref())?);
    }
    rows(&lines).print(plan.format)?;
    for Line { topic, state, .. } in &lines {
        if let Some(weakness) = state.weakness() {
            notice(format_args!("warning: topic `{topic}`: {weakness}"));
        }
    }
    verdict(&lines)
}

fn sinks<'c>(config: &'c Config, only: Option<&str>) -> Result<Vec<&'c SinkOptions>, Failure> {
    let sinks: Vec<_> =
        config.sinks.iter().filter(|sink| only.is_none_or(|name| sink.name == name)).collect();
    match only {
        Some(name) if sinks.is_empty() => {
            Err(Failure::new(Exit::Usage, format!("there is no sink `{name}` in the configuration")))
        }
        _ => Ok(sinks),
    }
}

/// The sink's topics with their state, after creating missing ones if `new` is given.
fn look(config: &Config, sink: &SinkOptions, new: Option<&NewTopics>) -> Result<Vec<Line>, Failure> {
    let states = match &sink.output {
        Output::File(_) => BTreeMap::new(),
        Output::Kafka(kafka) => states(kafka, &names(config, sink), new)?,
        Output::Sns(sns) => {
            let properties = new.map(|new| &new.properties);
            block_on(sns::states(sns, &config.aws, &names(config, sink), properties))?
        }
    };
    let lines = config.topics(sink).into_iter().map(|topic| {
        let state = states.get(&topic.name).map_or(State::Directory, |found| match found {
            Ok(Some(shape)) => State::Exists(*shape),
            Ok(None) if new.is_some() => State::Created,
            Ok(None) => State::Missing,
            Err(problem) => State::Failed(problem.clone()),
        });
        let families = topic.from.into_iter().map(|(_, family, _)| family).collect();
        let kind = matches!(sink.output, Output::Sns(_)).then(|| sns::kind(&topic.name));
        Line { sink: sink.name.clone(), topic: topic.name, kind, families, state }
    });
    Ok(lines.collect())
}

fn names(config: &Config, sink: &SinkOptions) -> Vec<String> {
    config.topics(sink).into_iter().map(|topic| topic.name).collect()
}

/// The state of each of these topics of a cluster.
fn states(kafka: &KafkaOptions, names: &[String], new: Option<&NewTopics>) -> Result<States, Failure> {
    let admin = KafkaAdmin::new(kafka, TIMEOUT)?;
    let existing = admin.topics()?;
    let there: Vec<&str> =
        names.iter().filter(|name| existing.contains_key(*name)).map(String::as_str).collect();
    // Credentials that cannot read the property still see the topics: the property is reported as
    // unknown.
    let min_insync = block_on(async { Ok(admin.min_insync(&there).await.unwrap_or_default()) })?;
    let shape = |name: &String| {
        let shape = existing.get(name)?;
        Some(Some(TopicShape { min_insync: min_insync.get(name).copied(), ..*shape }))
    };
    let mut states: BTreeMap<_, _> = names.iter().map(|name| (name.clone(), Ok(shape(name)))).collect();
    let missing: Vec<&str> =
        names.iter().filter(|name| !existing.contains_key(*name)).map(String::as_str).collect();
    if let Some(NewTopics { partitions, replication, kafka_properties, .. }) = new
        && !missing.is_empty()
    {
        let created = admin.create(&missing, *partitions, *replication, kafka_properties);
        let created = block_on(async { Ok(created.await?) })?;
        for (name, problem) in created {
            if let Some(problem) = problem {
                states.insert(name, Err(problem));
            }
        }
    }
    Ok(states)
}

impl From<KafkaAdminError> for Failure {
    fn from(error: KafkaAdminError) -> Self {
        let exit = match error {
            KafkaAdminError::Sink(_) => Exit::Config,
            KafkaAdminError::Cluster { .. } => Exit::Temporary,
        };
        Self::new(exit, error.to_string())
    }
}

fn rows(lines: &[Line]) -> Rows {
    let mut rows = Rows::new(&["sink", "topic", "state", "kind", "partitions", "replication", "families"]);
    for Line { sink, topic, kind, families, state } in lines {
        let shape = match state {
            State::Exists(shape) => shape.as_ref(),
            _ => None,
        };
        let (word, problem) = match state {
            State::Exists(_) => ("exists", None),
            State::Missing => ("missing", None),
            State::Created => ("created", None),
            State::Failed(problem) => ("failed", Some(problem)),
            State::Directory => ("directory", None),
        };
        rows.add(json!({
            "sink": sink, "topic": topic, "state": word, "problem": problem, "kind": kind,
            "families": families, "partitions": shape.map(|shape| shape.partitions),
            "replication": shape.map(|shape| shape.replication),
            "min_insync_replicas": shape.and_then(|shape| shape.min_insync), "warning": state.weakness(),
        }));
    }
    rows
}

/// Fails with advice if a topic is missing or could not be created.
fn verdict(lines: &[Line]) -> Result<(), Failure> {
    let missing = lines.iter().filter(|line| matches!(line.state, State::Missing)).count();
    let failures: Vec<_> = lines
        .iter()
        .filter_map(|line| match &line.state {
            State::Failed(problem) => Some(format!("`{}`: {problem}", line.topic)),
            _ => None,
        })
        .collect();
    if !failures.is_empty() {
        Err(Failure::new(Exit::Failed, format!("could not create {}", failures.join("; "))))
    } else if missing > 0 {
        let advice = "create them with `fanbridge topics apply`";
        Err(Failure::new(Exit::Failed, format!("missing topics: {missing}; {advice}")))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(state: State) -> Line {
        Line {
            sink: "lake".into(),
            topic: "t".into(),
            kind: None,
            families: BTreeSet::from(["video".into()]),
            state,
        }
    }

    #[test]
    fn a_list_with_a_missing_or_refused_topic_fails_and_a_complete_one_does_not() {
        let exists = || {
            line(State::Exists(Some(TopicShape {
                partitions: 3,
                replication: 1,
                in_sync: 1,
                min_insync: None,
            })))
        };
        assert!(verdict(&[exists(), line(State::Created), line(State::Directory)]).is_ok());
        let missing = verdict(&[exists(), line(State::Missing)]).expect_err("one is missing");
        assert_eq!(missing.to_string(), "missing topics: 1; create them with `fanbridge topics apply`");
        let refused = verdict(&[line(State::Failed("PolicyViolation".into()))]).expect_err("one was refused");
        assert_eq!(refused.to_string(), "could not create `t`: PolicyViolation");
        assert_eq!(refused.exit, Exit::Failed);
    }

    #[test]
    fn a_row_shows_a_topics_state_and_shape() {
        let rows = rows(&[
            line(State::Exists(Some(TopicShape {
                partitions: 3,
                replication: 2,
                in_sync: 2,
                min_insync: Some(2),
            }))),
            line(State::Missing),
        ]);
        let table = rows.render(Format::Table);
        assert!(table.contains("exists") && table.contains("missing") && table.contains("video"), "{table}");
    }
}
