//! The sinks that events can be sent to again, which come and go while the bridge runs.

use std::sync::Arc;

use super::{ReplayError, ReplaySink, Replays, Shared, now};
use crate::dispatch::cancelled::CancelledReplays;
use crate::selection::Selection;
use crate::state::{ReplayState, StateError};
use crate::telemetry::Shown;

/// Why a replay is stopped whose sink is gone.
pub fn sink_is_gone(sink: &str) -> String {
    format!("sink `{sink}` is no longer configured")
}

impl Replays {
    /// Adds a sink, or puts it in the place of the one with its name.
    pub fn put_sink(&self, sink: ReplaySink) {
        let name = sink.name.clone();
        let mut sinks = self.0.sinks.write();
        match sinks.iter_mut().find(|known| known.name == name) {
            Some(known) => *known = Arc::new(sink),
            None => sinks.push(Arc::new(sink)),
        }
        drop(sinks);
        self.0.note_pending(&name);
        self.0.changed.notify_waiters();
    }

    /// Sets which types a sink takes by itself.
    pub fn select(&self, name: &str, selection: Selection) {
        let mut sinks = self.0.sinks.write();
        if let Some(known) = sinks.iter_mut().find(|known| known.name == *name) {
            let ReplaySink { name, cursor, status, .. } = &**known;
            let (name, cursor, status) = (name.clone(), cursor.clone(), Arc::clone(status));
            *known = Arc::new(ReplaySink { name, selection, cursor, status });
        }
    }

    /// Takes a sink out: nothing more is sent to it. [`Replays::stop_those_to`] is to follow.
    pub fn remove_sink(&self, name: &str) {
        self.0.sinks.write().retain(|sink| sink.name != name);
        self.0.changed.notify_waiters();
    }

    /// Stops the replays to a sink that was taken out. Blocks on the disk. What cannot be noted in the state
    /// is noted by a later start.
    pub fn stop_those_to(&self, name: &str) {
        let shared = &*self.0;
        let turn = shared.turn.lock();
        let running = shared.running.lock();
        let of_sink = running.iter().filter(|(_, replay)| replay.sink == *name);
        let ids: Vec<u64> = of_sink.map(|(id, _)| *id).collect();
        drop(running);
        for id in ids {
            if let Err(error) = shared.stop(id, name) {
                tracing::warn!(replay = id, sink = name, %error, "a later start notes that it is stopped");
            }
        }
        drop(turn);
        shared.changed.notify_waiters();
    }

    /// The replays whose copies dispatchers pass over.
    pub fn cancelled(&self) -> CancelledReplays {
        self.0.cancelled.clone()
    }
}

impl Shared {
    /// The sink of this name.
    pub(super) fn sink(&self, name: &str) -> Result<Arc<ReplaySink>, ReplayError> {
        let found = self.sinks.read().iter().find(|sink| sink.name == name).cloned();
        found.ok_or_else(|| ReplayError::UnknownSink(Shown(name).to_string(), self.sink_names().join(", ")))
    }

    pub(super) fn sink_names(&self) -> Vec<String> {
        self.sinks.read().iter().map(|sink| sink.name.clone()).collect()
    }

    /// Stops a replay because its sink is gone. `turn` is to be held.
    fn stop(&self, id: u64, sink: &str) -> Result<(), StateError> {
        let running = self.running.lock().remove(&id);
        running.into_iter().for_each(|running| running.read.leave());
        self.waiting.lock().remove(&id);
        let Some(mut row) = self.state.replay(id)?.filter(|row| row.state == ReplayState::Running) else {
            return Ok(());
        };
        let sent = row.sent;
        tracing::warn!(replay = id, sink, sent, "a replay is stopped: its sink is no longer configured");
        (row.state, row.changed, row.because) = (ReplayState::Stopped, now(), Some(sink_is_gone(sink)));
        self.state.end_replay(&row)
    }
}
