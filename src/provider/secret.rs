//! Signing secrets: strictly parsed, hidden, and valid for a period.
//!
//! A secret that is too short, a placeholder or in a wrong encoding is refused before the bridge
//! starts, because deliveries would seem to be verified with it. The bytes are wiped when they are
//! dropped and cannot be logged; people see a fingerprint.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use secrecy::{ExposeSecret, SecretSlice};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::definition_file::SecretEncodingFile;
use crate::event::Timestamp;

/// Least length of a secret in bytes: 128 bits.
const BYTES_MIN: usize = 16;
/// Recommended least length of a secret in bytes, by Standard Webhooks.
const BYTES_ADVISED: usize = 24;
/// Texts that people write instead of a secret, compared in lower case without punctuation.
const PLACEHOLDERS: [&str; 14] = [
    "apisecret",
    "changeit",
    "changeme",
    "example",
    "insertsecrethere",
    "mysecret",
    "password",
    "placeholder",
    "replaceme",
    "secret",
    "signingsecret",
    "webhooksecret",
    "yoursecret",
    "yourapisecret",
];

/// How secrets are written.
#[derive(Clone, Debug, Default)]
pub struct SecretForm {
    /// The encoding of the key's bytes.
    pub(super) encoding: SecretEncodingFile,
    /// A prefix that people can leave out.
    pub(super) prefix: Option<String>,
    /// What the provider's API keys begin with, which are no signing secrets.
    pub(super) api_key_prefixes: &'static [&'static str],
}

impl SecretForm {
    /// Whether a text is an API key of the provider, which signs with another secret.
    pub fn is_api_key(&self, text: &str) -> bool {
        self.api_key_prefixes.iter().any(|prefix| text.starts_with(prefix))
    }
}

/// A key with which deliveries are signed. Copies share the bytes.
#[derive(Clone)]
pub struct SigningSecret {
    key: Arc<SecretSlice<u8>>,
    not_before: Option<Timestamp>,
    not_after: Option<Timestamp>,
    fingerprint: String,
}

/// Why a secret cannot be used. Contains no part of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretProblem {
    /// The secret is empty.
    #[error("the secret is empty, expected the provider's signing secret")]
    Empty,
    /// The secret is a word such as `changeme`.
    #[error("the secret is a placeholder, expected the provider's signing secret")]
    Placeholder,
    /// The secret is not in the encoding that the provider's definition names.
    #[error("the secret is not valid {0}, expected it as the provider shows it")]
    Encoding(&'static str),
    /// The secret is too short to be safe.
    #[error("the secret has {0} bytes, expected at least {BYTES_MIN}")]
    Short(usize),
    /// The secret is the provider's API key, with which it never signs.
    #[error("the value is an API key, expected the endpoint's signing secret, which begins with `whsec_`")]
    ApiKey,
    /// The secret is never valid.
    #[error("the secret ends before it begins, expected `not_before` earlier than `not_after`")]
    Window,
}

