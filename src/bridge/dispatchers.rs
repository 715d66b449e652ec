//! Starts and ends the tasks that read the log: a dispatcher for each sink, and the task that turns
//! quarantined deliveries into dead letters.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::BridgeError;
use super::replays::ResumedReplays;
use super::sink_life::{
    PreparedOutput, PreparedSink, ReaderEnd, SinkLife, SinkNeeds, SinkOrder, reader_kind,
};
use crate::ack::AwaitedSinks;
use crate::aws::Aws;
use crate::config::Config;
use crate::dispatch::certainty;
use crate::dispatch::leave::LeaveNotice;
use crate::dispatch::low_watermark::{CursorHandle, Cursors, ReaderKind, ReaderPosition};
use crate::dispatch::pause::Pausing;
use crate::dispatch::quarantine::{self, QuarantineScope, ScopeChanges};
use crate::dispatch::resume::{self, Resumption};
use crate::dispatch::rules::RuleBook;
use crate::dispatch::{DispatchError, LogReader};
use crate::event::Position;
use crate::health::Health;
use crate::sink::{Sink, SinkOptions};
use crate::spool::Spool;
use crate::state::{CursorOwner, State};
use crate::telemetry::{Metrics, Tracer};
use crate::timeline::TimelineWriter;

/// Orders that a sink can have before it. A second one waits while the first is carried out.
const ORDERS_MAX: usize = 1;

/// The tasks that read the log: a dispatcher for each sink, and the one for quarantined deliveries.
pub(super) struct Dispatchers {
    /// The sinks, by name.
    pub(super) sinks: BTreeMap<String, RunningSink>,
    pub(super) around: SinkNeeds,
    tasks: JoinSet<Result<ReaderEnd, DispatchError>>,
}

/// A sink whose task runs.
pub(super) struct RunningSink {
    /// How it is configured, once it has carried out its orders.
    pub(super) options: SinkOptions,
    /// Whether it was told to end.
    pub(super) is_removed: bool,
    /// Gives it notice that it is removed.
    pub(super) leave: LeaveNotice,
    pub(super) orders: mpsc::Sender<SinkOrder>,
}

