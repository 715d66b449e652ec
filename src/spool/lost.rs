//! The positions that are known to be lost, so that each is counted once, however many readers find it.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// Lost positions, as ranges that neither overlap nor touch: first → last. There are no more ranges than
/// damaged stretches in the log.
#[derive(Debug, Default)]
pub(super) struct Lost(Mutex<BTreeMap<u64, u64>>);

impl Lost {
    /// Adds a range of positions and returns how many of them are new. Ranges before `kept` are forgotten,
    /// because no reader gets there again.
    pub(super) fn add(&self, range: &RangeInclusive<u64>, kept: u64) -> u64 {
        if range.is_empty() {
            return 0;
        }
        let mut ranges = self.0.lock();
        ranges.retain(|_, last| *last >= kept);
        let (mut first, mut last) = (*range.start(), *range.end());
        let mut known = 0;
        let touching: Vec<_> = ranges
            .range(..=last.saturating_add(1))
            .rev()
            .take_while(|(_, known_last)| known_last.saturating_add(1) >= first)
            .map(|(first, last)| (*first, *last))
            .collect();
        for (known_first, known_last) in touching {
            let shared = known_last.min(*range.end()) + 1;
            known += shared.saturating_sub(known_first.max(*range.start()));
            ranges.remove(&known_first);
            (first, last) = (first.min(known_first), last.max(known_last));
        }
        ranges.insert(first, last);
        range.end() - range.start() + 1 - known
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_position_is_new_once(ranges in prop::collection::vec((1..60_u64, 0..12_u64), 1..30)) {
            let (lost, mut expected) = (Lost::default(), BTreeSet::new());
            for (first, more) in ranges {
                let new = (first..=first + more).filter(|position| expected.insert(*position)).count();
                prop_assert_eq!(lost.add(&(first..=first + more), 0), new as u64);
            }
        }
    }

    #[test]
    fn what_is_pruned_is_forgotten() {
        let lost = Lost::default();
        assert_eq!((lost.add(&(3..=5), 0), lost.add(&(9..=9), 6)), (3, 1));
        assert_eq!(lost.0.lock().len(), 1);
    }
}
