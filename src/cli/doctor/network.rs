//! Checks of the network: whether names resolve, and whether the Redis that replicas share takes claims.

use std::collections::BTreeMap;
use std::net::IpAddr;

use http::Uri;

use super::context::Context;
use super::finding::named;
use super::probe::LIMIT;
use super::{Finding, Probe};
use crate::dedup::shared;
use crate::sink::Output;
use crate::source::Channel;

const NAMES: &str = "dns";
const REDIS: &str = "redis";

/// The checks of names and of the shared window's server.
pub(super) fn probes(context: &Context) -> Vec<Probe> {
    let mut probes: Vec<Probe> =
        hosts(context).into_iter().map(|(host, users)| resolves(host, users)).collect();
    if probes.is_empty() {
        let found = "the configuration names no host";
        probes.push(Probe::blocking(&[NAMES], "", move |list| list.add(Finding::skipped(NAMES, "", found))));
    }
    let Some(window) = context.config.shared_window.clone() else { return probes };
    let server = window.server.to_string();
    let fix = "start it, or correct `spool.duplicates.redis`; each replica knows its own duplicates only";
    let (host, port) = window.server.address();
    let command = format!("redis-cli -h {host} -p {port} ping");
    let silent = Finding::failure(REDIS, &*server, format!("no answer within {} s", LIMIT.as_secs()));
    let silent = silent.fix(fix).command(&*command);
    let subject = server.clone();
    let probe = Probe::new(&[REDIS], &*server, move |found| async move {
        found.add(match shared::try_out(&window).await {
            Ok(()) => Finding::ok(REDIS, subject, "it takes the login and a claim"),
            Err(problem) => Finding::failure(REDIS, subject, problem).fix(fix).command(command),
        });
    });
    probes.push(probe.or_in_silence(silent));
    probes
}

/// Every host that the configuration names, and who uses it. Addresses need no look-up.
fn hosts(context: &Context) -> BTreeMap<String, Vec<String>> {
    let config = &context.config;
    let mut hosts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut add = |host: &str, user: &str| {
        let host = host.trim_matches(['[', ']']);
        if !host.is_empty() && host.parse::<IpAddr>().is_err() {
            hosts.entry(host.to_owned()).or_default().push(user.to_owned());
        }
    };
    let host_of = |url: &str| url.parse::<Uri>().ok().and_then(|uri| uri.host().map(str::to_owned));
    if let Some(host) = config.traces.as_ref().and_then(|traces| traces.endpoint.host()) {
        add(host, "traces");
    }
    for sink in &config.sinks {
        if let Output::Kafka(kafka) = &sink.output {
            kafka.broker_addresses().iter().for_each(|(host, _)| add(host, &sink.name));
        }
    }
    let endpoint = config.aws.endpoint.as_deref().and_then(host_of);
    for source in &config.sources {
        if let Channel::Sqs(queue) = &source.channel {
            let host = endpoint.clone().or_else(|| host_of(&queue.queue_url)).unwrap_or_default();
            add(&host, &source.name);
        }
    }
    if let Some(window) = &config.shared_window {
        add(window.server.address().0, "the shared duplicate window");
    }
    hosts
}

fn resolves(host: String, users: Vec<String>) -> Probe {
    let subject = host.clone();
    Probe::new(&[NAMES], subject.clone(), |found| async move {
        let used = named(users.iter().map(String::as_str));
        let failed = |why: &str| {
            Finding::failure(NAMES, &*subject, format!("{why}; used by {used}"))
                .fix("the name, and the resolvers in /etc/resolv.conf")
                .command(format!("getent ahosts {subject}"))
        };
        let looked_up = tokio::net::lookup_host((host.as_str(), 0)).await.map(Iterator::count);
        found.add(match looked_up {
            Ok(0) => failed("it has no address"),
            Ok(count) => {
                let plural = if count == 1 { "" } else { "es" };
                Finding::ok(NAMES, &*subject, format!("{count} address{plural}; used by {used}"))
            }
            Err(error) => failed(&error.to_string()),
        });
    })
}
