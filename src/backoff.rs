//! How long to wait before something that failed is tried again (pure).
//!
//! A wait doubles with each failure in a row up to a longest one. The schedules are here side by side, each
//! with the reason for its figures. A pause that does not grow is no schedule: it stands where it is made.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// Waits that double with each failure in a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// The first step.
    first: Duration,
    /// The bound of all steps.
    longest: Duration,
    /// The least part of a step that is waited, from 0 to 1; the rest is left to chance, so 1 means no
    /// randomness.
    least: f64,
}

/// A call of a source to its queue: 0.2, 0.4, 0.8, … 20 s. A service that is down for long is asked no more
/// often than by a long poll. Nine tenths of a step are left to chance, because replicas that failed together
/// must not try again together.
pub const SOURCE_CALL: Backoff =
    Backoff { first: Duration::from_millis(200), longest: Duration::from_secs(20), least: 0.1 };

/// A request of a sink to SNS: 20, 40, 80, 160, 320, 640, then 1,000 ms. The longest is below the two seconds
/// within which a recovered service has to be used again; half of each step is left to chance, so that the
/// lanes of one sink do not come back together.
pub const SNS_REQUEST: Backoff =
    Backoff { first: Duration::from_millis(20), longest: Duration::from_secs(1), least: 0.5 };

/// A held topic of any sink: 50, 100, 200, 400, 800, then 1,000 ms. The longest is below the two seconds
/// within which a recovered topic has to get records again; one batch probes the topic, so chance would
/// spread nothing.
pub const HELD_TOPIC: Backoff =
    Backoff { first: Duration::from_millis(50), longest: Duration::from_secs(1), least: 1.0 };

/// A write of the state after one that found no space: 250, 500, then 1,000 ms. Space that somebody freed is
/// used within a second; each attempt opens the file again, so even the first wait is long.
pub const STATE_SPACE: Backoff =
    Backoff { first: Duration::from_millis(250), longest: Duration::from_secs(1), least: 1.0 };

/// A question about a key that another replica has claimed: 2, 4, 8, … ms. The other replica stores the event
/// within a few milliseconds, or the append waits for 250 ms at most and goes on without an answer.
pub const CLAIMED_KEY: Backoff =
    Backoff { first: Duration::from_millis(2), longest: Duration::from_millis(250), least: 1.0 };

/// A segment that could not be read when it was to be verified: 1, 2, 4, … 60 s. Descriptors that were short
/// for a moment are there again after the first waits; a segment that stays unreadable is read for nothing
/// each time, and each time up to its fault.
pub const VERIFY_SEGMENT: Backoff =
    Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(60), least: 1.0 };

impl Backoff {
    /// The longest wait after this many failures in a row; 0 counts as 1.
    pub const fn step(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1);
        // Beyond 2^31 every schedule has reached its longest wait.
        let factor = if doublings < 31 { 1 << doublings } else { u32::MAX };
        let step = self.first.saturating_mul(factor);
        if step.as_nanos() < self.longest.as_nanos() { step } else { self.longest }
    }

    /// The wait after this many failures in a row, for a chance from 0 to 1.
    pub fn wait(&self, failures: u32, chance: f64) -> Duration {
        self.step(failures).mul_f64(self.least + (1.0 - self.least) * chance)
    }

    /// The wait after this many failures in a row, at random.
    pub fn random_wait(&self, failures: u32) -> Duration {
        self.wait(failures, RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Backoff; 6] =
        [SOURCE_CALL, SNS_REQUEST, HELD_TOPIC, STATE_SPACE, CLAIMED_KEY, VERIFY_SEGMENT];

    #[test]
    fn the_steps_of_each_schedule_are_the_ones_in_its_comment() {
        let steps = |backoff: Backoff| (1..=9).map(move |n| backoff.step(n).as_millis()).collect::<Vec<_>>();
        assert_eq!(steps(SOURCE_CALL), [200, 400, 800, 1600, 3200, 6400, 12_800, 20_000, 20_000]);
        assert_eq!(steps(SNS_REQUEST), [20, 40, 80, 160, 320, 640, 1000, 1000, 1000]);
        assert_eq!(steps(HELD_TOPIC), [50, 100, 200, 400, 800, 1000, 1000, 1000, 1000]);
        assert_eq!(steps(STATE_SPACE), [250, 500, 1000, 1000, 1000, 1000, 1000, 1000, 1000]);
        assert_eq!(steps(CLAIMED_KEY), [2, 4, 8, 16, 32, 64, 128, 250, 250]);
        let seconds = [1, 2, 4, 8, 16, 32, 60, 60, 60];
        assert_eq!(steps(VERIFY_SEGMENT), seconds.map(|seconds| seconds * 1000));
    }

    #[test]
    fn a_wait_lies_between_the_least_part_of_its_step_and_the_step_whatever_the_failures() {
        for backoff in ALL {
            assert_eq!(backoff.step(0), backoff.first);
            for failures in [0, 1, 5, 31, 32, 33, u32::MAX] {
                let step = backoff.step(failures);
                assert!(step >= backoff.first && step <= backoff.longest, "{backoff:?} {failures}");
                assert_eq!(backoff.wait(failures, 0.0), step.mul_f64(backoff.least));
                assert_eq!(backoff.wait(failures, 1.0), step);
                assert!(!backoff.wait(failures, 0.0).is_zero(), "a wait of nothing would spin");
            }
            assert_eq!(backoff.step(u32::MAX), backoff.longest);
        }
    }

    #[test]
    fn random_waits_differ_and_keep_to_their_step() {
        let waits: Vec<_> = (0..100).map(|_| SOURCE_CALL.random_wait(7)).collect();
        let step = SOURCE_CALL.step(7);
        assert!(waits.iter().all(|wait| *wait >= step / 10 && *wait <= step));
        assert!(waits.windows(2).any(|pair| pair[0] != pair[1]), "they differ");
    }
}
