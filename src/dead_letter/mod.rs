//! Dead letters: records that cannot be delivered, kept to be looked at, exported and redriven.
//!
//! A record that a sink rejected goes back into the spool for that sink only. A quarantined delivery
//! is decided about again, by today's definitions, and appended under the event's duplicate key: if
//! the provider has sent the event again meanwhile, or does so within the window, it is delivered
//! once. A letter is removed only when its new record is durable, so a crash in between redrives it
//! twice rather than never. The second copy of a quarantined one is a duplicate; the consumers of a
//! sink recognise a second copy by the event's id. If there is no space to remove a letter, that is
//! remembered and done before the next redrive. A payload is read only when its letter is asked for.

mod document;

use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ack::AwaitedSinks;
use crate::dedup::DuplicateKey;
use crate::dispatch::certainty::key_of;
use crate::event::{Entry, Event, Quarantined, Timestamp, Verdict};
use crate::spool::{AppendError, Appended, Spool, codec};
use crate::state::{DeadFilter, DeadLetterInfo, Reassessment, State, StateError};

pub use crate::event::REDRIVEN_EXTENSION;
pub use document::{Document, Export, PAGE_BYTES_MAX, body_of, export, show};

/// Decides about a quarantined delivery again, by today's definitions and selection.
pub type Readmit = Arc<dyn Fn(&Quarantined) -> Verdict + Send + Sync>;

/// Number of letters that are appended to the spool before their removal is made durable. A crash
/// redrives at most this many twice.
const REDRIVE_BATCH: usize = 64;

/// The dead letters to redrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The letters with these numbers.
    Ids(Vec<u64>),
    /// The letters that the filter matches, with numbers after `after` and up to `through`. Letters
    /// that become dead letters again meanwhile have higher numbers, so that they are not redriven
    /// for ever.
    Matching {
        /// Selects letters by sink, reason and other properties.
        filter: DeadFilter,
        /// Only letters with a higher number.
        after: u64,
        /// Only letters up to this number.
        through: u64,
        /// Most letters in one request.
        limit: usize,
    },
}

/// The result of a redrive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Redriven {
    /// Number of letters whose event is in the spool again.
    pub redriven: u64,
    /// Number of letters removed because their event was durable already: the provider had sent it
    /// again, or another letter has the same event.
    #[serde(default)]
    pub already_delivered: u64,
    /// The letters that stay dead letters, with the reason.
    pub kept: Vec<Remaining>,
    /// The requested numbers without a letter; a letter can have been redriven or dropped before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<u64>,
    /// Why the redrive ended early, if it did. Letters not mentioned above are unchanged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
    /// The last number that was looked at; `None` if no letter was left.
    pub last: Option<u64>,
}

/// The result of dropping letters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Dropped {
    /// Number of letters deleted for good.
    pub dropped: u64,
    /// The requested numbers without a letter; a letter can have been redriven or dropped before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<u64>,
}

/// A dead letter that stays one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Remaining {
    /// The letter's number.
    pub id: u64,
    /// A reason from a fixed list.
    pub reason: String,
    /// Why the letter stays, for the operator.
    pub detail: String,
}

/// Puts dead letters back into the spool or drops them, one request at a time: the first request gets
/// a letter, and later ones report it as missing.
#[derive(Clone)]
pub struct Redrive {
    state: State,
    spool: Spool,
    sinks: Arc<ArcSwap<Vec<String>>>,
    readmit: Readmit,
    /// Serialises requests: two at once would append a letter twice, or drop one that is being
    /// appended.
    turn: Arc<tokio::sync::Mutex<Unrecorded>>,
    awaited: AwaitedSinks,
}

/// Results of letters that the state file does not have yet.
#[derive(Clone, Default)]
struct Unrecorded {
    appended: Vec<u64>,
    delivered: Vec<u64>,
    kept: Vec<Remaining>,
}

impl Redrive {
    /// Redrives from `state` into `spool`, for the configured sinks.
    pub fn new(
        state: State,
        spool: Spool,
        sinks: impl IntoIterator<Item = String>,
        readmit: Readmit,
    ) -> Self {
        let sinks = Arc::new(ArcSwap::from_pointee(sinks.into_iter().collect()));
        let awaited = AwaitedSinks::default();
        Self { state, spool, sinks, readmit, turn: Arc::default(), awaited }
    }

    /// The same, which tells these sinks of letters that are dropped.
    pub fn telling(self, awaited: AwaitedSinks) -> Self {
        Self { awaited, ..self }
    }

    /// Redrives for these sinks from now on, because the configuration has changed.
    pub fn replace_sinks(&self, sinks: impl IntoIterator<Item = String>) {
        self.sinks.store(Arc::new(sinks.into_iter().collect()));
    }

