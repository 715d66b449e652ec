//! The health of the process: each part of the bridge writes its own, the admin listener reads it.
//! There are no rules here: the reader decides whether a state is good enough.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::event::{Position, Timestamp};

/// The health of the whole bridge.
#[derive(Debug, Default)]
pub struct Health {
    started: AtomicBool,
    stopping: AtomicBool,
    handing_over: AtomicBool,
    sinks: Mutex<Vec<Arc<SinkStatus>>>,
    sources: Mutex<Vec<Arc<SourceStatus>>>,
    hearts: Mutex<Vec<Weak<Heart>>>,
}

impl Health {
    /// Marks the bridge as started: recovery is over and every part runs.
    pub fn start(&self) {
        self.started.store(true, Ordering::Relaxed);
    }

    /// Whether recovery is over and every part runs.
    pub fn is_started(&self) -> bool {
        self.started.load(Ordering::Relaxed)
    }

    /// Marks the bridge as stopping: it takes no more deliveries.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Marks the bridge as handing over: a new process has its listening sockets.
    pub fn hand_over(&self) {
        self.handing_over.store(true, Ordering::Relaxed);
    }

    /// Whether a new process has the bridge's listening sockets.
    pub fn is_handing_over(&self) -> bool {
        self.handing_over.load(Ordering::Relaxed)
    }

    /// Whether the bridge is shutting down.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Adds a sink, healthy and with its cursor at 0. One that is there already stays as it is.
    pub fn add_sink(&self, name: &str) -> Arc<SinkStatus> {
        let mut sinks = self.sinks.lock();
        if let Some(known) = sinks.iter().find(|sink| sink.name == name) {
            return Arc::clone(known);
        }
        let status = Arc::new(SinkStatus { name: name.to_owned(), ..SinkStatus::default() });
        sinks.push(Arc::clone(&status));
        status
    }

    /// Forgets a sink that was removed.
    pub fn remove_sink(&self, name: &str) {
        self.sinks.lock().retain(|sink| sink.name != name);
    }

    /// All sinks, in the configuration's order; those that were added to a running bridge are last.
    pub fn sinks(&self) -> Vec<Arc<SinkStatus>> {
        self.sinks.lock().clone()
    }

    /// The sink of this name.
    pub fn sink(&self, name: &str) -> Option<Arc<SinkStatus>> {
        self.sinks.lock().iter().find(|sink| sink.name == name).cloned()
    }

    /// Adds a polling source, which has not reached its queue yet.
    pub fn add_source(&self, name: &str) -> Arc<SourceStatus> {
        let status = Arc::new(SourceStatus::new(name));
        self.sources.lock().push(Arc::clone(&status));
        status
    }

    /// Replaces all polling sources by these.
    pub fn replace_sources(&self, sources: Vec<Arc<SourceStatus>>) {
        *self.sources.lock() = sources;
    }

    /// The polling sources, in the configuration's order.
    pub fn sources(&self) -> Vec<Arc<SourceStatus>> {
        self.sources.lock().clone()
    }

    /// Adds a loop that has to beat at least every `patience`, also while it waits. If it does not,
    /// the process counts as hung and is killed. Dropping the heart ends the watch.
    pub fn add_heart(&self, name: &str, patience: Duration) -> Arc<Heart> {
        let (origin, last_millis) = (Instant::now(), AtomicU64::new(0));
        let heart = Arc::new(Heart { name: name.to_owned(), patience, origin, last_millis });
        let mut hearts = self.hearts.lock();
        hearts.retain(|heart| heart.strong_count() > 0);
        hearts.push(Arc::downgrade(&heart));
        drop(hearts);
        heart
    }

    /// The name of a loop that has not beaten for longer than its `patience`, if there is one.
    pub fn hung(&self, now: Instant) -> Option<String> {
        let hearts = self.hearts.lock();
        hearts
            .iter()
            .filter_map(Weak::upgrade)
            .find(|heart| heart.is_silent(now))
            .map(|heart| heart.name.clone())
    }
}

/// The watch over one loop.
#[derive(Debug)]
pub struct Heart {
    name: String,
    patience: Duration,
    origin: Instant,
    last_millis: AtomicU64,
}

impl Heart {
    /// Shows that the loop is alive. Called in each round.
    pub fn beat(&self) {
        self.last_millis.store(millis(self.origin.elapsed()), Ordering::Relaxed);
    }

    fn is_silent(&self, now: Instant) -> bool {
        let since_origin = millis(now.saturating_duration_since(self.origin));
        since_origin.saturating_sub(self.last_millis.load(Ordering::Relaxed)) > millis(self.patience)
    }
}

/// Milliseconds of a duration.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The health of one sink.
#[derive(Debug, Default)]
pub struct SinkStatus {
    name: String,
    cursor: AtomicU64,
    lag_records: AtomicU64,
    oldest_pending_millis: AtomicU64,
    unread: Mutex<Option<(Position, Timestamp)>>,
    trouble: Mutex<Option<String>>,
    held: Mutex<Vec<HeldStatus>>,
    paused: Mutex<Option<PausedStatus>>,
}

/// Since when a sink is paused, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PausedStatus {
    /// When it was paused.
    pub since: Timestamp,
    /// The reason that was given. Contains no secret.
    pub reason: String,
}

