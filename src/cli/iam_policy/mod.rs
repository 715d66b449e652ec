//! `fanbridge iam-policy`: prints the least IAM policy with which a bridge of this configuration works.
//!
//! It is made of the written configuration alone: nothing is asked, and no secret is needed.

mod secrets;

use std::collections::BTreeMap;

use clap::ValueEnum;

use self::secrets::{Home, Kept, kept};
use super::output::print;
use super::{ConfigArgs, Exit, Failure, find, looked_at, notice};
use crate::aws::arn::{KeyArn, MskCluster, is_account, queue_arn};
use crate::aws::policy::{Grants, INLINE_CHARACTERS_MAX, MANAGED_CHARACTERS_MAX};
use crate::config::{LookedAt, did_you_mean};
use crate::sink::Output;
use crate::sink::kafka::BearerToken;
use crate::source::Channel;

/// Arguments of `iam-policy`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Also what this verb needs beside the bridge; can be repeated, or several with commas
    #[arg(long, value_enum, value_delimiter = ',', value_name = "VERB")]
    with: Vec<With>,
    /// ARN of the MSK cluster of a Kafka sink that uses IAM; can be repeated
    #[arg(long, value_name = "SINK=ARN", value_parser = cluster)]
    msk_cluster: Vec<(String, MskCluster)>,
    /// ARN of a key of yours with which a queue is encrypted; can be repeated
    #[arg(long, value_name = "ARN")]
    queue_key: Vec<KeyArn>,
    /// ARN of a key of yours with which a topic is encrypted that is published to; can be repeated
    #[arg(long, value_name = "ARN")]
    topic_key: Vec<KeyArn>,
    /// ARN of a key of yours with which a secret or a parameter is encrypted; can be repeated
    #[arg(long, value_name = "ARN")]
    secret_key: Vec<KeyArn>,
    /// Account of the secrets and parameters that the configuration names without an ARN
    #[arg(long, value_name = "ACCOUNT", value_parser = account)]
    account: Option<String>,
    #[command(flatten)]
    config: ConfigArgs,
}

/// A verb that asks AWS for more than the bridge does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum With {
    /// `fanbridge doctor`: look at queues and topics
    Doctor,
    /// `fanbridge topics apply`: create topics
    TopicsApply,
}

/// Prints the policy.
///
/// # Errors
/// Exit code 2 if something is missing that the configuration does not say, 78 if it cannot be used.
pub fn run(args: &Args) -> Result<(), Failure> {
    let path = find(&args.config).ok_or_else(|| {
        let advice = "name a file, or begin with `fanbridge init > fanbridge.yaml`";
        Failure::new(Exit::Config, format!("there is no fanbridge.yaml in this directory: {advice}"))
    })?;
    let looked = looked_at(&path)?;
    let policy = grants(args, &looked)?.policy();
    let text = serde_json::to_string_pretty(&policy)
        .map_err(|error| Failure::io("cannot write the policy", &error))?;
    if policy.is_empty() {
        notice("this configuration needs no permission of AWS: IAM takes no policy without a statement");
    }
    if let Some(note) = size_note(policy.characters()) {
        notice(note);
    }
    print(&format!("{text}\n"))
}

/// What a policy of so many characters does not fit into; `None` if it fits everywhere.
fn size_note(characters: usize) -> Option<String> {
    let bounds =
        format!("a managed one at most {MANAGED_CHARACTERS_MAX}, all in a role {INLINE_CHARACTERS_MAX}");
    if characters <= MANAGED_CHARACTERS_MAX {
        return None;
    }
    let advice = match characters <= INLINE_CHARACTERS_MAX {
        true => "write it into the role itself, or select fewer types",
        false => "make several policies of its statements, or give what `--with` adds to another role",
    };
    Some(format!("the policy has {characters} characters, {bounds}: {advice}"))
}

