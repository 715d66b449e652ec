//! What the process knows of its own condition: written where things happen, read by the admin
//! listener. Holds no rule: whether a condition is good enough is decided where it is read.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::event::Position;

/// The condition of the whole bridge.
#[derive(Debug, Default)]
pub struct Health {
    started: AtomicBool,
    stopping: AtomicBool,
    sinks: Mutex<Vec<Arc<SinkStatus>>>,
    sources: Mutex<Vec<Arc<SourceStatus>>>,
    hearts: Mutex<Vec<Weak<Heart>>>,
}

impl Health {
    /// Notes that recovery is over and every part runs.
    pub fn start(&self) {
        self.started.store(true, Ordering::Relaxed);
    }

    /// Whether recovery is over.
    pub fn is_started(&self) -> bool {
        self.started.load(Ordering::Relaxed)
    }

    /// Notes that the bridge no longer takes deliveries.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Whether the bridge is shutting down.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Adds a sink, healthy and at the beginning.
    pub fn add_sink(&self, name: &str) -> Arc<SinkStatus> {
        let status = Arc::new(SinkStatus { name: name.to_owned(), ..SinkStatus::default() });
        held(&self.sinks).push(Arc::clone(&status));
        status
    }

    /// All sinks, in the configuration's order.
    pub fn sinks(&self) -> Vec<Arc<SinkStatus>> {
        held(&self.sinks).clone()
    }

    /// Adds a source that goes and gets its deliveries, and has not been able to yet.
    pub fn add_source(&self, name: &str) -> Arc<SourceStatus> {
        let status = Arc::new(SourceStatus { name: name.to_owned(), ..SourceStatus::default() });
        held(&self.sources).push(Arc::clone(&status));
        status
    }

    /// The sources that get their deliveries, in the configuration's order.
    pub fn sources(&self) -> Vec<Arc<SourceStatus>> {
        held(&self.sources).clone()
    }

    /// Adds a loop that must go round at least every `patience`, also while it waits for something:
    /// the process is taken for hung, and killed, if it does not. Its end is the drop of the heart.
    pub fn add_heart(&self, name: &str, patience: Duration) -> Arc<Heart> {
        let (origin, last_millis) = (Instant::now(), AtomicU64::new(0));
        let heart = Arc::new(Heart { name: name.to_owned(), patience, origin, last_millis });
        held(&self.hearts).push(Arc::downgrade(&heart));
        heart
    }

    /// The name of a loop that has stopped going round, if there is one.
    pub fn hung(&self, now: Instant) -> Option<String> {
        let hearts = held(&self.hearts);
        hearts
            .iter()
            .filter_map(Weak::upgrade)
            .find(|heart| heart.is_silent(now))
            .map(|heart| heart.name.clone())
    }
}

/// The sign of life of one loop.
#[derive(Debug)]
pub struct Heart {
    name: String,
    patience: Duration,
    origin: Instant,
    last_millis: AtomicU64,
}

impl Heart {
    /// Notes that the loop has gone round.
    pub fn beat(&self) {
        self.last_millis.store(millis(self.origin.elapsed()), Ordering::Relaxed);
    }

