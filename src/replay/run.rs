//! The runners: one for each sink, which sends one replay after the other.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::{JoinError, JoinSet};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::copies::{AppendedCopies, append, copy_of};
use super::pace::{BATCH_MAX, ReplayPace};
use super::{ReplayError, ReplaySink, Replays, Shared, now};
use crate::event::{Entry, Event, Position};
use crate::spool::{SearchBudget, SearchPage};
use crate::state::{ReplayRow, ReplayState, StateError};
use crate::telemetry::Episode;

/// Bytes of the log that are looked through at once, which bounds the memory that a batch takes.
const PAGE_BYTES: u64 = 16 << 20;
/// How often a replay looks whether it can go on.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The pause after log or state could not be read or written.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How long a replay that finds nothing to send looks before it notes how far it is.
const NOTE_EVERY: Duration = Duration::from_secs(1);
/// Fewest and most entries between a sink's cursor and the last copy up to which a replay sends more: what a
/// live event waits for at most.
const AHEAD_MIN: u64 = 512;
const AHEAD_MAX: u64 = 4096;

/// Whether a replay goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Going {
    On,
    /// It has ended, or the bridge stops.
    No,
}

/// A page of the log, with what of it is to be sent.
pub(super) struct ReplayPage {
    copies: Vec<Event>,
    /// Where each copy's original is.
    pub(super) originals: Vec<Position>,
    pub(super) passed: PassedPart,
}

/// A part of the log that a replay has looked through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PassedPart {
    /// Its last position.
    pub(super) through: Position,
    /// How many entries of it are lost or gone.
    pub(super) lost: u64,
    /// How many the sink does not select.
    pub(super) not_selected: u64,
}

impl Replays {
    /// Sends what is to be sent, until stopped. What is under way then goes on after the next start.
    pub async fn run(self, stop: CancellationToken) {
        let (mut runners, mut served) = (JoinSet::new(), BTreeSet::new());
        while !stop.is_cancelled() {
            // Listens before it looks, so that it misses no sink in between.
            let changed = self.0.changed.notified();
            for name in self.0.sink_names() {
                if served.insert(name.clone()) {
                    let runner = Runner { shared: Arc::clone(&self.0), name, stop: stop.clone() };
                    runners.spawn(runner.run());
                }
            }
            tokio::select! {
                () = changed => {}
                () = stop.cancelled() => {}
                Some(ended) = runners.join_next() => drop(served.remove(&name_of(ended))),
            }
        }
        while let Some(ended) = runners.join_next().await {
            name_of(ended);
        }
    }
}

/// The sink of a runner that has ended. A panic of a runner is one of the task that runs them.
fn name_of(ended: Result<String, JoinError>) -> String {
    ended.unwrap_or_else(|broken| std::panic::resume_unwind(broken.into_panic()))
}

/// Sends the replays to one sink.
pub(super) struct Runner {
    pub(super) shared: Arc<Shared>,
    pub(super) name: String,
    pub(super) stop: CancellationToken,
}

impl Runner {
    /// Returns the sink's name, once it is gone or the bridge stops.
    async fn run(self) -> String {
        let mut unreadable = Episode::default();
        while !self.is_over() {
            // Listens before it looks, so that it misses no change in between.
            let changed = self.shared.changed.notified();
            match self.next().await {
                Ok(Some(row)) => {
                    let id = row.id;
                    match self.send(row).await {
                        Ok(()) => drop(unreadable.over(Instant::now())),
                        Err(error) => self.rest(Some(id), &error, &mut unreadable).await,
                    }
                }
                Ok(None) => tokio::select! {
                    () = changed => {}
                    () = self.stop.cancelled() => {}
                },
                Err(error) => self.rest(None, &error, &mut unreadable).await,
            }
        }
        self.name
    }

    /// Whether nothing more is to be sent: the sink is gone, or the bridge stops.
    fn is_over(&self) -> bool {
        self.stop.is_cancelled() || self.shared.sink(&self.name).is_err()
    }

    /// Rests after log or state could not be used, which a replay under way says it waits for. The error
    /// itself is in the bridge's log only: it can name paths.
    async fn rest(&self, id: Option<u64>, error: &ReplayError, unreadable: &mut Episode<String>) {
        if self.is_over() {
            return;
        }
        if let Some(id) = id {
            let what = match error {
                ReplayError::State(_) => "the state, in which its progress is noted, cannot be used",
                _ => "the log of events cannot be read",
            };
            self.shared.note_waiting(id, Some(format!("{what} for now: the log of the bridge says why")));
        }
        if unreadable.happens(error.to_string(), Instant::now()).is_some() {
            tracing::warn!(sink = self.name, %error, "a replay cannot go on for now: it is tried again");
        }
        self.pause(AGAIN_AFTER).await;
    }

