//! Publishes a dispatcher's metrics and its sink's health, and logs one line when the health changes.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytestring::ByteString;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::unreadable::Unreadable;
use super::unsettled::{HeldTopic, Unsettled};
use crate::event::{Position, Timestamp};
use crate::health::{HeldStatus, SinkStatus};
use crate::sink::reason::CauseKind;
use crate::sink::{self, Cause, Effort, Reason};
use crate::telemetry::{
    Episode, EpisodeNews, EpisodeStage, FloatGauge, LogLimit, Metrics, Shown, Sink, SinkReason,
};

/// How long a sink can report no outcome before it counts as degraded: longer than a healthy sink
/// ever takes, and shorter than an operator waits before looking.
pub const SILENCE_MAX: Duration = Duration::from_secs(10);
/// How long a sink can settle no record while a topic is held for what is [`CauseKind::Transient`].
/// Such a topic is probed within 50 ms, and a request takes less than the rest of the second.
const ACCIDENT_MAX: Duration = Duration::from_secs(1);
/// Number of failed probes of a topic after which its trouble counts as no accident, whatever other
/// topics do.
const PROBES_FAILED_MAX: u32 = 2;
/// Most held topics that the sink's health names: nobody reads more, and a template can name thousands.
const HELD_SHOWN_MAX: usize = 64;

/// One sink's metrics and health.
pub struct Gauges {
    name: String,
    lag: Gauge,
    oldest_pending: FloatGauge,
    in_flight: Gauge,
    degraded: Gauge,
    retries: Family<SinkReason, Counter>,
    requests_allowed: Family<Sink, Gauge>,
    dead_letters: Family<SinkReason, Counter>,
    missed: Counter,
    /// Position up to which records that were removed from the log unread are counted.
    missed_through: Position,
    /// Counts replayed events that the sink accepted.
    pub replayed: Counter,
    /// Counts published records that might have been published before.
    pub possible_duplicates: Counter,
    status: Arc<SinkStatus>,
    /// The time in which the spool cannot be read for the sink.
    pub unreadable: Unreadable,
    /// The time in which the sink is degraded, by the reason.
    trouble: Episode<&'static str>,
    log_limit: LogLimit,
}

impl Gauges {
    /// The metrics of the sink of this name, starting at their present values. The sink itself begins
    /// healthy: what was said of the one before says nothing about it.
    pub fn new(name: &str, metrics: &Metrics, status: Arc<SinkStatus>) -> Self {
        let sink = Sink { sink: name.to_owned() };
        status.healthy();
        status.hold(Vec::new());
        metrics.sink_degraded.get_or_create(&sink).set(0);
        // A sink of another kind might have none.
        metrics.sink_requests_allowed.remove(&sink);
        Self {
            name: name.to_owned(),
            lag: metrics.sink_lag.get_or_create(&sink).clone(),
            oldest_pending: metrics.sink_oldest_pending.get_or_create(&sink).clone(),
            in_flight: metrics.sink_in_flight.get_or_create(&sink).clone(),
            degraded: metrics.sink_degraded.get_or_create(&sink).clone(),
            retries: metrics.sink_retries.clone(),
            requests_allowed: metrics.sink_requests_allowed.clone(),
            dead_letters: metrics.dead_letters.clone(),
            missed: metrics.sink_missed.get_or_create(&sink).clone(),
            missed_through: Position(0),
            replayed: metrics.replay.replayed.get_or_create(&sink).clone(),
            possible_duplicates: metrics.possible_duplicates.get_or_create(&sink).clone(),
            status,
            unreadable: Unreadable::new(name),
            trouble: Episode::default(),
            log_limit: LogLimit::default(),
        }
    }

    /// Counts a record that has to be tried again.
    pub fn retry_later(&self, reason: &Reason) {
        self.retries.get_or_create(&self.labels(reason.word())).inc();
        if reason.cause.maybe_published() {
            self.possible_duplicates.inc();
        }
    }

