//! Replays: delivered events are sent to one sink again.
//!
//! ```text
//! Replays::begin ─▶ state (which events, how far) ─▶ runner, one for each sink
//!                        ▲                              │ search of the log, oldest first
//!                        └── progress, after each batch ◀┴─▶ copies for that sink, appended to the log
//! ```
//!
//! A replay appends copies, as a redrive does, and publishes nothing itself: so retries, dead letters, the
//! order of a key and what a crash repeats are those of any other event. A copy is for one sink alone, has no
//! duplicate key and says by `replayid` what it is; replays pass over copies. How far a replay has got is
//! durable after each batch, so a killed one goes on and repeats one batch at most. Live events come first: a
//! replay waits while its sink is behind with the copies, and while the spool is short of space. What a
//! replay has yet to read outlives `retain`, but gives way when the spool is full; what is gone is counted.

mod copies;
mod count;
mod pace;
mod run;
mod scope;
mod sinks;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

use self::scope::ReplayScope;
use crate::dispatch::cancelled::CancelledReplays;
use crate::dispatch::low_watermark::{CursorHandle, Cursors, ReaderKind, ReaderPosition};
use crate::event::{Position, Timestamp};
use crate::health::SinkStatus;
use crate::selection::Selection;
use crate::spool::{ReadError, Spool};
use crate::state::{ReplayRow, ReplaySelection, ReplayState, State, StateError};
use crate::telemetry::{ReplayMetrics, Sink};

pub use count::{ReplayCount, count_of_stopped};
pub use sinks::sink_is_gone;

/// Events in a second, if nothing else is asked for.
pub const RATE_DEFAULT: u32 = 1_000;
/// Most events in a second.
pub const RATE_MAX: u32 = 100_000;
/// Most ids that one replay names.
pub const IDS_MAX: usize = 100;
/// Most types, families and sources that one replay names, and most bytes of all names: each row is read
/// again and again while it is remembered.
pub const NAMES_MAX: usize = 1_000;
/// See [`NAMES_MAX`].
pub const NAME_BYTES_MAX: usize = 16 << 10;
/// Most replays that run or wait at once.
const RUNNING_MAX: usize = 100;

/// A replay that is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewReplay {
    /// The sink that is to get the events.
    pub sink: String,
    /// Which events.
    pub events: ReplaySelection,
    /// Whether events go to the sink that its own selection does not take.
    pub select_all: bool,
    /// Most events in a second.
    pub rate: u32,
}

impl NewReplay {
    /// Whether what is asked for is within its bounds.
    fn check(&self) -> Result<(), ReplayError> {
        let events = &self.events;
        if *events == ReplaySelection::default() {
            return Err(ReplayError::Everything);
        }
        if events.since.zip(events.until).is_some_and(|(since, until)| until <= since) {
            return Err(ReplayError::NoTime);
        }
        if !(1..=RATE_MAX).contains(&self.rate) {
            return Err(ReplayError::Rate(self.rate));
        }
        if events.ids.len() > IDS_MAX {
            return Err(ReplayError::Ids(events.ids.len()));
        }
        let sets = [&events.types, &events.families, &events.sources];
        let names = sets.iter().map(|set| set.len()).sum();
        let bytes = sets.into_iter().chain([&events.ids]).flatten().map(String::len).sum();
        if names > NAMES_MAX || bytes > NAME_BYTES_MAX {
            return Err(ReplayError::Names { names, bytes });
        }
        Ok(())
    }
}

/// Why a replay is not begun, shown or cancelled.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// No sink has the name.
    #[error("no sink is named `{0}` (configured: {1})")]
    UnknownSink(String, String),
    /// Nothing says which events.
    #[error("say which events: since, until, types, families, sources or ids")]
    Everything,
    /// The time ends before it begins.
    #[error("`until` is not behind `since`: no event can have arrived in between")]
    NoTime,
    /// The rate cannot be kept.
    #[error("the rate is {0} events a second, expected 1 to {RATE_MAX}")]
    Rate(u32),
    /// There are too many ids.
    #[error("{0} ids are named, expected at most {IDS_MAX}: give a time, a type or a family instead")]
    Ids(usize),
    /// There are too many names.
    #[error(
        "{names} types, families and sources are named, in {bytes} bytes with the ids; expected at most \
         {NAMES_MAX} in {NAME_BYTES_MAX} bytes: leave names out, which takes more events, or begin several"
    )]
    Names {
        /// How many are named.
        names: usize,
        /// How many bytes they and the ids have.
        bytes: usize,
    },
    /// The log has no event with an id, or the sink has not passed it yet.
    #[error("{0}")]
    UnknownId(String),
    /// Too many replays run.
    #[error("{RUNNING_MAX} replays run or wait: cancel one, or wait until one is done")]
    TooMany,
    /// No replay has the number.
    #[error("there is no replay {0}")]
    Unknown(u64),
    /// It has ended.
    #[error("replay {0} has ended already")]
    Ended(u64),
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// The state cannot be read or written.
    #[error(transparent)]
    State(#[from] StateError),
}

