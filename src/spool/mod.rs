//! The spool: a durable, bounded log between sources and sinks.
//!
//! A source appends an entry, and answers the provider once the append has been answered: the entry is
//! then on stable storage. A dispatcher reads on from its own cursor. No other process touches the
//! directory.
//!
//! ```text
//! Spool::append ─▶ writer (one thread) ─▶ committer: window? encode, write, fdatasync ─▶ answers
//!                                            │ durable
//!                                            ▼
//! Spool::read ◀── tail (memory) or segment files (disk, found by a sparse index)
//! ```
//!
//! Positions in the log (docs/ARCHITECTURE.md explains each of them; [`SharedLog`] asserts what the log
//! itself can know):
//!
//! ```text
//!  oldest ≤ … ≤ released ≤ min(committed cursors) ≤ committed ≤ settled prefix ≤ read ≤ durable head < next
//!               (retention may take)          per sink: durable    in memory       taken in    fdatasync'd
//! ```
//!
//! - `next` is the position that the next entry gets; `head` is the newest durable position.
//! - Segments up to `released` are removed when they are older than `retain` and the duplicate window,
//!   except those that a replay has yet to read.
//! - Segments up to `prunable_in_need`, which is never less than `released`, are removed only while the log
//!   is full. So `oldest` can pass the cursors of sinks with `on_full: detach_sink`, and no others.
//!
//! Invariants: nothing is answered before it is durable; nothing is trusted after a failed fsync;
//! disk and memory are bounded, and at the bound appends are refused, never entries dropped, except for
//! sinks that detach; damage is contained and counted, never silent. The spool knows no cursors: their
//! owner releases positions. Replicas can share a duplicate window: it is asked before an append waits for
//! the writer.

pub mod codec;
pub mod options;
pub mod verify;

mod committer;
mod deep_verify;
mod dir_lock;
mod error;
mod failure;
mod footer;
mod frame;
mod lost;
mod noted;
mod read;
mod recovery;
mod scan;
mod search;
mod segment;
mod segments;
mod shared_log;
mod stretch;
mod tail;
mod writer;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};

use self::error::failed;
use self::noted::Noted;
use self::recovery::Recovered;
use self::shared_log::{AppendGate, Life, View};
use self::tail::Tail;
use self::writer::{QUEUE_MAX, WriterMessage, WriterThread};
use crate::clock::{Clock, Moment};
use crate::dedup::DuplicateKey;
use crate::dedup::local::LocalWindow;
use crate::dedup::shared::{KeyClaim, SharedWindow, Sufficient};
use crate::event::{Entry, Position};
use crate::telemetry::Metrics;

pub use committer::{Append, Committer};
pub use deep_verify::DeepVerify;
pub use dir_lock::{LockedDir, lock_to_read};
pub use error::{AppendError, ReadError, SpoolError};
pub use failure::{MissingSegment, SpoolFailure};
pub use options::{ENTRY_BYTES_MAX, SpoolOptions};
pub use recovery::{Damage, Recovery};
pub use search::{DamagedEntry, LogSearch, SearchBudget, SearchFor, SearchPage, SearchedEntry};
pub use shared_log::SharedLog;

/// The newest format of a segment that this release reads, and the one that it writes.
pub const NEWEST_FORMAT: u32 = segment::FORMAT_VERSION;

/// The file beside the segments in which the owner of the log keeps its state.
pub const STATE_FILE: &str = "state.redb";

/// The reason for refusing appends while the disk has not answered for longer than `answer_within`.
const DISK_HANGS: &str = "disk_hangs";

/// How long the end of the verifier is waited for: it looks each 20 ms, and before each read, whether it is
/// to end.
const VERIFIER_ENDS_WITHIN: Duration = Duration::from_secs(1);

/// A handle on the log; all handles of one spool are alike.
///
/// Appending and reading are async and never block a worker thread on the disk: one thread writes, and a read
/// from disk runs in the blocking pool. The handle decides nothing; the committer does. The directory stays
/// locked until the last handle is dropped.
#[derive(Clone)]
pub struct Spool {
    shared: Arc<SharedLog>,
    queue: mpsc::Sender<WriterMessage>,
    /// Closed when the writer has ended.
    writing: watch::Receiver<()>,
    /// Closed when the verifier has ended, if there was one.
    verifying: watch::Receiver<()>,
    shared_window: Option<Arc<SharedWindow>>,
}

