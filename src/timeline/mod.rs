//! The last steps of deliveries and events, in memory: what `tail` shows and `explain` looks at first.
//!
//! ```text
//! source ──────┐  TimelineWriter                Collector, every 25 ms            Timeline
//! dispatchers ─┴─▶ one buffer a thread ──swap──▶ numbers ─▶ ring of events ─────▶ page, newest, about
//!                  (full: drop and count)               └─▶ ring of refusals ──▶
//! ```
//!
//! Nothing here holds up an event: who notes a step waits for nobody, and what finds no room is dropped and
//! counted. Memory is bounded by `timeline.bytes_max`, the oldest steps give way, and refusals have an eighth
//! of their own, so that strangers push no event out. It is no promise: a restart forgets all of it, and what
//! must be known is in the log and in the state. The room knows neither sources nor sinks: causes come as
//! words.

mod collector;
mod cursor;
mod filter;
mod notes;
pub mod options;
mod raw_note;
mod ring;
mod slots;
mod step;
mod written;

pub use collector::Collector;
pub use cursor::{TimelineCursor, TimelineCursorError};
pub use filter::StepFilter;
pub use options::TimelineOptions;
pub use slots::{Notes, TimelineWriter};
pub use step::{
    DecidedBy, HeldStep, PublishedStep, RefusedStep, RejectedStep, Step, StepKind, StepWord, StepWordError,
    TakenAs, TakenStep, UnansweredStep,
};

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;

use self::filter::has_id;
use self::raw_note::{RawNote, merged};
use self::ring::{Ring, notes_after};
use self::slots::NoteSlots;
use crate::event::{IdMatch, Position, Timestamp};
use crate::telemetry::TimelineMetrics;

/// The part of the memory for steps, and of their number, that refusals have.
const PART_OF_REFUSALS: usize = 8;
/// Most steps that are known of what somebody asks about.
const ABOUT_MAX: usize = 1000;

/// Reads the timeline. Clones share it. The default one is off and empty.
#[derive(Clone)]
pub struct Timeline {
    kept: Arc<Kept>,
    newest: watch::Receiver<u64>,
}

/// What is kept, for the collector and for readers.
struct Kept {
    is_on: bool,
    epoch: u32,
    bytes_max: usize,
    /// Bytes of the buffers, those of the collector included.
    buffers: usize,
    rings: Mutex<Rings>,
    metrics: TimelineMetrics,
}

#[derive(Default)]
struct Rings {
    events: Ring,
    refusals: Ring,
    /// The number of the last step, which can have been dropped.
    newest: u64,
}

impl Rings {
    fn of(&mut self, word: StepWord) -> &mut Ring {
        match word {
            StepWord::Refused => &mut self.refusals,
            _ => &mut self.events,
        }
    }

    fn bytes(&self) -> usize {
        self.events.bytes() + self.refusals.bytes()
    }

    fn oldest(&self) -> Option<Timestamp> {
        self.events.oldest().into_iter().chain(self.refusals.oldest()).min()
    }
}

/// What a reader gets.
#[derive(Clone, Debug, PartialEq)]
pub struct StepPage {
    /// The steps, by number.
    pub steps: Vec<Step>,
    /// Where to go on.
    pub next: TimelineCursor,
    /// How many steps between the reader's cursor and `next` are gone, whatever they were about; 0 without a
    /// cursor.
    pub missed: u64,
    /// How many steps that the reader wants were left out, because newer ones had to come in.
    pub skipped: u64,
    /// Whether the reader's cursor is of another start of the bridge. The page is then of all steps since
    /// this start.
    pub restarted: bool,
}

/// What a timeline has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimelineUsage {
    /// Whether anything is noted.
    pub is_on: bool,
    /// Bytes of memory now.
    pub bytes: usize,
    /// Most bytes of memory.
    pub bytes_max: usize,
    /// How many steps are kept.
    pub steps: usize,
    /// The moment of the oldest of them.
    pub oldest: Option<Timestamp>,
    /// How many steps were dropped since the start, because they came too fast.
    pub dropped: u64,
}

/// The chunks that a reader looks through.
struct Snapshot {
    events: Vec<Bytes>,
    refusals: Vec<Bytes>,
    /// The number behind which the reader begins, and the last one.
    after: u64,
    newest: u64,
}

impl Snapshot {
    /// The notes, by number.
    fn notes(&self) -> impl Iterator<Item = RawNote<'_>> {
        let rings = [&self.events, &self.refusals].map(|chunks| notes_after(chunks, self.after));
        merged(rings, |note| note.number())
    }
}

impl Timeline {
    /// A timeline with its writer and its task. With `bytes_max: 0` all three do nothing.
    pub fn new(options: &TimelineOptions, metrics: TimelineMetrics) -> (Self, TimelineWriter, Collector) {
        let is_on = options.bytes_max > 0;
        let slots = Arc::new(if is_on { NoteSlots::new(options.bytes_max) } else { NoteSlots::default() });
        let taken = slots.spares();
        let buffers = taken.iter().map(|buffer| 2 * buffer.capacity()).sum();
        let bytes = options.bytes_max.saturating_sub(buffers);
        let of_refusals = (bytes / PART_OF_REFUSALS, options.steps_max / PART_OF_REFUSALS);
        let rings = Rings {
            events: Ring::new(bytes - of_refusals.0, options.steps_max - of_refusals.1),
            refusals: Ring::new(of_refusals.0, of_refusals.1),
            newest: 0,
        };
        let kept = Arc::new(Kept {
            is_on,
            epoch: (RandomState::new().build_hasher().finish() as u32).max(1),
            bytes_max: options.bytes_max,
            buffers,
            rings: Mutex::new(rings),
            metrics: metrics.clone(),
        });
        let (newest, told) = watch::channel(0);
        let writer = TimelineWriter::new(Arc::clone(&slots));
        let timeline = Self { kept: Arc::clone(&kept), newest: told };
        (timeline, writer, Collector { kept, slots, taken, number: 0, newest, metrics })
    }

