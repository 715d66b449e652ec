//! The payload of an entry in bytes.
//!
//! The only place that knows these layouts, for the log and for the dead letters alike. Decoding is
//! zero-copy: every text and the body are slices that share the input's allocation. The first
//! byte is the layout's version; a version is never changed, only followed by a new one, together with
//! a new segment format, so that an older release refuses the log instead of skipping entries. Layout 2 is
//! layout 1 with the fingerprint of the configuration behind the arrival: an entry without one is written in
//! layout 1, so what an earlier release wrote stays, as a dead letter, what that release can read. Whoever
//! stores the bytes checks their integrity; bytes that come here can still be damaged, so every length is
//! checked before it is used.

use bytes::{Buf, BufMut, Bytes};
use bytestring::ByteString;

use crate::event::{
    Entry, Event, EventTime, FINGERPRINT_BYTES, Fingerprint, HeaderClaims, Quarantined, Timestamp,
};

/// The layout of an entry without a configuration.
const PLAIN: u8 = 1;
/// The layout of an entry with the fingerprint of its configuration, and the newest.
const WITH_CONFIGURATION: u8 = 2;
/// Bytes of the arrival, which is behind the layout's version and the kind.
const ARRIVED_BYTES: usize = size_of::<i64>();

const EVENT: u8 = 0;
const QUARANTINED: u8 = 1;

const ABSENT: u8 = 0;
const PRESENT: u8 = 1;

const STATED: u8 = 0;
const INFERRED: u8 = 1;

/// Why bytes are not an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// A later release wrote the bytes: keep them, because they are not damaged.
    #[error("entry has layout version {0}, expected at most {WITH_CONFIGURATION}")]
    Newer(u8),
    /// No release writes such bytes.
    #[error("entry is malformed: {0}")]
    Malformed(&'static str),
}

/// Appends the entry's bytes to `out`.
pub fn encode(entry: &Entry, out: &mut Vec<u8>) {
    match entry {
        Entry::Event(event) => {
            put_head(EVENT, event.arrived, event.configuration, out);
            encode_event(event, out);
        }
        Entry::Quarantined(quarantined) => {
            put_head(QUARANTINED, quarantined.arrived, quarantined.configuration, out);
            encode_quarantined(quarantined, out);
        }
    }
}

/// What is in front of every field of variable length.
fn put_head(kind: u8, arrived: Timestamp, configuration: Option<Fingerprint>, out: &mut Vec<u8>) {
    out.put_u8(if configuration.is_some() { WITH_CONFIGURATION } else { PLAIN });
    out.put_u8(kind);
    out.put_i64_le(arrived.0);
    if let Some(Fingerprint(bytes)) = configuration {
        out.put_slice(&bytes);
    }
}

/// What is behind the arrival and the configuration, if these are the bytes of an event.
fn event_fields(input: &[u8]) -> Option<&[u8]> {
    let (version, rest) = input.split_first()?;
    let configuration = match *version {
        PLAIN => 0,
        WITH_CONFIGURATION => FINGERPRINT_BYTES,
        _ => return None,
    };
    rest.strip_prefix(&[EVENT])?.get(ARRIVED_BYTES + configuration..)
}

/// Whether these are the bytes of a [single-sink entry](Entry::is_single_sink). Reads no further than
/// necessary: bytes that are no event count as a single-sink entry, a damaged event as one for every sink.
pub(super) fn is_single_sink(input: &[u8]) -> bool {
    let Some(mut rest) = event_fields(input) else { return true };
    // The order of encoding: six texts, then key, subject and the only sink.
    let for_one = |rest: &mut &[u8]| {
        for _ in 0..6 {
            skip_bytes(rest)?;
        }
        for _ in 0..2 {
            if *rest.split_off_first()? == PRESENT {
                skip_bytes(rest)?;
            }
        }
        Some(*rest.split_off_first()? == PRESENT)
    };
    for_one(&mut rest).unwrap_or(false)
}

/// Whether these are the bytes of a quarantined delivery.
pub(super) fn is_quarantined(input: &[u8]) -> bool {
    matches!(input, [PLAIN | WITH_CONFIGURATION, QUARANTINED, ..])
}

fn skip_bytes(rest: &mut &[u8]) -> Option<()> {
    let mut length = 0_usize;
    for shift in (0..63).step_by(7) {
        let byte = *rest.split_off_first()?;
        length |= usize::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return rest.split_off(..length).map(drop);
        }
    }
    None
}

