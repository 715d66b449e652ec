//! The types that all stages share: a delivery, an event, a record.
//!
//! There is one type per stage, and each step consumes the one before: [`Delivery`] → [`Verified`] →
//! [`Verdict`] → (spool) [`Position`] → [`Record`] → the sink's outcome. This module does no I/O and reads
//! no clock. Text that is a part of a body is a [`ByteString`] that shares the body's allocation, so
//! an event holds its attributes without a copy.

mod fingerprint;
mod id_match;
mod json;
mod placement;

use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use http::HeaderMap;
use http::header::AsHeaderName;
use time::format_description::well_known::Rfc3339;

pub use fingerprint::{FINGERPRINT_BYTES, Fingerprint, FingerprintError};
pub use id_match::{BODY_SCHEME, IdMatch, IdMatchError};
pub use placement::Placement;

/// Bytes of the longest text of a [`Timestamp`]: a date, a time with nine fractional digits, and `Z`.
pub const RFC3339_BYTES_MAX: usize = 30;

/// A moment in nanoseconds since the Unix epoch, UTC. The range is from 1677 to 2262.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The moment as whole seconds since the Unix epoch, rounded down.
    pub fn unix_seconds(self) -> i64 {
        self.0.div_euclid(1_000_000_000)
    }

    /// Seconds from an earlier moment to this one; 0 if `earlier` is later, as after a clock was set
    /// back.
    pub fn seconds_since(self, earlier: Self) -> f64 {
        self.0.saturating_sub(earlier.0).max(0) as f64 / 1e9
    }

    /// The moment that a text in RFC 3339 states; `None` if it states none, or one out of range.
    pub fn from_rfc3339(text: &str) -> Option<Self> {
        let moment = time::OffsetDateTime::parse(text, &Rfc3339).ok()?;
        i64::try_from(moment.unix_timestamp_nanos()).ok().map(Self)
    }

    /// The moment as RFC 3339 text in UTC, with as many fractional digits as needed.
    pub fn to_rfc3339(self) -> String {
        self.rfc3339_in(&mut [0; RFC3339_BYTES_MAX]).to_owned()
    }

    /// The time of day in UTC, to the second: `14:09:39`.
    pub fn time_of_day(self) -> String {
        let text = self.to_rfc3339();
        text.split_once('T').and_then(|(_, time)| time.get(..8)).unwrap_or_default().to_owned()
    }

    /// The moment as RFC 3339 text, written into `room` instead of a new allocation.
    pub fn rfc3339_in(self, room: &mut [u8; RFC3339_BYTES_MAX]) -> &str {
        let nanos = u32::try_from(self.0.rem_euclid(1_000_000_000)).ok();
        let mut rest = &mut room[..];
        time::OffsetDateTime::from_unix_timestamp(self.unix_seconds())
            .ok()
            .zip(nanos)
            .and_then(|(second, nanos)| second.replace_nanosecond(nanos).ok())
            .and_then(|moment| moment.format_into(&mut rest, &Rfc3339).ok())
            .unwrap_or_else(|| unreachable!("64-bit nanoseconds lie within the years 1677 and 2262"));
        // What `format_into` returns leaves the fractional digits out (time 0.3.55).
        let written = RFC3339_BYTES_MAX - rest.len();
        std::str::from_utf8(&room[..written]).unwrap_or_else(|_| unreachable!("RFC 3339 is ASCII"))
    }
}

impl From<std::time::SystemTime> for Timestamp {
    /// Moments outside the range become its ends.
    fn from(moment: std::time::SystemTime) -> Self {
        match moment.duration_since(std::time::UNIX_EPOCH) {
            Ok(after) => Self(i64::try_from(after.as_nanos()).unwrap_or(i64::MAX)),
            Err(before) => Self(i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |nanos| -nanos)),
        }
    }
}

/// A delivery as it arrived from a provider. No part of it is trusted yet.
#[derive(Debug)]
pub struct Delivery<'h> {
    /// The request's headers. They stay where they are until the delivery is answered, because a refusal
    /// notes which there were.
    pub headers: &'h HeaderMap,
    /// The body as received, perhaps compressed.
    pub body: Bytes,
    /// When the delivery arrived at the bridge.
    pub arrived: Timestamp,
}

