//! The probes for an orchestrator: alive, ready and started.
//!
//! Alive is about the process alone, because a restart repairs nothing outside it. Ready means that
//! an event can be stored. A degraded sink or queue leaves the bridge ready, because the spool is
//! there to store events meanwhile, and one team's queue must not affect the others. Only a bridge
//! that has had no credentials for a queue since its start is not ready, because that is a mistake in
//! its own set-up.
//!
//! Anybody is allowed to ask. A caller without access to the rest of this listener gets names only.

use std::time::{Duration, Instant};

use axum::Extension;
use axum::extract::State;

use super::guard::Stranger;
use super::{AdminState, Opened, ProblemAnswer};
use crate::problem::ProblemCode;
use crate::telemetry::steers_terminal;

const OK: &str = "ok\n";
const NOT_READY: &str = "not ready";
const OK_WITHOUT_ROOM: &str =
    "ok, but there is no space on the disk to store cursors: see no_room in /api/v1/status\n";

/// Answers 200 if every watched loop is alive.
pub(super) async fn livez(State(admin): State<AdminState>) -> Result<&'static str, ProblemAnswer> {
    match admin.health.hung(Instant::now()) {
        None => Ok(OK),
        Some(name) => Err(unavailable(format!("{name} has given no sign of life: restart the bridge"))),
    }
}

/// Answers 200 if a delivery can be stored. A lack of space for cursors, degraded sources and sinks, and
/// paused sinks leave the bridge ready, and are listed in the answer.
pub(super) async fn readyz(
    State(admin): State<AdminState>,
    stranger: Option<Extension<Stranger>>,
) -> Result<String, ProblemAnswer> {
    if let Some(reason) = unready(&admin) {
        return Err(unavailable(if stranger.is_some() { NOT_READY.into() } else { reason }));
    }
    let short = admin.opened.get().is_some_and(|opened| opened.state.shortage().is_some());
    let mut text = if short { OK_WITHOUT_ROOM } else { OK }.to_owned();
    for (name, trouble) in troubles(&admin) {
        text += &match stranger {
            Some(_) => format!("{name} is degraded\n"),
            None => format!("{name} is degraded: {}\n", trouble.replace(steers_terminal, "?")),
        };
    }
    for sink in admin.health.sinks() {
        let Some(paused) = sink.paused() else { continue };
        let (name, since) = (sink.name(), paused.since.to_rfc3339());
        text += &match stranger {
            Some(_) => format!("sink {name} is paused\n"),
            None => {
                format!(
                    "sink {name} is paused since {since}: {}\n",
                    paused.reason.replace(steers_terminal, "?")
                )
            }
        };
    }
    Ok(text)
}

/// Answers 200 when the spool has been recovered.
pub(super) async fn startupz(State(admin): State<AdminState>) -> Result<&'static str, ProblemAnswer> {
    if admin.health.is_started() { Ok(OK) } else { Err(unavailable("the spool is being recovered".into())) }
}

/// Why no delivery can be stored now, `None` if one can.
pub(super) fn unready(admin: &AdminState) -> Option<String> {
    match admin.opened.get() {
        _ if admin.health.is_handing_over() => {
            Some("the bridge hands over to a new process: it takes no more deliveries".into())
        }
        _ if admin.health.is_stopping() => Some("the bridge is shutting down".into()),
        Some(opened) if admin.health.is_started() => {
            let full = opened.spool.accepting().err();
            hangs(opened)
                .or_else(|| full.map(|reason| format!("the spool cannot store: {reason}")))
                .or_else(|| unreached(admin))
        }
        _ => Some("the spool is being recovered".into()),
    }
}

/// How long the log or the state file has waited for the disk, if it does.
pub(super) fn outstanding(opened: &Opened) -> Option<Duration> {
    opened.spool.outstanding().max(opened.state.outstanding())
}

/// The reason if the disk does not answer. Its last answer says nothing about that.
pub(super) fn hangs(opened: &Opened) -> Option<String> {
    let out = outstanding(opened).filter(|out| *out > opened.spool.answer_within())?;
    Some(format!("the disk under the spool has not answered for {} s", out.as_secs()))
}

/// The source that has had no credentials since the start, and what to do.
fn unreached(admin: &AdminState) -> Option<String> {
    admin.health.sources().iter().filter(|source| !source.was_reached()).find_map(|source| {
        let trouble = source.trouble().filter(|trouble| trouble.lacks_credentials)?;
        Some(format!("source {} cannot receive: {}", source.name(), trouble.advice))
    })
}

/// The degraded sources and sinks, each with its reason.
fn troubles(admin: &AdminState) -> Vec<(String, String)> {
    let sources = admin.health.sources().into_iter();
    let sources =
        sources.filter_map(|source| Some((format!("source {}", source.name()), source.trouble()?.advice)));
    let sinks = admin.health.sinks().into_iter();
    let sinks = sinks.filter_map(|sink| Some((format!("sink {}", sink.name()), sink.trouble()?)));
    sources.chain(sinks).collect()
}

fn unavailable(detail: String) -> ProblemAnswer {
    ProblemAnswer::of(ProblemCode::NotReady, detail)
}
