//! The spool as the rest of the bridge sees it: open, append, read, settle, close.
//!
//! A cheap handle. Appending and reading are async and never block a worker thread on the disk:
//! writing is one thread's business, and a read from disk goes to the blocking pool. The handle
//! decides nothing; see the committer for what an answer promises.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};

use super::committer::{Append, Committer};
use super::dir_lock::LockedDir;
use super::failure::SpoolFailure;
use super::noted::Noted;
use super::recovery::{self, Recovered, failed};
use super::shared_log::{AppendGate, Life, SharedLog, View};
use super::tail::Tail;
use super::writer::{QUEUE_MAX, WriterMessage, WriterThread};
use super::{
    AppendError, Appended, Capacity, ReadError, RecordBatch, Recovery, SpoolError, SpoolOptions, Usage,
};
use crate::clock::{Clock, Moment};
use crate::dedup::DuplicateKey;
use crate::dedup::local::LocalWindow;
use crate::dedup::shared::{KeyClaim, SharedWindow};
use crate::event::{Entry, Position};
use crate::telemetry::Metrics;

/// Why nothing can be stored while the disk does not answer in time.
const DISK_HANGS: &str = "disk_hangs";

/// A handle on the log; all of one spool's handles are alike.
///
/// The directory is held until the last handle is dropped.
#[derive(Clone)]
pub struct Spool {
    reader: Arc<SharedLog>,
    queue: mpsc::Sender<WriterMessage>,
    /// Ends when the writer has.
    writing: watch::Receiver<()>,
    shared_window: Option<Arc<SharedWindow>>,
}

impl Spool {
    /// Opens the spool in a directory and recovers what is in it.
    ///
    /// Blocks while it reads every retained segment. Next, tell it every cursor with
    /// [`Spool::resume_after`] and [`Spool::settle`].
    pub fn open(
        held: LockedDir,
        options: SpoolOptions,
        metrics: Arc<Metrics>,
    ) -> Result<(Self, Recovery), SpoolError> {
        let clock = Clock::start();
        let (committer, reader, recovery) = Committer::open(held, options, metrics, clock.now())?;
        let dir = reader.dir.clone();
        let (queue, receiver) = mpsc::channel(QUEUE_MAX);
        let (ends_with_the_writer, writing) = watch::channel(());
        let writer = WriterThread { committer, queue: receiver, shared: Arc::clone(&reader), clock };
        let run = move || {
            writer.run();
            drop(ends_with_the_writer);
        };
        std::thread::Builder::new()
            .name("spool-writer".into())
            .spawn(run)
            .map_err(failed("start the writer for", &dir))?;
        Ok((Self { reader, queue, writing, shared_window: None }, recovery))
    }

    /// The same spool with a duplicate window that it shares with others. Once, and before the first
    /// append.
    pub fn sharing(self, window: SharedWindow) -> Self {
        // Twice it would go on telling the first.
        let _ = self.reader.durable_keys.set(window.durable_keys());
        Self { shared_window: Some(Arc::new(window)), ..self }
    }

    /// Stores the entry, and returns when it is on stable storage, or finds that a copy of it is, in
    /// this spool or in one that shares its duplicate window.
    ///
    /// Dropping the future withdraws nothing that has been queued.
    pub async fn append(
        &self,
        entry: Entry,
        duplicate: Option<DuplicateKey>,
    ) -> Result<Appended, AppendError> {
        self.append_noting(entry, duplicate, |_| {}).await
    }

    /// The same. `note` is told what became of the append, also where the future is dropped behind the
    /// moment from which it cannot be withdrawn. Where nothing is taken any more it is not called.
    pub async fn append_noting(
        &self,
        entry: Entry,
        duplicate: Option<DuplicateKey>,
        note: impl FnOnce(&Result<Appended, AppendError>) + Send + 'static,
    ) -> Result<Appended, AppendError> {
        if self.reader.gate() >= AppendGate::Closing {
            return Err(stopped(&self.reader));
        }
        let (Some(window), Some(key)) = (&self.shared_window, duplicate) else {
            return self.store(entry, duplicate, note).await;
        };
        match window.claim(key).await {
            KeyClaim::Durable => {
                let durable = Ok(Appended::Duplicate);
                note(&durable);
                durable
            }
            KeyClaim::Ours => {
                let window = Arc::clone(window);
                let release = move |stored: &Result<Appended, AppendError>| {
                    if stored.is_err() {
                        window.release(key);
                    }
                    note(stored);
                };
                self.store(entry, duplicate, release).await
            }
            KeyClaim::None => self.store(entry, duplicate, note).await,
        }
    }

    async fn store(
        &self,
        entry: Entry,
        duplicate: Option<DuplicateKey>,
        note: impl FnOnce(&Result<Appended, AppendError>) + Send + 'static,
    ) -> Result<Appended, AppendError> {
        let (answer, answered) = oneshot::channel();
        let append = Append { entry, duplicate, answer };
        if self.queue.send(WriterMessage::Append(append)).await.is_err() {
            let stopped = Err(stopped(&self.reader));
            note(&stopped);
            return stopped;
        }
        let reader = Arc::clone(&self.reader);
        Noted::new(answered, move || Err(stopped(&reader)), note).await
    }

