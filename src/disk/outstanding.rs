//! How long the disk has not answered.
//!
//! A call that hangs has no result to judge the disk by, and the call before it succeeded. So the time of a
//! call can be read while it is under way.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The work on the disk that is under way, of one thread at a time.
#[derive(Debug)]
pub(crate) struct Outstanding {
    origin: Instant,
    /// When the work began, in milliseconds after `origin` plus one; 0 while no work is under way.
    since: AtomicU64,
}

impl Default for Outstanding {
    fn default() -> Self {
        Self { origin: Instant::now(), since: AtomicU64::new(0) }
    }
}

impl Outstanding {
    /// Begins work, which is under way until the returned value is dropped.
    pub(crate) fn begin(&self) -> impl Drop + '_ {
        self.since.store(self.millis() + 1, Ordering::Relaxed);
        Underway(&self.since)
    }

    /// How long the work has been under way; `None` if there is none.
    pub(crate) fn elapsed(&self) -> Option<Duration> {
        let since = self.since.load(Ordering::Relaxed).checked_sub(1)?;
        Some(Duration::from_millis(self.millis().saturating_sub(since)))
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX - 1)
    }
}

struct Underway<'a>(&'a AtomicU64);

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_its_way_is_told_until_it_is_done() {
        let outstanding = Outstanding::default();
        assert_eq!(outstanding.elapsed(), None);
        let underway = outstanding.begin();
        std::thread::sleep(Duration::from_millis(5));
        assert!(outstanding.elapsed().is_some_and(|elapsed| elapsed >= Duration::from_millis(4)));
        drop(underway);
        assert_eq!(outstanding.elapsed(), None);
    }
}
