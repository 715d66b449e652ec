//! The spool as the rest of the bridge sees it: open, append, read, release, close.
//!
//! [`Spool`] is a handle that is cheap to clone. Appending and reading are async and never block a worker
//! thread on the disk: one thread writes, and a read from disk runs in the blocking pool. The handle
//! decides nothing; see the committer for what an answer promises.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};

use super::committer::{Append, Committer};
use super::dir_lock::LockedDir;
use super::failed;
use super::failure::SpoolFailure;
use super::noted::Noted;
use super::recovery::{self, Recovered};
use super::shared_log::{AppendGate, Life, SharedLog, View};
use super::tail::Tail;
use super::writer::{QUEUE_MAX, WriterMessage, WriterThread};
use super::{
    AppendError, Appended, Capacity, EntryBatch, ReadError, Recovery, SpoolError, SpoolOptions, Usage,
};
use crate::clock::{Clock, Moment};
use crate::dedup::DuplicateKey;
use crate::dedup::local::LocalWindow;
use crate::dedup::shared::{KeyClaim, SharedWindow};
use crate::event::{Entry, Position};
use crate::telemetry::Metrics;

/// The reason for refusing appends while the disk has not answered for longer than `answer_within`.
const DISK_HANGS: &str = "disk_hangs";

/// A handle on the log; all handles of one spool are alike.
///
/// The directory stays locked until the last handle is dropped.
#[derive(Clone)]
pub struct Spool {
    shared: Arc<SharedLog>,
    queue: mpsc::Sender<WriterMessage>,
    /// Closed when the writer thread has ended.
    writing: watch::Receiver<()>,
    shared_window: Option<Arc<SharedWindow>>,
}

impl Spool {
    /// Opens the spool in a directory and recovers what is in it.
    ///
    /// Blocks while it reads every retained segment. After that, call [`Spool::resume_after`] with every
    /// cursor, and [`Spool::release`] with the lowest.
    pub fn open(
        locked: LockedDir,
        options: SpoolOptions,
        metrics: Arc<Metrics>,
    ) -> Result<(Self, Recovery), SpoolError> {
        let clock = Clock::start();
        let (committer, shared, recovery) = Committer::open(locked, options, metrics, clock.now())?;
        let dir = shared.dir.clone();
        let (queue, receiver) = mpsc::channel(QUEUE_MAX);
        let (ends_with_the_writer, writing) = watch::channel(());
        let writer = WriterThread { committer, queue: receiver, shared: Arc::clone(&shared), clock };
        let run = move || {
            writer.run();
            drop(ends_with_the_writer);
        };
        std::thread::Builder::new()
            .name("spool-writer".into())
            .spawn(run)
            .map_err(failed("start the writer for", &dir))?;
        Ok((Self { shared, queue, writing, shared_window: None }, recovery))
    }

    /// The same spool with a duplicate window that it shares with other replicas. Call it once, and before
    /// the first append.
    pub fn sharing(self, window: SharedWindow) -> Self {
        // A second call is ignored.
        let _ = self.shared.durable_keys.set(window.durable_keys());
        Self { shared_window: Some(Arc::new(window)), ..self }
    }

    /// Stores the entry, and returns when it is on stable storage. If a copy of it already is, in this spool
    /// or in one that shares its duplicate window, nothing is stored.
    ///
    /// Dropping the future does not withdraw an append that has been queued.
    pub async fn append(
        &self,
        entry: Entry,
        duplicate: Option<DuplicateKey>,
    ) -> Result<Appended, AppendError> {
        self.append_noting(entry, duplicate, |_| {}).await
    }

    /// As [`Spool::append`]. `note` is called with what became of the append, also if the future is dropped
    /// after the append was queued. It is not called if the spool was closed or has failed before.
    pub async fn append_noting(
        &self,
        entry: Entry,
        duplicate: Option<DuplicateKey>,
        note: impl FnOnce(&Result<Appended, AppendError>) + Send + 'static,
    ) -> Result<Appended, AppendError> {
        if self.shared.gate() >= AppendGate::Closing {
            return Err(stopped(&self.shared));
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
            let stopped = Err(stopped(&self.shared));
            note(&stopped);
            return stopped;
        }
        let shared = Arc::clone(&self.shared);
        Noted::new(answered, move || Err(stopped(&shared)), note).await
    }

