//! Dead letters: kept because they cannot be delivered; looked at, exported, redriven.
//!
//! What a sink refused goes back into the spool for that sink alone; what was quarantined at the
//! front is admitted again by today's definitions, and appended under the event's duplicate key: if
//! its provider has sent it again meanwhile, or does so within the window, it is delivered once. A letter is
//! removed only once what became of it is durable, so a crash on the way redrives it twice rather
//! than never; of a quarantined one the second time is a duplicate, of a sink's consumers tell by
//! the event's id. Without room to remove it that is remembered, and done before anything else is
//! redriven. Nothing here reads a payload unless it is asked for that letter.

mod document;

use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;

use crate::event::{Entry, Event, Quarantined, Timestamp, Verdict};
use crate::spool::state::{DeadFilter, DeadLetterInfo, Reassessment, State, StateError};
use crate::spool::{AppendError, Appended, DuplicateKey, Spool, codec};

pub use document::{Document, Export, PAGE_BYTES_MAX, export, show};

/// Decides about a quarantined delivery by today's definitions and selection.
pub type Readmit = Arc<dyn Fn(&Quarantined) -> Verdict + Send + Sync>;

/// Set to `1` on a redriven event.
pub const REDRIVEN_EXTENSION: &str = "redriven";

/// Letters that go back into the spool before their removal is made durable. A crash redrives at
/// most so many twice.
const REDRIVE_BATCH: usize = 64;

/// Which dead letters to redrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// These.
    Ids(Vec<u64>),
    /// Those that a filter takes, behind the number `after` and up to `through`: letters that die
    /// again meanwhile have greater numbers, and would be redriven for ever.
    Matching {
        /// Which.
        filter: DeadFilter,
        /// Not these and before.
        after: u64,
        /// The last.
        through: u64,
        /// How many at once.
        limit: usize,
    },
}

/// What became of a redrive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Redriven {
    /// How many are in the spool again, and no longer dead letters.
    pub redriven: u64,
    /// How many are dead letters no longer because their event was durable already: the provider had
    /// sent it again, or two letters are of one event.
    pub already_delivered: u64,
    /// Those that stay, with the reason.
    pub kept: Vec<Kept>,
    /// The numbers that no letter has, or none any more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<u64>,
    /// Why it ended early, if it did: what is not mentioned above is as it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
    /// The last number that was looked at; `None` if there was nothing left to look at.
    pub last: Option<u64>,
}

/// What became of letters that were to be dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Dropped {
    /// How many are gone for good.
    pub dropped: u64,
    /// The numbers that no letter has, or none any more: such a letter may have been redriven.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<u64>,
}

/// A dead letter that stays one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// Its number.
    pub id: u64,
    /// A short, bounded word.
    pub reason: String,
    /// Why, for people.
    pub detail: String,
}

/// Puts dead letters back into the spool or drops them, one request at a time: who comes first has a
/// letter, and for the others it is not there.
#[derive(Clone)]
pub struct Redrive {
    state: State,
    spool: Spool,
    sinks: Arc<[String]>,
    readmit: Readmit,
    /// Two at once would append the same letter twice, or drop what is on its way into the spool.
    turn: Arc<tokio::sync::Mutex<Unrecorded>>,
}

/// What became of letters, as long as the state does not have it.
#[derive(Clone, Default)]
struct Unrecorded {
    appended: Vec<u64>,
    delivered: Vec<u64>,
    kept: Vec<Kept>,
}

impl Redrive {
    /// Redrives from `state` into `spool`, for the sinks that are configured now.
    pub fn new(
        state: State,
        spool: Spool,
        sinks: impl IntoIterator<Item = String>,
        readmit: Readmit,
    ) -> Self {
        Self { state, spool, sinks: sinks.into_iter().collect(), readmit, turn: Arc::default() }
    }

    /// Redrives the chosen letters, in ascending order.
    ///
    /// Not to be dropped half-way: letters would be in the spool and stay dead letters. Run it in
    /// a task of its own.
    ///
    /// # Errors
    /// When the state fails, or has no room: ask again then, nothing is redriven twice. A spool that
    /// cannot store is reported in the result.
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

