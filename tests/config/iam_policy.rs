//! `fanbridge iam-policy`: what it needs to know, and how it says so.

use std::fs;

use serde_json::Value;

use super::verbs::{Ran, directory, fanbridge};

/// Runs the verb on this configuration, in an environment without a single secret.
fn policy(text: &str, options: &[&str]) -> Ran {
    let dir = directory();
    fs::write(dir.path().join("fanbridge.yaml"), text).expect("written");
    fanbridge(&dir, &[&["iam-policy"], options].concat(), &[])
}

/// The resources of a statement.
fn resources(ran: &Ran, sid: &str) -> Vec<String> {
    let policy: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{}", ran.stderr));
    let statements = policy["Statement"].as_array().expect("statements");
    let named = statements.iter().filter(|statement| statement["Sid"] == sid);
    let resources = named.flat_map(|statement| statement["Resource"].as_array().expect("a list"));
    resources.map(|resource| resource.as_str().expect("a text").to_owned()).collect()
}

const WEBHOOK: &str = "sources:\n  stream: { provider: stream, secrets: [env:STREAM_SECRET] }\n";
const KAFKA: &str = "select: [call.created]\nsinks:\n  lake: { kafka: { brokers: env:KAFKA_BROKERS } }\n";
const CLUSTER: &str = "arn:aws:kafka:eu-west-1:123456789012:cluster/events/5d1c-7";

#[test]
fn a_queue_of_every_partition_is_granted_by_its_arn_and_nothing_else_is() {
    for (url, arn) in [
        (
            "https://sqs.eu-west-1.amazonaws.com/123456789012/events.fifo",
            "arn:aws:sqs:eu-west-1:123456789012:events.fifo",
        ),
        (
            "https://sqs.cn-north-1.amazonaws.com.cn/123456789012/events",
            "arn:aws-cn:sqs:cn-north-1:123456789012:events",
        ),
        (
            "https://sqs.us-gov-west-1.amazonaws.com/123456789012/events",
            "arn:aws-us-gov:sqs:us-gov-west-1:123456789012:events",
        ),
    ] {
        let ran =
            policy(&format!("sources:\n  a: {{ provider: stream, sqs: {{ queue_url: \"{url}\" }} }}\n"), &[]);
        assert_eq!(resources(&ran, "ReadQueues"), [arn]);
        assert_eq!(ran.stdout.matches("\"Sid\"").count(), 1, "{}", ran.stdout);
    }
}

#[test]
fn a_queue_of_an_emulator_has_the_region_of_the_configuration() {
    let text = |aws: &str| {
        format!(
            "aws: {{ endpoint: \"http://127.0.0.1:4566\"{aws} }}\nsources:\n  \
             a: {{ provider: stream, sqs: {{ queue_url: \"http://127.0.0.1:4566/000000000000/events\" }} }}\n"
        )
    };
    let ran = policy(&text(", region: eu-west-1"), &[]);
    assert_eq!(resources(&ran, "ReadQueues"), ["arn:aws:sqs:eu-west-1:000000000000:events"]);
    let ran = policy(&text(""), &[]);
    assert!(ran.code == Some(78) && ran.stderr.contains("set `region` of the queue"), "{}", ran.stderr);
}

#[test]
fn the_topics_of_a_cluster_are_granted_if_the_cluster_is_named() {
    let text = format!("{WEBHOOK}{KAFKA}");
    let ran = policy(&text, &[]);
    assert_eq!(ran.code, Some(0));
    assert!(ran.stderr.contains("needs no permission of AWS"), "{}", ran.stderr);
    let ran = policy(&text, &["--msk-cluster", &format!("lake={CLUSTER}")]);
    assert_eq!(resources(&ran, "ConnectCluster"), [CLUSTER]);
    let topic = "arn:aws:kafka:eu-west-1:123456789012:topic/events/5d1c-7/stream.video.call-lifecycle";
    assert_eq!(resources(&ran, "WriteTopics"), [topic]);

    for (cluster, said) in [
        (format!("lane={CLUSTER}"), "did you mean `lake`"),
        (CLUSTER.to_owned(), "expected the name of a sink"),
        ("lake=arn:aws:kafka:eu-west-1:123456789012:cluster/events".to_owned(), "cluster/{name}/{uuid}"),
    ] {
        let ran = policy(&text, &["--msk-cluster", &cluster]);
        assert!(ran.code == Some(2) && ran.stderr.contains(said), "{cluster}: {}", ran.stderr);
    }
}

#[test]
fn a_sink_that_uses_iam_has_to_have_its_cluster_named() {
    let sink = "sinks:\n  lake: { kafka: { brokers: env:B, tls: {}, sasl: { mechanism: AWS_MSK_IAM } } }\n";
    let text = format!("aws: {{ region: eu-west-1 }}\nselect: [call.created]\n{WEBHOOK}{sink}");
    let ran = policy(&text, &[]);
    assert!(ran.code == Some(2) && ran.stderr.contains("--msk-cluster lake=ARN"), "{}", ran.stderr);
    let ran = policy(&text, &["--msk-cluster", &format!("lake={CLUSTER}")]);
    assert_eq!(resources(&ran, "ConnectCluster"), [CLUSTER]);
}

#[test]
fn what_is_no_key_and_no_account_is_refused_with_what_was_expected() {
    for (options, said) in [
        (["--queue-key", "alias/events"], "arn:aws:kms:{region}:{account}:key/{id}"),
        (
            ["--topic-key", "arn:aws:kms:eu-west-1:123456789012:alias/a"],
            "an alias is no resource of a policy",
        ),
        (["--secret-key", "arn:aws:kms:eu-west-1:123456789012:key/*"], "key/{id}"),
        (["--account", "12345"], "an account has 12 digits"),
        (["--with", "everything"], "topics-apply"),
    ] {
        let ran = policy(WEBHOOK, &options);
        assert!(ran.code == Some(2) && ran.stderr.contains(said), "{options:?}: {}", ran.stderr);
    }
    assert_eq!(fanbridge(&directory(), &["iam-policy"], &[]).code, Some(78), "there is no configuration");
}

#[test]
fn a_policy_that_is_too_large_for_a_managed_one_says_so() {
    let text = "sources:\n\
        \x20 github: { provider: github, secrets: [env:A] }\n\
        \x20 shopify: { provider: shopify, secrets: [env:B] }\n\
        \x20 stream: { provider: stream, secrets: [env:C] }\n\
        \x20 stripe: { provider: stripe, secrets: [env:D] }\n\
        sinks:\n  all: { sns: {}, topic: \"arn:aws:sns:eu-west-1:123456789012:a-name-that-many-topics-have-in-\
        common-{provider}-{family}\" }\n";
    let ran = policy(text, &[]);
    assert_eq!(resources(&ran, "PublishTopics").len(), 74);
    assert!(ran.stderr.contains("a managed one at most 6144"), "{}", ran.stderr);
    assert!(ran.stderr.contains("write it into the role itself"), "{}", ran.stderr);
    let all = policy(text, &["--with", "doctor,topics-apply"]);
    assert!(all.stderr.contains("make several policies of its statements"), "{}", all.stderr);
    let few = policy(&text.replace("sinks:", "select: [call.created]\nsinks:"), &[]);
    assert!(few.code == Some(0) && few.stderr.is_empty(), "{}", few.stderr);
}
