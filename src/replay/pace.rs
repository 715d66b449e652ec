//! How many events a replay can send now (pure).

use std::time::Duration;

/// Most events of one batch, which is what a crash repeats at most.
pub(super) const BATCH_MAX: usize = 256;
/// Batches in a second, if the rate allows for so small ones.
const BATCHES_PER_SECOND: f64 = 10.0;

/// Lets so many events pass in a second, with no more than a batch at once.
#[derive(Debug)]
pub(super) struct ReplayPace {
    rate: f64,
    /// How many could be sent at the moment of `at`.
    allowed: f64,
    at: Duration,
}

impl ReplayPace {
    /// So many events in a second, from a moment on; moments are those of one steady clock.
    pub(super) fn new(rate: u32, now: Duration) -> Self {
        Self { rate: f64::from(rate.max(1)), allowed: 0.0, at: now }
    }

    /// How many events of a batch can be sent now, or how long to wait for the next batch.
    pub(super) fn allowed(&mut self, now: Duration) -> Result<usize, Duration> {
        self.allowed += now.saturating_sub(self.at).as_secs_f64() * self.rate;
        self.at = self.at.max(now);
        let batch = (self.rate / BATCHES_PER_SECOND).clamp(1.0, BATCH_MAX as f64);
        // What was not used while it waited for something else is not made up for.
        self.allowed = self.allowed.min(2.0 * batch);
        match self.allowed >= batch {
            true => Ok(batch as usize),
            false => Err(Duration::from_secs_f64((batch - self.allowed) / self.rate)),
        }
    }

    /// Takes off what was sent.
    pub(super) fn sent(&mut self, events: usize) {
        self.allowed -= events as f64;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_the_rate_it_is_kept_over_time(rate in 1..100_000_u32, took_us in 0..2000_u64) {
            let (mut now, mut sent) = (Duration::from_secs(7), 0_u64);
            let mut pace = ReplayPace::new(rate, now);
            let end = now + Duration::from_secs(20);
            while now < end {
                match pace.allowed(now) {
                    Ok(events) => {
                        prop_assert!((1..=BATCH_MAX).contains(&events));
                        pace.sent(events);
                        sent += events as u64;
                        now += Duration::from_micros(took_us);
                    }
                    Err(wait) => now += wait.max(Duration::from_nanos(1)),
                }
            }
            let whole = u64::from(rate) * 20;
            prop_assert!(sent <= whole + BATCH_MAX as u64, "{sent} of {whole}");
            let batches = 20_000_000_u64.checked_div(took_us);
            let possible = batches.map_or(whole, |batches| whole.min(batches * BATCH_MAX as u64));
            if took_us * u64::from(rate) < 200_000_000 {
                prop_assert!(sent * 100 + 100 * BATCH_MAX as u64 >= possible * 95, "{sent} of {possible}");
            }
        }
    }

    #[test]
    fn what_a_replay_could_not_send_while_it_waited_comes_not_all_at_once() {
        let mut pace = ReplayPace::new(1000, Duration::ZERO);
        let late = Duration::from_secs(3600);
        let mut sent = 0;
        while let Ok(events) = pace.allowed(late) {
            pace.sent(events);
            sent += events;
        }
        assert_eq!(sent, 200);
    }
}
