//! The load: signed deliveries with unique ids, as fast as they are answered or at a fixed rate.
//!
//! Prints one line of JSON. Far cheaper than what it loads (two system calls and a few hundred
//! nanoseconds of hashing per event), so it can share a machine with it. It is a client only: it
//! shares no code with the bridge, so that neither can hide the other's mistakes.
//!
//! `load --to http://127.0.0.1:8080/in/bench --connections 64 --body-bytes 1024 --seconds 5`

mod answer;
#[allow(dead_code, reason = "the floors write bodies more simply")]
mod body;
mod connection;
mod fresh;
mod gzip;
mod idle;
mod lane;
mod pace;
mod report;
mod wire;

use anyhow::Context;
use body::{Bodies, Kinds};
use clap::{Parser, ValueEnum};
use connection::Target;
use gzip::Gzip;
use idle::Idle;
use lane::{Lane, Tally};
use pace::{Bounds, Pace};
use report::LoadReport;
use std::io::Write;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Sends signed events to a webhook and reports rate and latency.
#[derive(Parser)]
struct Arguments {
    /// Where to: `http://HOST:PORT/PATH`, or `https`; `{}` in the path becomes the number of the source.
    #[arg(long)]
    to: String,
    /// The certificate to trust, for `https`; it is for `localhost`.
    #[arg(long)]
    certificate: Option<PathBuf>,
    /// The environment variable that holds the signing secret.
    #[arg(long, default_value = "BENCH_SECRET")]
    secret_env: String,
    /// Connections kept open.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Bytes of each body, exactly.
    #[arg(long, default_value_t = 1024)]
    body_bytes: usize,
    /// Partition keys that events are spread over.
    #[arg(long, default_value_t = 1000)]
    keys: usize,
    /// Event types that go round with the keys; 0 for one that the catalogue has.
    #[arg(long, default_value_t = 0)]
    types: usize,
    /// Sources that connections are spread over; each has its own share of the keys.
    #[arg(long, default_value_t = 1)]
    sources: usize,
    /// Sends bodies compressed; the size is that before.
    #[arg(long)]
    gzip: bool,
    /// Requests on the wire of one connection.
    #[arg(long, default_value_t = 1)]
    pipeline: usize,
    /// Takes a new connection for each request; with TLS, with a handshake of this kind.
    #[arg(long, value_enum)]
    fresh: Option<Handshake>,
    /// Connections that are opened before, one request on each, and then kept open with nothing to say. A
    /// line `{"idle":N}` is printed once they are.
    #[arg(long, default_value_t = 0)]
    idle: usize,
    /// Requests per second in an open loop; without it the loop is closed.
    #[arg(long)]
    rate: Option<f64>,
    /// Ends after this many seconds.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Ends after this many events, if that is sooner.
    #[arg(long)]
    count: Option<u64>,
    /// Threads that share the connections.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// A file for the ids that were answered 2xx, one a line.
    #[arg(long)]
    ledger: Option<PathBuf>,
}

/// How a new connection becomes encrypted.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Handshake {
    /// As if the two had never met.
    Full,
    /// With what is left of an earlier connection.
    Resumed,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    anyhow::ensure!(
        (1..=arguments.connections).contains(&arguments.threads),
        "{} threads for {} connections: expected at least one connection a thread",
        arguments.threads,
        arguments.connections
    );
    anyhow::ensure!(arguments.rate.is_none_or(|rate| rate > 0.0), "a rate is more than 0 a second");
    anyhow::ensure!(arguments.pipeline > 0 && arguments.sources > 0, "expected at least 1");
    let secret = std::env::var(&arguments.secret_env)
        .with_context(|| format!("${} is not set", arguments.secret_env))?;
    let kinds = Kinds { keys: arguments.keys, types: arguments.types, parts: arguments.sources };
    let mut bodies = Bodies::of_kinds(arguments.body_bytes, kinds, secret.as_bytes())?;
    let target = Arc::new(arguments.target(&mut bodies)?);
    let idle = Idle::open(&target, arguments.idle, &mut bodies)?;

    let lanes = match arguments.fresh {
        Some(_) => Vec::new(),
        None => lanes(&arguments, &target, &bodies)?,
    };
    let cpu = own_cpu_seconds();
    let time_max = Duration::from_secs_f64(arguments.seconds);
    let bounds = Bounds::new(arguments.count.unwrap_or(u64::MAX), time_max);
    let rate = arguments.rate.map(|rate| rate / arguments.threads as f64);
    let pace = || Pace::new(&bounds, rate);
    let tallies = std::thread::scope(|scope| {
        let mut running: Vec<_> =
            lanes.into_iter().map(|lane| scope.spawn(move || lane.run(pace()))).collect();
        if arguments.fresh.is_some() {
            running.extend((0..arguments.connections).map(|number| {
                let (target, bodies) = (&target, bodies.clone());
                scope.spawn(move || fresh::run(target, number, bodies, pace()))
            }));
        }
        running
            .into_iter()
            .map(|lane| lane.join().expect("a lane does not panic"))
            .collect::<anyhow::Result<Vec<_>>>()
    })?;
    let mut report = report(&arguments, &bounds, &tallies, own_cpu_seconds() - cpu)?;
    report.idle = idle.still_open();
    if let Some(path) = &arguments.ledger {
        write_ledger(path, &tallies).with_context(|| format!("cannot write {}", path.display()))?;
    }
    println!("{}", serde_json::to_string(&report)?);
    // Closing them is work for the other side, which is not a part of what was measured.
    drop(idle);
    Ok(())
}

