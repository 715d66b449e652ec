//! What is measured: the bridge, or one of the floors that answer HTTP.

use anyhow::Context;
use serde::Serialize;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::child::Child;
use crate::identity::Identity;
use crate::stage::{Load, Stage};

/// Where the bridge sends what the load makes: a topic that nobody else uses.
pub const TOPIC: &str = "fanbridge-bench.video.session";
/// The spool of a settled bridge, and how many events of 1 KiB fill it: each takes about 1.3 KiB.
const SETTLED_SPOOL: &str = "bytes_max: 512MiB";
const SETTLED_AFTER: u64 = 450_000;
/// A broker that does not exist: nobody listens on port 1.
pub const NOWHERE: &str = "127.0.0.1:1";
const READY_MAX: Duration = Duration::from_secs(30);
/// How often it is asked how far the sinks are.
const LOOK: Duration = Duration::from_millis(20);
const DELIVERED_MAX: Duration = Duration::from_secs(300);
/// How long the admin listener can take for an answer: a search of a large log is one.
const ANSWERS_WITHIN: Duration = Duration::from_secs(60);

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Subject {
    /// The floor that verifies and answers.
    Verify,
    /// The floor that also appends to a plain file and syncs it.
    Keep,
    /// The same with a file whose blocks are there already.
    Recycle,
    /// The bridge, with a sink whose broker does not exist: every segment of its log is a new file.
    Bridge,
    /// The bridge as it is after a while: its sink has passed what came before, and its log is at its bound,
    /// where segments are written over the files of former ones.
    Settled,
}

/// A subject that is up.
pub struct Running {
    /// The process.
    pub child: Child,
    /// The webhook's URL.
    pub to: String,
    /// Where the bridge tells of itself.
    pub admin: Option<SocketAddr>,
}

/// What a user would have set up otherwise.
#[derive(Clone, Copy, Default)]
pub struct Setup<'a> {
    /// The certificate of the public listener, for TLS.
    pub tls: Option<&'a Identity>,
    /// Keys of the bridge's `limits`.
    pub limits: &'a str,
    /// Keys of the bridge's `spool`.
    pub spool: &'a str,
    /// The bridge's sources, sinks and all else; by default one source, and a sink whose broker does not
    /// exist.
    pub ways: &'a str,
}

impl Subject {
    /// All, in the order they are printed.
    pub const ALL: [Self; 5] = [Self::Verify, Self::Keep, Self::Recycle, Self::Bridge, Self::Settled];

    /// As it is called in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Verify => "verify only",
            Self::Keep => "+ plain file",
            Self::Recycle => "+ plain file, recycled",
            Self::Bridge => "fanbridge",
            Self::Settled => "fanbridge, settled",
        }
    }

    /// Starts it with its files in `dir` and waits until it is ready.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start(self, stage: &Stage, dir: &Path) -> anyhow::Result<Running> {
        self.start_with(stage, dir, &Setup::default())
    }

    /// As above, set up otherwise; of this a floor has TLS alone, and a settled bridge has a spool and ways
    /// of its own.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start_with(self, stage: &Stage, dir: &Path, setup: &Setup<'_>) -> anyhow::Result<Running> {
        let mut command = match self {
            Self::Bridge => return start(stage, dir, setup),
            Self::Settled => {
                let dir = dir.join("settled");
                std::fs::create_dir(&dir)?;
                let ways = into_nothing(&dir);
                return start(stage, &dir, &Setup { spool: SETTLED_SPOOL, ways: &ways, ..*setup });
            }
            Self::Verify => stage.floor_command("verify"),
            Self::Keep | Self::Recycle => {
                let mut command = stage.floor_command("keep");
                let recycle = self == Self::Recycle;
                command.arg("--file").arg(dir.join(if recycle { "recycled" } else { "plain" }));
                command.args(recycle.then_some("--recycle"));
                command
            }
        };
        if let Some(Identity { certificate, key }) = setup.tls {
            command.arg("--certificate").arg(certificate).arg("--key").arg(key);
        }
        let mut child = Child::start(&mut command)?;
        let address = child.first_line()?;
        Ok(Running { child, to: format!("{}://{address}/in/bench", setup.scheme()), admin: None })
    }
}

impl Subject {
    /// Lets a fresh subject fault in its memory and open its first segment, and a settled one fill its log.
    ///
    /// # Errors
    /// When it does not accept everything.
    pub fn warm_up(self, stage: &Stage, running: &Running) -> anyhow::Result<()> {
        match self {
            Self::Settled => {
                let full = Load { count: Some(SETTLED_AFTER), ..Load::flat_out(&running.to, 64, 300.0) };
                let accepted = stage.load(&full)?.accepted;
                anyhow::ensure!(
                    accepted >= SETTLED_AFTER,
                    "only {accepted} of {SETTLED_AFTER} events in 300 s"
                );
                Ok(())
            }
            Self::Verify | Self::Keep | Self::Recycle | Self::Bridge => warm_up(stage, running),
        }
    }
}

/// Lets a fresh subject fault in its memory and open its first segment.
pub fn warm_up(stage: &Stage, running: &Running) -> anyhow::Result<()> {
    warm_up_with(stage, running, &[])
}

/// The same with more arguments of the load.
pub fn warm_up_with(stage: &Stage, running: &Running, more: &[&str]) -> anyhow::Result<()> {
    stage.load(&Load { more, ..Load::flat_out(&running.to, 64, 0.5) }).map(drop)
}

impl Setup<'_> {
    fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }
}