/// Reads the entry that `input` holds from its first byte to its last.
pub fn decode(input: Bytes) -> Result<Entry, CodecError> {
    let mut reader = Reader(input);
    let version = reader.byte()?;
    match version {
        PLAIN | WITH_CONFIGURATION => {}
        newer if newer > WITH_CONFIGURATION => return Err(CodecError::Newer(newer)),
        _ => return Err(CodecError::Malformed("unknown version")),
    }
    let kind = reader.byte()?;
    let arrived = Timestamp(reader.i64()?);
    let configuration = (version == WITH_CONFIGURATION).then(|| reader.fingerprint()).transpose()?;
    let entry = match kind {
        EVENT => decode_event(arrived, configuration, &mut reader)?.into(),
        QUARANTINED => decode_quarantined(arrived, configuration, &mut reader)?.into(),
        _ => return Err(CodecError::Malformed("unknown kind")),
    };
    if reader.0.is_empty() { Ok(entry) } else { Err(CodecError::Malformed("bytes behind the end")) }
}

fn encode_event(event: &Event, out: &mut Vec<u8>) {
    let Event {
        id,
        source,
        event_type,
        provider,
        family,
        source_name,
        key,
        subject,
        time,
        // These are in front.
        arrived: _,
        configuration: _,
        extensions,
        only_sink,
        body,
    } = event;
    for text in [id, source, event_type, provider, family, source_name] {
        put_bytes(text.as_bytes(), out);
    }
    for optional in [key, subject, only_sink] {
        put_optional(optional.as_ref(), out);
    }
    match time {
        EventTime::Stated(text) => {
            out.put_u8(STATED);
            put_bytes(text.as_bytes(), out);
        }
        EventTime::Inferred(moment) => {
            out.put_u8(INFERRED);
            out.put_i64_le(moment.0);
        }
    }
    put_extensions(extensions, out);
    put_bytes(body, out);
}

fn decode_event(
    arrived: Timestamp,
    configuration: Option<Fingerprint>,
    reader: &mut Reader,
) -> Result<Event, CodecError> {
    let [id, source, event_type, provider, family, source_name] = reader.texts()?;
    let key = reader.optional_text()?;
    let subject = reader.optional_text()?;
    let only_sink = reader.optional_text()?;
    let time = match reader.byte()? {
        STATED => EventTime::Stated(reader.text()?),
        INFERRED => EventTime::Inferred(Timestamp(reader.i64()?)),
        _ => return Err(CodecError::Malformed("unknown kind of time")),
    };
    let extensions = reader.extensions()?;
    let body = reader.bytes()?;
    Ok(Event {
        id,
        source,
        event_type,
        provider,
        family,
        source_name,
        key,
        subject,
        time,
        arrived,
        configuration,
        extensions,
        only_sink,
        body,
    })
}

fn encode_quarantined(quarantined: &Quarantined, out: &mut Vec<u8>) {
    // Arrival and configuration are in front.
    let Quarantined { id, source, provider, source_name, reason, detail, stated, body, .. } = quarantined;
    let HeaderClaims { signed_id, event_type, extensions } = stated;
    for text in [id, source, provider, source_name, reason, detail] {
        put_bytes(text.as_bytes(), out);
    }
    for optional in [signed_id, event_type] {
        put_optional(optional.as_ref(), out);
    }
    put_extensions(extensions, out);
    put_bytes(body, out);
}

fn decode_quarantined(
    arrived: Timestamp,
    configuration: Option<Fingerprint>,
    reader: &mut Reader,
) -> Result<Quarantined, CodecError> {
    let [id, source, provider, source_name, reason, detail] = reader.texts()?;
    let stated = HeaderClaims {
        signed_id: reader.optional_text()?,
        event_type: reader.optional_text()?,
        extensions: reader.extensions()?,
    };
    let body = reader.bytes()?;
    Ok(Quarantined {
        id,
        source,
        provider,
        source_name,
        reason,
        detail,
        stated,
        arrived,
        configuration,
        body,
    })
}

