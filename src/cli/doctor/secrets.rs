//! Checks of the signing secrets: their length, their periods, and whether several sources share one.
//!
//! No finding shows more of a secret than the reference that says where it is kept.

use std::time::{Duration, SystemTime};

use super::context::Context;
use super::finding::{counted, named};
use super::{Finding, Probe};
use crate::config::Config;
use crate::event::Timestamp;
use crate::source::{Channel, SourceOptions, SourceSecret};

const STRENGTH: &str = "secret.strength";
const EXPIRY: &str = "secret.expiry";
const REUSE: &str = "secret.reuse";

/// How long before its end a secret without a successor is a warning.
const ENDS_SOON: Duration = Duration::from_secs(14 * 86_400);

/// The command that makes a secret.
const MAKE: &str = "openssl rand -base64 32";

/// The checks of the configuration's secrets.
pub(super) fn probes(context: &Context) -> Vec<Probe> {
    let config = context.config.clone();
    let has_secrets = context.has_secrets;
    vec![Probe::blocking(&[STRENGTH, EXPIRY, REUSE], "", move |found| {
        if !has_secrets {
            let why = "a bridge without a configuration makes its secrets at its first start";
            [STRENGTH, EXPIRY, REUSE]
                .into_iter()
                .for_each(|check| found.add(Finding::skipped(check, "", why)));
            return;
        }
        let now = SystemTime::now().into();
        let findings = strength(&config).into_iter().chain(expiry(&config, now)).chain(reuse(&config));
        findings.for_each(|finding| found.add(finding));
    })]
}

/// The sources whose deliveries are verified with a secret.
fn signed(config: &Config) -> impl Iterator<Item = &SourceOptions> {
    let is_signed = |source: &&SourceOptions| {
        matches!(source.channel, Channel::Webhook) && source.definition.is_verified()
    };
    config.sources.iter().filter(is_signed)
}

fn strength(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut count = 0;
    for source in signed(config) {
        count += source.secrets.len();
        let short = source.secrets.iter().filter(|secret| secret.secret.is_short());
        findings.extend(short.map(|secret| {
            let found =
                format!("the secret in {} has fewer than 24 bytes, and can be guessed sooner", secret.kept);
            Finding::warning(STRENGTH, &*source.name, found)
                .fix("have the provider make a longer one, and list both until it signs with the new one")
                .command(MAKE)
        }));
        if source.secrets.is_empty() {
            let found = "it has no secret yet, and takes nothing but the provider's probe";
            findings.push(
                Finding::warning(STRENGTH, &*source.name, found)
                    .fix(format!("add the provider's secret to sources.{}.secrets", source.name)),
            );
        }
    }
    if findings.is_empty() {
        let found = match count {
            0 => return vec![Finding::skipped(STRENGTH, "", "no source verifies with a secret")],
            count => format!("{}, each of 24 bytes or more", counted(count, "secret")),
        };
        findings.push(Finding::ok(STRENGTH, "", found));
    }
    findings
}

fn expiry(config: &Config, now: Timestamp) -> Vec<Finding> {
    let sources: Vec<&SourceOptions> = signed(config).filter(|source| !source.secrets.is_empty()).collect();
    if sources.is_empty() {
        return vec![Finding::skipped(EXPIRY, "", "no source verifies with a secret")];
    }
    let findings: Vec<Finding> = sources.iter().flat_map(|source| expiry_of(source, now)).collect();
    if findings.is_empty() {
        let found = format!("each of {} has a secret that stays valid", counted(sources.len(), "source"));
        return vec![Finding::ok(EXPIRY, "", found)];
    }
    findings
}

fn expiry_of(source: &SourceOptions, now: Timestamp) -> Vec<Finding> {
    let soon = Timestamp(now.0.saturating_add(i64::try_from(ENDS_SOON.as_nanos()).unwrap_or(i64::MAX)));
    let live = |at| move |secret: &&SourceSecret| secret.secret.is_live(at);
    let over: Vec<&SourceSecret> =
        source.secrets.iter().filter(|secret| secret.secret.is_over(now)).collect();
    let name = &*source.name;
    if !source.secrets.iter().any(|secret| live(now)(&secret)) {
        let ends = source.secrets.iter().filter_map(|secret| secret.secret.end()).max();
        let since = ends.filter(|end| *end < now).map_or_else(
            || "none is valid yet".to_owned(),
            |end| format!("the last one ended {}", end.to_rfc3339()),
        );
        let found = format!("no secret is valid now ({since}): each delivery is answered 401");
        return vec![
            Finding::failure(EXPIRY, name, found)
                .fix("list the secret with which the provider signs, or move its not_after"),
        ];
    }
    let mut findings = Vec::new();
    if !source.secrets.iter().any(|secret| live(soon)(&secret)) {
        let end = source.secrets.iter().filter_map(|secret| secret.secret.end()).max().unwrap_or(soon);
        let found = format!("its last secret ends {}, and none follows", end.to_rfc3339());
        findings.push(
            Finding::warning(EXPIRY, name, found)
                .fix("list the next secret before then, beside the current one"),
        );
    }
    for secret in over {
        let end = secret.secret.end().unwrap_or(now);
        let found = format!("the secret in {} ended {}", secret.kept, end.to_rfc3339());
        findings.push(
            Finding::warning(EXPIRY, name, found)
                .fix("take it out of the configuration, or move its not_after"),
        );
    }
    findings
}

fn reuse(config: &Config) -> Vec<Finding> {
    let all: Vec<(&SourceOptions, &SourceSecret)> =
        signed(config).flat_map(|source| source.secrets.iter().map(move |secret| (source, secret))).collect();
    if all.len() < 2 {
        return vec![Finding::skipped(REUSE, "", "there are no two secrets to compare")];
    }
    let mut findings = Vec::new();
    for (at, (source, secret)) in all.iter().enumerate() {
        let is_same =
            |(_, other): &&(&SourceOptions, &SourceSecret)| other.secret.is_same_key(&secret.secret);
        // Each key is told of once, by the first place that has it.
        if all[..at].iter().any(|other| is_same(&other)) {
            continue;
        }
        let same: Vec<_> = all[at + 1..].iter().filter(is_same).collect();
        if same.iter().any(|(other, _)| other.name == source.name) {
            let found = format!("the secret in {} is listed twice", secret.kept);
            findings.push(Finding::warning(REUSE, &*source.name, found).fix("list it once"));
        }
        // The secret of an app is that of each of its sources.
        let others: Vec<&str> = same
            .iter()
            .filter(|(other, _)| other.event_source() != source.event_source())
            .map(|(other, _)| &*other.name)
            .collect();
        if !others.is_empty() {
            let found = format!(
                "its secret in {} is also that of {}: whoever signs for one can sign for the other",
                secret.kept,
                named(others)
            );
            findings.push(
                Finding::warning(REUSE, &*source.name, found)
                    .fix("give each provider and app a secret of its own")
                    .command(MAKE),
            );
        }
    }
    if findings.is_empty() {
        findings.push(Finding::ok(REUSE, "", format!("{} that all differ", counted(all.len(), "secret"))));
    }
    findings
}
