//! What an entry of the log or a dead letter tells of its event (pure).

use sha2::{Digest, Sha256};

use super::document::{EventCandidate, ExplainedEvent, ExplainedVerdict, KnownFrom};
use super::gather::OneEvent;
use crate::event::{Entry, Event, EventTime, Quarantined, Timestamp};
use crate::spool::SearchedEntry;
use crate::state::DeadLetterInfo;

/// The entry that tells most: the first copy of an event, else another copy, else a quarantined delivery.
pub(super) fn best(entries: &[SearchedEntry]) -> Option<&SearchedEntry> {
    let rank = |found: &&SearchedEntry| match (&found.entry, found.first_copy) {
        (Entry::Event(_), true) => 0,
        (Entry::Event(_), false) => 1,
        (Entry::Quarantined(_), _) => 2,
    };
    entries.iter().min_by_key(rank)
}

pub(super) fn of_event(found: &SearchedEntry, event: &Event) -> ExplainedEvent {
    let text = |text: &bytestring::ByteString| Some(text.to_string());
    let time = match &event.time {
        EventTime::Stated(stated) => stated.to_string(),
        EventTime::Inferred(moment) => moment.to_rfc3339(),
    };
    let extensions = event.extensions.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    ExplainedEvent {
        id: event.id.to_string(),
        source: event.source.to_string(),
        event_type: text(&event.event_type),
        provider: text(&event.provider),
        family: text(&event.family),
        intake: text(&event.source_name),
        key: event.key.as_ref().map(ToString::to_string),
        subject: event.subject.as_ref().map(ToString::to_string),
        time: Some(time),
        arrived: Some(event.arrived.to_rfc3339()),
        position: Some(found.position.0),
        configuration: event.configuration,
        bytes: Some(event.body.len() as u64),
        sha256: Some(hex::encode(Sha256::digest(&event.body))),
        only_sink: event.only_sink.as_ref().map(ToString::to_string),
        extensions: extensions.collect(),
    }
}

pub(super) fn of_delivery(found: &SearchedEntry, delivery: &Quarantined) -> ExplainedEvent {
    ExplainedEvent {
        id: delivery.id.to_string(),
        source: delivery.source.to_string(),
        provider: Some(delivery.provider.to_string()),
        intake: Some(delivery.source_name.to_string()),
        arrived: Some(delivery.arrived.to_rfc3339()),
        position: Some(found.position.0),
        configuration: delivery.configuration,
        bytes: Some(delivery.body.len() as u64),
        ..ExplainedEvent::default()
    }
}

pub(super) fn quarantined(delivery: &Quarantined) -> ExplainedVerdict {
    ExplainedVerdict {
        word: "quarantined".into(),
        rule: None,
        line: None,
        reason: Some(delivery.reason.to_string()),
        detail: Some(delivery.detail.to_string()),
        at: Some(delivery.arrived.to_rfc3339()),
        known_from: KnownFrom::Log,
    }
}

/// What a dead letter alone tells of an event.
pub(super) fn of_letter(letter: &DeadLetterInfo) -> (ExplainedEvent, ExplainedVerdict) {
    let event = ExplainedEvent {
        id: letter.event_id.clone(),
        source: letter.source.clone(),
        event_type: letter.event_type.clone(),
        position: Some(letter.position.0),
        bytes: Some(letter.body_bytes),
        ..ExplainedEvent::default()
    };
    let is_event = letter.sink.is_some();
    let verdict = ExplainedVerdict {
        word: if is_event { "accepted" } else { "quarantined" }.into(),
        rule: None,
        line: None,
        reason: (!is_event).then(|| letter.reason.clone()),
        detail: (!is_event).then(|| letter.detail.clone()),
        at: None,
        known_from: KnownFrom::DeadLetter,
    };
    (event, verdict)
}

pub(super) fn candidate(((id, source), event): (&(String, String), &OneEvent)) -> EventCandidate {
    let entry = best(&event.entries).map(|found| &found.entry);
    let letter = event.letters.first();
    let event_type = match entry {
        Some(Entry::Event(event)) => Some(event.event_type.to_string()),
        Some(Entry::Quarantined(_)) => None,
        None => letter.and_then(|letter| letter.event_type.clone()),
    };
    let at = entry.map(Entry::arrived).or(letter.map(|letter| letter.last));
    EventCandidate { id: id.clone(), source: source.clone(), event_type, at: at.map(Timestamp::to_rfc3339) }
}