    /// The first steps behind a cursor that pass, at most `limit` and one at least; without a cursor none,
    /// and the cursor of now.
    pub fn page(&self, after: Option<TimelineCursor>, filter: &StepFilter, limit: usize) -> StepPage {
        let (snapshot, restarted) = match after {
            Some(cursor) => self.look(Some(cursor)),
            None => (self.snapshot(u64::MAX), false),
        };
        let (mut steps, mut reached, mut seen) = (Vec::new(), snapshot.newest, 0);
        for note in snapshot.notes() {
            seen += 1;
            if filter.passes(note) {
                steps.push(note.decode());
                if steps.len() >= limit {
                    reached = note.number();
                    break;
                }
            }
        }
        let missed = reached - snapshot.after - seen;
        StepPage { steps, next: self.cursor(reached), missed, skipped: 0, restarted }
    }

    /// The newest steps that pass, at most `limit` and one at least, of all that are there or of those behind
    /// a cursor.
    pub fn newest(&self, after: Option<TimelineCursor>, filter: &StepFilter, limit: usize) -> StepPage {
        let (snapshot, restarted) = self.look(after);
        let (mut kept, mut skipped, mut seen) = (VecDeque::new(), 0, 0);
        for note in snapshot.notes() {
            seen += 1;
            if filter.passes(note) {
                if kept.len() >= limit.max(1) {
                    kept.pop_front();
                    skipped += 1;
                }
                kept.push_back(note);
            }
        }
        let missed = if after.is_some() { snapshot.newest - snapshot.after - seen } else { 0 };
        let steps = kept.into_iter().map(RawNote::decode).collect();
        StepPage { steps, next: self.cursor(snapshot.newest), missed, skipped, restarted }
    }

    /// The newest 1,000 steps of events with these ids, or at these positions of the log, by their moments. A
    /// held step is among them if one of the positions lies between its first and its last.
    pub fn about(&self, ids: &IdMatch, positions: &[Position]) -> Vec<Step> {
        let (snapshot, _) = self.look(None);
        let mut found = VecDeque::new();
        for note in snapshot.notes() {
            if has_id(note.texts().id, ids) || note.concerns(positions) {
                if found.len() == ABOUT_MAX {
                    found.pop_front();
                }
                found.push_back(note);
            }
        }
        let mut steps: Vec<Step> = found.into_iter().map(RawNote::decode).collect();
        steps.sort_by_key(|step| step.at);
        steps
    }

    /// The step of the refused request with this number.
    pub fn refused(&self, request: u64) -> Option<Step> {
        let (snapshot, _) = self.look(None);
        let steps = notes_after(&snapshot.refusals, 0).map(RawNote::decode);
        let is_it = |step: &Step| {
            let StepKind::Refused(refused) = &step.kind else { return false };
            refused.request == request
        };
        steps.filter(is_it).last()
    }

    /// Waits until there is a step behind this cursor: for ever, once the collector has ended. Does not wait
    /// if the cursor is of another start, because a page has something to say then.
    pub async fn changed(&self, after: TimelineCursor) {
        if after.epoch != self.kept.epoch {
            return;
        }
        let mut newest = self.newest.clone();
        // A cursor of this start that no page gave can be ahead of every step.
        let after = after.number.min(*newest.borrow());
        let is_there = newest.wait_for(|newest| *newest > after).await.is_ok();
        if !is_there {
            std::future::pending().await
        }
    }

    /// The cursor in front of the first step of this start.
    pub fn start(&self) -> TimelineCursor {
        self.cursor(0)
    }

    /// What the timeline has now.
    pub fn usage(&self) -> TimelineUsage {
        let Kept { is_on, bytes_max, .. } = *self.kept;
        let rings = self.kept.rings.lock();
        TimelineUsage {
            is_on,
            bytes: self.kept.buffers + rings.bytes(),
            bytes_max,
            steps: rings.events.steps() + rings.refusals.steps(),
            oldest: rings.oldest(),
            dropped: self.kept.metrics.dropped.get(),
        }
    }

    /// What is there behind a cursor, and whether that is of another start; without a cursor all.
    fn look(&self, after: Option<TimelineCursor>) -> (Snapshot, bool) {
        match after {
            None => (self.snapshot(0), false),
            Some(cursor) if cursor.epoch == self.kept.epoch => (self.snapshot(cursor.number), false),
            Some(_) => (self.snapshot(0), true),
        }
    }

    fn snapshot(&self, after: u64) -> Snapshot {
        let rings = self.kept.rings.lock();
        let after = after.min(rings.newest);
        Snapshot {
            events: rings.events.after(after),
            refusals: rings.refusals.after(after),
            after,
            newest: rings.newest,
        }
    }

    fn cursor(&self, number: u64) -> TimelineCursor {
        TimelineCursor { epoch: self.kept.epoch, number }
    }
}

impl Default for Timeline {
    fn default() -> Self {
        Self::new(&TimelineOptions { bytes_max: 0, steps_max: 0 }, TimelineMetrics::new()).0
    }
}

#[cfg(test)]
mod tests;
