//! How a dispatcher ends while the bridge goes on: another one takes its place, or its sink is removed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use super::maybe_duplicates::MaybeDuplicates;
use super::{BOUNDS, Dispatcher, Reading};
use crate::event::Position;
use crate::spool::EntryBatch;

/// How a dispatcher ends that is stopped before the bridge is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LeaveOrder {
    /// Another one goes on behind its cursor: it reads nothing more.
    Replaced,
    /// Its sink is removed: it delivers what the log holds up to this position.
    Removed(Position),
}

/// Tells the dispatcher of a sink how to leave, before it is stopped. Clones share the notice.
#[derive(Clone, Debug, Default)]
pub struct LeaveNotice {
    is_replaced: Arc<AtomicBool>,
    removed: Arc<OnceLock<Position>>,
    /// What the dispatcher before it left for a second publication, if there was one.
    before: Option<MaybeDuplicates>,
    /// The same of this one, once it has ended.
    left: Arc<OnceLock<MaybeDuplicates>>,
}

impl LeaveNotice {
    /// For the dispatcher that comes next: it is not replaced yet, and its sink is removed if it was before.
    pub fn of_the_next(&self) -> Self {
        Self {
            is_replaced: Arc::default(),
            removed: Arc::clone(&self.removed),
            before: self.left.get().copied().or(self.before),
            left: Arc::default(),
        }
    }

    /// Another dispatcher is to go on.
    pub fn replace(&self) {
        self.is_replaced.store(true, Ordering::Release);
    }

    /// The sink is removed: what the log holds up to this position is delivered. The first position counts.
    pub fn remove(&self, through: Position) {
        let _ = self.removed.set(through);
    }

    pub(super) fn order(&self) -> Option<LeaveOrder> {
        let is_replaced = || self.is_replaced.load(Ordering::Acquire).then_some(LeaveOrder::Replaced);
        self.removed.get().map(|through| LeaveOrder::Removed(*through)).or_else(is_replaced)
    }
}

impl Dispatcher {
    /// The same dispatcher, which leaves as it is told here.
    pub fn leaving(self, leave: LeaveNotice) -> Self {
        let maybe_duplicates = leave.before.unwrap_or(self.maybe_duplicates);
        Self { leave, maybe_duplicates, ..self }
    }

    /// Notes what the dispatcher that comes next might publish a second time.
    pub(super) fn note_what_is_left(&self) {
        let _ = self.leave.left.set(self.maybe_duplicates.of_the_next(BOUNDS.records_max));
    }

    /// Whether it has read all that it is to deliver before it leaves.
    pub(super) fn has_read_its_last(&self) -> bool {
        self.last().is_some_and(|last| self.unsettled.read() >= last)
    }

    /// Gives up a read for which nothing is left to read.
    pub(super) fn end_reading(&self, reading: &mut Option<Reading>) {
        if self.has_read_its_last() {
            *reading = None;
        }
    }

    /// Of a batch, what it is to deliver; `None` if that is nothing.
    pub(super) fn up_to_its_last(&self, mut batch: EntryBatch) -> Option<EntryBatch> {
        if let Some(last) = self.last() {
            if self.has_read_its_last() {
                return None;
            }
            batch.entries.retain(|(position, _)| *position <= last);
            batch.through = batch.through.min(last);
        }
        Some(batch)
    }

    /// The last position that it is to deliver, if it is to leave.
    fn last(&self) -> Option<Position> {
        Some(match self.leave.order()? {
            LeaveOrder::Replaced => Position(0),
            LeaveOrder::Removed(through) => through,
        })
    }
}