    /// Removes letters for good, in ascending order and without one twice.
    ///
    /// Not to be dropped half-way, as [`Redrive::run`].
    ///
    /// # Errors
    /// When the state fails, or has no room: ask again then.
    pub async fn drop(&self, ids: Vec<u64>) -> Result<Dropped, StateError> {
        let mut unrecorded = self.turn.lock().await;
        // What is in the spool is no letter any more.
        self.record(&mut unrecorded).await?;
        self.blocking(move |state| {
            let dropped = state.remove_dead_letters(&ids)?;
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
                Ok(Fate::Stays { reason, detail }) => kept.push(Kept { id, reason, detail }),
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
        // Also when the batch ended early: what is in the spool must not stay a dead letter.
        self.record(unrecorded).await.and(failed)
    }

    async fn put_back(&self, id: u64) -> Result<Fate, StateError> {
        let (letter, payload) = match self.blocking(move |state| state.dead_letter(id)).await {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(Fate::Gone),
            // One letter that cannot be read must not stand in the way of the others.
            Err(StateError::Damaged { found, .. }) => return Ok(Fate::stays("damaged", found)),
            Err(error) => return Err(error),
        };
        let (event, duplicate) = match codec::decode(payload) {
            Ok(entry) => match decide(&letter, entry, &self.sinks, &*self.readmit) {
                Ok(decided) => decided,
                Err(stays) => return Ok(stays),
            },
            Err(error) => return Ok(Fate::stays("undecodable", error.to_string())),
        };
        Ok(match self.spool.append(Entry::Event(event), duplicate).await {
            Ok(Appended::Stored(_)) => Fate::Appended,
            Ok(Appended::Duplicate) => Fate::Delivered,
            Err(error @ AppendError::TooLarge) => Fate::stays("too_large", error.to_string()),
            Err(error) => Fate::Stopped(error.to_string()),
        })
    }

    /// Makes what became of letters durable. What it removes is already durable in the spool.
    async fn record(&self, unrecorded: &mut Unrecorded) -> Result<(), StateError> {
        let at = Timestamp::from(SystemTime::now());
        let Unrecorded { appended, delivered, kept } = unrecorded.clone();
        let gone = [appended, delivered].concat();
        self.blocking(move |state| {
            if !gone.is_empty() {
                state.remove_dead_letters(&gone)?;
            }
            if !kept.is_empty() {
                let again = |Kept { id, reason, detail }| Reassessment { id, reason, detail, at };
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

/// What became of one letter.
enum Fate {
    /// It is in the spool.
    Appended,
    /// Its event is in the spool, or was, by another way.
    Delivered,
    /// It stays a dead letter, for this reason.
    Stays { reason: String, detail: String },
    /// It is no dead letter any more.
    Gone,
    /// The spool cannot store now: this one and those behind it are as they were.
    Stopped(String),
}

impl Fate {
    fn stays(reason: &str, detail: String) -> Self {
        Self::Stays { reason: reason.to_owned(), detail }
    }
}

/// The event to put back into the spool, with the key by which every sink has it once, or why the
/// letter stays (pure). What is for one sink has no key: the other sinks have the event, and so may
/// the duplicate window.
fn decide(
    letter: &DeadLetterInfo,
    entry: Entry,
    sinks: &[String],
    readmit: &dyn Fn(&Quarantined) -> Verdict,
) -> Result<(Event, Option<DuplicateKey>), Fate> {
    match (entry, &letter.sink) {
        (Entry::Event(_), Some(sink)) if !sinks.contains(sink) => {
            // Nobody would read it, and it would be gone.
            Err(Fate::stays("unknown_sink", format!("sink `{sink}` is not configured")))
        }
        (Entry::Event(event), sink) => {
            let only_sink = sink.as_deref().map(Into::into);
            Ok((marked(Event { only_sink, ..event }), None))
        }
        (Entry::Quarantined(delivery), _) => match readmit(&delivery) {
            Verdict::Accept(event) => {
                let duplicate = DuplicateKey::of(&event.source, &event.id);
                Ok((marked(event), Some(duplicate)))
            }
            Verdict::Filter(filtered) => {
                let detail = format!("event type `{}` is usable now, and not selected", filtered.event_type);
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
    use crate::dispatch::tests::bench::{Bench, awaited};
    use crate::event::Position;
    use crate::event::tests::event;
    use crate::spool::state::tests::failing::Fault;
    use crate::spool::state::{NewDeadLetter, Progress};

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
            entry: Entry::Event(event("k")),
        }
    }

    #[tokio::test]
    async fn letters_that_cannot_be_removed_for_want_of_room_are_redriven_once_all_the_same() {
        let (bench, faults) = Bench::failing();
        let dead = (1..=3).map(refused).collect();
        let progress = Progress { sink: "lake".into(), cursor: Position(3), dead };
        bench.state.commit(&[progress]).expect("room");
        let readmit: Readmit = Arc::new(|delivery| Verdict::Quarantine(delivery.clone()));
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
