//! Moves notes from the buffers of those who note into the rings, and numbers them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Kept;
use super::raw_note::{merged, notes_in};
use super::slots::NoteSlots;
use crate::event::Timestamp;
use crate::telemetry::TimelineMetrics;

/// How long notes wait in their buffers.
const ROUND: Duration = Duration::from_millis(25);
/// The same, once nothing was noted for a round.
const ROUND_AT_REST: Duration = Duration::from_millis(50);

/// The task of the timeline.
pub struct Collector {
    pub(super) kept: Arc<Kept>,
    pub(super) slots: Arc<NoteSlots>,
    /// A buffer for each of the slots, empty between two rounds.
    pub(super) taken: Vec<Vec<u8>>,
    /// The number of the last step.
    pub(super) number: u64,
    /// Tells readers that number.
    pub(super) newest: watch::Sender<u64>,
    pub(super) metrics: TimelineMetrics,
}

impl Collector {
    /// Collects until the stop, and once more then. If the timeline is off, only waits for the stop.
    pub async fn run(mut self, stop: CancellationToken) {
        if !self.kept.is_on {
            return stop.cancelled().await;
        }
        let mut round = ROUND;
        loop {
            let stopped = tokio::time::timeout(round, stop.cancelled()).await.is_ok();
            round = if self.collect() { ROUND } else { ROUND_AT_REST };
            if stopped {
                return;
            }
        }
    }

    /// Collects what was noted so far; returns whether there was anything.
    pub fn collect(&mut self) -> bool {
        let before = self.number;
        // A dropped step has a number, too: so readers learn how many they missed.
        let dropped = self.slots.take_dropped();
        self.number += dropped;
        self.slots.swap(&mut self.taken);
        let mut rings = self.kept.rings.lock();
        for note in merged(self.taken.iter().map(|buffer| notes_in(buffer)), |note| note.at()) {
            self.number += 1;
            rings.of(note.word()).add(note, self.number);
        }
        rings.newest = self.number;
        let (bytes, oldest) = (self.kept.buffers + rings.bytes(), rings.oldest());
        drop(rings);
        self.taken.iter_mut().for_each(Vec::clear);

        self.metrics.dropped.inc_by(dropped);
        self.metrics.bytes.set(bytes as i64);
        let now = Timestamp::from(SystemTime::now());
        self.metrics.oldest.set(oldest.map_or(0.0, |oldest| now.seconds_since(oldest)));
        if self.number == before {
            return false;
        }
        self.newest.send_replace(self.number);
        true
    }
}
