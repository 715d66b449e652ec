//! Commits one reader's cursor, together with the dead letters that the cursor passes: one commit at
//! a time, at a bounded pace.
//!
//! A commit that finds no space on the disk is tried again for as long as the reader runs, and for
//! [`STALL_AT_STOP`] after it was stopped. Uncommitted dead letters wait in memory meanwhile; the
//! reader bounds their number.

use std::mem::take;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::STALL_AT_STOP;
use super::low_watermark::CursorHandle;
use crate::event::Position;
use crate::state::{NewDeadLetter, Progress, State, StateError};

/// The pause after a commit that found no space. During a longer rest of its own, the state can
/// refuse a commit without trying it.
const NO_ROOM_REST: Duration = Duration::from_millis(250);

/// Memory of a dead letter beside its body, in bytes, roughly.
const LETTER_BYTES: usize = 1 << 10;

/// Why a dispatcher ended before it was stopped.
#[derive(Debug, thiserror::Error)]
pub enum DispatchError {
    /// The cursor cannot be committed.
    #[error("the cursor of `{sink}` cannot be stored: the records after the stored one are delivered again")]
    Commit {
        /// The sink's name.
        sink: String,
        /// The error of the state file.
        source: StateError,
    },
}

/// The commits of one reader's cursor.
pub struct Checkpoint {
    name: String,
    /// The names under which the cursor is stored, each with its stored position at the start.
    rows: Vec<(String, Position)>,
    /// A position that is stored under a name of its own with every commit, until one has passed it.
    mark: Option<(String, Position)>,
    state: State,
    cursors: CursorHandle,
    /// Longest wait of a cursor for its commit, unless the reader is in a hurry or there is no space.
    every: Duration,
    dead: Vec<NewDeadLetter>,
    dead_bytes: usize,
    underway: Option<JoinHandle<Result<Position, StateError>>>,
    /// When the last commit began.
    begun: Instant,
    /// The error of the last commit, if it found no space.
    no_room: Option<StateError>,
}

impl Checkpoint {
    /// Commits the cursor of this name, which starts at the cursor of the handle.
    pub fn new(name: &str, state: State, cursors: CursorHandle, every: Duration) -> Self {
        Self {
            name: name.to_owned(),
            rows: vec![(name.to_owned(), cursors.cursor())],
            mark: None,
            state,
            cursors,
            every,
            dead: Vec::new(),
            dead_bytes: 0,
            underway: None,
            begun: Instant::now(),
            no_room: None,
        }
    }

    /// Stores the cursor under several names. The cursor of a name is not changed before this cursor
    /// has passed it.
    pub fn under(self, rows: Vec<(String, Position)>) -> Self {
        Self { rows, ..self }
    }

    /// The durable cursor.
    pub fn committed(&self) -> Position {
        self.cursors.cursor()
    }

    /// Adds a dead letter to the commit that passes its position.
    pub fn add_dead_letter(&mut self, letter: NewDeadLetter) {
        self.dead_bytes += weight(&letter);
        self.dead.push(letter);
    }

    /// Stores a position under another name, not later than the cursor that passes it.
    pub fn mark(&mut self, name: String, position: Position) {
        self.mark = Some((name, position));
    }

    /// Memory of the dead letters that are not committed, in bytes, roughly.
    pub fn dead_bytes(&self) -> usize {
        self.dead_bytes
    }

    /// Starts a commit of the cursor if one is due, or returns the moment when it will be due; `None`
    /// if there is nothing to commit, or a commit is underway. In a `hurry` a commit is due at once,
    /// unless the last one found no space.
    pub fn begin_if_due(&mut self, cursor: Position, hurry: bool) -> Option<Instant> {
        if self.underway.is_some() || cursor <= self.committed() {
            return None;
        }
        let due = self.begun
            + match &self.no_room {
                Some(_) => NO_ROOM_REST,
                None if hurry => Duration::ZERO,
                None => self.every,
            };
        if due > Instant::now() {
            return Some(due);
        }
        self.begin(cursor);
        None
    }

    fn begin(&mut self, cursor: Position) {
        let passed = self.dead.iter().filter(|letter| letter.position <= cursor);
        let mut dead: Vec<_> = passed.cloned().collect();
        let rows = self.rows.iter().filter(|(_, kept)| *kept < cursor);
        let row =
            |(name, _): &(String, Position)| Progress { sink: name.clone(), cursor, dead: take(&mut dead) };
        let marked = self.mark.iter();
        let marked = marked.map(|(name, at)| Progress { sink: name.clone(), cursor: *at, dead: Vec::new() });
        let progress: Vec<_> = rows.map(row).chain(marked).collect();
        let state = self.state.clone();
        self.begun = Instant::now();
        self.underway = Some(tokio::task::spawn_blocking(move || state.commit(&progress).map(|()| cursor)));
    }

