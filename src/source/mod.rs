//! Sources: from a delivery to its acknowledgement.
//!
//! A source receives deliveries and verifies them; `Intake::receive` admits and appends them.
//! Invariant: an [`Acceptance`] exists only for a delivery that is on stable storage, and accepted by the
//! sinks that the source's `ack.after` names, or that the selection filtered; so a source that has one
//! acknowledges the delivery. Beyond those names, sources know nothing of sinks.

mod answer;
mod awaiting;
pub mod front;
pub mod http;
pub mod import;
mod metrics;
mod options;
mod refusals;
pub mod sampling;
pub mod secrets;
mod shown_headers;
pub mod sns;
pub mod sqs;
mod steps;
mod traced;
mod turns;
pub mod types_seen;
mod webhook;

pub use options::{Channel, SourceOptions, SourceSecret};

use std::sync::Arc;

use bytestring::ByteString;

use self::metrics::SourceMetrics;
use self::refusals::RefusalLimit;
use self::sampling::Sampler;
use self::secrets::{SecretWatch, Secrets, UsedSecret};
use self::steps::{Steps, passed_by};
use self::traced::{DeliveryTrace, SentContext};
use self::turns::{Turns, Weight};
use self::types_seen::TypesSeen;
use crate::ack::{AckAfter, Unaccepted};
use crate::admit::{AdmissionSource, admit};
use crate::aws::Aws;
use crate::dedup::DuplicateKey;
use crate::dedup::shared::Sufficient;
use crate::event::{Entry, Event, Filtered, Fingerprint, Quarantined, Timestamp, Verdict, Verified};
use crate::provider::Definition;
use crate::selection::Selection;
use crate::spool::{AppendError, Appended, Spool};
use crate::telemetry::{Metrics, TraceId, Tracer};
use crate::timeline::TimelineWriter;

/// Most bytes of the spool that are kept for webhooks: once an eighth of the spool, or this many bytes, is
/// all that is left, sources that poll a queue wait. A message that waits in a queue is safe there; a
/// webhook delivery that is refused can be lost.
const ROOM_FOR_WEBHOOKS_BYTES: u64 = 256 << 20;

/// Admits verified deliveries and makes them durable, for every source.
#[derive(Clone)]
pub struct Intake {
    spool: Spool,
    selection: Arc<Selection>,
    /// The configuration by which it decides, if that is recorded.
    configuration: Option<Fingerprint>,
    steps: Arc<Steps>,
    /// Bounds how many large bodies are worked on at once, and so the memory that they inflate to.
    turns: Arc<Turns>,
    /// Begins the traces of deliveries, if traces are on.
    tracer: Option<Tracer>,
}

/// What a source needs to take a delivery: its definition, its secrets and its metrics.
#[derive(Debug)]
pub struct SourceIntake {
    name: ByteString,
    definition: Arc<Definition>,
    secrets: Arc<Secrets>,
    view: AdmissionSource,
    metrics: Arc<SourceMetrics>,
    /// Bounds how many refusals are noted.
    refusals: RefusalLimit,
    /// The largest body as sent, if it differs from the general limit.
    body_bytes_max: Option<usize>,
    /// The sinks that must have accepted an event before it is acknowledged, if there are any.
    ack: Option<AckAfter>,
}

/// What is known of an authentic delivery beside its verdict.
#[derive(Debug)]
struct Circumstances {
    arrived: Timestamp,
    /// Bytes of the signed body.
    bytes: usize,
    /// The secret that verified the delivery, if it has a signature.
    secret: Option<UsedSecret>,
    /// Its trace, if it is sampled.
    trace: Option<Box<DeliveryTrace>>,
}

/// What became of a delivery that can be acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acceptance {
    /// What became of the delivery.
    pub fate: DeliveryFate,
    /// The id of the event or of the quarantined delivery.
    pub id: ByteString,
    /// The trace of the delivery, if it is sampled.
    pub trace: Option<TraceId>,
}

/// What became of an authentic delivery: the `verdict` of answers and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryFate {
    /// The event is durable.
    Accepted,
    /// The event's type is not selected; the event is not stored.
    Filtered,
    /// The event was durable already.
    Duplicate,
    /// The delivery cannot become an event; it is durable, and becomes a dead letter.
    Quarantined,
}

