//! What a sender may have signed in place of the body that came: a body without its last line break, the
//! compressed one, JSON in another style.

use std::borrow::Cow;

use bytes::Bytes;

use super::rewrite::{JsonEscapes, JsonSpace, JsonStyle, rewritten};
use crate::provider::body::{self, BodyLimits, GZIP_MAGIC};

/// Largest body whose JSON is written anew in every style, in bytes. Of a larger one only the white space is
/// written anew.
const STYLED_BYTES_MAX: usize = 1 << 20;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// What has to be done to the body that came to get the one that was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyChange {
    /// Nothing.
    AsItIs,
    /// Take the line break at its end away.
    LineEndRemoved,
    /// Add this line break at its end.
    LineEndAdded(&'static str),
    /// Write LF in place of CRLF.
    LineFeeds,
    /// Write CRLF in place of LF.
    CarriageReturns,
    /// Take the byte order mark away.
    MarkRemoved,
    /// Take it as it was sent, compressed.
    AsSent,
    /// Inflate it, though the definition does not say that the provider compresses.
    Inflated,
    /// Take all of it away.
    Emptied,
    /// Write its JSON in another style, with this behind it.
    Rewritten(JsonStyle, &'static str),
}

impl BodyChange {
    /// The changes that are tried together with another secret or another signed text, too.
    pub(super) const LIKELY: &[Self] = &[
        Self::LineEndRemoved,
        Self::LineEndAdded("\n"),
        Self::LineFeeds,
        Self::AsSent,
        Self::Inflated,
        Self::Rewritten(JsonStyle::spaced(JsonSpace::Compact), ""),
        Self::Rewritten(JsonStyle::spaced(JsonSpace::Spaced), ""),
        Self::Rewritten(JsonStyle::spaced(JsonSpace::Indented(2)), ""),
    ];

    /// The changes that are tried alone, beside the likely ones.
    pub(super) fn others(body_len: usize) -> Vec<Self> {
        let mut changes =
            vec![Self::LineEndAdded("\r\n"), Self::CarriageReturns, Self::MarkRemoved, Self::Emptied];
        let present = JsonStyle::spaced(JsonSpace::Present);
        let spaces = [JsonSpace::Compact, JsonSpace::Spaced, JsonSpace::Indented(2), JsonSpace::Indented(4)];
        changes.push(Self::Rewritten(JsonStyle::spaced(JsonSpace::Indented(4)), ""));
        if body_len > STYLED_BYTES_MAX {
            return changes;
        }
        changes.extend(spaces.map(|space| Self::Rewritten(JsonStyle::spaced(space), "\n")));
        let escapes = [
            JsonEscapes::NoSlashes,
            JsonEscapes::Slashes,
            JsonEscapes::Ascii,
            JsonEscapes::SlashesAndAscii,
            JsonEscapes::Fewest,
            JsonEscapes::Html,
        ];
        changes.extend(escapes.map(|escapes| Self::Rewritten(JsonStyle { escapes, ..present }, "")));
        for space in spaces {
            let spaced = JsonStyle::spaced(space);
            changes.extend(escapes.map(|escapes| Self::Rewritten(JsonStyle { escapes, ..spaced }, "")));
            let sorted = JsonStyle { sorted: true, ..spaced };
            changes.push(Self::Rewritten(sorted, ""));
            changes.extend(escapes.map(|escapes| Self::Rewritten(JsonStyle { escapes, ..sorted }, "")));
        }
        changes
    }

    /// What the signature shows.
    pub fn cause(self) -> String {
        let anew = "it was written anew on its way, or signed in another form than it was sent in";
        match self {
            Self::AsItIs => "the signature is over the body as it is".into(),
            Self::LineEndRemoved => {
                "the signature matches without the trailing newline of the body: it was signed without it"
                    .into()
            }
            Self::LineEndAdded(line_end) => {
                let name = if line_end == "\n" { "newline" } else { "CRLF" };
                format!("the signature matches with a {name} behind the body: it was signed with it")
            }
            Self::LineFeeds => "the signature matches the body with LF in place of each CRLF".into(),
            Self::CarriageReturns => "the signature matches the body with CRLF in place of each LF".into(),
            Self::MarkRemoved => {
                "the signature matches the body without the byte order mark at its beginning".into()
            }
            Self::AsSent => {
                "the signature is over the compressed bytes, expected over the inflated ones".into()
            }
            Self::Inflated => {
                "the signature is over the inflated bytes, and the definition takes bodies as they are sent"
                    .into()
            }
            Self::Emptied => "the signature is over an empty body".into(),
            Self::Rewritten(style, "") => {
                format!("the signature matches the body {}: {anew}", style.phrase())
            }
            Self::Rewritten(style, _) => format!(
                "the signature matches the body {} and with a newline behind it: {anew}",
                style.phrase()
            ),
        }
    }

    /// What to do about it, if it is nothing that a definition can say.
    pub fn fix(self) -> &'static str {
        match self {
            Self::AsItIs => "nothing has to be done about the body",
            Self::LineEndRemoved | Self::LineEndAdded(_) => {
                "sign exactly the bytes that are sent: editors add a line break, and curl's `-d` removes \
                 it, so send the body with `--data-binary`"
            }
            Self::LineFeeds | Self::CarriageReturns | Self::MarkRemoved => {
                "sign exactly the bytes that are sent, and record them byte for byte: editors and copies \
                 between systems change them"
            }
            Self::AsSent => "sign before compressing",
            Self::Inflated => "set `body: { encodings: [identity, gzip] }`",
            Self::Emptied => {
                "have the sender sign the bytes that it sends; often something else has read the body before \
                 it is signed"
            }
            Self::Rewritten(..) => {
                "let the proxy pass the body as it is, byte for byte, and have the sender sign the bytes \
                 that it sends"
            }
        }
    }
}

