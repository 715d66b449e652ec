//! The keys with which a sender may have signed: every configured secret, and what becomes of it when it is
//! written, copied or decoded otherwise.

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD};

use super::Candidate;
use crate::event::Timestamp;
use crate::provider::definition_file::SecretEncodingFile;
use crate::provider::secret::{SecretForm, SigningSecret};

/// What providers write in front of secrets, and some senders take for a part of them.
const KNOWN_PREFIX: &str = "whsec_";

/// What has to be done to a configured secret to get the key that signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretChange {
    /// Nothing.
    AsItIs,
    /// Take the line breaks at its end away.
    LineBreakRemoved,
    /// Add a line break at its end.
    LineBreakAdded,
    /// Take the white space around it away.
    SpaceRemoved,
    /// Take the quotes around it away.
    QuotesRemoved,
    /// Take its first line alone.
    FirstLine,
    /// Take its last line alone.
    LastLine,
    /// Take what stands behind `NAME=`.
    ValueAlone,
    /// Decode it from this encoding.
    Decoded(&'static str),
    /// Decode once more what the definition decodes.
    DecodedTwice,
    /// Do not decode it from this encoding.
    Undecoded(&'static str),
    /// Take this away from its beginning.
    PrefixRemoved(String),
    /// Take this away from its beginning, and decode the rest from base64.
    PrefixRemovedAndDecoded(String),
    /// Take its whole text, with this in front.
    PrefixAdded(String),
}

impl SecretChange {
    /// The change in words, behind "the signature matches".
    pub(super) fn phrase(&self) -> String {
        match self {
            Self::AsItIs => "with the secret as it is".into(),
            Self::LineBreakRemoved => "once the secret's line break is removed".into(),
            Self::LineBreakAdded => "with a line break behind the secret, as the sender's copy has it".into(),
            Self::SpaceRemoved => "once the white space around the secret is removed".into(),
            Self::QuotesRemoved => "once the quotes around the secret are removed".into(),
            Self::FirstLine => "with the first line of the secret alone".into(),
            Self::LastLine => "with the last line of the secret alone".into(),
            Self::ValueAlone => "with what stands behind the `=` of the secret alone".into(),
            Self::Decoded(encoding) => format!("with the secret decoded from {encoding}"),
            Self::DecodedTwice => "with the secret decoded once more than the definition says".into(),
            Self::Undecoded(encoding) => {
                format!("with the secret's text as it is written, not decoded from {encoding}")
            }
            Self::PrefixRemoved(prefix) => format!("without `{prefix}` in front of the secret"),
            Self::PrefixRemovedAndDecoded(prefix) => {
                format!("without `{prefix}` in front of the secret and the rest decoded from base64")
            }
            Self::PrefixAdded(prefix) => {
                format!("with the secret's whole text, `{prefix}` in front of it included")
            }
        }
    }

    /// What to do about it where the secret is kept; an error is what to change in the definition.
    pub(super) fn fix(&self) -> Result<&'static str, String> {
        let keys = match self {
            Self::AsItIs => return Ok("nothing has to be done about the secret"),
            Self::LineBreakRemoved => {
                return Ok("write the file without it (`printf %s`), and so the variable");
            }
            Self::LineBreakAdded => return Ok("take the line break out of the secret that the sender has"),
            Self::SpaceRemoved => return Ok("write the secret without white space around it"),
            Self::QuotesRemoved => {
                return Ok("write the secret without quotes: files of variables and secrets keep them");
            }
            Self::FirstLine | Self::LastLine => return Ok("leave that line alone in the file"),
            Self::ValueAlone => return Ok("write the value alone, without the name and the `=`"),
            Self::DecodedTwice => {
                return Ok("write the secret as the provider shows it, not encoded once more");
            }
            Self::Decoded(encoding) => format!("`secret_encoding: {encoding}`"),
            Self::Undecoded(_) => "`secret_encoding: utf8`".into(),
            Self::PrefixRemoved(prefix) => format!("`secret_prefix: {prefix}`"),
            Self::PrefixRemovedAndDecoded(prefix) => {
                format!("`secret_prefix: {prefix}` and `secret_encoding: base64`")
            }
            Self::PrefixAdded(_) => "`secret_encoding: utf8` and no `secret_prefix`".into(),
        };
        Err(keys)
    }
}

