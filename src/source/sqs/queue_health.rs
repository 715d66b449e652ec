//! The condition of one queue: told once when it changes, by action, and kept for who asks.

use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus_client::metrics::gauge::Gauge;

use super::queue::Action;
use super::queue_error::QueueError;
use crate::health::{SourceStatus, SourceTrouble};
use crate::telemetry::LogLimit;

/// How long the trouble of an action is kept at least without another failure, once the queue is read
/// again: heartbeats are so rare that the next one may be weeks away.
const LAPSES_AFTER_MIN: Duration = Duration::from_secs(300);

/// How a queue is doing.
#[derive(Debug)]
pub(super) struct QueueHealth {
    source: String,
    status: Arc<SourceStatus>,
    degraded: Gauge,
    lapses_after: Duration,
    actions: Mutex<[State; Action::ALL.len()]>,
    log_limit: LogLimit,
}

/// How calls of one action are doing.
#[derive(Clone, Debug, Default)]
enum State {
    /// None has been answered yet, or none for long.
    #[default]
    Unknown,
    Fine,
    /// The last one failed in a way that passes, mostly.
    Doubtful,
    Trouble(Ongoing),
}

#[derive(Clone, Debug)]
struct Ongoing {
    trouble: QueueError,
    last: Instant,
    /// Whether a line tells of this very trouble.
    told: bool,
    /// Whether a line tells of any since it was fine, so that another has to tell of the end.
    owes_end: bool,
}

impl QueueHealth {
    /// Nothing is known yet; `degraded` is 1 while there is trouble. What failed comes back after the
    /// visibility time-out, and so may its trouble.
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

    /// A call was answered.
    pub(super) fn fine(&self, action: Action) {
        let mut actions = self.actions.lock();
        let before = std::mem::replace(&mut actions[action as usize], State::Fine);
        self.tell_end(action, &before);
        if action == Action::Receive {
            self.status.reach();
            self.lapse(&mut *actions, Instant::now());
        }
        self.show(&*actions);
    }

    /// Forgets trouble that nothing has repeated for long.
    fn lapse(&self, actions: &mut [State], now: Instant) {
        for (action, state) in Action::ALL.into_iter().zip(actions) {
            if matches!(state, State::Trouble(known) if now.duration_since(known.last) >= self.lapses_after) {
                self.tell_end(action, &std::mem::take(state));
            }
        }
    }

    fn tell_end(&self, action: Action, before: &State) {
        if let State::Trouble(Ongoing { trouble, owes_end: true, .. }) = before {
            let (source, reason) = (&self.source, trouble.reason);
            tracing::info!(source, action = action.name(), reason, "the queue's trouble is over");
        }
    }

    /// A call failed.
    pub(super) fn trouble(&self, action: Action, trouble: &QueueError) {
        let mut actions = self.actions.lock();
        let state = &mut actions[action as usize];
        let owed_end = match state {
            // Now and then a call fails in any network.
            State::Fine if trouble.passing => return *state = State::Doubtful,
            State::Trouble(known) if known.told && known.trouble.reason == trouble.reason => {
                return known.last = Instant::now();
            }
            State::Trouble(known) => known.owes_end,
            _ => false,
        };
        // What changes its face all the time, or comes and goes, is told of once a minute.
        let unsaid = self.log_limit.admit(&format!("{} {}", action.name(), trouble.reason));
        if let Some(unsaid) = unsaid {
            let (source, action, reason) = (&self.source, action.name(), trouble.reason);
            tracing::warn!(source, action, reason, unsaid, "the queue is in trouble: {}", trouble.advice);
        }
        let (told, last) = (unsaid.is_some(), Instant::now());
        *state = State::Trouble(Ongoing { trouble: trouble.clone(), last, told, owes_end: owed_end || told });
        self.show(&*actions);
    }

    /// Whether the last receive was answered.
    pub(super) fn is_receiving(&self) -> bool {
        let actions = self.actions.lock();
        matches!(actions[Action::Receive as usize], State::Fine)
    }

    fn show(&self, actions: &[State]) {
        let trouble = actions.iter().find_map(|state| match state {
            State::Trouble(Ongoing { trouble: QueueError { reason, advice, .. }, .. }) => {
                Some((reason, advice))
            }
            _ => None,
        });
        self.degraded.set(i64::from(trouble.is_some()));
        match trouble {
            Some((reason, advice)) => {
                self.status.degraded(SourceTrouble { reason, advice: advice.clone() });
            }
            None => self.status.healthy(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Health;

    fn condition() -> (QueueHealth, Arc<SourceStatus>, Gauge) {
        let (status, degraded) = (Health::default().add_source("queue"), Gauge::default());
        let visibility = Duration::from_secs(600);
        (QueueHealth::new("queue", Arc::clone(&status), degraded.clone(), visibility), status, degraded)
    }

    fn passing() -> QueueError {
        QueueError { reason: "server_error", advice: "500".into(), passing: true }
    }

    fn denied() -> QueueError {
        QueueError { reason: "denied", advice: "grant it".into(), passing: false }
    }

    fn shown(status: &SourceStatus) -> Option<String> {
        status.trouble().map(|trouble| trouble.advice)
    }

    #[test]
    fn trouble_is_shown_until_it_is_over_and_one_slip_is_none() {
        let (condition, status, degraded) = condition();
        condition.trouble(Action::Receive, &passing());
        assert_eq!(shown(&status).as_deref(), Some("500"), "before the first answer nothing is a slip");
        assert!(!status.was_reached());
        condition.fine(Action::Receive);
        assert_eq!((shown(&status), status.was_reached(), degraded.get()), (None, true, 0));

        condition.trouble(Action::Receive, &passing());
        assert_eq!(shown(&status), None, "once");
        condition.trouble(Action::Receive, &passing());
        assert_eq!((shown(&status).as_deref(), degraded.get()), (Some("500"), 1), "twice");
        condition.fine(Action::Receive);
        condition.trouble(Action::Delete, &denied());
        condition.fine(Action::Receive);
        assert_eq!(
            shown(&status).as_deref(),
            Some("grant it"),
            "one action's health does not hide another's"
        );
        condition.fine(Action::Delete);
        assert_eq!(shown(&status), None);
    }

    #[test]
    fn trouble_of_a_call_that_is_rarely_made_lapses_once_the_queue_is_read_again() {
        let (condition, ..) = condition();
        condition.trouble(Action::Extend, &denied());
        let mut actions = condition.actions.lock().clone();
        let start = Instant::now();
        condition.lapse(&mut actions, start + Duration::from_secs(1100));
        assert!(matches!(actions[Action::Extend as usize], State::Trouble(_)), "it may come back until then");
        condition.lapse(&mut actions, start + Duration::from_secs(1201));
        assert!(matches!(actions[Action::Extend as usize], State::Unknown));
    }

    #[test]
    fn trouble_that_is_back_before_the_log_takes_another_line_is_told_when_it_does() {
        let (condition, ..) = condition();
        let told = |condition: &QueueHealth| match &condition.actions.lock()[0] {
            State::Trouble(known) => (known.told, known.owes_end),
            _ => (false, false),
        };
        condition.trouble(Action::Receive, &denied());
        assert_eq!(told(&condition), (true, true));
        condition.fine(Action::Receive);
        condition.trouble(Action::Receive, &denied());
        assert_eq!(told(&condition), (false, false), "within a minute");
        let condition = QueueHealth { log_limit: LogLimit::default(), ..condition };
        condition.trouble(Action::Receive, &denied());
        assert_eq!(told(&condition), (true, true), "after it");
    }
}
