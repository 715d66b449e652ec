//! Running parts of one kind that come and go with the configuration, one for each source.

use std::collections::BTreeMap;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::BridgeError;

/// Running parts of one kind, by the names of their sources.
pub(super) struct Parts {
    /// What a part is, for the error that says that it broke down.
    what: &'static str,
    parts: BTreeMap<String, Part>,
    /// Whether the part was told to end.
    running: JoinSet<bool>,
}

struct Part {
    /// Tells the part to end when it is dropped; `None` once it is told.
    stop: Option<DropGuard>,
    /// Is cancelled once the part has ended.
    ended: CancellationToken,
}

impl Parts {
    pub(super) fn new(what: &'static str) -> Self {
        Self { what, parts: BTreeMap::new(), running: JoinSet::new() }
    }

    /// Begins a part. If one of this name runs, that one is told to end, and this one begins once it has.
    pub(super) fn begin<F: Future<Output = ()> + Send + 'static>(
        &mut self,
        name: &str,
        part: impl FnOnce(CancellationToken) -> F,
    ) {
        self.forget_ended();
        let (stop, ended) = (CancellationToken::new(), CancellationToken::new());
        let now = Part { stop: Some(stop.clone().drop_guard()), ended: ended.clone() };
        let before = self.parts.insert(name.to_owned(), now).map(|before| before.ended);
        let part = part(stop.clone());
        self.running.spawn(async move {
            let _ended = ended.drop_guard();
            if let Some(before) = before {
                before.cancelled().await;
            }
            part.await;
            stop.is_cancelled()
        });
    }

    /// Tells the part of this name to end, if there is one.
    pub(super) fn end(&mut self, name: &str) {
        self.forget_ended();
        if let Some(part) = self.parts.get_mut(name) {
            part.stop = None;
        }
    }

    /// Tells all parts to end.
    pub(super) fn end_all(&mut self) {
        self.parts.values_mut().for_each(|part| part.stop = None);
    }

    fn forget_ended(&mut self) {
        self.parts.retain(|_, part| !part.ended.is_cancelled());
    }

    /// Resolves if a part ends without being told to: it panicked. A part that begins meanwhile is watched
    /// from the next call on.
    pub(super) async fn broken(&mut self) -> BridgeError {
        loop {
            match self.running.join_next().await {
                Some(Ok(true)) => {}
                Some(_) => return BridgeError::BrokeDown(self.what),
                None => std::future::pending().await,
            }
        }
    }

    /// Tells all parts to end, and waits until they have; those that have not by the deadline are cut short.
    ///
    /// # Errors
    /// When a part panics before it has ended.
    pub(super) async fn ended(mut self, deadline: Instant) -> Result<(), BridgeError> {
        self.end_all();
        let mut first = Ok(());
        while let Ok(Some(ended)) = timeout_at(deadline, self.running.join_next()).await {
            first = first.and(ended.map(drop).map_err(|_| BridgeError::BrokeDown(self.what)));
        }
        self.running.abort_all();
        first
    }

    /// How many tasks there are, also of parts that are about to end.
    #[cfg(test)]
    pub(super) fn tasks(&mut self) -> usize {
        while self.running.try_join_next().is_some() {}
        self.running.len()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use parking_lot::Mutex;
    use tokio::time::{sleep, timeout};

    use super::*;

    const SHORT: Duration = Duration::from_millis(20);

    #[tokio::test(start_paused = true)]
    async fn a_part_that_replaces_another_begins_when_that_one_has_ended() {
        let (mut parts, told) = (Parts::new("the part"), Arc::new(Mutex::new(Vec::new())));
        for number in 0..3 {
            let told = Arc::clone(&told);
            parts.begin("queue", |stop| async move {
                told.lock().push(format!("{number} begins"));
                stop.cancelled().await;
                sleep(SHORT).await;
                told.lock().push(format!("{number} ends"));
            });
            sleep(SHORT / 2).await;
        }
        parts.end("queue");
        assert!(timeout(SHORT * 10, parts.broken()).await.is_err(), "each of them was told to end");
        let expected = ["0 begins", "0 ends", "1 begins", "1 ends", "2 begins", "2 ends"];
        assert_eq!(*told.lock(), expected);
        parts.end("queue");
        assert_eq!((parts.tasks(), parts.parts.len()), (0, 0), "nothing is left of them");
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_that_comes_back_waits_for_the_one_that_was_removed() {
        let mut parts = Parts::new("the part");
        let running = Arc::new(Mutex::new(0));
        for _ in 0..3 {
            let running = Arc::clone(&running);
            parts.begin("queue", |stop| async move {
                assert_eq!(std::mem::replace(&mut *running.lock(), 1), 0, "another one runs");
                stop.cancelled().await;
                sleep(SHORT).await;
                *running.lock() = 0;
            });
            sleep(SHORT / 4).await;
            parts.end("queue");
        }
        assert!(parts.ended(Instant::now() + SHORT * 10).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_that_breaks_down_is_noticed_and_one_that_hangs_is_cut_short() {
        let mut parts = Parts::new("the part");
        parts.begin("one", |_| async { panic!("on purpose") });
        assert!(matches!(parts.broken().await, BridgeError::BrokeDown("the part")));
        parts.begin("two", |_| async {});
        assert!(matches!(parts.broken().await, BridgeError::BrokeDown("the part")), "it was not told to end");
        parts.begin("three", |_| std::future::pending());
        let waited = timeout(SHORT * 10, parts.ended(Instant::now() + SHORT)).await;
        assert!(waited.is_ok_and(|ended| ended.is_ok()));
    }
}
