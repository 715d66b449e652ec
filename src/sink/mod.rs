//! Where records go. Each sink publishes and reports; the dispatcher decides what follows.

pub mod envelope;
pub mod file;
pub(crate) mod in_flight;
pub mod kafka;
pub mod sns;

use std::sync::Arc;

pub use self::in_flight::Publication;
use crate::event::{Reason, Record};

/// Reasons to publish a record again that tell of no trouble with its topic: it only stood behind
/// another record, or in one batch with it.
pub const PASSING: [&str; 4] = ["held", "refused_in_company", "overtook", "producer_fatal"];

/// Reasons that may be an accident of one request: they tell of trouble with the topic only when it
/// lasts or happens again.
///
/// A record that waited in the client for an outage to end may be too old for its topic by then (`clock`);
/// the next attempt stamps it anew.
pub const ACCIDENTS: [&str; 4] = ["clock", "service_error", "timed_out", "unreachable"];

/// Reasons after which the record may have arrived all the same.
pub const PERHAPS_PUBLISHED: [&str; 4] = ["overtook", "producer_fatal", "service_error", "timed_out"];

/// What a sink does by itself, beside what it reports of each record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effort {
    /// Records that it repeated in their place, by the reason's word.
    pub repeated: Vec<(&'static str, u64)>,
    /// How many requests it may have on their way at once, if it goes by what its service bears.
    pub requests_allowed: Option<usize>,
}

/// Takes records out of the bridge.
pub trait Sink: Send + Sync + 'static {
    /// Hands a batch to the sink, in order, before it returns; the publication reports each record's
    /// fate, in the order given, when all are known, and counts those that are settled before.
    ///
    /// The dispatcher calls this again before an earlier publication has resolved, to keep the pipe
    /// full; a sink keeps the order of calls per lane (same topic, same key). Once it reports that a
    /// record [goes again](crate::event::Outcome::Retry), a sink accepts nothing later of its topic,
    /// as far as it can still help it, before that record is handed over again. Dropping the
    /// publication withdraws nothing: the records may still arrive.
    fn publish(&self, batch: Vec<Arc<Record>>) -> Publication;

    /// What it complains about now, for people: asked when it has given no answer for a while.
    fn complaint(&self) -> Option<String> {
        None
    }

    /// What keeps it from publishing anything, or all that there is, if it knows that without trying:
    /// asked also while there is nothing to publish.
    fn obstacle(&self) -> Option<Reason> {
        None
    }

    /// What it has done by itself since it was last asked, for the metrics.
    fn effort(&self) -> Effort {
        Effort::default()
    }
}
