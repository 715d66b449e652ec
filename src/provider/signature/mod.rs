//! Verifies signatures: HMAC in the forms in which providers send it.
//!
//! [`Offer`] is the claim of a delivery's headers, read without a key; [`Offer::check`] verifies it
//! over the received bytes. Every valid secret is tried against every offered signature, in constant
//! time and without an early exit. The timestamp is checked only after the signature, so that a
//! forged one learns nothing. The reasons of refusals are for the operator only.

use bytestring::ByteString;
use http::{HeaderMap, HeaderName};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use super::DeliveryRefusal;
use super::scheme::{Form, HmacScheme, Mark, Part, Scheme, TimestampPlace};
use super::secret::SigningSecret;
use crate::event::Timestamp;

/// Most signatures in one header.
const OFFERED_MAX: usize = 16;

/// The reasons for a header that does not occur exactly once as visible ASCII.
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

/// The reason for a delivery without a signature.
pub(super) const MISSING: &str = SIGNATURE.missing;

/// The claim of a delivery's headers, borrowed from them.
#[derive(Default)]
pub(super) struct Offer<'a> {
    signatures: Vec<Mark>,
    id: Option<&'a str>,
    timestamp: Option<&'a str>,
}

/// The result of a valid signature.
#[derive(Debug, Default)]
pub(super) struct Proof {
    /// Index of the secret that made it.
    pub secret: usize,
    pub signed_id: Option<ByteString>,
    /// Sender's clock minus this machine's clock in seconds.
    pub skew_seconds: Option<i64>,
}

impl<'a> Offer<'a> {
    /// Reads the signatures, the id and the timestamp of a delivery.
    ///
    /// In a list, an impossible signature (wrong length, wrong alphabet) is skipped; a delivery
    /// without any other is refused. `None` if the delivery does not have the header at all.
    pub fn read(scheme: &Scheme, headers: &'a HeaderMap) -> Result<Option<Self>, &'static str> {
        let Some(scheme) = &scheme.hmac else {
            return if scheme.open { Ok(Some(Self::default())) } else { Err("no_scheme") };
        };
        let Some(text) = only(headers, &scheme.header, SIGNATURE)? else { return Ok(None) };
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
            offer.id = Some(only(headers, name, ID)?.ok_or(ID.missing)?);
        }
        if let Some(TimestampPlace::Header(name)) = scheme.timestamp.as_ref().map(|rule| &rule.place) {
            offer.timestamp = Some(only(headers, name, TIMESTAMP)?.ok_or(TIMESTAMP.missing)?);
        }
        if offer.is_unambiguous(scheme) { Ok(Some(offer)) } else { Err("ambiguous_parts") }
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

    /// Whether the signed text can be split in one way only: no value contains the text that
    /// separates it from the next. Otherwise parts could be moved across the separator under the same
    /// signature, for which reason Standard Webhooks warns of ids with a full stop.
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

    /// Verifies the offer over the received bytes, with the secrets that are valid now.
    pub fn check(
        self,
        scheme: &Scheme,
        secrets: &[SigningSecret],
        body: &[u8],
        now: Timestamp,
    ) -> Result<Proof, DeliveryRefusal> {
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
            return Err(DeliveryRefusal::Unauthenticated("no_live_secret"));
        }
        if !bool::from(matched) {
            return Err(DeliveryRefusal::Unauthenticated("wrong_signature"));
        }
        let skew_seconds = scheme.skew(self.timestamp, now)?;
        Ok(Proof { secret: which as usize, signed_id: self.id.map(Into::into), skew_seconds })
    }
}

/// The value of a header that must occur exactly once and be visible ASCII; `None` if it is missing or
/// empty.
fn only<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
    words: Words,
) -> Result<Option<&'a str>, &'static str> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next().filter(|value| !value.is_empty()) else { return Ok(None) };
    if values.next().is_some() {
        return Err(words.ambiguous);
    }
    value.to_str().map(Some).map_err(|_| words.malformed)
}

/// The entries of a list, at most [`OFFERED_MAX`], because each costs a comparison per secret. Empty
/// entries, as between two spaces, do not count.
fn list(text: &str, separator: char) -> Result<std::str::Split<'_, char>, &'static str> {
    if text.split(separator).filter(|entry| !entry.is_empty()).count() > OFFERED_MAX {
        return Err("too_many_signatures");
    }
    Ok(text.split(separator))
}

#[cfg(test)]
mod tests;
