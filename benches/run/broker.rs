//! The Kafka broker to deliver to: the one that was named, or one started for this run.

use anyhow::Context;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::child::cpu_seconds_of;
use crate::stage::Stage;

/// A broker; ended when dropped if it was started here.
pub struct Broker {
    address: String,
    started: Option<Script>,
}

/// The script that the tests start their broker with, and where this broker keeps its files.
struct Script {
    path: PathBuf,
    dir: PathBuf,
}

impl Broker {
    /// The broker at this address, or a new one with its data in the stage's directory.
    ///
    /// # Errors
    /// When none can be started.
    pub fn at_or_started(address: Option<&str>, stage: &Stage) -> anyhow::Result<Self> {
        if let Some(address) = address {
            return Ok(Self { address: address.into(), started: None });
        }
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/kafka.sh");
        anyhow::ensure!(path.exists(), "KAFKA_BROKERS is not set and {} is not there", path.display());
        let script = Script { path, dir: stage.dir().join("servers") };
        let output = script.command("start").stderr(Stdio::inherit()).output()?;
        anyhow::ensure!(output.status.success(), "the broker did not start");
        let address = String::from_utf8(output.stdout)?;
        let address = address.lines().last().context("the broker's address is unknown")?.to_owned();
        Ok(Self { address, started: Some(script) })
    }

    /// `host:port`
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The CPU time that the broker has taken so far, in seconds; `None` for one that this run did not start.
    pub fn cpu_seconds(&self) -> Option<f64> {
        let pid = std::fs::read_to_string(self.started.as_ref()?.dir.join("kafka/pid")).ok()?;
        cpu_seconds_of(pid.trim().parse().ok()?).ok()
    }
}

impl Broker {
    /// Bytes that the topic's records take in the log; `None` for a broker that this run did not start.
    pub fn log_bytes(&self, topic: &str) -> Option<u64> {
        let partitions = std::fs::read_dir(self.started.as_ref()?.dir.join("kafka/data")).ok()?;
        let is_of_topic = |name: &str| name.rsplit_once('-').is_some_and(|(name, _)| name == topic);
        let of_topic =
            partitions.flatten().filter(|entry| entry.file_name().to_str().is_some_and(is_of_topic));
        let files =
            of_topic.filter_map(|partition| std::fs::read_dir(partition.path()).ok()).flatten().flatten();
        let logs = files.filter(|file| file.path().extension().is_some_and(|kind| kind == "log"));
        Some(logs.filter_map(|log| log.metadata().ok()).map(|metadata| metadata.len()).sum())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(script) = &self.started
            && let Err(error) = script.command("kill").status()
        {
            eprintln!("the broker is left running: {error}");
        }
    }
}

impl Script {
    /// Its data is this run's own; the jars, once fetched, are everyone's.
    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(&self.path);
        command.arg(verb).env("TEST_SERVERS_DIR", &self.dir).stdin(Stdio::null());
        if std::env::var_os("KAFKA_LIBS_DIR").is_none() {
            let libs = Path::new(env!("CARGO_MANIFEST_DIR")).join(".test-servers/kafka/libs");
            command.env("KAFKA_LIBS_DIR", libs);
        }
        command
    }
}
