//! Where events come in: the way every source takes from a verified delivery to a durable answer.
//!
//! A source brings deliveries in and verifies them; [`Intake::receive`] admits and appends.
//! Invariant: an [`Answer`] exists only for what is on stable storage, or was filtered by the
//! selection, so whoever holds one may acknowledge. Sources know nothing of sinks.

mod answer;
mod backoff;
pub mod front;
pub mod http;
mod metrics;
mod options;
pub mod secrets;
pub mod sns;
pub mod sqs;
pub mod types_seen;
mod webhook;

pub use options::{Channel, SourceOptions, SourceSecret};

use std::sync::Arc;

use bytestring::ByteString;

use self::http::turns::{Turns, Weight};
use self::metrics::SourceMetrics;
use self::secrets::{Secrets, WatchedSecretFile};
use self::types_seen::TypesSeen;
use crate::admit::{AdmissionSource, admit};
use crate::dedup::DuplicateKey;
use crate::event::{Entry, Event, Filtered, Quarantined, Timestamp, Verdict, Verified};
use crate::provider::Definition;
use crate::selection::Selection;
use crate::spool::{AppendError, Appended, Spool};
use crate::telemetry::Metrics;

/// The room in the spool below which sources that can wait do: an eighth of it, and no more than
/// this many bytes. What waits in a queue is safe there, a webhook is not.
const ROOM_FOR_WEBHOOKS_BYTES: u64 = 256 << 20;

/// Takes verified deliveries in, for every source.
#[derive(Clone)]
pub struct Intake {
    spool: Spool,
    selection: Arc<Selection>,
    types: Arc<TypesSeen>,
    /// Bounds how many large bodies are worked on at once, and with it the memory they inflate to.
    turns: Arc<Turns>,
}

/// One source as its deliveries need it.
#[derive(Debug)]
pub struct SourceIntake {
    name: ByteString,
    definition: Arc<Definition>,
    secrets: Arc<Secrets>,
    view: AdmissionSource,
    tally: Arc<SourceMetrics>,
    /// The largest body on the wire, if it is not the one for all.
    body_bytes_max: Option<usize>,
}

/// What became of a delivery. It may be acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acceptance {
    /// What became of it.
    pub verdict: AnswerVerdict,
    /// The id of the event.
    pub id: ByteString,
}

/// What became of an authentic delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerVerdict {
    /// The event is durable.
    Accepted,
    /// The selection keeps its type out.
    Filtered,
    /// The event was durable already.
    Duplicate,
    /// It cannot become an event; it is durable for the dead letters.
    Quarantined,
}

impl AnswerVerdict {
    /// All of them, in the order of their values.
    pub const ALL: [Self; 4] = [Self::Accepted, Self::Filtered, Self::Duplicate, Self::Quarantined];

    /// The word for answers, metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Filtered => "filtered",
            Self::Duplicate => "duplicate",
            Self::Quarantined => "quarantined",
        }
    }
}

/// The delivery is not durable and must not be acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// It may be sent again later.
    #[error("cannot store now: {0}")]
    Later(&'static str),
    /// It can never be stored.
    #[error("the event is too large for the spool")]
    TooLarge,
}

impl From<AppendError> for Unavailable {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::TooLarge => Self::TooLarge,
            AppendError::Full { reason } => Self::Later(reason),
            AppendError::Failed => Self::Later("spool_failed"),
        }
    }
}

impl SourceIntake {
    /// Prepares a configured source.
    pub fn new(config: SourceOptions, metrics: &Metrics) -> Self {
        let view =
            AdmissionSource::new(config.definition.clone(), config.name.clone(), config.event_source());
        let tally = Arc::new(SourceMetrics::new(&config.name, metrics));
        let SourceOptions { name, definition, secrets, body_bytes_max, .. } = config;
        let secrets = Arc::new(Secrets::new(&name, secrets, metrics));
        Self { name, definition, secrets, view, tally, body_bytes_max }
    }

    /// The files with its secrets, to be followed while it takes deliveries.
    pub fn secret_files(&self, metrics: &Metrics) -> Vec<WatchedSecretFile> {
        Secrets::files(&self.secrets, &self.name, &self.definition, metrics)
    }

    /// The source's name.
    pub fn name(&self) -> &ByteString {
        &self.name
    }
}

impl Intake {
    /// The way into this spool, for the types that this selection takes.
    pub fn new(spool: Spool, selection: Selection, types: Arc<TypesSeen>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { spool, selection: Arc::new(selection), types, turns: Arc::new(Turns::new(cores)) }
    }

    /// Whether a delivery could be stored now; asked before its body is read.
    ///
    /// # Errors
    /// [`Unavailable::Later`] when not.
    pub fn accepting(&self) -> Result<(), Unavailable> {
        self.spool.accepting().map_err(Unavailable::Later)
    }

    /// Whether there is room for sources that can wait, such as those that read a queue. Once they
    /// wait, half as much room again is asked for, so that they do not stop and go.
    pub fn has_room_to_spare(&self, waiting: bool) -> bool {
        let room = self.spool.capacity();
        let for_webhooks = (room.whole / 8).min(ROOM_FOR_WEBHOOKS_BYTES);
        let wanted = if waiting { for_webhooks + for_webhooks / 2 } else { for_webhooks };
        self.spool.accepting().is_ok() && room.left >= wanted
    }

