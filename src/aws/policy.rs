//! The IAM policy of a bridge: exactly what it calls, on exactly what it calls it (pure).
//!
//! No statement has a `*` as its resource, and none stands there without one. The same grants give the same
//! bytes, so that a policy can be kept and compared.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::arn::MskCluster;

/// Most characters of a managed policy, white space apart.
pub const MANAGED_CHARACTERS_MAX: usize = 6_144;
/// Most characters of all policies that are written into one role, white space apart.
pub const INLINE_CHARACTERS_MAX: usize = 10_240;

/// What a bridge works on, by ARN.
#[derive(Debug, Default)]
pub struct Grants {
    /// Queues that are read.
    pub queues: BTreeSet<String>,
    /// Topics whose question whether to subscribe is answered.
    pub confirmed: BTreeSet<String>,
    /// Topics that are published to.
    pub published: BTreeSet<String>,
    /// Clusters that are published to with IAM, each with the names of its topics.
    pub clusters: BTreeMap<MskCluster, BTreeSet<String>>,
    /// Secrets that are read.
    pub secrets: BTreeSet<String>,
    /// Parameters that are read.
    pub parameters: BTreeSet<String>,
    /// Keys with which queues are encrypted.
    pub queue_keys: BTreeSet<String>,
    /// Keys with which topics are encrypted that are published to.
    pub topic_keys: BTreeSet<String>,
    /// Keys with which secrets and parameters are encrypted.
    pub secret_keys: BTreeSet<String>,
    /// Whether `fanbridge doctor` may look at queues and topics.
    pub doctor: bool,
    /// Whether `fanbridge topics apply` may create topics.
    pub topics_apply: bool,
}

/// A policy document.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Policy {
    version: &'static str,
    statement: Vec<Statement>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Statement {
    sid: &'static str,
    effect: &'static str,
    action: &'static [&'static str],
    resource: BTreeSet<String>,
}

impl Grants {
    /// The policy that grants this and nothing else.
    pub fn policy(&self) -> Policy {
        let clusters = || self.clusters.keys().map(|cluster| cluster.as_str().to_owned()).collect();
        let cluster_topics = || {
            let topics = self.clusters.iter().flat_map(|(cluster, topics)| {
                topics.iter().map(|topic| cluster.topic(topic)).collect::<Vec<_>>()
            });
            topics.collect::<BTreeSet<_>>()
        };
        let only = |is_granted: bool, resource: BTreeSet<String>| match is_granted {
            true => resource,
            false => BTreeSet::new(),
        };
        let looks = self.doctor || self.topics_apply;
        let statements: [(&'static str, &'static [&'static str], BTreeSet<String>); 15] = [
            (
                "ReadQueues",
                &["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:ReceiveMessage"],
                self.queues.clone(),
            ),
            ("ConfirmSubscriptions", &["sns:ConfirmSubscription"], self.confirmed.clone()),
            ("PublishTopics", &["sns:Publish"], self.published.clone()),
            ("ConnectCluster", &["kafka-cluster:Connect", "kafka-cluster:WriteDataIdempotently"], clusters()),
            ("WriteTopics", &["kafka-cluster:DescribeTopic", "kafka-cluster:WriteData"], cluster_topics()),
            ("ReadSecrets", &["secretsmanager:GetSecretValue"], self.secrets.clone()),
            ("ReadParameters", &["ssm:GetParameter"], self.parameters.clone()),
            ("DecryptQueues", &["kms:Decrypt"], self.queue_keys.clone()),
            ("EncryptTopics", &["kms:Decrypt", "kms:GenerateDataKey"], self.topic_keys.clone()),
            ("DecryptSecrets", &["kms:Decrypt"], self.secret_keys.clone()),
            ("InspectQueues", &["sqs:GetQueueAttributes"], only(self.doctor, self.queues.clone())),
            ("InspectTopics", &["sns:GetTopicAttributes"], only(looks, self.published.clone())),
            (
                "CreateTopics",
                &["sns:CreateTopic", "sns:TagResource"],
                only(self.topics_apply, self.published.clone()),
            ),
            (
                "InspectClusterTopics",
                &["kafka-cluster:DescribeTopicDynamicConfiguration"],
                only(looks, cluster_topics()),
            ),
            (
                "CreateClusterTopics",
                &["kafka-cluster:CreateTopic"],
                only(self.topics_apply, cluster_topics()),
            ),
        ];
        let needed = statements.into_iter().filter(|(.., resource)| !resource.is_empty());
        let statement = |(sid, action, resource)| Statement { sid, effect: "Allow", action, resource };
        Policy { version: "2012-10-17", statement: needed.map(statement).collect() }
    }
}

impl Policy {
    /// Whether it grants nothing; AWS takes no such policy.
    pub fn is_empty(&self) -> bool {
        self.statement.is_empty()
    }

    /// How many characters of it count towards the bounds of AWS.
    pub fn characters(&self) -> usize {
        // No value of it has white space.
        serde_json::to_string(self).map_or(0, |text| text.chars().count())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn set(texts: &[&str]) -> BTreeSet<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    fn sids(grants: &Grants) -> Vec<&'static str> {
        grants.policy().statement.iter().map(|statement| statement.sid).collect()
    }

    #[test]
    fn a_statement_stands_there_if_it_has_something_to_stand_for() {
        assert!(Grants::default().policy().is_empty());
        let cluster = "arn:aws:kafka:eu-west-1:123456789012:cluster/events/5d1c-7";
        let clusters = [(cluster.parse().unwrap(), set(&["stream.user"]))].into();
        let (queues, published) = (set(&["q"]), set(&["t"]));
        let mut grants = Grants { queues, published, clusters, ..Grants::default() };
        let runs = ["ReadQueues", "PublishTopics", "ConnectCluster", "WriteTopics"];
        assert_eq!(sids(&grants), runs);
        grants.doctor = true;
        let looks = ["InspectQueues", "InspectTopics", "InspectClusterTopics"];
        assert_eq!(sids(&grants), [&runs[..], &looks].concat());
        (grants.doctor, grants.topics_apply) = (false, true);
        let applies = ["InspectTopics", "CreateTopics", "InspectClusterTopics", "CreateClusterTopics"];
        assert_eq!(sids(&grants), [&runs[..], &applies].concat());
        let text = serde_json::to_string(&grants.policy()).unwrap();
        assert!(text.contains("\"arn:aws:kafka:eu-west-1:123456789012:topic/events/5d1c-7/stream.user\""));
        assert_eq!(grants.policy().characters(), text.len());
    }

    #[test]
    fn each_key_decrypts_what_it_encrypts() {
        let grants = Grants { queue_keys: set(&["a"]), ..Grants::default() };
        assert_eq!(sids(&grants), ["DecryptQueues"]);
        let grants = Grants { topic_keys: set(&["a"]), secret_keys: set(&["a"]), ..Grants::default() };
        let text = serde_json::to_string(&grants.policy()).unwrap();
        let expected = "{\"Version\":\"2012-10-17\",\"Statement\":[\
             {\"Sid\":\"EncryptTopics\",\"Effect\":\"Allow\",\
             \"Action\":[\"kms:Decrypt\",\"kms:GenerateDataKey\"],\"Resource\":[\"a\"]},\
             {\"Sid\":\"DecryptSecrets\",\"Effect\":\"Allow\",\"Action\":[\"kms:Decrypt\"],\
             \"Resource\":[\"a\"]}]}";
        assert_eq!(text, expected);
    }
}