/// The body of a delivery: as it came, and as the definition takes it.
pub(super) struct SignedBodies {
    sent: Bytes,
    taken: Bytes,
    limits: BodyLimits,
}

impl SignedBodies {
    pub fn new(sent: &Bytes, gzip: bool, limits: BodyLimits) -> Self {
        let inflated = (gzip && sent.starts_with(&GZIP_MAGIC)).then(|| body::inflate(sent, &limits).ok());
        let taken = inflated.flatten().unwrap_or_else(|| sent.clone());
        Self { sent: sent.clone(), taken, limits }
    }

    /// The body that the definition takes for the signed one.
    pub fn taken(&self) -> &[u8] {
        &self.taken
    }

    /// The body after a change, `None` if there is nothing to change.
    pub fn changed(&self, change: BodyChange) -> Option<Cow<'_, [u8]>> {
        let taken = self.taken();
        let changed: Cow<'_, [u8]> = match change {
            BodyChange::AsItIs => return Some(taken.into()),
            BodyChange::LineEndRemoved => {
                let line = taken.strip_suffix(b"\n")?;
                line.strip_suffix(b"\r").unwrap_or(line).into()
            }
            BodyChange::LineEndAdded(line_end) => [taken, line_end.as_bytes()].concat().into(),
            BodyChange::LineFeeds => replaced(taken, b"\r\n", b"\n").into(),
            BodyChange::CarriageReturns if memchr::memchr(b'\r', taken).is_some() => return None,
            BodyChange::CarriageReturns => replaced(taken, b"\n", b"\r\n").into(),
            BodyChange::MarkRemoved => taken.strip_prefix(BYTE_ORDER_MARK)?.into(),
            BodyChange::AsSent => self.sent[..].into(),
            BodyChange::Inflated => {
                // What the definition inflates has been inflated; it is no gzip in gzip.
                let is_left = self.sent == self.taken && self.sent.starts_with(&GZIP_MAGIC);
                let inflated = is_left.then(|| body::inflate(&self.sent, &self.limits).ok()).flatten()?;
                inflated.to_vec().into()
            }
            BodyChange::Emptied => (&[][..]).into(),
            BodyChange::Rewritten(style, line_end) => {
                let mut text = rewritten(taken, style)?;
                text.extend_from_slice(line_end.as_bytes());
                text.into()
            }
        };
        (changed != taken).then_some(changed)
    }
}

/// The bytes with one sequence in place of each occurrence of another.
fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut replaced = Vec::with_capacity(bytes.len());
    let mut end = 0;
    for start in memchr::memmem::find_iter(bytes, from) {
        replaced.extend_from_slice(&bytes[end..start]);
        replaced.extend_from_slice(to);
        end = start + from.len();
    }
    replaced.extend_from_slice(&bytes[end..]);
    replaced
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: BodyLimits = BodyLimits { inflated_bytes_max: 1 << 20, inflate_ratio_max: 100 };

    fn changed(body: &'static [u8], change: BodyChange) -> Option<Vec<u8>> {
        SignedBodies::new(&Bytes::from_static(body), true, LIMITS).changed(change).map(Cow::into_owned)
    }

    #[test]
    fn line_ends_and_marks_are_changed_where_there_are_some() {
        for (body, change, expected) in [
            (&b"{}\n"[..], BodyChange::LineEndRemoved, Some(&b"{}"[..])),
            (b"{}\r\n", BodyChange::LineEndRemoved, Some(b"{}")),
            (b"{}\n\n", BodyChange::LineEndRemoved, Some(b"{}\n")),
            (b"{}", BodyChange::LineEndRemoved, None),
            (b"{}", BodyChange::LineEndAdded("\n"), Some(b"{}\n")),
            (b"{\r\n}\r\n", BodyChange::LineFeeds, Some(b"{\n}\n")),
            (b"{\n}\n", BodyChange::LineFeeds, None),
            (b"{\n}\n", BodyChange::CarriageReturns, Some(b"{\r\n}\r\n")),
            (b"{\r\n}\n", BodyChange::CarriageReturns, None),
            (b"{}", BodyChange::CarriageReturns, None),
            (b"\xEF\xBB\xBF{}", BodyChange::MarkRemoved, Some(b"{}")),
            (b"{}", BodyChange::MarkRemoved, None),
            (b"{}", BodyChange::AsSent, None),
            (b"{}", BodyChange::Inflated, None),
            (b"{}", BodyChange::Emptied, Some(b"")),
            (b"", BodyChange::Emptied, None),
        ] {
            assert_eq!(changed(body, change).as_deref(), expected, "{body:?} {change:?}");
        }
    }

    #[test]
    fn no_change_is_tried_twice_and_a_large_body_is_written_in_few_styles() {
        let all = |len| [BodyChange::LIKELY, &BodyChange::others(len)].concat();
        let (small, large) = (all(STYLED_BYTES_MAX), all(STYLED_BYTES_MAX + 1));
        for (number, change) in small.iter().enumerate() {
            assert!(!small[..number].contains(change), "{change:?}");
        }
        assert!(large.len() <= 13, "{}", large.len());
        assert!((60..=90).contains(&small.len()), "{}", small.len());
    }
}
