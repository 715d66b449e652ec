//! The rows of the state, as its callers and the admin API see them.
//!
//! Rows are JSON inside the file: an older release skips fields that it does not know, and a person with
//! the file and no fanbridge can still read them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::dead_groups::group_of;
use crate::event::{Entry, Position, Timestamp};

/// A sink's cursor, and the dead letters that it passes.
#[derive(Clone, Debug)]
pub struct Progress {
    /// The sink's name.
    pub sink: String,
    /// The end of the sink's settled prefix: this position and all before it are settled.
    pub cursor: Position,
    /// The dead letters up to the cursor that are not yet stored.
    pub dead: Vec<NewDeadLetter>,
}

/// An entry that cannot be delivered.
#[derive(Clone, Debug)]
pub struct NewDeadLetter {
    /// The sink that refused it; `None` for a quarantined delivery.
    pub sink: Option<String>,
    /// The reason, one word of a bounded set.
    pub reason: String,
    /// What happened, in a sentence that holds no part of the body.
    pub detail: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was first tried.
    pub first: Timestamp,
    /// When it was last tried.
    pub last: Timestamp,
    /// Its position in the log.
    pub position: Position,
    /// The topic it was meant for.
    pub topic: Option<String>,
    /// The entry itself.
    pub entry: Entry,
}

/// A dead letter without its payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeadLetterInfo {
    /// Its number: numbers ascend and are never used again.
    #[serde(default)]
    pub id: u64,
    /// The sink that refused it; `None` for a quarantined delivery.
    pub sink: Option<String>,
    /// The reason, one word of a bounded set.
    pub reason: String,
    /// What happened, in a sentence.
    pub detail: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was first tried.
    pub first: Timestamp,
    /// When it was last tried.
    pub last: Timestamp,
    /// Its position in the log when it became a dead letter.
    pub position: Position,
    /// The topic it was meant for.
    pub topic: Option<String>,
    /// CloudEvents `id`.
    pub event_id: String,
    /// CloudEvents `type`; `None` if none could be read.
    pub event_type: Option<String>,
    /// CloudEvents `source`.
    pub source: String,
    /// The body's size in bytes.
    pub body_bytes: u64,
    /// CloudEvents extension `replayid`, if it is a replayed copy of an event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay_id: Option<String>,
}

impl NewDeadLetter {
    pub(super) fn info(&self, id: u64) -> DeadLetterInfo {
        let (event_id, event_type, source, body) = match &self.entry {
            Entry::Event(event) => {
                (&event.id, Some(event.event_type.to_string()), &event.source, &event.body)
            }
            Entry::Quarantined(delivery) => (&delivery.id, None, &delivery.source, &delivery.body),
        };
        let replay_id = match &self.entry {
            Entry::Event(event) => event.replay_id().map(ToString::to_string),
            Entry::Quarantined(_) => None,
        };
        DeadLetterInfo {
            id,
            sink: self.sink.clone(),
            reason: self.reason.clone(),
            detail: self.detail.clone(),
            attempts: self.attempts,
            first: self.first,
            last: self.last,
            position: self.position,
            topic: self.topic.clone(),
            event_id: event_id.to_string(),
            event_type,
            source: source.to_string(),
            body_bytes: body.len() as u64,
            replay_id,
        }
    }
}

/// A new reason for a dead letter that was tried again and stays one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reassessment {
    /// The dead letter's number.
    pub id: u64,
    /// The reason, one word of a bounded set.
    pub reason: String,
    /// What happened, in a sentence.
    pub detail: String,
    /// When it was tried again.
    pub at: Timestamp,
}

/// A filter of dead letters; the default takes all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DeadFilter {
    /// Only this sink's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sink: Option<String>,
    /// Only quarantined deliveries, which have no sink.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub quarantined: bool,
    /// Only those with this reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Only events of this type.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub event_type: Option<String>,
    /// Only those of the group with this id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

impl DeadFilter {
    /// Whether the filter lets a dead letter through.
    pub fn takes(&self, letter: &DeadLetterInfo) -> bool {
        fn is(wanted: Option<&String>, found: Option<&String>) -> bool {
            wanted.is_none_or(|wanted| found == Some(wanted))
        }
        is(self.sink.as_ref(), letter.sink.as_ref())
            && (!self.quarantined || letter.sink.is_none())
            && is(self.reason.as_ref(), Some(&letter.reason))
            && is(self.event_type.as_ref(), letter.event_type.as_ref())
            && self.group.as_ref().is_none_or(|wanted| *wanted == group_of(letter))
    }
}

/// How many dead letters there are of one sink and reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeadCount {
    /// The sink; `None` for quarantined deliveries.
    pub sink: Option<String>,
    /// The reason, one word of a bounded set.
    pub reason: String,
    /// How many dead letters there are.
    pub count: u64,
    /// The bytes that their payloads take.
    pub bytes: u64,
}

/// An event type that arrived, with one verdict on its deliveries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TypeSeen {
    /// The name of the provider.
    pub provider: String,
    /// The type, as the provider names it.
    #[serde(rename = "type")]
    pub event_type: String,
    /// `accepted`, `filtered`, `duplicate` or `quarantined`.
    pub verdict: String,
    /// How many deliveries had this type and verdict.
    pub count: u64,
    /// When the first of them arrived.
    pub first: Timestamp,
    /// When the last of them arrived.
    pub last: Timestamp,
}
