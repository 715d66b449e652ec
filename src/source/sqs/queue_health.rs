//! The health of one queue, for each kind of call: trouble is logged when it begins, when its reason changes
//! and when it ends, and the health endpoints and the metrics show the current state.

use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus_client::metrics::gauge::Gauge;

use super::action::Action;
use super::queue_error::QueueError;
use crate::health::{SourceStatus, SourceTrouble};
use crate::telemetry::Episode;

/// How long an action counts as in trouble at least after its last failure, once receives succeed again:
/// heartbeats can be so rare that the next one is weeks away.
const LAPSES_AFTER_MIN: Duration = Duration::from_secs(300);

/// How long calls of an action must not have been in trouble before the log says that they succeed again: a
/// queue that comes and goes writes a line or two a minute.
const END_LOGGED_AFTER: Duration = Duration::from_secs(60);

/// The place of messages that are not settled behind those of the actions.
const UNSETTLED: usize = Action::ALL.len();

/// The health of one queue.
#[derive(Debug)]
pub(super) struct QueueHealth {
    source: String,
    status: Arc<SourceStatus>,
    degraded: Gauge,
    lapses_after: Duration,
    actions: Mutex<[ActionHealth; Action::ALL.len() + 1]>,
}

/// The health of one action.
#[derive(Clone, Debug)]
struct ActionHealth {
    state: State,
    /// The time in which it is in trouble, for the log: by its reason.
    trouble: Episode<&'static str>,
}

impl Default for ActionHealth {
    fn default() -> Self {
        Self { state: State::default(), trouble: Episode::ending_after(END_LOGGED_AFTER) }
    }
}

