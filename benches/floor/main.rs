//! The floors: what the machine does when a part of the bridge is left out.
//!
//! - `verify` answers as the bridge does once the signature held, and keeps nothing: the most the
//!   HTTP stack and the cryptography allow.
//! - `keep` also appends the body to a plain file and answers after the group's fdatasync: the most
//!   that durability allows, without frames, duplicates, admission or sinks. The file grows; with
//!   `--recycle` it has its blocks from the beginning, and is written again and again.
//! - `append` is that file by itself, driven by tasks in the same process.
//! - `produce` is librdkafka by itself, with the bridge's settings and records.
//! - `fill` is no floor: it leaves a spool behind, for a bridge to start over.
//! - `receive` and `publish` are the AWS SDK by itself against `stub`, which answers as SQS and SNS do.
//!
//! A floor is as simple as it can be and still honest; it is no model for anything else.

mod append;
mod aws;
#[allow(dead_code, reason = "a producer does not sign")]
#[path = "../load/body.rs"]
mod body;
mod fill;
mod produce;
mod serve;
mod topic;

use clap::{Args, Parser, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Runs one of the floors.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    floor: Floor,
}

#[derive(Subcommand)]
enum Floor {
    /// Verify and answer.
    Verify {
        /// Where to listen; the address is printed once it is open.
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
        #[command(flatten)]
        tls: serve::Tls,
    },
    /// Verify, append, fdatasync and answer.
    Keep {
        /// As above.
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
        #[command(flatten)]
        file: AppendTo,
        #[command(flatten)]
        tls: serve::Tls,
    },
    /// Append and fdatasync, without a network.
    Append {
        #[command(flatten)]
        file: AppendTo,
        /// Tasks that each wait for their append before the next.
        #[arg(long, default_value_t = 64)]
        tasks: usize,
        /// Bytes of each append.
        #[arg(long, default_value_t = 1024)]
        body_bytes: usize,
        /// How long.
        #[arg(long, default_value_t = 5.0)]
        seconds: f64,
    },
    /// Produce to Kafka.
    Produce(produce::Produce),
    /// Make or delete the topic that is produced to.
    Topic(topic::Topic),
    /// Leave a spool with events that are delivered.
    Fill(fill::Fill),
    /// Answer as SQS and SNS do.
    Stub(aws::Stub),
    /// Empty the stub's queue.
    Receive(aws::Receive),
    /// Publish to the stub's topic, one by one.
    Publish(aws::Publish),
}

#[derive(Args)]
struct AppendTo {
    /// The file to append to.
    #[arg(long)]
    file: PathBuf,
    /// Writes over what is in the file instead of making it longer.
    #[arg(long)]
    recycle: bool,
    /// Syncs and answers a group while the next one is collected and written.
    #[arg(long)]
    overlap: bool,
}

impl AppendTo {
    fn open(&self) -> std::io::Result<append::Append> {
        append::open(&self.file, self.recycle, self.overlap)
    }
}

/// The signing secret the load uses, from the environment as the bridge takes it.
fn secret() -> anyhow::Result<String> {
    std::env::var("BENCH_SECRET").map_err(|_| anyhow::anyhow!("$BENCH_SECRET is not set"))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Arguments::parse().floor {
        Floor::Verify { listen, tls } => serve::run(listen, &tls, &secret()?, None).await,
        Floor::Keep { listen, file, tls } => serve::run(listen, &tls, &secret()?, Some(file.open()?)).await,
        Floor::Append { file, tasks, body_bytes, seconds } => {
            let appended =
                append::drive(file.open()?, tasks, body_bytes, Duration::from_secs_f64(seconds)).await?;
            println!("{}", serde_json::to_string(&appended)?);
            Ok(())
        }
        Floor::Topic(topic) => topic.run().await,
        Floor::Fill(fill) => fill.run().await,
        Floor::Stub(stub) => stub.run().await,
        Floor::Receive(receive) => receive.run().await,
        Floor::Publish(publish) => publish.run().await,
        Floor::Produce(produce) => tokio::task::spawn_blocking(move || produce.run()).await?,
    }
}
