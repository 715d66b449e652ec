//! Providers as data, and the verification of deliveries.
//!
//! [`verify`] consumes a [`Delivery`] and returns a [`Verified`] one or a refusal; [`crate::admit`]
//! decides what an authentic body means. A provider is a [`Definition`], built in or configured, in
//! the same form; signature schemes and transport encodings are code. Invariant: only a delivery with
//! a valid signature becomes a [`Verified`] one here. This module does no I/O, reads no clock and
//! keeps no state.

mod as_if_signed;
mod body;
mod builtin;
mod catalogue;
mod compile;
mod definition;
mod definition_file;
pub mod diagnose;
mod json;
mod message;
mod normalise;
mod pointer;
mod salvage;
mod sample;
mod scheme;
mod secret;
mod sign;
mod signature;
mod suggest;

pub use as_if_signed::as_if_signed;
pub use body::{BodyLimits, body_heaviness, body_heaviness_max, plain_body};
pub use builtin::{builtin, builtin_named};
pub use catalogue::{Catalogue, TypeInfo, UNCLASSIFIED};
pub use compile::DefinitionProblem;
pub use definition::Definition;
pub use definition_file::{
    BodyEncodingFile, BodyFile, ChannelFile, DefinitionFile, DeliveryIdFile, EncodingFile, EventFile,
    EventTypeFile, FamilyFile, FormFile, ProbeFile, SchemeFile, SecretEncodingFile, SignatureFile,
    TimeUnitFile, TimestampFile, TypeFile,
};
pub use json::{Defect, Flaw};
pub use message::{
    SUBSCRIPTION_CONFIRMATION, TOPIC_EXTENSIONS, TopicEnvelope, TopicEnvelopeKind, UNSUBSCRIBE_CONFIRMATION,
    decode_message, message_heaviness, topic_extensions,
};
pub(crate) use normalise::{Unusable, letter_id, normalise};
pub(crate) use salvage::salvage;
pub use sample::{event_headers, sample};
pub use secret::{SecretForm, SecretProblem, SigningSecret, secret_oddity};
pub use sign::sign;
pub use suggest::{did_you_mean, nearest};

use bytes::Bytes;
use bytestring::ByteString;
use http::HeaderMap;

use crate::event::{Delivery, HeaderClaims, Timestamp, Verified, single_header};

/// An accepted delivery.
#[derive(Debug)]
pub enum Receipt {
    /// The delivery is authentic: admission decides what it means.
    Verified(Verified),
    /// The provider checks whether the endpoint exists: answer 2xx and keep nothing.
    Probe,
}

/// Why a delivery is refused. The reasons are from a fixed list, for metrics and the operator; the
/// sender learns the status only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryRefusal {
    /// There is no valid signature: answer 401, always with the same body.
    #[error("unauthenticated: {0}")]
    Unauthenticated(&'static str),
    /// The signature is valid, but its timestamp is beyond the tolerance: answer 401 as well.
    #[error("unauthenticated: {word}")]
    OutOfTime {
        /// `timestamp_too_old` or `timestamp_too_new`.
        word: &'static str,
        /// Sender's clock minus this machine's clock, or the age of an old delivery, in seconds.
        skew_seconds: i64,
    },
    /// The transport encoding is invalid: answer 400.
    #[error("undecodable body: {0}")]
    Undecodable(&'static str),
    /// The content encoding is not supported: answer 415 and name `gzip`.
    #[error("unsupported content encoding, expected gzip or none")]
    UnsupportedEncoding,
    /// The body exceeds a limit on its size or ratio: answer 413.
    #[error("the body exceeds a limit on its size")]
    TooLarge,
}

impl DeliveryRefusal {
    /// The reason from a fixed list, for metrics.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Unauthenticated(word) | Self::OutOfTime { word, .. } | Self::Undecodable(word) => word,
            Self::UnsupportedEncoding => "unsupported_encoding",
            Self::TooLarge => "too_large",
        }
    }
}

/// What a delivery's headers say about its signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryClaim {
    /// The headers offer a signature: the body has to be read.
    Signed,
    /// There is no signature, so this can only be the provider's probe, with hardly any body.
    Unsigned,
}

