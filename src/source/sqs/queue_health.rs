//! The health of one queue, for each kind of call: a change is logged once, and the health endpoints and
//! the metrics show the current state.

use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus_client::metrics::gauge::Gauge;

use super::action::Action;
use super::queue_error::QueueError;
use crate::health::{SourceStatus, SourceTrouble};
use crate::telemetry::LogLimit;

/// How long an action counts as in trouble at least after its last failure, once receives succeed again:
/// heartbeats can be so rare that the next one is weeks away.
const LAPSES_AFTER_MIN: Duration = Duration::from_secs(300);

/// The health of one queue.
#[derive(Debug)]
pub(super) struct QueueHealth {
    source: String,
    status: Arc<SourceStatus>,
    degraded: Gauge,
    lapses_after: Duration,
    actions: Mutex<[State; Action::ALL.len()]>,
    log_limit: LogLimit,
}

/// The health of one action.
#[derive(Clone, Debug, Default)]
enum State {
    /// No call was answered yet, or the last trouble was long ago.
    #[default]
    Unknown,
    Fine,
    /// The last call failed, and the next one is likely to succeed.
    Doubtful,
    Trouble(Ongoing),
}

#[derive(Clone, Debug)]
struct Ongoing {
    error: QueueError,
    last: Instant,
    /// Whether a log line reported this reason.
    logged: bool,
    /// Whether a log line reported any trouble since the last success, so that another must report its end.
    owes_end: bool,
}

impl QueueHealth {
    /// The health of a queue that has not been called yet. The gauge `degraded` is 1 while an action is in
    /// trouble. A message whose call failed comes back after the visibility time-out, and can fail again
    /// then, so trouble is kept for at least twice that time.
    pub(super) fn new(
        source: &str,
        status: Arc<SourceStatus>,
        degraded: Gauge,
        visibility: Duration,
    ) -> Self {
        let lapses_after = LAPSES_AFTER_MIN.max(visibility * 2);
        let (actions, log_limit) = (Mutex::default(), LogLimit::default());
        Self { source: source.into(), status, degraded, lapses_after, actions, log_limit }
    }

    /// Notes that a call succeeded.
    pub(super) fn succeeded(&self, action: Action) {
        let mut actions = self.actions.lock();
        let before = std::mem::replace(&mut actions[action as usize], State::Fine);
        self.log_end(action, &before);
        if action == Action::Receive {
            self.status.reach();
            self.lapse(&mut *actions, Instant::now());
        }
        self.show(&*actions);
    }

    /// Forgets trouble whose last failure is long ago.
    fn lapse(&self, actions: &mut [State], now: Instant) {
        for (action, state) in Action::ALL.into_iter().zip(actions) {
            if matches!(state, State::Trouble(known) if now.duration_since(known.last) >= self.lapses_after) {
                self.log_end(action, &std::mem::take(state));
            }
        }
    }

    fn log_end(&self, action: Action, before: &State) {
        if let State::Trouble(Ongoing { error, owes_end: true, .. }) = before {
            let (source, reason) = (&self.source, error.reason);
            tracing::info!(
                source,
                action = action.name(),
                reason,
                "calls of this action to the source's queue succeed again"
            );
        }
    }

    /// Notes that a call failed.
    pub(super) fn failed(&self, action: Action, error: &QueueError) {
        let mut actions = self.actions.lock();
        let state = &mut actions[action as usize];
        let owed_end = match state {
            // A single call can fail in any network.
            State::Fine if error.passing => return *state = State::Doubtful,
            State::Trouble(known) if known.logged && known.error.reason == error.reason => {
                return known.last = Instant::now();
            }
            State::Trouble(known) => known.owes_end,
            _ => false,
        };
        // Trouble whose reason keeps changing, or that comes and goes, is logged once a minute.
        let unsaid = self.log_limit.admit(&format!("{} {}", action.name(), error.reason));
        if let Some(unsaid) = unsaid {
            let (source, action, reason) = (&self.source, action.name(), error.reason);
            tracing::warn!(
                source,
                action,
                reason,
                unsaid,
                "the source's queue is in trouble: {}",
                error.advice
            );
        }
        let (logged, last) = (unsaid.is_some(), Instant::now());
        *state = State::Trouble(Ongoing { error: error.clone(), last, logged, owes_end: owed_end || logged });
        self.show(&*actions);
    }