impl Arguments {
    fn target(&self, bodies: &mut Bodies) -> anyhow::Result<Target> {
        let (to, path, encrypted) = target(&self.to)?;
        let tls = match (&self.certificate, encrypted) {
            (Some(certificate), true) => {
                Some(wire::client(certificate, self.fresh == Some(Handshake::Resumed))?)
            }
            (None, false) => None,
            _ => anyhow::bail!("https wants --certificate, and http wants none"),
        };
        Ok(Target {
            to,
            path: path.to_owned(),
            tls,
            gzip: self.gzip.then(|| Gzip::new(bodies)).transpose()?,
            sources: self.sources,
            depth: self.pipeline,
            close: self.fresh.is_some(),
        })
    }

    /// Threads that are at work.
    fn threads(&self) -> usize {
        if self.fresh.is_some() { self.connections } else { self.threads }
    }
}

fn lanes(arguments: &Arguments, target: &Arc<Target>, bodies: &Bodies) -> anyhow::Result<Vec<Lane>> {
    let mut next = 0;
    (0..arguments.threads)
        .map(|thread| {
            let first = next;
            next += share(arguments.connections, arguments.threads, thread);
            Lane::open(target, first..next, bodies.clone(), arguments.ledger.is_some())
        })
        .collect()
}

/// The address and the path of a URL, and whether it is `https`.
fn target(url: &str) -> anyhow::Result<(SocketAddr, &str, bool)> {
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    let slash = rest.find('/').filter(|_| ["http", "https"].contains(&scheme));
    let slash = slash.with_context(|| format!("`{url}`: expected http://HOST:PORT/PATH, or https"))?;
    let (host, path) = rest.split_at(slash);
    let mut addresses = host.to_socket_addrs().with_context(|| format!("`{host}`: expected HOST:PORT"))?;
    let address = addresses.next().with_context(|| format!("`{host}` has no address"))?;
    Ok((address, path, scheme == "https"))
}

/// How many of `all` fall to part `index` of `parts`.
fn share(all: usize, parts: usize, index: usize) -> usize {
    all / parts + usize::from(index < all % parts)
}

fn report(arguments: &Arguments, bounds: &Bounds, tallies: &[Tally], cpu: f64) -> anyhow::Result<LoadReport> {
    let mut report = LoadReport {
        connections: arguments.connections,
        body_bytes: arguments.body_bytes,
        rate_asked: arguments.rate,
        ..LoadReport::default()
    };
    let mut latency = lane::latency_histogram()?;
    for tally in tallies {
        latency.add(&tally.latency)?;
        report.errors += tally.errors;
        report.resumed += tally.resumed;
        for (status, count) in &tally.statuses {
            *report.statuses.entry(*status).or_default() += count;
        }
        report.seconds = report.seconds.max((tally.ended - bounds.started()).as_secs_f64());
    }
    report.accepted = report.statuses.range(200..300).map(|(_, count)| count).sum();
    report.accepted_per_second = report.accepted as f64 / report.seconds;
    let at = |quantile| latency.value_at_quantile(quantile) as f64 / 1e6;
    (report.p50_ms, report.p99_ms, report.p999_ms) = (at(0.5), at(0.99), at(0.999));
    report.max_ms = latency.max() as f64 / 1e6;
    report.sender_cpu_us_per_event = cpu * 1e6 / report.accepted.max(1) as f64;
    let cores = std::thread::available_parallelism()?.get().min(arguments.threads());
    report.sender_busy_percent = 100.0 * cpu / (report.seconds * cores as f64);
    Ok(report)
}

fn own_cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn write_ledger(path: &Path, tallies: &[Tally]) -> std::io::Result<()> {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    for id in tallies.iter().filter_map(|tally| tally.ledger.as_ref()).flatten() {
        file.write_all(id)?;
        file.write_all(b"\n")?;
    }
    file.flush()
}
