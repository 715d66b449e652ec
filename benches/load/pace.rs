//! When the next request is due, and when there are no more.
//!
//! A closed loop is always due: every connection asks again as soon as it is answered, which finds
//! the most a server can do. An open loop is due at a fixed rate whatever the server does: a request
//! that has to wait for a free connection counts its wait, so a stall is seen by all whom it delays.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The bounds that all lanes share.
pub struct Bounds {
    /// The next event's number.
    next: AtomicU64,
    count_max: u64,
    started: Instant,
    ends: Instant,
}

impl Bounds {
    /// Ends after so many events or so much time, whichever is first.
    pub fn new(count_max: u64, time_max: Duration) -> Self {
        let started = Instant::now();
        Self { next: AtomicU64::new(0), count_max, started, ends: started + time_max }
    }

    /// When the run began.
    pub fn started(&self) -> Instant {
        self.started
    }

    fn take(&self, now: Instant) -> Option<u64> {
        if now >= self.ends {
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        (number < self.count_max).then_some(number)
    }
}

/// One lane's share of the schedule.
pub struct Pace<'a> {
    bounds: &'a Bounds,
    /// Time between two requests of an open loop.
    every: Option<Duration>,
    sent: u32,
    over: bool,
}

/// What a lane with a free connection should do.
pub enum Due {
    /// Send event `number`, which was due at this moment.
    Now(u64, Instant),
    /// Wait at most this long.
    In(Duration),
    /// There is nothing left to send.
    Never,
}

impl<'a> Pace<'a> {
    /// A lane that sends `per_second` requests a second, or as many as it can.
    pub fn new(bounds: &'a Bounds, per_second: Option<f64>) -> Self {
        let every = per_second.map(|rate| Duration::from_secs_f64(1.0 / rate));
        Self { bounds, every, sent: 0, over: false }
    }

    /// Asks for the next request.
    pub fn due(&mut self, now: Instant) -> Due {
        if self.over {
            return Due::Never;
        }
        let due = match self.every {
            Some(every) => self.bounds.started + every * self.sent,
            None => now,
        };
        if due > now {
            return Due::In(due - now);
        }
        match self.bounds.take(due) {
            Some(number) => {
                self.sent += 1;
                Due::Now(number, due)
            }
            None => {
                self.over = true;
                Due::Never
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_request_is_counted_from_when_it_was_due() {
        let bounds = Bounds::new(u64::MAX, Duration::from_secs(60));
        let mut pace = Pace::new(&bounds, Some(1000.0));
        let start = bounds.started();
        let stalled_until = start + Duration::from_millis(3);
        for number in 0..=3_u64 {
            let Due::Now(taken, due) = pace.due(stalled_until) else { panic!("number {number} is due") };
            assert_eq!((taken, due), (number, start + Duration::from_millis(number)));
        }
        assert!(matches!(pace.due(stalled_until), Due::In(wait) if wait == Duration::from_millis(1)));
    }

    #[test]
    fn a_bounded_run_ends_after_its_last_event_or_its_time() {
        let counted = Bounds::new(1, Duration::from_secs(60));
        let mut pace = Pace::new(&counted, None);
        assert!(matches!(pace.due(counted.started()), Due::Now(0, _)));
        assert!(matches!(pace.due(counted.started()), Due::Never));
        let timed = Bounds::new(u64::MAX, Duration::from_secs(1));
        assert!(matches!(Pace::new(&timed, None).due(timed.started() + Duration::from_secs(1)), Due::Never));
    }
}
