//! When to read again (pure): at once while little comes, and once in a while when much comes.
//!
//! A batch costs a sink and its brokers nearly the same whether it has one record or a hundred, and no answer
//! to a provider waits for a sink. So while many events come, a dispatcher that has caught up with the log
//! lets more of them come before it reads again. While many come and few of them are for its sink, only the
//! reading costs something, and it lets more come for a moment. An event that comes alone waits for nothing.

use std::time::Duration;

use crate::spool::options::TAIL_BYTES_MAX;

/// Records, or entries of the log, in the longest wait from which on it pays to wait: 1,280 a second for
/// 50 ms.
const COUNT_MIN: f64 = 64.0;
/// Longest wait while many entries come and few of them are for the sink: 200 reads a second cost little.
const FEW_FOR_SINK: Duration = Duration::from_millis(5);
/// Most records to let come: half of what may be unsettled.
const RECORDS_MAX: f64 = super::BOUNDS.records_max as f64 / 2.0;
/// Most bytes to let come: a quarter of what the log keeps in memory for readers.
const BYTES_MAX: f64 = TAIL_BYTES_MAX as f64 / 4.0;

/// How many events came lately, and how long to wait for more.
#[derive(Debug)]
pub(super) struct Linger {
    longest: Duration,
    /// What was read since this time, and how long to go on counting.
    since: Duration,
    counts_for: Duration,
    came: Came,
    /// Whether so many came in the time before that it pays to wait.
    pays: bool,
}

/// What a dispatcher read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Came {
    /// Entries of the log.
    pub(super) entries: usize,
    /// Bytes of their bodies.
    pub(super) bytes: usize,
    /// Records for the sink, which some of the entries became.
    pub(super) records: usize,
}

impl Linger {
    /// Waits `longest` at most; zero for never.
    pub(super) fn new(longest: Duration) -> Self {
        Self { longest, since: Duration::ZERO, counts_for: longest, came: Came::default(), pays: false }
    }

    /// Counts what was read at `now`. All times are since the dispatcher was started.
    pub(super) fn read(&mut self, came: Came, now: Duration) {
        self.came.entries += came.entries;
        self.came.bytes += came.bytes;
        self.came.records += came.records;
        let counted = now.saturating_sub(self.since);
        if counted < self.counts_for {
            return;
        }
        let seconds = counted.as_secs_f64().max(1e-6);
        let per_second = |count: usize| count as f64 / seconds;
        let many = |count: usize| per_second(count) * self.longest.as_secs_f64() >= COUNT_MIN;
        let few_for_sink = !many(self.came.records);
        self.pays = many(self.came.entries) || !few_for_sink;
        let longest = if self.pays && few_for_sink { self.longest.min(FEW_FOR_SINK) } else { self.longest };
        let wait = longest.as_secs_f64();
        let wait = wait.min(RECORDS_MAX / per_second(self.came.records));
        let wait = wait.min(BYTES_MAX / per_second(self.came.bytes));
        (self.counts_for, self.since) = (Duration::from_secs_f64(wait), now);
        self.came = Came::default();
    }

