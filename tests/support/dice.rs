//! Chance that can be repeated: a seeded SplitMix64.

use std::ops::Range;

/// A sequence of numbers that its seed determines.
pub struct Dice(u64);

impl Dice {
    /// The seed in `FANBRIDGE_SEED`, else a fresh one; printed, so that a failing run can be repeated.
    pub fn thrown_for(what: &str) -> Self {
        let seed =
            std::env::var("FANBRIDGE_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| {
                std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.subsec_nanos().into())
            });
        println!("{what}: FANBRIDGE_SEED={seed}");
        Self(seed)
    }

    /// A number of the range, each as likely.
    pub fn within(&mut self, range: Range<u64>) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        range.start + (mixed ^ (mixed >> 31)) % (range.end - range.start)
    }
}
