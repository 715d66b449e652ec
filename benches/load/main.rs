//! The load: signed deliveries with unique ids, as fast as they are answered or at a fixed rate.
//!
//! Prints one line of JSON. Far cheaper than what it loads (two system calls and a few hundred
//! nanoseconds of hashing per event), so it can share a machine with it. It is a client only: it
//! shares no code with the bridge, so that neither can hide the other's mistakes.
//!
//! `load --to http://127.0.0.1:8080/in/bench --connections 64 --body-bytes 1024 --seconds 5`

mod body;
mod connection;
mod lane;
mod pace;
mod report;

use anyhow::Context;
use body::Bodies;
use clap::Parser;
use lane::{Lane, Tally};
use pace::{Bounds, Pace};
use report::LoadReport;
use std::io::Write;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Sends signed events to a webhook and reports rate and latency.
#[derive(Parser)]
struct Arguments {
    /// Where to: `http://HOST:PORT/PATH`.
    #[arg(long)]
    to: String,
    /// The environment variable that holds the signing secret.
    #[arg(long, default_value = "BENCH_SECRET")]
    secret_env: String,
    /// Connections kept open, each with one request on the wire at a time.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Bytes of each body, exactly.
    #[arg(long, default_value_t = 1024)]
    body_bytes: usize,
    /// Partition keys that events are spread over.
    #[arg(long, default_value_t = 1000)]
    keys: usize,
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

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    anyhow::ensure!(
        (1..=arguments.connections).contains(&arguments.threads),
        "{} threads for {} connections: expected at least one connection a thread",
        arguments.threads,
        arguments.connections
    );
    anyhow::ensure!(arguments.rate.is_none_or(|rate| rate > 0.0), "a rate is more than 0 a second");
    let (to, path) = target(&arguments.to)?;
    let secret = std::env::var(&arguments.secret_env)
        .with_context(|| format!("${} is not set", arguments.secret_env))?;
    let bodies = Bodies::new(arguments.body_bytes, arguments.keys, secret.as_bytes())?;

    let lanes = (0..arguments.threads)
        .map(|thread| {
            let connections = share(arguments.connections, arguments.threads, thread);
            Lane::open(to, path, connections, bodies.clone(), arguments.ledger.is_some())
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    let time_max = Duration::from_secs_f64(arguments.seconds);
    let bounds = Bounds::new(arguments.count.unwrap_or(u64::MAX), time_max);
    let rate = arguments.rate.map(|rate| rate / arguments.threads as f64);
    let tallies = std::thread::scope(|scope| {
        let running: Vec<_> =
            lanes.into_iter().map(|lane| scope.spawn(|| lane.run(Pace::new(&bounds, rate)))).collect();
        running
            .into_iter()
            .map(|lane| lane.join().expect("a lane does not panic"))
            .collect::<anyhow::Result<Vec<_>>>()
    })?;
    let report = report(&arguments, &bounds, &tallies)?;
    if let Some(path) = &arguments.ledger {
        write_ledger(path, &tallies).with_context(|| format!("cannot write {}", path.display()))?;
    }
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

/// The address and the path of a plain `http://` URL.
fn target(url: &str) -> anyhow::Result<(SocketAddr, &str)> {
    let rest =
        url.strip_prefix("http://").with_context(|| format!("`{url}`: expected http://HOST:PORT/PATH"))?;
    let slash = rest.find('/').with_context(|| format!("`{url}` has no path"))?;
    let (host, path) = rest.split_at(slash);
    let mut addresses = host.to_socket_addrs().with_context(|| format!("`{host}`: expected HOST:PORT"))?;
    Ok((addresses.next().with_context(|| format!("`{host}` has no address"))?, path))
}

/// How many of `all` fall to part `index` of `parts`.
fn share(all: usize, parts: usize, index: usize) -> usize {
    all / parts + usize::from(index < all % parts)
}

fn report(arguments: &Arguments, bounds: &Bounds, tallies: &[Tally]) -> anyhow::Result<LoadReport> {
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
    report.sender_cpu_us_per_event = own_cpu_seconds() * 1e6 / report.accepted.max(1) as f64;
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
