//! What an orchestrator asks: alive, ready, started?
//!
//! Alive looks at the process alone, because restarting it repairs no dependency. Ready means that
//! an event can be stored; a sink in trouble does not make the bridge unready, since storing for it
//! is what the spool is there for. A queue that could never be read since the start does, because
//! that is a mistake of the set-up and not an outage.

use std::time::Instant;

use axum::extract::State;
use http::StatusCode;

use super::{AdminState, Problem};

const OK: &str = "ok\n";
const OK_WITHOUT_ROOM: &str = "ok, but there is no room to keep cursors: see /api/status\n";

/// Every loop goes round.
pub(super) async fn livez(State(admin): State<AdminState>) -> Result<&'static str, Problem> {
    match admin.health.hung(Instant::now()) {
        None => Ok(OK),
        Some(name) => Err(unavailable(format!("no sign of life from {name}"))),
    }
}

/// A delivery can be stored. Want of room for the cursors, and sinks in trouble, leave the bridge
/// ready, and are told.
pub(super) async fn readyz(State(admin): State<AdminState>) -> Result<String, Problem> {
    if let Some(reason) = unready(&admin) {
        return Err(unavailable(reason));
    }
    let short = admin.opened.get().is_some_and(|opened| opened.state.shortage().is_some());
    let first = if short { OK_WITHOUT_ROOM } else { OK };
    let sinks = admin.health.sinks();
    let degraded = sinks.iter().filter_map(|sink| Some((sink.name(), sink.trouble()?)));
    let degraded = degraded.map(|(name, trouble)| format!("sink {name} is degraded: {trouble}\n"));
    Ok(degraded.fold(first.to_owned(), |text, line| text + &line))
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
            full.map(|reason| format!("the spool cannot store: {reason}")).or_else(|| unreached(admin))
        }
        _ => Some("the spool is being recovered".into()),
    }
}

/// Which source could not get any delivery since the start, and why.
fn unreached(admin: &AdminState) -> Option<String> {
    let sources = admin.health.sources();
    let mut unreached = sources.iter().filter_map(|source| Some((source.name(), source.never_reached()?)));
    unreached.next().map(|(name, trouble)| format!("source {name} cannot receive: {trouble}"))
}

fn unavailable(detail: String) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
}
