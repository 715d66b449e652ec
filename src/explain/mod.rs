//! What is known of an event or of an event type, with the cause and the fix.
//!
//! ```text
//! log (by duplicate key, by the beginning of an id) ─┐
//! state (cursors, dead letters, types, replays) ──────┼─▶ facts ─▶ a standing for each sink ─▶ cause and fix
//! health (what keeps a sink from publishing) ────────┤
//! timeline (what was filtered, and where it was put) ┤
//! configuration (rules, and where they are written,
//!   and those under which events were admitted) ──────┘
//! ```
//!
//! [`Explainer`] gathers the facts and blocks on the disk while it does; `sinks.rs`, [`event_type`] and
//! [`cause`] judge them and are pure. The words of causes and fixes are in `cause.rs` alone, so that the
//! command line, the API and the page say the same. An explanation has no secret, and a body only for
//! whoever adds it. What cannot be told is `unknown`, and never said to be good.

mod admitted;
mod asked;
pub mod cause;
mod configuration;
mod document;
mod event;
mod event_type;
mod facts;
mod gather;
mod payload;
mod preview;
mod refused;
mod remembered;
mod replays;
mod sinks;
mod taken;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;

use crate::event::Timestamp;
use crate::health::{Health, PausedStatus};
use crate::spool::{LogSearch, ReadError};
use crate::state::{PausedSince, State, StateError};
use crate::timeline::Timeline;

pub use asked::{AskedEvent, AskedEventError};
pub use cause::{CauseAndFix, Situation};
pub use configuration::{
    ConfiguredSelection, ConfiguredSink, ConfiguredSource, ExplainedConfiguration, SelectionRule, SinkPlace,
};
pub use document::{
    EventCandidate, ExplainedEvent, ExplainedReplay, ExplainedSink, ExplainedVerdict, Explanation, HowMany,
    KnownFrom, LookedThrough, SinkStanding,
};
pub use event_type::{KnownType, SeenVerdict, TypeAtSink, TypeAtSource, TypeExplanation, explain_type};
pub use preview::{Preview, preview, verdict_on};

impl Explanation {
    /// The same for whoever has the body that would be the event, of this source.
    #[must_use]
    pub fn of_body(mut self, source: &str) -> Self {
        if self.found == HowMany::None {
            cause::of_unseen_body(&mut self, source);
        }
        self
    }
}

/// Explains events of a bridge.
pub struct Explainer {
    search: LogSearch,
    state: State,
    health: Arc<Health>,
    configuration: Arc<ExplainedConfiguration>,
    timeline: Timeline,
    /// Since when the configuration counts: events from before can have been selected by another one.
    started: Timestamp,
    /// Whether the bridge is stopped, so that log and state are all there is.
    is_stopped: bool,
}

/// Which events an explanation is about, and how long it can take.
#[derive(Clone, Debug, Default)]
pub struct ExplainScope {
    /// Only events of this source.
    pub source: Option<String>,
    /// Only what arrived at this moment or later.
    pub since: Option<Timestamp>,
    /// Ends the search early once it is set.
    pub stop: Arc<AtomicBool>,
}

/// Why there is no explanation.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// The state cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// No source has the name.
    #[error("no source is named `{0}`")]
    UnknownSource(String),
}

impl Explainer {
    /// Explains from this log and this state, from now on.
    pub fn new(
        search: LogSearch,
        state: State,
        health: Arc<Health>,
        configuration: Arc<ExplainedConfiguration>,
        started: Timestamp,
    ) -> Self {
        let timeline = Timeline::default();
        Self { search, state, health, configuration, timeline, started, is_stopped: false }
    }

    /// Explains from the log and the state that a stopped bridge has left, by the configuration of now.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn of_stopped(
        search: LogSearch,
        state: State,
        configuration: Arc<ExplainedConfiguration>,
    ) -> Result<Self, StateError> {
        let health = Health::default();
        for (sink, PausedSince { since, reason }) in state.paused()? {
            health.add_sink(&sink).pause(Some(PausedStatus { since, reason }));
        }
        let now = SystemTime::now().into();
        Ok(Self { is_stopped: true, ..Self::new(search, state, Arc::new(health), configuration, now) })
    }

    /// The same for another configuration, which counts from this moment on.
    pub fn reconfigured(&self, configuration: Arc<ExplainedConfiguration>, since: Timestamp) -> Self {
        Self {
            search: self.search.clone(),
            state: self.state.clone(),
            health: Arc::clone(&self.health),
            configuration,
            timeline: self.timeline.clone(),
            started: since,
            is_stopped: self.is_stopped,
        }
    }

    /// The same with the last steps of every event.
    pub fn with_timeline(self, timeline: Timeline) -> Self {
        Self { timeline, ..self }
    }
}

#[cfg(test)]
mod tests;