impl SigningSecret {
    /// Parses a secret in the form that the provider's definition states.
    ///
    /// The secret is valid from `not_before` to `not_after`, both included; without a bound it is not
    /// limited.
    ///
    /// # Errors
    /// When the secret is empty, a placeholder, not canonically encoded, shorter than 16 bytes, or
    /// never valid.
    pub fn parse(
        text: &str,
        form: &SecretForm,
        not_before: Option<Timestamp>,
        not_after: Option<Timestamp>,
    ) -> Result<Self, SecretProblem> {
        let text = form.prefix.as_deref().and_then(|prefix| text.strip_prefix(prefix)).unwrap_or(text);
        if text.trim().is_empty() {
            return Err(SecretProblem::Empty);
        }
        if is_placeholder(text) {
            return Err(SecretProblem::Placeholder);
        }
        let key = match form.encoding {
            SecretEncodingFile::Utf8 => text.as_bytes().to_vec(),
            // The engine refuses spare bits that are set, which would be a second spelling.
            SecretEncodingFile::Base64 => {
                BASE64_STANDARD.decode(text).map_err(|_| SecretProblem::Encoding("base64"))?
            }
            SecretEncodingFile::Hex => {
                // The decoder takes a `0x` in front, which would be a second spelling.
                let digits = Some(text).filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()));
                digits.and_then(|text| hex::decode(text).ok()).ok_or(SecretProblem::Encoding("hex"))?
            }
        };
        if key.len() < BYTES_MIN {
            return Err(SecretProblem::Short(key.len()));
        }
        if matches!((not_before, not_after), (Some(start), Some(end)) if start > end) {
            return Err(SecretProblem::Window);
        }
        Ok(Self { not_before, not_after, ..Self::from_key(key) })
    }

    /// A secret of exactly these bytes, without a period.
    pub(super) fn from_key(key: Vec<u8>) -> Self {
        let fingerprint = hex::encode(&Sha256::digest(&key)[..3]);
        Self { key: Arc::new(key.into()), not_before: None, not_after: None, fingerprint }
    }

    /// The secret that a reload has found in place of this one, with the same period.
    ///
    /// # Errors
    /// As for [`SigningSecret::parse`], and when it is the provider's API key.
    pub fn replaced_by(&self, text: &str, form: &SecretForm) -> Result<Self, SecretProblem> {
        if form.is_api_key(text) {
            return Err(SecretProblem::ApiKey);
        }
        Self::parse(text, form, self.not_before, self.not_after)
    }

    /// This secret after another one has replaced it: valid until its `not_after`, or else for
    /// `overlap` from now.
    pub fn superseded(self, now: Timestamp, overlap: Duration) -> Self {
        let overlap = i64::try_from(overlap.as_nanos()).unwrap_or(i64::MAX);
        let end = self.not_after.unwrap_or(Timestamp(now.0.saturating_add(overlap)));
        Self { not_after: Some(end), ..self }
    }

    /// This secret, valid until this moment at the latest.
    pub fn until(self, end: Timestamp) -> Self {
        let end = self.not_after.map_or(end, |own| own.min(end));
        Self { not_after: Some(end), ..self }
    }

    /// Whether two secrets are the same key, whatever their periods.
    pub fn is_same_key(&self, other: &Self) -> bool {
        self.key().ct_eq(other.key()).into()
    }

    /// First moment at which the secret is valid, if there is one.
    pub fn start(&self) -> Option<Timestamp> {
        self.not_before
    }

    /// Last moment at which the secret is valid, if there is one.
    pub fn end(&self) -> Option<Timestamp> {
        self.not_after
    }

    /// Whether the secret's period is over.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.not_after.is_some_and(|end| end < now)
    }

    /// Whether the secret is valid at this moment.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.not_before.is_none_or(|start| start <= now) && self.not_after.is_none_or(|end| now <= end)
    }

    /// Whether the secret is shorter than the 24 bytes that Standard Webhooks recommends.
    pub fn is_short(&self) -> bool {
        self.key().len() < BYTES_ADVISED
    }

    /// First six hexadecimal digits of the secret's SHA-256, enough to tell secrets apart.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The bytes of the key.
    pub(super) fn key(&self) -> &[u8] {
        self.key.expose_secret()
    }
}

