//! What an orchestrator asks: alive, ready, started?
//!
//! Alive looks at the process alone, because restarting it repairs no dependency. Ready means that
//! an event can be stored; a sink or a queue in trouble does not make the bridge unready, since storing
//! is what the spool is there for, and one tenant's queue is nobody else's concern. Only a bridge that
//! never had credentials for a queue since its start is not ready: that is a mistake of its own set-up.
//!
//! Anybody may ask, so those who may not see the rest of this listener are told names and no more.

use std::time::{Duration, Instant};

use axum::Extension;
use axum::extract::State;
use http::StatusCode;

use super::guard::Stranger;
use super::{AdminState, Opened, Problem};
use crate::health::CREDENTIALS;
use crate::telemetry::steers_terminal;

const OK: &str = "ok\n";
const NOT_READY: &str = "not ready";
const OK_WITHOUT_ROOM: &str = "ok, but there is no room to keep cursors: see /api/status\n";

/// Every loop goes round.
pub(super) async fn livez(State(admin): State<AdminState>) -> Result<&'static str, Problem> {
    match admin.health.hung(Instant::now()) {
        None => Ok(OK),
        Some(name) => Err(unavailable(format!("no sign of life from {name}"))),
    }
}

/// A delivery can be stored. Want of room for the cursors, and sources and sinks in trouble, leave the
/// bridge ready, and are told.
pub(super) async fn readyz(
    State(admin): State<AdminState>,
    stranger: Option<Extension<Stranger>>,
) -> Result<String, Problem> {
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
    Ok(text)
}

/// Recovery is over.
pub(super) async fn startupz(State(admin): State<AdminState>) -> Result<&'static str, Problem> {
    if admin.health.is_started() { Ok(OK) } else { Err(unavailable("the spool is being recovered".into())) }
}

/// Why no delivery can be stored now.
pub(super) fn unready(admin: &AdminState) -> Option<String> {
    match admin.opened.get() {
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

/// How long log or state have waited for the disk, if they do.
pub(super) fn outstanding(opened: &Opened) -> Option<Duration> {
    opened.spool.outstanding().max(opened.state.outstanding())
}

/// That the disk does not answer. What it last answered says nothing about that.
pub(super) fn hangs(opened: &Opened) -> Option<String> {
    let out = outstanding(opened).filter(|out| *out > opened.spool.answer_within())?;
    Some(format!("the disk under the spool has not answered for {} s", out.as_secs()))
}

/// Which source never had credentials since the start, and what to do.
fn unreached(admin: &AdminState) -> Option<String> {
    admin.health.sources().iter().filter(|source| !source.was_reached()).find_map(|source| {
        let trouble = source.trouble().filter(|trouble| trouble.reason == CREDENTIALS)?;
        Some(format!("source {} cannot receive: {}", source.name(), trouble.advice))
    })
}

/// What is in trouble, and how.
fn troubles(admin: &AdminState) -> Vec<(String, String)> {
    let sources = admin.health.sources().into_iter();
    let sources =
        sources.filter_map(|source| Some((format!("source {}", source.name()), source.trouble()?.advice)));
    let sinks = admin.health.sinks().into_iter();
    let sinks = sinks.filter_map(|sink| Some((format!("sink {}", sink.name()), sink.trouble()?)));
    sources.chain(sinks).collect()
}

fn unavailable(detail: String) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
}