    /// Waits for the commit underway, or for ever if there is none. Returns the cursor that is now
    /// durable, or `None` if there was no space. The future can be dropped and called again.
    ///
    /// # Errors
    /// When the state file can no longer be used.
    pub async fn done(&mut self) -> Result<Option<Position>, DispatchError> {
        let Some(underway) = &mut self.underway else { return std::future::pending().await };
        let done = underway.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
        self.underway = None;
        match done {
            Ok(cursor) => {
                self.no_room = None;
                self.dead.retain(|letter| letter.position > cursor);
                self.dead_bytes = self.dead.iter().map(weight).sum();
                self.mark.take_if(|(_, marked)| *marked <= cursor);
                self.cursors.commit(cursor);
                Ok(Some(cursor))
            }
            Err(error @ StateError::NoRoom { .. }) => {
                self.no_room = Some(error);
                Ok(None)
            }
            Err(source) => Err(DispatchError::Commit { sink: self.name.clone(), source }),
        }
    }

    /// The last commits before the reader ends: tried again without space until `cut` is cancelled or
    /// [`STALL_AT_STOP`] is over.
    ///
    /// # Errors
    /// When the cursor could not be committed.
    pub async fn finish(&mut self, cursor: Position, cut: &CancellationToken) -> Result<(), DispatchError> {
        if self.underway.is_some() {
            // Of two concurrent commits the older one could be the last and would move the cursor
            // back.
            self.done().await?;
        }
        let give_up = Instant::now() + STALL_AT_STOP;
        while cursor > self.committed() {
            self.begin(cursor);
            if self.done().await?.is_some() {
                break;
            }
            if cut.is_cancelled() || Instant::now() >= give_up {
                let commit = |source| DispatchError::Commit { sink: self.name.clone(), source };
                return self.no_room.take().map_or(Ok(()), |source| Err(commit(source)));
            }
            tokio::select! {
                () = cut.cancelled() => {}
                () = sleep(NO_ROOM_REST) => {}
            }
        }
        Ok(())
    }
}

