//! Signature schemes: HMAC in the few shapes in which providers send it.
//!
//! [`Offer`] is what a delivery's headers claim, read without any key; [`Offer::check`] proves it
//! over the received bytes. Every live secret is tried against every offered signature, in
//! constant time and without an early exit. A timestamp is judged only once the signature over it
//! holds, so that a forged one teaches nothing. The words of refusals are for the operator only.

use bytestring::ByteString;
use http::{HeaderMap, HeaderName};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use super::Refusal;
use super::scheme::{Form, HmacScheme, Mark, Part, Scheme, TimestampPlace};
use super::secret::SigningSecret;
use crate::event::Timestamp;

/// The number of signatures that one header may offer.
const OFFERED_MAX: usize = 16;

/// What is said of a header that is not there exactly once as visible ASCII.
#[derive(Clone, Copy)]
struct Words {
    missing: &'static str,
    ambiguous: &'static str,
    malformed: &'static str,
}

const SIGNATURE: Words = Words {
    missing: "missing_signature",
    ambiguous: "ambiguous_signature",
    malformed: "malformed_signature",
};
const ID: Words = Words { missing: "missing_id", ambiguous: "ambiguous_id", malformed: "malformed_id" };
const TIMESTAMP: Words = Words {
    missing: "missing_timestamp",
    ambiguous: "ambiguous_timestamp",
    malformed: "malformed_timestamp",
};

/// What a delivery's headers claim. Borrowed from them: reading it costs no more than a look.
#[derive(Default)]
pub(super) struct Offer<'a> {
    signatures: Vec<Mark>,
    id: Option<&'a str>,
    timestamp: Option<&'a str>,
}

/// What a signature that holds tells.
#[derive(Debug, Default)]
pub(super) struct Proof {
    /// Which secret it was made with.
    pub secret: usize,
    pub signed_id: Option<ByteString>,
    /// The sender's clock less ours.
    pub skew_seconds: Option<i64>,
}

impl<'a> Offer<'a> {
    /// Reads the signatures, the id and the timestamp that a delivery offers.
    ///
    /// A signature that cannot be one (wrong length, wrong alphabet) is passed over in a list; a
    /// delivery that offers no other is refused here.
    pub fn read(scheme: &Scheme, headers: &'a HeaderMap) -> Result<Self, &'static str> {
        let Some(scheme) = &scheme.hmac else {
            return scheme.open.then(Self::default).ok_or("no_scheme");
        };
        let text = only(headers, &scheme.header, SIGNATURE)?;
        let mut offer = Self::default();
        match &scheme.form {
            Form::Single { prefix } => {
                let signature = text.strip_prefix(prefix.as_str()).ok_or(SIGNATURE.malformed)?;
                offer.signatures.extend(scheme.decode(signature));
            }
            Form::Versions { version } => {
                for entry in list(text, ' ')?.filter(|entry| !entry.is_empty()) {
                    let (name, signature) = entry.split_once(',').ok_or(SIGNATURE.malformed)?;
                    if name == version {
                        offer.signatures.extend(scheme.decode(signature));
                    }
                }
            }
            Form::Fields { version } => offer.read_fields(scheme, version, text)?,
        }
        if offer.signatures.is_empty() {
            return Err(SIGNATURE.malformed);
        }
        if let Some(name) = &scheme.id_header {
            offer.id = Some(only(headers, name, ID)?);
        }
        if let Some(TimestampPlace::Header(name)) = scheme.timestamp.as_ref().map(|rule| &rule.place) {
            offer.timestamp = Some(only(headers, name, TIMESTAMP)?);
        }
        offer.is_unambiguous(scheme).then_some(offer).ok_or("ambiguous_parts")
    }

    fn read_fields(&mut self, scheme: &HmacScheme, version: &str, text: &'a str) -> Result<(), &'static str> {
        let stamp = match scheme.timestamp.as_ref().map(|rule| &rule.place) {
            Some(TimestampPlace::Field(name)) => Some(name.as_str()),
            _ => None,
        };
        for field in list(text, ',')? {
            let (name, value) = field.trim_matches(' ').split_once('=').ok_or(SIGNATURE.malformed)?;
            if Some(name) == stamp && self.timestamp.replace(value).is_some() {
                return Err(TIMESTAMP.ambiguous);
            }
            if name == version {
                self.signatures.extend(scheme.decode(value));
            }
        }
        if stamp.is_some() && self.timestamp.is_none() { Err(TIMESTAMP.missing) } else { Ok(()) }
    }

    /// Whether the signed text can be taken apart in one way only: no value holds the text that
    /// separates it from the next. Else parts could be moved across the separator under the same
    /// signature; Standard Webhooks warns of ids with a full stop for that reason.
    fn is_unambiguous(&self, scheme: &HmacScheme) -> bool {
        scheme.signed.windows(2).all(|pair| {
            let value = match pair[0] {
                Part::Id => self.id,
                Part::Timestamp => self.timestamp,
                Part::Text(_) | Part::Body => None,
            };
            match (&pair[1], value) {
                (Part::Text(separator), Some(value)) => !value.contains(separator.as_str()),
                _ => true,
            }
        })
    }

    /// Proves the offer over the received bytes, with the secrets that are live now.
    pub fn check(
        self,
        scheme: &Scheme,
        secrets: &[SigningSecret],
        body: &[u8],
        now: Timestamp,
    ) -> Result<Proof, Refusal> {
        let Some(scheme) = &scheme.hmac else { return Ok(Proof::default()) };
        let mut matched = Choice::from(0);
        let mut which = 0_u64;
        let mut live = 0;
        for (number, secret) in (0_u64..).zip(secrets).filter(|(_, secret)| secret.is_live(now)) {
            live += 1;
            let expected = scheme.mac(secret, self.id, self.timestamp, body);
            for offered in &self.signatures {
                let equal = expected.bytes[..expected.len].ct_eq(&offered.bytes[..offered.len]);
                which.conditional_assign(&number, equal & !matched);
                matched |= equal;
            }
        }
        if live == 0 {
            return Err(Refusal::Unauthenticated("no_live_secret"));
        }
        if !bool::from(matched) {
            return Err(Refusal::Unauthenticated("wrong_signature"));
        }
        let skew_seconds = scheme.skew(self.timestamp, now)?;
        Ok(Proof { secret: which as usize, signed_id: self.id.map(Into::into), skew_seconds })
    }
}

/// The value of a header that must occur exactly once and be visible ASCII.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName, words: Words) -> Result<&'a str, &'static str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().filter(|value| !value.is_empty()).ok_or(words.missing)?;
    if values.next().is_some() {
        return Err(words.ambiguous);
    }
    value.to_str().map_err(|_| words.malformed)
}

/// The entries of a list, of which there may be only so many: each costs a comparison per secret. Several
/// spaces part them as one does.
fn list(text: &str, separator: char) -> Result<std::str::Split<'_, char>, &'static str> {
    if text.split(separator).filter(|entry| !entry.is_empty()).count() > OFFERED_MAX {
        return Err("too_many_signatures");
    }
    Ok(text.split(separator))
}

#[cfg(test)]
mod tests;
