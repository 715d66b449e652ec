//! The command line: one file per verb, data on stdout, messages on stderr.
//!
//! A verb is `Args` and `run(&Args) -> Result<(), Failure>`. The kind of failure decides the exit
//! code, so that scripts can branch on it. Verbs have no rules of their own: they call the library
//! and print.

pub mod check;
mod client;
pub mod completions;
pub mod config;
pub mod dead;
pub mod demo;
pub mod doctor;
pub mod explain;
pub mod health;
mod help;
pub mod iam_policy;
pub mod import;
pub mod init;
pub mod metrics;
pub mod output;
pub mod pause;
mod recorded;
pub mod reload;
pub mod replay;
pub mod run;
mod running;
pub mod send;
mod signals;
pub mod spool;
pub mod tail;
pub mod test;
pub mod top;
pub mod topics;
pub mod types;
pub mod verify;
mod wrapped;
mod yaml;

use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use self::help::parse;
use self::wrapped::notice;

use crate::config::embedded::{Embedded, EmbeddedError};
use crate::config::{AskError, Config, ConfigurationFile, Environment, LoadError, Loaded, LookedAt, Report};
use crate::config::{did_you_mean, load_to_ask, load_to_look, read_configuration};
use crate::reference::read_file;
use crate::telemetry::Shown;

/// The configuration in the working directory that is used if none is named.
const CONFIG_FILE: &str = "fanbridge.yaml";

/// Takes signed webhooks, keeps them in one durable log, and publishes one topic per event family.
#[derive(Debug, Parser)]
#[command(name = "fanbridge", version, arg_required_else_help = true)]
pub struct Cli {
    /// The verb to run.
    #[command(subcommand)]
    pub verb: Verb,
}

/// The verbs of the command line.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run the bridge; without a configuration it listens on loopback and writes topics as files
    Run(run::Args),
    /// Send every known event type through a bridge of its own, and show the resulting topics
    Demo(demo::Args),
    /// Print a commented configuration to begin with
    Init(init::Args),
    /// Check a configuration without starting anything; shows every problem at once
    #[command(visible_alias = "validate")]
    Check(check::Args),
    /// Look at everything the configuration needs, and say what is wrong and how to mend it
    Doctor(doctor::Args),
    /// Ask the running bridge whether it is ready, live or started: the health check of an image
    Health(health::Args),
    /// Run the tests of a configuration: what becomes of a delivery, and which sinks get it
    Test(test::Args),
    /// Have the running bridge read its configuration again, and say what changes
    Reload(reload::Args),
    /// Show the configuration: what is written, what counts, and where each value comes from
    Config(config::Args),
    /// Sign a sample event as its provider would, and send it to the running bridge
    #[command(visible_alias = "trigger")]
    Send(send::Args),
    /// Say why a recorded delivery is refused: which secret, bytes or form its signature is of
    Verify(verify::Args),
    /// Show what the running bridge takes in, refuses and publishes, as it happens
    #[command(visible_aliases = ["tap", "listen"])]
    Tail(tail::Args),
    /// Show what comes and goes in the running bridge by the second, by source and sink
    Top(top::Args),
    /// Show the topics the configuration can produce, and create the missing ones
    Topics(topics::Args),
    /// Print the least IAM policy with which a bridge of this configuration works
    IamPolicy(iam_policy::Args),
    /// List the metrics, and print alert rules and a dashboard that watch them
    Metrics(metrics::Args),
    /// List event types by provider and family
    Types(types::Args),
    /// Verify the log of a stopped bridge
    Spool(spool::Args),
    /// List, show, export, redrive or drop dead letters: events that could not be delivered
    Dead(dead::Args),
    /// Send delivered events to one sink again: an hour, a type, or single events
    Replay(replay::Args),
    /// Take bodies in that were saved, such as those of an outage, by a source and with a reason
    Import(import::Args),
    /// Let a sink rest: its events wait in the spool until `resume`, also over a restart
    Pause(pause::Args),
    /// Let a paused sink go on
    Resume(pause::ResumeArgs),
    /// Say what became of an event or of an event type, why, and what to do about it
    Explain(explain::Args),
    /// Print a script with which a shell completes verbs and options
    Completions(completions::Args),
    /// Write a man page for each verb
    Man(completions::ManArgs),
}

/// The configuration that a verb uses.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ConfigArgs {
    /// Configuration file; by default `fanbridge.yaml` in the working directory, if it exists
    #[arg(long, short, value_name = "FILE", env = "FANBRIDGE_CONFIG")]
    pub config: Option<PathBuf>,
}

/// The exit codes, with the numbers of `sysexits.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// A check failed.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// Reading, writing or the network failed.
    Io = 74,
    /// Another process has the lock or is not running; a later attempt can succeed.
    Temporary = 75,
    /// The configuration cannot be used.
    Config = 78,
}

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
#[error("{message}{advice}")]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    message: String,
    /// What to do about it, if the message does not say it: empty, or in parentheses behind a space.
    advice: &'static str,
}