fn weight(letter: &NewDeadLetter) -> usize {
    letter.entry.body().len() + LETTER_BYTES
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::dispatch::tests::{Scripted, of_family};
    use crate::dispatch::{BOUNDS, quarantine};
    use crate::event::Event;
    use crate::selection::Selection;
    use crate::sink::{Cause, Outcome};
    use crate::state::{CursorOwner, DeadFilter};
    use crate::testing::bench::{Bench, LIMIT, awaited};
    use crate::testing::events::quarantined;
    use crate::testing::failing::Fault;

    const WINDOW: u64 = BOUNDS.records_max as u64;

    fn accepts_all() -> std::sync::Arc<Scripted> {
        Scripted::new(|_, _| Outcome::ACCEPTED)
    }

    #[tokio::test]
    async fn without_room_for_the_cursor_delivery_fills_the_window_and_goes_on_when_there_is() {
        let (bench, faults) = Bench::failing();
        bench.state.count_in(&bench.metrics);
        bench.append_many(WINDOW + 500, &of_family("a")).await;
        let sink = accepts_all();
        faults.set(Fault::All);
        let (stop, never) = (CancellationToken::new(), CancellationToken::new());
        let dispatcher = bench.dispatcher_behind(Position(0), sink.clone(), Selection::All);
        let running = tokio::spawn(dispatcher.run(stop.clone(), never));
        let accepted = || sink.accepted_count.load(Ordering::Relaxed);
        awaited(|| accepted() == WINDOW).await;
        let failures = bench.metrics.state_no_room.get();
        awaited(|| bench.metrics.state_no_room.get() > failures + 1).await;
        assert_eq!(accepted(), WINDOW, "what a crash repeats stays bounded");

        faults.set(Fault::None);
        awaited(|| bench.state.cursor("lake").ok() == Some(Some(Position(WINDOW + 500)))).await;
        stop.cancel();
        running.await.expect("no panic").expect("no error");
        assert_eq!(accepted(), WINDOW + 500, "each of them once");
    }

    #[tokio::test]
    async fn a_segment_stays_until_the_cursor_behind_it_is_durable() {
        // Longer than the spool takes to look for segments that are past their retention, which is none.
        const TICKS: Duration = Duration::from_millis(1500);
        let (bench, faults) = Bench::failing();
        let large = Event { body: vec![b'x'; 4 << 10].into(), ..of_family("a") };
        // A segment ends between two groups of appends, whatever its length is by then.
        for _ in 0..10 {
            bench.append_many(20, &large).await;
        }
        let segments = bench.segments();
        assert!(segments > 4, "{segments} segments");
        let sink = accepts_all();
        faults.set(Fault::All);
        let (stop, never) = (CancellationToken::new(), CancellationToken::new());
        let dispatcher = bench.dispatcher_behind(Position(0), sink.clone(), Selection::All);
        let running = tokio::spawn(dispatcher.run(stop.clone(), never));
        awaited(|| sink.accepted_count.load(Ordering::Relaxed) == 200).await;
        awaited(|| bench.state.shortage().is_some()).await;
        sleep(TICKS).await;
        assert_eq!(bench.segments(), segments, "delivered, and nobody would know after a crash");

        faults.set(Fault::None);
        awaited(|| bench.segments() == 1).await;
        assert_eq!(bench.state.cursor("lake").expect("readable"), Some(Position(200)));
        stop.cancel();
        running.await.expect("no panic").expect("no error");
    }

    #[tokio::test]
    async fn a_quarantined_delivery_without_room_becomes_a_dead_letter_when_there_is() {
        let (bench, faults) = Bench::failing();
        faults.set(Fault::All);
        let reader = bench.reader(Position(0));
        let (stop, never) = (CancellationToken::new(), CancellationToken::new());
        let running = tokio::spawn(quarantine::keep(
            reader,
            bench.scope(),
            quarantine::ScopeChanges::new().1,
            stop.clone(),
            never,
        ));
        for _ in 0..3 {
            bench.append_entry(quarantined().into()).await;
        }
        awaited(|| bench.state.shortage().is_some()).await;
        faults.set(Fault::None);
        let letters = || bench.state.dead_letters(&DeadFilter::default(), 0, 10).map_or(0, |all| all.len());
        awaited(|| letters() == 3).await;
        stop.cancel();
        running.await.expect("no panic").expect("no error");
        assert_eq!(
            bench.state.cursor(&CursorOwner::Quarantine.to_string()).expect("readable"),
            Some(Position(3))
        );
    }

    #[tokio::test]
    async fn dead_letters_that_find_no_room_do_not_fill_the_memory() {
        const BODY_BYTES: usize = 1 << 20;
        let (bench, faults) = Bench::failing();
        bench.state.count_in(&bench.metrics);
        let large = Event { body: vec![b'x'; BODY_BYTES].into(), ..of_family("a") };
        bench.append_many(64, &large).await;
        let refuses = Scripted::new(|_, _| Outcome::rejected(Cause::TOO_LARGE, "a byte more than it takes"));
        faults.set(Fault::All);
        let (stop, never) = (CancellationToken::new(), CancellationToken::new());
        let dispatcher = bench.dispatcher_behind(Position(0), refuses.clone(), Selection::All);
        let running = tokio::spawn(dispatcher.run(stop.clone(), never));
        awaited(|| bench.metrics.state_no_room.get() > 3).await;
        let read = (1..=64).filter(|position| refuses.offers(*position) > 0).count();
        let bound = BOUNDS.bytes_max / BODY_BYTES;
        assert!((bound..=2 * bound).contains(&read), "{read} are in memory, of which {bound} may be");

        faults.set(Fault::None);
        awaited(|| bench.state.cursor("lake").ok() == Some(Some(Position(64)))).await;
        stop.cancel();
        running.await.expect("no panic").expect("no error");
        let letters = bench.state.dead_letters(&DeadFilter::default(), 0, 100).expect("readable");
        assert_eq!(letters.len(), 64);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_waits_for_room_as_long_as_for_a_sink_and_then_says_that_the_cursor_is_not_kept() {
        let (bench, faults) = Bench::failing();
        bench.append_many(10, &of_family("a")).await;
        bench.spool.close().await;
        faults.set(Fault::All);
        for cut_short in [false, true] {
            let (stop, cut) = (CancellationToken::new(), CancellationToken::new());
            stop.cancel();
            let sink = accepts_all();
            let begun = Instant::now();
            let dispatcher = bench.dispatcher_behind(Position(0), sink.clone(), Selection::All);
            let running = tokio::spawn(dispatcher.run(stop, cut.clone()));
            if cut_short {
                awaited(|| sink.accepted_count.load(Ordering::Relaxed) == 10).await;
                cut.cancel();
            }
            let ended = tokio::time::timeout(LIMIT, running).await.expect("in time").expect("no panic");
            let Err(DispatchError::Commit { source: StateError::NoRoom { .. }, .. }) = ended else {
                panic!("ended with {ended:?}");
            };
            let took = begun.elapsed();
            assert_eq!(took >= STALL_AT_STOP, !cut_short, "{took:?}");
            assert!(took < STALL_AT_STOP + Duration::from_secs(2), "{took:?}");
        }
        faults.set(Fault::None);
        awaited(|| bench.state.cursor("lake").is_ok()).await;
        assert_eq!(bench.state.cursor("lake").expect("readable"), None, "both are delivered again");
    }
}
