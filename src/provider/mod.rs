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
mod json;
mod message;
mod normalise;
mod pointer;
mod sample;
mod scheme;
mod secret;
mod signature;

pub use body::{BodyLimits, body_heaviness};
pub use builtin::{builtin, builtin_named};
pub use catalogue::{Catalogue, TypeInfo, UNCLASSIFIED};
pub use compile::{Definition, DefinitionProblem};
pub use definition::{
    BodyEncodingFile, BodyFile, ChannelFile, DefinitionFile, EncodingFile, EventFile, EventTypeFile,
    FamilyFile, FormFile, ProbeFile, SchemeFile, SecretEncodingFile, SignatureFile, TimeUnitFile,
    TimestampFile, TypeFile,
};
pub use json::{Defect, Flaw};
pub use message::{TopicEnvelope, decode_message, message_heaviness, topic_extensions};
pub(crate) use normalise::{Unusable, digest_id, letter_id, normalise};
pub use sample::{event_headers, sample};
pub use scheme::sign;
pub use secret::{SecretProblem, SigningSecret, secret_oddity};

use bytes::Bytes;
use bytestring::ByteString;
use http::HeaderMap;

use crate::event::{Delivery, Stated, Verified, single_header};

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

/// Why no event has this type, if none can; says what a type is.
pub fn event_type_problem(name: &str) -> Option<String> {
    let bytes_max = normalise::NAME_BYTES_MAX;
    let expected = || format!("expected 1 to {bytes_max} visible ASCII characters, and so no spaces");
    (!normalise::is_name(name)).then(expected)
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

/// The event type, for providers that state it in a header.
fn event_type(definition: &Definition, headers: &HeaderMap) -> Option<ByteString> {
    Stated::value(single_header(headers, definition.type_header.as_ref()?)?)
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
