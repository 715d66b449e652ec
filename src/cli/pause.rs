//! `fanbridge pause` and `fanbridge resume`: let a sink of the running bridge rest, and go on.

use super::client::{block_on, encoded};
use super::running::running;
use super::{ConfigArgs, Failure, configuration_to_ask, notice};
use crate::admin::{PauseRequest, PausedAnswer, ResumeRequest};
use crate::explain::cause::moment;
use crate::telemetry::Shown;

/// What only a running bridge can change.
const WHAT: &str = "sinks";

/// Arguments of `pause`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name of the sink
    #[arg(value_name = "SINK")]
    sink: String,
    /// Why, for whoever finds the sink paused
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Pause it also if `ack.after` names it: its deliveries are then answered 503
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Arguments of `resume`.
#[derive(Debug, clap::Args)]
pub struct ResumeArgs {
    /// Name of the sink
    #[arg(value_name = "SINK")]
    sink: String,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Pauses a sink.
///
/// # Errors
/// Exit code 1 if there is no such sink or it must not be paused, 74 or 75 if no bridge answers.
pub fn run(args: &Args) -> Result<(), Failure> {
    let config = configuration_to_ask(&args.config)?;
    let path = format!("/api/v1/sinks/{}/pause", encoded(&args.sink));
    let request = PauseRequest { reason: args.reason.clone(), force: args.force };
    let paused: PausedAnswer =
        block_on(async { running(&config, WHAT).await?.change(&path, &request).await })?;
    let sink = Shown(&args.sink);
    notice(format_args!(
        "{sink} is paused since {}: its events wait in the spool; `fanbridge resume {sink}` lets it go on",
        moment(&paused.since)
    ));
    Ok(())
}

/// Resumes a sink.
///
/// # Errors
/// Exit code 1 if there is no such sink, 74 or 75 if no bridge answers.
pub fn resume(args: &ResumeArgs) -> Result<(), Failure> {
    let config = configuration_to_ask(&args.config)?;
    let path = format!("/api/v1/sinks/{}/resume", encoded(&args.sink));
    let was: Option<PausedAnswer> =
        block_on(async { running(&config, WHAT).await?.change(&path, &ResumeRequest {}).await })?;
    let sink = Shown(&args.sink);
    match was {
        Some(paused) => notice(format_args!("{sink} goes on; it was paused since {}", moment(&paused.since))),
        None => notice(format_args!("{sink} was not paused")),
    }
    Ok(())
}