    async fn pause(&self, time: Duration) {
        tokio::select! {
            () = sleep(time) => {}
            () = self.stop.cancelled() => {}
        }
    }

    /// The oldest replay to the sink that runs.
    async fn next(&self) -> Result<Option<ReplayRow>, ReplayError> {
        let name = self.name.clone();
        self.blocking(move |shared| {
            let mut rows = shared.state.replays()?.into_iter();
            let runs = |row: &ReplayRow| row.state == ReplayState::Running && shared.is_running(row.id);
            Ok(rows.find(|row| row.sink == name && runs(row)))
        })
        .await
    }

    /// Sends a replay to its end, or until the bridge stops.
    async fn send(&self, mut row: ReplayRow) -> Result<(), ReplayError> {
        let started = Instant::now();
        let mut pace = ReplayPace::new(row.rate, started.elapsed());
        let mut noted = Instant::now();
        while row.read < row.end {
            let Some(most) = self.turn(&row, &mut pace, started).await else { return Ok(()) };
            let looked = Instant::now();
            let page = self.page(&row, most).await?;
            if self.is_over() || !self.shared.is_running(row.id) {
                // It was cancelled meanwhile, or its sink is gone.
                return Ok(());
            }
            let ReplayPage { copies, originals, passed } = page;
            let sent = append(&self.shared.spool, copies).await;
            pace.sent(sent.done);
            let passed = match (&sent.failed, sent.done.checked_sub(1)) {
                (None, _) => Some(passed),
                // It goes on with the first that failed: what is behind the last one is looked through again.
                (Some(_), Some(last)) => Some(self.part(&row, originals[last], passed).await),
                (Some(_), None) => None,
            };
            row.note(&sent, passed);
            if sent.done > 0 || row.read == row.end || noted.elapsed() >= NOTE_EVERY {
                noted = Instant::now();
                if self.record(&row).await == Going::No {
                    return Ok(());
                }
            }
            match sent.failed {
                Some(_) => self.pause(AGAIN_AFTER).await,
                // Looking through the log takes half of a core at most.
                None if sent.done == 0 => self.pause(looked.elapsed()).await,
                None => {}
            }
        }
        self.await_last(row).await
    }

    /// Waits until a batch can be sent; returns how many events it can have. `None` if the replay has ended
    /// or the bridge stops.
    async fn turn(&self, row: &ReplayRow, pace: &mut ReplayPace, started: Instant) -> Option<usize> {
        loop {
            if self.is_over() || !self.shared.is_running(row.id) {
                return None;
            }
            let waits_for = self.shared.waits_for(row);
            let waits = waits_for.is_some();
            self.shared.note_waiting(row.id, waits_for);
            if waits {
                self.pause(LOOK_EVERY).await;
                continue;
            }
            match pace.allowed(started.elapsed()) {
                Ok(events) => return Some(events.min(BATCH_MAX)),
                Err(wait) => self.pause(wait).await,
            }
        }
    }

    /// Of a part that was passed, the beginning up to this position.
    pub(super) async fn part(&self, row: &ReplayRow, through: Position, whole: PassedPart) -> PassedPart {
        let row = ReplayRow { end: through, ..row.clone() };
        let (lost, not_selected) = match self.page(&row, usize::MAX).await {
            Ok(page) => (page.passed.lost, page.passed.not_selected),
            // The counts are not worth sending the events again.
            Err(_) => (0, 0),
        };
        // What was removed from the log meanwhile was not lost: it has been sent.
        PassedPart { through, lost: lost.min(whole.lost), not_selected: not_selected.min(whole.not_selected) }
    }

    /// The next page of the log, with at most so many events to send.
    pub(super) async fn page(&self, row: &ReplayRow, most: usize) -> Result<ReplayPage, ReplayError> {
        let row = row.clone();
        self.blocking(move |shared| {
            let sink = shared.sink(&row.sink)?;
            let search = shared.spool.search();
            let budget = SearchBudget::new(most, PAGE_BYTES);
            let wanted = shared.log().wanted(&row.events, &row.ids_of);
            let page = search.oldest_first(&wanted, row.read, row.end, &budget)?;
            Ok(chosen(page, &row, |event_type| sink.selection.takes(event_type)))
        })
        .await
    }

    /// Makes durable how far a replay has got. That is tried again until it is done or the bridge stops: what
    /// was appended would be appended once more if the replay went on from where it was before.
    async fn record(&self, row: &ReplayRow) -> Going {
        let mut unwritten = Episode::default();
        loop {
            let known = row.clone();
            match self.blocking(move |shared| Ok(shared.record(known)?)).await {
                Ok(going) => return going,
                Err(_) if self.is_over() => return Going::No,
                Err(error) => self.rest(Some(row.id), &error, &mut unwritten).await,
            }
        }
    }

