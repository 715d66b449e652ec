//! The replays that were cancelled: a dispatcher passes over their copies that it has not published, so that
//! none of them holds up its sink.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::RwLock;

use super::Dispatcher;
use crate::event::{Event, Position, REDRIVEN_EXTENSION};

/// The cancelled replays, by the name that is in `replayid`. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct CancelledReplays(Arc<RwLock<BTreeSet<String>>>);

impl CancelledReplays {
    /// Adds a replay.
    pub fn add(&self, replay_id: &str) {
        self.0.write().insert(replay_id.to_owned());
    }

    /// Whether an event is a copy of one of them, as they sent it. What somebody has redriven is wanted, also
    /// if it was such a copy.
    pub(super) fn has_sent(&self, event: &Event) -> bool {
        let is_redriven = || event.extensions.iter().any(|(name, _)| *name == REDRIVEN_EXTENSION);
        event.replay_id().is_some_and(|id| self.0.read().contains(&**id)) && !is_redriven()
    }
}

impl Dispatcher {
    /// The same dispatcher, which passes over what it has not published of these replays.
    pub fn passing_over(self, cancelled: CancelledReplays) -> Self {
        Self { cancelled, ..self }
    }

    /// Settles the copies of cancelled replays that wait in held topics. None of them is with the sink.
    pub(super) fn pass_over_cancelled(&mut self) {
        if self.cancelled.0.read().is_empty() {
            return;
        }
        let waiting = self.unsettled.waiting(self.resolved);
        let cancelled = waiting.filter(|record| self.cancelled.has_sent(&record.event));
        let positions: Vec<Position> = cancelled.map(|record| record.position).collect();
        for position in &positions {
            self.unsettled.settle(*position);
        }
        if !positions.is_empty() {
            self.tell();
        }
    }
}
