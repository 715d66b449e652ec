//! What can happen to a delivery or an event (pure).
//!
//! The texts of a step are borrowed where it is written and owned where it is read, so that an event costs no
//! copy but the one into the timeline. No step has a body, a secret or the value of a header that could hold
//! one: who writes a step sees to that.

use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::written;
use crate::event::{Placement, Position, Timestamp};

/// A step as it is read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Step {
    /// The step's number since the start, counted from 1. Steps of several threads are numbered by their
    /// moments, as far as they came within one round of the collector.
    pub number: u64,
    /// When it happened, on the wall clock.
    pub at: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub kind: StepKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum StepKind<T = String> {
    /// An authentic delivery was decided about and is durable, if it had to be.
    Taken(TakenStep<T>),
    /// A delivery was refused.
    Refused(RefusedStep<T>),
    /// The caller of an authentic delivery was gone before there was an answer.
    Unanswered(UnansweredStep<T>),
    /// A sink has an event.
    Published(PublishedStep<T>),
    /// Records of one topic wait, because they must be published again.
    Held(HeldStep<T>),
    /// A sink rejected an event, which became a dead letter.
    Rejected(RejectedStep<T>),
}

/// What was decided about an authentic delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TakenAs {
    /// It is an event for the sinks.
    Accepted,
    /// The selection has filtered it.
    Filtered,
    /// It is a copy of an event that came before.
    Duplicate,
    /// It cannot become an event.
    Quarantined,
}

/// What decided it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DecidedBy {
    /// The bridge takes all types.
    All,
    /// The type is on the bridge's list.
    OnList,
    /// The type is not on the bridge's list.
    NotOnList,
    /// Its body cannot be used.
    Unusable,
    /// The duplicate window of this bridge.
    SeenHere,
    /// The duplicate window that replicas share.
    SeenElsewhere,
    /// It is a copy, and nobody could tell whether an awaited sink has the first one.
    StoredAgain,
}

impl DecidedBy {
    pub(super) const ALL: [Self; 7] = [
        Self::All,
        Self::OnList,
        Self::NotOnList,
        Self::Unusable,
        Self::SeenHere,
        Self::SeenElsewhere,
        Self::StoredAgain,
    ];
}

/// An authentic delivery was decided about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TakenStep<T = String> {
    /// Name of the source.
    pub source: T,
    /// What was decided.
    pub verdict: TakenAs,
    /// What decided it.
    pub decided_by: DecidedBy,
    /// Why a quarantined delivery cannot be used, in one word; else empty.
    pub reason: T,
    /// CloudEvents `id`.
    pub id: T,
    /// CloudEvents `source`.
    pub event_source: T,
    /// CloudEvents `type`.
    #[serde(rename = "type")]
    pub event_type: T,
    /// The event's family.
    pub family: T,
    /// The event's partition key.
    pub key: Option<T>,
    /// Bytes of the body.
    pub bytes: u32,
    /// The entry's position in the log; of a duplicate that of the first copy, if it is known.
    pub position: Option<Position>,
    /// Reference of the secret that verified the delivery, as in the metric.
    pub secret: Option<T>,
    /// The fingerprint of the configuration by which it was decided, if that is recorded.
    #[serde(with = "written::digits")]
    #[schemars(with = "Option<String>")]
    pub configuration: Option<[u8; 6]>,
    /// Microseconds from the arrival until the delivery was durable or, if nothing is stored, decided about.
    pub taken_us: u32,
}

/// A delivery was refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RefusedStep<T = String> {
    /// Name of the source; empty if no source has the path.
    pub source: T,
    /// The request's number, 16 hexadecimal digits in JSON.
    #[serde(with = "written::request")]
    #[schemars(with = "String")]
    pub request: u64,
    /// The HTTP status of the answer.
    pub status: u16,
    /// The reason in one word, as in the metric.
    pub reason: T,
    /// Bytes of the body as it was read; of one that was not, as the request states them.
    pub bytes: Option<u64>,
    /// SHA-256 of the body, if it was read and does not prove its sender.
    #[serde(with = "written::digits")]
    #[schemars(with = "Option<String>")]
    pub sha256: Option<[u8; 32]>,
    /// The headers, masked. At most 40 of them, with 2 KiB of names and values, are kept.
    pub headers: Vec<(T, T)>,
    /// How many refusals of this source since the last step were not noted, because there were too many.
    pub unsaid: u32,
}

/// The caller of an authentic delivery was gone before there was an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct UnansweredStep<T = String> {
    /// Name of the source.
    pub source: T,
    /// CloudEvents `id`.
    pub id: T,
    /// CloudEvents `type`.
    #[serde(rename = "type")]
    pub event_type: T,
    /// Milliseconds that the caller waited.
    pub waited_ms: u32,
}

