//! Checks of the machine: open files, and the listeners' addresses.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};

use rustix::process::{Resource, getrlimit};

use super::context::Context;
use super::probe::LIMIT;
use super::running::RunningFacts;
use super::{Finding, Probe};
use crate::bridge::descriptors;
use crate::cli::run::FILES_MAX;
use crate::config::Config;

const DESCRIPTORS: &str = "process.descriptors";
const LISTENER: &str = "listener.reachable";

/// The checks of this machine.
pub(super) fn probes(context: &Context) -> Vec<Probe> {
    let (config, running) = (context.config.clone(), context.running.clone());
    let mut probes = vec![Probe::blocking(&[DESCRIPTORS], "", move |found| {
        found.add(running.facts().and_then(descriptors_in_use).unwrap_or_else(|| descriptors_of(&config)));
    })];
    let config = &context.config;
    for (name, listen) in [("http", config.http.listen), ("admin", config.admin.listen)] {
        let is_running = context.running.is_there();
        probes.push(Probe::blocking(&[LISTENER], name, move |found| {
            found.add(if is_running { answers(name, listen) } else { is_free(name, listen) });
        }));
    }
    probes
}

/// How many files the running bridge has open; `None` if it cannot tell.
fn descriptors_in_use(facts: &RunningFacts) -> Option<Finding> {
    let (open, most) = (facts.files_open?, facts.files_max?);
    let found = format!("the running bridge has {open} files open, of at most {most}");
    if open.saturating_mul(5) < most.saturating_mul(4) {
        return Some(Finding::ok(DESCRIPTORS, "", found));
    }
    Some(
        Finding::warning(DESCRIPTORS, "", found)
            .fix("raise the limit of whoever starts the bridge (systemd: LimitNOFILE)")
            .command(format!("ulimit -n {}", most.saturating_mul(2))),
    )
}

/// Whether a process of this shell can have enough files open.
fn descriptors_of(config: &Config) -> Finding {
    // The bridge raises its limit as far as the system lets it.
    let files = getrlimit(Resource::Nofile).maximum.map_or(FILES_MAX, |maximum| maximum.min(FILES_MAX));
    let least = descriptors::files_min(config);
    let asked = config.limits.connections_max;
    let raise = "raise the limit of whoever starts the bridge (systemd: LimitNOFILE)";
    match descriptors::connections(files, config) {
        None => {
            let found = format!("{files} open files are allowed here, and a start needs {least}");
            Finding::failure(DESCRIPTORS, "", found)
                .fix(raise)
                .command(format!("ulimit -n {}", least + asked))
        }
        Some(left) if left < asked => {
            let found = format!("{files} open files leave {left} of {asked} connections");
            Finding::warning(DESCRIPTORS, "", found)
                .fix(format!("{raise}, or lower limits.connections_max"))
                .command(format!("ulimit -n {}", least + asked))
        }
        Some(_) => Finding::ok(DESCRIPTORS, "", format!("{files} open files are allowed here")),
    }
}

/// Whether a running bridge takes connections.
fn answers(name: &str, listen: SocketAddr) -> Finding {
    let mut address = listen;
    if listen.ip().is_unspecified() {
        address.set_ip(match listen {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    match TcpStream::connect_timeout(&address, LIMIT / 2) {
        Ok(_) => Finding::ok(LISTENER, name, format!("the running bridge takes connections at {listen}")),
        Err(error) => Finding::failure(LISTENER, name, format!("{listen} takes no connection: {error}"))
            .fix("another configuration may be running; compare the addresses")
            .command("ss -ltnp"),
    }
}

/// Whether the bridge can listen there.
fn is_free(name: &str, listen: SocketAddr) -> Finding {
    match TcpListener::bind(listen) {
        Ok(_) => Finding::ok(LISTENER, name, format!("no bridge runs here, and {listen} is free for it")),
        Err(error) => {
            let found = format!("{listen} cannot be listened on: {error}");
            let fix = match error.kind() {
                io::ErrorKind::AddrInUse => "end the process that has it, or choose another port",
                io::ErrorKind::PermissionDenied => "a port above 1023, or CAP_NET_BIND_SERVICE",
                _ => "an address of this machine, or 0.0.0.0 for all",
            };
            Finding::failure(LISTENER, name, found).fix(fix).command("ss -ltnp")
        }
    }
}