    /// Whether an append has a chance, or why it has none. Cheap: ask before a body is read.
    pub fn accepting(&self) -> Result<(), &'static str> {
        match self.reader.gate() {
            AppendGate::Open if self.outstanding().is_some_and(|out| out > self.answer_within()) => {
                Err(DISK_HANGS)
            }
            AppendGate::Open => Ok(()),
            shut => Err(shut.reason()),
        }
    }

    /// How long what the disk was last asked for has been out, if it is.
    pub fn outstanding(&self) -> Option<Duration> {
        self.reader.outstanding.elapsed()
    }

    /// How long the disk may take to answer.
    pub fn answer_within(&self) -> Duration {
        self.reader.options.answer_within
    }

    /// What may still be written once everything that may has given way.
    pub fn capacity(&self) -> Capacity {
        self.reader.capacity()
    }

    /// The newest durable position.
    pub fn head(&self) -> Position {
        self.reader.head()
    }

    /// The oldest position that is kept; the next one to be given while nothing is.
    pub fn first(&self) -> Position {
        self.reader.first()
    }

    /// The records behind `after`, in order: at most `records_max`, and about `bytes_max` of encoded
    /// bytes, but at least one. Waits until something durable is behind `after`. Positions that
    /// cannot be read are passed over and counted in the batch, so a batch may be empty of entries.
    pub async fn read(
        &self,
        after: Position,
        records_max: usize,
        bytes_max: usize,
    ) -> Result<RecordBatch, ReadError> {
        self.reader.read(after, records_max, bytes_max).await
    }

    /// As [`Spool::read`], for who is after what is [not for every sink](Entry::is_apart): waits for the
    /// next of it, and passes over everything else without decoding it.
    pub async fn read_single_sink(
        &self,
        after: Position,
        records_max: usize,
        bytes_max: usize,
    ) -> Result<RecordBatch, ReadError> {
        self.reader.read_apart(after, records_max, bytes_max).await
    }

    /// How far that reader gets without reading: to the head while it has nothing to wait for.
    pub fn pass_shared_records(&self, after: Position) -> Position {
        self.reader.pass_shared_records(after)
    }

    /// Tells that every cursor is durably at or past this position: whole segments up to it may go
    /// once the retention is past, or when space runs short. Before the first call none may.
    pub fn release(&self, through: Position) {
        self.reader.release(through);
    }

    /// Tells that what is up to this position may give way when space runs short, settled or not: who
    /// has not got it does without.
    pub fn allow_pruning_in_need(&self, through: Position) {
        self.reader.allow_pruning_in_need(through);
    }

    /// Tells how far a cursor had got. Call it for every cursor after opening and before the first
    /// append: if the newest segments were lost, their positions must not be given to other events,
    /// which that cursor would then pass over.
    pub fn resume_after(&self, cursor: Position) {
        self.reader.resume_after(cursor);
    }

    /// Tells how many bytes the owner's other files in the directory take; they count as the spool's.
    pub fn set_other_bytes(&self, bytes: u64) {
        self.reader.set_other_bytes(bytes);
    }

    /// What the spool takes up.
    pub fn usage(&self) -> Usage {
        self.reader.usage()
    }

    /// Resolves when the disk can no longer be trusted, with the reason; never before, and never
    /// after an orderly close.
    pub async fn failed(&self) -> SpoolFailure {
        let mut life = self.reader.life.subscribe();
        loop {
            if let Life::Failed(failure) = &*life.borrow_and_update() {
                return failure.clone();
            }
            if life.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Looks whether the files that hold what was acknowledged are still what they were. Blocks on the
    /// disk.
    ///
    /// # Errors
    /// What is the matter, what was done about it and what is to be done.
    pub fn verify_files(&self) -> Result<(), SpoolFailure> {
        match &*self.reader.life.borrow() {
            Life::Failed(failure) => Err(failure.clone()),
            Life::Running | Life::Closed => self.reader.verify_all_files(),
        }
    }

    /// Takes nothing more, answers what was queued, and stops the writer. Reading goes on as far as
    /// there is something to read.
    pub async fn close(&self) {
        self.reader.set_gate(AppendGate::Closing);
        // An error means that the writer has already stopped.
        let _ = self.queue.send(WriterMessage::Close).await;
        let mut writing = self.writing.clone();
        while writing.changed().await.is_ok() {}
    }
}

/// Why nothing is taken any more.
fn stopped(reader: &SharedLog) -> AppendError {
    match &*reader.life.borrow() {
        Life::Failed(_) => AppendError::Failed,
        Life::Running | Life::Closed => AppendError::Full { reason: AppendGate::Closing.reason() },
    }
}

impl Committer {
    /// Opens a spool without a thread: the caller commits, ticks and tells the time. What
    /// [`Spool::open`] is made of, and what a simulation drives.
    pub fn open(
        held: LockedDir,
        options: SpoolOptions,
        metrics: Arc<Metrics>,
        now: Moment,
    ) -> Result<(Self, Arc<SharedLog>, Recovery), SpoolError> {
        let begun = Instant::now();
        let LockedDir { dir, dir_id, disk, lock } = held;
        let window = LocalWindow::new(options.window, options.window_events_max);
        let recovered = recovery::recover(&*disk, &dir, window, now)?;
        let Recovered { catalogue, window, next, leftover, mut report } = recovered;
        report.seconds = begun.elapsed().as_secs_f64();
        metrics.spool_torn.inc_by(report.torn_tails);
        metrics.spool_limit.set(i64::try_from(options.bytes_max).unwrap_or(i64::MAX));

        let view = View { catalogue, tail: Tail::new(options.tail_bytes_max), next };
        let (corrupt, damaged) = (metrics.spool_corrupt.clone(), report.damaged.len() as u64);
        let reader = Arc::new(SharedLog::new(disk, (dir, dir_id), options, metrics, view, lock));
        let lost: u64 = report.missing.iter().map(|range| reader.lost.add(range, 0)).sum();
        corrupt.inc_by(lost.max(damaged));
        let mut committer = Self::new(Arc::clone(&reader), window, leftover);
        committer.tick(now);
        Ok((committer, reader, report))
    }
}
