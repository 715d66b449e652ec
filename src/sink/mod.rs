//! The sinks, which publish records and report an outcome for each. The dispatcher decides what follows.

pub mod envelope;
pub mod file;
pub mod kafka;
mod options;
pub(crate) mod outcomes;
pub mod sns;

pub use options::{Output, SinkOptions};

use std::sync::Arc;

pub use self::outcomes::Publication;
use crate::event::{Reason, Record};

/// Reasons to publish a record again that say nothing about its topic: the record only stood behind
/// another one, or in one batch with it.
pub const PASSING: [&str; 4] = ["held", "refused_in_company", "overtook", "producer_fatal"];

/// Reasons that can be an accident of one request: they degrade the sink only if they last or happen
/// again.
///
/// A record that waited in the client for the end of an outage can be too old for its topic by then
/// (`clock`); the next attempt stamps it anew.
pub const ACCIDENTS: [&str; 4] = ["clock", "service_error", "timed_out", "unreachable"];

/// Reasons after which the record might have been published all the same.
pub const PERHAPS_PUBLISHED: [&str; 4] = ["overtook", "producer_fatal", "service_error", "timed_out"];

/// What a sink has done without the dispatcher, for the metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effort {
    /// Number of records that the sink repeated by itself, by reason.
    pub repeated: Vec<(&'static str, u64)>,
    /// Number of requests allowed at once, `None` for a sink that does not adapt it to its service.
    pub requests_allowed: Option<usize>,
}

/// Publishes records and reports the outcome of each.
pub trait Sink: Send + Sync + 'static {
    /// Hands a batch to the sink, in order. The publication resolves to one outcome per record, in the
    /// same order, when all are known; until then it counts the settled ones.
    ///
    /// The dispatcher calls this again before an earlier publication has resolved, to keep the pipe
    /// full; a sink keeps the order of calls per lane (same topic, same key). After a record has to be
    /// [published again](crate::event::Outcome::Retry), the sink accepts no later record of its lane
    /// that has not left yet, until that record is handed over again. Dropping the publication recalls
    /// no record: they might still be published.
    fn publish(&self, batch: Vec<Arc<Record>>) -> Publication;

    /// The sink's explanation of a missing outcome, for people. Asked when it has reported none for long.
    fn complaint(&self) -> Option<String> {
        None
    }

    /// A known obstacle to publishing, or to publishing fast enough. Asked also while there is no record
    /// to publish.
    fn obstacle(&self) -> Option<Reason> {
        None
    }

    /// What the sink has done without the dispatcher since the last call.
    fn effort(&self) -> Effort {
        Effort::default()
    }
}
