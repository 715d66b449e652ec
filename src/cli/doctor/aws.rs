//! Checks of AWS: the queues that are read and who may send to them, the topics that are published to and
//! their keys.

use futures_util::StreamExt;
use futures_util::stream;

use super::context::Context;
use super::finding::{counted, named};
use super::policy::QueuePolicy;
use super::probe::FoundSoFar;
use super::{Finding, Probe};
use crate::aws::Aws;
use crate::aws::arn::TopicArn;
use crate::explain::cause::quoted;
use crate::sink::Output;
use crate::sink::sns::{SnsAdmin, SnsSinkOptions};
use crate::source::Channel;
use crate::source::sqs::{OnMalformed, QueueAdminError, SqsOptions, queue_attributes};

const QUEUE: &str = "sqs.queue";
const POLICY: &str = "sqs.policy";
const TOPIC: &str = "sns.topic";
const KEY: &str = "sns.kms";

/// The account from which Stream sends to queues and topics.
const STREAMS_ACCOUNT: &str = "185583345998";
/// The key that every account has for SNS.
const MANAGED_KEY: &str = "alias/aws/sns";
/// Topics that are asked for at once.
const ASKED_AT_ONCE: usize = 8;

/// The checks of each queue and each SNS sink.
pub(super) fn probes(context: &Context) -> Vec<Probe> {
    let config = &context.config;
    let aws = Aws::new(config.aws.clone());
    let mut probes = Vec::new();
    for source in &config.sources {
        let Channel::Sqs(queue) = &source.channel else { continue };
        let is_streams = &*source.definition.provider == "stream";
        let asked = AskedQueue { source: source.name.to_string(), queue: queue.clone(), is_streams };
        let aws = aws.clone();
        probes.push(Probe::new(&[QUEUE, POLICY], &*source.name, |found| async move {
            asked.look(&aws, &found).await;
        }));
    }
    for sink in &config.sinks {
        let Output::Sns(sns) = &sink.output else { continue };
        let topics = config.topics(sink).into_iter().map(|topic| topic.name).collect();
        let apply = format!("fanbridge topics apply --sink {}{}", sink.name, context.named);
        let has_published = context.running.sink(&sink.name).is_some_and(|sink| !sink.published.is_empty());
        let asked =
            AskedTopics { sink: sink.name.clone(), options: sns.clone(), topics, apply, has_published };
        let aws = aws.clone();
        probes.push(Probe::new(&[TOPIC, KEY], &*sink.name, |found| async move {
            asked.look(&aws, &found).await;
        }));
    }
    probes
}

/// A queue that is asked about.
struct AskedQueue {
    source: String,
    queue: SqsOptions,
    is_streams: bool,
}

impl AskedQueue {
    async fn look(&self, aws: &Aws, found: &FoundSoFar) {
        let source = &*self.source;
        let attributes = match queue_attributes(&self.queue, aws).await {
            Ok(attributes) => attributes,
            Err(error) => {
                found.add(self.unread(&error));
                found.add(Finding::unknown(POLICY, source, format!("not known: {error}")));
                return;
            }
        };
        let redrives = attributes.contains_key("RedrivePolicy");
        let seconds = |name: &str| attributes.get(name).and_then(|value| value.parse::<u64>().ok());
        let kept = seconds("MessageRetentionPeriod").unwrap_or_default() / 3600;
        found.add(if !redrives && self.queue.on_malformed == OnMalformed::Redrive {
            let text = "the queue has no redrive policy, to which `on_malformed: redrive` leaves what cannot \
                        become an event: that comes again for ever";
            Finding::failure(QUEUE, source, text)
                .fix("give the queue a dead-letter queue, or set `on_malformed: dead_letter`")
                .command(self.set("RedrivePolicy"))
        } else {
            let waiting = attributes.get("ApproximateNumberOfMessages").map_or("?", String::as_str);
            let text = format!("it is there, with {waiting} messages, and keeps them for {kept} h");
            Finding::ok(QUEUE, source, text)
        });
        let policy = attributes.get("Policy").filter(|policy| !policy.is_empty());
        self.policy(policy.map(String::as_str)).into_iter().for_each(|finding| found.add(finding));
    }

    fn unread(&self, error: &QueueAdminError) -> Finding {
        let source = &*self.source;
        let text = format!("{}: {error}", self.queue.queue_url);
        match error {
            QueueAdminError::Missing => Finding::failure(QUEUE, source, text)
                .fix("the queue's URL, its region and the account of the credentials"),
            QueueAdminError::Credentials(_) => Finding::failure(QUEUE, source, text)
                .fix("credentials of an account that can read the queue")
                .command("aws sts get-caller-identity"),
            QueueAdminError::Denied => Finding::unknown(QUEUE, source, text)
                .fix("`sqs:GetQueueAttributes`; the bridge itself does without it"),
            QueueAdminError::Failed(_) => Finding::failure(QUEUE, source, text)
                .fix("the way out to AWS, `aws.endpoint`, and the service's own state"),
        }
    }

