//! `fanbridge init`: prints a commented configuration to begin with.

use super::output::print;
use super::{Exit, Failure, notice};
use crate::config::{PLACEHOLDER_ACCOUNT, did_you_mean};
use crate::provider;

/// Arguments of `init`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Providers to take events from; the default is stream and fastpix, or stream alone from SQS and
    /// SNS
    #[arg(long, value_delimiter = ',')]
    provider: Vec<String>,
    /// How events arrive; several ways become several sources of one application
    #[arg(long, value_enum, value_delimiter = ',', default_value = "webhook")]
    from: Vec<SourceKind>,
    /// Where events are published
    #[arg(long, value_enum, default_value_t)]
    sink: SinkKind,
}

/// How a provider's events arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum SourceKind {
    /// The provider posts each event with a signature
    Webhook,
    /// The provider sends events to an SQS queue, and fanbridge reads the queue
    Sqs,
    /// The provider publishes events to an SNS topic, and SNS posts them to fanbridge
    Sns,
}

/// A kind of sink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum SinkKind {
    /// JSON Lines on the local disk
    #[default]
    File,
    /// A Kafka cluster
    Kafka,
    /// SNS topics
    Sns,
}

/// Prints a configuration that `check` accepts as soon as the environment variables it names are set.
///
/// # Errors
/// Exit code 2 if a provider is not built in.
pub fn run(args: &Args) -> Result<(), Failure> {
    let from = distinct(args.from.iter().copied());
    let usual: &[&str] = if from == [SourceKind::Webhook] { &["stream", "fastpix"] } else { &["stream"] };
    let names = match args.provider.is_empty() {
        true => usual.to_vec(),
        false => distinct(args.provider.iter().map(String::as_str)),
    };
    if let Some(name) = names.iter().find(|name| provider::builtin_named(name).is_none()) {
        let known: Vec<&str> = provider::builtin().iter().map(|definition| &*definition.provider).collect();
        let meant = did_you_mean(name, known.iter().copied());
        let message = format!("unknown provider `{name}`{meant} (built in: {})", known.join(", "));
        return Err(Failure::new(Exit::Usage, message));
    }
    print(&text(&names, &from, args.sink))?;
    notice(format_args!(
        "next: {}; then run: fanbridge check && fanbridge run",
        to_do(&names, &from, args.sink)
    ));
    Ok(())
}

/// Removes repetitions, because a configuration has each name once.
fn distinct<T: PartialEq>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut distinct = Vec::new();
    for item in items {
        if !distinct.contains(&item) {
            distinct.push(item);
        }
    }
    distinct
}

/// The steps that the user has to take before `check`.
fn to_do(providers: &[&str], from: &[SourceKind], sink: SinkKind) -> String {
    let mut steps = Vec::new();
    if from.contains(&SourceKind::Webhook) {
        let variables: Vec<String> = providers.iter().map(|name| variable(name)).collect();
        steps.push(format!("set {}", variables.join(" and ")));
    }
    if sink == SinkKind::Kafka {
        steps.push("set KAFKA_BROKERS".to_owned());
    }
    if sink == SinkKind::Sns || from.iter().any(|way| *way != SourceKind::Webhook) {
        steps.push(format!("replace {PLACEHOLDER_ACCOUNT} and eu-west-1 by your account and region"));
    }
    if steps.is_empty() { "read the configuration through".to_owned() } else { steps.join(", ") }
}

/// The text of the configuration.
pub fn text(providers: &[&str], from: &[SourceKind], sink: SinkKind) -> String {
    let sources: String =
        providers.iter().flat_map(|name| from.iter().map(|way| source(name, *way))).collect();
    let sink = match sink {
        SinkKind::File => FILE_SINK,
        SinkKind::Kafka => KAFKA_SINK,
        SinkKind::Sns => SNS_SINK,
    };
    format!("{HEAD}\nsources:\n{sources}\n{SELECT}\nsinks:\n{sink}")
}

const HEAD: &str = "\
# fanbridge: takes signed webhooks, keeps them in one durable log, publishes one topic per event family.
# Check this file with `fanbridge check`, use it with `fanbridge run`.
http: { listen: 0.0.0.0:8080 }    # where providers deliver; put TLS in front, or add `tls`
admin: { listen: 127.0.0.1:9090 } # health, metrics and the admin API: for operators only

