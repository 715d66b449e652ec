//! Decides how many receive loops run: as many as the backlog keeps busy (pure, but for the lock around
//! one number).
//!
//! Each loop reports how many messages its receive brought. A full receive asks for another loop, so the
//! number of loops can double within one round of receives. A receive that is less than half full ends
//! its loop, unless that is the last one. The one loop of an idle queue makes a call every 20 seconds.

use parking_lot::{Mutex, MutexGuard};

use tokio::sync::Notify;

use super::queue::BATCH_MAX;

/// What a receive loop does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Go,
    End,
}

/// The receive loops of one source.
#[derive(Debug)]
pub(super) struct Scale {
    running: Mutex<usize>,
    max: usize,
    grown: Notify,
}

impl Scale {
    /// Begins with one loop, and allows `max`.
    pub(super) fn new(max: usize) -> Self {
        Self { running: Mutex::new(1), max: max.max(1), grown: Notify::new() }
    }

    /// Notes that a loop's receive brought so many messages.
    pub(super) fn received(&self, messages: usize) -> Next {
        let mut running = self.lock();
        if messages >= BATCH_MAX {
            if *running < self.max {
                *running += 1;
                self.grown.notify_one();
            }
        } else if messages < BATCH_MAX / 2 && *running > 1 {
            *running -= 1;
            return Next::End;
        }
        Next::Go
    }

    /// Notes that a loop's receive failed, or that the spool has no room: one loop is enough to try again.
    pub(super) fn idle(&self) -> Next {
        self.received(0)
    }

    /// Notes that a loop panicked.
    pub(super) fn lost(&self) {
        let mut running = self.lock();
        *running = (*running - 1).max(1);
    }

    /// How many loops should run.
    pub(super) fn running(&self) -> usize {
        *self.lock()
    }

    /// Resolves when more loops should run.
    pub(super) async fn grown(&self) {
        self.grown.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        self.running.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loops_grow_with_full_receives_and_end_with_short_ones_down_to_one() {
        let scale = Scale::new(3);
        for running in [2, 3, 3] {
            assert_eq!(scale.received(10), Next::Go);
            assert_eq!(scale.running(), running);
        }
        assert_eq!((scale.received(5), scale.running()), (Next::Go, 3), "half full is busy enough");
        assert_eq!((scale.received(4), scale.running()), (Next::End, 2));
        assert_eq!((scale.idle(), scale.running()), (Next::End, 1));
        assert_eq!((scale.received(0), scale.running()), (Next::Go, 1), "the last one stays");
        scale.lost();
        assert_eq!(scale.running(), 1, "and is replaced");
    }
}