fn grants(args: &Args, looked: &LookedAt) -> Result<Grants, Failure> {
    let mut grants = Grants {
        queue_keys: args.queue_key.iter().map(|KeyArn(key)| key.clone()).collect(),
        topic_keys: args.topic_key.iter().map(|KeyArn(key)| key.clone()).collect(),
        secret_keys: args.secret_key.iter().map(|KeyArn(key)| key.clone()).collect(),
        doctor: args.with.contains(&With::Doctor),
        topics_apply: args.with.contains(&With::TopicsApply),
        ..Grants::default()
    };
    add_sources(&mut grants, looked)?;
    add_sinks(&mut grants, args, looked)?;
    let home = Home { region: looked.config.aws.region.as_deref(), account: args.account.as_deref() };
    for reference in &looked.references {
        match kept(reference, home).transpose().map_err(|problem| Failure::new(Exit::Usage, problem))? {
            Some(Kept::Secret(arn)) => drop(grants.secrets.insert(arn)),
            Some(Kept::Parameter(arn)) => drop(grants.parameters.insert(arn)),
            None => {}
        }
    }
    Ok(grants)
}

fn add_sources(grants: &mut Grants, looked: &LookedAt) -> Result<(), Failure> {
    for source in &looked.config.sources {
        let topics = match &source.channel {
            Channel::Webhook => continue,
            Channel::Sns(sns) => &sns.topics,
            Channel::Sqs(sqs) => {
                let region = sqs.region.as_deref().or(looked.config.aws.region.as_deref());
                let arn = queue_arn(&sqs.queue_url, region).map_err(|problem| {
                    let message = format!("the queue {} of source {}: {problem}", sqs.queue_url, source.name);
                    Failure::new(Exit::Config, message)
                })?;
                grants.queues.insert(arn);
                &sqs.confirm_topics
            }
        };
        grants.confirmed.extend(topics.iter().map(|topic| topic.as_str().to_owned()));
    }
    Ok(())
}

fn add_sinks(grants: &mut Grants, args: &Args, looked: &LookedAt) -> Result<(), Failure> {
    let clusters: BTreeMap<&str, &MskCluster> =
        args.msk_cluster.iter().map(|(sink, cluster)| (&**sink, cluster)).collect();
    let kafka = || {
        let kafka = looked.config.sinks.iter().filter(|sink| matches!(sink.output, Output::Kafka(_)));
        kafka.map(|sink| &*sink.name)
    };
    if let Some(name) = clusters.keys().find(|name| !kafka().any(|sink| sink == **name)) {
        let message =
            format!("--msk-cluster: there is no Kafka sink `{name}`{}", did_you_mean(name, kafka()));
        return Err(Failure::new(Exit::Usage, message));
    }
    for sink in &looked.config.sinks {
        let topics = || looked.config.topics(sink).into_iter().map(|topic| topic.name);
        match (&sink.output, clusters.get(&*sink.name)) {
            (Output::Sns(_), _) => grants.published.extend(topics()),
            (Output::Kafka(_), Some(&cluster)) => {
                grants.clusters.entry(cluster.clone()).or_default().extend(topics());
            }
            (Output::Kafka(kafka), None) if matches!(kafka.token, Some(BearerToken::MskIam(_))) => {
                let name = &sink.name;
                let message = format!(
                    "sink {name} uses IAM, and the configuration does not name its cluster: add \
                     --msk-cluster {name}=ARN (`aws kafka list-clusters-v2` has it)"
                );
                return Err(Failure::new(Exit::Usage, message));
            }
            (Output::Kafka(_) | Output::File(_), _) => {}
        }
    }
    Ok(())
}

fn cluster(text: &str) -> Result<(String, MskCluster), String> {
    let (sink, arn) =
        text.split_once('=').ok_or("expected the name of a sink, `=` and the ARN of its cluster")?;
    Ok((sink.to_owned(), arn.parse()?))
}

fn account(text: &str) -> Result<String, String> {
    if is_account(text) { Ok(text.to_owned()) } else { Err("an account has 12 digits".into()) }
}
