//! The topic that records go to: made for the bench, and deleted with everything in it.

use clap::{Args, ValueEnum};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::RDKafkaErrorCode;
use std::time::Duration;

/// Replicas: as many as the cluster gives every topic.
const CLUSTER_DEFAULT: i32 = -1;

/// Makes or deletes a topic.
#[derive(Args)]
pub struct Topic {
    /// What to do.
    #[arg(value_enum)]
    action: Action,
    /// `host:port,…`
    #[arg(long, env = "KAFKA_BROKERS")]
    brokers: String,
    /// The topic.
    #[arg(long)]
    topic: String,
    /// Its partitions.
    #[arg(long, default_value_t = 8)]
    partitions: i32,
}

#[derive(Clone, Copy, ValueEnum)]
enum Action {
    Make,
    Delete,
}

impl Topic {
    /// Does it, and prints the topic's name.
    ///
    /// # Errors
    /// When the cluster is not there or refuses.
    pub async fn run(&self) -> anyhow::Result<()> {
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", &self.brokers).create()?;
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
        let results = match self.action {
            Action::Make => {
                let replicas = TopicReplication::Fixed(CLUSTER_DEFAULT);
                let topic = NewTopic::new(&self.topic, self.partitions, replicas);
                admin.create_topics([&topic], &options).await?
            }
            Action::Delete => admin.delete_topics(&[&self.topic], &options).await?,
        };
        for result in results {
            match result {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((topic, code)) => anyhow::bail!("`{topic}`: {code}"),
            }
        }
        println!("{}", serde_json::to_string(&self.topic)?);
        Ok(())
    }
}
