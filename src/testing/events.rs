//! An event and a delivery that is none.

use bytes::Bytes;

use crate::event::{Event, EventTime, HeaderClaims, Quarantined, Timestamp};

/// An event with every attribute set, about the entity `key`.
pub(crate) fn event(key: &'static str) -> Event {
    Event {
        id: "sha256-00".into(),
        source: "/stream/default".into(),
        event_type: "call.created".into(),
        provider: "stream".into(),
        family: "video.call-lifecycle".into(),
        source_name: "stream-video".into(),
        key: Some(key.into()),
        subject: Some(key.into()),
        time: EventTime::Stated("2026-05-08T09:12:28.8Z".into()),
        arrived: Timestamp(1_778_198_400_000_000_000),
        configuration: None,
        extensions: vec![("webhookid".into(), "w".into())],
        only_sink: None,
        body: Bytes::from_static(b"{}"),
    }
}

/// A delivery that is no event.
pub(crate) fn quarantined() -> Quarantined {
    Quarantined {
        id: "sha256-00".into(),
        source: "/stream/default".into(),
        provider: "stream".into(),
        source_name: "stream-video".into(),
        reason: "json".into(),
        detail: "expected a value at byte 1".into(),
        stated: HeaderClaims::default(),
        arrived: Timestamp(1_778_198_400_000_000_000),
        configuration: None,
        body: Bytes::from_static(b"{"),
    }
}
