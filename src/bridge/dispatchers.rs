//! Starts and ends the tasks that read the log: a dispatcher for each sink, and the task that turns
//! quarantined deliveries into dead letters.

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::BridgeError;
use super::replays::ResumedReplays;
use crate::ack::AwaitedSinks;
use crate::config::Config;
use crate::dispatch::certainty;
use crate::dispatch::low_watermark::{Cursors, ReaderKind, ReaderPosition};
use crate::dispatch::pause::Pausing;
use crate::dispatch::quarantine::{self, QuarantineScope};
use crate::dispatch::resume::{self, Resumption};
use crate::dispatch::rules::RuleBook;
use crate::dispatch::{DispatchError, Dispatcher, LogReader};
use crate::health::Health;
use crate::replay::Replays;
use crate::sink::Sink;
use crate::spool::Spool;
use crate::state::{CursorOwner, State};
use crate::telemetry::{Metrics, Tracer};
use crate::timeline::TimelineWriter;

/// The tasks that read the log: a dispatcher for each sink, and the one for quarantined deliveries.
pub(super) struct Dispatchers {
    /// The names of their cursors in the state.
    pub(super) names: Vec<String>,
    pub(super) tasks: JoinSet<Result<(), DispatchError>>,
    /// Pauses and resumes the sinks.
    pub(super) pausing: Arc<Pausing>,
    /// The replays to the sinks, which the bridge runs.
    pub(super) replays: Replays,
    /// Tells the tasks to deliver what is left, then end.
    stop: CancellationToken,
    /// Tells the tasks to end at once.
    cut: CancellationToken,
}

/// What the tasks report to.
#[derive(Clone, Copy)]
pub(super) struct Instruments<'a> {
    pub(super) metrics: &'a Metrics,
    pub(super) health: &'a Health,
    pub(super) timeline: &'a TimelineWriter,
    /// Traces publications, if traces are on.
    pub(super) tracer: Option<&'a Tracer>,
}

impl Dispatchers {
    /// Starts the tasks, each after its cursor.
    ///
    /// # Errors
    /// When the cursors cannot be read.
    pub(super) fn start(
        config: &Config,
        rules: &Arc<RuleBook>,
        sinks: Vec<Arc<dyn Sink>>,
        (spool, state): (&Spool, &State),
        awaited: &AwaitedSinks,
        instruments: Instruments<'_>,
    ) -> Result<Self, BridgeError> {
        let Instruments { metrics, health, timeline, tracer } = instruments;
        let names: Vec<&str> = config.sinks.iter().map(|sink| sink.name.as_str()).collect();
        let begins: Vec<_> = config.sinks.iter().map(|sink| (sink.name.as_str(), sink.from)).collect();
        let Resumption { sinks: starts, quarantine, gone } = resume::resume(&begins, spool, state)?;
        let cursors: Vec<_> = names.iter().zip(&starts).map(|(name, start)| (*name, start.cursor)).collect();
        certainty::begin(&cursors, awaited, spool, state)?;
        let scope = QuarantineScope {
            cursor: quarantine,
            gone,
            configured: names.into_iter().map(str::to_owned).collect(),
            dead_letters: metrics.dead_letters.clone(),
        };
        let sink_readers = config.sinks.iter().zip(&starts);
        let sink_readers = sink_readers.map(|(sink, start)| {
            let kind = if sink.detaches { ReaderKind::Detaching } else { ReaderKind::Holding };
            ReaderPosition { cursor: start.cursor, kind }
        });
        let quarantine = ReaderPosition { cursor: scope.begin(), kind: ReaderKind::Holding };
        // Read before anything is written: without room, the state cannot always be read after a write.
        let paused = state.paused()?;
        let is_configured = |name: &str| config.sinks.iter().any(|sink| sink.name == name);
        let replays = ResumedReplays::read(is_configured, state)?;
        let positions: Vec<_> = sink_readers.chain([quarantine]).chain(replays.positions()).collect();
        let reader = |share| LogReader { share, spool: spool.clone(), state: state.clone() };
        let (cursors, mut handles) = Cursors::new(spool, &positions);
        let kept = handles.split_off(config.sinks.len() + 1);
        let of_sinks = handles.clone();
        let mut readers: Vec<_> = handles.into_iter().map(reader).collect();
        let last = readers.pop().unwrap_or_else(|| unreachable!("the quarantine has a cursor"));

        let sinks_named = config.sinks.iter().map(|sink| sink.name.clone());
        let names = sinks_named.chain([CursorOwner::Quarantine.to_string()]).collect();
        let (stop, cut) = (CancellationToken::new(), CancellationToken::new());
        let mut pausing = Pausing::new(state.clone());
        let mut tasks = JoinSet::new();
        for (((sink_config, sink), reader), start) in config.sinks.iter().zip(sinks).zip(readers).zip(starts)
        {
            let (name, waiting) = (sink_config.name.as_str(), awaited.get(&sink_config.name));
            let (rules, buried) = (Arc::clone(rules), start.buried);
            let dispatcher = Dispatcher::new(sink_config, rules, sink, reader, buried, metrics, health);
            let switch = pausing.add((name, waiting.is_some()), &paused, health, metrics);
            let dispatcher = dispatcher.awaited(waiting).noting(timeline.clone()).pausing(switch);
            let dispatcher = dispatcher.passing_over(replays.cancelled.clone()).traced_by(tracer.cloned());
            tasks.spawn(dispatcher.run(stop.clone(), cut.clone()));
        }
        let (log, handles) = ((state, spool), (&*of_sinks, kept));
        let replays = replays.open(config, log, cursors, handles, (metrics, health));
        tasks.spawn(quarantine::keep(last, scope, stop.clone(), cut.clone()));
        Ok(Self { names, tasks, pausing: Arc::new(pausing), replays, stop, cut })
    }

    /// Tells the tasks to deliver what is left and end, and cuts them short at the deadline.
    pub(super) async fn end(mut self, deadline: Instant) -> Result<(), BridgeError> {
        self.stop.cancel();
        let mut first = Ok(());
        loop {
            tokio::select! {
                ended = self.tasks.join_next() => match ended {
                    None => return first,
                    Some(Ok(Ok(()))) => {}
                    Some(ended) => first = first.and(Err(reader_error(ended))),
                },
                () = sleep_until(deadline), if !self.cut.is_cancelled() => self.cut.cancel(),
            }
        }
    }
}

/// Why a task that reads the log ended before it was told to.
pub(super) fn reader_error(ended: Result<Result<(), DispatchError>, tokio::task::JoinError>) -> BridgeError {
    match ended {
        Ok(Err(error)) => error.into(),
        Ok(Ok(())) => BridgeError::BrokeDown("a dispatcher that ended by itself"),
        Err(_) => BridgeError::BrokeDown("a dispatcher"),
    }
}
