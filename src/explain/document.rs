//! The explanation of an event as a JSON document, which the command line reads again.
//!
//! Moments are RFC 3339 text, positions are numbers. Nothing in it is a part of a body but the attributes
//! that an event has anyway.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Situation;
use crate::event::Fingerprint;
use crate::state::{DeadLetterInfo, ReplayState};
use crate::timeline::Step;

/// What is known of the event that was asked about.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Explanation {
    /// What was asked.
    pub asked: String,
    /// How many events it can be.
    pub found: HowMany,
    /// The events that it can be, if it can be several: at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<EventCandidate>,
    /// The event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<ExplainedEvent>,
    /// What was decided about its delivery.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<ExplainedVerdict>,
    /// How many more deliveries of it came, which were duplicates, as far as the last steps go back.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub duplicates: u64,
    /// What became of it at each sink.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sinks: Vec<ExplainedSink>,
    /// Its dead letters, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dead_letters: Vec<DeadLetterInfo>,
    /// What the last steps have of it, by their moments: at most the newest 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
    /// The replays that have sent it to a sink again, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replays: Vec<ExplainedReplay>,
    /// The situation, in one word.
    pub situation: Situation,
    /// Why it is so, in a sentence.
    pub cause: String,
    /// What to do about it, if there is anything to do.
    pub fix: Option<String>,
    /// A command that shows the record where the sink has put it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Where it was looked for.
    pub looked: LookedThrough,
    /// The body, byte for byte, if it was asked for, is allowed to be shown and is JSON on one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<RawValue>>,
    /// The body in base64, if it is not JSON on one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_base64: Option<String>,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// How many events were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HowMany {
    /// The one that was asked about.
    One,
    /// Several, because what was asked is the beginning of several ids, or several sources have the id.
    Several,
    /// None.
    None,
}

/// One of several events that can be meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventCandidate {
    /// CloudEvents `id`.
    pub id: String,
    /// CloudEvents `source`.
    pub source: String,
    /// CloudEvents `type`; `None` of a quarantined delivery.
    #[serde(rename = "type")]
    pub event_type: Option<String>,
    /// When it arrived or, if only a dead letter is left of it, when that was last tried.
    pub at: Option<String>,
}

/// The attributes of an event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExplainedEvent {
    /// CloudEvents `id`.
    pub id: String,
    /// CloudEvents `source`.
    pub source: String,
    /// CloudEvents `type`; `None` of a quarantined delivery.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub event_type: Option<String>,
    /// The provider's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The event's family.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub family: Option<String>,
    /// The name of the source that took it in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intake: Option<String>,
    /// The partition key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// CloudEvents `subject`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// CloudEvents `time`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// When the delivery arrived.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arrived: Option<String>,
    /// Its position in the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
    /// The fingerprint of the configuration under which it was admitted, if that is recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub configuration: Option<Fingerprint>,
    /// Bytes of the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// SHA-256 of the body as it is stored, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The one sink that a copy is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub only_sink: Option<String>,
    /// More attributes by extension name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extensions: BTreeMap<String, String>,
}

/// What was decided about a delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExplainedVerdict {
    /// `accepted`, `filtered`, `duplicate`, `quarantined` or `refused`.
    pub word: String,
    /// The rule of the selection, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Where the rule is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<String>,
    /// Why a delivery was refused, or a quarantined one cannot become an event, in one word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The same in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// When the delivery arrived.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// What tells of it.
    pub known_from: KnownFrom,
}

/// What became of an event at a sink.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExplainedSink {
    /// The sink's name.
    pub sink: String,
    /// What became of the event there.
    pub state: SinkStanding,
    /// The topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// The partition key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Partition of the Kafka topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<i32>,
    /// The offset in the partition, or bytes in front of the line in the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// The id that SNS gave the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The topic's file with the line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// When that happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// Milliseconds from the event's arrival.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_ms: Option<u64>,
    /// How often it was published.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// Why it is not delivered, in one word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What the sink's service says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Since when it waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// For how many seconds it has waited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting_s: Option<u64>,
    /// In how many milliseconds it is tried next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_in_ms: Option<u64>,
    /// Number of the dead letter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<u64>,
    /// Position of the redriven copy by which the sink got the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redriven: Option<u64>,
    /// Why the event was a dead letter of the sink before that, in one word, if that is remembered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected: Option<String>,
    /// The sink's cursor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<u64>,
    /// The rule of the sink's selection, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Where the rule is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<String>,
    /// The earlier configuration whose rule it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub rule_of: Option<Fingerprint>,
    /// Whether the rule is that of the configuration of now, while the event came under an earlier one that
    /// is not known or did not have the sink.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_rule_of_now: bool,
    /// What tells of it.
    pub known_from: KnownFrom,
    /// A command that shows the record where the sink has put it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

/// A replay that has sent an event again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExplainedReplay {
    /// Its number.
    pub replay: u64,
    /// CloudEvents extension `replayid` of the copy.
    pub replay_id: String,
    /// How the replay is.
    pub state: ReplayState,
    /// What became of the copy at the sink.
    pub copy: ExplainedSink,
}

/// What became of an event at a sink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SinkStanding {
    /// The sink never gets it: it was gone from the log, or damaged, before the sink had read it.
    Missed,
    /// The sink is no longer configured.
    SinkGone,
    /// It is a dead letter.
    DeadLetter,
    /// Its topic is held, because a record of it must be published again.
    Held,
    /// It waits until the sink is resumed.
    Paused,
    /// It waits until the sink gets to it.
    Pending,
    /// Nobody can tell.
    #[default]
    Unknown,
    /// The sink has it.
    Delivered,
    /// The sink's cursor has passed it.
    DeliveredBefore,
    /// The sink's selection does not take its type.
    NotSelected,
    /// The entry is a copy for another sink alone; what became of the event here is not told by it.
    CopyForAnother,
}

impl SinkStanding {
    /// Whether something is wrong, or may be.
    pub fn is_trouble(self) -> bool {
        self <= Self::Unknown
    }
}

/// What tells of a fact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KnownFrom {
    /// The last steps, in memory.
    Timeline,
    /// The log.
    Log,
    /// A dead letter.
    DeadLetter,
    /// The cursors, and what the running bridge knows of its sinks.
    #[default]
    State,
    /// The rules of the configuration.
    Configuration,
}

/// Where an event was looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LookedThrough {
    /// The earliest arrival among the entries of the log that were looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_from: Option<String>,
    /// When the search began.
    pub log_through: String,
    /// The oldest position that the log still has.
    pub log_first: u64,
    /// Whether all of the log was looked through, or else only its newest part.
    pub complete: bool,
    /// The moment before which it was not looked for, if one was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// How many entries of the log cannot be read.
    #[serde(default)]
    pub lost: u64,
}
