//! A bridge with webhooks in and one SNS topic out, behind a proxy.

use std::time::Duration;

use crate::support::aws::Aws;
use crate::support::aws::topic::Topic;
use crate::support::bridge::{Bridge, Home};
use crate::support::load::{Load, Shape};
use crate::support::oracle::{Arrival, Ledger};
use crate::support::proxy::Proxy;
use crate::support::published::published;
use crate::support::{await_until, readers};

/// How long what is left may take: the emulator takes hundreds of messages a second on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(60);
/// As many records as may be published beyond the committed cursor.
pub const WINDOW: usize = 8192;
/// Sixty-four keys.
pub const SHAPE: Shape =
    Shape { name: "sns", senders: 8, keys_per_sender: 8, body_bytes: 300, pause: Duration::ZERO };

/// The way out that a test looks at.
pub struct Out {
    pub aws: Aws,
    pub proxy: Proxy,
    pub topic: Topic,
    pub home: Home,
}

impl Out {
    /// Configured, not started: a topic of this name and a sink `billing` that publishes all to it.
    pub fn new(what: &str, topic: &str) -> Option<Self> {
        let aws = Aws::connect(what)?;
        let (proxy, home) = (Proxy::before(aws.endpoint()), Home::new());
        let topic = aws.topic(topic, &[]);
        let out = Self { aws, proxy, topic, home };
        out.configure(&out.topic.arn, "");
        Some(out)
    }

    /// Configures the sink `billing` with this topic and more of its own keys.
    pub fn configure(&self, topic: &str, more: &str) {
        self.configure_with("", topic, more);
    }

    /// The same with whole lines of the bridge's own.
    pub fn configure_with(&self, lines: &str, topic: &str, more: &str) {
        let endpoint = self.proxy.endpoint();
        let sink = format!("  billing: {{ sns: {{}}, topic: \"{topic}\"{more} }}\n");
        self.home.configure("", &format!("{lines}aws: {{ endpoint: \"{endpoint}\" }}\nsinks:\n{sink}"));
    }

    /// What the service said it has, in the order in which it was asked.
    pub fn arrivals(&self) -> Vec<Arrival> {
        let arrival = |message: &str| readers::structured(&self.topic.arn, message.as_bytes());
        published(&self.proxy, &self.topic.arn).iter().map(|entry| arrival(entry.field("Message"))).collect()
    }

    /// The same once all that was promised is there.
    pub fn drained(&self, ledger: &Ledger) -> Vec<Arrival> {
        readers::drained(ledger, DEADLINE, || self.arrivals())
    }

    /// How often the service was asked to publish.
    pub fn calls(&self) -> usize {
        self.proxy.count("PublishBatch")
    }
}

/// What holds for a bridge whose sink is in trouble.
pub fn await_degraded(bridge: &Bridge) -> String {
    await_until("the sink says that it is degraded", DEADLINE, || {
        let status = bridge.admin().get("/api/status").ok()?;
        let status: serde_json::Value = serde_json::from_slice(&status.body).ok()?;
        status["sinks"][0]["degraded_because"].as_str().map(str::to_owned)
    })
}

/// Lets the load go on until so many more deliveries were answered 2xx.
pub fn await_acknowledged(load: &Load, more: usize) {
    let before = load.acknowledged();
    await_until("deliveries are taken", DEADLINE, || (load.acknowledged() >= before + more).then_some(()));
}