/// A key, with the secret that it comes from.
pub(super) struct SigningKey {
    pub secret: SigningSecret,
    /// Number of the candidate whose secret it is.
    pub candidate: usize,
    pub change: SecretChange,
    /// Numbers of further candidates of other sources whose secret, as it is, is the same key.
    pub also: Vec<usize>,
}

/// All keys, in four groups.
#[derive(Default)]
pub(super) struct SigningKeys {
    all: Vec<SigningKey>,
    own_end: usize,
    own_changed_end: usize,
    others_end: usize,
}

impl SigningKeys {
    /// Those that are valid at `at` come first, so that a key with several references counts as valid.
    pub fn new(candidates: &[Candidate<'_>], at: Timestamp) -> Self {
        let mut keys = Self::default();
        let numbered = || candidates.iter().enumerate();
        let own = |own: bool| numbered().filter(move |(_, candidate)| candidate.own == own);
        for live in [true, false] {
            for (number, candidate) in own(true).filter(|(_, one)| one.secret.is_live(at) == live) {
                keys.add(number, candidates, SecretChange::AsItIs, candidate.secret.clone());
            }
        }
        keys.own_end = keys.all.len();
        for (number, candidate) in own(true) {
            keys.add_changed(number, candidates, candidate);
        }
        keys.own_changed_end = keys.all.len();
        for (number, candidate) in own(false) {
            keys.add(number, candidates, SecretChange::AsItIs, candidate.secret.clone());
        }
        keys.others_end = keys.all.len();
        for (number, candidate) in own(false) {
            keys.add_changed(number, candidates, candidate);
        }
        keys
    }

    /// The source's own secrets as they are.
    pub fn own(&self) -> &[SigningKey] {
        &self.all[..self.own_end]
    }

    /// The source's own secrets, changed.
    pub fn own_changed(&self) -> &[SigningKey] {
        &self.all[self.own_end..self.own_changed_end]
    }

    /// The secrets of other sources as they are.
    pub fn others(&self) -> &[SigningKey] {
        &self.all[self.own_changed_end..self.others_end]
    }

    /// The secrets of other sources, changed.
    pub fn others_changed(&self) -> &[SigningKey] {
        &self.all[self.others_end..]
    }

    fn add_changed(&mut self, number: usize, candidates: &[Candidate<'_>], candidate: &Candidate<'_>) {
        for (change, key) in changed(candidate.secret, candidate.definition.secret_form()) {
            if !key.is_empty() {
                self.add(number, candidates, change, SigningSecret::from_key(key));
            }
        }
    }

    /// Adds a key, unless it is there already; then the other source is noted that has it.
    fn add(
        &mut self,
        candidate: usize,
        candidates: &[Candidate<'_>],
        change: SecretChange,
        secret: SigningSecret,
    ) {
        match self.all.iter_mut().find(|key| key.secret.is_same_key(&secret)) {
            None => self.all.push(SigningKey { secret, candidate, change, also: Vec::new() }),
            Some(known) => {
                let owner = |number: usize| candidates[number].source;
                let is_other = owner(candidate) != owner(known.candidate) && change == SecretChange::AsItIs;
                if is_other && !known.also.iter().any(|also| owner(*also) == owner(candidate)) {
                    known.also.push(candidate);
                }
            }
        }
    }
}

/// The keys that a secret becomes when it is written or read otherwise.
fn changed(secret: &SigningSecret, form: &SecretForm) -> Vec<(SecretChange, Vec<u8>)> {
    let key = secret.key();
    let prefix = form.prefix.as_deref();
    let behind_prefix =
        |text: &[u8]| prefix.map(|prefix| (prefix.to_owned(), [prefix.as_bytes(), text].concat()));
    let added = |text: &[u8]| {
        behind_prefix(text).map(|(prefix, text)| (SecretChange::PrefixAdded(prefix), text)).into_iter()
    };
    match form.encoding {
        SecretEncodingFile::Utf8 => {
            let mut keys =
                std::str::from_utf8(key).map(|text| changed_text(text, prefix)).unwrap_or_default();
            keys.extend(added(key));
            keys
        }
        SecretEncodingFile::Base64 => {
            let text = BASE64_STANDARD.encode(key).into_bytes();
            let mut keys: Vec<_> = added(&text).collect();
            keys.push((SecretChange::Undecoded("base64"), text));
            if let Ok(inside) = std::str::from_utf8(key) {
                keys.push((SecretChange::LineBreakRemoved, without_line_breaks(inside).into()));
                let decoded = from_base64(inside).into_iter().chain(from_hex(inside));
                keys.extend(decoded.map(|key| (SecretChange::DecodedTwice, key)));
            }
            keys
        }
        SecretEncodingFile::Hex => {
            let text = hex::encode(key).into_bytes();
            let upper = hex::encode_upper(key).into_bytes();
            let mut keys: Vec<_> = added(&text).collect();
            keys.extend([text, upper].map(|text| (SecretChange::Undecoded("hex"), text)));
            keys
        }
    }
}

/// The keys that a text becomes which is the key itself.
fn changed_text(text: &str, prefix: Option<&str>) -> Vec<(SecretChange, Vec<u8>)> {
    let mut keys: Vec<(SecretChange, Vec<u8>)> = Vec::new();
    let mut add = |change: SecretChange, key: Option<&str>| {
        keys.extend(key.filter(|key| *key != text).map(|key| (change, key.as_bytes().to_vec())));
    };
    let trimmed = text.trim();
    add(SecretChange::LineBreakRemoved, Some(without_line_breaks(text)));
    add(SecretChange::SpaceRemoved, Some(trimmed));
    add(SecretChange::QuotesRemoved, without_quotes(trimmed));
    add(SecretChange::FirstLine, trimmed.lines().next().map(str::trim));
    add(SecretChange::LastLine, trimmed.lines().last().map(str::trim));
    let value = assigned(trimmed).map(|value| without_quotes(value).unwrap_or(value));
    add(SecretChange::ValueAlone, value);
    let prefixes = [Some(KNOWN_PREFIX), prefix].into_iter().flatten();
    let bare = prefixes.filter_map(|prefix| Some((prefix.to_owned(), trimmed.strip_prefix(prefix)?)));
    for (prefix, rest) in bare {
        keys.push((SecretChange::PrefixRemoved(prefix.clone()), rest.as_bytes().to_vec()));
        keys.extend(from_base64(rest).map(|key| (SecretChange::PrefixRemovedAndDecoded(prefix), key)));
    }
    keys.extend(from_base64(trimmed).map(|key| (SecretChange::Decoded("base64"), key)));
    keys.extend(from_hex(trimmed).map(|key| (SecretChange::Decoded("hex"), key)));
    for line_break in ["\n", "\r\n"] {
        keys.push((SecretChange::LineBreakAdded, [text, line_break].concat().into_bytes()));
    }
    keys
}

fn without_line_breaks(text: &str) -> &str {
    text.trim_end_matches(['\r', '\n'])
}

fn without_quotes(text: &str) -> Option<&str> {
    let between = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    between('"').or_else(|| between('\''))
}

/// The value of a text of the form `NAME=value`.
fn assigned(text: &str) -> Option<&str> {
    let (name, value) = text.trim_start_matches("export ").split_once('=')?;
    let of_a_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    name.chars().all(of_a_name).then_some(value)
}

/// The bytes of a base64 text, in any of the spellings that libraries read.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    [BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD]
        .iter()
        .find_map(|engine| engine.decode(text).ok())
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    // The decoder takes a `0x` in front, which is no digit of the secret.
    let is_hex = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then(|| hex::decode(text).ok()).flatten()
}
