//! The search for what was signed: which key, over which text and body, gives a signature that is offered.
//!
//! The offered signatures cost nothing: each computed one is compared with all of them. What is changed alone
//! is tried before what is changed together with something else, so the first match is the simplest one.

use std::borrow::Cow;

use subtle::ConstantTimeEq;

use super::bodies::{BodyChange, SignedBodies};
use super::keys::{SigningKey, SigningKeys};
use super::offered::{OfferedSignature, algorithm};
use super::texts::SignedText;
use crate::provider::scheme::{Algorithm, HmacScheme};

/// Most signatures that are computed for one diagnosis.
const SIGNATURES_MAX: usize = 4096;
/// Most bytes that are signed or written anew for one diagnosis, which bounds its time.
const BYTES_MAX: usize = 512 << 20;
/// What a signature costs at least, in bytes: the key is hashed twice, too.
const SIGNATURE_BYTES_MIN: usize = 256;

/// What a diagnosis may still compute.
pub(super) struct TryBudget {
    signatures: usize,
    bytes: usize,
    stopped: bool,
}

/// How much was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tried {
    /// Number of signatures that were computed.
    pub signatures: usize,
    /// Whether something was left untried, because the bound was reached.
    pub stopped: bool,
}

/// A match of an offered signature.
pub(super) struct SignatureMatch<'a> {
    pub key: &'a SigningKey,
    pub text: &'a SignedText,
    pub change: BodyChange,
    pub offered: &'a OfferedSignature,
}

/// Everything that a signature can be made of.
pub(super) struct SignatureSearch<'a> {
    pub scheme: &'a HmacScheme,
    pub offered: &'a [OfferedSignature],
    pub keys: &'a SigningKeys,
    pub texts: &'a [SignedText],
    /// How many of the texts, the first ones, are what the definition describes.
    pub described: usize,
    pub bodies: &'a SignedBodies,
}

/// What is tried with each other: these keys, texts and bodies.
struct SearchPass<'a, 'p>(&'p [&'a [SigningKey]], &'a [SignedText], &'p [BodyChange]);

impl TryBudget {
    pub fn new() -> Self {
        Self { signatures: 0, bytes: 0, stopped: false }
    }

    pub fn tried(&self) -> Tried {
        Tried { signatures: self.signatures, stopped: self.stopped }
    }

    /// Whether one more signature over so many bytes may be computed; it counts as computed.
    pub fn takes_signature(&mut self, bytes: usize) -> bool {
        let taken = self.signatures < SIGNATURES_MAX && self.takes_bytes(bytes + SIGNATURE_BYTES_MIN);
        self.stopped |= !taken;
        self.signatures += usize::from(taken);
        taken
    }

    fn takes_bytes(&mut self, bytes: usize) -> bool {
        let taken = self.bytes.saturating_add(bytes) <= BYTES_MAX;
        self.stopped |= !taken;
        self.bytes += if taken { bytes } else { 0 };
        taken
    }
}

