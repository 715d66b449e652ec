//! The signatures in a delivery's headers: in any header, in every form in which senders write one.
//!
//! Only what is as long as a MAC counts. No value of a header is repeated in a message: of a signature only
//! its form is told.

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderName};

use crate::provider::definition::Definition;
use crate::provider::definition_file::EncodingFile;
use crate::provider::scheme::{Algorithm, Form, HmacScheme, Mark};

/// Longest value of a header in which signatures are sought, in bytes.
const VALUE_BYTES_MAX: usize = 8 << 10;
/// Most entries of a list that are read.
const ENTRIES_MAX: usize = 64;
/// Most signatures that are considered.
const OFFERED_MAX: usize = 256;
/// Longest text in front of a signature, and longest name of one, in bytes.
const PREFIX_BYTES_MAX: usize = 24;

/// A signature, and how it is written.
pub(super) struct OfferedSignature {
    header: HeaderName,
    form: Form,
    writing: Writing,
    pub mark: Mark,
}

/// How bytes are written as text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Writing {
    Hex,
    Base64,
    /// Without padding.
    BareBase64,
    /// With `-` and `_`.
    UrlBase64,
}

/// How a signature is written otherwise than the definition says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OfferFault {
    /// It is in another header.
    OtherHeader {
        /// The header it is in.
        found: HeaderName,
        /// The definition's header.
        expected: HeaderName,
    },
    /// It has another encoding.
    OtherEncoding {
        /// Its encoding.
        found: &'static str,
        /// The definition's encoding.
        expected: &'static str,
        /// Whether a definition can state the found one.
        known: bool,
    },
    /// It has something else in front, or is in another kind of list.
    OtherForm {
        /// How it is written.
        found: String,
        /// How the definition writes it.
        expected: String,
        /// The keys of a definition that writes it so.
        keys: String,
    },
    /// It is made with another algorithm.
    OtherAlgorithm {
        /// Its algorithm.
        found: &'static str,
        /// The definition's algorithm.
        expected: &'static str,
        /// The key of a definition with it.
        key: &'static str,
    },
}

impl OfferFault {
    /// What the signature shows.
    pub fn cause(&self) -> String {
        match self {
            Self::OtherHeader { found, expected } => {
                format!("the signature is in `{found}`, expected in `{expected}`")
            }
            Self::OtherEncoding { found, expected, .. } => {
                format!("the signature is {found}, expected {expected}")
            }
            Self::OtherForm { found, expected, .. } => {
                format!("the signature is written as {found}, expected {expected}")
            }
            Self::OtherAlgorithm { found, expected, .. } => {
                format!("the signature is made with {found}, expected {expected}")
            }
        }
    }

    /// What to set in the definition; an error says what to do instead.
    pub(super) fn keys(&self) -> Result<String, &'static str> {
        match self {
            Self::OtherHeader { found, .. } => Ok(format!("`signature.header` to `{found}`")),
            Self::OtherEncoding { found, known: true, .. } => Ok(format!("`encoding: {found}`")),
            Self::OtherEncoding { .. } => {
                Err("have the sender write it as padded base64 of the usual alphabet (`+` and `/`)")
            }
            Self::OtherForm { keys, .. } => Ok(keys.clone()),
            Self::OtherAlgorithm { key, .. } => Ok((*key).into()),
        }
    }
}

impl OfferedSignature {
    /// How it differs from what the definition says.
    pub fn faults(&self, scheme: &HmacScheme) -> Vec<OfferFault> {
        let mut faults = Vec::new();
        if self.header != scheme.header {
            let (found, expected) = (self.header.clone(), scheme.header.clone());
            faults.push(OfferFault::OtherHeader { found, expected });
        }
        let expected = Writing::of(scheme.encoding);
        if self.writing != expected {
            let known = matches!(self.writing, Writing::Hex | Writing::Base64);
            let (found, expected) = (self.writing.name(), expected.name());
            faults.push(OfferFault::OtherEncoding { found, expected, known });
        }
        if self.form != scheme.form {
            let (found, expected) = (phrase(&self.form), phrase(&scheme.form));
            faults.push(OfferFault::OtherForm { found, expected, keys: form_keys(&self.form) });
        }
        if let Some(found) = algorithm(self.mark.len).filter(|found| *found != scheme.algorithm) {
            let ((found, key), (expected, _)) = (names(found), names(scheme.algorithm));
            faults.push(OfferFault::OtherAlgorithm { found, expected, key });
        }
        faults
    }
}

impl Writing {
    fn of(encoding: EncodingFile) -> Self {
        match encoding {
            EncodingFile::Hex => Self::Hex,
            EncodingFile::Base64 => Self::Base64,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Hex => "hex",
            Self::Base64 => "base64",
            Self::BareBase64 => "base64 without padding",
            Self::UrlBase64 => "base64 of the alphabet for URLs",
        }
    }
}

