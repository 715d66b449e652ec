//! How threads hand steps over: each appends the bytes of a note to a buffer that hardly anybody else wants.
//!
//! There is a buffer for each thread that is likely to note, and a thread begins with its own. It *tries* the
//! buffer's lock and never waits for it: if another thread or the collector has it, or if it is full, the
//! next buffer is tried, and if there is none, the step is dropped and counted. So the way of an event pays
//! an uncontended compare-and-swap and a copy: no wait, no system call and no allocation. The collector takes
//! a buffer out by swapping it for an empty one, which holds the lock for nanoseconds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::thread::available_parallelism;

use parking_lot::{Mutex, MutexGuard};

use super::notes::{NOTE_BYTES_MAX, Noteworthy};
use super::step::{HeldStep, PublishedStep, RefusedStep, RejectedStep, TakenStep, UnansweredStep};
use crate::event::Timestamp;

/// Most bytes of a buffer: at 200 bytes a step a thread fills it with a thousand steps.
const BUFFER_BYTES_MAX: usize = 256 << 10;
/// Fewest bytes of a buffer: a few of the longest notes.
const BUFFER_BYTES_MIN: usize = 4 * NOTE_BYTES_MAX;
/// Fewest buffers, where there is memory for them. Threads that block note as well.
const BUFFERS_MIN: usize = 8;
/// The part of the timeline's memory that buffers can have.
const PART_OF_BUFFERS: usize = 4;

/// How many threads have noted anything in this process.
static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// This thread's number, which says with which buffer it begins.
    static THREAD: usize = THREADS.fetch_add(1, Relaxed);
}

/// Notes steps. Clones share the buffers. The default one is off and notes nothing.
#[derive(Clone, Default)]
pub struct TimelineWriter(Arc<NoteSlots>);

/// The buffers between those who note and the collector.
#[derive(Default)]
pub(super) struct NoteSlots {
    slots: Box<[NoteSlot]>,
    dropped: AtomicU64,
}

/// A buffer that shares no cache line with another one.
#[repr(align(128))]
struct NoteSlot(Mutex<Vec<u8>>);

impl NoteSlots {
    /// Buffers for a timeline of so many bytes, as many as there are cores and threads beside them that
    /// block. The collector has as many, so together they have a quarter of the bytes at most.
    pub(super) fn new(bytes_max: usize) -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        let bytes_max = bytes_max / PART_OF_BUFFERS / 2;
        let count = (2 * cores).max(BUFFERS_MIN).min(bytes_max / BUFFER_BYTES_MIN).max(1);
        let bytes = (bytes_max / count).min(BUFFER_BYTES_MAX);
        let slot = |_| NoteSlot(Mutex::new(Vec::with_capacity(bytes)));
        Self { slots: (0..count).map(slot).collect(), dropped: AtomicU64::new(0) }
    }

    /// As many empty buffers of the same length, for the collector.
    pub(super) fn spares(&self) -> Vec<Vec<u8>> {
        self.slots.iter().map(|slot| Vec::with_capacity(slot.0.lock().capacity())).collect()
    }

    /// Swaps each buffer that has notes for an empty one. One that somebody writes to waits for the next
    /// time.
    pub(super) fn swap(&self, empty: &mut [Vec<u8>]) {
        for (slot, empty) in self.slots.iter().zip(empty) {
            if let Some(mut buffer) = slot.0.try_lock()
                && !buffer.is_empty()
            {
                std::mem::swap(&mut *buffer, empty);
            }
        }
    }

    /// How many steps were dropped since the last call, because no buffer had room for them.
    pub(super) fn take_dropped(&self) -> u64 {
        self.dropped.swap(0, Relaxed)
    }
}

impl TimelineWriter {
    pub(super) fn new(slots: Arc<NoteSlots>) -> Self {
        Self(slots)
    }

    /// Whether anything is noted. If not, a caller need not put a step together.
    pub fn is_on(&self) -> bool {
        !self.0.slots.is_empty()
    }

    /// Begins to note steps that belong together, such as those of one publication.
    pub fn open(&self) -> Notes<'_> {
        let first = if self.is_on() { THREAD.with(|thread| thread % self.0.slots.len()) } else { 0 };
        Notes { slots: &self.0, first, tried: 0, buffer: None }
    }
}

/// Steps that are being noted; the buffer is free for others when this is dropped. It must not be kept across
/// an await, which the compiler sees to in a task.
pub struct Notes<'w> {
    slots: &'w NoteSlots,
    /// The buffer with which this thread begins.
    first: usize,
    /// How many buffers have been tried.
    tried: usize,
    buffer: Option<MutexGuard<'w, Vec<u8>>>,
}

impl Notes<'_> {
    /// Notes what was decided about a delivery.
    pub fn taken<T: AsRef<str>>(&mut self, at: Timestamp, step: &TakenStep<T>) {
        self.note(at, step);
    }

    /// Notes that a delivery was refused.
    pub fn refused<T: AsRef<str>>(&mut self, at: Timestamp, step: &RefusedStep<T>) {
        self.note(at, step);
    }

    /// Notes that a caller was gone before there was an answer.
    pub fn unanswered<T: AsRef<str>>(&mut self, at: Timestamp, step: &UnansweredStep<T>) {
        self.note(at, step);
    }

    /// Notes that a sink has an event.
    pub fn published<T: AsRef<str>>(&mut self, at: Timestamp, step: &PublishedStep<T>) {
        self.note(at, step);
    }

    /// Notes that records of a topic wait.
    pub fn held<T: AsRef<str>>(&mut self, at: Timestamp, step: &HeldStep<T>) {
        self.note(at, step);
    }

    /// Notes that a sink rejected an event.
    pub fn rejected<T: AsRef<str>>(&mut self, at: Timestamp, step: &RejectedStep<T>) {
        self.note(at, step);
    }

    fn note(&mut self, at: Timestamp, step: &impl Noteworthy) {
        if self.slots.slots.is_empty() {
            return;
        }
        match self.room() {
            Some(buffer) => step.write(at, buffer),
            None => {
                self.slots.dropped.fetch_add(1, Relaxed);
            }
        }
    }

    /// A buffer with room for any note. Each is tried once.
    fn room(&mut self) -> Option<&mut Vec<u8>> {
        let has_room = |buffer: &Vec<u8>| buffer.capacity() - buffer.len() >= NOTE_BYTES_MAX;
        let slots = &self.slots.slots;
        while !self.buffer.as_deref().is_some_and(has_room) {
            if self.tried == slots.len() {
                return None;
            }
            self.buffer = slots[(self.first + self.tried) % slots.len()].0.try_lock();
            self.tried += 1;
        }
        self.buffer.as_deref_mut()
    }
}