/// Something in a text that hardly any secret has, and that makes every signature wrong if it is not
/// part of the secret. The phrase repeats no part of the text.
pub fn secret_oddity(text: &str) -> Option<&'static str> {
    let quoted = |quote: char| text.len() > 1 && text.starts_with(quote) && text.ends_with(quote);
    let (name, value) = text.split_once('=').unwrap_or_default();
    // Base64 has `=` only at its end, and digits or small letters before it.
    let assigns = !value.trim_matches('=').is_empty()
        && name
            .trim_start_matches("export ")
            .chars()
            .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
        && name.contains('_');
    match text {
        _ if text.starts_with('\u{feff}') => Some("a byte order mark in front"),
        _ if text.contains('\0') => Some("a NUL byte"),
        _ if text.starts_with('#') => Some("a comment"),
        _ if text.trim_end_matches(['\r', '\n']).contains(['\r', '\n']) => Some("more than one line"),
        _ if text.trim() != text => Some("white space around it"),
        _ if text.contains(char::is_whitespace) => Some("white space in it"),
        _ if text.contains(char::is_control) => Some("a control character"),
        _ if quoted('"') || quoted('\'') => Some("quotes around it"),
        _ if assigns => Some("the form `NAME=value`"),
        _ => None,
    }
}

impl fmt::Display for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "***(sha256:{})", self.fingerprint)
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whether a text is a placeholder: a stock phrase, a template, or one letter repeated.
fn is_placeholder(text: &str) -> bool {
    let plain: String = text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    let first = plain.chars().next();
    let repeated = plain.chars().all(|c| Some(c) == first);
    let template = (text.starts_with('<') && text.ends_with('>')) || text.starts_with("${");
    let spelled = |words: &str| PLACEHOLDERS.contains(&words);
    repeated || template || spelled(&plain) || spelled(plain.trim_end_matches("here"))
}

#[cfg(test)]
mod tests {
    use super::super::builtin_named;
    use super::*;

    fn parse(provider: &str, text: &str) -> Result<SigningSecret, SecretProblem> {
        let definition = builtin_named(provider).expect("built in");
        SigningSecret::parse(text, definition.secret_form(), None, None)
    }

    #[test]
    fn a_secret_shows_a_fingerprint_and_nothing_of_itself() {
        let secret = parse("stream", "test_secret_do_not_use_in_production").expect("long enough");
        let shown = format!("{secret} {secret:?}");
        assert_eq!(secret.fingerprint().len(), 6);
        assert_eq!(shown, format!("***(sha256:{0}) ***(sha256:{0})", secret.fingerprint()));
    }

    #[test]
    fn a_placeholder_is_no_secret() {
        for text in [
            "changeme",
            "CHANGE_ME",
            "your-secret",
            "your-secret-here",
            "xxxxxxxxxxxxxxxxxxxxxxxx",
            "<your api secret goes here>",
            "${STREAM_SECRET_VALUE}",
            "----------------",
            "0000000000000000",
        ] {
            assert_eq!(parse("stream", text).err(), Some(SecretProblem::Placeholder), "{text}");
        }
    }

    #[test]
    fn what_hardly_any_secret_has_is_named_and_nothing_of_the_secret() {
        for (text, oddity) in [
            (" 0123456789abcdef", "white space around it"),
            ("0123456789abcdef\n", "white space around it"),
            ("01234567 89abcdef", "white space in it"),
            ("# the secret\n0123456789abcdef", "a comment"),
            ("0123456789abcdef\nfedcba9876543210", "more than one line"),
            ("\"0123456789abcdef\"", "quotes around it"),
            ("STREAM_SECRET=0123456789abcdef", "the form `NAME=value`"),
            ("0123456789\0abcdef", "a NUL byte"),
            ("\u{feff}0123456789abcdef", "a byte order mark in front"),
        ] {
            assert_eq!(secret_oddity(text), Some(oddity), "{text:?}");
        }
        for text in
            ["0123456789abcdef", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "QUJD_A==", "a=b", "it's-one"]
        {
            assert_eq!(secret_oddity(text), None, "{text:?}");
        }
    }

    #[test]
    fn an_empty_secret_is_refused_with_or_without_its_prefix() {
        for text in ["", "  ", "\n"] {
            assert_eq!(parse("stream", text).err(), Some(SecretProblem::Empty));
        }
        assert_eq!(parse("standard-webhooks", "whsec_").err(), Some(SecretProblem::Empty));
    }

