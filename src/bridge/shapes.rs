//! Learns the shapes of event types from sampled events, says what is new, and keeps both in the state.
//!
//! All of it is off the way of the events, on a thread for blocking work. Changes are written within two
//! seconds, counts within a minute. Shapes that cannot be written stay in memory until they can.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::BridgeError;
use super::open::blocking;
use crate::event::Event;
use crate::shape::{SHAPE_BYTES_MAX, ShapeChange};
use crate::state::{ChangeShown, KnownShape, SHAPES_MAX, State, StateError, TYPE_NAME_BYTES_MAX};
use crate::telemetry::{Episode, ShapeMetrics, Shown};

/// Samples that are learnt from at once.
const BATCH: usize = 16;
/// How long a change stays in memory only.
const CHANGES_EVERY: Duration = Duration::from_secs(2);
/// How long counts stay in memory only.
const COUNTS_EVERY: Duration = Duration::from_secs(60);
/// Most bytes of all shapes (16 MiB).
const BYTES_MAX: usize = 16 << 20;
/// Changes of one event that its log line names.
const NAMED_MAX: usize = 8;

/// What is known of all types, and where it is kept.
pub(super) struct ShapeKeeper {
    state: State,
    kept: BTreeMap<(String, String), Kept>,
    /// Bytes of all shapes, as [`KnownShape::bytes`] counts them.
    bytes: usize,
    /// When counts were written last.
    counts_written: Instant,
    unwritten: Episode<String>,
    metrics: ShapeMetrics,
}

#[derive(Default)]
struct Kept {
    known: KnownShape,
    unwritten: Unwritten,
}

/// What of a shape is in memory only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Unwritten {
    #[default]
    Nothing,
    Counts,
    Changes,
}

impl ShapeKeeper {
    /// Reads the shapes of earlier runs. Where they cannot be read, they are learnt anew.
    pub(super) async fn open(state: State, metrics: ShapeMetrics) -> Result<Self, BridgeError> {
        blocking(move || {
            let rows = state.shapes().unwrap_or_else(|error| {
                tracing::warn!(%error, "the shapes of event types cannot be read: they are learnt anew");
                Vec::new()
            });
            let bytes = rows.iter().map(|row| row.known.bytes()).sum();
            let kept = rows.into_iter().map(|row| {
                let kept = Kept { known: row.known, unwritten: Unwritten::Nothing };
                ((row.provider, row.event_type), kept)
            });
            let kept: BTreeMap<_, _> = kept.collect();
            metrics.types.set(kept.len().try_into().unwrap_or(i64::MAX));
            let (counts_written, unwritten) = (Instant::now(), Episode::reminding());
            Ok(Self { state, kept, bytes, counts_written, unwritten, metrics })
        })
        .await
    }

    /// Learns until it is told to stop; then also from what waits, and writes all of it.
    pub(super) async fn keep(mut self, mut samples: mpsc::Receiver<Arc<Event>>, stop: CancellationToken) {
        let mut due = tokio::time::interval(CHANGES_EVERY);
        due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut is_closed = false;
        loop {
            let mut batch = Vec::new();
            let (stopped, write) = tokio::select! {
                biased;
                () = stop.cancelled() => (true, true),
                _ = due.tick() => (false, true),
                count = samples.recv_many(&mut batch, BATCH), if !is_closed => {
                    is_closed = count == 0;
                    (false, false)
                }
            };
            if stopped {
                while let Ok(sample) = samples.try_recv() {
                    batch.push(sample);
                }
            }
            let working = tokio::task::spawn_blocking(move || {
                batch.iter().for_each(|event| self.learn_or_forget(event));
                if write {
                    self.write(stopped);
                }
                self
            });
            match working.await {
                Ok(keeper) => self = keeper,
                Err(broken) => std::panic::resume_unwind(broken.into_panic()),
            }
            if stopped {
                return;
            }
        }
    }

