//! SQS and SNS as a test needs them: an account at the emulator, queues and topics of its own in
//! it, and messages to send.
//!
//! The calls block, and may be made from any thread, in a runtime or out of it. They are not
//! repeated when they fail: a test counts calls, and the service is next door.

pub mod queue;
pub mod secret;
pub mod topic;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sqs::error::SdkError;
use tokio::runtime::{self, Runtime};

use super::servers;
use queue::Queue;
use topic::Topic;

/// The region of everything here.
pub const REGION: &str = "eu-west-1";
/// What the emulator takes for a key: any text. Twelve digits would be an account of their own.
pub const ACCESS_KEY_ID: &str = "test";
pub const SECRET_ACCESS_KEY: &str = "test";
/// The most entries that SQS and SNS take in one batch.
pub const BATCH_ENTRIES_MAX: usize = 10;

/// Runs the clients, and whatever else of the support is asynchronous, for the life of the process.
pub static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("support")
        .enable_all()
        .build()
        .expect("a runtime")
});

/// Clients of one endpoint.
#[derive(Clone)]
pub struct Aws {
    endpoint: String,
    /// For what the methods here do not do; await it with [`wait`].
    pub sqs: aws_sdk_sqs::Client,
    /// The same for SNS.
    pub sns: aws_sdk_sns::Client,
}

impl Aws {
    /// Clients of the emulator, if this run has one.
    pub fn connect(what: &str) -> Option<Self> {
        servers::aws(what).map(|endpoint| Self::at(&endpoint))
    }

    /// Clients of any endpoint, such as a [`Proxy`](super::proxy::Proxy)'s.
    pub fn at(endpoint: &str) -> Self {
        let credentials = Credentials::new(ACCESS_KEY_ID, SECRET_ACCESS_KEY, None, None, "tests");
        let sqs = aws_sdk_sqs::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(REGION))
            .credentials_provider(credentials.clone())
            .retry_config(RetryConfig::disabled())
            .endpoint_url(endpoint)
            .build();
        let sns = aws_sdk_sns::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(REGION))
            .credentials_provider(credentials)
            .retry_config(RetryConfig::disabled())
            .endpoint_url(endpoint)
            .build();
        Self {
            endpoint: endpoint.to_owned(),
            sqs: aws_sdk_sqs::Client::from_conf(sqs),
            sns: aws_sdk_sns::Client::from_conf(sns),
        }
    }

    /// Where the clients call.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Makes a queue with a name of its own that begins with `name`; a FIFO queue if `name` ends
    /// with `.fifo`. The attributes are those of `CreateQueue`. It is deleted with the value.
    pub fn queue(&self, name: &str, attributes: &[(&str, &str)]) -> Queue {
        Queue::create(self, &unique(name), attributes)
    }

    /// Makes a topic with a name of its own that begins with `name`; a FIFO topic if `name` ends
    /// with `.fifo`. The attributes are those of `CreateTopic`. It is deleted with the value.
    pub fn topic(&self, name: &str, attributes: &[(&str, &str)]) -> Topic {
        Topic::create(self, &unique(name), attributes)
    }
}

/// Something to send to a queue or to publish to a topic.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// What it says.
    pub body: String,
    /// Its group; FIFO needs one.
    pub group: Option<String>,
    /// By what FIFO knows it again for five minutes.
    pub deduplication: Option<String>,
    /// Its attributes, all of the type `String`.
    pub attributes: BTreeMap<String, String>,
}

impl Message {
    /// A message without group and attributes.
    pub fn new(body: impl Into<String>) -> Self {
        Self { body: body.into(), ..Self::default() }
    }

    /// The same with an attribute.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.attributes.insert(name.into(), value.into());
        self
    }

    /// The same in a group, as a FIFO queue or topic takes it.
    pub fn in_group(self, group: &str, deduplication: &str) -> Self {
        Self { group: Some(group.into()), deduplication: Some(deduplication.into()), ..self }
    }
}

/// Messages with one body after another.
pub fn messages<T: Into<String>>(bodies: impl IntoIterator<Item = T>) -> Vec<Message> {
    bodies.into_iter().map(Message::new).collect()
}

/// Waits for what runs in the support's own runtime; from any thread, also one of another runtime.
///
/// # Panics
/// When the future does.
#[track_caller]
pub fn wait<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    RUNTIME.spawn(async move {
        // Nobody waits any more once the asking thread has panicked.
        let _ = sender.send(future.await);
    });
    receiver.recv().expect("the future did not panic")
}

/// Waits for a call that must succeed.
#[track_caller]
fn call<T, E, R>(what: &str, future: impl Future<Output = Result<T, SdkError<E, R>>> + Send + 'static) -> T
where
    T: Send + 'static,
    E: std::error::Error + Send + 'static,
    R: Debug + Send + 'static,
{
    wait(future).unwrap_or_else(|error| {
        panic!("{what}: {}", aws_sdk_sqs::error::DisplayErrorContext(error));
    })
}

/// A name that no other test and no earlier run has used; an ending of `.fifo` stays the ending.
fn unique(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_millis();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let (name, ending) = name.strip_suffix(".fifo").map_or((name, ""), |name| (name, ".fifo"));
    format!("{name}-{now:x}-{:x}-{number}{ending}", std::process::id())
}