/// Every signature that the headers can hold.
pub(super) fn offered(headers: &HeaderMap) -> Vec<OfferedSignature> {
    let texts = headers.iter().filter_map(|(name, value)| Some((name, value.to_str().ok()?)));
    let pieces = texts
        .filter(|(_, text)| text.len() <= VALUE_BYTES_MAX)
        .flat_map(|(name, text)| pieces(text).into_iter().map(move |(form, piece)| (name, form, piece)));
    let signature = |(header, form, piece): (&HeaderName, Form, &str)| {
        let (writing, mark) = decoded(piece)?;
        Some(OfferedSignature { header: header.clone(), form, writing, mark })
    };
    pieces.filter_map(signature).take(OFFERED_MAX).collect()
}

/// The algorithm whose MACs have so many bytes.
pub(super) fn algorithm(len: usize) -> Option<Algorithm> {
    Algorithm::ALL.into_iter().find(|algorithm| algorithm.len() == len)
}

/// An algorithm's name, and the key of a definition with it.
fn names(algorithm: Algorithm) -> (&'static str, &'static str) {
    match algorithm {
        Algorithm::Sha1 => ("SHA-1", "`scheme: hmac-sha1`"),
        Algorithm::Sha256 => ("SHA-256", "`scheme: hmac-sha256`"),
        Algorithm::Sha512 => ("SHA-512", "`scheme: hmac-sha512`"),
    }
}

/// The parts of a header's value that can be a signature, by the form in which they would be one.
fn pieces(text: &str) -> Vec<(Form, &str)> {
    let marks = text.match_indices(['=', ':', ',', ' ']).map(|(at, mark)| at + mark.len());
    let cuts = std::iter::once(0).chain(marks.take_while(|cut| *cut <= PREFIX_BYTES_MAX));
    let mut pieces: Vec<(Form, &str)> =
        cuts.map(|cut| (Form::Single { prefix: text[..cut].into() }, &text[cut..])).collect();
    for (version, piece) in entries(text, ' ', ',') {
        pieces.push((Form::Versions { version: version.into() }, piece));
    }
    for (version, piece) in entries(text, ',', '=') {
        pieces.push((Form::Fields { version: version.into() }, piece));
    }
    pieces
}

/// The named entries of a list.
fn entries(text: &str, between: char, behind_name: char) -> impl Iterator<Item = (&str, &str)> {
    let is_name = |name: &str| {
        let of_a_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        (1..=PREFIX_BYTES_MAX).contains(&name.len()) && name.chars().all(of_a_name)
    };
    let entries = text.split(between).filter(|entry| !entry.is_empty()).take(ENTRIES_MAX);
    let named = entries.filter_map(move |entry| entry.trim_matches(' ').split_once(behind_name));
    named.filter(move |(name, _)| is_name(name))
}

/// A text as a MAC. No text can be read in two ways, because each way has its own length.
fn decoded(text: &str) -> Option<(Writing, Mark)> {
    let mut mark = Mark { bytes: [0; 64], len: 0 };
    if let Some(algorithm) = Algorithm::ALL.into_iter().find(|algorithm| text.len() == 2 * algorithm.len()) {
        mark.len = algorithm.len();
        hex::decode_to_slice(text, &mut mark.bytes[..mark.len]).ok()?;
        return Some((Writing::Hex, mark));
    }
    if !(27..=88).contains(&text.len()) {
        return None;
    }
    let engines = [
        (Writing::Base64, BASE64_STANDARD),
        (Writing::BareBase64, BASE64_STANDARD_NO_PAD),
        (Writing::UrlBase64, BASE64_URL_SAFE),
        (Writing::UrlBase64, BASE64_URL_SAFE_NO_PAD),
    ];
    let (writing, bytes) =
        engines.iter().find_map(|(writing, engine)| Some((*writing, engine.decode(text).ok()?)))?;
    mark.len = algorithm(bytes.len())?.len();
    mark.bytes[..mark.len].copy_from_slice(&bytes);
    Some((writing, mark))
}

fn phrase(form: &Form) -> String {
    match form {
        Form::Single { prefix } if prefix.is_empty() => "the signature alone".into(),
        Form::Single { prefix } => format!("one signature behind `{prefix}`"),
        Form::Versions { version } => format!("`{version},…` in a list with spaces between"),
        Form::Fields { version } => format!("`{version}=…` in a list with commas between"),
    }
}

/// The keys of a definition that writes signatures in this form.
fn form_keys(form: &Form) -> String {
    match form {
        Form::Single { prefix } if prefix.is_empty() => "`form: single` and no `prefix`".into(),
        Form::Single { prefix } => format!("`form: single` and `prefix: \"{prefix}\"`"),
        Form::Versions { version } => format!("`form: versions` and `version: {version}`"),
        Form::Fields { version } => format!("`form: fields` and `version: {version}`"),
    }
}

/// The form of the signatures that a scheme expects in its header.
pub(super) fn expected_form(scheme: &HmacScheme) -> String {
    let len = scheme.algorithm.len();
    let signature = match scheme.encoding {
        EncodingFile::Hex => format!("hex, {} digits", 2 * len),
        EncodingFile::Base64 => {
            format!("base64, {} characters", base64::encoded_len(len, true).unwrap_or_default())
        }
    };
    match &scheme.form {
        Form::Single { prefix } if prefix.is_empty() => signature,
        form => format!("{}: {signature}", phrase(form)),
    }
}