impl<'a> SignatureSearch<'a> {
    /// A match of one of the source's own secrets, perhaps changed, over what the definition describes.
    pub fn own(&self, budget: &mut TryBudget) -> Option<SignatureMatch<'a>> {
        let keys = [self.keys.own(), self.keys.own_changed()];
        self.pass(&SearchPass(&keys, self.described(), &[BodyChange::AsItIs]), budget)
    }

    /// A match of anything else, the likely before the unlikely.
    pub fn anything(&self, budget: &mut TryBudget) -> Option<SignatureMatch<'a>> {
        let (own, own_changed) = (self.keys.own(), self.keys.own_changed());
        let (others, others_changed) = (self.keys.others(), self.keys.others_changed());
        let (described, further) = (self.described(), &self.texts[self.described..]);
        let (as_it_is, likely) = (&[BodyChange::AsItIs][..], BodyChange::LIKELY);
        let unlikely = BodyChange::others(self.bodies.taken().len());
        let passes = [
            SearchPass(&[own], described, likely),
            SearchPass(&[own], further, as_it_is),
            SearchPass(&[others], described, as_it_is),
            SearchPass(&[own], described, &unlikely),
            SearchPass(&[others_changed], described, as_it_is),
            SearchPass(&[own_changed, others], described, likely),
            SearchPass(&[own_changed, others], further, as_it_is),
            SearchPass(&[own], further, likely),
        ];
        passes.iter().find_map(|pass| self.pass(pass, budget))
    }

    fn described(&self) -> &'a [SignedText] {
        &self.texts[..self.described]
    }

    fn pass(&self, pass: &SearchPass<'a, '_>, budget: &mut TryBudget) -> Option<SignatureMatch<'a>> {
        let SearchPass(keys, texts, changes) = *pass;
        if self.offered.is_empty() || texts.is_empty() || keys.iter().all(|keys| keys.is_empty()) {
            return None;
        }
        changes.iter().find_map(|change| {
            if budget.stopped {
                return None;
            }
            let body = self.bodies.changed(*change)?;
            if matches!(body, Cow::Owned(_)) && !budget.takes_bytes(body.len()) {
                return None;
            }
            let mut pairs =
                keys.iter().copied().flatten().flat_map(|key| texts.iter().map(move |text| (key, text)));
            pairs.find_map(|(key, text)| {
                let offered = self.matching(key, text, &body, budget)?;
                Some(SignatureMatch { key, text, change: *change, offered })
            })
        })
    }

    /// The offered signature that this key makes over this text and body, in the most expected form.
    fn matching(
        &self,
        key: &SigningKey,
        text: &SignedText,
        body: &[u8],
        budget: &mut TryBudget,
    ) -> Option<&'a OfferedSignature> {
        self.algorithms().find_map(|algorithm| {
            if !budget.takes_signature(text.lead.len() + body.len()) {
                return None;
            }
            let made = algorithm.mac(&key.secret, [&text.lead, body].into_iter());
            let equals = |offered: &&OfferedSignature| {
                let (one, other) = (&offered.mark.bytes[..offered.mark.len], &made.bytes[..made.len]);
                bool::from(one.ct_eq(other))
            };
            self.offered.iter().filter(equals).min_by_key(|offered| offered.faults(self.scheme).len())
        })
    }

    /// The algorithms with which any offered signature can be made, the expected one first.
    fn algorithms(&self) -> impl Iterator<Item = Algorithm> {
        let expected = self.scheme.algorithm;
        let others = Algorithm::ALL.into_iter().filter(move |algorithm| *algorithm != expected);
        let is_offered =
            |one: &Algorithm| self.offered.iter().any(|offered| algorithm(offered.mark.len) == Some(*one));
        std::iter::once(expected).chain(others).filter(is_offered)
    }
}

impl Tried {
    /// What is known when nothing matched.
    pub fn cause(self) -> String {
        let Self { signatures, stopped } = self;
        let bound = match stopped {
            true => ", and stopped there, because the body is large or the secrets are many",
            false => "",
        };
        match signatures {
            0 => "nothing could be tried: no header holds a signature, or the configuration no secret".into(),
            _ => format!(
                "nothing that was tried gives an offered signature: the secret is another one, or the body \
                 was changed in a way that is not known here. Computed {signatures} signatures{bound}"
            ),
        }
    }

    /// What was tried, in the order of the search.
    pub const LIST: &[&str] = &[
        "every secret of the configuration, of other sources as well, and of any period",
        "the secret without line break, white space, quotes, prefix or name, and with a line break",
        "the secret decoded from base64 and hex, and not decoded",
        "the body without and with a line break at its end, with other line ends, inflated and as sent, \
         empty",
        "the JSON compact, spaced, indented, sorted, and with other escapes",
        "the body alone, and with each timestamp and id of the headers in front of it",
        "a signature in every header, in hex and base64, behind any prefix, of SHA-1, SHA-256 and SHA-512",
    ];

    /// What to do when nothing matched.
    pub const FIX: &str = "copy the secret from the provider's settings again, and record headers and body \
        of one request byte for byte in front of the first proxy; a secret that a file held before is not \
        known here";
}
