//! The local duplicate window: the duplicate keys of late, in memory.
//!
//! The keys are in one ring in arrival order; a table of 32-bit ring numbers finds them by a randomly
//! keyed hash, and the keys are digests, so nobody can prepare colliding ids. Together they take about 24
//! bytes a key. The window is bounded in keys and in time; time is kept per bucket, not per key, so a key
//! lives for the window and at most one 128th of it longer. Keys staged for a group that then fails are taken
//! back. Nothing here is durable: a start builds the window anew from the log.

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::time::Duration;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::DuplicateKey;
use crate::clock::Steady;

/// How many buckets of time a window has: a key outlives the window by at most one of them.
const BUCKETS: u32 = 128;

/// Keys for which the ring's memory is reserved at once, so that growing never stalls a group: 64 MiB, of
/// which the system maps only what has been filled.
const PREALLOCATED_KEYS_MAX: usize = 1 << 22;

/// Parts of the table, each of which grows by itself with its keys. A table that is reserved at once would
/// soon be mapped as a whole, because hashes are scattered; one that grows as a whole would stall a group.
const PARTS: usize = 256;

/// Keys that a start finds places for in the table at once (4 MiB of memory).
const KEYS_AT_ONCE: usize = 1 << 18;

/// What the window knows of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeySighting {
    /// The window does not have the key.
    New,
    /// The first entry with the key is durable.
    Durable,
    /// The first entry with the key is in the group that is being written.
    Staged,
}

/// A key that a start recalled, by one entry of possibly several that have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecalledKey {
    pub(crate) key: DuplicateKey,
    /// The number that the key of this entry got in the window.
    pub(crate) number: u32,
}

pub(crate) struct LocalWindow {
    span: Duration,
    bucket_span: Duration,
    keys_max: usize,
    /// The keys, oldest first; the oldest has the number `front`.
    ring: VecDeque<DuplicateKey>,
    front: u32,
    /// The numbers of the ring's keys, by a part of their hash. Numbers wrap, which is harmless: the ring
    /// holds fewer than 2^31 keys.
    numbers: Vec<HashTable<u32>>,
    hasher: RandomState,
    /// How many of the ring's keys arrived in each stretch of time, oldest first.
    buckets: VecDeque<Bucket>,
    /// How many keys at the ring's back belong to a group that is not durable yet.
    staged: usize,
}

struct Bucket {
    /// When its first key arrived.
    begun: Steady,
    keys: usize,
}

impl LocalWindow {
    /// An empty window that remembers keys for `span`, and never more than `keys_max` of them.
    pub(crate) fn new(span: Duration, keys_max: usize) -> Self {
        let keys_max = keys_max.min(u32::MAX as usize / 2);
        Self {
            span,
            bucket_span: span / BUCKETS,
            keys_max,
            ring: VecDeque::with_capacity(keys_max.min(PREALLOCATED_KEYS_MAX)),
            front: 0,
            numbers: vec![HashTable::new(); PARTS],
            hasher: RandomState::default(),
            buckets: VecDeque::new(),
            staged: 0,
        }
    }

    /// How many keys are remembered.
    pub(crate) fn len(&self) -> usize {
        self.ring.len()
    }

    /// The most keys that are remembered.
    pub(crate) fn keys_max(&self) -> usize {
        self.keys_max
    }

    /// Keys that arrived before this moment are forgotten at `now`.
    pub(crate) fn horizon(&self, now: Steady) -> Steady {
        now.minus(self.span).minus(self.bucket_span)
    }

    /// What is known of the key.
    pub(crate) fn sighting(&self, key: DuplicateKey) -> KeySighting {
        let hash = self.hasher.hash_one(key);
        let found = self.numbers[part(hash)].find(hash, |&number| self.key(number) == key);
        match found.map(|&number| self.index(number)) {
            None => KeySighting::New,
            Some(index) if index >= self.ring.len() - self.staged => KeySighting::Staged,
            Some(_) => KeySighting::Durable,
        }
    }