impl Spool {
    /// Opens the spool in a directory and recovers what is in it.
    ///
    /// Blocks while it reads the footers of the closed segments, and every segment without a good one. After
    /// that, call [`Spool::resume_after`] with every
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
        let (ends_with_the_verifier, verifying) = watch::channel(());
        let writer = WriterThread { committer, queue: receiver, shared: Arc::clone(&shared), clock };
        let deep_verify = DeepVerify::paced(Arc::clone(&shared));
        let run = move || {
            writer.run();
            drop(ends_with_the_writer);
        };
        std::thread::Builder::new()
            .name("spool-writer".into())
            .spawn(run)
            .map_err(failed("start the writer for", &dir))?;
        if recovery.by_footer > 0 {
            let run = move || {
                deep_verify.run();
                drop(ends_with_the_verifier);
            };
            if let Err(error) = std::thread::Builder::new().name("spool-verifier".into()).spawn(run) {
                tracing::warn!(
                    %error,
                    "the verification of closed segments cannot be started: only what is read is verified"
                );
            }
        }
        Ok((Self { shared, queue, writing, verifying, shared_window: None }, recovery))
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
        self.append_noting(entry, duplicate, Sufficient::Durable, |_| {}).await
    }

    /// As [`Spool::append`]; of copies in other spools only a `sufficient` one counts. `note` is called with
    /// what became of the append, also if the future is dropped after the append was queued. It is not called
    /// if the spool was closed or has failed before.
    ///
    /// If that is a copy which sinks have accepted, the other replicas are told of the event by
    /// [`Spool::accepted`] only, or the append's claim is given up by [`Spool::unaccepted`].
    pub async fn append_noting(
        &self,
        entry: Entry,
        duplicate: Option<DuplicateKey>,
        sufficient: Sufficient,
        note: impl FnOnce(&Result<Appended, AppendError>) + Send + 'static,
    ) -> Result<Appended, AppendError> {
        let confirm = sufficient == Sufficient::Durable;
        if self.shared.gate() >= AppendGate::Closing {
            return Err(stopped(&self.shared));
        }
        let (Some(window), Some(key)) = (&self.shared_window, duplicate) else {
            return self.store(entry, duplicate, confirm, note).await;
        };
        match window.claim(key, sufficient).await {
            KeyClaim::Known => {
                let known = Ok(Appended::StoredElsewhere);
                note(&known);
                known
            }
            KeyClaim::Ours => {
                let window = Arc::clone(window);
                let release = move |stored: &Result<Appended, AppendError>| {
                    if stored.is_err() {
                        window.release(key);
                    }
                    note(stored);
                };
                self.store(entry, duplicate, confirm, release).await
            }
            KeyClaim::None => self.store(entry, duplicate, confirm, note).await,
        }
    }

    async fn store(
        &self,
        entry: Entry,
        duplicate: Option<DuplicateKey>,
        confirm: bool,
        note: impl FnOnce(&Result<Appended, AppendError>) + Send + 'static,
    ) -> Result<Appended, AppendError> {
        let (answer, answered) = oneshot::channel();
        let append = Append { entry, duplicate, confirm, answer };
        if self.queue.send(WriterMessage::Append(append)).await.is_err() {
            let stopped = Err(stopped(&self.shared));
            note(&stopped);
            return stopped;
        }
        let shared = Arc::clone(&self.shared);
        Noted::new(answered, move || Err(stopped(&shared)), note).await
    }

    /// Tells the other replicas that the sinks with this fingerprint have accepted an event.
    pub fn accepted(&self, key: DuplicateKey, sinks: u32) {
        self.shared_window.iter().for_each(|window| window.accept(key, sinks));
    }

    /// Lets the other replicas store an event that sinks have not accepted here.
    pub fn unaccepted(&self, key: DuplicateKey) {
        self.shared_window.iter().for_each(|window| window.release(key));
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

    /// Finds entries of the log by duplicate key, id, time or type.
    pub fn search(&self) -> LogSearch {
        self.shared.search()
    }

    /// How far a reader of single-sink entries at `after` gets without reading: to the head if there is no
    /// single-sink entry behind `after`, else nowhere.
    pub fn pass_shared_entries(&self, after: Position) -> Position {
        self.shared.pass_shared_entries(after)
    }

    /// Releases the log up to this position, which every cursor has durably reached: whole segments up to it
    /// are removed once `retain` is over, or when space runs short. Before the first call none is removed.
    pub fn release(&self, through: Position) {
        self.shared.release(through);
    }

    /// Lets segments up to this position be pruned when space runs short, released or not: a sink that has
    /// not read them yet misses their entries.
    pub fn allow_pruning_in_need(&self, through: Position) {
        self.shared.allow_pruning_in_need(through);
    }

    /// Keeps what is behind this position also once it is released and older than `retain`, until it has to
    /// give way for want of space. `None` keeps nothing more. What was removed before stays removed.
    pub fn keep_behind(&self, position: Option<Position>) {
        self.shared.keep_behind(position);
    }

    /// Gives new entries only positions behind this cursor. Call it with every cursor after opening and
    /// before the first append: if the newest segments were lost, new entries at their positions would be
    /// passed over by that cursor.
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

    /// Takes no more appends, answers those that were queued, and stops the threads. Readers can still read
    /// up to the head. The end of the verifier is not waited for longer than a second: it writes nothing, and
    /// a disk that does not answer it must not hold up the end of a bridge that has stored everything. While
    /// it lasts it keeps the directory locked.
    pub async fn close(&self) {
        self.shared.set_gate(AppendGate::Closing);
        // An error means that the writer has already stopped.
        let _ = self.queue.send(WriterMessage::Close).await;
        until_closed(self.writing.clone()).await;
        // An error means that the time is over.
        let _ = tokio::time::timeout(VERIFIER_ENDS_WITHIN, until_closed(self.verifying.clone())).await;
    }
}

