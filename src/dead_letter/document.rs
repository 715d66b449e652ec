//! A dead letter as a JSON document with its attributes and its body.
//!
//! Besides the sinks, and the explanation of an event where the configuration allows it, this is the only way
//! in which a payload leaves the bridge.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::event::{Entry, Event, EventTime, Quarantined};
use crate::spool::codec;
use crate::state::{DeadFilter, DeadLetterInfo, State, StateError};

/// A page of an export ends with the letter with which it reaches this size in bytes.
pub const PAGE_BYTES_MAX: usize = 8 << 20;

/// A dead letter with its attributes and its body.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Document {
    /// The fields that a listing shows.
    #[serde(flatten)]
    pub info: DeadLetterInfo,
    /// The provider's name.
    pub provider: String,
    /// Name of the source that took the delivery in.
    pub intake: String,
    /// The event family; a quarantined delivery has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub family: Option<String>,
    /// The partition key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// CloudEvents `subject`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// CloudEvents `time`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// CloudEvents `recordedtime`.
    pub recorded_time: String,
    /// More attributes by extension name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub extensions: BTreeMap<String, String>,
    /// The body, byte for byte, if it is JSON on one line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<RawValue>>,
    /// The body in base64, if it is not JSON on one line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_base64: Option<String>,
    /// What was found instead of the body, if the body is damaged on disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub damaged: Option<String>,
}

/// A page of dead letters as JSON Lines.
#[derive(Debug, Default)]
pub struct Export {
    /// One [`Document`] per line.
    pub lines: Vec<u8>,
    /// The `after` of the next page, if there might be one.
    pub next: Option<u64>,
}

/// A dead letter with its body. Blocks on disk reads.
///
/// # Errors
/// When the state file cannot be used, or the payload is damaged.
pub fn show(state: &State, id: u64) -> Result<Option<Document>, StateError> {
    let Some((info, payload)) = state.dead_letter(id)? else {
        return Ok(None);
    };
    Ok(Some(match codec::decode(payload.clone()) {
        Ok(Entry::Event(event)) => Document::of_event(info, Arc::unwrap_or_clone(event)),
        Ok(Entry::Quarantined(delivery)) => Document::of_quarantined(info, Arc::unwrap_or_clone(delivery)),
        // The layout of a later release, or an unknown one: the raw payload is better than none.
        Err(_) => Document::of_unknown(info, &payload),
    }))
}

/// A page of dead letters with their bodies, from the first number after `after`. Blocks on disk
/// reads.
///
/// # Errors
/// When the state file cannot be used. A damaged payload is reported in its document.
pub fn export(state: &State, filter: &DeadFilter, after: u64, limit: usize) -> Result<Export, StateError> {
    let letters = state.dead_letters(filter, after, limit)?;
    let mut page = Export { next: letters.last().map(|letter| letter.id), ..Export::default() };
    for letter in letters {
        let document = match show(state, letter.id) {
            Ok(Some(document)) => document,
            Ok(None) => continue,
            // An export might be a rescue: one damaged body must not hide the others.
            Err(StateError::Damaged { found, .. }) => {
                Document { damaged: Some(found), ..Document::bare(letter) }
            }
            Err(error) => return Err(error),
        };
        serde_json::to_writer(&mut page.lines, &document).expect("a document has only text for keys");
        page.lines.push(b'\n');
        if page.lines.len() >= PAGE_BYTES_MAX {
            page.next = Some(document.info.id);
            break;
        }
    }
    Ok(page)
}

impl Document {
    fn of_event(info: DeadLetterInfo, event: Event) -> Self {
        let (data, data_base64) = body_of(&event.body);
        let extensions = event.extensions.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        Self {
            info,
            provider: event.provider.to_string(),
            intake: event.source_name.to_string(),
            family: Some(event.family.to_string()),
            key: event.key.map(|key| key.to_string()),
            subject: event.subject.map(|subject| subject.to_string()),
            time: Some(match event.time {
                EventTime::Stated(text) => text.to_string(),
                EventTime::Inferred(moment) => moment.to_rfc3339(),
            }),
            recorded_time: event.arrived.to_rfc3339(),
            extensions: extensions.collect(),
            data,
            data_base64,
            damaged: None,
        }
    }

    fn of_quarantined(info: DeadLetterInfo, delivery: Quarantined) -> Self {
        let (data, data_base64) = body_of(&delivery.body);
        Self {
            provider: delivery.provider.to_string(),
            intake: delivery.source_name.to_string(),
            recorded_time: delivery.arrived.to_rfc3339(),
            data,
            data_base64,
            ..Self::bare(info)
        }
    }

    fn of_unknown(info: DeadLetterInfo, payload: &Bytes) -> Self {
        Self { data_base64: Some(STANDARD.encode(payload)), ..Self::bare(info) }
    }

    fn bare(info: DeadLetterInfo) -> Self {
        Self {
            recorded_time: info.first.to_rfc3339(),
            info,
            provider: String::new(),
            intake: String::new(),
            family: None,
            key: None,
            subject: None,
            time: None,
            extensions: BTreeMap::new(),
            data: None,
            data_base64: None,
            damaged: None,
        }
    }
}

/// The body verbatim if it is JSON on one line, so that each document stays on one line; else in
/// base64.
pub fn body_of(body: &Bytes) -> (Option<Box<RawValue>>, Option<String>) {
    let text = std::str::from_utf8(body).ok().filter(|text| !text.contains(['\n', '\r']));
    // Parsing drops white space around the value; without it the signature would not match.
    let exact = text.filter(|text| text.trim_ascii().len() == text.len());
    match exact.and_then(|text| RawValue::from_string(text.to_owned()).ok()) {
        Some(json) => (Some(json), None),
        None => (None, Some(STANDARD.encode(body))),
    }
}