    /// Counts a record that became a dead letter, and logs it, at a limited rate.
    pub fn dead_letter(&self, id: &ByteString, reason: &Reason) {
        self.dead_letters.get_or_create(&self.labels(reason.word())).inc();
        let Some(unsaid) = self.log_limit.admit(reason.word()) else { return };
        tracing::warn!(
            sink = self.name,
            id = %Shown(id),
            reason = reason.word(),
            detail = %Shown(&reason.detail),
            unsaid,
            "the sink rejected a record, which was kept as a dead letter: see `fanbridge dead list`"
        );
    }

    /// Counts records that were removed from the log before this sink read them, without waiting for
    /// the sink to get there: a stuck sink might not for long. Not called while a read is underway,
    /// which might still return them.
    pub fn given_up(&mut self, first: Position, read: Position) {
        let gone = Position(first.0.saturating_sub(1));
        let counted = self.missed_through.max(read);
        if gone > counted {
            self.missed(gone.0 - counted.0);
            self.missed_through = gone;
        }
    }

    /// Counts records that a reader at this position skips because they are not in the log, except
    /// those that [`Gauges::given_up`] has counted.
    pub fn passed(&self, read: Position, records: u64) {
        let counted = self.missed_through.0.saturating_sub(read.0);
        self.missed(records.saturating_sub(counted));
    }

    /// Counts and logs records that are no longer in the log, whether or not this sink selects them.
    fn missed(&self, records: u64) {
        if records == 0 {
            return;
        }
        self.missed.inc_by(records);
        if let Some(unsaid) = self.log_limit.admit("missed") {
            tracing::error!(
                sink = self.name,
                records,
                unsaid,
                "the sink skipped records that are no longer in the log: they were damaged, expired or \
                 pruned by a full spool"
            );
        }
    }

    /// Updates the sink's health; a change of it, or of the reason, is one log line. A sink is degraded
    /// when a topic is held for more than an accident, when the sink reports an obstacle, and when it has
    /// settled none of its records for `quiet`, if that is long.
    pub fn trouble(&mut self, unsettled: &Unsettled, quiet: Duration, sink: &dyn sink::Sink) {
        let held = unsettled.held().filter(|held| is_trouble(held, quiet));
        // Always the same one of several topics, so that the reported detail does not flicker.
        let held = held.min_by_key(|held| held.topic);
        let held = held.map(|held| (held.reason.word(), format!("{}: {}", held.topic, held.reason.detail)));
        let obstacle = || sink.obstacle().map(|obstacle| (obstacle.word(), obstacle.detail));
        let silence = || {
            let unknown = || format!("the sink has confirmed no record for {} s", quiet.as_secs());
            let detail = || sink.complaint().unwrap_or_else(unknown);
            (quiet >= SILENCE_MAX).then(|| (Cause::NO_ANSWER.word(), detail()))
        };
        let found = held.or_else(obstacle).or_else(silence);
        match found {
            Some((word, detail)) => self.degraded(word, &detail),
            None => self.healthy(),
        }
    }

    fn degraded(&mut self, reason: &'static str, detail: &str) {
        self.degraded.set(1);
        let (sink, shown) = (&*self.name, Shown(detail));
        match self.trouble.happens(reason, Instant::now()) {
            Some(EpisodeNews { stage: EpisodeStage::Begins, .. }) => tracing::warn!(
                sink,
                reason,
                detail = %shown,
                "the sink is degraded: its records are kept in the spool and tried again; the detail says why"
            ),
            Some(EpisodeNews { lasts, .. }) => tracing::warn!(
                sink,
                reason,
                seconds = lasts.as_secs(),
                detail = %shown,
                "the sink is still degraded, for another reason than before: the detail says why"
            ),
            None => {}
        }
        self.status.degraded(format!("{reason}: {detail}"));
    }

    fn healthy(&mut self) {
        let Some(end) = self.trouble.over(Instant::now()) else { return };
        self.degraded.set(0);
        self.status.healthy();
        tracing::info!(sink = self.name, seconds = end.seconds(), "the sink is healthy again");
    }

    /// Counts the records that the sink repeated by itself, and shows the number of requests allowed
    /// at once.
    pub fn effort(&self, effort: &Effort) {
        for (word, records) in &effort.repeated {
            self.retries.get_or_create(&self.labels(word)).inc_by(*records);
        }
        if let Some(requests) = effort.requests_allowed {
            let sink = Sink { sink: self.name.clone() };
            self.requests_allowed.get_or_create(&sink).set(i64::try_from(requests).unwrap_or(i64::MAX));
        }
    }

