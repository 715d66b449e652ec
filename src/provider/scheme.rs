//! How a provider signs: which bytes, with what, and how it is written.
//!
//! Here are the parts of every scheme and what they compute. Whether a delivery is authentic is
//! decided in [`super::signature`].

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName, HeaderValue};
use sha1::Sha1;
use sha2::{Sha256, Sha512};

use super::Refusal;
use super::compile::Definition;
use super::definition::{EncodingFile, SecretEncodingFile};
use super::secret::SigningSecret;
use crate::event::Timestamp;

/// The number of digits that a timestamp may have.
const TIMESTAMP_DIGITS_MAX: usize = 20;

/// How a provider signs.
#[derive(Clone, Debug)]
pub(super) struct Scheme {
    /// `None` if nothing is verified.
    pub hmac: Option<HmacScheme>,
    /// Whether that was asked for. If not, no webhook is taken.
    pub open: bool,
    pub secret: SecretForm,
}

impl Scheme {
    /// That of a provider of which it is not known how it signs.
    pub fn unknown() -> Self {
        let secret = SecretForm { encoding: SecretEncodingFile::default(), prefix: None };
        Self { hmac: None, open: false, secret }
    }
}

/// A scheme that verifies.
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

/// How secrets are written.
#[derive(Clone, Debug)]
pub(super) struct SecretForm {
    pub encoding: SecretEncodingFile,
    pub prefix: Option<String>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Algorithm {
    Sha1,
    Sha256,
    Sha512,
}

/// How signatures stand in their header.
#[derive(Clone, Debug)]
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

/// Where the signed timestamp stands and how far off it may be.
#[derive(Clone, Debug)]
pub(super) struct TimestampRule {
    pub place: TimestampPlace,
    pub tolerance_seconds: u64,
}

#[derive(Clone, Debug)]
pub(super) enum TimestampPlace {
    Header(HeaderName),
    Field(String),
}

/// A signature or MAC: as many bytes of the array as the algorithm makes.
#[derive(Clone, Copy)]
pub(super) struct Mark {
    pub bytes: [u8; 64],
    pub len: usize,
}

impl HmacScheme {
    /// A written signature as bytes, if it has the right length and not a stray character.
    pub fn decode(&self, text: &str) -> Option<Mark> {
        let mut mark = Mark { bytes: [0; 64], len: self.algorithm.len() };
        match self.encoding {
            EncodingFile::Hex => hex::decode_to_slice(text, &mut mark.bytes[..mark.len]).ok()?,
            EncodingFile::Base64 => {
                // Room for what 88 characters without padding stand for; a MAC is never that long.
                let mut room = [0; 66];
                if base64::encoded_len(mark.len, true) != Some(text.len()) {
                    return None;
                }
                let len = BASE64_STANDARD.decode_slice(text, &mut room).ok()?;
                // The right number of characters, with data where the padding belongs.
                if len != mark.len {
                    return None;
                }
                mark.bytes[..len].copy_from_slice(&room[..len]);
            }
        }
        Some(mark)
    }

    /// The MAC that a secret makes over the signed text.
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
        match self.algorithm {
            Algorithm::Sha1 => mac::<Hmac<Sha1>>(secret.key(), parts),
            Algorithm::Sha256 => mac::<Hmac<Sha256>>(secret.key(), parts),
            Algorithm::Sha512 => mac::<Hmac<Sha512>>(secret.key(), parts),
        }
    }

    /// The sender's clock less ours, in seconds, if the scheme signs a timestamp.
    ///
    /// # Errors
    /// If it is no number of seconds or beyond the tolerance.
    pub fn skew(&self, timestamp: Option<&str>, now: Timestamp) -> Result<Option<i64>, Refusal> {
        let (Some(rule), Some(text)) = (&self.timestamp, timestamp) else { return Ok(None) };
        if !(1..=TIMESTAMP_DIGITS_MAX).contains(&text.len()) || !text.bytes().all(|c| c.is_ascii_digit()) {
            return Err(Refusal::Unauthenticated("malformed_timestamp"));
        }
        // All digits: the only error left is overflow.
        let stated = i64::try_from(text.parse::<u64>().unwrap_or(u64::MAX)).unwrap_or(i64::MAX);
        let skew = stated.saturating_sub(now.unix_seconds());
        if skew.unsigned_abs() <= rule.tolerance_seconds {
            return Ok(Some(skew));
        }
        let as_milliseconds = (stated / 1000).saturating_sub(now.unix_seconds());
        if as_milliseconds.unsigned_abs() <= rule.tolerance_seconds.max(86_400) {
            return Err(Refusal::Unauthenticated("timestamp_in_milliseconds"));
        }
        let word = if skew < 0 { "timestamp_too_old" } else { "timestamp_too_new" };
        Err(Refusal::OutOfTime { word, skew_seconds: skew })
    }

    /// A signature as it stands in the header.
    fn write(&self, mark: Mark, timestamp: &str) -> String {
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
    fn len(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

/// The headers that a provider would send with this body: signature, id and timestamp.
///
/// For tools that play the provider. `id` is used where the scheme signs one; a scheme that
/// verifies nothing needs no headers.
pub fn sign(
    definition: &Definition,
    secret: &SigningSecret,
    body: &[u8],
    now: Timestamp,
    id: &str,
) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let Some(scheme) = &definition.signature.hmac else { return headers };
    let timestamp = now.unix_seconds().to_string();
    let mark = scheme.mac(secret, Some(id), Some(&timestamp), body);
    let mut add = |name: &HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    add(&scheme.header, &scheme.write(mark, &timestamp));
    if let Some(name) = &scheme.id_header {
        add(name, id);
    }
    if let Some(TimestampPlace::Header(name)) = scheme.timestamp.as_ref().map(|rule| &rule.place) {
        add(name, &timestamp);
    }
    headers
}

/// The MAC over the parts, one behind the other.
pub(super) fn mac<'a, M: Mac + KeyInit>(key: &[u8], parts: impl Iterator<Item = &'a [u8]>) -> Mark {
    let mut mac = <M as KeyInit>::new_from_slice(key).expect("HMAC takes a key of any length");
    parts.for_each(|part| mac.update(part));
    let digest = mac.finalize().into_bytes();
    let mut mark = Mark { bytes: [0; 64], len: digest.len() };
    mark.bytes[..digest.len()].copy_from_slice(&digest);
    mark
}
