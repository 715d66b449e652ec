//! How a provider signs: the signed bytes, the algorithm, and the form of the signature.
//!
//! This file has the parts of every scheme and their computations. [`super::signature`] decides
//! whether a delivery is authentic.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use http::HeaderName;
use sha1::Sha1;
use sha2::{Sha256, Sha512};

use super::DeliveryRefusal;
use super::definition_file::EncodingFile;
use super::secret::{SecretForm, SigningSecret};
use crate::event::Timestamp;

/// Most digits of a timestamp.
const TIMESTAMP_DIGITS_MAX: usize = 20;

/// How a provider signs its deliveries.
#[derive(Clone, Debug)]
pub(super) struct Scheme {
    /// The algorithm, `None` if deliveries are not verified.
    pub hmac: Option<HmacScheme>,
    /// Whether the definition asks for no verification. Without that and without an algorithm,
    /// webhooks are refused.
    pub open: bool,
    pub secret: SecretForm,
}

impl Scheme {
    /// The scheme of a definition without `signature`.
    pub fn unknown() -> Self {
        Self { hmac: None, open: false, secret: SecretForm::default() }
    }
}

/// A scheme with a signature to verify.
#[derive(Clone, Debug)]
pub(super) struct HmacScheme {
    pub algorithm: Algorithm,
    pub header: HeaderName,
    pub form: Form,
    pub encoding: EncodingFile,
    pub signed: Vec<Part>,
    pub id_header: Option<HeaderName>,
    pub timestamp: Option<TimestampRule>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Sha1,
    Sha256,
    Sha512,
}

/// How signatures are written in their header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `prefix` and one signature.
    Single { prefix: String },
    /// `version,signature version,signature …`
    Versions { version: String },
    /// `name=value,name=value,…`
    Fields { version: String },
}

/// A piece of the signed text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Text(String),
    Id,
    Timestamp,
    Body,
}

/// Where the signed timestamp is stated, and its tolerance.
#[derive(Clone, Debug)]
pub(super) struct TimestampRule {
    pub place: TimestampPlace,
    pub tolerance_seconds: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TimestampPlace {
    Header(HeaderName),
    Field(String),
}

/// A signature or MAC, of which only the first `len` bytes count.
#[derive(Clone, Copy)]
pub(super) struct Mark {
    pub bytes: [u8; 64],
    pub len: usize,
}

impl HmacScheme {
    /// A written signature as bytes, `None` if its length or a character is wrong.
    pub fn decode(&self, text: &str) -> Option<Mark> {
        let mut mark = Mark { bytes: [0; 64], len: self.algorithm.len() };
        match self.encoding {
            // Of any other length it could be written with a `0x`, which the decoder takes, too.
            EncodingFile::Hex if text.len() == 2 * mark.len => {
                hex::decode_to_slice(text, &mut mark.bytes[..mark.len]).ok()?;
            }
            EncodingFile::Hex => return None,
            EncodingFile::Base64 => {
                // Space for the bytes of 88 characters without padding; no MAC is that long.
                let mut room = [0; 66];
                if base64::encoded_len(mark.len, true) != Some(text.len()) {
                    return None;
                }
                let len = BASE64_STANDARD.decode_slice(text, &mut room).ok()?;
                // The number of characters is right, but there is data in place of the padding.
                if len != mark.len {
                    return None;
                }
                mark.bytes[..len].copy_from_slice(&room[..len]);
            }
        }
        Some(mark)
    }

    /// The MAC of this secret over the signed text.
    pub fn mac(
        &self,
        secret: &SigningSecret,
        id: Option<&str>,
        timestamp: Option<&str>,
        body: &[u8],
    ) -> Mark {
        let parts = self.signed.iter().map(|part| match part {
            Part::Text(text) => text.as_bytes(),
            Part::Id => id.unwrap_or_default().as_bytes(),
            Part::Timestamp => timestamp.unwrap_or_default().as_bytes(),
            Part::Body => body,
        });
        self.algorithm.mac(secret, parts)
    }

    /// Sender's clock minus `now` in seconds, if the scheme signs a timestamp.
    ///
    /// # Errors
    /// When the timestamp is not a number of seconds, or beyond the tolerance.
    pub fn skew(&self, timestamp: Option<&str>, now: Timestamp) -> Result<Option<i64>, DeliveryRefusal> {
        let (Some(rule), Some(text)) = (&self.timestamp, timestamp) else { return Ok(None) };
        if !(1..=TIMESTAMP_DIGITS_MAX).contains(&text.len()) || !text.bytes().all(|c| c.is_ascii_digit()) {
            return Err(DeliveryRefusal::Unauthenticated("malformed_timestamp"));
        }
        // The text is all digits, so the only possible error is overflow.
        let stated = i64::try_from(text.parse::<u64>().unwrap_or(u64::MAX)).unwrap_or(i64::MAX);
        let skew = stated.saturating_sub(now.unix_seconds());
        if skew.unsigned_abs() <= rule.tolerance_seconds {
            return Ok(Some(skew));
        }
        let as_milliseconds = (stated / 1000).saturating_sub(now.unix_seconds());
        if as_milliseconds.unsigned_abs() <= rule.tolerance_seconds.max(86_400) {
            return Err(DeliveryRefusal::Unauthenticated("timestamp_in_milliseconds"));
        }
        let word = if skew < 0 { "timestamp_too_old" } else { "timestamp_too_new" };
        Err(DeliveryRefusal::OutOfTime { word, skew_seconds: skew })
    }

    /// The signature as it is written in the header.
    pub(super) fn write(&self, mark: Mark, timestamp: &str) -> String {
        let bytes = &mark.bytes[..mark.len];
        let text = match self.encoding {
            EncodingFile::Hex => hex::encode(bytes),
            EncodingFile::Base64 => BASE64_STANDARD.encode(bytes),
        };
        let stamp = match self.timestamp.as_ref().map(|rule| &rule.place) {
            Some(TimestampPlace::Field(name)) => format!("{name}={timestamp},"),
            _ => String::new(),
        };
        match &self.form {
            Form::Single { prefix } => format!("{prefix}{text}"),
            Form::Versions { version } => format!("{version},{text}"),
            Form::Fields { version } => format!("{stamp}{version}={text}"),
        }
    }
}

impl Algorithm {
    pub const ALL: [Self; 3] = [Self::Sha1, Self::Sha256, Self::Sha512];

    /// The MAC of this secret over the concatenated parts.
    pub fn mac<'a>(self, secret: &SigningSecret, parts: impl Iterator<Item = &'a [u8]>) -> Mark {
        match self {
            Self::Sha1 => mac::<Hmac<Sha1>>(secret.key(), parts),
            Self::Sha256 => mac::<Hmac<Sha256>>(secret.key(), parts),
            Self::Sha512 => mac::<Hmac<Sha512>>(secret.key(), parts),
        }
    }

    /// Length of a MAC in bytes.
    pub fn len(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

/// The MAC over the concatenated parts.
pub(super) fn mac<'a, M: Mac + KeyInit>(key: &[u8], parts: impl Iterator<Item = &'a [u8]>) -> Mark {
    let mut mac = <M as KeyInit>::new_from_slice(key).expect("HMAC takes a key of any length");
    parts.for_each(|part| mac.update(part));
    let digest = mac.finalize().into_bytes();
    let mut mark = Mark { bytes: [0; 64], len: digest.len() };
    mark.bytes[..digest.len()].copy_from_slice(&digest);
    mark
}
