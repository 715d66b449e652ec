//! Kafka: brokers, topics, replicas, permissions.

use std::fs;

use super::Diagnosis;
use crate::support::bridge::{Home, free_port};
use crate::support::servers::{self, Broker, own_name};
use crate::support::{readers, turns};

const ONLY: [&str; 2] = ["--only", "kafka.reach,kafka.topics,kafka.replicas,kafka.write"];
const PASSWORD: &str = "the-password-of-the-doctor";
const WRONG_PASSWORD: &str = "not-the-password-of-the-doctor";

/// A broker that lets the bridge in by a password, and lets it write nothing.
pub(crate) struct Guarded {
    /// The broker.
    pub(crate) broker: Broker,
    port: u16,
}

impl Guarded {
    /// Starts one, whose properties are in the home beside the right password and a wrong one.
    pub(crate) fn start(home: &Home, what: &str) -> Option<Self> {
        let port = free_port();
        let modules = "org.apache.kafka.common.security.plain.PlainLoginModule";
        let properties = format!(
            "listener.name.passwords.sasl.enabled.mechanisms=PLAIN\n\
             listener.name.passwords.plain.sasl.jaas.config={modules} required user_bridge=\"{PASSWORD}\";\n\
             authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
             super.users=User:ANONYMOUS\n"
        );
        fs::write(home.path("doors.properties"), properties).unwrap();
        fs::write(home.path("password"), PASSWORD).unwrap();
        fs::write(home.path("wrong"), WRONG_PASSWORD).unwrap();
        let settings = vec![
            ("KAFKA_EXTRA_LISTENERS", format!("PASSWORDS:SASL_PLAINTEXT:{port}")),
            ("KAFKA_EXTRA_PROPERTIES", home.path("doors.properties").to_str().unwrap().to_owned()),
        ];
        Some(Self { broker: Broker::start_with(what, settings)?, port })
    }

    /// The `kafka` block of a sink with the password in this file.
    pub(crate) fn at(&self, password: &str) -> String {
        let sasl = format!("{{ mechanism: PLAIN, username: bridge, password: \"file:{password}\" }}");
        format!("{{ brokers: \"localhost:{}\", sasl: {sasl} }}", self.port)
    }
}

/// A sink of each of these names, with its `kafka` block and its topic.
fn configure(home: &Home, sinks: &[(&str, &str, &str)]) {
    let mut text = String::from("select: [call.created]\nsinks:\n");
    for (sink, kafka, topic) in sinks {
        text.push_str(&format!("  {sink}: {{ kafka: {kafka}, topic: \"{topic}\" }}\n"));
    }
    home.configure("", &text);
}

#[test]
fn a_topic_that_is_missing_or_has_one_copy_is_told_and_none_is_created() {
    let _turn = turns::in_company();
    let Some(brokers) = servers::kafka("the topics of a sink") else { return };
    let home = Home::new();
    let [missing, single, stuck] =
        ["missing", "single", "stuck"].map(|name| own_name(&format!("doctor-{name}")));
    servers::create_topic(&brokers, &single, &[]);
    servers::create_topic(&brokers, &stuck, &[("min.insync.replicas", "2")]);
    let kafka = format!("{{ brokers: \"{brokers}\" }}");
    configure(
        &home,
        &[("missing", &*kafka, &*missing), ("single", &kafka, &single), ("stuck", &kafka, &stuck)],
    );
    let said = Diagnosis::of(&home, &ONLY);
    said.says("kafka.reach", "ok", &["single", &brokers]);
    said.fails("kafka.topics", &[&missing, "fanbridge topics apply --sink missing"]);
    said.says("kafka.topics", "ok", &["single"]);
    said.warns(
        "kafka.replicas",
        &[&single, "one replica", "--replication 3 --property min.insync.replicas=2"],
    );
    said.fails("kafka.replicas", &[&stuck, "nothing is acknowledged"]);
    said.says("kafka.write", "unknown", &["single", "shows only when a record is published"]);
    assert!(!servers::topics(&brokers).contains_key(&missing), "the doctor creates nothing");
    assert!(readers::kafka(&brokers, &[&single, &stuck]).is_empty(), "the doctor writes no record");
}

#[test]
fn a_broker_that_is_stopped_is_a_failure_and_what_depends_on_it_is_not_known() {
    let _turn = turns::in_company();
    let Some(broker) = Broker::start("a broker that is stopped") else { return };
    let home = Home::new();
    configure(&home, &[("lake", &format!("{{ brokers: \"{}\" }}", broker.address), "doctor")]);
    broker.stop();
    let said = Diagnosis::of(&home, &ONLY);
    said.fails("kafka.reach", &["lake", &broker.address, "refused"]);
    for check in ["kafka.topics", "kafka.replicas", "kafka.write"] {
        said.says(check, "unknown", &["no broker answers"]);
    }
}

#[test]
fn a_wrong_password_and_a_missing_permission_are_told_apart() {
    let _turn = turns::in_company();
    let home = Home::new();
    let Some(guarded) = Guarded::start(&home, "a broker with permissions") else { return };
    guarded.broker.create_topic("doctor", &[]);
    let [wrong, password] = ["wrong", "password"].map(|secret| guarded.at(secret));
    configure(&home, &[("wrong", &*wrong, "doctor"), ("forbidden", &*password, "doctor")]);
    let said = Diagnosis::of(&home, &ONLY);
    said.fails("kafka.reach", &["wrong", "`sasl`"]);
    said.says("kafka.reach", "ok", &["forbidden"]);
    said.fails("kafka.write", &["forbidden", "the brokers forbid 1 topic: doctor", "kafka-acls.sh"]);
    said.says("kafka.topics", "unknown", &["not allowed to see 1 topic"]);
    for secret in [PASSWORD, WRONG_PASSWORD] {
        assert!(!said.report.to_string().contains(secret), "{:#}", said.report);
    }
}