    /// Adds a new key, which [`LocalWindow::commit`] keeps or [`LocalWindow::roll_back`] takes back.
    pub(crate) fn stage(&mut self, key: DuplicateKey) {
        let number = self.front.wrapping_add(self.ring.len() as u32);
        self.ring.push_back(key);
        let Self { ring, front, hasher, .. } = self;
        let hash = hasher.hash_one(key);
        self.numbers[part(hash)].insert_unique(hash, number, |&number| {
            hasher.hash_one(ring[number.wrapping_sub(*front) as usize])
        });
        self.staged += 1;
    }

    /// Makes the staged keys durable: their time in the window begins now, and the oldest keys beyond
    /// `keys_max` are forgotten. A moment before an earlier one counts as that one.
    pub(crate) fn commit(&mut self, at: Steady) {
        let keys = std::mem::take(&mut self.staged);
        if keys > 0 {
            match self.buckets.back_mut() {
                Some(bucket) if at <= bucket.begun.plus(self.bucket_span) => bucket.keys += keys,
                _ => self.buckets.push_back(Bucket { begun: at, keys }),
            }
        }
        while self.ring.len() > self.keys_max {
            self.forget_oldest();
        }
    }

    /// Takes the staged keys back, because their group failed: the next copies count as new.
    pub(crate) fn roll_back(&mut self) {
        for _ in 0..std::mem::take(&mut self.staged) {
            let number = self.front.wrapping_add(self.ring.len() as u32 - 1);
            self.take_out_of_table(number);
            self.ring.pop_back();
        }
    }

    /// Forgets a recalled key, because its entry was found damaged: the next copy counts as new. A key that
    /// is known by another entry, which a later number tells, stays.
    pub(crate) fn forget(&mut self, RecalledKey { key, number }: RecalledKey) {
        let hash = self.hasher.hash_one(key);
        // Its place in the ring is forgotten in its turn.
        if let Ok(entry) = self.numbers[part(hash)].find_entry(hash, |&known| known == number) {
            entry.remove();
        }
    }

    /// Forgets the keys that are older than the window at this moment. Must not be called while keys are
    /// staged.
    pub(crate) fn expire(&mut self, now: Steady) {
        let horizon = self.horizon(now);
        while let Some(bucket) = self.buckets.front()
            && bucket.begun < horizon
        {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        self.take_out_of_table(self.front);
        self.ring.pop_front();
        self.front = self.front.wrapping_add(1);
        if let Some(bucket) = self.buckets.front_mut() {
            bucket.keys -= 1;
            if bucket.keys == 0 {
                self.buckets.pop_front();
            }
        }
    }

    fn take_out_of_table(&mut self, number: u32) {
        let hash = self.hasher.hash_one(self.key(number));
        if let Ok(entry) = self.numbers[part(hash)].find_entry(hash, |&other| other == number) {
            entry.remove();
        }
    }

    fn key(&self, number: u32) -> DuplicateKey {
        self.ring[self.index(number)]
    }

    fn index(&self, number: u32) -> usize {
        number.wrapping_sub(self.front) as usize
    }
}

/// A window while a start fills it: its keys are in the ring, and none can be found yet.
///
/// A key is found by its place in a table of many megabytes. Two million keys one by one would take a second
/// and more, nearly all of it waiting for memory; sorted by part, they take a fraction.
pub(crate) struct RecalledWindow(LocalWindow);

impl RecalledWindow {
    /// The window, which holds no key yet.
    pub(crate) fn new(window: LocalWindow) -> Self {
        Self(window)
    }

    /// The number that the next key gets; the keys after it get the numbers that follow.
    pub(crate) fn next_number(&self) -> u32 {
        let Self(window) = self;
        window.front.wrapping_add(window.ring.len() as u32)
    }

    /// Adds the key of an entry that arrived at this moment. Keys that have left the window by then are
    /// forgotten, and so are the oldest beyond its bound.
    pub(crate) fn recall(&mut self, key: DuplicateKey, at: Steady) {
        let Self(window) = self;
        window.expire(at);
        window.ring.push_back(key);
        window.staged = 1;
        window.commit(at);
    }