    /// Admits a delivery and, unless it is filtered, makes it durable.
    ///
    /// Dropping the future does not undo an append that was begun: the event may be stored, and
    /// the provider's next attempt is then a duplicate. It is counted as what became of it all the same.
    ///
    /// # Errors
    /// When the delivery is not durable. It must then not be acknowledged.
    pub async fn receive(
        &self,
        source: &SourceIntake,
        verified: Verified,
    ) -> Result<Acceptance, Unavailable> {
        let (size, arrived) = (verified.body.len(), verified.arrived);
        let verdict = self.work(size, || self.admit(source, verified)).await;
        self.keep(source, verdict, arrived).await
    }

    /// Decides what becomes of a delivery, the first half of [`Intake::receive`].
    fn admit(&self, source: &SourceIntake, verified: Verified) -> Verdict {
        admit(&source.view, verified, &self.selection)
    }

    /// Makes durable what was decided, the second half of [`Intake::receive`]. It is appended where
    /// this is first polled, so what is polled in an order is stored in that order; but if replicas share
    /// a duplicate window, in the order of its answers. Who needs an order waits for each.
    async fn keep(
        &self,
        source: &SourceIntake,
        verdict: Verdict,
        arrived: Timestamp,
    ) -> Result<Acceptance, Unavailable> {
        match verdict {
            Verdict::Accept(event) => self.accept(source, event).await,
            Verdict::Filter(filtered) => Ok(self.filter(source, filtered, arrived)),
            Verdict::Quarantine(quarantined) => self.quarantine(source, quarantined).await,
        }
    }

    async fn accept(&self, source: &SourceIntake, event: Event) -> Result<Acceptance, Unavailable> {
        // Cheap: these share the allocations of the event.
        let (id, family, event_type) = (event.id.clone(), event.family.clone(), event.event_type.clone());
        let (keyless, arrived) = (event.key.is_none(), event.arrived);
        let unsigned = source.definition.delivery_id(&event.extensions).cloned();
        let body = source.definition.identifies_deliveries().then(|| event.body.clone());
        let key = DuplicateKey::of(&event.source, &id);

        let (tally, noted) = (Arc::clone(&source.tally), id.clone());
        let (types, definition) = (Arc::clone(&self.types), Arc::clone(&source.definition));
        let note = move |appended: &Result<Appended, AppendError>| {
            let Ok(appended) = appended else { return };
            let verdict = verdict(*appended, AnswerVerdict::Accepted);
            if verdict == AnswerVerdict::Accepted {
                if keyless {
                    tally.keyless();
                }
                if let Some(unsigned) = unsigned {
                    tally.unsigned_id(&unsigned, &noted, body.as_deref());
                }
            }
            tally.event(&family, verdict);
            types.seen(&definition.provider, &event_type, verdict, arrived);
        };
        let appended = self.spool.append_noting(Entry::Event(event), Some(key), note).await?;
        Ok(Acceptance { verdict: verdict(appended, AnswerVerdict::Accepted), id })
    }

    fn filter(&self, source: &SourceIntake, filtered: Filtered, arrived: Timestamp) -> Acceptance {
        let verdict = AnswerVerdict::Filtered;
        source.tally.event(&filtered.family, verdict);
        self.types.seen(&source.definition.provider, &filtered.event_type, verdict, arrived);
        Acceptance { verdict, id: filtered.id }
    }

    async fn quarantine(
        &self,
        source: &SourceIntake,
        delivery: Quarantined,
    ) -> Result<Acceptance, Unavailable> {
        let id = delivery.id.clone();
        let key = DuplicateKey::of_letter(&delivery.source, &id);
        let tally = Arc::clone(&source.tally);
        let note = move |appended: &Result<Appended, AppendError>| {
            if let Ok(appended) = appended {
                tally.event(&ByteString::from_static("none"), verdict(*appended, AnswerVerdict::Quarantined));
            }
        };
        let appended = self.spool.append_noting(Entry::Quarantined(delivery), Some(key), note).await?;
        Ok(Acceptance { verdict: verdict(appended, AnswerVerdict::Quarantined), id })
    }

    /// Does work on an authentic body of this size.
    async fn work<T>(&self, bytes: usize, work: impl FnOnce() -> T) -> T {
        self.turns.authentic(bytes, work).await
    }

    /// Does work that is to tell whether a body is authentic.
    ///
    /// # Errors
    /// [`Unavailable::Later`] when strangers have too much to be done.
    async fn work_unproven<T>(&self, weight: Weight, work: impl FnOnce() -> T) -> Result<T, Unavailable> {
        self.turns.unproven(weight, work).await
    }
}

/// What became of a delivery: this, if it was stored.
fn verdict(appended: Appended, stored: AnswerVerdict) -> AnswerVerdict {
    match appended {
        Appended::Stored(_) => stored,
        Appended::Duplicate => AnswerVerdict::Duplicate,
    }
}
