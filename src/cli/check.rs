//! `fanbridge check`: reports every problem of a configuration at once, without starting anything.

use std::io;
use std::path::{Path, PathBuf};

use super::output::{Format, print};
use super::{
    ConfigArgs, Exit, Failure, chain, colour_on, find, notice, read_without_aws, read_without_secrets,
};
use crate::admin::openapi_document;
use crate::config::{Config, Loaded, LookedAt, Problem, Report, UNREAD_HOST, schema};
use crate::disk::RealDisk;
use crate::explain::cause::plural;
use crate::selection::Selection;
use crate::sink::Output;
use crate::source::Channel;
use crate::spool::verify::look_at_headers;
use crate::spool::{SpoolError, lock_to_read};
use crate::state::{FILE_NAME, State, StateError};

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Configuration file, as an alternative to --config
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigArgs,
    /// Take for granted that the secrets and files that it names are there, as in CI
    #[arg(long)]
    without_secrets: bool,
    /// How to print problems
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Print the JSON Schema of the configuration instead
    #[arg(long)]
    schema: bool,
    /// Print the OpenAPI document of the admin API instead
    #[arg(long, conflicts_with = "schema")]
    openapi: bool,
}

/// Checks a configuration, and prints its problems or a summary.
///
/// # Errors
/// Exit code 78 if the configuration or a test in it has errors, there is none, or a later release wrote its
/// spool; 74 if it cannot be read.
pub fn run(args: &Args) -> Result<(), Failure> {
    if args.schema {
        return print(&format!("{:#}\n", schema()));
    }
    if args.openapi {
        return print(openapi_document());
    }
    let named = ConfigArgs { config: args.file.clone().or_else(|| args.config.config.clone()) };
    let path = find(&named).ok_or_else(|| {
        let advice = "name a file, or begin with `fanbridge init > fanbridge.yaml`";
        Failure::new(Exit::Config, format!("there is no fanbridge.yaml in this directory: {advice}"))
    })?;
    let name = path.to_string_lossy();
    let read = match args.without_secrets {
        true => read_without_secrets(&path)?.map(|looked| {
            (summary(&name, &looked.config) + &unread(&looked), looked.config, looked.warnings)
        }),
        false => read_without_aws(&path)?
            .map(|Loaded { config, warnings }| (summary(&name, &config), config, warnings)),
    };
    match read {
        Ok((summary, config, mut warnings)) => {
            if let Err(wrong_with_tests) = &config.tests {
                warnings.join(wrong_with_tests.clone());
                return refused(&warnings, args.format);
            }
            show(&warnings, args.format)?;
            refuse_newer(&config.spool.dir)?;
            match args.format {
                Format::Table => print(&summary),
                Format::Json | Format::Ndjson => Ok(()),
            }
        }
        Err(report) => refused(&report, args.format),
    }
}

/// Refuses a spool that a later release has written, as a start would: after a step back the running bridge
/// is then left alone.
fn refuse_newer(dir: &Path) -> Result<(), Failure> {
    let disk = RealDisk::default();
    let found = match look_at_headers(dir, &disk) {
        Err(error @ SpoolError::NewerFormat { .. }) => Some(error.to_string()),
        Err(error) if dir.exists() => {
            let problem = chain(&error);
            notice(format_args!("not looked at: the spool in {}: {problem}", dir.display()));
            None
        }
        // Held meanwhile, so that no start finds the state in use. A running bridge has read it.
        _ => match lock_to_read(&disk, dir) {
            Ok(Some(_lock)) => match State::refuse_newer(&dir.join(FILE_NAME)) {
                Err(error @ StateError::Newer { .. }) => Some(error.to_string()),
                _ => None,
            },
            _ => None,
        },
    };
    let Some(found) = found else { return Ok(()) };
    let advice = "run the release that wrote it; this one refuses to start, and changes nothing";
    Err(Failure::new(Exit::Config, format!("{found}: {advice}")))
}

fn refused(report: &Report, format: Format) -> Result<(), Failure> {
    show(report, format)?;
    Err(Failure::new(Exit::Config, ""))
}

/// Prints problems to stdout, because they are this verb's data.
fn show(report: &Report, format: Format) -> Result<(), Failure> {
    let problems = report.to_json();
    match format {
        Format::Json => print(&format!("{problems:#}\n")),
        Format::Ndjson => {
            let lines = problems.as_array().into_iter().flatten().map(|problem| format!("{problem}\n"));
            print(&lines.collect::<String>())
        }
        Format::Table if report.problems().is_empty() => Ok(()),
        Format::Table => {
            let errors = report.problems().iter().filter(|problem| Problem::is_error(problem)).count();
            let warnings = report.problems().len() - errors;
            print(&format!("{}\n\n", report.render(colour_on(&io::stdout()))))?;
            eprintln!("{}, {}", plural(errors as u64, "error"), plural(warnings as u64, "warning"));
            Ok(())
        }
    }
}

/// What was not read, a line each.
fn unread(looked: &LookedAt) -> String {
    looked.absent.iter().map(|reference| format!("not read here: {reference}\n")).collect()
}

/// A summary of what the configuration does.
fn summary(origin: &str, config: &Config) -> String {
    let mut text = format!("OK {origin}, configuration {}\n", config.fingerprint);
    let scheme = if config.http.tls.is_some() { "https" } else { "http" };
    for source in &config.sources {
        let path = format!("POST {scheme}://{}/in/{}", config.http.listen, source.name);
        let how = match &source.channel {
            Channel::Webhook => format!("{}, {path}", plural(source.secrets.len() as u64, "secret")),
            Channel::Sqs(queue) => format!("queue {}", queue.queue_url),
            Channel::Sns(sns) => format!("{}, {path}", plural(sns.topics.len() as u64, "SNS topic")),
        };
        let (provider, app) = (&source.definition.provider, &source.app);
        text.push_str(&format!("source {}: {provider}, app {app}, {how}\n", source.name));
    }
    if let Some(shared) = &config.shared_window {
        let server = shared.server.to_string();
        text.push_str(&format!("duplicates shared in {}, keys {}*\n", if_read(&server), shared.prefix));
    }
    if !config.aws_secrets.is_empty() {
        let unread = plural(config.aws_secrets.len() as u64, "secret");
        text.push_str(&format!("not read here: {unread} in AWS; `fanbridge doctor` reads them\n"));
    }
    text.push_str(&format!("select {}\n", selected(&config.selection)));
    for sink in &config.sinks {
        let to = match &sink.output {
            Output::Kafka(kafka) => format!("kafka {}", if_read(&kafka.brokers)),
            Output::Sns(sns) => {
                let region = sns.region.as_deref().expect("it was set from the topics' ARNs");
                format!("sns {region}, up to {} at once", plural(sns.requests_max as u64, "request"))
            }
            Output::File(file) => format!("files in {}", file.dir.display()),
        };
        let topics = plural(config.topics(sink).len() as u64, "topic");
        let selection = selected(&sink.selection);
        let misses = if sink.detaches { ", skips records that a full spool prunes" } else { "" };
        text.push_str(&format!(
            "sink {}: {to}, select {selection}, {topics} `{}`{misses}\n",
            sink.name, sink.topic
        ));
    }
    text
}

/// A setting, unless something stands for it.
fn if_read(setting: &str) -> &str {
    if setting.contains(UNREAD_HOST) { "(not read)" } else { setting }
}

fn selected(selection: &Selection) -> String {
    match selection {
        Selection::All => "all".into(),
        Selection::Only(types) => plural(types.len() as u64, "listed type"),
    }
}