/// A sink has an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PublishedStep<T = String> {
    /// Name of the source from which the event came.
    pub source: T,
    /// Name of the sink.
    pub sink: T,
    /// The topic.
    pub topic: T,
    /// CloudEvents `id`.
    pub id: T,
    /// CloudEvents `type`.
    #[serde(rename = "type")]
    pub event_type: T,
    /// The event's position in the log.
    pub position: Position,
    /// Where the sink has put it.
    pub placement: Placement,
    /// How often it was published; 1 if once.
    pub attempts: u32,
    /// Milliseconds from the event's arrival.
    pub after_ms: u32,
    /// Whether it is a replayed event.
    pub replay: bool,
}

/// Records of one topic wait, because they must be published again. One step stands for all records that one
/// publication gave back for one cause.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HeldStep<T = String> {
    /// Name of the sink.
    pub sink: T,
    /// The topic.
    pub topic: T,
    /// The cause in one word, as in the metric.
    pub reason: T,
    /// What the sink's service says.
    pub detail: T,
    /// How many records these are.
    pub records: u32,
    /// Position of the first of them.
    pub first: Position,
    /// Position of the last of them.
    pub last: Position,
    /// How often the first of them was published.
    pub attempt: u32,
}

/// A sink rejected an event, which became a dead letter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RejectedStep<T = String> {
    /// Name of the source from which the event came.
    pub source: T,
    /// Name of the sink.
    pub sink: T,
    /// The topic.
    pub topic: T,
    /// CloudEvents `id`.
    pub id: T,
    /// CloudEvents `type`.
    #[serde(rename = "type")]
    pub event_type: T,
    /// The event's position in the log.
    pub position: Position,
    /// The cause in one word, as in the metric.
    pub reason: T,
    /// What the sink's service says.
    pub detail: T,
    /// How often it was published.
    pub attempts: u32,
}

/// The one word for a step: the verdict on a delivery, or what else happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepWord {
    /// [`TakenAs::Accepted`].
    Accepted,
    /// [`TakenAs::Filtered`].
    Filtered,
    /// [`TakenAs::Duplicate`].
    Duplicate,
    /// [`TakenAs::Quarantined`].
    Quarantined,
    /// [`StepKind::Refused`].
    Refused,
    /// [`StepKind::Unanswered`].
    Unanswered,
    /// [`StepKind::Published`].
    Published,
    /// [`StepKind::Held`].
    Held,
    /// [`StepKind::Rejected`].
    Rejected,
}

/// A word that stands for no step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {}", StepWord::WORDS.join(", "))]
pub struct StepWordError;

impl StepWord {
    /// All words.
    pub const ALL: [Self; 9] = [
        Self::Accepted,
        Self::Filtered,
        Self::Duplicate,
        Self::Quarantined,
        Self::Refused,
        Self::Unanswered,
        Self::Published,
        Self::Held,
        Self::Rejected,
    ];

    /// The words in their order.
    pub const WORDS: [&'static str; Self::ALL.len()] = {
        let (mut words, mut at) = ([""; Self::ALL.len()], 0);
        while at < words.len() {
            words[at] = Self::ALL[at].as_str();
            at += 1;
        }
        words
    };

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Filtered => "filtered",
            Self::Duplicate => "duplicate",
            Self::Quarantined => "quarantined",
            Self::Refused => "refused",
            Self::Unanswered => "unanswered",
            Self::Published => "published",
            Self::Held => "held",
            Self::Rejected => "rejected",
        }
    }

    /// Whether an operator has to look at such a step.
    pub fn is_failure(self) -> bool {
        match self {
            Self::Quarantined | Self::Refused | Self::Unanswered | Self::Held | Self::Rejected => true,
            Self::Accepted | Self::Filtered | Self::Duplicate | Self::Published => false,
        }
    }
}

impl FromStr for StepWord {
    type Err = StepWordError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|word| word.as_str() == text).ok_or(StepWordError)
    }
}

impl From<TakenAs> for StepWord {
    fn from(verdict: TakenAs) -> Self {
        match verdict {
            TakenAs::Accepted => Self::Accepted,
            TakenAs::Filtered => Self::Filtered,
            TakenAs::Duplicate => Self::Duplicate,
            TakenAs::Quarantined => Self::Quarantined,
        }
    }
}

impl<T> StepKind<T> {
    /// The one word for it.
    pub fn word(&self) -> StepWord {
        match self {
            Self::Taken(taken) => taken.verdict.into(),
            Self::Refused(_) => StepWord::Refused,
            Self::Unanswered(_) => StepWord::Unanswered,
            Self::Published(_) => StepWord::Published,
            Self::Held(_) => StepWord::Held,
            Self::Rejected(_) => StepWord::Rejected,
        }
    }
}
