//! Reads an authentic body: type, id, time and key, wherever the provider states them.
//!
//! The values are parts of the body that [`super::json`] found in its one strict pass, and share its
//! memory if they have no escapes. The body itself is not changed, except that redacted values are
//! replaced. No value is guessed: one of a wrong kind counts as missing.

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::definition::Definition;
use super::definition_file::TimeUnitFile;
use super::json::{Captures, Span, scan, unescape};
use super::pointer::{Pointers, Slot};
use super::salvage::{REDACTED, salvage};
use crate::event::{BODY_SCHEME, EventTime, Timestamp, Verified};

/// Longest event type, id or header value that is used, in bytes.
const NAME_BYTES_MAX: usize = 255;
/// Longest partition key that is used, in bytes.
const KEY_BYTES_MAX: usize = 1024;

/// The attributes and the data of a body.
#[derive(Debug)]
pub(crate) struct BodyFacts {
    pub event_type: ByteString,
    pub family: ByteString,
    pub id: ByteString,
    pub time: EventTime,
    pub key: Option<ByteString>,
    /// The event's data, with redacted values replaced.
    pub body: Bytes,
}

/// Why a body cannot become an event.
#[derive(Debug)]
pub(crate) struct Unusable {
    /// A reason from a fixed list.
    pub word: &'static str,
    /// What is wrong and where. Contains no part of the body.
    pub detail: String,
    /// The body, with every value replaced that might have to be redacted.
    pub body: Bytes,
}

/// Reads an authentic body. `known_as` is the [`letter_id`] that a quarantined delivery got from its
/// whole body.
pub(crate) fn normalise(
    definition: &Definition,
    verified: &Verified,
    known_as: Option<&ByteString>,
) -> Result<BodyFacts, Unusable> {
    let captures = scan(&verified.body, &definition.pointers).map_err(|defect| Unusable {
        word: defect.flaw.word(),
        detail: defect.to_string(),
        body: salvage(&verified.body, definition.redactions()),
    })?;
    let read = Reading { definition, body: &verified.body, captures };
    let event_type = read.event_type(verified.stated.event_type.as_ref()).map_err(|place| {
        let detail = format!("no usable event type at {place}, expected {}", type_expected());
        Unusable { word: "type", detail, body: read.redacted(u64::MAX) }
    })?;
    let class = definition.catalogue.class(&event_type);
    let data =
        read.data().map_err(|detail| Unusable { word: "data", detail, body: read.redacted(u64::MAX) })?;
    Ok(BodyFacts {
        id: read.id(verified, known_as, &event_type),
        time: read.time(verified.arrived),
        key: class.key_slots.iter().find_map(|slot| read.key(*slot)),
        body: read.redacted_within(data, class.redactions),
        family: class.family.clone(),
        event_type,
    })
}

/// The event type that a body states, together with the header's.
pub(super) fn event_type_in(
    definition: &Definition,
    stated: Option<&ByteString>,
    body: &Bytes,
) -> Option<ByteString> {
    let captures = scan(body, &definition.pointers).ok()?;
    Reading { definition, body, captures }.event_type(stated).ok()
}

/// Whether an authentic body is the provider's probe: empty, or JSON with neither id nor type.
pub(super) fn is_signed_probe(definition: &Definition, body: &[u8]) -> bool {
    let bare = |captures: Captures| {
        let mut identity = definition.type_slots.iter().chain(&definition.id_slots);
        identity.all(|slot| captures.span(*slot).is_none())
    };
    body.trim_ascii().is_empty() || scan(body, &definition.pointers).is_ok_and(bare)
}

/// The id of an event that states none: the digest of its body.
fn digest_id(body: &[u8]) -> ByteString {
    id_of(&Sha256::digest(body))
}

/// The id of a delivery that cannot become an event: the digest of its body and, if it has one, its
/// signed id or the delivery's id that tells events apart.
pub(crate) fn letter_id(definition: &Definition, verified: &Verified) -> ByteString {
    let Verified { stated, body, .. } = verified;
    match (&stated.signed_id, definition.identifying_id(stated)) {
        (Some(signed), _) => digest_id_beside(signed, body),
        // No header contains a NUL, so no signed id can give the same digest.
        (None, Some(delivery)) => {
            let digest = Sha256::new().chain_update("\0").chain_update(delivery).chain_update("\0");
            id_of(&digest.chain_update(body).finalize())
        }
        (None, None) => digest_id(body),
    }
}

/// The digest of a body and a text that makes one body several events.
fn digest_id_beside(beside: &str, body: &[u8]) -> ByteString {
    let digest = Sha256::new().chain_update(beside).chain_update(b"\n").chain_update(body).finalize();
    id_of(&digest)
}

/// `sha256-` and the digest in hexadecimal, written in place, because every event without an id needs
/// it.
fn id_of(digest: &[u8]) -> ByteString {
    let mut text = BODY_SCHEME.as_bytes().to_vec();
    let prefix_len = text.len();
    text.resize(prefix_len + 2 * digest.len(), 0);
    hex::encode_to_slice(digest, &mut text[prefix_len..]).expect("there is space for two digits per byte");
    ByteString::try_from(text).expect("hexadecimal digits are ASCII")
}