/// A sink that events can be sent to again.
pub struct ReplaySink {
    /// Its name.
    pub name: String,
    /// Which types it takes by itself.
    pub selection: Selection,
    /// Its durable cursor.
    pub cursor: CursorHandle,
    /// Says whether it is paused.
    pub status: Arc<SinkStatus>,
}

/// A replay that runs.
pub struct RunningReplay {
    /// The sink that gets the events.
    pub sink: String,
    /// The position up to which it looks through the log.
    pub end: Position,
    /// How far it has looked, which the log keeps for it.
    pub read: CursorHandle,
}

/// Begins, shows and cancels replays. Clones share them; calls block on the disk.
#[derive(Clone)]
pub struct Replays(Arc<Shared>);

struct Shared {
    state: State,
    spool: Spool,
    cursors: Cursors,
    sinks: RwLock<Vec<Arc<ReplaySink>>>,
    /// CloudEvents `source` of the events of each configured source.
    event_sources: ArcSwap<Vec<String>>,
    metrics: ReplayMetrics,
    /// The replays that run, by their numbers.
    running: Mutex<BTreeMap<u64, RunningReplay>>,
    /// What each replay waits for, if it waits.
    waiting: Mutex<BTreeMap<u64, String>>,
    /// Held while a row is read and written again.
    turn: Mutex<()>,
    /// Those whose copies the dispatchers pass over.
    cancelled: CancelledReplays,
    /// Wakes the runners when a replay was begun or cancelled, or a sink came or went.
    changed: Notify,
}

impl Replays {
    /// The replays of a bridge, of which some run already, and some were cancelled.
    pub fn new(
        (state, spool): (State, Spool),
        cursors: Cursors,
        sinks: Vec<ReplaySink>,
        event_sources: Vec<String>,
        (running, cancelled): (BTreeMap<u64, RunningReplay>, CancelledReplays),
        metrics: ReplayMetrics,
    ) -> Self {
        let shared = Shared {
            state,
            spool,
            cursors,
            sinks: RwLock::new(sinks.into_iter().map(Arc::new).collect()),
            event_sources: ArcSwap::from_pointee(event_sources),
            metrics,
            running: Mutex::new(running),
            waiting: Mutex::default(),
            turn: Mutex::default(),
            cancelled,
            changed: Notify::new(),
        };
        shared.sink_names().iter().for_each(|sink| shared.note_pending(sink));
        Self(Arc::new(shared))
    }

    /// Looks for ids among the events of these sources from now on, because the configuration has changed.
    pub fn replace_event_sources(&self, event_sources: Vec<String>) {
        self.0.event_sources.store(Arc::new(event_sources));
    }

    /// Begins a replay of what is in the log by now and the sink has passed: the rest comes there anyway.
    ///
    /// # Errors
    /// See [`ReplayError`]; then nothing has changed.
    pub fn begin(&self, new: &NewReplay) -> Result<ReplayRow, ReplayError> {
        let shared = &*self.0;
        shared.check(new)?;
        // Asked again once the row is written: to look for ids costs much more.
        if shared.running.lock().len() >= RUNNING_MAX {
            return Err(ReplayError::TooMany);
        }
        // From here on nothing is removed for its age.
        let begin = ReaderPosition { cursor: Position(0), kind: ReaderKind::Replaying };
        let kept = shared.cursors.add(begin);
        match shared.scope(new).and_then(|scope| shared.add(new, scope, &kept)) {
            Ok(row) => {
                shared.note_pending(&row.sink);
                shared.changed.notify_waiters();
                tracing::info!(
                    replay = row.id,
                    sink = row.sink,
                    replay_id = row.replay_id,
                    from = row.begun_at.next().0,
                    to = row.end.0,
                    rate = row.rate,
                    "a replay begins"
                );
                Ok(row)
            }
            Err(error) => {
                kept.leave();
                Err(error)
            }
        }
    }