/// A delivery with a valid signature. Of a webhook, only [`crate::provider`] makes one.
#[derive(Debug)]
pub struct Verified {
    /// The signed bytes. If the provider signs the plain body, that is the decompressed one.
    pub body: Bytes,
    /// What the headers state.
    pub stated: HeaderClaims,
    /// Index of the source's secret that verified the delivery, for the metric by secret.
    pub secret: usize,
    /// Sender's clock minus this machine's clock in seconds, if the signature covers a timestamp.
    pub skew_seconds: Option<i64>,
    /// When the delivery arrived at the bridge.
    pub arrived: Timestamp,
}

/// What the headers of an authentic delivery state about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderClaims {
    /// An id that the signature covers (`webhook-id` of Standard Webhooks), if the scheme has one.
    pub signed_id: Option<ByteString>,
    /// The event type, if the provider states it in a header.
    pub event_type: Option<ByteString>,
    /// Unsigned attributes by CloudEvents extension name (`webhookid`, `traceparent`, …), from the
    /// headers that the provider's definition names.
    pub extensions: Vec<(ByteString, ByteString)>,
}

/// Longest value of an unsigned attribute in bytes.
const STATED_BYTES_MAX: usize = 255;

impl HeaderClaims {
    /// The text of an unsigned attribute, if it has 1 to 255 printable ASCII characters; any other is
    /// dropped.
    pub fn value(text: &str) -> Option<ByteString> {
        let fits = (1..=STATED_BYTES_MAX).contains(&text.len());
        (fits && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))).then(|| text.into())
    }

    /// An attribute by its CloudEvents extension name, if its value can be used.
    pub fn extension(name: &str, value: &str) -> Option<(ByteString, ByteString)> {
        Some((name.into(), Self::value(value)?))
    }
}

/// The value of a header that occurs exactly once. Of two values nobody could say which one counts.
pub fn single_header(headers: &HeaderMap, name: impl AsHeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())?.to_str().ok()
}

/// The decision of admission about an authentic delivery. An event and a quarantined delivery are shared from
/// here to the sink, because each is larger than what moves along the way.
#[derive(Debug)]
pub enum Verdict {
    /// Selected: the event goes to the spool, and from there to every sink that selects it.
    Accept(Arc<Event>),
    /// Usable but not selected: the event is counted by type, and the sender gets a success.
    Filter(Filtered),
    /// Unusable: the delivery goes to the spool, and from there to the dead letters.
    Quarantine(Arc<Quarantined>),
}

impl Verdict {
    /// The same verdict, decided under this configuration.
    #[must_use]
    pub fn under(mut self, configuration: Option<Fingerprint>) -> Self {
        // Nobody else has the event or delivery yet, so nothing is copied.
        match &mut self {
            Self::Accept(event) => Arc::make_mut(event).configuration = configuration,
            Self::Quarantine(delivery) => Arc::make_mut(delivery).configuration = configuration,
            Self::Filter(_) => {}
        }
        self
    }
}

/// The part of an event that is kept when the selection filters it.
#[derive(Clone, Debug)]
pub struct Filtered {
    /// CloudEvents `id` that the event would have had.
    pub id: ByteString,
    /// The provider's name for the type, verbatim.
    pub event_type: ByteString,
    /// The family the type belongs to.
    pub family: ByteString,
}

/// When the event happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventTime {
    /// The provider's own event time, as RFC 3339.
    Stated(ByteString),
    /// The arrival time, because the provider stated no readable one (`timeinferred`).
    Inferred(Timestamp),
}

/// An accepted event: CloudEvents attributes, and the body as it was signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// CloudEvents `id`: the same for one provider event across retries, channels and replays.
    pub id: ByteString,
    /// CloudEvents `source`: `/{provider}/{app}`.
    pub source: ByteString,
    /// CloudEvents `type`: the provider's name, verbatim, case kept.
    pub event_type: ByteString,
    /// The provider's name.
    pub provider: ByteString,
    /// The event family, which topics are named after.
    pub family: ByteString,
    /// The name of the source that took the event in.
    pub source_name: ByteString,
    /// The partition key: orders the events of one entity. `None` if the event names no entity.
    pub key: Option<ByteString>,
    /// CloudEvents `subject`: the entity the event is about.
    pub subject: Option<ByteString>,
    /// CloudEvents `time`.
    pub time: EventTime,
    /// CloudEvents `recordedtime`: when the delivery arrived at the bridge.
    pub arrived: Timestamp,
    /// The configuration under which the event was admitted; `None` of an event of a release that did not
    /// record it. A copy for one sink has that of its event.
    pub configuration: Option<Fingerprint>,
    /// More attributes by extension name (`webhookid`, `traceparent`, `redriven`, …).
    pub extensions: Vec<(ByteString, ByteString)>,
    /// Name of the one sink that a redriven or replayed event is for; `None` for all sinks.
    pub only_sink: Option<ByteString>,
    /// The signed body, byte for byte, except for fields that the definition redacts.
    pub body: Bytes,
}