/// A phrase for what can be an event type.
pub(super) fn type_expected() -> String {
    format!(
        "text of 1 to {NAME_BYTES_MAX} bytes, not only white space, and without control or invisible \
         characters"
    )
}

/// Whether a text can be an event type: 1 to 255 bytes, not only white space, and without control
/// characters or characters that are invisible or make the text look different. The text is never
/// changed, so two spellings of one letter are two types, and so is a type with a space in front.
pub(super) fn is_type(text: &str) -> bool {
    let unseen = |c: char| {
        let format = matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}');
        format || is_forbidden(c)
    };
    let seen = |text: &str| is_printable_ascii(text) || !text.contains(unseen);
    (1..=NAME_BYTES_MAX).contains(&text.len()) && seen(text) && !text.trim().is_empty()
}

/// Whether a text is printable ASCII, as nearly all are. Such a text has no character that is unseen or
/// forbidden, and this is quicker to find out than what each character is.
fn is_printable_ascii(text: &str) -> bool {
    text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

/// Whether CloudEvents exclude a character from every attribute: a control character or a
/// noncharacter.
fn is_forbidden(c: char) -> bool {
    c.is_control() || matches!(c, '\u{fdd0}'..='\u{fdef}') || u32::from(c) & 0xfffe == 0xfffe
}

/// Whether a text can be an event id: 1 to 255 visible ASCII characters, with any punctuation.
pub(super) fn is_name(text: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_graphic())
}

/// A scanned body and its definition.
struct Reading<'a> {
    definition: &'a Definition,
    body: &'a Bytes,
    captures: Captures,
}

