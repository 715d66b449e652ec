//! Acknowledgements that wait for sinks: `ack.after`.
//!
//! Without it a 2xx means that the event is durable on this machine's disk. With it a 2xx is sent, and a
//! queue's message deleted, only when the event is durable here and every named sink that takes its type has
//! accepted it, so that a disk that dies with its machine loses nothing that was acknowledged.
//!
//! ```text
//! dispatcher ─▶ Settlements ─▶ AwaitedSink ◀─ AckAfter ◀─ Intake, once the event is durable
//!  outcomes, settled prefix     who waits      per source
//! ```
//!
//! Invariant: no event is acknowledged that a named sink does not have. What cannot be told counts as not
//! accepted: a rejected event (`acceptances` remembers them), and a duplicate whose first copy may be one
//! that the sink was never given; such an event is stored once more. A source without `ack.after` pays
//! nothing here.

mod acceptances;
mod fingerprint;
mod known;
pub mod options;
mod sink;

pub use acceptances::Sought;
pub use options::AckOptions;
pub use sink::{AwaitedSink, Settlements, WaitingBounds};

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use parking_lot::Mutex;
use tokio::time::Instant;

use self::acceptances::Standing;
use self::known::KnownPositions;
use crate::dedup::DuplicateKey;
use crate::event::{Event, Position};
use crate::selection::Selection;
use crate::telemetry::Metrics;

/// Why a delivery that is durable here is not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unaccepted {
    /// A sink has not accepted the event in time.
    #[error("the event is stored, but a sink has not accepted it in time: send it again")]
    Late,
    /// A sink has rejected the event.
    #[error("the event is stored, but a sink has rejected it: it is kept as a dead letter")]
    Rejected,
    /// The delivery cannot become an event, so no sink can accept it.
    #[error("the delivery cannot become an event for any sink: it is kept as a dead letter")]
    Quarantined,
}

impl Unaccepted {
    /// The reason in one word, for metrics.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Late => "ack_late",
            Self::Rejected => "ack_rejected",
            Self::Quarantined => "ack_quarantined",
        }
    }
}

/// The sinks of one bridge that answers wait for. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct AwaitedSinks {
    sinks: Arc<BTreeMap<String, Arc<AwaitedSink>>>,
    known: Arc<Mutex<KnownPositions>>,
}

impl AwaitedSinks {
    /// These sinks, each with what it takes. A duplicate of an event can come for as long as `window`.
    pub fn new<'s>(
        sinks: impl IntoIterator<Item = (&'s str, &'s Selection)>,
        window: Duration,
        most: WaitingBounds,
        metrics: &Metrics,
    ) -> Self {
        let sinks = sinks.into_iter().map(|(name, selection)| {
            (name.to_owned(), Arc::new(AwaitedSink::new(name, selection.clone(), window, most, metrics)))
        });
        Self { sinks: Arc::new(sinks.collect()), known: Arc::default() }
    }

    /// The sink of this name, if answers wait for it.
    pub fn get(&self, name: &str) -> Option<&Arc<AwaitedSink>> {
        self.sinks.get(name)
    }

    /// Whether no answer waits for any sink.
    pub fn is_empty(&self) -> bool {
        self.sinks.is_empty()
    }

    /// What the answers of one source wait for; `None` if they wait for no sink.
    pub fn after(&self, options: &AckOptions) -> Option<AckAfter> {
        let names: BTreeSet<&String> = options.after.iter().collect();
        let sinks: Vec<_> = names.into_iter().filter_map(|name| self.get(name)).cloned().collect();
        let named = sinks.iter().map(|sink| (sink.name(), sink.fingerprint()));
        let fingerprint = fingerprint::of_all(named);
        (!sinks.is_empty()).then(|| AckAfter {
            sinks,
            fingerprint,
            within: options.within,
            bounded: true,
            known: Arc::clone(&self.known),
        })
    }
}

/// What the answers of one source wait for.
#[derive(Clone, Debug)]
pub struct AckAfter {
    sinks: Vec<Arc<AwaitedSink>>,
    fingerprint: u32,
    within: Duration,
    bounded: bool,
    known: Arc<Mutex<KnownPositions>>,
}

impl AckAfter {
    /// The same for a source that takes no more than it can keep waiting, as one does that polls a queue.
    pub fn unbounded(self) -> Self {
        Self { bounded: false, ..self }
    }

    /// Begins the time within which the sinks must accept an event; `None` if none of them takes its type.
    pub fn begin(&self, event: &Event, key: DuplicateKey) -> Option<Awaiting> {
        let takers = self.sinks.iter().filter(|sink| sink.selection().takes(&event.event_type));
        let sinks: Vec<_> = takers.cloned().collect();
        let deadline = Instant::now() + self.within;
        let (fingerprint, known) = (self.fingerprint, Arc::clone(&self.known));
        let bytes = self.bounded.then_some(event.body.len());
        (!sinks.is_empty()).then(|| Awaiting { sinks, fingerprint, key, bytes, deadline, known })
    }
}

/// An event whose answer waits for sinks.
#[derive(Clone, Debug)]
pub struct Awaiting {
    sinks: Vec<Arc<AwaitedSink>>,
    fingerprint: u32,
    key: DuplicateKey,
    /// The bytes that wait with it, if they count.
    bytes: Option<usize>,
    deadline: Instant,
    known: Arc<Mutex<KnownPositions>>,
}

impl Awaiting {
    /// The event's duplicate key.
    pub fn key(&self) -> DuplicateKey {
        self.key
    }

    /// What tells the sinks of the source from others, by their names and what they take.
    pub fn fingerprint(&self) -> u32 {
        self.fingerprint
    }

    /// Notes where the event was stored, so that a repetition of it finds its record.
    pub fn stored(&self, position: Position) {
        self.known.lock().note(self.key, position);
    }

    /// Where to look for an event of which a copy was stored before. The log's newest position is asked for
    /// only now that the copy is known to be durable, so it is not before it.
    pub fn duplicate(&self, head: impl FnOnce() -> Position) -> Sought {
        let known = self.known.lock().get(self.key);
        known.map_or_else(|| Sought::Through(head()), Sought::At)
    }

    /// Waits until every sink has accepted the event. `Ok(false)` if nobody can tell whether they have: it
    /// must be stored once more then.
    ///
    /// # Errors
    /// When a sink has rejected it, or has not accepted it in time, or too many wait for one already.
    pub async fn accepted(&self, sought: Sought) -> Result<bool, Unaccepted> {
        // All begin to wait at once, and a rejection by one of them is told at once.
        let seeking: Vec<_> = self.sinks.iter().map(|sink| sink.seek(sought, self.key, self.bytes)).collect();
        let standings =
            seeking.into_iter().map(async |seeking| match seeking.standing(self.deadline).await {
                Standing::Rejected => Err(Unaccepted::Rejected),
                standing => Ok(standing),
            });
        let standings = try_join_all(standings).await?;
        if standings.contains(&Standing::Pending) {
            return Err(Unaccepted::Late);
        }
        Ok(!standings.contains(&Standing::Doubtful))
    }
}