spool:
  dir: fanbridge-data             # one process owns it; choose a disk that lasts
  bytes_max: 20 GiB               # when full, deliveries are answered 503 and none is lost
  retain: 24h                     # how long delivered events can be sent again: `fanbridge replay`
";

const SELECT: &str = "\
# `all` also takes types that do not exist yet; a list takes exactly the types on it:
# `fanbridge types --yaml` prints the names to paste.
select: all
";

const FILE_SINK: &str = "  \
  local:
    file: { dir: fanbridge-topics }      # <dir>/<topic>/*.jsonl, one CloudEvent per line; never in the spool
    topic: \"{provider}.{family}\"         # `fanbridge topics plan` lists the resulting topics
";

const KAFKA_SINK: &str = "  \
  lake:
    kafka:
      brokers: env:KAFKA_BROKERS         # host:port,host:port
      # tls: {}
      # sasl: { username: env:KAFKA_USER, password: env:KAFKA_PASSWORD }
    topic: \"{provider}.{family}\"         # `fanbridge topics plan` lists the resulting topics
";

const SNS_SINK: &str = "  \
  topics:
    sns: {}                              # credentials from the environment, a profile or a role
    # dots of a family become `-`; `fanbridge topics plan` lists the resulting topics
    topic: \"arn:aws:sns:eu-west-1:111111111111:{provider}-{family}\"
";

fn source(provider: &str, way: SourceKind) -> String {
    match way {
        SourceKind::Webhook => format!(
            "  {provider}: # POST /in/{provider}; list the old and the new secret while you replace it\n    \
             provider: {provider}\n    secrets: [env:{}]\n{}",
            variable(provider),
            body_bytes_max(provider)
        ),
        SourceKind::Sqs => format!(
            "  {provider}-queue: # fanbridge trusts every sender that the queue's policy allows\n{}    \
             provider: {provider}\n    sqs: {{ queue_url: \
             \"https://sqs.eu-west-1.amazonaws.com/111111111111/{provider}-events\" }}\n",
            policy(provider, "SQS:SendMessage", "sqs")
        ),
        SourceKind::Sns => format!(
            "  {provider}-topic: # subscribe https://your.host/in/{provider}-topic to these topics\n{}    \
             provider: {provider}\n    sns: {{ topics: \
             [\"arn:aws:sns:eu-west-1:111111111111:{provider}-events\"] }}\n",
            policy(provider, "SNS:Publish", "sns")
        ),
    }
}

/// The statement that a queue's or topic's policy needs so that the provider can send to it, as a
/// comment. Only Stream sends to AWS by itself, from an account of its own (stated in
/// `docs/webhooks/sqs.md` and `sns.md` of its Go client for Chat); events of other providers come
/// through the user's own account.
fn policy(provider: &str, action: &str, service: &str) -> String {
    if provider != "stream" {
        let what = "sends nothing to AWS: you need a service of your own that forwards its webhooks here";
        return format!("    # {provider} {what}.\n");
    }
    format!(
        "    # Its policy needs this statement, which allows {provider} to send:\n    \
         # {{\"Sid\":\"AllowStreamProdAccount\",\"Effect\":\"Allow\",\"Principal\":{{\"AWS\":\
         \"arn:aws:iam::185583345998:root\"}},\"Action\":\"{action}\",\"Resource\":\
         \"arn:aws:{service}:eu-west-1:111111111111:{provider}-events\"}}\n"
    )
}

/// The limit on bodies of a provider whose bodies exceed the default. GitHub's documentation of
/// webhooks says that a payload has at most 25 MB, and GitHub does not send a refused delivery again.
fn body_bytes_max(provider: &str) -> &'static str {
    match provider {
        "github" => "    body_bytes_max: 25 MiB             # GitHub's largest body; a topic may take less\n",
        _ => "",
    }
}

/// The environment variable with a provider's secret.
fn variable(provider: &str) -> String {
    format!("{}_SECRET", provider.to_uppercase().replace('-', "_"))
}
