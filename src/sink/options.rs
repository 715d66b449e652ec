//! What a sink is: its name, its topics, which events it takes and what it writes to.

use std::str::FromStr;
use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::attributes::CarriedAttributes;
use super::file::FileSinkOptions;
use super::kafka::KafkaOptions;
use super::sns::SnsSinkOptions;
use crate::event::Timestamp;
use crate::routing::TopicTemplate;
use crate::selection::Selection;

/// The default of [`SinkOptions::linger`].
pub const LINGER: Duration = Duration::from_millis(50);

/// A sink.
#[derive(Clone, Debug)]
pub struct SinkOptions {
    /// The sink's name, under which its cursor and dead letters are stored.
    pub name: String,
    /// The template of its topics.
    pub topic: TopicTemplate,
    /// Narrows the bridge's selection for this sink.
    pub selection: Selection,
    /// With which event it begins if it is new.
    pub from: StartFrom,
    /// Whether the sink skips records rather than hold a full spool back (`on_full: detach_sink`).
    pub detaches: bool,
    /// Longest time for which records wait for each other, while so many come that larger batches pay.
    pub linger: Duration,
    /// Which attributes its records carry.
    pub attributes: CarriedAttributes,
    /// The kind of the sink, with its settings.
    pub output: Output,
}

/// With which event a sink begins that has no cursor yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartFrom {
    /// With the next one that is accepted.
    #[default]
    Next,
    /// With the oldest one that the log still holds.
    Earliest,
    /// With those that arrived at this moment or later, as far as the log still holds them.
    Moment(Timestamp),
}

/// A text that says no event to begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected `next`, `earliest` or a moment in RFC 3339 such as 2026-11-21T06:40:00Z")]
pub struct StartFromError;

impl FromStr for StartFrom {
    type Err = StartFromError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "next" => Ok(Self::Next),
            "earliest" => Ok(Self::Earliest),
            text => {
                let moment = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| StartFromError)?;
                let nanos = i64::try_from(moment.unix_timestamp_nanos()).map_err(|_| StartFromError)?;
                Ok(Self::Moment(Timestamp(nanos)))
            }
        }
    }
}

/// The kinds of sink.
#[derive(Clone, Debug)]
pub enum Output {
    /// A Kafka cluster.
    Kafka(KafkaOptions),
    /// SNS topics.
    Sns(SnsSinkOptions),
    /// JSON Lines on the local disk.
    File(FileSinkOptions),
}