impl DeliveryFate {
    /// All of them, in the order of their values.
    pub const ALL: [Self; 4] = [Self::Accepted, Self::Filtered, Self::Duplicate, Self::Quarantined];

    /// The verdict of this word.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verdict| verdict.as_str() == word)
    }

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

/// The delivery is not durable, or not accepted by the sinks that its source waits for: it must not be
/// acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// The delivery can be stored later, if it is sent again.
    #[error("the delivery cannot be stored now: {0}")]
    Later(&'static str),
    /// The event can never be stored.
    #[error("the event is too large for the spool")]
    TooLarge,
    /// The delivery is durable, but not what else its source's acknowledgements wait for.
    #[error("{0}")]
    Unaccepted(Unaccepted, DeliveryFate),
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
        let counted = Arc::new(SourceMetrics::new(&config.name, metrics));
        Self::counted_by(counted, config, metrics)
    }

    /// Prepares a source that takes the place of this one, whose name it has. It counts on; and what is
    /// signed with a secret that this one has, and that one has not, is taken for ten more minutes.
    pub fn replaced_by(&self, config: SourceOptions, metrics: &Metrics, now: Timestamp) -> Self {
        let next = Self::counted_by(Arc::clone(&self.metrics), config, metrics);
        if next.definition.provider == self.definition.provider {
            next.secrets.succeed(&self.secrets, &next.name, metrics, now);
        }
        next
    }

    fn counted_by(source_metrics: Arc<SourceMetrics>, config: SourceOptions, metrics: &Metrics) -> Self {
        let view =
            AdmissionSource::new(config.definition.clone(), config.name.clone(), config.event_source());
        let SourceOptions { name, definition, secrets, body_bytes_max, .. } = config;
        let secrets = Arc::new(Secrets::new(&name, secrets, metrics));
        Self {
            name,
            definition,
            secrets,
            view,
            metrics: source_metrics,
            refusals: RefusalLimit::new(),
            body_bytes_max,
            ack: None,
        }
    }

    /// The same source with acknowledgements that wait for sinks.
    pub fn awaiting(self, ack: Option<AckAfter>) -> Self {
        Self { ack, ..self }
    }

    /// What follows the source's secrets while the source takes deliveries; `None` if none of them can
    /// change.
    pub fn secret_watch(&self, aws: &Aws, metrics: &Metrics) -> Option<SecretWatch> {
        let watched = Secrets::watched(&self.secrets, &self.name, &self.definition, aws, metrics);
        SecretWatch::new(watched, &self.secrets)
    }

    /// The source's name.
    pub fn name(&self) -> &ByteString {
        &self.name
    }
}

impl Intake {
    /// An intake that appends to this spool the events that this selection takes.
    pub fn new(spool: Spool, selection: Selection, types: Arc<TypesSeen>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let steps = Arc::new(Steps::new(types));
        let (selection, turns) = (Arc::new(selection), Arc::new(Turns::new(cores)));
        Self { spool, selection, configuration: None, steps, turns, tracer: None }
    }

    /// The same intake under a configuration: it takes what its selection takes, and each entry tells by the
    /// fingerprint under which configuration it was admitted. A delivery has to be admitted and kept by one
    /// intake, so that no entry is judged by one configuration and tells of another.
    #[must_use]
    pub fn under(self, selection: Selection, fingerprint: Fingerprint) -> Self {
        Self { selection: Arc::new(selection), configuration: Some(fingerprint), ..self }
    }

    /// The same intake, which notes in this timeline what becomes of each delivery.
    pub fn noting(self, timeline: TimelineWriter) -> Self {
        Self { steps: Arc::new(self.steps.noting(timeline)), ..self }
    }

    /// The same intake, which shows this sampler each accepted event.
    pub fn sampled_by(self, sampler: Sampler) -> Self {
        Self { steps: Arc::new(self.steps.sampled_by(sampler)), ..self }
    }

    /// The same intake, which traces deliveries by this tracer.
    pub fn traced_by(self, tracer: Option<Tracer>) -> Self {
        Self { tracer, ..self }
    }

    /// Checks, before the body of a delivery is read, that the spool takes appends.
    ///
    /// # Errors
    /// [`Unavailable::Later`] when it does not.
    pub fn accepting(&self) -> Result<(), Unavailable> {
        self.spool.accepting().map_err(Unavailable::Later)
    }