    /// Reports how far the sink is behind the newest record, in records and seconds, the number of records
    /// in flight, and the held topics. `now` is in the time of [`Unsettled::retry_later`].
    pub fn report(&self, unsettled: &Unsettled, head: Position, in_flight: usize, now: Duration) {
        let wall = Timestamp::from(SystemTime::now());
        let cursor = unsettled.cursor();
        let lag = head.0.saturating_sub(cursor.0);
        // A sink that is paused reads nothing.
        let unread = || (lag > 0).then(|| self.status.unread_since(cursor)).flatten();
        let oldest = unsettled.oldest_pending().or_else(unread);
        let age = oldest.map_or(0.0, |arrived| wall.seconds_since(arrived));
        self.lag.set(i64::try_from(lag).unwrap_or(i64::MAX));
        self.oldest_pending.set(age);
        self.in_flight.set(i64::try_from(in_flight).unwrap_or(i64::MAX));
        self.status.progress(cursor, lag, age);
        self.status.hold(held(unsettled, now, wall));
    }

    fn labels(&self, reason: &str) -> SinkReason {
        SinkReason { sink: self.name.clone(), reason: reason.to_owned() }
    }
}

/// The topics that are held, those that are held longest first.
fn held(unsettled: &Unsettled, now: Duration, wall: Timestamp) -> Vec<HeldStatus> {
    let nanos = |time: Duration| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
    let on_the_wall = |time: Duration| Timestamp(wall.0.saturating_add(nanos(time) - nanos(now)));
    let mut held: Vec<_> = unsettled.held().collect();
    held.sort_unstable_by_key(|held| (held.since, held.topic));
    held.truncate(HELD_SHOWN_MAX);
    let status = |held: HeldTopic<'_>| HeldStatus {
        topic: held.topic.to_owned(),
        reason: held.reason.word(),
        detail: held.reason.detail.clone(),
        since: on_the_wall(held.since),
        attempts: held.attempts,
        next: (held.retry_at > now).then(|| on_the_wall(held.retry_at)),
        first: held.first,
    };
    held.into_iter().map(status).collect()
}