    /// Whether the last receive succeeded.
    pub(super) fn is_receiving(&self) -> bool {
        let actions = self.actions.lock();
        matches!(actions[Action::Receive as usize], State::Fine)
    }

    fn show(&self, actions: &[State]) {
        let trouble = actions.iter().find_map(|state| match state {
            State::Trouble(Ongoing { error, .. }) => Some(error),
            _ => None,
        });
        self.degraded.set(i64::from(trouble.is_some()));
        match trouble {
            Some(error) => {
                let QueueError { reason, advice, lacks_credentials, .. } = error.clone();
                self.status.degraded(SourceTrouble { reason, advice, lacks_credentials });
            }
            None => self.status.healthy(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Health;

    fn queue_health() -> (QueueHealth, Arc<SourceStatus>, Gauge) {
        let (status, degraded) = (Health::default().add_source("queue"), Gauge::default());
        let visibility = Duration::from_secs(600);
        (QueueHealth::new("queue", Arc::clone(&status), degraded.clone(), visibility), status, degraded)
    }

    fn passing() -> QueueError {
        QueueError { reason: "server_error", advice: "500".into(), passing: true, lacks_credentials: false }
    }

    fn denied() -> QueueError {
        QueueError { reason: "denied", advice: "grant it".into(), passing: false, lacks_credentials: false }
    }

    fn shown(status: &SourceStatus) -> Option<String> {
        status.trouble().map(|trouble| trouble.advice)
    }

    #[test]
    fn trouble_is_shown_until_it_is_over_and_one_slip_is_none() {
        let (health, status, degraded) = queue_health();
        health.failed(Action::Receive, &passing());
        assert_eq!(shown(&status).as_deref(), Some("500"), "before the first answer nothing is a slip");
        assert!(!status.was_reached());
        health.succeeded(Action::Receive);
        assert_eq!((shown(&status), status.was_reached(), degraded.get()), (None, true, 0));

        health.failed(Action::Receive, &passing());
        assert_eq!(shown(&status), None, "once");
        health.failed(Action::Receive, &passing());
        assert_eq!((shown(&status).as_deref(), degraded.get()), (Some("500"), 1), "twice");
        health.succeeded(Action::Receive);
        health.failed(Action::Delete, &denied());
        health.succeeded(Action::Receive);
        assert_eq!(
            shown(&status).as_deref(),
            Some("grant it"),
            "one action's health does not hide another's"
        );
        health.succeeded(Action::Delete);
        assert_eq!(shown(&status), None);
    }

    #[test]
    fn trouble_of_a_call_that_is_rarely_made_lapses_once_the_queue_is_read_again() {
        let (health, ..) = queue_health();
        health.failed(Action::Extend, &denied());
        let mut actions = health.actions.lock().clone();
        let start = Instant::now();
        health.lapse(&mut actions, start + Duration::from_secs(1100));
        assert!(
            matches!(actions[Action::Extend as usize], State::Trouble(_)),
            "the trouble can come back until then"
        );
        health.lapse(&mut actions, start + Duration::from_secs(1201));
        assert!(matches!(actions[Action::Extend as usize], State::Unknown));
    }

    #[test]
    fn trouble_that_is_back_before_the_log_takes_another_line_is_told_when_it_does() {
        let (health, ..) = queue_health();
        let logged = |health: &QueueHealth| match &health.actions.lock()[0] {
            State::Trouble(known) => (known.logged, known.owes_end),
            _ => (false, false),
        };
        health.failed(Action::Receive, &denied());
        assert_eq!(logged(&health), (true, true));
        health.succeeded(Action::Receive);
        health.failed(Action::Receive, &denied());
        assert_eq!(logged(&health), (false, false), "within a minute");
        let health = QueueHealth { log_limit: LogLimit::default(), ..health };
        health.failed(Action::Receive, &denied());
        assert_eq!(logged(&health), (true, true), "after it");
    }
}
