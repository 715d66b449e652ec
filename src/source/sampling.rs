//! Hands a few of the accepted events on, from which the shapes of their types are learnt.
//!
//! This is on the way of every event, and so does little: an event that is not sampled costs two loads and a
//! hash, and one that is costs a place in a bounded queue. Nobody waits; a sample that finds the queue full
//! is dropped and counted. The event is shared, so no body is copied.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use foldhash::fast::FixedState;
use prometheus_client::metrics::counter::Counter;
use tokio::sync::mpsc;

use crate::event::Event;

/// Events that wait to be learnt from.
const QUEUE_MAX: usize = 64;
/// A larger body is no sample, which bounds what the queue keeps in memory (256 KiB).
const BODY_BYTES_MAX: usize = 256 << 10;
/// Events of each type that are sampled in any case.
const FIRST_OF_TYPE: u8 = 50;
/// Of those, most in a second, over all types.
const FIRST_A_SECOND: u16 = 200;
/// Most further samples in a second, over all types.
const LATER_A_SECOND: u16 = 5;
/// Types are told apart by a hash; two that share one share the number of their first samples.
const SLOTS: usize = 4096;
/// Arrivals of so many seconds ago belong to the present second; beyond that, a clock was set back.
const LATE_SECONDS: u32 = 60;

/// Samples accepted events. The default one takes none.
#[derive(Clone, Debug, Default)]
pub struct Sampler(Option<Arc<Sampling>>);

#[derive(Debug)]
struct Sampling {
    queue: mpsc::Sender<Arc<Event>>,
    /// How many events of each type were sampled, up to those that are in any case.
    first: Box<[AtomicU8]>,
    /// See [`Spent`].
    spent: AtomicU64,
    dropped: Counter,
}

/// What was sampled within a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Spent {
    second: u32,
    first: u16,
    later: u16,
}

impl Spent {
    fn of(packed: u64) -> Self {
        Self { second: (packed >> 32) as u32, first: (packed >> 16) as u16, later: packed as u16 }
    }

    fn packed(self) -> u64 {
        u64::from(self.second) << 32 | u64::from(self.first) << 16 | u64::from(self.later)
    }

    /// What is spent as of this second.
    fn at(self, second: u32) -> Self {
        let is_late = self.second.checked_sub(second).is_some_and(|late| late <= LATE_SECONDS);
        if is_late { self } else { Self { second, first: 0, later: 0 } }
    }

    fn is_exhausted(self) -> bool {
        self.first >= FIRST_A_SECOND && self.later >= LATER_A_SECOND
    }

    /// One more sample, if there may be one.
    fn one_more(self, is_first: bool) -> Option<Self> {
        match is_first {
            true if self.first < FIRST_A_SECOND => Some(Self { first: self.first + 1, ..self }),
            false if self.later < LATER_A_SECOND => Some(Self { later: self.later + 1, ..self }),
            _ => None,
        }
    }
}

impl Sampler {
    /// A sampler, and the queue of what it takes. Samples that find no place in it are counted.
    pub fn new(dropped: Counter) -> (Self, mpsc::Receiver<Arc<Event>>) {
        let (queue, samples) = mpsc::channel(QUEUE_MAX);
        let first = (0..SLOTS).map(|_| AtomicU8::new(0)).collect();
        let sampling = Sampling { queue, first, spent: AtomicU64::new(0), dropped };
        (Self(Some(Arc::new(sampling))), samples)
    }

    /// Shows an accepted event to the sampler.
    pub fn show(&self, event: &Arc<Event>) {
        let Some(sampling) = &self.0 else { return };
        if sampling.wants(event) && sampling.queue.try_send(Arc::clone(event)).is_err() {
            sampling.dropped.inc();
        }
    }
}