    /// Redrives the chosen letters, in ascending order.
    ///
    /// The future must not be dropped before it ends: letters would be in the spool and stay dead
    /// letters. Run it in a task of its own.
    ///
    /// # Errors
    /// When the state file cannot be used or has no space. Repeat the request then: no letter is
    /// redriven twice. A spool that cannot store is reported in the result.
    pub async fn run(&self, choice: Choice) -> Result<Redriven, StateError> {
        let mut unrecorded = self.turn.lock().await;
        self.record(&mut unrecorded).await?;
        let ids = self.resolve(choice).await?;
        let mut report = Redriven { last: ids.last().copied(), ..Redriven::default() };
        for batch in ids.chunks(REDRIVE_BATCH) {
            self.run_batch(batch, &mut report, &mut unrecorded).await?;
            if report.stopped.is_some() {
                break;
            }
        }
        Ok(report)
    }

    /// Deletes letters for good. The numbers have to be ascending and distinct.
    ///
    /// The future must not be dropped before it ends, as for [`Redrive::run`].
    ///
    /// # Errors
    /// When the state file cannot be used or has no space. Repeat the request then.
    pub async fn drop(&self, ids: Vec<u64>) -> Result<Dropped, StateError> {
        let mut unrecorded = self.turn.lock().await;
        // A letter whose event is in the spool again is no letter any more.
        self.record(&mut unrecorded).await?;
        let awaited = self.awaited.clone();
        self.blocking(move |state| {
            let letters = if awaited.is_empty() { Vec::new() } else { letters(state, &ids)? };
            let dropped = state.remove_dead_letters(&ids)?;
            // From now on a repetition of the event is answered as the duplicate that it is.
            for letter in letters.iter().filter(|letter| dropped.contains(&letter.id)) {
                let sink = letter.sink.as_deref().and_then(|sink| awaited.get(sink));
                sink.into_iter().for_each(|sink| sink.forget(key_of(letter), letter.position));
            }
            let missing = ids.into_iter().filter(|id| !dropped.contains(id)).collect();
            Ok(Dropped { dropped: dropped.len() as u64, missing })
        })
        .await
    }

    async fn resolve(&self, choice: Choice) -> Result<Vec<u64>, StateError> {
        match choice {
            Choice::Ids(mut ids) => {
                ids.sort_unstable();
                ids.dedup();
                Ok(ids)
            }
            Choice::Matching { filter, after, through, limit } => {
                let letters = self.blocking(move |state| state.dead_letters(&filter, after, limit)).await?;
                Ok(letters.iter().map(|letter| letter.id).take_while(|&id| id <= through).collect())
            }
        }
    }

    async fn run_batch(
        &self,
        ids: &[u64],
        report: &mut Redriven,
        unrecorded: &mut Unrecorded,
    ) -> Result<(), StateError> {
        let Unrecorded { appended, delivered, kept } = unrecorded;
        let mut failed = Ok(());
        for &id in ids {
            match self.put_back(id).await {
                Ok(Fate::Appended) => appended.push(id),
                Ok(Fate::Delivered) => delivered.push(id),
                Ok(Fate::Stays { reason, detail }) => kept.push(Remaining { id, reason, detail }),
                Ok(Fate::Gone) => report.missing.push(id),
                Ok(Fate::Stopped(why)) => {
                    report.stopped = Some(why);
                    break;
                }
                Err(error) => {
                    failed = Err(error);
                    break;
                }
            }
        }
        report.redriven += appended.len() as u64;
        report.already_delivered += delivered.len() as u64;
        report.kept.extend(kept.iter().cloned());
        // Recorded also when the batch ended early: an appended letter must not stay a dead letter.
        self.record(unrecorded).await.and(failed)
    }

    async fn put_back(&self, id: u64) -> Result<Fate, StateError> {
        let (letter, payload) = match self.blocking(move |state| state.dead_letter(id)).await {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(Fate::Gone),
            // A letter that cannot be read must not block the others.
            Err(StateError::Damaged { found, .. }) => return Ok(Fate::stays("damaged", found)),
            Err(error) => return Err(error),
        };
        let (event, duplicate) = match codec::decode(payload) {
            Ok(entry) => match decide(&letter, entry, &self.sinks.load(), &*self.readmit) {
                Ok(decided) => decided,
                Err(stays) => return Ok(stays),
            },
            Err(error) => return Ok(Fate::stays("undecodable", error.to_string())),
        };
        Ok(match self.spool.append(event.into(), duplicate).await {
            Ok(Appended::Stored(_)) => Fate::Appended,
            Ok(Appended::Duplicate | Appended::StoredElsewhere) => Fate::Delivered,
            Err(error @ AppendError::TooLarge) => Fate::stays("too_large", error.to_string()),
            Err(error) => Fate::Stopped(error.to_string()),
        })
    }

    /// Makes the results durable. The events of the letters it removes are durable in the spool
    /// already.
    async fn record(&self, unrecorded: &mut Unrecorded) -> Result<(), StateError> {
        let at = Timestamp::from(SystemTime::now());
        let Unrecorded { appended, delivered, kept } = unrecorded.clone();
        let gone = [appended, delivered].concat();
        self.blocking(move |state| {
            if !gone.is_empty() {
                state.remove_dead_letters(&gone)?;
            }
            if !kept.is_empty() {
                let again = |Remaining { id, reason, detail }| Reassessment { id, reason, detail, at };
                state.reassess_dead_letters(&kept.into_iter().map(again).collect::<Vec<_>>())?;
            }
            Ok(())
        })
        .await?;
        *unrecorded = Unrecorded::default();
        Ok(())
    }

