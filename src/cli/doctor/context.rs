//! What the checks look at: the configuration, and whether its bridge runs here.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::Finding;
use super::finding::{counted, shown_path};
use super::provider_key::ProviderKey;
use super::running::RunningBridge;
use crate::cli::{ConfigArgs, Failure, colour_on, find, read};
use crate::config::embedded::{Embedded, EmbeddedError};
use crate::config::{Config, Loaded, Report};

/// What all checks share.
#[derive(Clone)]
pub(super) struct Context {
    pub config: Arc<Config>,
    /// Whether the configuration has its real secrets: the embedded one has none before its first start.
    pub has_secrets: bool,
    /// The bridge at the admin listener's address.
    pub running: Arc<RunningBridge>,
    /// The API keys of providers, whose settings are looked at.
    pub provider_keys: Vec<ProviderKey>,
    /// The address of the provider's API.
    pub provider_url: String,
    /// The option that names the configuration, for commands; empty or with a space in front.
    pub named: String,
}

impl Context {
    /// Reads the configuration and checks it, and asks whether its bridge runs, unless that is known. There
    /// is no context if the configuration cannot be used.
    pub(super) fn read(
        args: &ConfigArgs,
        running: Option<RunningBridge>,
    ) -> Result<(Finding, Option<Self>), Failure> {
        let named =
            args.config.as_ref().map_or_else(String::new, |path| format!(" --config {}", shown_path(path)));
        let (finding, config, has_secrets) = match find(args) {
            Some(path) => match read(&path)? {
                Ok(Loaded { config, warnings }) => (warned(&path, &warnings), Some(config), true),
                Err(report) => (refused(&path, &report), None, true),
            },
            None => {
                let (config, has_secrets) = embedded()?;
                let found = "there is no fanbridge.yaml here: the embedded configuration is used";
                (Finding::ok(CHECK, "", found), Some(config), has_secrets)
            }
        };
        let context = config.map(|config| Self {
            running: Arc::new(running.unwrap_or_else(|| RunningBridge::ask(&config))),
            config: Arc::new(config),
            has_secrets,
            provider_keys: Vec::new(),
            provider_url: String::new(),
            named,
        });
        Ok((finding, context))
    }
}

const CHECK: &str = "config.check";

/// The embedded configuration, with the secrets that a bridge has made here if there are some.
fn embedded() -> Result<(Config, bool), Failure> {
    match Config::embedded_as_left() {
        Ok(Embedded { config, .. }) => Ok((config, true)),
        Err(EmbeddedError::Missing { .. }) => Ok((Config::embedded_to_look()?.config, false)),
        Err(error) => Err(error.into()),
    }
}

fn warned(path: &Path, warnings: &Report) -> Finding {
    let problems = warnings.problems();
    let Some(first) = problems.first() else {
        return Finding::ok(CHECK, path.display().to_string(), "it can be used");
    };
    let (line, _) = warnings.position(first);
    let count = counted(problems.len(), "warning");
    let found = format!("{count}: {}: {} (line {line})", first.title, first.label);
    Finding::warning(CHECK, path.display().to_string(), found)
        .fix("`fanbridge check` shows each with its line and what was probably meant")
        .command(format!("fanbridge check {}", shown_path(path)))
}

/// The finding of a configuration that cannot be used, whose problems are printed on stderr.
fn refused(path: &Path, report: &Report) -> Finding {
    eprintln!("{}\n", report.render(colour_on(&io::stderr())));
    let errors = report.problems().iter().filter(|problem| problem.is_error()).count();
    let found = format!("{}, so nothing else can be looked at", counted(errors, "error"));
    Finding::failure(CHECK, path.display().to_string(), found)
        .fix("correct the lines that are shown")
        .command(format!("fanbridge check {}", shown_path(path)))
}
