//! The loop between the spool and a sink, one per sink: read, route, publish until settled, commit.
//!
//! A dispatcher reads at its own pace from its own cursor and knows nothing about other sinks. It
//! keeps a few publications in flight. A record that the sink accepts or rejects is settled, and the
//! cursor is committed at the end of the settled prefix, together with the dead letters that it passes. The
//! dispatcher never gives up a record, and never publishes a later record of a topic before one that
//! has to be tried again (the rules are in [`unsettled`]).

mod answers;
pub mod cancelled;
pub mod certainty;
mod checkpoint;
mod gauges;
pub mod leave;
mod linger;
pub mod low_watermark;
mod maybe_duplicates;
pub mod pause;
pub mod quarantine;
pub mod resume;
mod routes;
pub mod rules;
mod settle;
mod steps;
mod stopping;
mod traced;
mod unreadable;
pub mod unsettled;

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::OptionFuture;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::ack::Settlements;
use crate::event::{Entry, Event, Position, Record};
use crate::health::{Health, Heart};
use crate::sink::{Outcome, Publication, Sink, SinkOptions};
use crate::spool::{EntryBatch, ReadError, Spool};
use crate::state::State;
use crate::telemetry::Metrics;
use crate::timeline::TimelineWriter;
use cancelled::CancelledReplays;
use checkpoint::Checkpoint;
pub use checkpoint::DispatchError;
use gauges::Gauges;
use leave::LeaveNotice;
use linger::{Came, Linger};
use low_watermark::CursorHandle;
use maybe_duplicates::MaybeDuplicates;
use pause::PauseSwitch;
use routes::Routes;
use rules::{Judge, RuleBook};
use steps::SinkSteps;
use traced::{PublicationTrace, PublicationTraces};
use unsettled::{SendPermission, Unsettled, UnsettledBounds};

/// Most records published beyond the committed cursor, which bounds the duplicates after a crash, and
/// most memory for unsettled records.
pub const BOUNDS: UnsettledBounds = UnsettledBounds { records_max: 8192, bytes_max: 16 << 20 };
/// Most records in one publication, which is also the size of a probe of a held topic.
const BATCH_RECORDS_MAX: usize = 1024;
/// Most bytes in one read from the spool.
const BATCH_BYTES_MAX: usize = 512 << 10;
/// Most publications in flight, so that the sink is busy while outcomes travel back. Eight small ones
/// drain a backlog faster than four of twice the size, in the same memory.
const PUBLICATIONS_MAX: usize = 8;
/// Longest wait of a settled record for its commit. A commit costs one fsync; at this pace commits do
/// not let `unsettled` fill up below 80,000 records/s.
const COMMIT_EVERY: Duration = Duration::from_millis(50);
/// How long a stopping dispatcher waits for a sink that settles no record, and for space to commit.
const STALL_AT_STOP: Duration = Duration::from_secs(3);
/// The pause after a read that failed, mostly for lack of file descriptors or memory.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How often the loop reports lag and age and gives a sign of life.
const REPORT_EVERY: Duration = Duration::from_millis(500);
/// How long the loop can give no sign of life before the process counts as hung. No wait for a sink
/// or a disk blocks the loop.
const HUNG_AFTER: Duration = Duration::from_secs(60);

/// The state of one sink's dispatcher.
pub struct Dispatcher {
    name: String,
    spool: Spool,
    sink: Arc<dyn Sink>,
    judge: Judge,
    routes: Routes,
    gauges: Gauges,
    steps: Arc<SinkSteps>,
    traces: PublicationTraces,
    heart: Arc<Heart>,
    checkpoint: Checkpoint,
    unsettled: Unsettled,
    linger: Linger,
    publications: VecDeque<PublishingBatch>,
    /// Number of publications handed to the sink, and of those that are resolved.
    published: u64,
    resolved: u64,
    /// Number of records that the sink settled in resolved publications, and the number in all
    /// publications when [`Dispatcher::has_settled_more`] was last called.
    settled: u64,
    settled_in_all: u64,
    /// Since when the sink has settled no record although it had some.
    quiet_since: Instant,
    /// Set when the log is closed and read to its end.
    exhausted: bool,
    maybe_duplicates: MaybeDuplicates,
    /// Says whether the sink is paused.
    pausing: PauseSwitch,
    /// Says how it leaves, if the bridge goes on.
    leave: LeaveNotice,
    /// The replays whose copies it passes over.
    cancelled: CancelledReplays,
    /// Tells the deliveries that wait for the sink, if answers wait for it.
    settlements: Option<Settlements>,
    /// Position up to which events for this sink only are dead letters already.
    buried: Position,
    started: Instant,
}