/// Checks a delivery's headers alone, so that a delivery without a usable signature is refused before
/// its body is read.
///
/// # Errors
/// The [`DeliveryRefusal`] that [`verify`] would return, whatever the body.
pub fn claim(
    definition: &Definition,
    secrets: &[SigningSecret],
    headers: &HeaderMap,
    now: Timestamp,
) -> Result<DeliveryClaim, DeliveryRefusal> {
    body::encoding(headers, definition.gzip)?;
    match offer(definition, headers)? {
        None if definition.probe => Ok(DeliveryClaim::Unsigned),
        None => Err(DeliveryRefusal::Unauthenticated(signature::MISSING)),
        Some(_) if definition.is_verified() && !secrets.iter().any(|secret| secret.is_live(now)) => {
            Err(DeliveryRefusal::Unauthenticated("no_live_secret"))
        }
        Some(_) => Ok(DeliveryClaim::Signed),
    }
}

/// Checks that a delivery is authentic, and undoes its transport encoding.
///
/// Every secret that is valid at the delivery's arrival is tried, in constant time. The cheap checks
/// come first: a delivery without a usable signature is refused before its body is decompressed.
///
/// # Errors
/// A [`DeliveryRefusal`], which decides the answer.
pub fn verify(
    definition: &Definition,
    secrets: &[SigningSecret],
    delivery: Delivery<'_>,
    limits: &BodyLimits,
) -> Result<Receipt, DeliveryRefusal> {
    let encoding = body::encoding(delivery.headers, definition.gzip)?;
    let Some(offer) = offer(definition, delivery.headers)? else {
        let is_probe = definition.probe && is_unsigned_probe(&delivery.body);
        return is_probe
            .then_some(Receipt::Probe)
            .ok_or(DeliveryRefusal::Unauthenticated(signature::MISSING));
    };
    let body = body::decode(delivery.body, encoding, limits)?;
    let proof = offer.check(&definition.signature, secrets, &body, delivery.arrived)?;
    if definition.probe && normalise::is_signed_probe(definition, &body) {
        return Ok(Receipt::Probe);
    }
    Ok(Receipt::Verified(Verified {
        body,
        stated: HeaderClaims {
            signed_id: proof.signed_id,
            event_type: event_type(definition, delivery.headers),
            extensions: extensions(definition, delivery.headers),
        },
        secret: proof.secret,
        skew_seconds: proof.skew_seconds,
        arrived: delivery.arrived,
    }))
}

/// What the headers offer as a proof of the sender, `None` if there is no signature.
fn offer<'a>(
    definition: &Definition,
    headers: &'a HeaderMap,
) -> Result<Option<signature::Offer<'a>>, DeliveryRefusal> {
    signature::Offer::read(&definition.signature, headers).map_err(DeliveryRefusal::Unauthenticated)
}

/// The type that an event with these headers and this body would have, if it can be told.
pub fn event_type_in(definition: &Definition, headers: &HeaderMap, body: &Bytes) -> Option<ByteString> {
    normalise::event_type_in(definition, event_type(definition, headers).as_ref(), body)
}

/// What is expected of an event type, if this is not one; `None` if it is.
pub fn event_type_problem(name: &str) -> Option<String> {
    (!normalise::is_type(name)).then(|| format!("expected {}", normalise::type_expected()))
}

/// Whether an unsigned body is the provider's probe: empty, or `{}`. A larger unsigned body is an
/// unauthenticated event.
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

/// A text as an event type, `None` if it cannot be one.
pub fn stated_type(text: &str) -> Option<ByteString> {
    normalise::is_type(text).then(|| text.into())
}

/// The event type from the header, for providers that state it there.
fn event_type(definition: &Definition, headers: &HeaderMap) -> Option<ByteString> {
    let mut values = headers.get_all(definition.type_header.as_ref()?).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    stated_type(std::str::from_utf8(value.as_bytes()).ok()?)
}

/// The unsigned attributes from the headers.
fn extensions(definition: &Definition, headers: &HeaderMap) -> Vec<(ByteString, ByteString)> {
    let attribute = |(name, header): &(ByteString, http::HeaderName)| {
        Some((name.clone(), HeaderClaims::value(single_header(headers, header)?)?))
    };
    definition.extensions.iter().filter_map(attribute).collect()
}

#[cfg(test)]
mod tests;
