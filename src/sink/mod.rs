//! The sinks, which publish records and report an outcome for each. The dispatcher decides what follows.

pub mod attributes;
pub mod envelope;
pub mod file;
pub mod kafka;
mod options;
pub(crate) mod outcomes;
pub mod reason;
pub mod sns;

pub use attributes::CarriedAttributes;
pub use options::{LINGER, Output, SinkOptions, StartFrom, StartFromError};

use std::sync::Arc;

pub use self::outcomes::Publication;
pub use self::reason::{Cause, Outcome, Reason};
use crate::event::Record;

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
    /// [published again](Outcome::Retry), the sink sends no later record of its lane that has not left yet,
    /// until that record is handed over again. One that has left is reported as accepted; the dispatcher
    /// publishes it again behind the other. Dropping the publication recalls no record: they might still be
    /// published.
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
