//! The fingerprint of a configuration (pure).
//!
//! Each event is judged by the rules of the configuration under which it was admitted, which is known by its
//! fingerprint. So two configurations with other rules must have other fingerprints: a release that knows
//! more types of a family can make another list of the same text.

use sha2::{Digest, Sha256};

use crate::event::{FINGERPRINT_BYTES, Fingerprint};
use crate::selection::Selection;
use crate::sink::SinkOptions;

/// The first 6 bytes of the SHA-256 over the configuration's text, its selection, and the name and the
/// selection of each sink. Each text has its length in front.
pub(super) fn fingerprint(text: &str, selection: &Selection, sinks: &[SinkOptions]) -> Fingerprint {
    let mut hash = Sha256::new();
    put(text, &mut hash);
    put_selection(selection, &mut hash);
    for sink in sinks {
        put(&sink.name, &mut hash);
        put_selection(&sink.selection, &mut hash);
    }
    let digest = hash.finalize();
    let mut bytes = [0; FINGERPRINT_BYTES];
    bytes.copy_from_slice(&digest[..FINGERPRINT_BYTES]);
    Fingerprint(bytes)
}

fn put(text: &str, hash: &mut Sha256) {
    hash.update((text.len() as u64).to_le_bytes());
    hash.update(text);
}

fn put_selection(selection: &Selection, hash: &mut Sha256) {
    match selection {
        Selection::All => hash.update([0]),
        Selection::Only(types) => {
            hash.update([1]);
            hash.update((types.len() as u64).to_le_bytes());
            types.iter().for_each(|name| put(name, hash));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_of_another_text_or_of_other_rules_have_other_fingerprints() {
        let only = |types: &[&str]| Selection::Only(types.iter().map(|name| (*name).to_owned()).collect());
        let configurations = [
            ("a", Selection::All),
            ("b", Selection::All),
            ("a", only(&[])),
            ("a", only(&["x", "y"])),
            ("a", only(&["xy"])),
        ];
        let fingerprints: std::collections::BTreeSet<_> =
            configurations.iter().map(|(text, selection)| fingerprint(text, selection, &[])).collect();
        assert_eq!(fingerprints.len(), configurations.len());
        assert_eq!(fingerprint("a", &Selection::All, &[]), fingerprint("a", &Selection::All, &[]));
    }
}
