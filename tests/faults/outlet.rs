//! Where a bridge publishes, in tests of promises that hold whatever the sink.

use std::time::Duration;

use crate::support::bridge::Home;
use crate::support::load::TOPICS;
use crate::support::oracle::{Arrival, Ledger};
use crate::support::{readers, servers};

/// How long nothing new may arrive before the judge is asked.
const PATIENCE: Duration = Duration::from_secs(20);

/// A home with one sink, and what that received.
pub struct Outlet {
    /// The home of the bridge.
    pub home: Home,
    /// The broker and the topics of this outlet alone; `None` if they are directories of the home.
    kafka: Option<(String, Vec<String>)>,
}

impl Outlet {
    /// Files, which need nothing.
    pub fn files() -> Self {
        let home = Home::new();
        home.configure_files();
        Self { home, kafka: None }
    }

    /// The real broker that tests share, with topics by this name; says so if there is none.
    pub fn kafka(name: &str) -> Option<Self> {
        let brokers = servers::kafka(name)?;
        let prefix = servers::own_name(name);
        let topics = TOPICS.map(|topic| format!("{prefix}.{topic}"));
        topics.iter().for_each(|topic| servers::create_topic(&brokers, topic, &[]));
        let home = Home::new();
        let topic = format!("{prefix}.{{provider}}.{{family}}");
        let lake = format!("{{ kafka: {{ brokers: \"{brokers}\" }}, topic: \"{topic}\" }}");
        home.configure("", &format!("sinks: {{ lake: {lake} }}\n"));
        Some(Self { home, kafka: Some((brokers, topics.into())) })
    }

    /// What has arrived so far, each lane in its order.
    pub fn arrivals(&self) -> Vec<Arrival> {
        let Some((brokers, topics)) = &self.kafka else { return readers::files(&self.home.path("topics")) };
        let topics: Vec<_> = topics.iter().map(String::as_str).collect();
        readers::kafka(brokers, &topics).iter().map(readers::KafkaRecord::arrival).collect()
    }

    /// The same once all that was promised is there, or nothing new comes.
    pub fn drained(&self, ledger: &Ledger) -> Vec<Arrival> {
        readers::drained(ledger, PATIENCE, || self.arrivals())
    }
}