/// CloudEvents extension that is `1` on a redriven event.
pub const REDRIVEN_EXTENSION: &str = "redriven";
/// CloudEvents extension with the reason that an operator gave for importing the body: 1 to 255 printable
/// ASCII characters.
pub const IMPORT_EXTENSION: &str = "importreason";
/// CloudEvents extension that names the replay by which a copy came: 12 hexadecimal digits.
pub const REPLAY_EXTENSION: &str = "replayid";

impl Event {
    /// The replay by which this copy came; `None` of any other event.
    pub fn replay_id(&self) -> Option<&ByteString> {
        // A sender can state no such extension.
        self.only_sink.as_ref()?;
        self.extensions.iter().find(|(name, _)| *name == REPLAY_EXTENSION).map(|(_, value)| value)
    }

    /// A copy of the event in memory of its own: one buffer for all the texts, one for the body. The
    /// attributes and the body are parts of larger buffers and keep those alive, so an event that is kept for
    /// long has to be detached.
    #[must_use]
    pub fn detached(&self) -> Self {
        let mut texts = String::new();
        self.each_text(|text| texts.push_str(text));
        let texts = ByteString::from(texts);
        let mut taken = 0;
        let mut own = |text: &ByteString| {
            let start = taken;
            taken += text.len();
            texts.slice_ref(&texts[start..taken])
        };
        // In the order of `each_text`.
        Self {
            id: own(&self.id),
            source: own(&self.source),
            event_type: own(&self.event_type),
            provider: own(&self.provider),
            family: own(&self.family),
            source_name: own(&self.source_name),
            key: self.key.as_ref().map(&mut own),
            subject: self.subject.as_ref().map(&mut own),
            only_sink: self.only_sink.as_ref().map(&mut own),
            time: match &self.time {
                EventTime::Stated(text) => EventTime::Stated(own(text)),
                EventTime::Inferred(moment) => EventTime::Inferred(*moment),
            },
            extensions: self.extensions.iter().map(|(name, value)| (own(name), own(value))).collect(),
            arrived: self.arrived,
            configuration: self.configuration,
            body: Bytes::copy_from_slice(&self.body),
        }
    }

    /// Calls `visit` with each text of the event.
    fn each_text<'event>(&'event self, visit: impl FnMut(&'event str)) {
        let attributes =
            [&self.id, &self.source, &self.event_type, &self.provider, &self.family, &self.source_name];
        let time = match &self.time {
            EventTime::Stated(text) => Some(text),
            EventTime::Inferred(_) => None,
        };
        let optional = [&self.key, &self.subject, &self.only_sink].into_iter().flatten();
        let extensions = self.extensions.iter().flat_map(|(name, value)| [name, value]);
        let texts = attributes.into_iter().chain(optional).chain(time).chain(extensions);
        texts.map(|text| &**text).for_each(visit);
    }
}

/// An authentic delivery that cannot become an event, with the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// `sha256-` and the SHA-256 of the body and, if it has one, the delivery's id, in hexadecimal.
    pub id: ByteString,
    /// CloudEvents `source`, as for an event.
    pub source: ByteString,
    /// The provider's name.
    pub provider: ByteString,
    /// The name of the source that took the delivery in.
    pub source_name: ByteString,
    /// A reason from a fixed list, for metrics and grouping (`json`, `not_object`, `duplicate_key`,
    /// …).
    pub reason: ByteString,
    /// What is wrong and where. Contains no part of the body.
    pub detail: ByteString,
    /// What the delivery's headers stated, for a later admission.
    pub stated: HeaderClaims,
    /// When the delivery arrived at the bridge.
    pub arrived: Timestamp,
    /// The configuration under which the delivery was judged; `None` as of an event.
    pub configuration: Option<Fingerprint>,
    /// The signed body, except for values that the definition might redact.
    pub body: Bytes,
}