impl Sampling {
    /// Whether this event is to be sampled; if so, that is noted.
    fn wants(&self, event: &Event) -> bool {
        let second = u32::try_from(event.arrived.unix_seconds()).unwrap_or_default();
        let before = self.spent.load(Ordering::Relaxed);
        let spent = Spent::of(before).at(second);
        if spent.is_exhausted() || event.body.len() > BODY_BYTES_MAX {
            return false;
        }
        let of_type = &self.first[slot(&event.provider, &event.event_type)];
        let is_first = of_type.load(Ordering::Relaxed) < FIRST_OF_TYPE;
        let Some(after) = spent.one_more(is_first) else { return false };
        // Who loses a race samples the next event instead.
        let (after, order) = (after.packed(), Ordering::Relaxed);
        let is_noted = self.spent.compare_exchange(before, after, order, order).is_ok();
        if is_noted && is_first {
            of_type.fetch_add(1, Ordering::Relaxed);
        }
        is_noted
    }
}

fn slot(provider: &str, event_type: &str) -> usize {
    let hash = FixedState::with_seed(0).hash_one((provider, event_type));
    usize::try_from(hash % SLOTS as u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Timestamp;
    use crate::testing::events::event;

    fn of_type(name: &str, second: i64) -> Arc<Event> {
        let arrived = Timestamp(second * 1_000_000_000);
        Arc::new(Event { event_type: name.into(), arrived, ..event("k") })
    }

    /// How many of so many events of a type are sampled in a second.
    fn sampled(
        sampler: &Sampler,
        queue: &mut mpsc::Receiver<Arc<Event>>,
        event: &Arc<Event>,
        of: usize,
    ) -> usize {
        let mut sampled = 0;
        for _ in 0..of {
            sampler.show(event);
            sampled += usize::from(queue.try_recv().is_ok());
        }
        sampled
    }

    #[test]
    fn the_first_of_a_type_are_sampled_and_later_ones_a_few_a_second() {
        let (sampler, mut queue) = Sampler::new(Counter::default());
        let mut of = |name: &str, second, count| sampled(&sampler, &mut queue, &of_type(name, second), count);
        assert_eq!(of("a.b", 100, 1_000), usize::from(FIRST_OF_TYPE) + usize::from(LATER_A_SECOND));
        assert_eq!(of("a.b", 100, 1_000), 0);
        assert_eq!(of("a.c", 100, 20), 20, "another type has its own first");
        assert_eq!(of("a.b", 101, 1_000), usize::from(LATER_A_SECOND));
        assert_eq!(of("a.b", 100, 1_000), 0, "one that arrived late belongs to the present second");
        assert_eq!(of("a.b", 10, 1_000), usize::from(LATER_A_SECOND), "a clock can be set back");
        let many: usize = (0..100).map(|n| of(&format!("type.{n}"), 200, 10)).sum();
        assert_eq!(many, usize::from(FIRST_A_SECOND));
    }

    #[test]
    fn a_sample_without_a_place_is_counted_and_the_event_is_not_kept() {
        let dropped = Counter::default();
        let (sampler, queue) = Sampler::new(dropped.clone());
        (0..QUEUE_MAX + 3).for_each(|n| sampler.show(&of_type(&format!("type.{n}"), 100)));
        assert_eq!((queue.len(), dropped.get()), (QUEUE_MAX, 3));
    }

    #[test]
    fn a_large_body_is_no_sample() {
        let (sampler, mut queue) = Sampler::new(Counter::default());
        let body = vec![b' '; BODY_BYTES_MAX + 1].into();
        sampler.show(&Arc::new(Event { body, ..event("k") }));
        assert!(queue.try_recv().is_err());
    }

    #[test]
    fn an_event_that_is_not_sampled_allocates_nothing() {
        let (sampler, mut queue) = Sampler::new(Counter::default());
        let event = of_type("a.b", 100);
        sampled(&sampler, &mut queue, &event, 1_000);
        let showing = allocation_counter::measure(|| (0..100).for_each(|_| sampler.show(&event)));
        assert_eq!(showing.count_total, 0);
    }
}
