//! How fast what is counted grows, from the counts that earlier requests have seen.
//!
//! Nothing runs for it: each request that shows a rate remembers what it has read. So a rate is that of the
//! last minute for whoever asks again and again, and of the time since the last request, or since the start,
//! for whoever asks once. The answer says over which time.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The time over which a rate is given to whoever asks often.
const OVER: Duration = Duration::from_secs(60);
/// Shortest time between two counts that are remembered, so that many readers need no more memory.
const REMEMBER_EVERY: Duration = Duration::from_secs(1);

/// What is counted: the metric, and the name of the source or sink.
pub(super) type CountsRead = BTreeMap<String, f64>;

/// The counts of the last minute.
#[derive(Debug)]
pub(in crate::admin) struct RecentCounts(Mutex<VecDeque<(Instant, CountsRead)>>);

/// The counts between which rates are taken, oldest first; the last ones are those of now.
#[derive(Debug)]
pub(super) struct RateWindow(Vec<(Instant, CountsRead)>);

impl RecentCounts {
    /// Nothing was counted before this moment.
    pub(in crate::admin) fn since(start: Instant) -> Self {
        Self(Mutex::new([(start, CountsRead::new())].into()))
    }

    /// Remembers the counts of now, and returns those of the last minute.
    pub(super) fn with(&self, now: Instant, counted: CountsRead) -> RateWindow {
        let mut recent = self.0.lock();
        // The newest that is older than the time stays, so that the time is covered.
        while recent.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= OVER) {
            recent.pop_front();
        }
        let mut window: Vec<_> = recent.iter().cloned().collect();
        if recent.back().is_none_or(|(at, _)| now.duration_since(*at) >= REMEMBER_EVERY) {
            recent.push_back((now, counted.clone()));
        }
        window.push((now, counted));
        RateWindow(window)
    }
}

impl RateWindow {
    /// The time over which rates are taken.
    pub(super) fn seconds(&self) -> f64 {
        between(self.0.first(), self.0.last())
    }

    /// How much a count grew in a second. What was not counted in the beginning began at 0.
    pub(super) fn per_second(&self, name: &str) -> f64 {
        let (Some(first), Some(last)) = (self.0.first(), self.0.last()) else { return 0.0 };
        let of = |counted: &CountsRead| counted.get(name).copied().unwrap_or_default();
        let seconds = self.seconds();
        if seconds > 0.0 { ((of(&last.1) - of(&first.1)) / seconds).max(0.0) } else { 0.0 }
    }

    /// How much a level rose in a second, from the first time that it was known; `None` if it is known once.
    pub(super) fn rises_per_second(&self, name: &str) -> Option<f64> {
        let mut known = self.0.iter().filter_map(|(at, counted)| Some((*at, *counted.get(name)?)));
        let (first, last) = (known.next()?, known.next_back()?);
        let seconds = last.0.duration_since(first.0).as_secs_f64();
        (seconds > 0.0).then(|| ((last.1 - first.1) / seconds).max(0.0))
    }

    /// How fast a level falls in a second, if it does so in the first half of the time and in the second;
    /// `None` if it does not, or if it is not known for long enough. A level that goes up and down is not
    /// falling.
    pub(super) fn falls_per_second(&self, name: &str) -> Option<f64> {
        let known: Vec<(Instant, f64)> =
            self.0.iter().filter_map(|(at, counted)| Some((*at, *counted.get(name)?))).collect();
        let (first, last) = (known.first()?, known.last()?);
        let half = known.get(known.len() / 2).filter(|_| known.len() > 2)?;
        let fall = |from: &(Instant, f64), to: &(Instant, f64)| {
            let seconds = to.0.duration_since(from.0).as_secs_f64();
            (from.1 - to.1) / seconds
        };
        let slower = fall(first, half).min(fall(half, last));
        (slower.is_finite() && slower > 0.0).then_some(slower)
    }
}

fn between(first: Option<&(Instant, CountsRead)>, last: Option<&(Instant, CountsRead)>) -> f64 {
    let (Some((first, _)), Some((last, _))) = (first, last) else { return 0.0 };
    last.duration_since(*first).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(delivered: f64) -> CountsRead {
        [("delivered".to_owned(), delivered)].into()
    }

    #[test]
    fn who_asks_once_gets_the_rate_since_the_start_and_who_asks_often_that_of_the_last_minute() {
        let start = Instant::now();
        let recent = RecentCounts::since(start);
        let at = |seconds| start + Duration::from_secs(seconds);
        let once = recent.with(at(100), counted(1000.0));
        assert_eq!((once.per_second("delivered"), once.seconds()), (10.0, 100.0));
        // From now on nothing more is delivered.
        for second in 101..300 {
            let often = recent.with(at(second), counted(1000.0));
            assert!(often.seconds() <= 100.0 + OVER.as_secs_f64(), "{}", often.seconds());
            assert!(second < 161 || often.per_second("delivered") == 0.0, "at {second} s");
        }
        assert!(recent.0.lock().len() <= OVER.as_secs() as usize + 2);
        let last = recent.with(at(301), counted(1000.0));
        assert_eq!((last.per_second("unknown"), last.rises_per_second("unknown")), (0.0, None));
    }

    #[test]
    fn what_was_there_before_the_start_is_no_growth() {
        let start = Instant::now();
        let recent = RecentCounts::since(start);
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(recent.with(at(10), counted(5e6)).rises_per_second("delivered"), None);
        assert_eq!(recent.with(at(20), counted(5e6 + 50.0)).rises_per_second("delivered"), Some(5.0));
    }

    #[test]
    fn a_thousand_readers_a_second_are_remembered_as_one() {
        let start = Instant::now();
        let recent = RecentCounts::since(start);
        for millis in 0..5000 {
            recent.with(start + Duration::from_millis(millis), counted(0.0));
        }
        assert!(recent.0.lock().len() <= 6);
    }

    #[test]
    fn a_level_that_goes_up_and_down_does_not_fall() {
        let start = Instant::now();
        let falls = |levels: &[f64]| {
            let recent = RecentCounts::since(start);
            let levels = levels.iter().zip(1..);
            let windows =
                levels.map(|(level, s)| recent.with(start + Duration::from_secs(s), counted(*level)));
            windows.last().and_then(|window| window.falls_per_second("delivered"))
        };
        assert_eq!(falls(&[100.0, 90.0, 80.0, 70.0, 60.0]), Some(10.0));
        assert_eq!(falls(&[100.0, 40.0, 100.0, 40.0]), None);
        assert_eq!(falls(&[100.0, 100.0, 40.0]), None, "once is no trend");
        assert_eq!(falls(&[100.0, 40.0]), None);
        assert_eq!(falls(&[40.0, 100.0, 200.0]), None);
    }
}