async fn until_closed(mut end: watch::Receiver<()>) {
    while end.changed().await.is_ok() {}
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
        let window = LocalWindow::new(options.duplicates.window, options.duplicates.events_max);
        let recovered = recovery::recover(&*disk, &dir, window, now)?;
        let Recovered { segments, window, next, leftover, draft, mut report } = recovered;
        report.seconds = begun.elapsed().as_secs_f64();
        metrics.spool_torn.inc_by(report.torn_tails);
        metrics.spool_limit.set(i64::try_from(options.bytes_max).unwrap_or(i64::MAX));

        let view = View { segments, tail: Tail::new(options.tail_bytes_max), next };
        let (corrupt, damaged) = (metrics.spool_corrupt.clone(), report.damaged.len() as u64);
        let shared = Arc::new(SharedLog::new(disk, (dir, dir_id), options, metrics, view, lock));
        let lost: u64 = report.missing.iter().map(|range| shared.lost.add(range, 0)).sum();
        corrupt.inc_by(lost.max(damaged));
        let mut committer = Self::new(Arc::clone(&shared), window, leftover, draft);
        committer.tick(now);
        Ok((committer, shared, report))
    }
}

/// What became of an append. Either way the event is on stable storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// The event was stored as the entry at this position.
    Stored(Position),
    /// An earlier copy of the event, within the duplicate window, is already stored.
    Duplicate,
    /// The duplicate window that replicas share has a copy of the event, which one of them has stored; the
    /// sinks that the append asked for, if it did, have accepted it.
    StoredElsewhere,
}

/// Entries that a reader asked for.
#[derive(Clone, Debug, Default)]
pub struct EntryBatch {
    /// Entries in order, by position.
    pub entries: Vec<(Position, Entry)>,
    /// Read on behind this position: up to it everything is either here or counted as damaged. Never less
    /// than the position of the last entry.
    pub through: Position,
    /// Positions behind `after` and up to `through` that have no entry here, because they are
    /// damaged, lost or pruned.
    pub damaged: u64,
}

impl EntryBatch {
    /// Bytes of the bodies of all entries.
    pub fn body_bytes(&self) -> usize {
        self.entries.iter().map(|(_, entry)| entry.body().len()).sum()
    }
}

/// How many bytes a spool can still write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Bytes that can still be written, by `bytes_max` and by the free space of the file system.
    pub left: u64,
    /// `left` plus the bytes that cannot be pruned.
    pub whole: u64,
}

/// The space that a spool uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of all segments' files, and of the spare.
    pub bytes: u64,
    /// Whether the files of pruned segments are written over: the file system writes in place, and it is
    /// configured.
    pub recycles: bool,
    /// How many of the bytes are the spare's.
    pub spare_bytes: u64,
    /// How many of the bytes are behind the newest entry, in a recycled file.
    pub old_bytes: u64,
    /// Bytes of the owner's other files.
    pub other_bytes: u64,
    /// The most bytes that both take together.
    pub bytes_max: u64,
    /// How many segment files there are.
    pub segments: usize,
    /// How many of them the start took by their footers, and no frame of them has been verified since.
    pub unverified_segments: usize,
    /// Bytes of these.
    pub unverified_bytes: u64,
    /// The oldest position that is kept.
    pub first: Position,
    /// The newest durable position.
    pub head: Position,
    /// Bytes the file system had left when the writer last looked.
    pub free_bytes: u64,
    /// Keys in the duplicate window.
    pub window_events: usize,
}

#[cfg(test)]
mod tests;