    /// The window with what is left of the keys at this moment. Of a key that was added twice, the later one
    /// counts.
    pub(crate) fn finish(self, now: Steady) -> LocalWindow {
        let Self(mut window) = self;
        window.expire(now);
        let LocalWindow { ring, front, numbers, hasher, .. } = &mut window;
        let (front, keys) = (*front, &*ring.make_contiguous());
        let key_of = |number: u32| keys[number.wrapping_sub(front) as usize];
        for table in &mut *numbers {
            table.reserve(keys.len() / PARTS, |&number| hasher.hash_one(key_of(number)));
        }
        let mut sorted = vec![Vec::new(); PARTS];
        let mut number = front;
        for keys in keys.chunks(KEYS_AT_ONCE) {
            for key in keys {
                let hash = hasher.hash_one(key);
                sorted[part(hash)].push((hash, number));
                number = number.wrapping_add(1);
            }
            for (table, found) in numbers.iter_mut().zip(&mut sorted) {
                for (hash, number) in found.drain(..) {
                    let is_key = |&known: &u32| key_of(known) == key_of(number);
                    match table.entry(hash, is_key, |&known| hasher.hash_one(key_of(known))) {
                        Entry::Occupied(mut known) => *known.get_mut() = number,
                        Entry::Vacant(vacant) => drop(vacant.insert(number)),
                    }
                }
            }
        }
        window
    }
}

/// The part of the table for a hash: by bits of it that the parts themselves do not use.
fn part(hash: u64) -> usize {
    (hash >> 40) as usize % PARTS
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Duration = Duration::from_secs(128);

    fn key(number: u64) -> DuplicateKey {
        let mut key = [0; 16];
        key[..8].copy_from_slice(&number.to_le_bytes());
        DuplicateKey(key)
    }

    fn at(seconds: u64) -> Steady {
        Steady::default().plus(Duration::from_secs(seconds))
    }

    #[test]
    fn a_key_is_staged_until_its_group_is_durable() {
        let mut window = LocalWindow::new(SPAN, 10);
        assert_eq!(window.sighting(key(1)), KeySighting::New);
        window.stage(key(1));
        assert_eq!(window.sighting(key(1)), KeySighting::Staged);
        window.commit(at(0));
        assert_eq!(window.sighting(key(1)), KeySighting::Durable);
    }

    #[test]
    fn a_failed_groups_keys_are_new_again_and_earlier_ones_stay() {
        let mut window = LocalWindow::new(SPAN, 10);
        window.stage(key(1));
        window.commit(at(0));
        window.stage(key(2));
        window.stage(key(3));
        window.roll_back();
        assert_eq!(window.sighting(key(1)), KeySighting::Durable);
        assert_eq!(window.sighting(key(2)), KeySighting::New);
        assert_eq!(window.sighting(key(3)), KeySighting::New);
        window.stage(key(3));
        window.commit(at(1));
        assert_eq!(window.sighting(key(3)), KeySighting::Durable);
        assert_eq!(window.len(), 2);
    }

    #[test]
    fn a_full_window_forgets_the_oldest_key_first() {
        let mut window = LocalWindow::new(SPAN, 3);
        for number in 0..10 {
            window.stage(key(number));
            window.commit(at(number));
            assert!(window.len() <= 3);
        }
        assert_eq!(window.sighting(key(6)), KeySighting::New);
        for number in 7..10 {
            assert_eq!(window.sighting(key(number)), KeySighting::Durable);
        }
    }

    #[test]
    fn a_key_lives_for_the_window_and_hardly_longer() {
        let mut window = LocalWindow::new(SPAN, 1000);
        window.stage(key(1));
        window.commit(at(10));
        window.expire(at(10 + 128));
        assert_eq!(window.sighting(key(1)), KeySighting::Durable);
        window.expire(at(10 + 130));
        assert_eq!(window.sighting(key(1)), KeySighting::New);
        assert_eq!(window.len(), 0);
    }

    fn recalled(keys_max: usize, keys: &[(u64, u64)], now: u64) -> LocalWindow {
        let mut window = RecalledWindow::new(LocalWindow::new(SPAN, keys_max));
        keys.iter().for_each(|&(number, second)| window.recall(key(number), at(second)));
        window.finish(at(now))
    }

    #[test]
    fn recalled_keys_are_those_that_the_window_would_have_and_a_later_copy_counts() {
        let window = recalled(10, &[(1, 0), (2, 10), (1, 20), (3, 30)], 130);
        let known = |window: &LocalWindow, number| window.sighting(key(number)) == KeySighting::Durable;
        assert!(
            (1..=3).all(|number| known(&window, number)),
            "the first copy of 1 is too old, and not the later"
        );
        let window = recalled(10, &[(1, 0), (2, 100), (3, 200)], 229);
        assert!(!known(&window, 1) && known(&window, 2) && known(&window, 3));
        let window = recalled(3, &[(1, 0), (2, 0), (3, 0), (4, 0), (5, 0)], 0);
        assert_eq!(window.len(), 3);
        assert!(!known(&window, 2) && known(&window, 3) && known(&window, 5));
    }

    #[test]
    fn a_window_that_was_recalled_goes_on_as_any() {
        let many: Vec<_> = (0..600_000).map(|number| (number, number / 10_000)).collect();
        let mut window = recalled(400_000, &many, 60);
        assert_eq!(window.numbers.iter().map(HashTable::len).sum::<usize>(), 400_000);
        for number in 0..200_000 {
            assert_eq!(window.sighting(key(number)), KeySighting::New);
        }
        for number in 200_000..600_000 {
            assert_eq!(window.sighting(key(number)), KeySighting::Durable);
        }
        window.stage(key(1));
        window.commit(at(61));
        assert_eq!(window.sighting(key(200_000)), KeySighting::New, "the oldest gave way");
        assert_eq!(window.sighting(key(1)), KeySighting::Durable);
    }

    #[test]
    fn a_key_whose_entry_is_lost_is_new_again_and_can_come_back() {
        let mut window = recalled(3, &[(1, 1), (2, 2), (3, 3)], 3);
        window.forget(RecalledKey { key: key(2), number: 1 });
        window.forget(RecalledKey { key: key(9), number: 9 });
        let known = |window: &LocalWindow, number| window.sighting(key(number)) == KeySighting::Durable;
        assert!(known(&window, 1) && !known(&window, 2) && known(&window, 3));
        window.stage(key(2));
        window.commit(at(10));
        assert!(known(&window, 2));
        window.stage(key(4));
        window.commit(at(11));
        window.expire(at(3 + 130));
        assert!(known(&window, 2) && known(&window, 4) && !known(&window, 3));
        window.expire(at(400));
        assert_eq!((window.len(), known(&window, 2)), (0, false));
    }

    #[test]
    fn a_key_that_a_later_entry_has_as_well_is_not_forgotten_with_the_earlier() {
        let known = |window: &LocalWindow, number| window.sighting(key(number)) == KeySighting::Durable;
        // The first of these six has left the ring, and the numbers of the others are those they got.
        let mut window = recalled(5, &[(9, 0), (1, 1), (2, 2), (1, 3), (3, 4), (4, 5)], 5);
        window.stage(key(2));
        window.commit(at(6));
        let forget = |window: &mut LocalWindow, of, number| {
            window.forget(RecalledKey { key: key(of), number });
            known(window, of)
        };
        assert!(forget(&mut window, 1, 1), "a later entry that was recalled has it");
        assert!(!forget(&mut window, 1, 3), "that one is lost as well");
        assert!(!forget(&mut window, 3, 4));
        assert!(known(&window, 2) && known(&window, 4));
        window.stage(key(3));
        window.commit(at(7));
        assert!(forget(&mut window, 3, 4), "an entry of this life has it");
    }

    #[test]
    fn a_long_life_of_keys_coming_and_going_keeps_table_and_ring_in_step() {
        let mut window = LocalWindow::new(SPAN, 50);
        window.front = u32::MAX - 500;
        for number in 0..5_000 {
            window.stage(key(number));
            if number % 7 == 0 {
                window.roll_back();
            } else {
                window.commit(at(number / 3));
            }
            window.expire(at(number / 3));
            assert_eq!(window.numbers.iter().map(HashTable::len).sum::<usize>(), window.ring.len());
            assert_eq!(window.buckets.iter().map(|bucket| bucket.keys).sum::<usize>(), window.ring.len());
        }
        assert_eq!(window.sighting(key(4_999)), KeySighting::Durable);
        assert_eq!(window.sighting(key(4_901)), KeySighting::New);
    }
}
