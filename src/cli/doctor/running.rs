//! What the running bridge says of itself: the facts that no other process can find out.

use serde::Deserialize;

use super::context::Context;
use super::finding::{counted, named};
use super::{Finding, Probe};
use crate::admin::PausedAnswer;
use crate::cli::Failure;
use crate::cli::client::{Client, block_on};
use crate::config::Config;
use crate::explain::cause::moment;

const DEGRADED: &str = "bridge.degraded";
const CLOCK: &str = "kafka.clock";

/// Path of the facts in the admin API.
const PATH: &str = "/api/v1/doctor/facts";

/// Whether a bridge answers at the admin listener's address.
#[derive(Clone, Debug)]
pub(super) enum RunningBridge {
    /// Nobody answers.
    Absent,
    /// Something takes connections there, and this is why it tells nothing.
    Silent(String),
    /// It has told its facts.
    Told(Box<RunningFacts>),
}

/// The facts of a running bridge.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct RunningFacts {
    pub version: String,
    pub fingerprint: String,
    pub unready_because: Option<String>,
    pub files_open: Option<u64>,
    pub files_max: Option<u64>,
    pub fdatasyncs: u64,
    pub fdatasync_ms: SyncTimes,
    pub disk_outstanding_ms: u64,
    pub sources: Vec<RunningPart>,
    pub sinks: Vec<RunningPart>,
}

/// How long an fdatasync takes, in milliseconds.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(super) struct SyncTimes {
    pub p50: Option<f64>,
    pub p99: Option<f64>,
}

/// A source or sink of the running bridge.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct RunningPart {
    pub name: String,
    pub degraded_because: Option<String>,
    #[serde(default)]
    pub paused: Option<PausedAnswer>,
    #[serde(default)]
    pub published: Vec<String>,
    #[serde(default)]
    pub held: Vec<HeldTopicFact>,
}

/// A topic to which a sink of the running bridge publishes nothing new.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct HeldTopicFact {
    pub topic: String,
    pub reason: String,
    pub detail: String,
}

impl RunningBridge {
    /// Asks at the admin listener's address.
    pub(super) fn ask(config: &Config) -> Self {
        let asking = async {
            let client = match Client::admin(&config.admin).await {
                Ok(client) => client,
                Err(_) => return Ok(Self::Absent),
            };
            Ok(match client.json(PATH).await {
                Ok(facts) => Self::Told(facts),
                Err(failure) => Self::Silent(failure.to_string()),
            })
        };
        let silent = || format!("it has not answered for {} s", super::probe::RUNNING_WITHIN.as_secs());
        let in_time = async {
            let asked = tokio::time::timeout(super::probe::RUNNING_WITHIN, asking).await;
            asked.unwrap_or_else(|_| Ok(Self::Silent(silent())))
        };
        block_on(in_time).unwrap_or_else(|failure: Failure| Self::Silent(failure.to_string()))
    }

    /// The facts, if there are some.
    pub(super) fn facts(&self) -> Option<&RunningFacts> {
        match self {
            Self::Told(facts) => Some(facts),
            Self::Absent | Self::Silent(_) => None,
        }
    }

    /// Whether something answers, or at least takes connections.
    pub(super) fn is_there(&self) -> bool {
        !matches!(self, Self::Absent)
    }

    /// What a sink of the running bridge says of itself.
    pub(super) fn sink(&self, name: &str) -> Option<&RunningPart> {
        self.facts()?.sinks.iter().find(|sink| sink.name == name)
    }
}

/// The checks of what the running bridge says.
pub(super) fn probes(context: &Context) -> Vec<Probe> {
    let (running, config) = (context.running.clone(), context.config.clone());
    let mut probes = vec![Probe::blocking(&[DEGRADED], "", move |found| match &*running {
        RunningBridge::Absent => {
            found.add(Finding::skipped(DEGRADED, "", "no bridge runs at the admin listener's address"));
        }
        RunningBridge::Silent(why) => found.add(
            Finding::unknown(
                DEGRADED,
                "",
                format!("what is at the admin listener's address tells nothing: {why}"),
            )
            .fix("an older bridge knows no facts; another program, or `admin.token`, may be in the way"),
        ),
        RunningBridge::Told(facts) => {
            condition(facts, &config).into_iter().for_each(|finding| found.add(finding));
        }
    })];
    let kafka =
        context.config.sinks.iter().filter(|sink| matches!(sink.output, crate::sink::Output::Kafka(_)));
    for sink in kafka {
        let (name, running) = (sink.name.clone(), context.running.clone());
        probes.push(Probe::blocking(&[CLOCK], &*sink.name, move |found| found.add(clock(&name, &running))));
    }
    probes
}