    /// Whether the spool has room for sources that can wait, such as those that poll a queue. Once they
    /// wait, half as much room again is required, so that they do not stop and go.
    pub fn has_room_to_spare(&self, waiting: bool) -> bool {
        let room = self.spool.capacity();
        let for_webhooks = (room.whole / 8).min(ROOM_FOR_WEBHOOKS_BYTES);
        let wanted = if waiting { for_webhooks + for_webhooks / 2 } else { for_webhooks };
        self.spool.accepting().is_ok() && room.left >= wanted
    }

    /// Admits a delivery and, unless it is filtered, makes it durable, and waits for the sinks that its
    /// source waits for.
    ///
    /// `sent` reads the trace context that the delivery came with, and is not called while traces are off.
    ///
    /// Dropping the future does not undo an append that was begun: the event can be stored, and
    /// the provider's next attempt is then a duplicate. The metrics count the event all the same.
    ///
    /// # Errors
    /// When the delivery is not durable, or not accepted. It must not be acknowledged then.
    async fn receive(
        &self,
        source: &SourceIntake,
        mut verified: Verified,
        secret: Option<UsedSecret>,
        sent: impl FnOnce() -> SentContext,
    ) -> Result<Acceptance, Unavailable> {
        let (bytes, arrived) = (verified.body.len(), verified.arrived);
        let trace = self.begin_trace(source, |_| sent(), &mut verified);
        let verdict = self.work(bytes, || self.admit(source, verified)).await;
        self.keep(source, verdict, Circumstances { arrived, bytes, secret, trace }).await
    }

    /// Begins the trace of an authentic delivery; `None` if it is not sampled, or traces are off.
    fn begin_trace(
        &self,
        source: &SourceIntake,
        sent: impl FnOnce(&Verified) -> SentContext,
        verified: &mut Verified,
    ) -> Option<Box<DeliveryTrace>> {
        let tracer = self.tracer.as_ref()?;
        let sent = sent(verified);
        DeliveryTrace::begin(tracer, &source.name, sent, verified)
    }

    /// Decides the verdict on a delivery: the first half of [`Intake::receive`].
    fn admit(&self, source: &SourceIntake, verified: Verified) -> Verdict {
        admit(&source.view, verified, &self.selection)
    }

    /// Carries out a verdict: the second half of [`Intake::receive`]. An entry is appended when the future is
    /// first polled, so entries are stored in the order in which their futures are first polled. If
    /// replicas share a duplicate window, they are stored in the order of its answers instead: a caller
    /// that needs an order waits for each future.
    async fn keep(
        &self,
        source: &SourceIntake,
        verdict: Verdict,
        mut about: Circumstances,
    ) -> Result<Acceptance, Unavailable> {
        let verdict = verdict.under(self.configuration);
        let mut trace = about.trace.take();
        if let Some(trace) = &mut trace {
            trace.decided(&verdict);
        }
        let traced = trace.as_deref();
        let answer = match verdict {
            Verdict::Accept(event) => self.accept(source, event, about.secret, traced).await,
            Verdict::Filter(filtered) => Ok(self.filter(source, filtered, &about)),
            Verdict::Quarantine(quarantined) => self.quarantine(source, quarantined, about, traced).await,
        };
        match trace {
            Some(trace) => trace.answered(answer),
            None => answer,
        }
    }

    /// Appends an entry, and records that if its delivery is traced.
    async fn append(
        &self,
        entry: Entry,
        key: DuplicateKey,
        sufficient: Sufficient,
        note: impl FnOnce(&Result<Appended, AppendError>) + Send + 'static,
        trace: Option<&DeliveryTrace>,
    ) -> Result<Appended, AppendError> {
        let appending = self.spool.append_noting(entry, Some(key), sufficient, note);
        let Some(trace) = trace else { return appending.await };
        let began = traced::now();
        let appended = appending.await;
        trace.appended(began, &appended);
        appended
    }