/// A reader of the log, with its cursor.
pub struct LogReader {
    /// Its handle on the cursors that decide which segments can be removed.
    pub share: CursorHandle,
    /// The log.
    pub spool: Spool,
    /// Stores its cursor.
    pub state: State,
}

/// A batch that the sink has and has not reported in full.
struct PublishingBatch {
    records: Vec<Arc<Record>>,
    publication: Publication,
    /// How many of its records were settled when those that wait were last told of it.
    told: usize,
    /// Its span, if it has an event that is sampled.
    trace: Option<Box<PublicationTrace>>,
}

type Reading = Pin<Box<dyn Future<Output = Result<EntryBatch, ReadError>> + Send>>;

impl Dispatcher {
    /// A dispatcher that continues at the reader's cursor, and judges events by these rules. Events for its
    /// sink only are dead letters up to `buried`.
    pub fn new(
        config: &SinkOptions,
        rules: Arc<RuleBook>,
        sink: Arc<dyn Sink>,
        reader: LogReader,
        buried: Position,
        metrics: &Metrics,
        health: &Health,
    ) -> Self {
        let LogReader { share, spool, state } = reader;
        let mut judge = Judge::new(rules, &config.name);
        Self {
            name: config.name.clone(),
            sink,
            routes: Routes::new(&config.name, judge.topic().clone(), metrics),
            judge,
            gauges: Gauges::new(&config.name, metrics, health.add_sink(&config.name)),
            steps: Arc::new(SinkSteps::new(&config.name, TimelineWriter::default())),
            traces: PublicationTraces::new(config),
            heart: health.add_heart(&format!("the dispatcher of {}", config.name), HUNG_AFTER),
            unsettled: Unsettled::new(share.cursor(), BOUNDS),
            checkpoint: Checkpoint::new(&config.name, state, share, COMMIT_EVERY),
            linger: Linger::new(config.linger),
            publications: VecDeque::with_capacity(PUBLICATIONS_MAX),
            published: 0,
            resolved: 0,
            settled: 0,
            settled_in_all: 0,
            quiet_since: Instant::now(),
            exhausted: false,
            maybe_duplicates: MaybeDuplicates::new(BOUNDS.records_max, spool.head()),
            pausing: PauseSwitch::default(),
            leave: LeaveNotice::default(),
            cancelled: CancelledReplays::default(),
            settlements: None,
            buried,
            started: Instant::now(),
            spool,
        }
    }

    /// The same dispatcher, which notes in this timeline what becomes of each record.
    pub fn noting(self, timeline: TimelineWriter) -> Self {
        Self { steps: Arc::new(SinkSteps::new(&self.name, timeline)), ..self }
    }

    /// The same dispatcher, which publishes nothing while this says that its sink is paused.
    pub fn pausing(self, pausing: PauseSwitch) -> Self {
        Self { pausing, ..self }
    }