    /// Waits until the sink has passed the last copy, and ends the replay.
    async fn await_last(&self, mut row: ReplayRow) -> Result<(), ReplayError> {
        // All of it is looked through: nothing more is kept for it.
        loop {
            let Ok(sink) = self.shared.sink(&self.name) else { return Ok(()) };
            let behind = sink.behind(row.last);
            if behind == 0 {
                break;
            }
            self.shared.note_waiting(row.id, Some(sink.behind_in_words(behind)));
            self.pause(LOOK_EVERY).await;
            if self.is_over() || !self.shared.is_running(row.id) {
                return Ok(());
            }
        }
        row.state = ReplayState::Done;
        if self.record(&row).await == Going::On {
            self.shared.forget(&row);
            let (id, sent, lost) = (row.id, row.sent, row.lost);
            tracing::info!(replay = id, sink = self.name, sent, lost, "a replay is done");
        }
        Ok(())
    }

    /// Runs work that waits for the disk on a thread of its own.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T, ReplayError> + Send + 'static,
    ) -> Result<T, ReplayError> {
        let shared = Arc::clone(&self.shared);
        let working = tokio::task::spawn_blocking(move || work(&shared));
        working.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }
}

impl Shared {
    /// What a replay waits for before it can send more; `None` if it can.
    fn waits_for(&self, row: &ReplayRow) -> Option<String> {
        if let Err(reason) = self.spool.accepting() {
            return Some(format!("the spool takes no events: {reason}"));
        }
        let capacity = self.spool.capacity();
        if capacity.left < capacity.whole / 4 {
            return Some("less than a quarter of the spool's space is left".into());
        }
        let most = (u64::from(row.rate) / 2).clamp(AHEAD_MIN, AHEAD_MAX);
        let sink = self.sink(&row.sink).ok()?;
        let behind = sink.behind(row.last);
        (behind > most).then(|| sink.behind_in_words(behind))
    }

    /// Notes what a replay waits for. One that has ended waits for nothing.
    fn note_waiting(&self, id: u64, waits_for: Option<String>) {
        let running = self.running.lock();
        let mut waiting = self.waiting.lock();
        match waits_for.filter(|_| running.contains_key(&id)) {
            Some(waits_for) => drop(waiting.insert(id, waits_for)),
            None => drop(waiting.remove(&id)),
        }
    }

    /// Writes how far a replay is. Of one that was ended meanwhile it notes what had been sent by then.
    pub(super) fn record(&self, mut row: ReplayRow) -> Result<Going, StateError> {
        let _turn = self.turn.lock();
        let Some(ReplayRow { state, because, changed, .. }) = self.state.replay(row.id)? else {
            return Ok(Going::No);
        };
        if state != ReplayState::Running {
            self.state.record_replay(&ReplayRow { state, because, changed, ..row })?;
            return Ok(Going::No);
        }
        row.changed = now();
        self.state.record_replay(&row)?;
        if let Some(running) = self.running.lock().get(&row.id) {
            running.read.commit(row.read);
        }
        self.note_pending(&row.sink);
        Ok(Going::On)
    }
}

impl ReplaySink {
    /// How many entries the sink has yet to pass up to a replay's last copy.
    fn behind(&self, last: Position) -> u64 {
        last.0.saturating_sub(self.cursor.cursor().0)
    }

    fn behind_in_words(&self, entries: u64) -> String {
        let is = if self.status.paused().is_some() { "is paused, and" } else { "is" };
        format!("{} {is} {entries} entries of the log behind the last copy", self.name)
    }
}

impl ReplayRow {
    /// Notes what became of a batch, and what part of the log was passed with it.
    fn note(&mut self, sent: &AppendedCopies, passed: Option<PassedPart>) {
        self.sent += sent.done as u64 - sent.refused;
        self.lost += sent.refused;
        self.first = sent.first.filter(|_| self.last == Position(0)).unwrap_or(self.first);
        self.last = sent.last.unwrap_or(self.last);
        if let Some(PassedPart { through, lost, not_selected }) = passed {
            self.read = through;
            self.lost += lost;
            self.not_selected += not_selected;
        }
    }
}

/// What of a page goes to the sink.
fn chosen(page: SearchPage, row: &ReplayRow, takes: impl Fn(&str) -> bool) -> ReplayPage {
    let mut chosen = ReplayPage {
        copies: Vec::new(),
        originals: Vec::new(),
        passed: PassedPart {
            // A search that is complete has nothing more to look through up to the end.
            through: if page.complete { row.end } else { page.through },
            lost: page.lost + page.gone,
            not_selected: 0,
        },
    };
    for found in page.found {
        match found.entry {
            Entry::Event(event) if row.select_all || takes(&event.event_type) => {
                chosen.copies.push(copy_of(&event, &row.sink, &row.replay_id));
                chosen.originals.push(found.position);
            }
            Entry::Event(_) => chosen.passed.not_selected += 1,
            Entry::Quarantined(_) => {}
        }
    }
    chosen
}