/// A file sink that takes nothing of what comes.
fn into_nothing(dir: &Path) -> String {
    format!(
        r#"sources:
  bench: {{ provider: stream, secrets: ["env:BENCH_SECRET"] }}
sinks:
  nothing:
    file: {{ dir: "{}/out" }}
    topic: "fanbridge-bench.{{family}}"
    select: [call.deleted]
"#,
        dir.display()
    )
}

/// Starts the bridge over the spool in `dir`, with one Kafka sink, and waits until it is ready.
///
/// # Errors
/// When it does not come up.
pub fn start_bridge(stage: &Stage, dir: &Path, brokers: &str) -> anyhow::Result<Running> {
    start_between(stage, dir, &into_kafka(brokers, ""))
}

/// The same with answers that wait until the sink has the event.
///
/// # Errors
/// When it does not come up.
pub fn start_answering_after(stage: &Stage, dir: &Path, brokers: &str) -> anyhow::Result<Running> {
    start_between(stage, dir, &format!("{}ack: {{ after: [lake] }}\n", into_kafka(brokers, "")))
}

/// One webhook in, one Kafka sink with these librdkafka properties.
pub fn into_kafka(brokers: &str, properties: &str) -> String {
    format!(
        r#"sources:
  bench: {{ provider: stream, secrets: ["env:BENCH_SECRET"] }}
sinks:
  lake:
    kafka: {{ brokers: "{brokers}", properties: {{ {properties} }} }}
    topic: "fanbridge-bench.{{family}}"
"#
    )
}

/// Starts the bridge over the spool in `dir`, with these sources and sinks, and waits until it is
/// ready.
///
/// # Errors
/// When it does not come up.
pub fn start_between(stage: &Stage, dir: &Path, ways: &str) -> anyhow::Result<Running> {
    start(stage, dir, &Setup { ways, ..Setup::default() })
}

fn start(stage: &Stage, dir: &Path, setup: &Setup<'_>) -> anyhow::Result<Running> {
    let mut running = launch(stage, dir, setup)?;
    running.await_ready().with_context(|| {
        let log = std::fs::read_to_string(dir.join("log")).unwrap_or_default();
        format!("the bridge did not become ready; it said:\n{log}")
    })?;
    Ok(running)
}

/// Starts the bridge over the spool in `dir` and waits for nothing.
///
/// # Errors
/// When it cannot be started.
pub fn launch(stage: &Stage, dir: &Path, setup: &Setup<'_>) -> anyhow::Result<Running> {
    let (http, admin) = (free_address()?, free_address()?);
    let config = dir.join("fanbridge.yaml");
    std::fs::write(&config, configuration(dir, http, admin, setup))?;
    let mut command = stage.bridge_command();
    command.arg("run").arg("--config").arg(&config).stdout(Stdio::null());
    command.stderr(std::fs::File::options().create(true).append(true).open(dir.join("log"))?);
    let child = Child::start(&mut command)?;
    Ok(Running { child, to: format!("{}://{http}/in/bench", setup.scheme()), admin: Some(admin) })
}

/// The bridge as a user would run it: everything that is not said stays at its default.
fn configuration(dir: &Path, http: SocketAddr, admin: SocketAddr, setup: &Setup<'_>) -> String {
    let tls = setup.tls.map_or_else(String::new, |Identity { certificate, key }| {
        format!(r#", tls: {{ certificate: "{}", key: "{}" }}"#, certificate.display(), key.display())
    });
    let ways = if setup.ways.is_empty() { into_kafka(NOWHERE, "") } else { setup.ways.to_owned() };
    let comma = if setup.spool.is_empty() { "" } else { ", " };
    format!(
        r#"http: {{ listen: "{http}"{tls} }}
admin: {{ listen: "{admin}" }}
limits: {{ {limits} }}
spool: {{ dir: "{dir}/spool"{comma}{spool} }}
{ways}"#,
        limits = setup.limits,
        dir = dir.display(),
        spool = setup.spool,
    )
}

impl Running {
    /// Records that its sink has for good.
    ///
    /// # Errors
    /// When the metrics cannot be read.
    pub fn delivered(&self) -> anyhow::Result<u64> {
        let metrics = get(self.admin.context("a floor has no metrics")?, "/metrics")?;
        let values = metrics.lines().filter(|line| line.starts_with("fanbridge_delivered_total{"));
        Ok(values.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum::<f64>() as u64)
    }

    fn await_ready(&mut self) -> anyhow::Result<()> {
        let admin = self.admin.context("a floor has no health")?;
        let started = Instant::now();
        while get(admin, "/readyz").is_err() {
            anyhow::ensure!(self.child.running(), "the process ended");
            anyhow::ensure!(started.elapsed() < READY_MAX, "not ready after {READY_MAX:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

/// Waits until the sinks together have so many; how many they had then, and when that was.
///
/// # Errors
/// When they do not have them in time.
pub fn await_delivered(bridge: &Running, events: u64) -> anyhow::Result<(u64, Instant)> {
    let started = Instant::now();
    loop {
        let delivered = bridge.delivered().context("cannot see what was delivered")?;
        if delivered >= events {
            return Ok((delivered, Instant::now()));
        }
        anyhow::ensure!(
            started.elapsed() < DELIVERED_MAX,
            "{delivered} of {events} events delivered after {DELIVERED_MAX:?}"
        );
        std::thread::sleep(LOOK);
    }
}

/// An address that was free a moment ago.
///
/// # Errors
/// When there is none.
pub fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// The body of a 200.
pub fn get(address: SocketAddr, path: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(ANSWERS_WITHIN))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no answer")?;
    anyhow::ensure!(head.starts_with("HTTP/1.1 20"), "{path}: {}", head.lines().next().unwrap_or_default());
    Ok(body.into())
}
