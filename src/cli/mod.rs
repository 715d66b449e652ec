//! The command line: one file per verb, data on stdout, talk on stderr.
//!
//! A verb is `Args` and `run(&Args) -> Result<(), Failure>`; what failed decides the exit code, so
//! scripts can branch on it. Verbs hold no rules of their own: they call the library and print.

pub mod admin_client;
pub mod check;
mod client;
pub mod dead;
pub mod demo;
pub mod init;
pub mod output;
pub mod run;
pub mod send;
pub mod spool;
pub mod topics;
pub mod types;

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use clap::{Parser, Subcommand};

use crate::config::embedded::{Embedded, EmbeddedError};
use crate::config::{Config, Loaded, Outside, Report, load_bytes, read_configuration, read_file};

/// The configuration that is found by itself.
const CONFIG_FILE: &str = "fanbridge.yaml";

/// Signed webhooks in, one durable log, one topic per event family out.
#[derive(Debug, Parser)]
#[command(name = "fanbridge", version, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run the bridge; without a configuration, on loopback with topics as files
    Run(run::Args),
    /// Send every known event type through a bridge of its own, and show where each went
    Demo(demo::Args),
    /// Print a commented configuration to begin with
    Init(init::Args),
    /// Check a configuration without starting anything; shows every problem at once
    Check(check::Args),
    /// Sign a sample event as its provider would, and send it to the running bridge
    Send(send::Args),
    /// Show the topics the configuration can produce, and create the missing ones
    Topics(topics::Args),
    /// List event types by provider and family
    Types(types::Args),
    /// Look after the log of a stopped bridge
    Spool(spool::Args),
    /// Look after what could not be delivered: list, show, redrive, export, drop
    Dead(dead::Args),
}

/// Which configuration a verb works with.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ConfigArgs {
    /// The configuration; `fanbridge.yaml` in the working directory is found by itself
    #[arg(long, short, value_name = "FILE", env = "FANBRIDGE_CONFIG")]
    pub config: Option<PathBuf>,
}

/// What the exit code tells; the numbers are those of `sysexits.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Something was checked and does not hold.
    Failed = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// Reading, writing or the network failed.
    Io = 74,
    /// Somebody else holds what is needed, or it may work later.
    Temporary = 75,
    /// The configuration cannot be used.
    Config = 78,
}

/// Why a verb did not do what it should.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    message: String,
}

impl Failure {
    /// A failure and what to tell about it; nothing, if it has been told already.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    /// A failure of I/O, with what was being done.
    pub fn io(doing: impl std::fmt::Display, error: &dyn std::error::Error) -> Self {
        Self::new(Exit::Io, format!("{doing}: {}", chain(error)))
    }
}

/// An error and everything that led to it.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

impl From<EmbeddedError> for Failure {
    fn from(error: EmbeddedError) -> Self {
        match &error {
            EmbeddedError::Secrets { .. } => Self::new(Exit::Io, error.to_string()),
            EmbeddedError::Missing { .. } => Self::new(Exit::Config, error.to_string()),
            EmbeddedError::Config(report) => refused(report),
        }
    }
}

/// Does what the command line says; prints what went wrong.
pub fn run(cli: Cli) -> ExitCode {
    let done = match cli.verb {
        Verb::Run(args) => run::run(&args),
        Verb::Demo(args) => demo::run(&args),
        Verb::Init(args) => init::run(&args),
        Verb::Check(args) => check::run(&args),
        Verb::Send(args) => send::run(&args),
        Verb::Topics(args) => topics::run(&args),
        Verb::Types(args) => types::run(&args),
        Verb::Spool(args) => spool::run(&args),
        Verb::Dead(args) => dead::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.message.is_empty() {
                eprintln!("error: {failure}");
            }
            ExitCode::from(failure.exit as u8)
        }
    }
}

/// The configuration a verb works with: the file named, else `fanbridge.yaml` here, else the
/// embedded one, without its secrets. Warnings go to stderr; nothing is written.
///
/// # Errors
/// When the file cannot be read, or the configuration not be used; what is wrong has been printed.
pub fn configuration(args: &ConfigArgs) -> Result<Config, Failure> {
    choose_quietly(args, Config::embedded_to_look)
}

/// The same for the verb that plays a provider, with the secrets that a bridge has made.
///
/// # Errors
/// Those of [`configuration`]; also when there are no such secrets.
pub fn configuration_to_send(args: &ConfigArgs) -> Result<Config, Failure> {
    choose_quietly(args, Config::embedded_as_left)
}

/// The same for the verb that starts the bridge, which also says where the embedded
/// configuration keeps its secrets and what to do next.
///
/// # Errors
/// Those of [`configuration`].
pub fn configuration_to_run(args: &ConfigArgs) -> Result<Config, Failure> {
    let (config, notice) = choose(args, Config::embedded_default)?;
    notice.iter().for_each(|notice| eprintln!("{notice}"));
    Ok(config)
}

fn choose_quietly(args: &ConfigArgs, embedded: MakeEmbedded) -> Result<Config, Failure> {
    let (config, notice) = choose(args, embedded)?;
    if notice.is_some() {
        eprintln!("no {CONFIG_FILE} here: using the embedded configuration");
    }
    Ok(config)
}

type MakeEmbedded = fn() -> Result<Embedded, EmbeddedError>;

/// The configuration; with a notice, if it is the embedded one.
fn choose(args: &ConfigArgs, embedded: MakeEmbedded) -> Result<(Config, Option<String>), Failure> {
    let Some(path) = find(args) else {
        let embedded = embedded()?;
        return Ok((embedded.config, Some(embedded.notice)));
    };
    let Loaded { config, warnings } = read(&path)?.map_err(|report| refused(&report))?;
    if !warnings.problems().is_empty() {
        eprintln!("{}\n", warnings.render(colour_on(&io::stderr())));
    }
    Ok((config, None))
}

/// The configuration file to use, if there is one.
fn find(args: &ConfigArgs) -> Option<PathBuf> {
    args.config.clone().or_else(|| Path::new(CONFIG_FILE).exists().then(|| CONFIG_FILE.into()))
}

/// Reads a file and checks it against the process's environment.
fn read(path: &Path) -> Result<Result<Loaded, Report>, Failure> {
    let bytes = read_configuration(path)
        .map_err(|error| Failure::io(format_args!("cannot read {}", path.display()), &error))?;
    let now = SystemTime::now().into();
    let outside = Outside { env: &|name| std::env::var(name).ok(), read: &read_file, now };
    Ok(load_bytes(&path.to_string_lossy(), &bytes, &outside))
}

/// Prints why a configuration is refused.
fn refused(report: &Report) -> Failure {
    eprintln!("{}\n", report.render(colour_on(&io::stderr())));
    Failure::new(Exit::Config, "the configuration cannot be used")
}

/// Whether to colour what is written there: only on a terminal, and unless `NO_COLOR` is set.
pub fn colour_on(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
