//! The life of one sink: its dispatcher, and those that follow it when the sink is changed.
//!
//! A changed sink keeps its place among the cursors, so nothing of the log is removed in between: its
//! dispatcher reads nothing more, settles and commits what is under way, and the next one begins behind that.
//! Two sinks cannot have one directory of files, so where the next one has the directory of one that ends, it
//! is made once that one has let go of it; until then its events wait in the spool.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::BridgeError;
use super::sinks::make_sink;
use crate::ack::AwaitedSinks;
use crate::aws::Aws;
use crate::dispatch::leave::LeaveNotice;
use crate::dispatch::low_watermark::{CursorHandle, Cursors, ReaderKind};
use crate::dispatch::pause::Pausing;
use crate::dispatch::quarantine::{ScopeChange, ScopeChanges};
use crate::dispatch::resume::RemovedSink;
use crate::dispatch::rules::RuleBook;
use crate::dispatch::{DispatchError, Dispatcher, LogReader};
use crate::event::Position;
use crate::health::Health;
use crate::replay::{ReplaySink, Replays};
use crate::sink::{Cause, Sink, SinkOptions};
use crate::spool::Spool;
use crate::state::{State, StateError};
use crate::telemetry::{self, Episode, Metrics, Tracer};
use crate::timeline::TimelineWriter;

/// The pause before a sink is tried to be made again.
const MADE_AGAIN_AFTER: Duration = Duration::from_millis(250);

/// What all sinks of a bridge work with.
#[derive(Clone)]
pub(super) struct SinkNeeds {
    pub(super) spool: Spool,
    pub(super) state: State,
    pub(super) metrics: Arc<Metrics>,
    pub(super) health: Arc<Health>,
    pub(super) timeline: TimelineWriter,
    /// Traces publications, if traces are on.
    pub(super) tracer: Option<Tracer>,
    /// What each configuration lets each sink take.
    pub(super) rules: Arc<RuleBook>,
    pub(super) aws: Aws,
    pub(super) awaited: AwaitedSinks,
    pub(super) cursors: Cursors,
    pub(super) pausing: Arc<Pausing>,
    pub(super) replays: Replays,
    pub(super) quarantine: ScopeChanges,
    /// Tells every dispatcher to deliver what is left, then end.
    pub(super) stop: CancellationToken,
    /// Tells every dispatcher to end at once.
    pub(super) cut: CancellationToken,
}

/// A sink that can be put to use.
pub(super) struct PreparedSink {
    pub(super) options: SinkOptions,
    pub(super) output: PreparedOutput,
}

/// What a dispatcher is to publish to.
pub(super) enum PreparedOutput {
    /// A sink that was made.
    Made(Arc<dyn Sink>),
    /// One that can be made once another sink has let go of its directory.
    Later,
}

/// What becomes of a sink, and until when the dispatcher that it has can take.
pub(super) struct SinkOrder {
    pub(super) change: SinkChange,
    pub(super) deadline: Instant,
}

/// What becomes of a sink.
pub(super) enum SinkChange {
    /// It goes on like this.
    Replace(Box<PreparedSink>),
    /// It ends, as it was given notice.
    Remove {
        /// It delivers what is in the log up to here, as far as it gets.
        through: Position,
        /// Stops its replays.
        replays: JoinHandle<()>,
    },
}

/// How a task that reads the log has ended.
#[derive(Debug)]
pub(super) enum ReaderEnd {
    /// With the bridge.
    Stopped,
    /// With its sink.
    Removed(String),
}

/// One sink.
pub(super) struct SinkLife {
    pub(super) options: SinkOptions,
    pub(super) share: CursorHandle,
    /// Position up to which events for this sink only are dead letters.
    pub(super) buried: Position,
    pub(super) around: SinkNeeds,
    /// Tells its dispatchers how to leave.
    pub(super) leave: LeaveNotice,
    pub(super) orders: mpsc::Receiver<SinkOrder>,
}

/// What the log keeps for a sink.
pub(super) fn reader_kind(options: &SinkOptions) -> ReaderKind {
    if options.detaches { ReaderKind::Detaching } else { ReaderKind::Holding }
}

impl SinkLife {
    /// Runs until the sink is removed or the bridge stops.
    ///
    /// # Errors
    /// When a cursor cannot be committed, for another reason than a full disk.
    pub(super) async fn run(mut self, mut output: PreparedOutput) -> Result<ReaderEnd, DispatchError> {
        loop {
            let order = match output {
                PreparedOutput::Made(sink) => self.dispatch(sink).await?,
                PreparedOutput::Later => match self.make().await {
                    Ok(sink) => self.dispatch(sink).await?,
                    Err(order) => order,
                },
            };
            match order.map(|order| order.change) {
                None => return Ok(ReaderEnd::Stopped),
                Some(SinkChange::Replace(next)) => output = self.follow(*next),
                Some(SinkChange::Remove { through, replays }) => {
                    let name = self.options.name.clone();
                    self.remove(through, replays).await;
                    return Ok(ReaderEnd::Removed(name));
                }
            }
        }
    }