    /// Runs until stopped. Then delivers the rest, once the log is closed or as it is told to leave, until
    /// `cut` is cancelled or the sink stalls, and commits.
    ///
    /// # Errors
    /// When the cursor cannot be committed. A failing sink never ends a dispatcher, and neither does
    /// a full disk before the stop.
    pub async fn run(mut self, stop: CancellationToken, cut: CancellationToken) -> Result<(), DispatchError> {
        let mut reading: Option<Reading> = None;
        let mut report = tokio::time::interval(REPORT_EVERY);
        let mut stopped_at: Option<Instant> = None;
        loop {
            let paused = self.pausing.is_paused();
            if paused {
                // What was not taken in is read again.
                reading = None;
            } else if reading.is_none() {
                // A dispatcher that is to end waits for nothing more to come.
                let wait = if stopped_at.is_none() { self.lingering() } else { Duration::ZERO };
                reading = self.read(wait);
            }
            let hurry = self.unsettled.left() < BOUNDS.records_max / 2;
            let commit_at = self.checkpoint.begin_if_due(self.unsettled.cursor(), hurry);
            if stopped_at.is_some() && self.has_nothing_to_do(paused) {
                return self.finish(&cut).await;
            }
            let give_up_at = stopped_at.map(|at| at.max(self.quiet_since) + STALL_AT_STOP);
            let retry_at = self.unsettled.next_retry(self.resolved).filter(|_| !paused);
            let retry_at = retry_at.map(|at| self.started + at);
            tokio::select! {
                outcomes = resolved(&mut self.publications), if !self.publications.is_empty() => {
                    self.resolve(outcomes);
                }
                batch = async { reading.as_mut().expect("guarded").await }, if reading.is_some() => {
                    reading = None;
                    match batch {
                        Ok(batch) => self.take_in(batch),
                        Err(ReadError::Stopped) => self.exhausted = true,
                        Err(error @ ReadError::Io { .. }) => {
                            self.gauges.unreadable.failed(&error);
                            reading = self.read(READ_AGAIN_AFTER);
                        }
                    }
                }
                kept = self.checkpoint.done() => {
                    kept?.into_iter().for_each(|cursor| self.unsettled.commit(cursor));
                }
                Some(()) = OptionFuture::from(retry_at.map(sleep_until)) => self.publish_due(),
                Some(()) = OptionFuture::from(commit_at.map(sleep_until)) => {}
                _ = report.tick() => self.report(reading.is_some()),
                // A sink that was paused has confirmed nothing, which says nothing about it.
                Some(()) = self.pausing.changed() => self.quiet_since = Instant::now(),
                () = stop.cancelled(), if stopped_at.is_none() => {
                    stopped_at = Some(Instant::now());
                    self.end_reading(&mut reading);
                }
                Some(()) = OptionFuture::from(give_up_at.map(sleep_until)) => {
                    if !self.has_settled_more() {
                        return self.finish(&cut).await;
                    }
                }
                () = cut.cancelled() => return self.finish(&cut).await,
            }
        }
    }

    /// Whether a dispatcher that is to end can: everything is settled, or its sink is paused and has nothing.
    fn has_nothing_to_do(&self, paused: bool) -> bool {
        ((self.exhausted || self.has_read_its_last()) && self.unsettled.is_settled())
            || (paused && self.publications.is_empty())
    }

    /// The wait before the next read: none for a dispatcher that is behind the log.
    fn lingering(&self) -> Duration {
        let caught_up = self.unsettled.read() >= self.spool.head();
        if caught_up { self.linger.pause(self.started.elapsed()) } else { Duration::ZERO }
    }

    /// Starts to read the next records, after a wait, if more can be unsettled.
    fn read(&self, wait: Duration) -> Option<Reading> {
        let records_max = self.unsettled.left().min(BATCH_RECORDS_MAX);
        let busy = self.publications.len() >= PUBLICATIONS_MAX;
        // A dead letter leaves `unsettled` before it leaves the memory.
        let heavy = self.checkpoint.dead_bytes() >= BOUNDS.bytes_max;
        if self.exhausted || self.has_read_its_last() || records_max == 0 || busy || heavy {
            return None;
        }
        let spool = self.spool.clone();
        let after = self.unsettled.read();
        Some(Box::pin(async move {
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
            spool.read(after, records_max, BATCH_BYTES_MAX).await
        }))
    }

