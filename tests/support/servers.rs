//! The real servers that some tests need, and an honest word when there are none.
//!
//! `make test` starts a broker and an emulator of SQS and SNS, and sets
//! `FANBRIDGE_TEST_SERVERS=required`: from then on whatever is missing is a failure. A plain
//! `cargo test` says what it skipped and why.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::metadata::MetadataTopic;
use rdkafka::types::RDKafkaErrorCode;

use crate::support::await_until;
use crate::support::tier::servers_are_required;

/// Says that a test did not happen.
///
/// # Panics
/// When nothing may be skipped.
#[track_caller]
pub fn skip(what: &str, reason: &str) {
    assert!(!servers_are_required(), "{what} cannot be tested: {reason}");
    tell_skipped(what, reason);
}

/// Says the same where that is no failure in any run.
pub fn tell_skipped(what: &str, reason: &str) {
    // What the macros print is shown of tests that fail, and of no others.
    let _ = writeln!(std::io::stderr(), "SKIPPED {what}: {reason}");
}

/// The shared broker, for tests that leave it as they found it.
pub fn kafka(what: &str) -> Option<String> {
    named_by("KAFKA_BROKERS", what, "broker")
}

/// The endpoint of the shared emulator of SQS and SNS, a URL; each test has queues and topics of
/// its own there.
pub fn aws(what: &str) -> Option<String> {
    named_by("AWS_ENDPOINT", what, "emulator of SQS and SNS")
}

fn named_by(variable: &str, what: &str, server: &str) -> Option<String> {
    let address = std::env::var(variable).ok().filter(|address| !address.is_empty());
    if address.is_none() {
        skip(what, &format!("{variable} names no {server}; `make test` starts one"));
    }
    address
}

/// A broker of a test's own, to be stopped and frozen without hurting others.
pub struct Broker {
    dir: tempfile::TempDir,
    /// Where it listens, across restarts.
    pub address: String,
    settings: Vec<(&'static str, String)>,
}

impl Broker {
    /// Starts one, if this run has brokers at all.
    pub fn start(what: &str) -> Option<Self> {
        Self::start_with(what, Vec::new())
    }

    /// The same, with what `kafka.sh` takes from the environment.
    pub fn start_with(what: &str, settings: Vec<(&'static str, String)>) -> Option<Self> {
        kafka(what)?;
        let dir = tempfile::Builder::new().prefix("broker-").tempdir_in(env!("CARGO_TARGET_TMPDIR"));
        let dir = dir.expect("the build directory takes a directory");
        let mut broker = Self { dir, address: String::new(), settings };
        let port = super::bridge::free_port();
        broker.script(&["start", &port.to_string()]);
        broker.address = format!("127.0.0.1:{port}");
        Some(broker)
    }

    /// Shuts it down in order; its data stays.
    pub fn stop(&self) {
        self.script(&["stop"]);
    }

    /// Starts it again where it was; returns once it answers.
    pub fn start_again(&self) {
        let port = self.address.rsplit(':').next().expect("an address has a port");
        self.script(&["start", port]);
    }

    /// Lets it keep its connections and answer nothing.
    pub fn freeze(&self) {
        self.script(&["freeze"]);
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.script(&["thaw"]);
    }

    /// Makes a topic of three partitions.
    pub fn create_topic(&self, name: &str, properties: &[(&str, &str)]) {
        create_topic(&self.address, name, properties);
    }

    /// Deletes a topic and all that is in it.
    pub fn delete_topic(&self, name: &str) {
        let outcome = block_on(admin(&self.address).delete_topics(&[name], &AdminOptions::new()));
        outcome.expect("the broker answers").pop().expect("one outcome").expect("the topic is deleted");
        await_until("the broker forgets the topic", Duration::from_secs(10), || {
            (!topics(&self.address).contains_key(name)).then_some(())
        });
    }

    fn script(&self, arguments: &[&str]) {
        let root = env!("CARGO_MANIFEST_DIR");
        let libs =
            std::env::var("KAFKA_LIBS_DIR").unwrap_or_else(|_| format!("{root}/.test-servers/kafka/libs"));
        let status = Command::new(format!("{root}/tests/servers/kafka.sh"))
            .args(arguments)
            .env("TEST_SERVERS_DIR", self.dir.path())
            .env("KAFKA_LIBS_DIR", libs)
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .expect("the broker's script runs");
        assert!(status.success(), "kafka.sh {arguments:?} ended with {status}");
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let quietly = std::panic::AssertUnwindSafe(|| self.script(&["kill"]));
        if std::panic::catch_unwind(quietly).is_err() {
            eprintln!("the broker at {} may still be running", self.address);
        }
    }
}

/// A name that no topic of another test or run has: what a shared broker keeps outlives a run.
pub fn own_name(test: &str) -> String {
    // Tests of one name run side by side, also within one millisecond.
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let moment = std::time::UNIX_EPOCH.elapsed().expect("the clock is past 1970").as_millis();
    format!("{test}-{}-{moment}-{number}", std::process::id())
}

/// Makes a topic of three partitions, unless it exists.
pub fn create_topic(brokers: &str, name: &str, properties: &[(&str, &str)]) {
    let mut topic = NewTopic::new(name, 3, TopicReplication::Fixed(1));
    for (key, value) in properties {
        topic = topic.set(key, value);
    }
    let outcome = block_on(admin(brokers).create_topics([&topic], &AdminOptions::new()));
    match outcome.expect("the broker answers").pop().expect("one outcome") {
        Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
        Err((_, error)) => panic!("topic {name}: {error}"),
    }
}

/// Changes a property of a topic.
pub fn alter_topic(brokers: &str, name: &str, key: &str, value: &str) {
    let change = AlterConfig::new(ResourceSpecifier::Topic(name)).set(key, value);
    let outcome = block_on(admin(brokers).alter_configs([&change], &AdminOptions::new()));
    outcome.expect("the broker answers").pop().expect("one outcome").expect("the topic is changed");
}

/// A cluster's topics, and how many replicas each of their partitions has. A question about all of
/// them creates none.
pub fn topics(brokers: &str) -> BTreeMap<String, Vec<usize>> {
    let metadata = admin(brokers).inner().fetch_metadata(None, Duration::from_secs(10));
    let metadata = metadata.expect("the broker answers");
    let replicas = |topic: &MetadataTopic| {
        topic.partitions().iter().map(|partition| partition.replicas().len()).collect()
    };
    metadata.topics().iter().map(|topic| (topic.name().to_owned(), replicas(topic))).collect()
}

fn admin(brokers: &str) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", brokers).create().expect("a client can be made")
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}