/// What the tasks report to, and what sinks are made with.
pub(super) struct Instruments {
    pub(super) metrics: Arc<Metrics>,
    pub(super) health: Arc<Health>,
    pub(super) timeline: TimelineWriter,
    /// Traces publications, if traces are on.
    pub(super) tracer: Option<Tracer>,
    pub(super) aws: Aws,
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
        instruments: Instruments,
    ) -> Result<Self, BridgeError> {
        let Instruments { metrics, health, timeline, tracer, aws } = instruments;
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
        let sink_readers = sink_readers
            .map(|(sink, start)| ReaderPosition { cursor: start.cursor, kind: reader_kind(sink) });
        let quarantine = ReaderPosition { cursor: scope.begin(), kind: ReaderKind::Holding };
        // Read before anything is written: without room, the state cannot always be read after a write.
        let paused = state.paused()?;
        let is_configured = |name: &str| config.sinks.iter().any(|sink| sink.name == name);
        let replays = ResumedReplays::read(is_configured, state)?;
        let positions: Vec<_> = sink_readers.chain([quarantine]).chain(replays.positions()).collect();
        let (cursors, mut shares) = Cursors::new(spool, &positions);
        let kept = shares.split_off(config.sinks.len() + 1);
        let last = shares.pop().unwrap_or_else(|| unreachable!("the quarantine has a cursor"));

        let pausing = Arc::new(Pausing::new(state.clone()));
        for sink in &config.sinks {
            let is_awaited = awaited.get(&sink.name).is_some();
            // A dispatcher asks for it when it begins.
            drop(pausing.add((sink.name.as_str(), is_awaited), &paused, &health, &metrics));
        }
        let log = (state, spool);
        let replays = replays.open(config, log, cursors.clone(), (&*shares, kept), (&*metrics, &*health));
        let (quarantine, changes) = ScopeChanges::new();
        let around = SinkNeeds {
            spool: spool.clone(),
            state: state.clone(),
            metrics,
            health,
            timeline,
            tracer,
            rules: Arc::clone(rules),
            aws,
            awaited: awaited.clone(),
            cursors,
            pausing,
            replays,
            quarantine,
            stop: CancellationToken::new(),
            cut: CancellationToken::new(),
        };
        let (stop, cut) = (around.stop.clone(), around.cut.clone());
        let mut dispatchers = Self { sinks: BTreeMap::new(), around, tasks: JoinSet::new() };
        let configured = config.sinks.iter().cloned().zip(sinks);
        for ((options, sink), (share, start)) in configured.zip(shares.into_iter().zip(starts)) {
            let output = PreparedOutput::Made(sink);
            dispatchers.begin(PreparedSink { options, output }, share, start.buried);
        }
        let reader = LogReader { share: last, spool: spool.clone(), state: state.clone() };
        dispatchers.tasks.spawn(async move {
            let kept = quarantine::keep(reader, scope, changes, stop, cut).await;
            kept.map(|()| ReaderEnd::Stopped)
        });
        Ok(dispatchers)
    }

    /// Starts the task of a sink, which goes on behind its cursor. Events for it alone are dead letters up to
    /// `buried`.
    pub(super) fn begin(&mut self, sink: PreparedSink, share: CursorHandle, buried: Position) {
        let PreparedSink { options, output } = sink;
        let (orders, told) = mpsc::channel(ORDERS_MAX);
        let leave = LeaveNotice::default();
        let running =
            RunningSink { options: options.clone(), is_removed: false, leave: leave.clone(), orders };
        self.sinks.insert(options.name.clone(), running);
        let around = self.around.clone();
        let life = SinkLife { options, share, buried, around, leave, orders: told };
        self.around.replays.put_sink(life.replay_sink());
        self.tasks.spawn(life.run(output));
    }

    /// The names of their cursors in the state.
    pub(super) fn names(&self) -> Vec<String> {
        self.sinks.keys().cloned().chain([CursorOwner::Quarantine.to_string()]).collect()
    }

    /// Resolves when a task ends that was not told to. The future can be dropped and called again.
    pub(super) async fn broken(&mut self) -> BridgeError {
        loop {
            match self.tasks.join_next().await {
                Some(Ok(Ok(ReaderEnd::Removed(sink)))) => self.forget(&sink),
                Some(ended) => return reader_error(ended),
                // The end was reported by an earlier call.
                None => std::future::pending().await,
            }
        }
    }

    /// Forgets a sink whose task has ended, unless it has come back since.
    fn forget(&mut self, sink: &str) {
        if self.sinks.get(sink).is_some_and(RunningSink::has_ended) {
            self.sinks.remove(sink);
        }
    }

    /// Tells the tasks to deliver what is left and end, and cuts them short at the deadline.
    pub(super) async fn end(mut self, deadline: Instant) -> Result<(), BridgeError> {
        self.around.stop.cancel();
        let mut first = Ok(());
        loop {
            tokio::select! {
                ended = self.tasks.join_next() => match ended {
                    None => return first,
                    Some(Ok(Ok(_))) => {}
                    Some(ended) => first = first.and(Err(reader_error(ended))),
                },
                () = sleep_until(deadline), if !self.around.cut.is_cancelled() => self.around.cut.cancel(),
            }
        }
    }
}

impl RunningSink {
    /// Whether it was removed and its task is over.
    pub(super) fn has_ended(&self) -> bool {
        self.orders.is_closed()
    }

    /// Whether it takes an order now.
    pub(super) fn takes_orders(&self) -> bool {
        !self.is_removed && self.orders.capacity() > 0
    }
}

/// Why a task that reads the log ended before it was told to.
fn reader_error(ended: Result<Result<ReaderEnd, DispatchError>, JoinError>) -> BridgeError {
    match ended {
        Ok(Err(error)) => error.into(),
        Ok(Ok(_)) => BridgeError::BrokeDown("a dispatcher that ended by itself"),
        Err(_) => BridgeError::BrokeDown("a dispatcher"),
    }
}
