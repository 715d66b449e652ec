//! What a sink is: its name, its topics, which events it takes and what it writes to.

use std::time::Duration;

use super::attributes::CarriedAttributes;
use super::file::FileSinkOptions;
use super::kafka::KafkaOptions;
use super::sns::SnsSinkOptions;
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
    /// Whether the sink skips records rather than hold a full spool back (`on_full: detach_sink`).
    pub detaches: bool,
    /// Longest time for which records wait for each other, while so many come that larger batches pay.
    pub linger: Duration,
    /// Which attributes its records carry.
    pub attributes: CarriedAttributes,
    /// The kind of the sink, with its settings.
    pub output: Output,
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
