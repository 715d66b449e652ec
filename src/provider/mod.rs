//! Providers as data, and what must be believed before anything else happens: the signature.
//!
//! [`verify`] consumes a [`Delivery`] and returns a [`Verified`] one, or says why not; what an
//! authentic body means is decided by [`crate::admit`]. A provider is one [`Definition`], built in
//! or configured, in the same form; signature schemes and transport encodings are code.
//! The invariant: only a delivery whose signature held leaves here as [`Verified`].
//! Nothing here does I/O, reads a clock or keeps state.

mod body;
mod builtin;
mod catalogue;
mod compile;
mod definition;
mod delivery;
mod json;
mod message;
mod normalise;
mod pointer;
mod salvage;
mod sample;
mod scheme;
mod secret;
mod signature;

pub use body::{BodyLimits, body_heaviness, body_heaviness_max};
pub use builtin::{builtin, builtin_named};
pub use catalogue::{Catalogue, TypeInfo, UNCLASSIFIED};
pub use compile::{Definition, DefinitionProblem};
pub use definition::{
    BodyEncodingFile, BodyFile, ChannelFile, DefinitionFile, DeliveryIdFile, EncodingFile, EventFile,
    EventTypeFile, FamilyFile, FormFile, ProbeFile, SchemeFile, SecretEncodingFile, SignatureFile,
    TimeUnitFile, TimestampFile, TypeFile,
};
pub use json::{Defect, Flaw};
pub use message::{
    SUBSCRIPTION_CONFIRMATION, TopicEnvelope, TopicEnvelopeKind, UNSUBSCRIBE_CONFIRMATION, decode_message,
    message_heaviness, topic_extensions,
};
pub(crate) use normalise::{Unusable, letter_id, normalise};
pub(crate) use salvage::salvage;
pub use sample::{event_headers, sample};
pub use scheme::sign;
pub use secret::{SecretProblem, SigningSecret, is_api_key, secret_oddity};

use bytes::Bytes;
use bytestring::ByteString;
use http::HeaderMap;

use crate::event::{Delivery, Stated, Timestamp, Verified, single_header};

/// What an acceptable delivery is.
#[derive(Debug)]
pub enum Receipt {
    /// It is authentic: admission decides what it means.
    Verified(Verified),
    /// The provider is only asking whether anybody is here: answer 2xx and keep nothing.
    Probe,
}

/// Why a delivery is refused. The words are short and bounded, for metrics and the operator;
/// the sender learns no more than the status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No signature that holds: answer 401, always with the same body.
    #[error("unauthenticated: {0}")]
    Unauthenticated(&'static str),
    /// The signature holds, and the signed timestamp is beyond the tolerance: answered alike.
    #[error("unauthenticated: {word}")]
    OutOfTime {
        /// Which way.
        word: &'static str,
        /// The sender's clock less ours, if it is not an old delivery.
        skew_seconds: i64,
    },
    /// The transport encoding is broken: answer 400.
    #[error("undecodable body: {0}")]
    Undecodable(&'static str),
    /// The content encoding is not spoken here: answer 415 and name `gzip`.
    #[error("unsupported content encoding, expected gzip or none")]
    UnsupportedEncoding,
    /// Beyond a size or ratio limit: answer 413.
    #[error("body beyond its limit")]
    TooLarge,
}

impl Refusal {
    /// The reason as a short, bounded word for metrics.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Unauthenticated(word) | Self::OutOfTime { word, .. } | Self::Undecodable(word) => word,
            Self::UnsupportedEncoding => "unsupported_encoding",
            Self::TooLarge => "too_large",
        }
    }
}

/// What the headers of a delivery say of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It may be authentic: the body has to be read.
    Signed,
    /// It can be nothing but the provider's probe, and so has next to no body.
    Unsigned,
}

