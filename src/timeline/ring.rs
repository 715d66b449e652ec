//! The newest notes, in chunks of which the oldest gives way (pure).

use std::collections::VecDeque;

use bytes::Bytes;

use super::notes::{MOMENT_AT, NUMBER_AT};
use super::raw_note::{RawNote, notes_in};
use crate::event::Timestamp;

/// Most bytes of a chunk.
const CHUNK_BYTES_MAX: usize = 64 << 10;
/// Fewest chunks of a ring, so that little goes at once.
const CHUNKS_MIN: usize = 16;
/// Bytes of a chunk in memory beside its notes.
const CHUNK_OVERHEAD_BYTES: usize = 128;

/// The newest notes, by their numbers.
#[derive(Default)]
pub(super) struct Ring {
    bounds: RingBounds,
    /// The chunks that are full, the oldest first.
    sealed: VecDeque<Chunk<Bytes>>,
    /// The chunk that takes notes. It has no memory until the first one.
    open: Chunk<Vec<u8>>,
    /// Notes in all chunks.
    steps: usize,
}

/// How large a ring and its chunks become.
#[derive(Clone, Copy, Default)]
struct RingBounds {
    chunks_max: usize,
    steps_max: usize,
    chunk_bytes: usize,
    chunk_steps: usize,
}

/// Notes that lie one behind the other.
#[derive(Default)]
struct Chunk<B> {
    notes: B,
    steps: usize,
    /// The moment of the first note.
    oldest: Timestamp,
    /// The number of the last note.
    last: u64,
}

impl Ring {
    /// An empty ring that has at most so many bytes of memory, and so many steps.
    pub(super) fn new(bytes_max: usize, steps_max: usize) -> Self {
        let each = (bytes_max / CHUNKS_MIN).saturating_sub(CHUNK_OVERHEAD_BYTES);
        let chunk_bytes = each.min(CHUNK_BYTES_MAX);
        let bounds = RingBounds {
            chunks_max: bytes_max / (chunk_bytes + CHUNK_OVERHEAD_BYTES),
            steps_max,
            chunk_bytes,
            chunk_steps: (steps_max / CHUNKS_MIN).max(1),
        };
        Self { bounds, ..Self::default() }
    }

    /// Takes in a note under a number, which is above those before.
    pub(super) fn add(&mut self, note: RawNote<'_>, number: u64) {
        let RingBounds { chunk_bytes, chunk_steps, .. } = self.bounds;
        let bytes = note.bytes();
        if self.open.notes.len() + bytes.len() > chunk_bytes || self.open.steps >= chunk_steps {
            self.seal();
        }
        let open = &mut self.open;
        if open.steps == 0 {
            open.notes.reserve_exact(chunk_bytes);
            open.oldest = note.at();
        }
        open.notes.extend_from_slice(&bytes[..NUMBER_AT]);
        open.notes.extend_from_slice(&number.to_le_bytes());
        open.notes.extend_from_slice(&bytes[MOMENT_AT..]);
        open.steps += 1;
        open.last = number;
        self.steps += 1;
    }

    /// Closes the open chunk, and lets the oldest ones go until another one has room.
    fn seal(&mut self) {
        let Chunk { notes, steps, oldest, last } = std::mem::take(&mut self.open);
        self.sealed.push_back(Chunk { notes: notes.into(), steps, oldest, last });
        let RingBounds { chunks_max, steps_max, chunk_steps, .. } = self.bounds;
        while self.sealed.len() >= chunks_max || self.steps + chunk_steps > steps_max {
            let Some(gone) = self.sealed.pop_front() else { return };
            self.steps -= gone.steps;
        }
    }

    /// The chunks that can have notes of a number above this one, the oldest first. The open one is copied.
    pub(super) fn after(&self, number: u64) -> Vec<Bytes> {
        let passed = self.sealed.partition_point(|chunk| chunk.last <= number);
        let sealed = self.sealed.range(passed..).map(|chunk| chunk.notes.clone());
        let open = (self.open.last > number).then(|| Bytes::copy_from_slice(&self.open.notes));
        sealed.chain(open).collect()
    }

    /// Bytes of memory that the ring has.
    pub(super) fn bytes(&self) -> usize {
        let chunks = self.sealed.len() + usize::from(self.open.steps > 0);
        chunks * (self.bounds.chunk_bytes + CHUNK_OVERHEAD_BYTES)
    }

    /// How many steps the ring has.
    pub(super) fn steps(&self) -> usize {
        self.steps
    }

    /// The moment of the oldest step.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        let open = (self.open.steps > 0).then_some(self.open.oldest);
        self.sealed.front().map(|chunk| chunk.oldest).or(open)
    }
}

/// The notes in chunks that follow each other, behind a number.
pub(super) fn notes_after(chunks: &[Bytes], number: u64) -> impl Iterator<Item = RawNote<'_>> {
    chunks.iter().flat_map(|chunk| notes_in(chunk)).skip_while(move |note| note.number() <= number)
}