/// How the last calls of one action went.
#[derive(Clone, Debug, Default)]
enum State {
    /// No call was answered yet, or the last trouble was long ago.
    #[default]
    Unknown,
    Fine,
    /// The last call failed, and the next one is likely to succeed.
    Doubtful,
    /// The error of the last call, and when it failed.
    Trouble(QueueError, Instant),
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
        Self { source: source.into(), status, degraded, lapses_after, actions: Mutex::default() }
    }

    /// Notes that calls begin: what an earlier source of this name has left in the metrics is not this one's.
    pub(super) fn begin(&self) {
        self.show(&*self.actions.lock());
    }

    /// Notes that a call succeeded.
    pub(super) fn succeeded(&self, action: Action) {
        let (mut actions, now) = (self.actions.lock(), Instant::now());
        actions[action as usize].state = State::Fine;
        if action == Action::Receive {
            self.status.reach();
            self.lapse(&mut *actions, now);
        }
        self.log_ends(&mut *actions, now);
        self.show(&*actions);
    }

    /// Forgets trouble whose last failure is long ago.
    fn lapse(&self, actions: &mut [ActionHealth], now: Instant) {
        for ActionHealth { state, .. } in actions.iter_mut() {
            if matches!(state, State::Trouble(_, last) if now.duration_since(*last) >= self.lapses_after) {
                *state = State::Unknown;
            }
        }
        if let Some(unsettled @ ActionHealth { state: State::Unknown, .. }) = actions.get_mut(UNSETTLED) {
            *unsettled = ActionHealth::default();
        }
    }

    fn log_ends(&self, actions: &mut [ActionHealth], now: Instant) {
        for (action, ActionHealth { state, trouble }) in Action::ALL.into_iter().zip(actions) {
            if matches!(state, State::Trouble(..)) {
                continue;
            }
            let Some(end) = trouble.over(now) else { continue };
            let (source, action, seconds) = (&self.source, action.name(), end.seconds());
            if matches!(state, State::Unknown) {
                tracing::info!(
                    source,
                    action,
                    seconds,
                    "no call of this action to the source's queue has failed for minutes, and none was made \
                     that succeeded: its trouble is forgotten"
                );
            } else {
                tracing::info!(
                    source,
                    action,
                    seconds,
                    "calls of this action to the source's queue succeed again"
                );
            }
        }
    }

    /// Notes that a call failed.
    pub(super) fn failed(&self, action: Action, error: &QueueError) {
        let mut actions = self.actions.lock();
        let (ActionHealth { state, trouble }, now) = (&mut actions[action as usize], Instant::now());
        // A single call can fail in any network.
        if error.passing && matches!(state, State::Fine) {
            return *state = State::Doubtful;
        }
        *state = State::Trouble(error.clone(), now);
        if let Some(news) = trouble.happens(error.reason, now) {
            let (source, action, reason) = (&self.source, action.name(), error.reason);
            tracing::warn!(
                source,
                action,
                reason,
                unsaid = news.unsaid,
                "the source's queue is in trouble: {}",
                error.advice
            );
        }
        self.show(&*actions);
    }

    /// Notes that a message was received so often and is left in the queue all the same. It comes again for
    /// as long as it is, so the trouble lapses once no such message does.
    pub(super) fn unsettled(&self, receives: u32) {
        let advice = "a message comes again and again, because `ack.after` names a sink that has not \
                      accepted its event, or can accept none from it; in a FIFO queue it holds its group \
                      up: see `fanbridge dead list`, and give the queue a redrive policy";
        let reason = "received_often";
        let error =
            QueueError { reason, advice: advice.to_owned(), passing: false, lacks_credentials: false };
        let (mut actions, now) = (self.actions.lock(), Instant::now());
        let ActionHealth { state, trouble } = &mut actions[UNSETTLED];
        *state = State::Trouble(error, now);
        if let Some(news) = trouble.happens(reason, now) {
            let (source, unsaid) = (&self.source, news.unsaid);
            tracing::error!(source, receives, unsaid, "the source's queue is in trouble: {advice}");
        }
        self.show(&*actions);
    }

    /// Whether the last receive succeeded.
    pub(super) fn is_receiving(&self) -> bool {
        let actions = self.actions.lock();
        matches!(actions[Action::Receive as usize].state, State::Fine)
    }

    fn show(&self, actions: &[ActionHealth]) {
        let trouble = actions.iter().find_map(|action| match &action.state {
            State::Trouble(error, _) => Some(error),
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
            matches!(actions[Action::Extend as usize].state, State::Trouble(..)),
            "the trouble can come back until then"
        );
        health.lapse(&mut actions, start + Duration::from_secs(1201));
        assert!(matches!(actions[Action::Extend as usize].state, State::Unknown));
    }

    #[test]
    fn a_message_that_nothing_settles_is_trouble_until_it_comes_no_more() {
        let (health, status, degraded) = queue_health();
        health.unsettled(50);
        health.succeeded(Action::Receive);
        assert!(shown(&status).is_some_and(|advice| advice.contains("redrive policy")));
        assert_eq!(degraded.get(), 1);
        let mut actions = health.actions.lock().clone();
        health.lapse(&mut actions, Instant::now() + Duration::from_secs(1201));
        let ActionHealth { state, trouble } = &actions[UNSETTLED];
        assert!(matches!(state, State::Unknown) && !trouble.is_ongoing(), "the next one is told again");
    }

    #[test]
    fn trouble_that_is_back_before_its_end_is_logged_is_the_same_trouble() {
        let (health, ..) = queue_health();
        let ends_at = || health.actions.lock()[Action::Delete as usize].trouble.ends_at();
        health.failed(Action::Delete, &denied());
        assert_eq!(ends_at(), None);
        health.succeeded(Action::Delete);
        assert!(ends_at().is_some(), "it can come back");
        health.failed(Action::Delete, &denied());
        assert_eq!(ends_at(), None, "it has come back");
        health.succeeded(Action::Delete);
        let later = ends_at().expect("it is over");
        health.log_ends(&mut *health.actions.lock(), later);
        assert!(!health.actions.lock()[Action::Delete as usize].trouble.is_ongoing(), "a minute later");
    }
}
