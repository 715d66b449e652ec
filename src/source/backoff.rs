//! The wait before a failed call of a source is tried again.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// Longest wait after the first failure.
const FIRST: Duration = Duration::from_millis(200);
/// Longest wait after any number of failures.
const LONGEST: Duration = Duration::from_secs(20);

/// The wait after this many failures in a row. It is random, so that callers that failed together do not
/// try again together: between a tenth and the whole of a bound that doubles with each failure.
pub(super) fn backoff(failures: u32) -> Duration {
    let dice = RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64;
    within(bound(failures), dice)
}

fn bound(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    (FIRST * (1 << doublings)).min(LONGEST)
}

/// The wait below this bound for a random number from 0 to 1.
fn within(bound: Duration, dice: f64) -> Duration {
    bound.mul_f64(0.1 + 0.9 * dice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_their_bound_and_are_never_nothing() {
        assert_eq!([0, 1, 2, 3].map(|failures| bound(failures).as_millis()), [200, 200, 400, 800]);
        assert_eq!(bound(8), LONGEST);
        assert_eq!(bound(u32::MAX), LONGEST);
        assert_eq!(within(FIRST, 0.0), FIRST / 10);
        assert_eq!(within(LONGEST, 1.0), LONGEST);
        let waits: Vec<_> = (0..100).map(|_| backoff(7)).collect();
        assert!(waits.iter().all(|wait| *wait >= LONGEST / 20 && *wait <= LONGEST));
        assert!(waits.windows(2).any(|pair| pair[0] != pair[1]), "they differ");
    }
}
