//! A task of the bridge that runs until it is told to end.

use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::BridgeError;

/// A running part of the bridge. Dropping the `Task` tells the part to end.
pub(super) struct Task {
    name: &'static str,
    stop: DropGuard,
    running: JoinSet<()>,
}

impl Task {
    /// Starts a part; its name is for the error that says that it broke down.
    pub(super) fn spawn<F: Future<Output = ()> + Send + 'static>(
        name: &'static str,
        part: impl FnOnce(CancellationToken) -> F,
    ) -> Self {
        let stop = CancellationToken::new();
        let mut running = JoinSet::new();
        running.spawn(part(stop.clone()));
        Self { name, stop: stop.drop_guard(), running }
    }

    /// Resolves if the part ends without being told to: it panicked, or has logged why it cannot go on.
    pub(super) async fn broken(&mut self) -> BridgeError {
        match self.running.join_next().await {
            Some(_) => BridgeError::BrokeDown(self.name),
            // The end was reported by an earlier call.
            None => std::future::pending().await,
        }
    }

    /// Tells the part to end, and waits until it has.
    ///
    /// # Errors
    /// When the part panics before it has ended.
    pub(super) async fn end(self) -> Result<(), BridgeError> {
        let Self { name, stop, mut running } = self;
        drop(stop);
        match running.join_next().await {
            Some(Err(_)) => Err(BridgeError::BrokeDown(name)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_part_that_breaks_down_is_named_and_can_still_be_ended() {
        let mut broken = Task::spawn("the part", |_| async { panic!("on purpose") });
        assert!(matches!(broken.broken().await, BridgeError::BrokeDown("the part")));
        assert!(broken.end().await.is_ok(), "its end is reported once");

        let mut fine = Task::spawn("the part", |stop| async move { stop.cancelled().await });
        let waited = tokio::time::timeout(std::time::Duration::from_millis(20), fine.broken()).await;
        assert!(waited.is_err(), "one that runs is not broken");
        assert!(fine.end().await.is_ok());
        let last = Task::spawn("the part", |stop| async move {
            stop.cancelled().await;
            panic!("on purpose");
        });
        assert!(last.end().await.is_err());
    }
}
