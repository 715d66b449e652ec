//! `fanbridge reload`: has the running bridge read its configuration again.

use http::StatusCode;
use serde_json::Value as Json;

use super::client::{Client, ClientAnswer, block_on, granted, read};
use super::output::{print, terminal_json};
use super::running::running;
use super::{ConfigArgs, Exit, Failure, configuration_to_ask, notice};
use crate::admin::ReloadRequest;
use crate::admin::reload::{ReloadAnswer, ReloadResult, RestartValue, problem_line};
use crate::problem::ProblemCode;
use crate::telemetry::Shown;

/// What only a running bridge can change.
const WHAT: &str = "configuration";

/// Arguments of `reload`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only say what would change, and whether it needs a restart
    #[arg(long)]
    dry_run: bool,
    /// How to print what changes
    #[arg(long, value_enum, default_value_t)]
    format: ReloadFormat,
    #[command(flatten)]
    config: ConfigArgs,
}

/// The form of what changes on stdout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum ReloadFormat {
    /// A line for each value, for people
    #[default]
    Table,
    /// One JSON document: what the bridge answers, also if it refuses
    Json,
}

/// Has the configuration read again.
///
/// # Errors
/// Exit code 1 if it is not taken over, such as for a change that needs a restart; 78 if it has errors; 74 or
/// 75 if no bridge answers.
pub fn run(args: &Args) -> Result<(), Failure> {
    let config = configuration_to_ask(&args.config)?;
    let answer = block_on(async {
        let bridge: Client = running(&config, WHAT).await?;
        bridge.ask_for("/api/v1/reload", &ReloadRequest { dry_run: args.dry_run }).await
    })?;
    if args.format == ReloadFormat::Json {
        print(&terminal_json(format!("{:#}\n", read::<Json>(&answer.body)?)))?;
        return if answer.status.is_success() { Ok(()) } else { Err(refusal(&answer)) };
    }
    if !answer.status.is_success() {
        listed(&answer)?;
        return Err(refusal(&answer));
    }
    let answer: ReloadAnswer = read(&granted(answer)?)?;
    let lines: String =
        answer.changes.iter().map(|value| line(&value.change, &value.path, &value.line)).collect();
    print(&lines)?;
    notice(said(&answer));
    Ok(())
}

/// What became of it.
fn said(answer: &ReloadAnswer) -> String {
    let ReloadAnswer { fingerprint, before, changes, warnings, .. } = answer;
    let warned = match warnings.len() {
        0 => "",
        _ => "; `fanbridge check` shows its warnings",
    };
    match answer.result {
        ReloadResult::Unchanged => format!("the file is configuration {fingerprint}, which counts already"),
        ReloadResult::Applied if changes.is_empty() => {
            format!("configuration {fingerprint} counts from now on; no value differs from {before}{warned}")
        }
        ReloadResult::Applied => {
            format!("configuration {fingerprint} counts from now on, instead of {before}{warned}")
        }
        ReloadResult::WouldApply => {
            format!("configuration {fingerprint} can be taken over, instead of {before}{warned}")
        }
    }
}

fn line(change: &str, path: &str, place: &Option<String>) -> String {
    let place = place.as_ref().map(|place| format!("  {}", Shown(place))).unwrap_or_default();
    format!("{:<8} {}{place}\n", Shown(change).to_string(), Shown(path))
}

/// Prints the problems, or what needs a restart, one on each line.
fn listed(answer: &ClientAnswer) -> Result<(), Failure> {
    let document: Json = serde_json::from_slice(&answer.body).unwrap_or_default();
    let problems = document["problems"].as_array().into_iter().flatten();
    let problems: String = problems.map(|problem| format!("{}\n", Shown(&problem_line(problem)))).collect();
    let values: Vec<RestartValue> =
        serde_json::from_value(document["needs_restart"].clone()).unwrap_or_default();
    let values: String = values.iter().map(|value| line("restart", &value.path, &value.line)).collect();
    print(&format!("{problems}{values}"))
}

fn refusal(answer: &ClientAnswer) -> Failure {
    let document: Json = serde_json::from_slice(&answer.body).unwrap_or_default();
    let detail = document["detail"].as_str().unwrap_or("without a reason");
    let exit = match answer.status {
        StatusCode::UNPROCESSABLE_ENTITY | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Exit::Config,
        StatusCode::SERVICE_UNAVAILABLE => Exit::Temporary,
        _ if document["code"] == ProblemCode::ReloadUnderWay.as_str() => Exit::Temporary,
        _ => Exit::Failed,
    };
    Failure::new(exit, format!("nothing was changed: {}", Shown(detail)))
}