    async fn accept(
        &self,
        source: &SourceIntake,
        event: Arc<Event>,
        secret: Option<UsedSecret>,
        trace: Option<&DeliveryTrace>,
    ) -> Result<Acceptance, Unavailable> {
        let key = DuplicateKey::of(&event.source, &event.id);
        let awaiting = source.ack.as_ref().and_then(|ack| ack.begin(&event, key));
        let awaited = awaiting.clone();
        let sufficient = awaiting
            .as_ref()
            .map_or(Sufficient::Durable, |awaiting| Sufficient::Accepted(awaiting.fingerprint()));

        // The event is held until it is noted, and answered: memory that the writer's thread would free in
        // between makes the threads wait for each other.
        let noted = Arc::clone(&event);
        let (metrics, definition) = (Arc::clone(&source.metrics), Arc::clone(&source.definition));
        let (steps, by) = (Arc::clone(&self.steps), passed_by(&self.selection));
        let note = move |appended: &Result<Appended, AppendError>| {
            let Ok(appended) = appended else { return };
            if let (Some(awaiting), Appended::Stored(position)) = (awaiting, appended) {
                awaiting.stored(*position);
            }
            let fate = fate(*appended, DeliveryFate::Accepted);
            if fate == DeliveryFate::Accepted {
                metrics.accepted(&definition, &noted);
            }
            metrics.event(&noted.family, fate);
            steps.event(&noted, *appended, by, secret.as_ref());
        };
        let entry = Entry::Event(Arc::clone(&event));
        let appending = self.steps.appending(&source.name, &event.id, &event.event_type, event.arrived);
        let appended = self.append(entry, key, sufficient, note, trace).await;
        appending.answered();
        let appended = appended?;
        let fate = fate(appended, DeliveryFate::Accepted);
        let id = event.id.clone();
        if let Some(awaiting) = awaited {
            // In a box of its own: a source that waits for no sink has no room for it in its requests.
            Box::pin(self.await_sinks(source, awaiting, event, appended)).await?;
        }
        Ok(Acceptance { fate, id, trace: None })
    }

    fn filter(&self, source: &SourceIntake, filtered: Filtered, about: &Circumstances) -> Acceptance {
        let fate = DeliveryFate::Filtered;
        source.metrics.event(&filtered.family, fate);
        self.steps.filtered(source, &filtered, about, self.configuration);
        Acceptance { fate, id: filtered.id, trace: None }
    }

    async fn quarantine(
        &self,
        source: &SourceIntake,
        delivery: Arc<Quarantined>,
        about: Circumstances,
        trace: Option<&DeliveryTrace>,
    ) -> Result<Acceptance, Unavailable> {
        let id = delivery.id.clone();
        let (key, arrived) = (DuplicateKey::of_letter(&delivery.source, &id), about.arrived);
        let (metrics, steps, noted) =
            (Arc::clone(&source.metrics), Arc::clone(&self.steps), Arc::clone(&delivery));
        let note = move |appended: &Result<Appended, AppendError>| {
            if let Ok(appended) = appended {
                metrics.event(&ByteString::from_static("none"), fate(*appended, DeliveryFate::Quarantined));
                steps.quarantined(&noted, *appended, &about);
            }
        };
        let appending = self.steps.appending(&source.name, &id, "", arrived);
        let entry = Entry::Quarantined(delivery);
        let appended = self.append(entry, key, Sufficient::Durable, note, trace).await;
        appending.answered();
        let appended = appended?;
        let fate = fate(appended, DeliveryFate::Quarantined);
        if source.ack.is_some() {
            return Err(Unavailable::Unaccepted(Unaccepted::Quarantined, fate));
        }
        Ok(Acceptance { fate, id, trace: None })
    }

    /// Works on an authentic body of this size, in its turn.
    async fn work<T>(&self, bytes: usize, work: impl FnOnce() -> T) -> T {
        self.turns.authentic(bytes, work).await
    }

    /// Does the work that finds out whether a body is authentic, in its turn.
    ///
    /// # Errors
    /// [`Unavailable::Later`] when too many bodies of strangers wait.
    async fn work_unproven<T>(&self, weight: Weight, work: impl FnOnce() -> T) -> Result<T, Unavailable> {
        self.turns.unproven(weight, work).await
    }
}

/// The verdict after an append: `stored`, unless the entry is a duplicate.
fn fate(appended: Appended, stored: DeliveryFate) -> DeliveryFate {
    match appended {
        Appended::Stored(_) => stored,
        Appended::Duplicate | Appended::StoredElsewhere => DeliveryFate::Duplicate,
    }
}