    /// Whether an append has a chance, or why it has none. Cheap: ask before a body is read.
    pub fn accepting(&self) -> Result<(), &'static str> {
        match self.shared.gate() {
            AppendGate::Open if self.outstanding().is_some_and(|out| out > self.answer_within()) => {
                Err(DISK_HANGS)
            }
            AppendGate::Open => Ok(()),
            shut => Err(shut.reason()),
        }
    }

    /// How long the writer has been waiting for the disk; `None` while it is not.
    pub fn outstanding(&self) -> Option<Duration> {
        self.shared.outstanding.elapsed()
    }

    /// How long the disk can take to answer before appends are refused.
    pub fn answer_within(&self) -> Duration {
        self.shared.options.answer_within
    }

    /// What can still be written, counting everything that can be pruned for it.
    pub fn capacity(&self) -> Capacity {
        self.shared.capacity()
    }

    /// The newest durable position.
    pub fn head(&self) -> Position {
        self.shared.head()
    }

    /// The oldest position that is kept; while the log is empty, the position that the next entry gets.
    pub fn first(&self) -> Position {
        self.shared.first()
    }

    /// The entries behind `after`, in order: at most `entries_max`, and about `bytes_max` of encoded
    /// bytes, but at least one. Waits until something durable is behind `after`. Positions that
    /// cannot be read are passed over and counted in the batch, so a batch can be without entries.
    pub async fn read(
        &self,
        after: Position,
        entries_max: usize,
        bytes_max: usize,
    ) -> Result<EntryBatch, ReadError> {
        self.shared.read(after, entries_max, bytes_max).await
    }

    /// As [`Spool::read`], for a reader of [single-sink entries](Entry::is_single_sink): waits for the next
    /// one, and passes over all other entries without decoding them.
    pub async fn read_single_sink(
        &self,
        after: Position,
        entries_max: usize,
        bytes_max: usize,
    ) -> Result<EntryBatch, ReadError> {
        self.shared.read_single_sink(after, entries_max, bytes_max).await
    }

    /// How far a reader of single-sink entries at `after` gets without reading: to the head if there is no
    /// single-sink entry behind `after`, else nowhere.
    pub fn pass_shared_entries(&self, after: Position) -> Position {
        self.shared.pass_shared_entries(after)
    }

    /// Releases the log up to this position, which every cursor has durably reached: whole segments up to it
    /// are removed once `retain` is over, or when space runs short. Before the first call none is.
    pub fn release(&self, through: Position) {
        self.shared.release(through);
    }

    /// Lets segments up to this position be pruned when space runs short, released or not: a sink that has
    /// not read them yet misses their entries.
    pub fn allow_pruning_in_need(&self, through: Position) {
        self.shared.allow_pruning_in_need(through);
    }

    /// Gives no position up to this cursor to a new entry. Call it with every cursor after opening and before
    /// the first append: if the newest segments were lost, new entries at their positions would be passed
    /// over by that cursor.
    pub fn resume_after(&self, cursor: Position) {
        self.shared.resume_after(cursor);
    }

    /// Sets how many bytes the owner's other files in the directory take: they count towards `bytes_max`.
    pub fn set_other_bytes(&self, bytes: u64) {
        self.shared.set_other_bytes(bytes);
    }

    /// The space that the spool uses.
    pub fn usage(&self) -> Usage {
        self.shared.usage()
    }

    /// Resolves when the disk can no longer be trusted, with the reason; never before, and never
    /// after an orderly close.
    pub async fn failed(&self) -> SpoolFailure {
        let mut life = self.shared.life.subscribe();
        loop {
            if let Life::Failed(failure) = &*life.borrow_and_update() {
                return failure.clone();
            }
            if life.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Checks that the files which hold acknowledged events are still the files that the spool wrote. Blocks
    /// on the disk.
    ///
    /// # Errors
    /// Which file is not, what was done about it and what a person has to do.
    pub fn verify_files(&self) -> Result<(), SpoolFailure> {
        match &*self.shared.life.borrow() {
            Life::Failed(failure) => Err(failure.clone()),
            Life::Running | Life::Closed => self.shared.verify_all_files(),
        }
    }

    /// Takes no more appends, answers those that were queued, and stops the writer. Readers can still read up
    /// to the head.
    pub async fn close(&self) {
        self.shared.set_gate(AppendGate::Closing);
        // An error means that the writer has already stopped.
        let _ = self.queue.send(WriterMessage::Close).await;
        let mut writing = self.writing.clone();
        while writing.changed().await.is_ok() {}
    }
}

/// How an append is refused when the writer has ended.
fn stopped(shared: &SharedLog) -> AppendError {
    match &*shared.life.borrow() {
        Life::Failed(_) => AppendError::Failed,
        Life::Running | Life::Closed => AppendError::Full { reason: AppendGate::Closing.reason() },
    }
}

impl Committer {
    /// Opens a spool without a writer thread: the caller commits, ticks and passes the time in.
    /// [`Spool::open`] is made of it, and the simulated disk's tests drive it.
    pub fn open(
        locked: LockedDir,
        options: SpoolOptions,
        metrics: Arc<Metrics>,
        now: Moment,
    ) -> Result<(Self, Arc<SharedLog>, Recovery), SpoolError> {
        let begun = Instant::now();
        let LockedDir { dir, dir_id, disk, lock } = locked;
        let window = LocalWindow::new(options.window, options.window_events_max);
        let recovered = recovery::recover(&*disk, &dir, window, now)?;
        let Recovered { segments, window, next, leftover, mut report } = recovered;
        report.seconds = begun.elapsed().as_secs_f64();
        metrics.spool_torn.inc_by(report.torn_tails);
        metrics.spool_limit.set(i64::try_from(options.bytes_max).unwrap_or(i64::MAX));

        let view = View { segments, tail: Tail::new(options.tail_bytes_max), next };
        let (corrupt, damaged) = (metrics.spool_corrupt.clone(), report.damaged.len() as u64);
        let shared = Arc::new(SharedLog::new(disk, (dir, dir_id), options, metrics, view, lock));
        let lost: u64 = report.missing.iter().map(|range| shared.lost.add(range, 0)).sum();
        corrupt.inc_by(lost.max(damaged));
        let mut committer = Self::new(Arc::clone(&shared), window, leftover);
        committer.tick(now);
        Ok((committer, shared, report))
    }
}