/// A topic to which a sink publishes nothing new, because one of its records has to be tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldStatus {
    /// The topic's name.
    pub topic: String,
    /// The cause's word, from a fixed list.
    pub reason: &'static str,
    /// What is wrong. Contains no secret and no body.
    pub detail: String,
    /// When the topic began to be held.
    pub since: Timestamp,
    /// How often its records were tried.
    pub attempts: u32,
    /// When they are tried next; `None` while they are.
    pub next: Option<Timestamp>,
    /// The first record that waits, if one does.
    pub first: Option<Position>,
}

impl SinkStatus {
    /// Name from the configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sets the sink's cursor, its number of records behind the newest, and the age in seconds of the
    /// oldest record it has not settled.
    pub fn progress(&self, cursor: Position, lag_records: u64, oldest_pending_seconds: f64) {
        self.cursor.store(cursor.0, Ordering::Relaxed);
        self.lag_records.store(lag_records, Ordering::Relaxed);
        self.oldest_pending_millis.store((oldest_pending_seconds * 1e3) as u64, Ordering::Relaxed);
    }

    /// Sets when the entry behind this cursor arrived, which the sink has not read.
    pub fn leave_unread(&self, cursor: Position, arrived: Timestamp) {
        *self.unread.lock() = Some((cursor, arrived));
    }

    /// When the unread entry behind this cursor arrived, if somebody has looked.
    pub fn unread_since(&self, cursor: Position) -> Option<Timestamp> {
        let (behind, arrived) = (*self.unread.lock())?;
        (behind == cursor).then_some(arrived)
    }

    /// Marks the sink as degraded, with the reason and its detail.
    pub fn degraded(&self, trouble: String) {
        *self.trouble.lock() = Some(trouble);
    }

    /// Marks the sink as healthy.
    pub fn healthy(&self) {
        *self.trouble.lock() = None;
    }

    /// Sets the topics that are held.
    pub fn hold(&self, held: Vec<HeldStatus>) {
        *self.held.lock() = held;
    }

    /// The topics that are held, as they were reported last; not more than a few dozen of many.
    pub fn held(&self) -> Vec<HeldStatus> {
        self.held.lock().clone()
    }

    /// What the sink is doing, in one word: of several things the one that an operator has to know first.
    pub fn state(&self) -> &'static str {
        match () {
            () if self.paused.lock().is_some() => "paused",
            () if self.trouble.lock().is_some() => "degraded",
            () if !self.held.lock().is_empty() => "held",
            () if self.lag_records() > 0 => "delivering",
            () => "idle",
        }
    }

    /// Sets whether the sink is paused.
    pub fn pause(&self, paused: Option<PausedStatus>) {
        *self.paused.lock() = paused;
    }

    /// Since when the sink is paused, if it is.
    pub fn paused(&self) -> Option<PausedStatus> {
        self.paused.lock().clone()
    }

    /// The end of the settled prefix.
    pub fn cursor(&self) -> Position {
        Position(self.cursor.load(Ordering::Relaxed))
    }

    /// Number of records behind the newest, whether or not the sink selects them.
    pub fn lag_records(&self) -> u64 {
        self.lag_records.load(Ordering::Relaxed)
    }

    /// Age in seconds of the oldest record that is not settled.
    pub fn oldest_pending_seconds(&self) -> f64 {
        self.oldest_pending_millis.load(Ordering::Relaxed) as f64 / 1e3
    }

    /// The reason and detail of a degraded sink, `None` for a healthy one.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().clone()
    }
}

/// The health of one polling source.
#[derive(Debug, Default)]
pub struct SourceStatus {
    name: String,
    reached: AtomicBool,
    trouble: Mutex<Option<SourceTrouble>>,
}

/// What keeps a polling source from receiving or deleting messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceTrouble {
    /// Reason from a fixed list, for metrics and log.
    pub reason: &'static str,
    /// The problem and what to do about it. Contains no secret and no body.
    pub advice: String,
    /// Whether the problem is that there are no AWS credentials, or that the service refuses them.
    pub lacks_credentials: bool,
}

impl SourceStatus {
    /// A source that has not reached its queue yet.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// Name from the configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Marks the source as degraded.
    pub fn degraded(&self, trouble: SourceTrouble) {
        *self.trouble.lock() = Some(trouble);
    }

    /// Marks the source as healthy.
    pub fn healthy(&self) {
        *self.trouble.lock() = None;
    }

    /// Notes that the source reached its queue.
    pub fn reach(&self) {
        self.reached.store(true, Ordering::Relaxed);
    }

    /// Whether the source has reached its queue since the start.
    pub fn was_reached(&self) -> bool {
        self.reached.load(Ordering::Relaxed)
    }

    /// The problem of a degraded source, `None` for a healthy one.
    pub fn trouble(&self) -> Option<SourceTrouble> {
        self.trouble.lock().clone()
    }
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
        assert_eq!(status.state(), "idle");
        status.progress(Position(7), 3, 1.5);
        assert_eq!(status.state(), "delivering");
        status.degraded("unknown topic".into());
        assert_eq!((health.sinks()[0].trouble(), status.state()), (Some("unknown topic".into()), "degraded"));
        status.healthy();
        let seen = &health.sinks()[0];
        assert_eq!((seen.trouble(), seen.cursor(), seen.lag_records()), (None, Position(7), 3));
        assert_eq!(seen.oldest_pending_seconds(), 1.5);
    }
}
