//! The replays of a bridge: those that ran when it ended go on, for as long as their sink is configured.

use std::time::SystemTime;

use crate::config::Config;
use crate::dispatch::cancelled::CancelledReplays;
use crate::dispatch::low_watermark::{CursorHandle, Cursors, ReaderKind, ReaderPosition};
use crate::health::Health;
use crate::replay::{ReplaySink, Replays, RunningReplay, sink_is_gone};
use crate::spool::Spool;
use crate::state::{ReplayRow, ReplayState, State, StateError};
use crate::telemetry::Metrics;

/// The replays that go on, and those that were cancelled.
pub(super) struct ResumedReplays {
    running: Vec<ReplayRow>,
    pub(super) cancelled: CancelledReplays,
}

impl ResumedReplays {
    /// Reads which replays go on, and stops those of sinks that are no longer configured. One for which the
    /// state has no room is stopped by a later start.
    pub(super) fn read(is_configured: impl Fn(&str) -> bool, state: &State) -> Result<Self, StateError> {
        let (mut running, cancelled) = (Vec::new(), CancelledReplays::default());
        for id in state.unreadable_replays()? {
            let what = "a replay is left alone: its row in the state file cannot be read by this release";
            tracing::warn!(replay = id, "{what}");
        }
        for mut row in state.replays()? {
            match row.state {
                ReplayState::Running if is_configured(&row.sink) => {
                    running.push(row);
                    continue;
                }
                ReplayState::Running => {}
                ReplayState::Cancelled => {
                    cancelled.add(&row.replay_id);
                    continue;
                }
                ReplayState::Done | ReplayState::Stopped => continue,
            }
            let (id, sink) = (row.id, row.sink.clone());
            tracing::warn!(replay = id, sink, "a replay is stopped: its sink is no longer configured");
            (row.state, row.changed) = (ReplayState::Stopped, SystemTime::now().into());
            row.because = Some(sink_is_gone(&sink));
            match state.end_replay(&row) {
                Ok(()) => {}
                // Nobody sends it, and the bridge is needed more than a note of that.
                Err(error @ StateError::NoRoom { .. }) => {
                    tracing::warn!(replay = id, sink, %error, "a later start notes that");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Self { running, cancelled })
    }

    /// What the log keeps for them, in their order.
    pub(super) fn positions(&self) -> impl Iterator<Item = ReaderPosition> {
        self.running.iter().map(|row| ReaderPosition { cursor: row.read, kind: ReaderKind::Replaying })
    }

    /// Opens them. `kept` are the handles on their positions, in their order, and `sinks` those of the
    /// configured sinks, in theirs.
    pub(super) fn open(
        self,
        config: &Config,
        (state, spool): (&State, &Spool),
        cursors: Cursors,
        (sinks, kept): (&[CursorHandle], Vec<CursorHandle>),
        (metrics, health): (&Metrics, &Health),
    ) -> Replays {
        let sink = |(sink, cursor): (&crate::sink::SinkOptions, &CursorHandle)| ReplaySink {
            name: sink.name.clone(),
            selection: sink.selection.clone(),
            cursor: cursor.clone(),
            status: health.add_sink(&sink.name),
        };
        let sinks = config.sinks.iter().zip(sinks).map(sink).collect();
        let running = |(row, read): (ReplayRow, CursorHandle)| {
            (row.id, RunningReplay { sink: row.sink, end: row.end, read })
        };
        let running = self.running.into_iter().zip(kept).map(running).collect();
        let sources = config.sources.iter().map(|source| source.event_source().to_string()).collect();
        let log = (state.clone(), spool.clone());
        Replays::new(log, cursors, sinks, sources, (running, self.cancelled), metrics.replay.clone())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::bench::{Bench, awaited};
    use crate::testing::failing::Fault;

    fn running(sink: &str) -> ReplayRow {
        let at = "2026-11-21T06:00:00Z";
        let row = json!({
            "replay_id": "0a1b2c3d4e5f", "sink": sink, "events": { "types": ["call.ended"] }, "rate": 1000,
            "state": "running", "begun_at": 0, "end": 9, "read": 3, "last": 12, "sent": 3,
            "not_selected": 0, "lost": 0, "created": at, "changed": at,
        });
        serde_json::from_value(row).expect("a row")
    }

    #[tokio::test]
    async fn without_room_to_stop_a_removed_sinks_replay_the_bridge_starts_and_a_later_start_stops_it() {
        let (bench, faults) = Bench::failing();
        for sink in ["retired", "lake"] {
            bench.state.add_replay(&running(sink)).expect("room");
        }
        // The state rests after it has found no room, the longer the longer that took, and reads nothing.
        let states = || {
            let rows = bench.state.replays().unwrap_or_default();
            rows.iter().map(|row| row.state).collect::<Vec<_>>()
        };
        faults.set(Fault::All);
        let resumed = ResumedReplays::read(|sink| sink == "lake", &bench.state).expect("the bridge starts");
        assert_eq!(resumed.running.iter().map(|row| row.id).collect::<Vec<_>>(), [2]);

        faults.set(Fault::None);
        awaited(|| states() == [ReplayState::Running, ReplayState::Running]).await;
        ResumedReplays::read(|sink| sink == "lake", &bench.state).expect("room");
        assert_eq!(states(), [ReplayState::Stopped, ReplayState::Running]);
    }
}