    /// All replays that are remembered, oldest first, each with what it waits for.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn list(&self) -> Result<Vec<(ReplayRow, Option<String>)>, ReplayError> {
        let rows = self.0.state.replays()?;
        let waiting = self.0.waiting.lock();
        let with_waiting = |row: ReplayRow| {
            let waits_for = waiting.get(&row.id).cloned();
            (row, waits_for)
        };
        Ok(rows.into_iter().map(with_waiting).collect())
    }

    /// One replay, with what it waits for.
    ///
    /// # Errors
    /// When there is none of this number, or the state cannot be read.
    pub fn show(&self, id: u64) -> Result<(ReplayRow, Option<String>), ReplayError> {
        let row = self.0.state.replay(id)?.ok_or(ReplayError::Unknown(id))?;
        let waits_for = self.0.waiting.lock().get(&id).cloned();
        Ok((row, waits_for))
    }

    /// Ends a replay. What its sink has not been handed of it yet is not delivered.
    ///
    /// # Errors
    /// When there is none of this number or it has ended, or the state cannot be written.
    pub fn cancel(&self, id: u64) -> Result<ReplayRow, ReplayError> {
        let shared = &*self.0;
        let row = {
            let _turn = shared.turn.lock();
            let mut row = shared.state.replay(id)?.ok_or(ReplayError::Unknown(id))?;
            if row.state != ReplayState::Running {
                return Err(ReplayError::Ended(id));
            }
            (row.state, row.changed) = (ReplayState::Cancelled, now());
            shared.state.end_replay(&row)?;
            shared.cancelled.add(&row.replay_id);
            row
        };
        shared.forget(&row);
        shared.changed.notify_waiters();
        tracing::info!(replay = id, sink = row.sink, sent = row.sent, "a replay was cancelled");
        Ok(row)
    }
}

impl Shared {
    /// Whether a replay can be asked for so.
    fn check(&self, new: &NewReplay) -> Result<(), ReplayError> {
        self.sink(&new.sink)?;
        new.check()
    }

    /// Adds the row of a replay, which runs from then on.
    fn add(
        &self,
        new: &NewReplay,
        scope: ReplayScope,
        read: &CursorHandle,
    ) -> Result<ReplayRow, ReplayError> {
        // A runner that finds the row cannot end it before it is known to run.
        let _turn = self.turn.lock();
        if self.running.lock().len() >= RUNNING_MAX {
            return Err(ReplayError::TooMany);
        }
        // It can have been removed meanwhile.
        self.sink(&new.sink)?;
        let at = now();
        let mut row = ReplayRow {
            id: 0,
            replay_id: copies::new_replay_id(),
            sink: new.sink.clone(),
            events: scope.events,
            ids_of: scope.ids_of,
            select_all: new.select_all,
            rate: new.rate,
            state: ReplayState::Running,
            because: None,
            begun_at: scope.after,
            end: scope.through,
            read: scope.after,
            first: Position(0),
            last: Position(0),
            sent: 0,
            not_selected: 0,
            lost: 0,
            created: at,
            changed: at,
        };
        row.id = match self.state.add_replay(&row) {
            Ok(id) => id,
            // The row can be durable all the same: then the replay is there, and runs.
            Err(error) => self.number_of(&row.replay_id).ok_or(error)?,
        };
        read.commit(row.read);
        let running = RunningReplay { sink: row.sink.clone(), end: row.end, read: read.clone() };
        self.running.lock().insert(row.id, running);
        Ok(row)
    }

    /// The number of the replay with this name, if the state has it.
    fn number_of(&self, replay_id: &str) -> Option<u64> {
        let rows = self.state.replays().ok()?;
        rows.iter().find(|row| row.replay_id == replay_id).map(|row| row.id)
    }

    /// Forgets a replay that has ended: nothing more is kept for it.
    fn forget(&self, row: &ReplayRow) {
        let running = self.running.lock().remove(&row.id);
        running.into_iter().for_each(|running| running.read.leave());
        self.waiting.lock().remove(&row.id);
        self.note_pending(&row.sink);
    }

    /// Whether a replay runs.
    fn is_running(&self, id: u64) -> bool {
        self.running.lock().contains_key(&id)
    }

    /// Counts the entries that the replays to a sink have yet to look through. One that was removed has no
    /// such count.
    fn note_pending(&self, sink: &str) {
        let sinks = self.sinks.read();
        if !sinks.iter().any(|known| known.name == *sink) {
            return;
        }
        let running = self.running.lock();
        let of_sink = running.values().filter(|replay| replay.sink == sink);
        let pending: u64 = of_sink.map(|replay| replay.end.0.saturating_sub(replay.read.cursor().0)).sum();
        let gauge = self.metrics.pending.get_or_create(&Sink { sink: sink.to_owned() });
        gauge.set(i64::try_from(pending).unwrap_or(i64::MAX));
    }
}

fn now() -> Timestamp {
    SystemTime::now().into()
}

#[cfg(test)]
mod tests;