    async fn blocking<T: Send + 'static>(&self, f: impl FnOnce(&State) -> T + Send + 'static) -> T {
        let state = self.state.clone();
        match tokio::task::spawn_blocking(move || f(&state)).await {
            Ok(value) => value,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

/// Those of these letters that exist.
fn letters(state: &State, ids: &[u64]) -> Result<Vec<DeadLetterInfo>, StateError> {
    let mut letters = Vec::with_capacity(ids.len());
    for id in ids {
        let found = state.dead_letters(&DeadFilter::default(), id.saturating_sub(1), 1)?;
        letters.extend(found.into_iter().filter(|letter| letter.id == *id));
    }
    Ok(letters)
}

/// The result for one letter.
enum Fate {
    /// Its event was appended to the spool.
    Appended,
    /// Its event was in the spool before, from another delivery.
    Delivered,
    /// The letter stays a dead letter, for this reason.
    Stays { reason: String, detail: String },
    /// There is no such letter any more.
    Gone,
    /// The spool cannot store now: this letter and the later ones are unchanged.
    Stopped(String),
}

impl Fate {
    fn stays(reason: &str, detail: String) -> Self {
        Self::Stays { reason: reason.to_owned(), detail }
    }
}

/// The event to append, with its duplicate key, or why the letter stays (pure). An event for one sink
/// has no duplicate key, because the event itself was delivered to other sinks, and the duplicate
/// window might know it.
fn decide(
    letter: &DeadLetterInfo,
    entry: Entry,
    sinks: &[String],
    readmit: &dyn Fn(&Quarantined) -> Verdict,
) -> Result<(Event, Option<DuplicateKey>), Fate> {
    match (entry, &letter.sink) {
        (Entry::Event(_), Some(sink)) if !sinks.contains(sink) => {
            // No sink would read the event, and it would be lost.
            Err(Fate::stays("unknown_sink", format!("sink `{sink}` is not in the configuration")))
        }
        (Entry::Event(event), sink) => {
            let only_sink = sink.as_deref().map(Into::into);
            Ok((marked(Event { only_sink, ..Arc::unwrap_or_clone(event) }), None))
        }
        (Entry::Quarantined(delivery), _) => match readmit(&delivery) {
            Verdict::Accept(event) => {
                let duplicate = DuplicateKey::of(&event.source, &event.id);
                Ok((marked(Arc::unwrap_or_clone(event)), Some(duplicate)))
            }
            Verdict::Filter(filtered) => {
                let detail =
                    format!("event type `{}` can be read now, but is not selected", filtered.event_type);
                Err(Fate::stays("not_selected", detail))
            }
            Verdict::Quarantine(again) => Err(Fate::stays(&again.reason, again.detail.to_string())),
        },
    }
}

fn marked(mut event: Event) -> Event {
    event.extensions.retain(|(name, _)| name != REDRIVEN_EXTENSION);
    event.extensions.push((REDRIVEN_EXTENSION.into(), "1".into()));
    event
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Position;
    use crate::state::{NewDeadLetter, Progress};
    use crate::testing::bench::{Bench, awaited};
    use crate::testing::events::event;
    use crate::testing::failing::Fault;

    fn refused(position: u64) -> NewDeadLetter {
        NewDeadLetter {
            sink: Some("lake".into()),
            reason: "too_large".into(),
            detail: "a byte more than it takes".into(),
            attempts: 1,
            first: Timestamp(1),
            last: Timestamp(2),
            position: Position(position),
            topic: Some("stream.video".into()),
            entry: event("k").into(),
        }
    }

    #[tokio::test]
    async fn letters_that_cannot_be_removed_for_want_of_room_are_redriven_once_all_the_same() {
        let (bench, faults) = Bench::failing();
        let dead = (1..=3).map(refused).collect();
        let progress = Progress { sink: "lake".into(), cursor: Position(3), dead };
        bench.state.commit(&[progress]).expect("room");
        let readmit: Readmit = Arc::new(|delivery| Verdict::Quarantine(delivery.clone().into()));
        let (state, spool) = (bench.state.clone(), bench.spool.clone());
        let redrive = Redrive::new(state, spool, ["lake".to_owned()], readmit);
        let all = || Choice::Matching { filter: DeadFilter::default(), after: 0, through: 9, limit: 9 };

        faults.set(Fault::All);
        for _ in 0..2 {
            let failed = redrive.run(all()).await;
            assert!(matches!(failed, Err(StateError::NoRoom { .. })), "{failed:?}");
            assert_eq!(bench.spool.head(), Position(3), "they are in the spool, once");
        }
        faults.set(Fault::None);
        awaited(|| bench.state.dead_letter_counts().is_ok()).await;
        let report = redrive.run(all()).await.expect("room");

        assert_eq!((report.redriven, report.last), (0, None), "nothing is left to redrive");
        assert_eq!(bench.state.dead_letter_counts().expect("readable"), []);
        assert_eq!(bench.spool.head(), Position(3));
    }
}
