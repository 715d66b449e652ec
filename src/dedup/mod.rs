//! Which deliveries are the same event.
//!
//! A [`DuplicateKey`] is what two deliveries of one event share. The spool asks a window whether it has
//! seen a key lately: [`local`] remembers the keys of this process in memory, [`shared`] asks a Redis
//! server that replicas share.

use sha2::{Digest, Sha256};

pub mod local;
pub mod options;
pub mod shared;

pub use options::DuplicatesOptions;

/// What makes two deliveries the same event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DuplicateKey(pub [u8; 16]);

impl DuplicateKey {
    /// The key of the event with this CloudEvents `source` and `id`.
    pub fn of(source: &str, id: &str) -> Self {
        // The length in front keeps ("a", "bc") and ("ab", "c") apart.
        let digest = Sha256::new()
            .chain_update((source.len() as u64).to_le_bytes())
            .chain_update(source)
            .chain_update(id)
            .finalize();
        let mut key = [0; 16];
        key.copy_from_slice(&digest[..16]);
        Self(key)
    }

    /// The key of the quarantined delivery with this CloudEvents `source` and `id`. No event has the same
    /// key: a delivery and the event that it becomes later can have the same id, and the event must not be
    /// taken for stored because the delivery was.
    pub fn of_letter(source: &str, id: &str) -> Self {
        // No source is that long, so no event's key is made from these bytes.
        let digest = Sha256::new()
            .chain_update(u64::MAX.to_le_bytes())
            .chain_update(Self::of(source, id).0)
            .finalize();
        let mut key = [0; 16];
        key.copy_from_slice(&digest[..16]);
        Self(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duplicate_key_keeps_source_and_id_apart() {
        assert_eq!(DuplicateKey::of("/stream/default", "a"), DuplicateKey::of("/stream/default", "a"));
        assert_ne!(DuplicateKey::of("/stream/default", "a"), DuplicateKey::of("/stream/default", "b"));
        assert_ne!(DuplicateKey::of("a", "bc"), DuplicateKey::of("ab", "c"));
        assert_ne!(DuplicateKey::of("", "abc"), DuplicateKey::of("abc", ""));
    }

    #[test]
    fn a_delivery_and_the_event_that_it_becomes_have_keys_of_their_own() {
        let letter = DuplicateKey::of_letter("/stream/default", "sha256-00");
        assert_eq!(letter, DuplicateKey::of_letter("/stream/default", "sha256-00"));
        assert_ne!(letter, DuplicateKey::of("/stream/default", "sha256-00"));
        assert_ne!(letter, DuplicateKey::of_letter("/stream/other", "sha256-00"));
    }
}