/// Whether a topic is held for more than a passing reason or an accident.
fn is_trouble(held: &HeldTopic<'_>, quiet: Duration) -> bool {
    match held.reason.cause.kind() {
        CauseKind::Waiting => false,
        CauseKind::Transient => quiet >= ACCIDENT_MAX || held.probes_failed >= PROBES_FAILED_MAX,
        CauseKind::Lasting => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::BOUNDS;
    use crate::event::Record;
    use crate::sink::Publication;
    use crate::testing::events::event;

    /// Has no complaint and no obstacle.
    struct Unused;

    impl sink::Sink for Unused {
        fn publish(&self, _: Vec<Arc<Record>>) -> Publication {
            unreachable!("nothing is published here")
        }
    }

    /// What is said of a topic that is held for this reason after so many probes that failed.
    fn said(cause: Cause, quiet: Duration, probes_failed: u32) -> Option<String> {
        let status = crate::health::Health::default().add_sink("lake");
        let mut gauges = Gauges::new("lake", &Metrics::new(), Arc::clone(&status));
        let mut window = Unsettled::new(Position(0), BOUNDS);
        let record = Arc::new(Record { position: Position(1), topic: "t".into(), event: event("k").into() });
        window.admit(&record);
        let reason = Reason::new(cause, "d");
        window.retry_later(&record, &reason, Duration::ZERO, 0);
        for _ in 0..probes_failed {
            let now = window.next_retry(0).expect("the topic is held");
            let probe = window.due(now, 0, 1);
            window.published_again(&probe, 0);
            window.retry_later(&record, &reason, now, 0);
        }
        gauges.trouble(&window, quiet, &Unused);
        status.trouble()
    }

    #[test]
    fn a_held_topic_is_named_with_its_reason_its_first_record_and_its_next_attempt() {
        let status = crate::health::Health::default().add_sink("lake");
        let gauges = Gauges::new("lake", &Metrics::new(), Arc::clone(&status));
        let mut window = Unsettled::new(Position(0), BOUNDS);
        let record = |position| {
            let topic = format!("t{position}").into();
            Arc::new(Record { position: Position(position), topic, event: event("k").into() })
        };
        for position in 1..=100 {
            let record = record(position);
            window.admit(&record);
            let since = Duration::from_millis(position);
            window.retry_later(&record, &Reason::new(Cause::UNKNOWN_TOPIC, "d"), since, 1);
        }
        gauges.report(&window, Position(100), 0, Duration::from_millis(55));
        let held = status.held();
        assert_eq!(held.len(), HELD_SHOWN_MAX);
        let HeldStatus { topic, reason, detail, since, attempts, next, first } = &held[0];
        assert_eq!(
            (&**topic, *reason, &**detail, *attempts, *first),
            ("t1", "unknown_topic", "d", 1, Some(Position(1)))
        );
        assert_eq!(*next, None, "its backoff of 50 ms was over at 51 ms");
        assert_eq!(held[9].next.expect("it rests until 60 ms").0 - since.0, 59_000_000);

        for position in 1..=100 {
            window.settle(Position(position));
        }
        window.due(Duration::from_secs(1), 1, 1000);
        gauges.report(&window, Position(100), 0, Duration::from_secs(1));
        assert_eq!(status.held(), [], "they are not held any more");
    }

    #[test]
    fn what_a_sink_has_not_read_ages_until_its_cursor_moves() {
        let status = crate::health::Health::default().add_sink("lake");
        let gauges = Gauges::new("lake", &Metrics::new(), Arc::clone(&status));
        let mut window = Unsettled::new(Position(4), BOUNDS);
        let age = |window: &Unsettled, head| {
            gauges.report(window, Position(head), 0, Duration::ZERO);
            status.oldest_pending_seconds()
        };
        let now = Timestamp::from(SystemTime::now());
        status.leave_unread(Position(4), Timestamp(now.0 - 90_000_000_000));
        assert_eq!(age(&window, 4), 0.0, "nothing is behind the cursor");
        assert!(age(&window, 5) >= 90.0);
        window.read_through(Position(5));
        assert_eq!(age(&window, 6), 0.0, "what is behind this cursor is another entry");
    }

    #[test]
    fn what_a_sink_repeats_by_itself_is_counted_as_what_was_put_off_is() {
        let metrics = Metrics::new();
        let gauges = Gauges::new("lake", &metrics, crate::health::Health::default().add_sink("lake"));
        gauges.retry_later(&Reason::new(Cause::THROTTLED, ""));
        gauges.effort(&Effort { repeated: vec![("throttled", 3), ("failed", 1)], requests_allowed: Some(4) });
        gauges.effort(&Effort { repeated: vec![("failed", 2)], requests_allowed: None });
        let text = metrics.render();
        for line in [
            r#"fanbridge_sink_retries_total{sink="lake",reason="throttled"} 4"#,
            r#"fanbridge_sink_retries_total{sink="lake",reason="failed"} 3"#,
            r#"fanbridge_sink_requests_allowed{sink="lake"} 4"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn what_may_be_an_accident_is_no_trouble_until_it_lasts_or_happens_again() {
        for cause in [Cause::CLOCK, Cause::SERVICE_ERROR, Cause::TIMED_OUT, Cause::UNREACHABLE] {
            let word = cause.word();
            assert_eq!(said(cause, Duration::from_millis(999), 1), None, "{word}");
            assert_eq!(said(cause, ACCIDENT_MAX, 0), Some(format!("{word}: t: d")));
            assert_eq!(said(cause, Duration::ZERO, PROBES_FAILED_MAX), Some(format!("{word}: t: d")));
        }
    }

    #[test]
    fn what_will_not_pass_is_trouble_at_once() {
        assert_eq!(said(Cause::UNKNOWN_TOPIC, Duration::ZERO, 0), Some("unknown_topic: t: d".into()));
        assert_eq!(said(Cause::HELD, ACCIDENT_MAX, 5), None, "a record that only stood behind another");
    }
}