    #[test]
    fn a_secret_is_measured_after_decoding() {
        assert_eq!(parse("stream", "fifteen-bytes-x").err(), Some(SecretProblem::Short(15)));
        assert_eq!(parse("fastpix", "ZGVtby1zZWNyZXQ=").err(), Some(SecretProblem::Short(11)));
        let sixteen = parse("stream", "sixteen-bytes-xy").expect("at the bound");
        assert!(sixteen.is_short());
        let advised = parse("stream", "twenty-four-bytes-abcdef").expect("above the bound");
        assert!(!advised.is_short());
    }

    #[test]
    fn a_base64_secret_has_one_spelling_only() {
        let text = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let with = parse("standard-webhooks", text).expect("canonical");
        let without = parse("standard-webhooks", &text[6..]).expect("the prefix is optional");
        assert_eq!(with.fingerprint(), without.fingerprint());
        for wrong in [
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n",
            "c2l4dGVlbi1ieXRlcy14eQ",
            "c2l4dGVlbi1ieXRlcy14eR==",
            "c2l4_GVlbi1ieXRlcy14eQ==",
        ] {
            assert_eq!(
                parse("standard-webhooks", wrong).err(),
                Some(SecretProblem::Encoding("base64")),
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_hex_secret_is_digits_only() {
        let form = SecretForm { encoding: SecretEncodingFile::Hex, ..SecretForm::default() };
        let digits = "00112233445566778899aabbccddeeff";
        assert!(SigningSecret::parse(digits, &form, None, None).is_ok());
        for wrong in
            [format!("0x{digits}"), format!("0X{digits}"), format!("{digits}0"), format!("{digits}g0")]
        {
            let refused = SigningSecret::parse(&wrong, &form, None, None).err();
            assert_eq!(refused, Some(SecretProblem::Encoding("hex")), "{wrong}");
        }
    }

    #[test]
    fn a_secret_is_live_between_its_bounds() {
        let definition = builtin_named("stream").expect("built in");
        let live = |start, end| {
            SigningSecret::parse(
                "sixteen-bytes-xy",
                definition.secret_form(),
                Some(Timestamp(start)),
                Some(Timestamp(end)),
            )
        };
        let secret = live(10, 20).expect("in order");
        let moments = [9, 10, 20, 21].map(|now| secret.is_live(Timestamp(now)));
        assert_eq!(moments, [false, true, true, false]);
        assert_eq!(live(20, 10).err(), Some(SecretProblem::Window));
    }

    #[test]
    fn a_secret_that_another_replaced_is_live_to_its_stated_end_or_for_a_while() {
        let definition = builtin_named("stream").expect("built in");
        let parse = |end: Option<i64>| {
            SigningSecret::parse("sixteen-bytes-xy", definition.secret_form(), None, end.map(Timestamp))
                .expect("usable")
        };
        let (now, while_ns) = (Timestamp(100), Duration::from_nanos(10));
        for (stated, end) in [(None, 110), (Some(500), 500), (Some(50), 50)] {
            let before = parse(stated).superseded(now, while_ns);
            assert_eq!(before.end(), Some(Timestamp(end)), "{stated:?}");
            assert_eq!((before.is_over(Timestamp(end)), before.is_over(Timestamp(end + 1))), (false, true));
        }
        let entry = parse(Some(500));
        let new = entry.replaced_by("sixteen-bytes-yz", definition.secret_form()).expect("usable");
        assert_eq!((new.end(), new.is_same_key(&entry)), (Some(Timestamp(500)), false), "of the same entry");
        assert_eq!(entry.replaced_by("short", definition.secret_form()).err(), Some(SecretProblem::Short(5)));
        let stripe = builtin_named("stripe").expect("built in");
        let key = entry.replaced_by("sk_live_0123456789abcdef", stripe.secret_form());
        assert_eq!(key.err(), Some(SecretProblem::ApiKey));
    }
}