    /// Runs a dispatcher until it is ordered to end. `None` if it has ended with the bridge.
    async fn dispatch(&mut self, sink: Arc<dyn Sink>) -> Result<Option<SinkOrder>, DispatchError> {
        self.leave = self.leave.of_the_next();
        let (stop, cut) = (self.around.stop.child_token(), self.around.cut.child_token());
        let dispatcher = self.dispatcher(sink);
        let mut running = Box::pin(dispatcher.run(stop.clone(), cut.clone()));
        let order = tokio::select! {
            ended = &mut running => return ended.map(|()| None),
            Some(order) = self.orders.recv() => order,
        };
        if let SinkChange::Replace(_) = &order.change {
            self.leave.replace();
        }
        stop.cancel();
        let ended = tokio::select! {
            ended = &mut running => ended,
            () = sleep_until(order.deadline) => {
                cut.cancel();
                running.await
            }
        };
        match ended {
            Err(error @ DispatchError::Commit { source: StateError::NoRoom { .. }, .. }) => {
                let sink = &*self.options.name;
                tracing::warn!(sink, %error, "the cursor of a sink that ends is not stored");
            }
            ended => ended?,
        }
        Ok(Some(order))
    }

    fn dispatcher(&self, sink: Arc<dyn Sink>) -> Dispatcher {
        let SinkNeeds { spool, state, metrics, health, timeline, .. } = &self.around;
        let (name, rules) = (&self.options.name, Arc::clone(&self.around.rules));
        let reader = LogReader { share: self.share.clone(), spool: spool.clone(), state: state.clone() };
        let dispatcher = Dispatcher::new(&self.options, rules, sink, reader, self.buried, metrics, health);
        let dispatcher = dispatcher.traced_by(self.around.tracer.clone());
        let dispatcher = dispatcher.awaited(self.around.awaited.get(name)).noting(timeline.clone());
        let dispatcher = dispatcher.pausing(self.around.pausing.switch(name)).leaving(self.leave.clone());
        dispatcher.passing_over(self.around.replays.cancelled())
    }

    /// Makes the sink. That is tried again until it is done, or until an order or the bridge's stop comes
    /// first.
    async fn make(&mut self) -> Result<Arc<dyn Sink>, Option<SinkOrder>> {
        let mut trouble = Episode::default();
        loop {
            match make_sink(&self.options, &self.around.aws).await {
                Ok(sink) => return Ok(sink),
                Err(error) => self.say_that_it_waits(&error, &mut trouble),
            }
            tokio::select! {
                () = sleep(MADE_AGAIN_AFTER) => {}
                Some(order) = self.orders.recv() => return Err(Some(order)),
                () = self.around.stop.cancelled() => return Err(None),
            }
        }
    }

    /// The dispatcher that comes next takes it back.
    fn say_that_it_waits(&self, error: &BridgeError, trouble: &mut Episode<String>) {
        let name = &self.options.name;
        let detail = error.source().map_or_else(|| error.to_string(), ToString::to_string);
        let word = Cause::IO.word();
        let sink = telemetry::Sink { sink: name.clone() };
        self.around.metrics.sink_degraded.get_or_create(&sink).set(1);
        self.around.health.add_sink(name).degraded(format!("{word}: {detail}"));
        if trouble.happens(detail.clone(), std::time::Instant::now()).is_some() {
            let what = "the sink waits for its directory, and its events in the spool: it is tried again";
            tracing::warn!(sink = name, detail, "{what}");
        }
    }

    /// Becomes what the sink is from now on.
    fn follow(&mut self, next: PreparedSink) -> PreparedOutput {
        self.options = next.options;
        self.share.keep_as(reader_kind(&self.options));
        self.around.replays.select(&self.options.name, self.options.selection.clone());
        next.output
    }

    /// The sink, as replays know it.
    pub(super) fn replay_sink(&self) -> ReplaySink {
        ReplaySink {
            name: self.options.name.clone(),
            selection: self.options.selection.clone(),
            cursor: self.share.clone(),
            status: self.around.health.add_sink(&self.options.name),
        }
    }

    /// Hands what the sink leaves to the quarantine, and takes the sink out everywhere.
    async fn remove(self, through: Position, replays: JoinHandle<()>) {
        let Self { options, share, buried, around, .. } = self;
        let (name, cursor) = (options.name, share.cursor());
        if let Err(broken) = replays.await {
            std::panic::resume_unwind(broken.into_panic());
        }
        // It begins where the sink ends, before the log can remove anything.
        let removed = RemovedSink { sink: name.clone(), through: buried.max(cursor) };
        around.quarantine.tell(ScopeChange::Removed(removed)).await;
        share.leave();
        around.pausing.remove(&name);
        around.health.remove_sink(&name);
        around.metrics.remove_sink(&name);
        match through.0.saturating_sub(cursor.0) {
            0 => tracing::info!(
                sink = name,
                cursor = cursor.0,
                "the sink was removed from the configuration: it has delivered what was accepted before"
            ),
            left => tracing::warn!(
                sink = name,
                cursor = cursor.0,
                left,
                "the sink was removed from the configuration with `left` undelivered records: configure it \
                 again under this name to deliver them"
            ),
        }
    }
}