    fn policy(&self, text: Option<&str>) -> Vec<Finding> {
        let source = &*self.source;
        let policy = match text.map(QueuePolicy::parse) {
            None => QueuePolicy::default(),
            Some(None) => {
                return vec![
                    Finding::unknown(POLICY, source, "the queue's policy cannot be read")
                        .command(self.show()),
                ];
            }
            Some(Some(policy)) => policy,
        };
        let mut findings = Vec::new();
        if !policy.open_to_all.is_empty() {
            let text = format!(
                "anybody may send to the queue, whose messages are not signed: statement {} allows \
                 `Principal: *` without a Condition",
                named(policy.open_to_all.iter().map(String::as_str))
            );
            findings.push(
                Finding::failure(POLICY, source, text)
                    .fix(format!(
                        "name who may send ({}), or add a Condition such as aws:SourceArn",
                        self.sender()
                    ))
                    .command(self.set("Policy")),
            );
        }
        let is_named = policy.accounts.iter().any(|account| account == STREAMS_ACCOUNT);
        if self.is_streams && !is_named && !policy.takes_from_topics && policy.open_to_all.is_empty() {
            let text = format!(
                "it does not name Stream's account {STREAMS_ACCOUNT}: Stream cannot send, unless its hook \
                 has a key or a role of yours"
            );
            findings.push(
                Finding::warning(POLICY, source, text)
                    .fix(format!("allow {} `SQS:SendMessage` on this queue", self.sender()))
                    .command(self.set("Policy")),
            );
        }
        if findings.is_empty() {
            let text = match text {
                None => "no policy: nobody outside of the queue's account may send".to_owned(),
                Some(_) => "it lets in only whom it names".to_owned(),
            };
            findings.push(Finding::ok(POLICY, source, text));
        }
        findings
    }

    fn sender(&self) -> String {
        if self.is_streams {
            format!("`arn:aws:iam::{STREAMS_ACCOUNT}:root`")
        } else {
            "the sender's account".into()
        }
    }

    fn set(&self, attribute: &str) -> String {
        let attributes = format!("{}.json", attribute.to_ascii_lowercase());
        format!(
            "aws sqs set-queue-attributes --queue-url {} --attributes file://{attributes}",
            quoted(&self.queue.queue_url)
        )
    }

    fn show(&self) -> String {
        let url = quoted(&self.queue.queue_url);
        format!("aws sqs get-queue-attributes --queue-url {url} --attribute-names Policy")
    }
}

/// The topics of a sink.
struct AskedTopics {
    sink: String,
    options: SnsSinkOptions,
    topics: Vec<String>,
    apply: String,
    has_published: bool,
}

impl AskedTopics {
    async fn look(&self, aws: &Aws, found: &FoundSoFar) {
        let sink = &*self.sink;
        let admin = match Box::pin(SnsAdmin::new(&self.options, aws)).await {
            Ok(admin) => admin,
            Err(error) => {
                found.add(
                    Finding::failure(TOPIC, sink, error.to_string())
                        .fix("credentials that can publish to the sink's topics")
                        .command("aws sts get-caller-identity"),
                );
                return found.add(Finding::unknown(KEY, sink, "not asked, because there are no credentials"));
            }
        };
        let arns: Vec<TopicArn> =
            self.topics.iter().filter_map(|topic| TopicArn::parse(topic).ok()).collect();
        let asked = stream::iter(arns).map(|arn| async {
            let answer = Box::pin(admin.attributes(&arn)).await;
            (arn, answer)
        });
        let (mut missing, mut unread, mut own_keys, mut there) = (Vec::new(), Vec::new(), Vec::new(), 0);
        let mut answers = Box::pin(asked.buffered(ASKED_AT_ONCE));
        while let Some((arn, answer)) = answers.next().await {
            match answer {
                Ok(None) => missing.push(arn.name().to_owned()),
                Err(error) => unread.push(error.to_string()),
                Ok(Some(attributes)) => {
                    there += 1;
                    let key = attributes.get("KmsMasterKeyId").filter(|key| !key.is_empty());
                    own_keys
                        .extend(key.filter(|key| !key.ends_with(MANAGED_KEY)).map(|_| arn.name().to_owned()));
                }
            }
        }
        self.existence(there, &missing, &unread).into_iter().for_each(|finding| found.add(finding));
        found.add(self.keys(there, &own_keys));
    }

    fn existence(&self, there: usize, missing: &[String], unread: &[String]) -> Vec<Finding> {
        let sink = &*self.sink;
        let mut findings = Vec::new();
        if !missing.is_empty() {
            let names = named(missing.iter().map(String::as_str));
            let text =
                format!("{} of {} do not exist: {names}", missing.len(), counted(self.topics.len(), "topic"));
            findings.push(
                Finding::failure(TOPIC, sink, text)
                    .fix("create them; the bridge never does")
                    .command(&*self.apply),
            );
        }
        if let Some(first) = unread.first() {
            let text = format!("{} not known: {first}", counted(unread.len(), "topic"));
            findings.push(
                Finding::unknown(TOPIC, sink, text).fix(
                    "`sns:GetTopicAttributes`, which the bridge itself does without; the way out to AWS",
                ),
            );
        }
        if findings.is_empty() {
            findings.push(Finding::ok(TOPIC, sink, format!("{} that exist", counted(there, "topic"))));
        }
        findings
    }

    fn keys(&self, there: usize, own: &[String]) -> Finding {
        let sink = &*self.sink;
        if there == 0 {
            return Finding::skipped(KEY, sink, "there is no topic to look at");
        }
        if own.is_empty() {
            return Finding::ok(KEY, sink, "no topic is encrypted with a key of yours");
        }
        let names = named(own.iter().map(String::as_str));
        let text = format!("{} encrypted with a key of yours: {names}", counted(own.len(), "topic"));
        if self.has_published {
            return Finding::ok(KEY, sink, format!("{text}; the running bridge has published to the sink"));
        }
        Finding::unknown(
            KEY,
            sink,
            format!("{text}; whether these credentials may use it shows in a publication"),
        )
        .fix("`kms:GenerateDataKey` and `kms:Decrypt` on the key")
    }
}