/// A length in base 128, least significant digit first, the high bit set on all but the last.
fn put_length(length: usize, out: &mut Vec<u8>) {
    let mut rest = length as u64;
    while rest >= 0x80 {
        out.put_u8((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
}

fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put_length(bytes.len(), out);
    out.put_slice(bytes);
}

fn put_optional(text: Option<&ByteString>, out: &mut Vec<u8>) {
    match text {
        None => out.put_u8(ABSENT),
        Some(text) => {
            out.put_u8(PRESENT);
            put_bytes(text.as_bytes(), out);
        }
    }
}

fn put_extensions(extensions: &[(ByteString, ByteString)], out: &mut Vec<u8>) {
    put_length(extensions.len(), out);
    for (name, value) in extensions {
        put_bytes(name.as_bytes(), out);
        put_bytes(value.as_bytes(), out);
    }
}

/// What is left of the input.
struct Reader(Bytes);

impl Reader {
    fn byte(&mut self) -> Result<u8, CodecError> {
        self.0.try_get_u8().map_err(|_| CodecError::Malformed("ends early"))
    }

    fn i64(&mut self) -> Result<i64, CodecError> {
        self.0.try_get_i64_le().map_err(|_| CodecError::Malformed("ends early"))
    }

    fn fingerprint(&mut self) -> Result<Fingerprint, CodecError> {
        let mut bytes = [0; FINGERPRINT_BYTES];
        self.0.try_copy_to_slice(&mut bytes).map_err(|_| CodecError::Malformed("ends early"))?;
        Ok(Fingerprint(bytes))
    }

    fn length(&mut self) -> Result<usize, CodecError> {
        let mut length = 0_u64;
        for shift in (0..63).step_by(7) {
            let byte = self.byte()?;
            length |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return usize::try_from(length).map_err(|_| CodecError::Malformed("length out of range"));
            }
        }
        Err(CodecError::Malformed("length out of range"))
    }

    fn bytes(&mut self) -> Result<Bytes, CodecError> {
        let length = self.length()?;
        if length > self.0.len() {
            return Err(CodecError::Malformed("length beyond the end"));
        }
        Ok(self.0.split_to(length))
    }

    fn text(&mut self) -> Result<ByteString, CodecError> {
        ByteString::try_from(self.bytes()?).map_err(|_| CodecError::Malformed("text is not UTF-8"))
    }

    fn texts<const N: usize>(&mut self) -> Result<[ByteString; N], CodecError> {
        let mut texts = [const { ByteString::from_static("") }; N];
        for text in &mut texts {
            *text = self.text()?;
        }
        Ok(texts)
    }

    fn optional_text(&mut self) -> Result<Option<ByteString>, CodecError> {
        match self.byte()? {
            ABSENT => Ok(None),
            PRESENT => self.text().map(Some),
            _ => Err(CodecError::Malformed("unknown presence")),
        }
    }

    fn extensions(&mut self) -> Result<Vec<(ByteString, ByteString)>, CodecError> {
        let count = self.length()?;
        // Each pair takes at least its two lengths, so a damaged count cannot reserve the memory.
        if count > self.0.len() / 2 {
            return Err(CodecError::Malformed("more extensions than bytes"));
        }
        (0..count).map(|_| Ok((self.text()?, self.text()?))).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    fn text() -> impl Strategy<Value = ByteString> {
        proptest::string::string_regex("[a-zé✓]{0,300}").unwrap().prop_map(ByteString::from)
    }

    fn body() -> impl Strategy<Value = Bytes> {
        proptest::collection::vec(any::<u8>(), 0..600).prop_map(Bytes::from)
    }

    fn time() -> impl Strategy<Value = EventTime> {
        prop_oneof![
            text().prop_map(EventTime::Stated),
            any::<i64>().prop_map(|nanos| EventTime::Inferred(Timestamp(nanos))),
        ]
    }

    fn configuration() -> impl Strategy<Value = Option<Fingerprint>> {
        proptest::option::of(any::<[u8; FINGERPRINT_BYTES]>().prop_map(Fingerprint))
    }

    prop_compose! {
        fn event()(
            texts in proptest::array::uniform6(text()),
            optional in proptest::array::uniform3(proptest::option::of(text())),
            time in time(),
            (arrived, configuration) in (any::<i64>(), configuration()),
            extensions in proptest::collection::vec((text(), text()), 0..5),
            body in body(),
        ) -> Entry {
            let [id, source, event_type, provider, family, source_name] = texts;
            let [key, subject, only_sink] = optional;
            let arrived = Timestamp(arrived);
            Entry::from(Event {
                id, source, event_type, provider, family, source_name, key, subject, time, arrived,
                configuration, extensions, only_sink, body,
            })
        }
    }

    prop_compose! {
        fn quarantined()(
            texts in proptest::array::uniform6(text()),
            optional in proptest::array::uniform2(proptest::option::of(text())),
            extensions in proptest::collection::vec((text(), text()), 0..5),
            (arrived, configuration) in (any::<i64>(), configuration()),
            body in body(),
        ) -> Entry {
            let [id, source, provider, source_name, reason, detail] = texts;
            let [signed_id, event_type] = optional;
            let stated = HeaderClaims { signed_id, event_type, extensions };
            let arrived = Timestamp(arrived);
            Entry::from(Quarantined {
                id, source, provider, source_name, reason, detail, stated, arrived, configuration, body,
            })
        }
    }

    fn entry() -> impl Strategy<Value = Entry> {
        prop_oneof![event(), quarantined()]
    }

    fn encoded(entry: &Entry) -> Bytes {
        let mut out = Vec::new();
        encode(entry, &mut out);
        Bytes::from(out)
    }

    proptest! {
        #[test]
        fn who_an_entry_is_for_shows_without_decoding_it(entry in entry(), cut in any::<Index>()) {
            let bytes = encoded(&entry);
            prop_assert_eq!(is_single_sink(&bytes), entry.is_single_sink());
            // Cut anywhere, it still says something.
            is_single_sink(&bytes[..cut.index(bytes.len())]);
        }

        #[test]
        fn an_encoded_entry_decodes_to_itself(entry in entry()) {
            prop_assert_eq!(decode(encoded(&entry)), Ok(entry));
        }

        #[test]
        fn an_entry_cut_short_is_malformed(entry in entry(), cut in any::<Index>()) {
            let bytes = encoded(&entry);
            let kept = cut.index(bytes.len());
            prop_assert!(matches!(decode(bytes.slice(..kept)), Err(CodecError::Malformed(_))));
        }

        #[test]
        fn an_entry_with_a_configuration_has_six_bytes_more_and_else_is_the_same(
            entry in entry(),
            fingerprint in any::<[u8; FINGERPRINT_BYTES]>(),
        ) {
            let under = |configuration| {
                let mut entry = entry.clone();
                match &mut entry {
                    Entry::Event(event) => Arc::make_mut(event).configuration = configuration,
                    Entry::Quarantined(delivery) => Arc::make_mut(delivery).configuration = configuration,
                }
                encoded(&entry)
            };
            let (plain, stamped) = (under(None), under(Some(Fingerprint(fingerprint))));
            prop_assert_eq!((plain[0], stamped[0]), (PLAIN, WITH_CONFIGURATION));
            prop_assert_eq!(&stamped[10..16], &fingerprint);
            prop_assert_eq!(&plain[1..10], &stamped[1..10]);
            prop_assert_eq!(&plain[10..], &stamped[16..]);
            prop_assert_eq!(is_single_sink(&plain), is_single_sink(&stamped));
            prop_assert_eq!(is_quarantined(&plain), is_quarantined(&stamped));
        }

        #[test]
        fn arbitrary_bytes_never_panic(version in PLAIN..=WITH_CONFIGURATION, bytes in body()) {
            let mut input = vec![version];
            input.extend_from_slice(&bytes);
            let _ = (is_single_sink(&input), is_quarantined(&input));
            let _ = decode(Bytes::from(input));
        }
    }

    #[test]
    fn a_decoded_body_shares_the_inputs_allocation() {
        let quarantined = Quarantined {
            id: "sha256-00".into(),
            source: "/stream/default".into(),
            provider: "stream".into(),
            source_name: "video".into(),
            reason: "json".into(),
            detail: "expected a value at byte 1".into(),
            stated: HeaderClaims::default(),
            arrived: Timestamp(1),
            configuration: None,
            body: Bytes::from_static(b"{"),
        };
        let input = encoded(&quarantined.into());
        let Entry::Quarantined(decoded) = decode(input.clone()).unwrap() else {
            panic!("a quarantined delivery stays one");
        };
        assert!(input.as_ptr_range().contains(&decoded.body.as_ptr()));
        assert!(input.as_ptr_range().contains(&decoded.detail.as_bytes().as_ptr()));
    }

    #[test]
    fn an_entry_of_a_later_release_is_told_apart_from_damage() {
        let later = WITH_CONFIGURATION + 1;
        assert_eq!(decode(vec![later, 0].into()), Err(CodecError::Newer(later)));
        assert_eq!(decode(Bytes::from_static(&[0, 0])), Err(CodecError::Malformed("unknown version")));
    }
}
