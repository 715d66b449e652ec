//! Pausing a sink: its dispatcher reads and publishes nothing until the sink is resumed.
//!
//! What is on its way is settled and committed meanwhile, and all else waits in the spool. The state keeps
//! which sinks are paused, so a restart changes nothing about it: a pause is first durable, and then takes
//! effect.

use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::{Mutex, RwLock};
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::watch;

use crate::health::{Health, PausedStatus, SinkStatus};
use crate::state::{PausedSince, State, StateError};
use crate::telemetry::{Metrics, Shown, Sink};

/// Longest reason of a pause, in characters.
pub const REASON_CHARS_MAX: usize = 300;

/// Pauses and resumes the sinks of a bridge. Changes block on the disk.
pub struct Pausing {
    state: State,
    sinks: RwLock<Vec<Arc<PausableSink>>>,
    /// Held during a change, so that the state and the switch say the same.
    turn: Mutex<()>,
}

struct PausableSink {
    name: String,
    /// Whether answers wait for it.
    awaited: bool,
    status: Arc<SinkStatus>,
    gauge: Gauge,
    switch: watch::Sender<bool>,
}

/// What a dispatcher looks at.
#[derive(Debug)]
pub struct PauseSwitch(watch::Receiver<bool>);

/// Why a sink is not paused or resumed.
#[derive(Debug, thiserror::Error)]
pub enum PauseError {
    /// No sink has the name.
    #[error("no sink is named `{0}` (configured: {1})")]
    UnknownSink(String, String),
    /// Answers wait for the sink.
    #[error(
        "`ack.after` names `{0}`: while it is paused, each delivery for it is answered 503 after \
         `ack.within`; force it if that is meant"
    )]
    Awaited(String),
    /// There is no reason, or it is too long.
    #[error(
        "expected a reason of 1 to {REASON_CHARS_MAX} characters: whoever finds the sink paused reads it"
    )]
    Reason,
    /// The state cannot be read or written.
    #[error(transparent)]
    State(#[from] StateError),
}

impl Pausing {
    /// Pauses no sink of its own accord.
    pub fn new(state: State) -> Self {
        Self { state, sinks: RwLock::default(), turn: Mutex::default() }
    }

    /// Adds a sink, which is paused if it was when it was configured last: `paused` are those that were.
    /// Returns what its dispatcher is to look at.
    pub fn add(
        &self,
        (name, awaited): (&str, bool),
        paused: &[(String, PausedSince)],
        health: &Health,
        metrics: &Metrics,
    ) -> PauseSwitch {
        let status = health.add_sink(name);
        let gauge = metrics.sink_paused.get_or_create(&Sink { sink: name.to_owned() }).clone();
        let (switch, seen) = watch::channel(false);
        let sink = PausableSink { name: name.to_owned(), awaited, status, gauge, switch };
        sink.set(None);
        if let Some((_, paused)) = paused.iter().find(|(paused, _)| paused == name) {
            tracing::warn!(
                sink = name,
                since = %paused.since.to_rfc3339(),
                reason = %Shown(&paused.reason),
                "the sink is paused, as it was before: `fanbridge resume` lets it go on"
            );
            sink.set(Some(paused));
        }
        let mut sinks = self.sinks.write();
        sinks.retain(|other| other.name != name);
        sinks.push(Arc::new(sink));
        PauseSwitch(seen)
    }

    /// What the next dispatcher of a sink that is known is to look at.
    pub fn switch(&self, name: &str) -> PauseSwitch {
        self.sink(name).map(|sink| PauseSwitch(sink.switch.subscribe())).unwrap_or_default()
    }

    /// Forgets a sink that was removed. If it is paused, it is when it comes back.
    pub fn remove(&self, name: &str) {
        self.sinks.write().retain(|sink| sink.name != name);
    }

    /// Pauses a sink. One that is paused already stays so since when it was, for the new reason. A sink that
    /// answers wait for has to be paused by force.
    ///
    /// # Errors
    /// See [`PauseError`]; then the sink goes on. After an error of the state it can be paused by the next
    /// start, unless it is resumed.
    pub fn pause(&self, name: &str, reason: &str, force: bool) -> Result<PausedSince, PauseError> {
        let sink = self.sink(name)?;
        let reason = reason.trim();
        if reason.is_empty() || reason.chars().count() > REASON_CHARS_MAX {
            return Err(PauseError::Reason);
        }
        if sink.awaited && !force {
            return Err(PauseError::Awaited(name.to_owned()));
        }
        let _turn = self.turn.lock();
        let now = SystemTime::now().into();
        let since = sink.status.paused().map_or(now, |paused| paused.since);
        let paused = PausedSince { since, reason: reason.to_owned() };
        self.state.pause(name, &paused)?;
        sink.set(Some(&paused));
        tracing::warn!(
            sink = name,
            reason = %Shown(reason),
            "the sink is paused: its events wait in the spool until `fanbridge resume`"
        );
        Ok(paused)
    }

    /// Resumes a sink. Returns since when it was paused, if it was. A pause that is in the state alone,
    /// because writing it ended in an error, is taken out there, too.
    ///
    /// # Errors
    /// See [`PauseError`]; then the sink stays as it was. After an error of the state the next start can have
    /// it resumed.
    pub fn resume(&self, name: &str) -> Result<Option<PausedStatus>, PauseError> {
        let sink = self.sink(name)?;
        let _turn = self.turn.lock();
        let paused = sink.status.paused();
        if paused.is_some() || self.state.paused()?.iter().any(|(paused, _)| paused == name) {
            self.state.resume(name)?;
        }
        let Some(paused) = paused else { return Ok(None) };
        sink.set(None);
        tracing::info!(sink = name, "the sink is resumed");
        Ok(Some(paused))
    }

    fn sink(&self, name: &str) -> Result<Arc<PausableSink>, PauseError> {
        let sinks = self.sinks.read();
        let found = sinks.iter().find(|sink| sink.name == name);
        found.cloned().ok_or_else(|| {
            let names: Vec<&str> = sinks.iter().map(|sink| sink.name.as_str()).collect();
            PauseError::UnknownSink(Shown(name).to_string(), names.join(", "))
        })
    }
}

impl PausableSink {
    fn set(&self, paused: Option<&PausedSince>) {
        self.gauge.set(i64::from(paused.is_some()));
        let status =
            |paused: &PausedSince| PausedStatus { since: paused.since, reason: paused.reason.clone() };
        self.status.pause(paused.map(status));
        self.switch.send_replace(paused.is_some());
    }
}

impl Default for PauseSwitch {
    /// Of a sink that nobody can pause.
    fn default() -> Self {
        Self(watch::channel(false).1)
    }
}

impl PauseSwitch {
    /// Whether the sink is paused.
    pub fn is_paused(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until the sink is paused or resumed; `None` if nobody can do that.
    pub(super) async fn changed(&mut self) -> Option<()> {
        self.0.changed().await.ok()
    }
}
