//! Topics whose records travel one by one for a while, because a batch of theirs was refused.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long after its last refusal a topic's records keep travelling one by one.
const COOL_DOWN: Duration = Duration::from_secs(10);

/// The topics set apart, with the time of their last refusal.
#[derive(Default)]
pub(super) struct Apart(Mutex<HashMap<Arc<str>, Instant>>);

impl Apart {
    /// Sets a topic apart from now on.
    pub fn add(&self, topic: &str) {
        self.topics().insert(topic.into(), Instant::now());
    }

    /// The topics that are apart now. Those that have cooled down come back, but only when
    /// nothing is on its way one by one any more: the two ways know nothing of each other's order.
    pub fn now(&self, alone_is_idle: impl FnOnce() -> bool) -> HashSet<Arc<str>> {
        let mut topics = self.topics();
        let cooled = |refused: &Instant| refused.elapsed() >= COOL_DOWN;
        if topics.values().any(cooled) && alone_is_idle() {
            topics.retain(|_, refused| !cooled(refused));
        }
        topics.keys().cloned().collect()
    }

    fn topics(&self) -> MutexGuard<'_, HashMap<Arc<str>, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_comes_back_when_it_has_cooled_down_and_nothing_is_on_its_way() {
        let apart = Apart::default();
        apart.add("a");
        assert!(apart.now(|| true).contains("a"));
        *apart.topics().get_mut("a").unwrap() -= COOL_DOWN;
        assert!(apart.now(|| false).contains("a"));
        assert!(apart.now(|| true).is_empty());
    }
}
