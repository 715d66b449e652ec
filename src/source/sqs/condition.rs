//! The condition of one queue: told once when it changes, by action, and kept for who asks.

use std::sync::{Arc, Mutex, PoisonError};

use super::queue::Action;
use super::trouble::Trouble;
use crate::health::SourceStatus;

/// How a queue is doing.
#[derive(Debug)]
pub(super) struct Condition {
    source: String,
    status: Arc<SourceStatus>,
    actions: Mutex<[State; Action::ALL.len()]>,
}

/// How calls of one action are doing.
#[derive(Clone, Debug, Default)]
enum State {
    /// None has been answered yet.
    #[default]
    Unknown,
    Fine,
    /// The last one failed in a way that passes, mostly.
    Doubtful,
    Trouble(Trouble),
}

impl Condition {
    pub(super) fn new(source: &str, status: Arc<SourceStatus>) -> Self {
        Self { source: source.into(), status, actions: Mutex::default() }
    }

    /// A call was answered.
    pub(super) fn fine(&self, action: Action) {
        let mut actions = self.actions.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut actions[action as usize], State::Fine);
        if matches!(before, State::Fine | State::Doubtful) {
            return;
        }
        if let State::Trouble(trouble) = before {
            let (source, reason) = (&self.source, trouble.reason);
            tracing::info!(source, action = action.name(), reason, "the queue's trouble is over");
        }
        self.tell(&actions);
    }

    /// A call failed.
    pub(super) fn trouble(&self, action: Action, trouble: &Trouble) {
        let mut actions = self.actions.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut actions[action as usize];
        match state {
            State::Trouble(known) if known.reason == trouble.reason => return,
            // Now and then a call fails in any network.
            State::Fine if trouble.passing => return *state = State::Doubtful,
            _ => *state = State::Trouble(trouble.clone()),
        }
        let (source, reason) = (&self.source, trouble.reason);
        tracing::warn!(source, action = action.name(), reason, "the queue is in trouble: {}", trouble.advice);
        self.tell(&actions);
    }

    /// Whether receiving is in trouble, or has not been tried.
    pub(super) fn is_receiving(&self) -> bool {
        let actions = self.actions.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(actions[Action::Receive as usize], State::Fine)
    }

    fn tell(&self, actions: &[State; Action::ALL.len()]) {
        if let State::Fine | State::Doubtful = actions[Action::Receive as usize] {
            self.status.healthy();
        }
        let troubles = actions.iter().find_map(|state| match state {
            State::Trouble(trouble) => Some(trouble.advice.clone()),
            _ => None,
        });
        if let Some(advice) = troubles {
            self.status.degraded(advice);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Health;

    #[test]
    fn trouble_is_shown_until_it_is_over_and_one_slip_is_none() {
        let status = Health::default().add_source("queue");
        let condition = Condition::new("queue", Arc::clone(&status));
        let passing = Trouble { reason: "server_error", advice: "500".into(), passing: true };
        let denied = Trouble { reason: "denied", advice: "grant it".into(), passing: false };

        condition.trouble(Action::Receive, &passing);
        assert_eq!(
            status.never_reached().as_deref(),
            Some("500"),
            "before the first answer nothing is a slip"
        );
        condition.fine(Action::Receive);
        assert_eq!((status.never_reached(), status.trouble()), (None, None));

        condition.trouble(Action::Receive, &passing);
        assert_eq!(status.trouble(), None, "once");
        condition.trouble(Action::Receive, &passing);
        assert_eq!(status.trouble().as_deref(), Some("500"), "twice");
        condition.fine(Action::Receive);
        condition.trouble(Action::Delete, &denied);
        condition.fine(Action::Receive);
        assert_eq!(
            status.trouble().as_deref(),
            Some("grant it"),
            "one action's health does not hide another's"
        );
        condition.fine(Action::Delete);
        assert_eq!(status.trouble(), None);
    }
}
