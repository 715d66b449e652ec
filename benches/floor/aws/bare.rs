//! The SDK by itself: loops that receive and delete ten at a time, and tasks that publish one by one.

use anyhow::Context;
use aws_sdk_sqs::types::DeleteMessageBatchRequestEntry;
use clap::Args;
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tokio::task::JoinSet;

use super::client;
use crate::body::Bodies;
use crate::produce::cpu_seconds;

/// Receives and deletes.
#[derive(Args)]
pub struct Receive {
    /// The service's URL.
    #[arg(long)]
    endpoint: String,
    /// The queue's URL.
    #[arg(long)]
    queue_url: String,
    /// Loops, each with one request at a time.
    #[arg(long, default_value_t = 8)]
    loops: usize,
    /// Messages that are in the queue.
    #[arg(long)]
    count: u64,
}

/// Publishes events one by one.
#[derive(Args)]
pub struct Publish {
    /// The service's URL.
    #[arg(long)]
    endpoint: String,
    /// The topic's ARN.
    #[arg(long)]
    topic_arn: String,
    /// Requests at once.
    #[arg(long, default_value_t = 16)]
    requests: usize,
    /// Events to publish.
    #[arg(long)]
    count: u64,
    /// Bytes of each event's data.
    #[arg(long, default_value_t = 1024)]
    body_bytes: usize,
}

/// What was found.
#[derive(Serialize)]
struct Done {
    per_second: f64,
    cpu_us_per_event: f64,
    calls_per_event: f64,
}

impl Done {
    fn print(count: u64, calls: u64, started: Instant, cpu: f64) -> anyhow::Result<()> {
        let done = Self {
            per_second: count as f64 / started.elapsed().as_secs_f64(),
            cpu_us_per_event: (cpu_seconds() - cpu) * 1e6 / count as f64,
            calls_per_event: calls as f64 / count as f64,
        };
        println!("{}", serde_json::to_string(&done)?);
        Ok(())
    }
}

impl Receive {
    /// Empties the queue and prints what it took.
    ///
    /// # Errors
    /// When a call fails.
    pub async fn run(self) -> anyhow::Result<()> {
        let client = aws_sdk_sqs::Client::new(&client(&self.endpoint).await);
        let (deleted, calls) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (started, cpu) = (Instant::now(), cpu_seconds());
        let mut loops = JoinSet::new();
        for _ in 0..self.loops {
            let (client, url, count) = (client.clone(), self.queue_url.clone(), self.count);
            let (deleted, calls) = (Arc::clone(&deleted), Arc::clone(&calls));
            loops.spawn(async move {
                while deleted.load(Ordering::Relaxed) < count {
                    // A short wait, so that the loops end soon after the last message.
                    let receive = client.receive_message().queue_url(&url);
                    let answer = receive.max_number_of_messages(10).wait_time_seconds(1).send().await?;
                    let messages = answer.messages.unwrap_or_default();
                    if messages.is_empty() {
                        continue;
                    }
                    let entry = |(index, message): (usize, aws_sdk_sqs::types::Message)| {
                        let entry = DeleteMessageBatchRequestEntry::builder().id(index.to_string());
                        entry.set_receipt_handle(message.receipt_handle).build()
                    };
                    let entries: Result<Vec<_>, _> = messages.into_iter().enumerate().map(entry).collect();
                    let entries = entries?;
                    let received = entries.len() as u64;
                    client.delete_message_batch().queue_url(&url).set_entries(Some(entries)).send().await?;
                    deleted.fetch_add(received, Ordering::Relaxed);
                    calls.fetch_add(2, Ordering::Relaxed);
                }
                anyhow::Ok(())
            });
        }
        // The first loop to end saw the last message go: the others only wait for more.
        if let Some(ended) = loops.join_next().await {
            ended??;
        }
        Done::print(self.count, calls.load(Ordering::Relaxed), started, cpu)
    }
}

impl Publish {
    /// Publishes every event and prints what it took.
    ///
    /// # Errors
    /// When a call fails.
    pub async fn run(self) -> anyhow::Result<()> {
        let client = aws_sdk_sns::Client::new(&client(&self.endpoint).await);
        let next = Arc::new(AtomicU64::new(0));
        let bodies = Bodies::new(self.body_bytes, 1000, b"events are not signed")?;
        let (started, cpu) = (Instant::now(), cpu_seconds());
        let mut tasks = JoinSet::new();
        for _ in 0..self.requests {
            let (client, topic, count) = (client.clone(), self.topic_arn.clone(), self.count);
            let (next, mut bodies) = (Arc::clone(&next), bodies.clone());
            let mut body = bodies.blank().to_vec();
            tasks.spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return anyhow::Ok(());
                    }
                    bodies.write(&mut body, number);
                    let data = std::str::from_utf8(&body).context("bodies are text")?;
                    client.publish().topic_arn(&topic).message(data).send().await?;
                }
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        Done::print(self.count, self.count, started, cpu)
    }
}