impl Failure {
    /// A failure with its message, which is empty if it was printed before.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), advice: "" }
    }

    /// A failed I/O operation; `doing` says what the verb was doing.
    pub fn io(doing: impl std::fmt::Display, error: &dyn std::error::Error) -> Self {
        Self::new(Exit::Io, format!("{doing}: {}", chain(error)))
    }
}

/// An error's message and those of its causes, joined by colons.
fn chain(error: &dyn std::error::Error) -> String {
    causes(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// An error and its causes.
fn causes(error: &dyn std::error::Error) -> impl Iterator<Item = &dyn std::error::Error> {
    std::iter::successors(Some(error), |error| error.source())
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

/// Runs the verb of the command line, and prints its failure.
pub fn run(cli: Cli) -> ExitCode {
    let done = match cli.verb {
        Verb::Run(args) => run::run(&args),
        Verb::Demo(args) => demo::run(&args),
        Verb::Init(args) => init::run(&args),
        Verb::Check(args) => check::run(&args),
        Verb::Doctor(args) => doctor::run(&args),
        Verb::Health(args) => health::run(&args),
        Verb::Test(args) => test::run(&args),
        Verb::Reload(args) => reload::run(&args),
        Verb::Config(args) => config::run(&args),
        Verb::Send(args) => send::run(&args),
        Verb::Verify(args) => verify::run(&args),
        Verb::Tail(args) => tail::run(&args),
        Verb::Top(args) => top::run(&args),
        Verb::Topics(args) => topics::run(&args),
        Verb::IamPolicy(args) => iam_policy::run(&args),
        Verb::Metrics(args) => metrics::run(&args),
        Verb::Types(args) => types::run(&args),
        Verb::Spool(args) => spool::run(&args),
        Verb::Dead(args) => dead::run(&args),
        Verb::Replay(args) => replay::run(&args),
        Verb::Import(args) => import::run(&args),
        Verb::Pause(args) => pause::run(&args),
        Verb::Resume(args) => pause::resume(&args),
        Verb::Explain(args) => explain::run(&args),
        Verb::Completions(args) => completions::run(&args),
        Verb::Man(args) => completions::run_man(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.message.is_empty() {
                notice(format_args!("error: {failure}"));
            }
            ExitCode::from(failure.exit as u8)
        }
    }
}

/// The configuration for a verb: the named file, or `fanbridge.yaml` in the working directory, or the
/// embedded configuration without its secrets. Prints warnings to stderr and writes no file.
///
/// # Errors
/// When the file cannot be read or has errors, which are printed.
pub fn configuration(args: &ConfigArgs) -> Result<Config, Failure> {
    choose_quietly(args, Config::embedded_to_look)
}

/// The configuration for a verb that asks the running bridge, or reads what a stopped one has left. Of all
/// that it refers to only `admin.token` is needed: on many a machine the service alone has the secrets.
///
/// # Errors
/// As for [`configuration`], apart from secrets of sources and sinks.
pub fn configuration_to_ask(args: &ConfigArgs) -> Result<Config, Failure> {
    match find(args) {
        Some(path) => Ok(warned(looked_at_by(&path, load_to_ask)?)),
        None => choose_quietly(args, Config::embedded_to_look),
    }
}

/// The configuration for a verb that asks the running bridge where it can, and whether it can: without
/// `admin.token` it cannot.
///
/// # Errors
/// As for [`configuration_to_look`].
pub fn configuration_perhaps_to_ask(args: &ConfigArgs) -> Result<(Config, bool), Failure> {
    let Some(path) = find(args) else { return Ok((configuration_to_ask(args)?, true)) };
    match look_by(&path, load_to_ask)? {
        Ok(looked) => Ok((warned(looked), true)),
        Err(_) => Ok((warned(looked_at(&path)?), false)),
    }
}

/// The configuration for a verb that shows it, judges by it, or reads what a stopped bridge has left: nothing
/// that it refers to is needed.
///
/// # Errors
/// As for [`configuration_to_ask`].
pub fn configuration_to_look(args: &ConfigArgs) -> Result<Config, Failure> {
    match find(args) {
        Some(path) => Ok(warned(looked_at(&path)?)),
        None => choose_quietly(args, Config::embedded_to_look),
    }
}

/// The configuration for the verb that plays a provider. The embedded one has the secrets that a
/// bridge has made.
///
/// # Errors
/// As for [`configuration`], and when the bridge has made no secrets.
pub fn configuration_to_send(args: &ConfigArgs) -> Result<Config, Failure> {
    choose_quietly(args, Config::embedded_as_left)
}

/// The configuration of a bridge that is to start.
#[derive(Debug)]
struct RunConfig {
    config: Config,
    /// The file that it was read from; `None` of the embedded one.
    file: Option<ConfigurationFile>,
}

/// The configuration for the verb that starts the bridge. If it is the embedded one, prints where its
/// secrets are and what to do next, and has it listen at the address, if one is given.
///
/// # Errors
/// As for [`configuration`], and when a configuration file says where to listen, and the address does, too.
fn configuration_to_run(args: &ConfigArgs, listen: Option<SocketAddr>) -> Result<RunConfig, Failure> {
    let Some(path) = find(args) else {
        let embedded = Config::embedded_default()?;
        let embedded = match listen {
            Some(address) => embedded.listening_at(address),
            None => embedded,
        };
        notice(&embedded.notice);
        return Ok(RunConfig { config: embedded.config, file: None });
    };
    if listen.is_some() {
        let path = path.display();
        let message =
            format!("--listen is for a bridge without a configuration: set `http.listen` in {path}");
        return Err(Failure::new(Exit::Usage, message));
    }
    let file = ConfigurationFile::new(&path);
    Ok(RunConfig { config: usable(read_from(&file)?)?, file: Some(file) })
}

fn choose_quietly(
    args: &ConfigArgs,
    embedded: fn() -> Result<Embedded, EmbeddedError>,
) -> Result<Config, Failure> {
    if let Some(path) = find(args) {
        return usable(read(&path)?);
    }
    let config = embedded()?.config;
    notice(format_args!("there is no {CONFIG_FILE} in this directory: using the embedded configuration"));
    Ok(config)
}

/// The configuration that was read, unless it has errors. Prints what is wrong with it.
fn usable(read: Result<Loaded, Report>) -> Result<Config, Failure> {
    let Loaded { config, warnings } = read.map_err(|report| refused(&report))?;
    warn(&warnings);
    Ok(config)
}

fn warned(looked: LookedAt) -> Config {
    warn(&looked.warnings);
    looked.config
}

fn warn(warnings: &Report) {
    if !warnings.problems().is_empty() {
        eprintln!("{}\n", warnings.render(colour_on(&io::stderr())));
    }
}

/// The configuration file to use, if there is one.
fn find(args: &ConfigArgs) -> Option<PathBuf> {
    args.config.clone().or_else(|| Path::new(CONFIG_FILE).exists().then(|| CONFIG_FILE.into()))
}

/// Reads a file and checks it against the process's environment.
fn read(path: &Path) -> Result<Result<Loaded, Report>, Failure> {
    read_from(&ConfigurationFile::new(path))
}

/// The same, without asking AWS.
fn read_without_aws(path: &Path) -> Result<Result<Loaded, Report>, Failure> {
    read_by(ConfigurationFile::new(path).load_without_aws())
}

/// The same, without the secrets: something stands for each that is not there.
fn read_without_secrets(path: &Path) -> Result<Result<LookedAt, Report>, Failure> {
    look_by(path, load_to_look)
}

fn read_from(file: &ConfigurationFile) -> Result<Result<Loaded, Report>, Failure> {
    read_by(file.load())
}

fn read_by(read: Result<Loaded, LoadError>) -> Result<Result<Loaded, Report>, Failure> {
    match read {
        Ok(loaded) => Ok(Ok(loaded)),
        Err(LoadError::Refused(report)) => Ok(Err(report)),
        Err(error @ LoadError::Unreadable { .. }) => Err(Failure::new(Exit::Io, chain(&error))),
    }
}

/// Reads a file for a verb that only looks at it, and needs no secrets.
fn looked_at(path: &Path) -> Result<LookedAt, Failure> {
    looked_at_by(path, |origin, bytes, outside| Ok(load_to_look(origin, bytes, outside)?))
}

fn looked_at_by(path: &Path, load: Look<AskError>) -> Result<LookedAt, Failure> {
    look_by(path, load)?.map_err(|error| match error {
        AskError::Refused(report) => refused(&report),
        AskError::Token { ref source, .. } if source.passes => {
            Failure::new(Exit::Temporary, error.to_string())
        }
        AskError::Token { .. } => Failure::new(Exit::Config, error.to_string()),
    })
}

/// What loads the text of a configuration of this name.
type Look<E> = fn(&str, &[u8], &Environment<'_>) -> Result<LookedAt, E>;

fn look_by<E>(path: &Path, load: Look<E>) -> Result<Result<LookedAt, E>, Failure> {
    let bytes = read_configuration(path)
        .map_err(|error| Failure::io(format_args!("cannot read {}", path.display()), &error))?;
    let now = std::time::SystemTime::now().into();
    let outside = Environment { env: &|name| std::env::var(name).ok(), read: &read_file, now };
    Ok(load(&path.to_string_lossy(), &bytes, &outside))
}

/// The failure of a verb that was given a source that is not configured.
fn unknown_source<'a>(name: &str, configured: impl Iterator<Item = &'a str>) -> Failure {
    let names: Vec<&str> = configured.collect();
    let meant = did_you_mean(name, names.iter().copied());
    let message = format!("unknown source `{}`{meant} (configured: {})", Shown(name), names.join(", "));
    Failure::new(Exit::Usage, message)
}

/// Prints the problems of a configuration that has errors.
fn refused(report: &Report) -> Failure {
    eprintln!("{}\n", report.render(colour_on(&io::stderr())));
    if report.passes() {
        return Failure::new(
            Exit::Temporary,
            "AWS does not show secrets of the configuration now: try again",
        );
    }
    Failure::new(Exit::Config, "the configuration has errors and cannot be used")
}

/// Whether to print colours to a stream: only on a terminal, and if `NO_COLOR` is not set.
pub fn colour_on(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