/// Looks at a delivery's headers alone: whoever offers no signature that could hold is refused before
/// anybody reads the body.
///
/// # Errors
/// The [`Refusal`] that [`verify`] would come to, whatever the body.
pub fn claim(
    definition: &Definition,
    secrets: &[SigningSecret],
    headers: &HeaderMap,
    now: Timestamp,
) -> Result<Claim, Refusal> {
    body::encoding(headers, definition.gzip)?;
    match signature::Offer::read(&definition.signature, headers) {
        Err("missing_signature") if definition.probe => Ok(Claim::Unsigned),
        Err(word) => Err(Refusal::Unauthenticated(word)),
        Ok(_) if definition.is_verified() && !secrets.iter().any(|secret| secret.is_live(now)) => {
            Err(Refusal::Unauthenticated("no_live_secret"))
        }
        Ok(_) => Ok(Claim::Signed),
    }
}

/// Checks that a delivery is authentic, and undoes its transport encoding on the way.
///
/// Every secret that is live at the delivery's arrival is tried, in constant time. The cheap
/// checks come first: a delivery that carries no usable signature is refused before its body is
/// inflated.
///
/// # Errors
/// A [`Refusal`], which says how to answer.
pub fn verify(
    definition: &Definition,
    secrets: &[SigningSecret],
    delivery: Delivery,
    limits: &BodyLimits,
) -> Result<Receipt, Refusal> {
    let encoding = body::encoding(&delivery.headers, definition.gzip)?;
    let offer = match signature::Offer::read(&definition.signature, &delivery.headers) {
        Err("missing_signature") if definition.probe && is_unsigned_probe(&delivery.body) => {
            return Ok(Receipt::Probe);
        }
        offer => offer.map_err(Refusal::Unauthenticated)?,
    };
    let body = body::decode(delivery.body, encoding, limits)?;
    let proof = offer.check(&definition.signature, secrets, &body, delivery.arrived)?;
    if definition.probe && normalise::is_signed_probe(definition, &body) {
        return Ok(Receipt::Probe);
    }
    Ok(Receipt::Verified(Verified {
        body,
        stated: Stated {
            signed_id: proof.signed_id,
            event_type: event_type(definition, &delivery.headers),
            extensions: extensions(definition, &delivery.headers),
        },
        secret: proof.secret,
        skew_seconds: proof.skew_seconds,
        arrived: delivery.arrived,
    }))
}

/// The type that an event with these headers and this body would have, if any.
pub fn event_type_in(definition: &Definition, headers: &HeaderMap, body: &Bytes) -> Option<ByteString> {
    normalise::event_type_in(definition, event_type(definition, headers).as_ref(), body)
}

/// Why no event has this type, if none can; says what a type is.
pub fn event_type_problem(name: &str) -> Option<String> {
    (!normalise::is_type(name)).then(|| format!("expected {}", normalise::type_expected()))
}

/// Whether a body without a signature is the probe that asks for a 2xx: nothing, or `{}`.
/// An unsigned body that carries anything more is an unauthenticated event.
fn is_unsigned_probe(body: &Bytes) -> bool {
    let trimmed = body.trim_ascii();
    match (trimmed.first(), trimmed.last()) {
        (None, None) => true,
        (Some(b'{'), Some(b'}')) if trimmed.len() >= 2 => {
            trimmed[1..trimmed.len() - 1].trim_ascii().is_empty()
        }
        _ => false,
    }
}

/// A text beside the body as the event type, if it can be one.
pub fn stated_type(text: &str) -> Option<ByteString> {
    normalise::is_type(text).then(|| text.into())
}

/// The event type, for providers that state it in a header.
fn event_type(definition: &Definition, headers: &HeaderMap) -> Option<ByteString> {
    let mut values = headers.get_all(definition.type_header.as_ref()?).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    stated_type(std::str::from_utf8(value.as_bytes()).ok()?)
}

/// The attributes that travel along without being signed.
fn extensions(definition: &Definition, headers: &HeaderMap) -> Vec<(ByteString, ByteString)> {
    let attribute = |(name, header): &(ByteString, http::HeaderName)| {
        Some((name.clone(), Stated::value(single_header(headers, header)?)?))
    };
    definition.extensions.iter().filter_map(attribute).collect()
}

#[cfg(test)]
mod tests;
