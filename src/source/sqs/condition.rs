//! The condition of one queue: told once when it changes, by action, and kept for who asks.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::metrics::gauge::Gauge;

use super::queue::Action;
use super::trouble::Trouble;
use crate::health::{SourceStatus, SourceTrouble};
use crate::telemetry::LogLimit;

/// How long the trouble of an action is kept without another failure, once the queue is read again:
/// heartbeats are so rare that the next one may be weeks away.
const LAPSES_AFTER: Duration = Duration::from_secs(300);

/// How a queue is doing.
#[derive(Debug)]
pub(super) struct Condition {
    source: String,
    status: Arc<SourceStatus>,
    degraded: Gauge,
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
    trouble: Trouble,
    last: Instant,
    /// Whether a line tells of it, so that another has to tell of its end.
    told: bool,
}

impl Condition {
    /// Nothing is known yet; `degraded` is 1 while there is trouble.
    pub(super) fn new(source: &str, status: Arc<SourceStatus>, degraded: Gauge) -> Self {
        let (actions, log_limit) = (Mutex::default(), LogLimit::default());
        Self { source: source.into(), status, degraded, actions, log_limit }
    }

    /// A call was answered.
    pub(super) fn fine(&self, action: Action) {
        let mut actions = self.actions.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut actions[action as usize], State::Fine);
        if action == Action::Receive {
            self.status.reach();
            lapse(&mut *actions, Instant::now());
        }
        if let State::Trouble(Ongoing { trouble, told: true, .. }) = before {
            let (source, reason) = (&self.source, trouble.reason);
            tracing::info!(source, action = action.name(), reason, "the queue's trouble is over");
        }
        self.show(&*actions);
    }

    /// A call failed.
    pub(super) fn trouble(&self, action: Action, trouble: &Trouble) {
        let mut actions = self.actions.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut actions[action as usize];
        let told_before = match state {
            // Now and then a call fails in any network.
            State::Fine if trouble.passing => return *state = State::Doubtful,
            State::Trouble(known) if known.trouble.reason == trouble.reason => {
                return known.last = Instant::now();
            }
            State::Trouble(known) => known.told,
            _ => false,
        };
        // What changes its face all the time, or comes and goes, is told of once a minute.
        let unsaid = self.log_limit.admit(&format!("{} {}", action.name(), trouble.reason));
        if let Some(unsaid) = unsaid {
            let (source, action, reason) = (&self.source, action.name(), trouble.reason);
            tracing::warn!(source, action, reason, unsaid, "the queue is in trouble: {}", trouble.advice);
        }
        let told = told_before || unsaid.is_some();
        *state = State::Trouble(Ongoing { trouble: trouble.clone(), last: Instant::now(), told });
        self.show(&*actions);
    }

    /// Whether the last receive was answered.
    pub(super) fn is_receiving(&self) -> bool {
        let actions = self.actions.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(actions[Action::Receive as usize], State::Fine)
    }

    fn show(&self, actions: &[State]) {
        let trouble = actions.iter().find_map(|state| match state {
            State::Trouble(Ongoing { trouble: Trouble { reason, advice, .. }, .. }) => Some((reason, advice)),
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

/// Forgets trouble that nothing has repeated for long.
fn lapse(actions: &mut [State], now: Instant) {
    for state in actions {
        if matches!(state, State::Trouble(ongoing) if now.duration_since(ongoing.last) >= LAPSES_AFTER) {
            *state = State::Unknown;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Health;

    fn condition() -> (Condition, Arc<SourceStatus>, Gauge) {
        let (status, degraded) = (Health::default().add_source("queue"), Gauge::default());
        (Condition::new("queue", Arc::clone(&status), degraded.clone()), status, degraded)
    }

    fn passing() -> Trouble {
        Trouble { reason: "server_error", advice: "500".into(), passing: true }
    }

    fn denied() -> Trouble {
        Trouble { reason: "denied", advice: "grant it".into(), passing: false }
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
        let mut actions: [State; Action::ALL.len()] = Default::default();
        let start = Instant::now();
        actions[Action::Extend as usize] =
            State::Trouble(Ongoing { trouble: denied(), last: start, told: true });
        lapse(&mut actions, start + LAPSES_AFTER / 2);
        assert!(matches!(actions[Action::Extend as usize], State::Trouble(_)));
        lapse(&mut actions, start + LAPSES_AFTER);
        assert!(matches!(actions[Action::Extend as usize], State::Unknown));
    }
}
