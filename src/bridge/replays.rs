//! The replays of a bridge: those that ran when it ended go on, for as long as their sink is configured.

use std::time::SystemTime;

use crate::config::Config;
use crate::dispatch::low_watermark::{CursorHandle, Cursors, ReaderKind, ReaderPosition};
use crate::replay::{ReplaySink, Replays, RunningReplay};
use crate::spool::Spool;
use crate::state::{ReplayRow, ReplayState, State, StateError};
use crate::telemetry::Metrics;

/// The replays that go on.
pub(super) struct ResumedReplays(Vec<ReplayRow>);

impl ResumedReplays {
    /// Reads which replays go on, and stops those of sinks that are no longer configured.
    pub(super) fn read(config: &Config, state: &State) -> Result<Self, StateError> {
        let mut resumed = Vec::new();
        for mut row in state.replays()? {
            if row.state != ReplayState::Running {
                continue;
            }
            if config.sinks.iter().any(|sink| sink.name == row.sink) {
                resumed.push(row);
                continue;
            }
            let (id, sink) = (row.id, row.sink.clone());
            tracing::warn!(replay = id, sink, "a replay is stopped: its sink is no longer configured");
            (row.state, row.changed) = (ReplayState::Stopped, SystemTime::now().into());
            row.because = Some(format!("sink `{sink}` is no longer configured"));
            state.record_replay(&row)?;
        }
        Ok(Self(resumed))
    }

    /// What the log keeps for them, in their order.
    pub(super) fn positions(&self) -> impl Iterator<Item = ReaderPosition> {
        self.0.iter().map(|row| ReaderPosition { cursor: row.read, kind: ReaderKind::Replaying })
    }

    /// Opens them. `kept` are the handles on their positions, in their order, and `sinks` those of the
    /// configured sinks, in theirs.
    pub(super) fn open(
        self,
        config: &Config,
        (state, spool): (&State, &Spool),
        cursors: Cursors,
        (sinks, kept): (&[CursorHandle], Vec<CursorHandle>),
        metrics: &Metrics,
    ) -> Replays {
        let sink = |(sink, cursor): (&crate::sink::SinkOptions, &CursorHandle)| ReplaySink {
            name: sink.name.clone(),
            selection: sink.selection.clone(),
            cursor: cursor.clone(),
        };
        let sinks = config.sinks.iter().zip(sinks).map(sink).collect();
        let running = |(row, read): (ReplayRow, CursorHandle)| {
            (row.id, RunningReplay { sink: row.sink, end: row.end, read })
        };
        let running = self.0.into_iter().zip(kept).map(running).collect();
        let sources = config.sources.iter().map(|source| source.event_source().to_string()).collect();
        let log = (state.clone(), spool.clone());
        Replays::new(log, cursors, sinks, sources, running, metrics.replay.clone())
    }
}