    /// How long to wait before the next read, once the log is read to its head.
    pub(super) fn pause(&self, now: Duration) -> Duration {
        let until = if self.pays { self.since + self.counts_for } else { Duration::ZERO };
        until.saturating_sub(now)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LONGEST: Duration = Duration::from_millis(50);

    /// So many entries, of so many bytes each, that are all for the sink.
    fn all_for_the_sink(entries: usize, bytes: usize) -> Came {
        Came { entries, bytes: entries * bytes, records: entries }
    }

    /// Reads for two seconds as a dispatcher does that always catches up, while so many events of so many
    /// bytes come each millisecond. Returns the number of reads in the second one, and the largest.
    fn reads(linger: &mut Linger, each: usize, bytes: usize) -> (usize, usize) {
        let (mut count, mut largest, mut waiting, mut next) = (0, 0, 0, Duration::ZERO);
        for now in (1..=2000).map(Duration::from_millis) {
            waiting += each;
            if now >= next {
                linger.read(all_for_the_sink(waiting, bytes), now);
                if now > Duration::from_secs(1) {
                    (count, largest) = (count + 1, largest.max(waiting));
                }
                waiting = 0;
                next = now + linger.pause(now);
            }
        }
        (count, largest)
    }

    #[test]
    fn while_few_events_come_each_is_read_at_once() {
        let mut linger = Linger::new(LONGEST);
        let (count, largest) = reads(&mut linger, 1, 1000);
        assert_eq!((count, largest), (1000, 1), "a thousand a second");
    }

    #[test]
    fn while_many_come_they_are_read_once_in_the_longest_wait() {
        let mut linger = Linger::new(LONGEST);
        let (count, largest) = reads(&mut linger, 20, 1000);
        assert!((19..=21).contains(&count), "{count} reads in a second");
        assert!(largest <= 20 * 51, "{largest}");
    }

    #[test]
    fn large_events_are_read_before_they_leave_the_memory_of_the_log() {
        let mut linger = Linger::new(LONGEST);
        let (_, largest) = reads(&mut linger, 20, 16 << 10);
        assert!(largest * (16 << 10) <= (2 << 20) + 20 * (16 << 10), "{largest}");
    }

    #[test]
    fn no_more_are_let_come_than_half_of_what_may_be_unsettled() {
        let (_, largest) = reads(&mut Linger::new(LONGEST), 100, 100);
        assert!((3900..=4200).contains(&largest), "{largest}");
    }

    #[test]
    fn it_pays_from_64_events_in_the_longest_wait_on() {
        let (count, _) = reads(&mut Linger::new(LONGEST), 2, 1000);
        assert!(count < 30, "100 events in 50 ms: {count} reads in a second");
    }

    #[test]
    fn the_first_event_after_a_pause_is_read_at_once_and_so_are_those_that_follow_it_alone() {
        let mut linger = Linger::new(LONGEST);
        reads(&mut linger, 40, 1000);
        let later = Duration::from_secs(9);
        assert_eq!(linger.pause(later), Duration::ZERO);
        linger.read(all_for_the_sink(1, 1000), later);
        assert_eq!(linger.pause(later), Duration::ZERO);
    }

    #[test]
    fn while_many_come_and_few_of_them_for_the_sink_they_are_read_every_five_milliseconds() {
        for for_sink in [0, 1] {
            let (mut linger, mut reads, mut next) = (Linger::new(LONGEST), 0, Duration::ZERO);
            let (mut entries, mut records) = (0, 0);
            for now in (1..=1000).map(Duration::from_millis) {
                entries += 20;
                records += usize::from(now.as_millis() % 10 == 0) * for_sink;
                if now >= next {
                    linger.read(Came { entries, bytes: entries * 1000, records }, now);
                    (reads, entries, records) = (reads + 1, 0, 0);
                    next = now + linger.pause(now);
                }
            }
            assert!((200..=250).contains(&reads), "{reads} reads in a second");
        }
    }

    #[test]
    fn without_a_wait_nothing_waits() {
        let mut linger = Linger::new(Duration::ZERO);
        let (count, _) = reads(&mut linger, 100, 1000);
        assert_eq!(count, 1000);
    }

    proptest! {
        #[test]
        fn no_event_waits_longer_than_the_longest_wait(
            steps in
                prop::collection::vec((0..400_u64, 0..5000_usize, 0..5000_usize, 0..2_000_000_usize), 1..200),
        ) {
            let (mut linger, mut now) = (Linger::new(LONGEST), Duration::ZERO);
            for (passed, records, others, bytes) in steps {
                now += Duration::from_millis(passed);
                linger.read(Came { entries: records + others, bytes, records }, now);
                prop_assert!(linger.pause(now) <= LONGEST);
            }
        }
    }
}