fn condition(facts: &RunningFacts, config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    if facts.fingerprint != config.fingerprint.to_string() {
        let found =
            format!("it runs with configuration {}, and this is {}", facts.fingerprint, config.fingerprint);
        findings.push(Finding::warning(DEGRADED, "", found).fix(
            "`fanbridge reload` uses it, or says what needs a restart; or name the other with --config",
        ));
    }
    if let Some(reason) = &facts.unready_because {
        findings.push(
            Finding::failure(DEGRADED, "", format!("it takes no delivery: {reason}"))
                .fix(fix_of_unready(reason)),
        );
    }
    let sources = facts.sources.iter().map(|part| ("source", part));
    let sinks = facts.sinks.iter().map(|part| ("sink", part));
    for (kind, part) in sources.chain(sinks) {
        let subject = format!("{kind} {}", part.name);
        if let Some(PausedAnswer { since, reason }) = &part.paused {
            let since = moment(since);
            let found = format!("it is paused since {since}: {reason}; its events wait in the spool");
            findings.push(
                Finding::warning(DEGRADED, &*subject, found)
                    .fix("let it go on once the reason is gone")
                    .command(format!("fanbridge resume {}", part.name)),
            );
        }
        if let Some(reason) = &part.degraded_because {
            findings.push(
                Finding::failure(DEGRADED, &*subject, reason.as_str())
                    .fix("mend what it says; nothing is lost meanwhile, and it goes on by itself"),
            );
        } else if let Some(first) = part.held.first() {
            let topics = part.held.iter().map(|held| &*held.topic);
            let found = format!(
                "{} waits, {}: {}; {}",
                counted(part.held.len(), "topic"),
                first.reason,
                first.detail,
                named(topics)
            );
            findings.push(
                Finding::warning(DEGRADED, &*subject, found)
                    .fix("mend what it says; it is tried again by itself"),
            );
        }
    }
    if findings.is_empty() {
        let found = format!("release {} takes deliveries, and no part of it is degraded", facts.version);
        findings.push(Finding::ok(DEGRADED, "", found));
    }
    findings
}

/// What to do about a reason for which no delivery is taken.
fn fix_of_unready(reason: &str) -> &'static str {
    let ends_with = |words: &[&str]| words.iter().any(|word| reason.ends_with(word));
    if ends_with(&["spool_full"]) {
        "mend the sink that is furthest behind, which `fanbridge top` shows; or raise `spool.bytes_max`"
    } else if ends_with(&["disk_low", "disk_full", "no_inodes"]) {
        "free space on the disk of `spool.dir`"
    } else if reason.starts_with("the disk ") {
        "look at the disk of `spool.dir`"
    } else if ends_with(&["no_descriptors", "no_memory"]) {
        "raise the limits of the bridge's process"
    } else {
        "the runbook in docs/OPERATING.md has the reason's row"
    }
}

/// Whether the brokers take this machine's time. A broker does not tell its own.
fn clock(sink: &str, running: &RunningBridge) -> Finding {
    let show = "timedatectl";
    let Some(part) = running.sink(sink) else {
        let found = "a broker does not tell its time, and no running bridge has published to it";
        return Finding::unknown(CLOCK, sink, found)
            .fix("see that this machine and the brokers keep their time by NTP")
            .command(show);
    };
    if let Some(held) = part.held.iter().find(|held| held.reason == "clock") {
        return Finding::failure(CLOCK, sink, format!("{}: {}", held.topic, held.detail))
            .fix("set this machine's clock, or the broker's")
            .command(show);
    }
    if part.published.is_empty() {
        let found = "a broker does not tell its time, and the bridge has published nothing of late";
        return Finding::unknown(CLOCK, sink, found)
            .fix("see that both keep their time by NTP")
            .command(show);
    }
    Finding::ok(
        CLOCK,
        sink,
        format!("{} took records with this machine's time", counted(part.published.len(), "topic")),
    )
}
