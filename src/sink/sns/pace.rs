//! The number of requests to SNS that are allowed at once (pure): fewer when the service throttles,
//! more again while it accepts what it is sent.
//!
//! Additive increase, multiplicative decrease: a throttled request halves the number and pauses all
//! lanes, without counting as a failure of its records; each request that succeeds raises the number
//! by its inverse, that is by one per full round.

use std::time::{Duration, Instant};

use crate::backoff::SNS_REQUEST;

/// How long the service can throttle before the sink counts as degraded: a burst is over by then.
const THROTTLED_MAX: Duration = Duration::from_secs(5);
/// How long the service must not have throttled for the sink to be healthy again. Longer than the
/// longest rest plus a request.
const CALM: Duration = Duration::from_secs(3);

/// The pace of one sink's requests.
#[derive(Debug)]
pub(super) struct Pace {
    max: f64,
    /// Number of requests allowed at once; the fraction is progress towards the next one.
    limit: f64,
    out: usize,
    /// No request leaves before this moment.
    pause: Option<Instant>,
    /// When the limit was last halved. A request that left before was not yet subject to it.
    cut: Option<Instant>,
    /// Number of times the limit was halved since the last success.
    cuts: u32,
    /// When the service first and last throttled, without a calm of [`CALM`] in between.
    throttled: Option<(Instant, Instant)>,
    jitter: u64,
}

impl Pace {
    /// Starts at the maximum. `seed` makes the rests differ between sinks and replicas.
    pub fn new(requests_max: usize, seed: u64) -> Self {
        let max = requests_max.max(1) as f64;
        Self { max, limit: max, out: 0, pause: None, cut: None, cuts: 0, throttled: None, jitter: seed | 1 }
    }

    /// Whether another request is allowed to leave now.
    pub fn allows(&self, now: Instant) -> bool {
        self.has_room() && self.pause.is_none_or(|until| until <= now)
    }

    /// When to ask again for a request that could leave at `wanted`; `None` if a request has to
    /// return first.
    pub fn allows_at(&self, wanted: Instant) -> Option<Instant> {
        self.has_room().then(|| self.pause.map_or(wanted, |until| until.max(wanted)))
    }

    fn has_room(&self) -> bool {
        self.out < self.allowed()
    }

    /// Counts a request that leaves.
    pub fn depart(&mut self) {
        self.out += 1;
    }

    /// Counts a request that has returned.
    pub fn come_back(&mut self) {
        self.out -= 1;
    }

    /// Raises the limit after a request that succeeded.
    pub fn grow(&mut self) {
        self.cuts = 0;
        self.limit = (self.limit + 1.0 / self.limit).min(self.max);
    }

    /// Halves the limit because a request that left at `departed` shows that the service is
    /// overloaded. Requests that left before the last cut do not count again.
    pub fn cut(&mut self, departed: Instant, now: Instant) {
        if self.cut.is_some_and(|cut| departed <= cut) {
            return;
        }
        self.cut = Some(now);
        self.cuts = self.cuts.saturating_add(1);
        self.limit = (self.limit / 2.0).max(1.0);
    }

    /// Number of requests allowed at once.
    pub fn allowed(&self) -> usize {
        self.limit as usize
    }

    /// Whether the service has throttled for [`THROTTLED_MAX`] and still does.
    pub fn is_throttled(&self, now: Instant) -> bool {
        let throttled = self.throttled.filter(|(_, last)| now.saturating_duration_since(*last) < CALM);
        throttled.is_some_and(|(first, _)| now.saturating_duration_since(first) >= THROTTLED_MAX)
    }

    /// Notes that the service throttles: no request leaves for a rest that grows with each cut.
    pub fn pause(&mut self, now: Instant) {
        let before = self.throttled.filter(|(_, last)| now.saturating_duration_since(*last) < CALM);
        self.throttled = Some((before.map_or(now, |(first, _)| first), now));
        let until = now + self.rest(self.cuts);
        self.pause = Some(self.pause.map_or(until, |before| before.max(until)));
    }

    /// How long to rest after the nth failure in a row: between half of its step and the whole.
    pub fn rest(&mut self, failures: u32) -> Duration {
        // Xorshift: enough for rests that do not fall together.
        self.jitter ^= self.jitter << 13;
        self.jitter ^= self.jitter >> 7;
        self.jitter ^= self.jitter << 17;
        SNS_REQUEST.wait(failures, (self.jitter >> 11) as f64 / (1_u64 << 53) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throttling_halves_the_requests_once_for_all_that_left_before_it() {
        let (mut pace, start) = (Pace::new(16, 7), Instant::now());
        let later = |millis| start + Duration::from_millis(millis);
        for _ in 0..16 {
            pace.depart();
            pace.cut(start, later(1));
        }
        assert_eq!(pace.limit, 8.0);
        pace.cut(later(1), later(2));
        assert_eq!(pace.limit, 8.0, "what left by the time of the cut knows nothing of it");
        pace.cut(later(2), later(3));
        assert_eq!(pace.limit, 4.0);
        (4..20).for_each(|millis| pace.cut(later(millis), later(millis)));
        assert_eq!(pace.limit, 1.0, "never none at all");
    }

    #[test]
    fn each_full_round_of_successes_allows_one_more_up_to_the_maximum() {
        let (mut pace, now) = (Pace::new(8, 7), Instant::now());
        pace.cut(now, now);
        (0..4).for_each(|_| pace.grow());
        assert!((4.8..5.1).contains(&pace.limit), "{}", pace.limit);
        (0..1000).for_each(|_| pace.grow());
        assert_eq!(pace.limit, 8.0);
    }

    #[test]
    fn nothing_leaves_in_a_pause_or_beyond_the_limit() {
        let (mut pace, now) = (Pace::new(2, 7), Instant::now());
        pace.depart();
        assert!(pace.allows(now));
        pace.cut(now, now);
        assert!(!pace.allows(now));
        assert_eq!(pace.allows_at(now), None, "only a request that comes back makes room");
        pace.come_back();
        pace.pause(now);
        assert!(!pace.allows(now));
        let again = pace.allows_at(now).expect("the pause ends");
        assert!(again > now && again <= now + SNS_REQUEST.step(1) && pace.allows(again));
    }

    #[test]
    fn a_service_is_throttling_once_it_has_gone_on_for_long_and_until_it_is_calm() {
        let (mut pace, start) = (Pace::new(16, 7), Instant::now());
        let after = |millis| start + Duration::from_millis(millis);
        (0..=4).for_each(|second| pace.pause(after(second * 1000)));
        assert!(!pace.is_throttled(after(4999)), "a burst");
        assert!(pace.is_throttled(after(5000)));
        assert!(!pace.is_throttled(after(7000)), "calm for 3 s");
        pace.pause(after(7000));
        assert!(!pace.is_throttled(after(7001)), "another burst");
    }

    #[test]
    fn a_rest_doubles_with_each_failure_up_to_a_second_and_is_never_twice_the_same() {
        let mut pace = Pace::new(1, 7);
        for failures in 1..40 {
            let step = SNS_REQUEST.step(failures);
            let (one, other) = (pace.rest(failures), pace.rest(failures));
            assert!(one != other && one >= step / 2 && one <= step && other <= step, "{failures}: {one:?}");
        }
    }
}