    fn is_silent(&self, now: Instant) -> bool {
        let since_origin = millis(now.saturating_duration_since(self.origin));
        since_origin.saturating_sub(self.last_millis.load(Ordering::Relaxed)) > millis(self.patience)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The condition of one sink.
#[derive(Debug, Default)]
pub struct SinkStatus {
    name: String,
    cursor: AtomicU64,
    lag_records: AtomicU64,
    oldest_pending_millis: AtomicU64,
    trouble: Mutex<Option<String>>,
}

impl SinkStatus {
    /// The sink's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Notes how far the sink is: its cursor, the records behind the newest, and the age in
    /// seconds of the oldest record it has not settled.
    pub fn progress(&self, cursor: Position, lag_records: u64, oldest_pending_seconds: f64) {
        self.cursor.store(cursor.0, Ordering::Relaxed);
        self.lag_records.store(lag_records, Ordering::Relaxed);
        self.oldest_pending_millis.store((oldest_pending_seconds * 1e3) as u64, Ordering::Relaxed);
    }

    /// Notes trouble, with what it is.
    pub fn degraded(&self, trouble: String) {
        *held(&self.trouble) = Some(trouble);
    }

    /// Notes that the trouble is over.
    pub fn healthy(&self) {
        *held(&self.trouble) = None;
    }

    /// The end of the settled prefix.
    pub fn cursor(&self) -> Position {
        Position(self.cursor.load(Ordering::Relaxed))
    }

    /// Records behind the newest, selected or not.
    pub fn lag_records(&self) -> u64 {
        self.lag_records.load(Ordering::Relaxed)
    }

    /// Age in seconds of the oldest record that is not settled.
    pub fn oldest_pending_seconds(&self) -> f64 {
        self.oldest_pending_millis.load(Ordering::Relaxed) as f64 / 1e3
    }

    /// What is wrong, if anything is.
    pub fn trouble(&self) -> Option<String> {
        held(&self.trouble).clone()
    }
}

/// The condition of one source that goes and gets its deliveries.
#[derive(Debug, Default)]
pub struct SourceStatus {
    name: String,
    reached: AtomicBool,
    trouble: Mutex<Option<SourceTrouble>>,
}

/// The reason of a source that has no credentials to ask with.
pub const CREDENTIALS: &str = "credentials";

/// What keeps a source from getting its deliveries, or from settling them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceTrouble {
    /// A word from a fixed list.
    pub reason: &'static str,
    /// What is wrong and what to do. Holds no secret and no body.
    pub advice: String,
}

impl SourceStatus {
    /// The source's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Notes trouble.
    pub fn degraded(&self, trouble: SourceTrouble) {
        *held(&self.trouble) = Some(trouble);
    }

    /// Notes that nothing is wrong.
    pub fn healthy(&self) {
        *held(&self.trouble) = None;
    }

    /// Notes that deliveries could be got.
    pub fn reach(&self) {
        self.reached.store(true, Ordering::Relaxed);
    }

    /// Whether deliveries could be got at any time since the start.
    pub fn was_reached(&self) -> bool {
        self.reached.load(Ordering::Relaxed)
    }

    /// What is wrong, if anything is.
    pub fn trouble(&self) -> Option<SourceTrouble> {
        held(&self.trouble).clone()
    }
}

/// Every write replaces a whole value, so one that panicked half-way left a usable one behind.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_stops_going_round_is_named_and_forgiven_when_it_goes_on() {
        let health = Health::default();
        let heart = health.add_heart("dispatch lake", Duration::from_secs(30));
        let later = Instant::now() + Duration::from_secs(60);
        assert_eq!(health.hung(Instant::now()), None);
        assert_eq!(health.hung(later), Some("dispatch lake".into()));
        heart.last_millis.store(45_000, Ordering::Relaxed);
        assert_eq!(health.hung(later), None);
    }

    #[test]
    fn a_loop_that_has_ended_is_not_taken_for_hung() {
        let health = Health::default();
        drop(health.add_heart("dispatch lake", Duration::from_secs(30)));
        assert_eq!(health.hung(Instant::now() + Duration::from_secs(60)), None);
    }

    #[test]
    fn a_sink_in_trouble_says_so_until_it_is_over() {
        let health = Health::default();
        let status = health.add_sink("lake");
        status.progress(Position(7), 3, 1.5);
        status.degraded("unknown topic".into());
        assert_eq!(health.sinks()[0].trouble(), Some("unknown topic".into()));
        status.healthy();
        let seen = &health.sinks()[0];
        assert_eq!((seen.trouble(), seen.cursor(), seen.lag_records()), (None, Position(7), 3));
        assert_eq!(seen.oldest_pending_seconds(), 1.5);
    }
}
