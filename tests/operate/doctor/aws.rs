//! Queues and topics, against the emulator.

use super::Diagnosis;
use crate::support::aws::{Aws, REGION};
use crate::support::bridge::Home;
use crate::support::turns;

/// Credentials that the emulator takes.
const AS_TESTER: [&str; 3] = ["env", "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test"];
const SQS: [&str; 2] = ["--only", "sqs.queue,sqs.policy"];
const SNS: [&str; 2] = ["--only", "sns.topic,sns.kms"];

fn configure(home: &Home, endpoint: &str, sources: &[(&str, &str, &str)], sinks: &str) {
    let sources: String = sources
        .iter()
        .map(|(name, url, more)| {
            format!(
                "  {name}: {{ provider: stream, app: {name}, sqs: {{ queue_url: \"{url}\", {more} }} }}\n"
            )
        })
        .collect();
    home.configure(
        "",
        &format!("{sources}aws: {{ endpoint: \"{endpoint}\", region: {REGION} }}\nsinks:\n{sinks}"),
    );
}

fn files(home: &Home) -> String {
    format!("  local: {{ file: {{ dir: {} }} }}\n", home.path("topics").display())
}

fn policy(principal: &str, condition: &str) -> String {
    format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Sid":"in","Effect":"Allow","Principal":{principal},"Action":"sqs:SendMessage","Resource":"*"{condition}}}]}}"#
    )
}

#[test]
fn a_queue_that_anybody_may_send_to_is_a_failure_and_one_that_stream_may_not_send_to_a_warning() {
    let _turn = turns::in_company();
    let Some(aws) = Aws::connect("the policy of a queue") else { return };
    let home = Home::new();
    let open = aws.queue("open", &[("Policy", &policy("\"*\"", ""))]);
    let account = |number: &str| policy(&format!(r#"{{"AWS":"arn:aws:iam::{number}:root"}}"#), "");
    let streams = aws.queue("streams", &[("Policy", &account("185583345998"))]);
    let others = aws.queue("others", &[("Policy", &account("111111111111"))]);
    let condition = r#","Condition":{"ArnEquals":{"aws:SourceArn":"arn:aws:sns:us-east-1:111111111111:t"}}"#;
    let topics = aws.queue("topics", &[("Policy", &policy("\"*\"", condition))]);
    let none = aws.queue("none", &[]);
    let missing = format!("{}-missing", none.url);
    configure(
        &home,
        aws.endpoint(),
        &[
            ("open", &*open.url, ""),
            ("streams", &*streams.url, ""),
            ("others", &*others.url, ""),
            ("topics", &*topics.url, ""),
            ("bare", &*none.url, "on_malformed: redrive"),
            ("missing", &*missing, ""),
        ],
        &files(&home),
    );
    let said = Diagnosis::under(&AS_TESTER, &home, &SQS);
    said.fails("sqs.policy", &["open", "anybody may send to the queue", "185583345998", "Condition"]);
    said.says("sqs.policy", "ok", &["\"streams\""]);
    said.warns("sqs.policy", &["others", "does not name Stream's account 185583345998"]);
    said.says("sqs.policy", "ok", &["\"topics\""]);
    said.warns("sqs.policy", &["bare", "185583345998"]);
    said.says("sqs.queue", "ok", &["\"streams\"", "it is there"]);
    said.fails("sqs.queue", &["bare", "no redrive policy"]);
    said.fails("sqs.queue", &["missing", "no such queue"]);
    said.says("sqs.policy", "unknown", &["missing"]);
}

#[test]
fn topics_that_are_missing_and_an_emulator_that_is_gone_are_told() {
    let _turn = turns::in_company();
    let Some(aws) = Aws::connect("the topics of a sink") else { return };
    let home = Home::new();
    let topic = aws.topic("doctor", &[]);
    let missing = format!("{}-missing", topic.arn);
    let sinks = format!(
        "  there: {{ sns: {{}}, topic: \"{}\" }}\n  gone: {{ sns: {{}}, topic: \"{missing}\" }}\n",
        topic.arn
    );
    configure(&home, aws.endpoint(), &[], &sinks);
    let said = Diagnosis::under(&AS_TESTER, &home, &SNS);
    said.says("sns.topic", "ok", &["there"]);
    said.says("sns.kms", "ok", &["there", "no topic is encrypted"]);
    said.fails("sns.topic", &["gone", "do not exist", "fanbridge topics apply --sink gone"]);
    said.says("sns.kms", "skipped", &["gone"]);

    configure(&home, "http://127.0.0.1:9", &[], &sinks);
    let said = Diagnosis::under(&AS_TESTER, &home, &SNS);
    said.says("sns.topic", "unknown", &["there"]);
}