    /// Routes a batch from the log and publishes the records for this sink.
    fn take_in(&mut self, batch: EntryBatch) {
        let Some(batch) = self.up_to_its_last(batch) else { return };
        self.gauges.unreadable.succeeded();
        self.gauges.passed(self.unsettled.read(), batch.damaged);
        if batch.damaged > 0 {
            self.note_missed(batch.through);
        }
        let (entries, read_bytes) = (batch.entries.len(), batch.body_bytes());
        self.routes.fill_in(self.judge.topic());
        let mut records = Vec::new();
        let mut taken_bytes = 0;
        for (position, entry) in batch.entries {
            if let Some(event) = self.takes(position, entry) {
                taken_bytes += event.body.len();
                records.push(Record { position, topic: self.routes.topic(&event), event });
            }
        }
        let came = Came { entries, bytes: read_bytes, records: records.len() };
        self.linger.read(came, self.started.elapsed());
        // Records share the memory of the chunk they were read in: a few records would keep all of
        // it.
        let sparse = taken_bytes < read_bytes / 2;
        let mut open = Vec::with_capacity(records.len());
        for mut record in records {
            if sparse {
                record.event = Arc::new(record.event.detached());
            }
            if self.maybe_duplicates.take(record.position) {
                self.gauges.possible_duplicates.inc();
            }
            let record = Arc::new(record);
            if self.unsettled.admit(&record) == SendPermission::Open {
                open.push(record);
            }
        }
        self.unsettled.read_through(batch.through);
        self.publish(open);
        self.tell();
    }

    /// The event, if it is for this sink: selected, or redriven or replayed for this sink only, unless the
    /// replay was cancelled.
    fn takes(&mut self, position: Position, entry: Entry) -> Option<Arc<Event>> {
        match entry {
            Entry::Quarantined(_) => None,
            Entry::Event(event) => match &event.only_sink {
                Some(sink) => {
                    let is_for_it = **sink == *self.name && position > self.buried;
                    (is_for_it && !self.cancelled.has_sent(&event)).then_some(event)
                }
                None => self.judge.takes(&event).then_some(event),
            },
        }
    }

    fn publish(&mut self, records: Vec<Arc<Record>>) {
        if records.is_empty() {
            return;
        }
        if self.is_idle() {
            self.quiet_since = Instant::now();
        }
        self.published += 1;
        records.iter().for_each(|record| self.maybe_duplicates.publish(record.position));
        let trace = self.traces.begin(&records);
        let publication = self.sink.publish(records.clone());
        self.publications.push_back(PublishingBatch { records, publication, told: 0, trace });
    }

    /// Whether the sink has no record to settle: what is held waits for nothing that a paused sink could do.
    fn is_idle(&self) -> bool {
        let waits = !self.pausing.is_paused() && self.unsettled.held().next().is_some();
        self.publications.is_empty() && !waits
    }

    /// Publishes the records of held topics that are due.
    fn publish_due(&mut self) {
        self.pass_over_cancelled();
        let records = self.unsettled.due(self.started.elapsed(), self.resolved, BATCH_RECORDS_MAX);
        self.unsettled.published_again(&records, self.published + 1);
        self.publish(records);
    }

    /// Updates metrics and health. A sink's health can change without an outcome: it degrades when it
    /// reports no outcome, and is healthy again when nothing is left to try again.
    fn report(&mut self, reads: bool) {
        self.heart.beat();
        if !reads {
            self.gauges.given_up(self.spool.first(), self.unsettled.read());
        }
        self.tell_unresolved();
        self.note_trouble();
        self.gauges.effort(&self.sink.effort());
        let in_flight = self.publications.iter().map(|out| out.records.len()).sum();
        self.gauges.report(&self.unsettled, self.spool.head(), in_flight, self.started.elapsed());
    }

    fn note_trouble(&mut self) {
        self.has_settled_more();
        let quiet = if self.is_idle() { Duration::ZERO } else { self.quiet_since.elapsed() };
        self.gauges.trouble(&self.unsettled, quiet, &*self.sink);
    }
}

/// Waits for the oldest publication; the later ones proceed meanwhile.
async fn resolved(publications: &mut VecDeque<PublishingBatch>) -> Vec<Outcome> {
    match publications.front_mut() {
        Some(oldest) => (&mut oldest.publication).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