    /// Learns from one event. One that makes the learner panic, which is a fault of the bridge, costs the
    /// shape of its type and no more: no event waits for what is learnt here.
    fn learn_or_forget(&mut self, event: &Event) {
        if catch_unwind(AssertUnwindSafe(|| self.learn(event))).is_ok() {
            return;
        }
        self.kept.remove(&(event.provider.to_string(), event.event_type.to_string()));
        self.bytes = self.kept.values().map(|kept| kept.known.bytes()).sum();
        self.metrics.dropped.inc();
        tracing::error!(
            provider = %Shown(&event.provider),
            event_type = %Shown(&event.event_type),
            id = %Shown(&event.id),
            "the learner of shapes broke down over this event, and learns the shape of its type anew"
        );
    }

    /// Learns from one event, and says what it shows for the first time.
    fn learn(&mut self, event: &Event) {
        let is_full = self.kept.len() >= SHAPES_MAX || event.event_type.len() > TYPE_NAME_BYTES_MAX;
        let kept = match self.kept.entry((event.provider.to_string(), event.event_type.to_string())) {
            Entry::Occupied(kept) => kept.into_mut(),
            Entry::Vacant(_) if is_full || self.bytes >= BYTES_MAX => {
                self.metrics.dropped.inc();
                return;
            }
            Entry::Vacant(entry) => entry.insert(Kept { unwritten: Unwritten::Changes, ..Kept::default() }),
        };
        let before = kept.known.bytes();
        let room = BYTES_MAX.saturating_sub(self.bytes) + kept.known.shape.bytes();
        let changes = kept.known.shape.learn(&event.body, room.min(SHAPE_BYTES_MAX));
        let news = if changes.is_empty() { Unwritten::Counts } else { Unwritten::Changes };
        kept.unwritten = kept.unwritten.max(news);
        if !changes.is_empty() {
            self.metrics.changes.inc_by(changes.len().try_into().unwrap_or(u64::MAX));
            report(event, &changes);
        }
        for ShapeChange { path, what } in changes {
            kept.known.note(ChangeShown { path, what, id: event.id.to_string(), at: event.arrived });
        }
        self.bytes = (self.bytes + kept.known.bytes()).saturating_sub(before);
        self.metrics.types.set(self.kept.len().try_into().unwrap_or(i64::MAX));
    }

    /// Writes what is due, or all of it.
    fn write(&mut self, all: bool) {
        let now = Instant::now();
        let with_counts = all || now.duration_since(self.counts_written) >= COUNTS_EVERY;
        let least = if with_counts { Unwritten::Counts } else { Unwritten::Changes };
        let due = self.kept.iter().filter(|(_, kept)| kept.unwritten >= least);
        let rows: Vec<_> = due.map(|((provider, name), kept)| (&**provider, &**name, &kept.known)).collect();
        if with_counts {
            self.counts_written = now;
        }
        if rows.is_empty() {
            return;
        }
        match self.state.record_shapes(&rows) {
            Ok(()) => {
                let due = self.kept.values_mut().filter(|kept| kept.unwritten >= least);
                due.for_each(|kept| kept.unwritten = Unwritten::Nothing);
                if let Some(end) = self.unwritten.over(now) {
                    let seconds = end.seconds();
                    tracing::info!(seconds, "the shapes of event types are written to the state again");
                }
            }
            // The state itself logs that it waits for disk space, and others find that its file is gone.
            Err(StateError::NoRoom { .. } | StateError::Gone { .. }) => {}
            Err(error) => {
                if let Some(news) = self.unwritten.happens(error.to_string(), now) {
                    tracing::error!(
                        seconds = news.seconds(),
                        %error,
                        "the shapes of event types cannot be written to the state: they stay in memory"
                    );
                }
            }
        }
    }
}

/// Says in one line of the log what an event has shown.
fn report(event: &Event, changes: &[ShapeChange]) {
    let named: Vec<String> =
        changes.iter().take(NAMED_MAX).map(|change| format!("{} {}", change.what, change.path)).collect();
    let unsaid = changes.len().checked_sub(NAMED_MAX).filter(|count| *count > 0);
    tracing::info!(
        provider = %Shown(&event.provider),
        event_type = %Shown(&event.event_type),
        id = %Shown(&event.id),
        changes = %Shown(&named.join(", ")),
        unsaid,
        "events of this type have another shape than before"
    );
}
