//! The Kafka topics whose records are sent one by one for a while, because one of their batches was
//! refused.

use parking_lot::{Mutex, MutexGuard};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long after its last refusal a topic's records are sent one by one.
const COOL_DOWN: Duration = Duration::from_secs(10);

/// The topics whose records are sent one by one, with their recent past.
#[derive(Default)]
pub(super) struct IsolatedTopics(Mutex<HashMap<Arc<str>, Lately>>);

/// When a topic last refused and last took a record.
struct Lately {
    refused: Instant,
    /// When the topic last took a record that was sent alone.
    taken: Option<Instant>,
}

impl IsolatedTopics {
    /// Sends the topic's records one by one from now on.
    pub fn add(&self, topic: &str) {
        let (mut topics, now) = (self.topics(), Instant::now());
        match topics.get_mut(topic) {
            Some(lately) => lately.refused = now,
            None => drop(topics.insert(topic.into(), Lately { refused: now, taken: None })),
        }
    }

    /// Notes that the topic took a record that was sent alone.
    pub fn note_taken(&self, topic: &str) {
        if let Some(lately) = self.topics().get_mut(topic) {
            lately.taken = Some(Instant::now());
        }
    }

    /// Whether the topic took a record that was sent alone within [`COOL_DOWN`].
    pub fn takes_some(&self, topic: &str) -> bool {
        let taken = self.topics().get(topic).and_then(|lately| lately.taken);
        taken.is_some_and(|taken| taken.elapsed() < COOL_DOWN)
    }

    /// The topics whose records are sent one by one now. A topic whose cool-down is over returns to
    /// batches only when no single record is on its way: the two producers do not know each other's
    /// order.
    pub fn now(&self, single_is_idle: impl FnOnce() -> bool) -> HashSet<Arc<str>> {
        let mut topics = self.topics();
        let cooled = |lately: &Lately| lately.refused.elapsed() >= COOL_DOWN;
        if topics.values().any(cooled) && single_is_idle() {
            topics.retain(|_, lately| !cooled(lately));
        }
        topics.keys().cloned().collect()
    }

    fn topics(&self) -> MutexGuard<'_, HashMap<Arc<str>, Lately>> {
        self.0.lock()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_comes_back_when_it_has_cooled_down_and_nothing_is_on_its_way() {
        let topics = IsolatedTopics::default();
        topics.add("a");
        assert!(topics.now(|| true).contains("a"));
        topics.topics().get_mut("a").unwrap().refused -= COOL_DOWN;
        assert!(topics.now(|| false).contains("a"));
        assert!(topics.now(|| true).is_empty());
    }

    #[test]
    fn what_a_topic_took_is_known_for_a_while_and_of_isolated_topics() {
        let topics = IsolatedTopics::default();
        topics.note_taken("a");
        topics.add("a");
        assert!(!topics.takes_some("a"), "the record was taken before a refusal isolated the topic");
        topics.note_taken("a");
        topics.add("a");
        assert!(topics.takes_some("a") && !topics.takes_some("b"));
        *topics.topics().get_mut("a").unwrap().taken.as_mut().unwrap() -= COOL_DOWN;
        assert!(!topics.takes_some("a"));
    }
}