/// A record's content in the spool: an event for the sinks, or a delivery for the dead letters. A clone
/// shares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// An accepted event.
    Event(Arc<Event>),
    /// A quarantined delivery.
    Quarantined(Arc<Quarantined>),
}

impl From<Event> for Entry {
    fn from(event: Event) -> Self {
        Self::Event(event.into())
    }
}

impl From<Quarantined> for Entry {
    fn from(quarantined: Quarantined) -> Self {
        Self::Quarantined(quarantined.into())
    }
}

impl Entry {
    /// Whether this entry is not for all sinks: a quarantined delivery is for none, a redriven or replayed
    /// event for one.
    pub fn is_single_sink(&self) -> bool {
        match self {
            Self::Event(event) => event.only_sink.is_some(),
            Self::Quarantined(_) => true,
        }
    }

    /// When the delivery arrived at the bridge.
    pub fn arrived(&self) -> Timestamp {
        match self {
            Self::Event(event) => event.arrived,
            Self::Quarantined(quarantined) => quarantined.arrived,
        }
    }

    /// The body of the event or delivery.
    pub fn body(&self) -> &Bytes {
        match self {
            Self::Event(event) => &event.body,
            Self::Quarantined(quarantined) => &quarantined.body,
        }
    }
}

/// A record's number in the spool, in accept order and counted from 1; 0 is before the first. It is
/// published as the CloudEvents extension `sequence`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

impl Position {
    /// The position after this one.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// An event for one sink, with its position in the spool and its topic.
#[derive(Clone, Debug)]
pub struct Record {
    /// The event's position in the spool.
    pub position: Position,
    /// The topic's full name (Kafka), ARN (SNS) or directory name (file).
    pub topic: Arc<str>,
    /// The event to publish, which the records of other sinks share.
    pub event: Arc<Event>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::events::event;

    #[test]
    fn only_short_printable_ascii_travels_along() {
        for text in ["x", " ", "a b~", &"x".repeat(255)] {
            assert_eq!(HeaderClaims::extension("n", text), Some(("n".into(), text.into())));
        }
        for text in ["", "a\tb", "a\nb", "\u{7f}", "\u{e9}", &"x".repeat(256)] {
            assert_eq!(HeaderClaims::value(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_header_counts_if_it_occurs_once_and_is_text() {
        let name = http::HeaderName::from_static("x-a");
        let headers = |values: &[&[u8]]| {
            let value =
                |bytes: &&[u8]| (name.clone(), http::HeaderValue::from_bytes(bytes).expect("a value"));
            values.iter().map(value).collect::<HeaderMap>()
        };
        assert_eq!(single_header(&headers(&[b"v"]), &name), Some("v"));
        let others: [&[&[u8]]; 4] = [&[], &[b"v", b"v"], &[b"v", b"w"], &[b"\xff"]];
        for values in others {
            assert_eq!(single_header(&headers(values), "x-a"), None, "{values:?}");
        }
    }

    #[test]
    fn a_detached_event_equals_its_original() {
        let whole = event("default:abc");
        let sparse = Event {
            subject: None,
            only_sink: Some("lake".into()),
            time: EventTime::Inferred(Timestamp(7)),
            extensions: Vec::new(),
            ..event("k")
        };
        for original in [whole, sparse] {
            assert_eq!(original.detached(), original);
        }
    }

    #[test]
    fn a_moment_is_written_in_utc_with_the_digits_it_needs() {
        assert_eq!(Timestamp(0).to_rfc3339(), "1970-01-01T00:00:00Z");
        assert_eq!(Timestamp(1_778_198_400_000_000_001).to_rfc3339(), "2026-05-08T00:00:00.000000001Z");
        assert_eq!(Timestamp(-1).to_rfc3339(), "1969-12-31T23:59:59.999999999Z");
        assert_eq!([0, -1].map(|nanos| Timestamp(nanos).time_of_day()), ["00:00:00", "23:59:59"]);
        assert_eq!(Timestamp(i64::MAX).to_rfc3339(), "2262-04-11T23:47:16.854775807Z");
    }

    #[test]
    fn time_never_runs_backwards_between_two_moments() {
        assert_eq!(Timestamp(2_500_000_000).seconds_since(Timestamp(1_000_000_000)), 1.5);
        assert_eq!(Timestamp(0).seconds_since(Timestamp(1)), 0.0);
    }
}