impl Reading<'_> {
    /// The event type, or the place that states an unusable one. Of several pointers the first with a
    /// value counts: if that is unusable, no other one replaces it.
    fn event_type(&self, stated: Option<&ByteString>) -> Result<ByteString, String> {
        let definition = self.definition;
        let place = |slot: &Slot| definition.pointers.text(*slot).to_owned();
        let first = definition.type_slots.iter().find(|slot| self.states(**slot));
        let inside = |slot: &Slot| {
            let found = self.string(*slot, NAME_BYTES_MAX).filter(|text| is_type(text));
            found.ok_or_else(|| place(slot))
        };
        let Some(header) = &definition.type_header else {
            let all = || definition.type_slots.iter().map(place).collect::<Vec<_>>().join(", ");
            return first.map_or_else(|| Err(all()), inside);
        };
        let name = stated.filter(|text| is_type(text)).ok_or_else(|| format!("header {header}"))?;
        let Some(detail) = first else { return Ok(name.clone()) };
        let joined = format!("{name}.{}", inside(detail)?);
        let both = || format!("header {header} with {}", place(detail));
        is_type(&joined).then(|| joined.into()).ok_or_else(both)
    }

    /// Whether a slot has a value other than null and the empty text.
    fn states(&self, slot: Slot) -> bool {
        self.captures.span(slot).is_some_and(|span| !matches!(&self.body[span], b"null" | b"\"\""))
    }

    /// The signed id, the id in the body, or a digest. A signed id that cannot be an event id becomes
    /// part of the digest, because it still tells deliveries apart.
    ///
    /// A type in a header is not signed: whoever captured a delivery can send it again under any
    /// type. Only expected types make events of their own, so that all invented ones together make
    /// one event at most. If the delivery's own id tells events apart, that rule gains nothing,
    /// because ids can be invented too.
    ///
    /// A digest is made of the id that the delivery would have as a dead letter, so that it stays the
    /// same when a letter is admitted of which only a part was kept.
    fn id(&self, verified: &Verified, known_as: Option<&ByteString>, event_type: &str) -> ByteString {
        let stated = &verified.stated;
        let digest = || known_as.cloned().unwrap_or_else(|| letter_id(self.definition, verified));
        if let Some(signed) = &stated.signed_id {
            return if is_name(signed) { signed.clone() } else { digest() };
        }
        let text = |slot: &Slot| self.string(*slot, NAME_BYTES_MAX).or_else(|| self.integer(*slot));
        // The first pointer with a value counts: if that cannot be an id, no other one replaces it.
        let first = self.definition.id_slots.iter().find(|slot| self.states(**slot));
        let inside = first.and_then(text).filter(|id| is_name(id));
        inside.unwrap_or_else(|| {
            let told_apart = || self.definition.identifying_id(stated).is_some();
            let expected = || told_apart() || self.definition.expects(event_type);
            match self.definition.type_header.is_some() && expected() {
                true => digest_id_beside(event_type, digest().as_bytes()),
                false => digest(),
            }
        })
    }

    fn time(&self, arrived: Timestamp) -> EventTime {
        let unit = self.definition.time_unit;
        let stated = |slot: &Slot| match self.string(*slot, NAME_BYTES_MAX) {
            Some(text) => is_rfc3339(&text).then_some(text),
            None => moment(&self.integer(*slot)?, unit),
        };
        let stated = self.definition.time_slots.iter().find_map(stated);
        stated.map_or(EventTime::Inferred(arrived), EventTime::Stated)
    }

    /// A key: a text without control characters and noncharacters, or an integer as it is written.
    fn key(&self, slot: Slot) -> Option<ByteString> {
        let text = self.string(slot, KEY_BYTES_MAX).or_else(|| self.integer(slot))?;
        let allowed = |text: &str| is_printable_ascii(text) || !text.contains(is_forbidden);
        ((1..=KEY_BYTES_MAX).contains(&text.len()) && allowed(&text)).then_some(text)
    }

    /// The string of a slot; `None` if its value is no string or longer than `bytes_max`.
    fn string(&self, slot: Slot, bytes_max: usize) -> Option<ByteString> {
        let span = self.captures.span(slot)?;
        let inside = span.start + 1..span.end - 1;
        if self.body[span.start] != b'"' {
            return None;
        }
        if self.body[inside.clone()].contains(&b'\\') {
            // An escape has at most six times the bytes of its character.
            let short = inside.len() <= bytes_max * 6;
            return short
                .then(|| unescape(&self.body[inside]))
                .filter(|text| text.len() <= bytes_max)
                .map(Into::into);
        }
        if inside.len() > bytes_max {
            return None;
        }
        ByteString::try_from(self.body.slice(inside)).ok()
    }

    /// The text of a slot's number, if it has neither fraction nor exponent.
    fn integer(&self, slot: Slot) -> Option<ByteString> {
        let span = self.captures.span(slot)?;
        let text = &self.body[span.clone()];
        let digits = text.strip_prefix(b"-").unwrap_or(text);
        digits.iter().all(u8::is_ascii_digit).then(|| ByteString::try_from(self.body.slice(span)).ok())?
    }

    /// The part of the body that is the event's data. It has to be an object that every consumer
    /// reads alike, like a whole body.
    fn data(&self) -> Result<Span, String> {
        let Some(slot) = self.definition.data_slot else { return Ok(0..self.body.len()) };
        let place = self.definition.pointers.text(slot);
        let span =
            self.captures.span(slot).ok_or_else(|| format!("no data at {place}, expected an object"))?;
        match scan(&self.body[span.clone()], &Pointers::new()) {
            Ok(_) => Ok(span),
            Err(defect) => Err(format!("unusable data at {place}: {defect} of it")),
        }
    }

    /// The body with the values of these redactions replaced. A copy is made only if there are any.
    fn redacted(&self, redactions: u64) -> Bytes {
        self.redacted_within(0..self.body.len(), redactions)
    }

    /// A part of the body with the values of these redactions replaced.
    fn redacted_within(&self, part: Span, redactions: u64) -> Bytes {
        let applies = |(leading, _): &&(u64, Span)| redactions & leading != 0;
        let present = |span: &Span| &self.body[span.clone()] != b"null";
        let found = self.captures.redactions.iter().filter(applies).map(|(_, span)| span.clone());
        let within = |span: &Span| part.start <= span.start && span.end <= part.end;
        let mut spans: Vec<Span> = found.filter(present).filter(within).collect();
        if spans.is_empty() {
            return self.body.slice(part);
        }
        // The outer one of nested spans comes first; an inner one is then within the copied part.
        spans.sort_unstable_by_key(|span| (span.start, std::cmp::Reverse(span.end)));
        let mut body = BytesMut::with_capacity(part.len() + spans.len() * REDACTED.len());
        let mut copied = part.start;
        for span in spans.into_iter().filter(|span| span.start < span.end) {
            if span.start >= copied {
                body.extend_from_slice(&self.body[copied..span.start]);
                body.extend_from_slice(REDACTED);
                copied = span.end;
            }
        }
        body.extend_from_slice(&self.body[copied..part.end]);
        body.freeze()
    }
}

/// Whether a text is an RFC 3339 date and time with at most nine fractional digits, in upper case.
fn is_rfc3339(text: &str) -> bool {
    let fraction = text.get(19..).and_then(|rest| rest.strip_prefix('.'));
    let digits = fraction.map_or(0, |rest| rest.bytes().take_while(u8::is_ascii_digit).count());
    let upper = text.as_bytes().get(10) == Some(&b'T') && !text.ends_with('z');
    upper && digits <= 9 && OffsetDateTime::parse(text, &Rfc3339).is_ok()
}

/// An integer as RFC 3339 text, if it lies within the years that 64-bit nanoseconds cover.
fn moment(integer: &str, unit: TimeUnitFile) -> Option<ByteString> {
    let nanos_per_unit = match unit {
        TimeUnitFile::Nanoseconds => 1,
        TimeUnitFile::Milliseconds => 1_000_000,
        TimeUnitFile::Seconds => 1_000_000_000,
    };
    let nanos = integer.parse::<i64>().ok()?.checked_mul(nanos_per_unit)?;
    Some(Timestamp(nanos).to_rfc3339().into())
}

#[cfg(test)]
mod tests;
