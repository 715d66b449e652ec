//! Fingerprints of what sinks take (pure): equal only if they take the same.

use sha2::{Digest, Sha256};

use crate::selection::Selection;

/// The first four bytes of a hash of what a selection takes.
pub(super) fn of(selection: &Selection) -> [u8; 4] {
    let mut hash = Sha256::new();
    match selection {
        Selection::All => hash.update([0]),
        Selection::Only(types) => types.iter().for_each(|name| {
            hash.update([1]);
            hash.update((name.len() as u64).to_le_bytes());
            hash.update(name);
        }),
    }
    first_four(hash)
}

/// The fingerprint of sinks, by their names and what they take, in whatever order they are named.
pub(super) fn of_all<'s>(sinks: impl IntoIterator<Item = (&'s str, [u8; 4])>) -> u32 {
    let mut sinks: Vec<_> = sinks.into_iter().collect();
    sinks.sort_unstable();
    sinks.dedup();
    let mut hash = Sha256::new();
    for (name, selection) in sinks {
        hash.update((name.len() as u64).to_le_bytes());
        hash.update(name);
        hash.update(selection);
    }
    u32::from_be_bytes(first_four(hash))
}

fn first_four(hash: Sha256) -> [u8; 4] {
    let digest = hash.finalize();
    [digest[0], digest[1], digest[2], digest[3]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selections_that_take_other_types_have_other_fingerprints() {
        let only = |types: &[&str]| Selection::Only(types.iter().map(|name| (*name).to_owned()).collect());
        let all = [Selection::All, only(&[]), only(&["a"]), only(&["a", "b"]), only(&["ab"])];
        let mut fingerprints: Vec<_> = all.iter().map(of).collect();
        fingerprints.sort_unstable();
        fingerprints.dedup();
        assert_eq!(fingerprints.len(), all.len());
    }

    #[test]
    fn a_list_has_the_same_fingerprint_in_every_process() {
        let types: Vec<String> = (0..50).map(|number| format!("type.{number}")).collect();
        let forwards = Selection::Only(types.iter().cloned().collect());
        let backwards = Selection::Only(types.iter().rev().cloned().collect());
        assert_eq!(of(&forwards), of(&backwards));
        // SHA-256 over 1, the length in 8 bytes, little-endian, and the name, for `a` and then `b`.
        let two = Selection::Only(["b".to_owned(), "a".to_owned()].into());
        assert_eq!(hex::encode(of(&two)), "a14a77ef");
    }

    #[test]
    fn sinks_have_one_fingerprint_in_any_order_and_another_with_another_name_or_selection() {
        let (a, b) = (("a", [1; 4]), ("b", [1; 4]));
        assert_eq!(of_all([a, b]), of_all([b, a, b]));
        let all = [of_all([a, b]), of_all([a]), of_all([b]), of_all([("a", [2; 4]), b])];
        let distinct: std::collections::BTreeSet<_> = all.into_iter().collect();
        assert_eq!(distinct.len(), all.len());
    }
}