/// The form of a signature's header in a few words, which tell nothing of its value: `hex, 64 digits`,
/// `fields t, v1`.
pub fn signature_form(text: &str) -> String {
    let one = |text: &str| {
        let (writing, _) = decoded(text)?;
        let unit = if writing == Writing::Hex { "digits" } else { "characters" };
        Some(format!("{}, {} {unit}", writing.name(), text.len()))
    };
    if let Some(form) = one(text) {
        return form;
    }
    // Names are told only of what is certainly a signature or a timestamp.
    let is_told = |value: &str| {
        decoded(value).is_some() || (!value.is_empty() && value.bytes().all(|c| c.is_ascii_digit()))
    };
    let names = |between: char, behind_name: char| {
        let told = entries(text, between, behind_name).filter(|(_, value)| is_told(value));
        told.map(|(name, _)| name).collect::<Vec<_>>()
    };
    let behind_a_prefix = pieces(text).into_iter().find_map(|(form, piece)| match form {
        Form::Single { prefix } if !prefix.contains(',') => Some(format!("`{prefix}` and {}", one(piece)?)),
        _ => None,
    });
    let (fields, versions) = (names(',', '='), names(' ', ','));
    let unnamed = |between: char, behind_name: char| {
        // Several spaces part the entries of a list as one does.
        let mut entries = text.split(between).filter(|entry| between != ' ' || !entry.is_empty());
        if entries.all(|entry| entry.contains(behind_name)) { "" } else { " and an entry without a name" }
    };
    match (fields.len(), versions.len(), behind_a_prefix) {
        (0, 0, None) => format!("{} bytes that are no signature", text.len()),
        (0 | 1, 0, Some(form)) => form,
        (0, _, _) => format!("versions {}{}", versions.join(", "), unnamed(' ', ',')),
        _ => format!("fields {}{}", fields.join(", "), unnamed(',', '=')),
    }
}

/// The header in which this provider signs, and the form of the signature in these headers; `None` if the
/// provider does not sign.
pub fn offered_form(definition: &Definition, headers: &HeaderMap) -> Option<String> {
    let name = &definition.signature.hmac.as_ref()?.header;
    let forms = headers
        .get_all(name)
        .iter()
        .map(|value| value.to_str().map_or_else(|_| "bytes that are no ASCII".into(), signature_form));
    let forms: Vec<String> = forms.collect();
    let form = if forms.is_empty() { "missing".into() } else { forms.join("; and ") };
    Some(format!("{name}: {form}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_form_of_a_signature_is_told_and_nothing_of_its_value() {
        let hex = "ab".repeat(32);
        let base64 = BASE64_STANDARD.encode([0xFB; 32]);
        let bare = base64.trim_end_matches('=');
        for (text, form) in [
            (hex.clone(), "hex, 64 digits"),
            (base64.clone(), "base64, 44 characters"),
            (bare.into(), "base64 without padding, 43 characters"),
            (base64.replace('/', "_").replace('+', "-"), "base64 of the alphabet for URLs, 44 characters"),
            (format!("sha256={hex}"), "`sha256=` and hex, 64 digits"),
            (format!("HMAC-SHA256 {base64}"), "`HMAC-SHA256 ` and base64, 44 characters"),
            (format!("t=1700000000,v1={hex}"), "fields t, v1"),
            (format!("t=1700000000,v1={base64}"), "fields t, v1"),
            (format!("t=1700000000,v1={hex},"), "fields t, v1 and an entry without a name"),
            (format!("v1,{base64}"), "versions v1"),
            (format!("v1,{base64} {base64}"), "versions v1 and an entry without a name"),
            (format!("v1,{base64} v2,{base64}"), "versions v1, v2"),
            ("a-secret-by-mistake".into(), "19 bytes that are no signature"),
            ("secret=by-mistake,x=y".into(), "21 bytes that are no signature"),
            (hex[..62].into(), "62 bytes that are no signature"),
            (String::new(), "0 bytes that are no signature"),
        ] {
            assert_eq!(signature_form(&text), form, "{text}");
        }
    }

    #[test]
    fn a_signature_is_found_in_any_form_and_a_digest_of_another_length_is_none() {
        let marks = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-any", text.parse().unwrap());
            offered(&headers).iter().map(|one| one.mark.len).collect::<Vec<_>>()
        };
        let (sha1, sha256, sha512) = (hex::encode([1; 20]), hex::encode([2; 32]), hex::encode([3; 64]));
        assert_eq!(marks(&sha1), [20]);
        assert_eq!(marks(&sha512), [64]);
        assert!(marks(&format!("t=1,v0={sha256},v1={sha1}")).contains(&20));
        assert!(marks(&format!("v1,{}", BASE64_STANDARD.encode([4; 64]))).contains(&64));
        for text in ["", "a", &sha256[1..], &sha256[2..], &BASE64_STANDARD.encode([5; 31]), "é"] {
            assert_eq!(marks(text), [0; 0], "{text}");
        }
    }
}
