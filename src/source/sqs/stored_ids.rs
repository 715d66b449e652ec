//! Remembers which messages this process has stored and that come back, because they cannot be deleted.

use parking_lot::Mutex;
use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

/// Most messages that are remembered; at this number all of them are forgotten.
const STORED_MAX: usize = 1 << 16;

/// Hashes of the ids of messages of one queue that this process has stored. It takes at most a megabyte or
/// two, and only messages that came back many times are added.
#[derive(Debug, Default)]
pub(super) struct StoredIds {
    hasher: RandomState,
    hashes: Mutex<HashSet<u64>>,
}

impl StoredIds {
    /// Remembers a message.
    pub(super) fn add(&self, id: &str) {
        let mut hashes = self.hashes.lock();
        if hashes.len() >= STORED_MAX {
            hashes.clear();
        }
        hashes.insert(self.hasher.hash_one(id));
    }

    /// Whether a message with this id is remembered.
    pub(super) fn has(&self, id: &str) -> bool {
        let hash = self.hasher.hash_one(id);
        self.hashes.lock().contains(&hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_stored_is_remembered_within_bounds() {
        let stored = StoredIds::default();
        assert!(!stored.has("a"));
        stored.add("a");
        assert!(stored.has("a") && !stored.has("b"));
        (0..STORED_MAX).for_each(|number| stored.add(&number.to_string()));
        assert!(stored.hashes.lock().len() <= STORED_MAX);
        assert!(stored.has("65535"), "the newest");
    }
}
