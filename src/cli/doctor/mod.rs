//! `fanbridge doctor`: looks at everything that the configuration needs (the machine, the disk, the secrets,
//! the brokers) and says what is wrong with each part and what to do about it. It changes nothing.
//!
//! Checks run side by side, each for 10 s at most. What a check cannot find out is `unknown`, never `ok`.

mod aws;
mod brokers;
mod child;
mod context;
mod disk;
mod finding;
mod machine;
mod network;
mod policy;
mod probe;
mod provider;
mod provider_key;
mod replicas;
mod report;
mod running;
mod secrets;
mod spool;
mod tls;

use clap::builder::PossibleValuesParser;

use self::context::Context;
use self::finding::Finding;
use self::probe::{Probe, examine};
use self::provider_key::provider_keys;
use self::report::DoctorReport;
use super::output::{Format, print, terminal_json};
use super::{ConfigArgs, Exit, Failure};

/// The checks, in the order in which their findings are printed. `docs/OPERATING.md` explains each.
const CHECKS: &[&str] = &[
    "config.check",
    "process.descriptors",
    "disk.kind",
    "disk.space",
    "disk.fdatasync",
    "disk.lock",
    "spool.format",
    "secret.strength",
    "secret.expiry",
    "secret.reuse",
    "listener.reachable",
    "dns",
    "tls.chain",
    "tls.expiry",
    "redis",
    "bridge.degraded",
    "kafka.reach",
    "kafka.topics",
    "kafka.replicas",
    "kafka.write",
    "kafka.clock",
    "sqs.queue",
    "sqs.policy",
    "sns.topic",
    "sns.kms",
    "provider.hook",
    "provider.answer",
];

/// Arguments of `doctor`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Make only these checks, such as `kafka.topics`; can be repeated, or a list with commas
    #[arg(long, value_name = "CHECK", value_delimiter = ',')]
    #[arg(value_parser = PossibleValuesParser::new(CHECKS), hide_possible_values = true)]
    only: Vec<String>,
    /// Fail for warnings, and for what cannot be told, as well
    #[arg(long)]
    strict: bool,
    /// API key of the app, to look at its hooks: `[SOURCE=]env:NAME` or another reference; can be
    /// repeated. Known of Stream
    #[arg(long, value_name = "KEY")]
    provider_key: Vec<String>,
    /// Address of the provider's API
    #[arg(long, value_name = "URL", default_value = "https://chat.stream-io-api.com")]
    provider_url: String,
    /// How to print the findings
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    config: ConfigArgs,
    /// Make the checks of the disk alone: what the doctor starts for itself. Whether the bridge runs
    #[arg(long, hide = true, value_name = "RUNNING")]
    disk_checks: Option<bool>,
}

/// Makes the checks and prints what they find.
///
/// # Errors
/// Exit code 1 if a check fails, with `--strict` also for a warning or for what cannot be told; 74 if the
/// configuration cannot be read.
pub fn run(args: &Args) -> Result<(), Failure> {
    if let Some(is_running) = args.disk_checks {
        return child::serve(&args.config, is_running, &args.only);
    }
    let (usable, context) = Context::read(&args.config, None)?;
    let wanted = |check: &str| args.only.is_empty() || args.only.iter().any(|only| only == check);
    let mut findings = Vec::new();
    // With a configuration that cannot be used, nothing that was asked for could be looked at.
    if wanted(usable.check) || context.is_none() {
        findings.push(usable);
    }
    if let Some(mut context) = context {
        context.provider_keys = provider_keys(&args.provider_key, &context.config)?;
        context.provider_url.clone_from(&args.provider_url);
        let mut probes = probes(&context, &args.config);
        probes.retain(|probe| probe.checks.iter().any(|&check| wanted(check)));
        findings.extend(examine(probes, |_| ())?.into_iter().filter(|finding| wanted(finding.check)));
    }
    let report = DoctorReport::new(findings, CHECKS);
    match args.format {
        Format::Table => print(&report.text())?,
        Format::Json => print(&format!("{}\n", terminal_json(format!("{:#}", report.json()))))?,
        Format::Ndjson => print(&terminal_json(report.ndjson()))?,
    }
    eprintln!("{}", report.summary());
    if report.has_failed(args.strict) { Err(Failure::new(Exit::Failed, "")) } else { Ok(()) }
}

/// Everything that there is to look at.
fn probes(context: &Context, args: &ConfigArgs) -> Vec<Probe> {
    let mut probes = machine::probes(context);
    probes.push(child::probe(context, args));
    probes.extend(secrets::probes(context));
    probes.extend(running::probes(context));
    probes.extend(brokers::probes(context));
    probes.extend(network::probes(context));
    probes.extend(tls::probes(context));
    probes.extend(aws::probes(context));
    probes.extend(provider::probes(context));
    probes
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_check_is_explained_to_who_operates_the_bridge_and_no_other() {
        let operating = include_str!("../../../docs/OPERATING.md");
        let section = operating.split("\n## Doctor\n").nth(1).expect("a section of its own");
        let section = section.split("\n## ").next().expect("a split has a first part");
        let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
        let explained: BTreeSet<&str> = rows.collect();
        assert_eq!(explained, CHECKS.iter().copied().collect());
    }
}
