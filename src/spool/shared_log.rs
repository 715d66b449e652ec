//! What the writer and the readers of a spool share.
//!
//! The writer changes it and the readers look at it. The list of segments and the tail are under one short
//! lock that is never held across I/O or an await; the rest is in atomics and watches. The directory's
//! lock is kept here, so the directory stays locked while anybody can still write or read.

use parking_lot::{Mutex, MutexGuard};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::failure::SpoolFailure;
use super::lost::Lost;
use super::segments::Segments;
use super::tail::Tail;
use super::{Capacity, SpoolOptions, Usage};
use crate::dedup::local::RecalledKey;
use crate::dedup::shared::DurableKeys;
use crate::disk::named_file::NamedFile;
use crate::disk::outstanding::Outstanding;
use crate::disk::{Disk, DiskLock, FileId};
use crate::event::Position;
use crate::scarce::Scarce;
use crate::telemetry::{Episode, Metrics};

/// Whether appends are taken, and if not, why. From [`AppendGate::Closing`] on none is taken any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum AppendGate {
    Open,
    BytesMax,
    FreeBytes,
    DiskFull,
    Inodes,
    Descriptors,
    Memory,
    Unseen,
    Closing,
    Failed,
}

impl AppendGate {
    const ALL: [Self; 10] = [
        Self::Open,
        Self::BytesMax,
        Self::FreeBytes,
        Self::DiskFull,
        Self::Inodes,
        Self::Descriptors,
        Self::Memory,
        Self::Unseen,
        Self::Closing,
        Self::Failed,
    ];

    /// The reason in a short word.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::BytesMax => "spool_full",
            Self::FreeBytes => "disk_low",
            Self::DiskFull => "disk_full",
            Self::Inodes => "no_inodes",
            Self::Descriptors => Scarce::Descriptors.reason(),
            Self::Memory => Scarce::Memory.reason(),
            Self::Unseen => "files_unseen",
            Self::Closing => "shutting_down",
            Self::Failed => "failed",
        }
    }
}

impl From<Scarce> for AppendGate {
    fn from(scarce: Scarce) -> Self {
        match scarce {
            Scarce::Descriptors => Self::Descriptors,
            Scarce::Memory => Self::Memory,
        }
    }
}

/// How long the gate has to stay open before the log says that it is open again. Close to a bound it opens
/// and shuts with every group.
const OPEN_LOGGED_AFTER: Duration = Duration::from_secs(5);

/// How a spool ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Running,
    Closed,
    Failed(SpoolFailure),
}

/// What is durable, and where it can be read.
#[derive(Debug)]
pub(super) struct View {
    pub(super) segments: Segments,
    pub(super) tail: Tail,
    /// The position that the next entry gets.
    pub(super) next: Position,
}

/// What the committer and the readers of an open spool share: files, positions, capacity and gate.
/// [`super::Spool`] is built on it; tests use it without a writer thread.
pub struct SharedLog {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) dir: PathBuf,
    pub(super) dir_id: FileId,
    pub(super) options: SpoolOptions,
    pub(super) metrics: Arc<Metrics>,
    pub(super) head: watch::Sender<Position>,
    /// The newest position that can hold a single-sink entry; it moves before `head` gets there.
    pub(super) single_sink: watch::Sender<Position>,
    pub(super) life: watch::Sender<Life>,
    pub(super) released: AtomicU64,
    pub(super) prunable_in_need: AtomicU64,
    /// What is behind this position is not removed for its age.
    kept_behind: AtomicU64,
    pub(super) other_bytes: AtomicU64,
    pub(super) free_bytes: AtomicU64,
    /// Bytes of the spare.
    pub(super) spare_bytes: AtomicU64,
    /// Whether files of pruned segments are written over.
    pub(super) recycles: bool,
    pub(super) window_events: AtomicUsize,
    /// Takes the keys of durable events to the shared duplicate window, if there is one.
    pub(super) durable_keys: OnceLock<DurableKeys>,
    view: Mutex<View>,
    gate: AtomicU8,
    /// The time in which the gate is shut, for the log.
    shut: Mutex<Episode<AppendGate>>,
    pub(super) lock: Box<dyn DiskLock>,
    /// The file of the segment that was begun last: it stays open so that its name can be checked.
    open: Mutex<Option<Arc<NamedFile>>>,
    /// How long the writer has been waiting for the disk.
    pub(super) outstanding: Outstanding,
    pub(super) lost: Lost,
    /// Duplicate keys of entries that were found damaged: the committer takes them out of its window.
    pub(super) lost_keys: Mutex<Vec<RecalledKey>>,
}

impl SharedLog {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        (dir, dir_id): (PathBuf, FileId),
        options: SpoolOptions,
        metrics: Arc<Metrics>,
        view: View,
        lock: Box<dyn DiskLock>,
    ) -> Self {
        let head = Position(view.next.0 - 1);
        let recycles = options.recycle_segments && disk.rewrites_in_place(&dir).unwrap_or(false);
        Self {
            disk,
            dir,
            dir_id,
            options,
            metrics,
            head: watch::Sender::new(head),
            // Recovery does not look for single-sink entries: there can be one anywhere up to here.
            single_sink: watch::Sender::new(head),
            life: watch::Sender::new(Life::Running),
            released: AtomicU64::new(0),
            prunable_in_need: AtomicU64::new(0),
            kept_behind: AtomicU64::new(u64::MAX),
            other_bytes: AtomicU64::new(0),
            free_bytes: AtomicU64::new(u64::MAX),
            spare_bytes: AtomicU64::new(0),
            recycles,
            window_events: AtomicUsize::new(0),
            durable_keys: OnceLock::new(),
            view: Mutex::new(view),
            gate: AtomicU8::new(AppendGate::Open as u8),
            shut: Mutex::new(Episode::ending_after(OPEN_LOGGED_AFTER)),
            lock,
            open: Mutex::default(),
            outstanding: Outstanding::default(),
            lost: Lost::default(),
            lost_keys: Mutex::default(),
        }
    }

    /// Locks the view. Hold it for a moment only, never across I/O or an await.
    pub(super) fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock()
    }

    /// The file of the segment that this process began last, if it began one.
    pub(super) fn open(&self) -> Option<Arc<NamedFile>> {
        self.open.lock().clone()
    }

    /// Sets the file of the segment that was begun last.
    pub(super) fn set_open(&self, file: Arc<NamedFile>) {
        *self.open.lock() = Some(file);
    }

    pub(super) fn gate(&self) -> AppendGate {
        AppendGate::ALL[usize::from(self.gate.load(Ordering::Relaxed)) % AppendGate::ALL.len()]
    }

    /// Sets the gate. A gate that is `Closing` stays so until it is `Failed`, and a failed one stays failed.
    pub(super) fn set_gate(&self, gate: AppendGate) {
        let for_good = |gate: u8| gate >= AppendGate::Closing as u8;
        // An error only means that a gate which is closed for good was left unchanged.
        let _ = self.gate.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |current| {
            (!for_good(current) || gate == AppendGate::Failed).then_some(gate as u8)
        });
        self.log_gate(gate);
    }

    /// Logs that the gate is shut, when that begins and when the reason changes, and that it is open again.
    /// Whoever closes or fails the spool logs that.
    fn log_gate(&self, gate: AppendGate) {
        let now = Instant::now();
        match gate {
            AppendGate::Closing | AppendGate::Failed => {}
            AppendGate::Open => {
                let end = self.shut.lock().over(now);
                if let Some(seconds) = end.map(|end| end.seconds()) {
                    tracing::info!(seconds, "the spool accepts events again");
                }
            }
            shut => {
                let news = self.shut.lock().happens(shut, now);
                if let Some(news) = news {
                    self.log_shut(shut, news.seconds());
                }
            }
        }
    }

    fn log_shut(&self, gate: AppendGate, seconds: Option<u64>) {
        match gate {
            short @ (AppendGate::Descriptors | AppendGate::Memory) => tracing::error!(
                reason = short.reason(),
                seconds,
                "the spool accepts no events because the system has no file descriptor or no memory left for \
                 it: deliveries are answered 503 until it has; raise LimitNOFILE (ulimit -n), fs.file-max or \
                 the memory limit"
            ),
            AppendGate::Unseen => tracing::error!(
                reason = AppendGate::Unseen.reason(),
                seconds,
                "the spool accepts no events because the system does not say whether the spool's files still \
                 exist (lstat fails): deliveries are answered 503 until it does; check the file system of \
                 `spool.dir`"
            ),
            shut => tracing::error!(
                reason = shut.reason(),
                seconds,
                bytes = self.log_bytes(),
                other_bytes = self.other_bytes.load(Ordering::Relaxed),
                bytes_max = self.options.bytes_max,
                free_bytes = self.free_bytes.load(Ordering::Relaxed),
                free_bytes_min = self.options.free_bytes_min,
                "the spool accepts no events because there is no space for them: deliveries are answered 503 \
                 until there is; find the sink that lags, free space on the disk, or raise `spool.bytes_max`"
            ),
        }
    }

    /// Fails the spool: no append is taken again. The first reason is kept.
    pub(super) fn fail(&self, failure: SpoolFailure) {
        self.set_gate(AppendGate::Failed);
        self.life.send_if_modified(|life| {
            let running = *life == Life::Running;
            if running {
                tracing::error!(reason = %failure, "the spool has failed and accepts no more events");
                *life = Life::Failed(failure);
            }
            running
        });
    }

    /// See [`super::Spool::release`]. Before [`Self::resume_after`] has been called this can be a position
    /// beyond the head of a log that has lost its newest segments.
    pub fn release(&self, through: Position) {
        self.released.fetch_max(through.0, Ordering::Relaxed);
    }

    /// See [`super::Spool::allow_pruning_in_need`].
    pub fn allow_pruning_in_need(&self, through: Position) {
        self.prunable_in_need.fetch_max(through.0, Ordering::Relaxed);
    }

    /// See [`super::Spool::keep_behind`].
    pub fn keep_behind(&self, position: Option<Position>) {
        self.kept_behind.store(position.map_or(u64::MAX, |position| position.0), Ordering::Relaxed);
    }

    /// The position up to which segments can be removed for their age.
    pub(super) fn removable_by_age(&self) -> Position {
        self.released().min(Position(self.kept_behind.load(Ordering::Relaxed)))
    }

    /// See [`super::Spool::set_other_bytes`].
    pub fn set_other_bytes(&self, bytes: u64) {
        self.other_bytes.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn released(&self) -> Position {
        Position(self.released.load(Ordering::Relaxed))
    }

    /// The position up to which segments can be removed while the log is full; never less than `released`.
    pub(super) fn prunable_in_need(&self) -> Position {
        self.released().max(Position(self.prunable_in_need.load(Ordering::Relaxed)))
    }

    /// See [`super::Spool::resume_after`]. If the log ends before the cursor, its newest segments are gone,
    /// and their positions are counted as missing.
    pub fn resume_after(&self, cursor: Position) {
        let mut view = self.view();
        if view.next <= cursor {
            tracing::error!(
                from = view.next.0,
                to = cursor.0,
                "entries {}-{} are missing: the log ends before a sink's cursor, so its newest segments were \
                 lost or an older copy of the log was restored; new events go behind that cursor",
                view.next.0,
                cursor.0
            );
            self.metrics.spool_corrupt.inc_by(self.lost.add(&(view.next.0..=cursor.0), 0));
            view.next = cursor.next();
            self.head.send_replace(cursor);
        }
        self.assert_positions(&view);
    }

    /// Asserts what the log alone can know of the positions that are drawn in `spool/mod.rs`. Two things do
    /// not hold: a reader can take a group from the tail, and its cursor be released, before `head` has moved
    /// over the group, so `released` is compared with `next`; and `oldest` passes `released` when a full log
    /// was pruned, and whenever a start has not called `release` yet.
    pub(super) fn assert_positions(&self, view: &View) {
        let (head, released) = (self.head(), self.released());
        let prunable = self.prunable_in_need();
        debug_assert!(head < view.next, "head {head:?} is before next {:?}", view.next);
        debug_assert!(released <= prunable, "released {released:?} is prunable, up to {prunable:?}");
        debug_assert!(prunable < view.next, "{prunable:?} is a cursor's, before next {:?}", view.next);
        let oldest = view.segments.oldest().map_or(view.next, |segment| segment.base);
        debug_assert!(oldest <= view.next, "oldest {oldest:?} is not behind next {:?}", view.next);
    }

    /// The newest durable position.
    pub fn head(&self) -> Position {
        *self.head.borrow()
    }

    /// See [`super::Spool::pass_shared_entries`].
    pub(super) fn pass_shared_entries(&self, after: Position) -> Position {
        // The head first: whether there is a single-sink entry is known of all positions up to that head.
        let head = self.head();
        if *self.single_sink.borrow() <= after { head.max(after) } else { after }
    }

    /// The oldest position that is kept; while the log is empty, the position that the next entry gets.
    pub fn first(&self) -> Position {
        let view = self.view();
        view.segments.oldest().map_or(view.next, |segment| segment.base)
    }

    /// What can still be written, counting everything that can be pruned for it.
    pub(super) fn capacity(&self) -> Capacity {
        let (bytes, prunable, old_bytes) = {
            let view = self.view();
            let prunable = view.segments.prunable_bytes(self.prunable_in_need());
            (view.segments.bytes(), prunable, view.segments.old_bytes())
        };
        // The newest segment's old bytes are with what can be pruned if all of it can be.
        let old_bytes = if prunable == bytes { 0 } else { old_bytes };
        let spare = self.spare_bytes.load(Ordering::Relaxed);
        let kept = bytes - prunable - old_bytes + self.other_bytes.load(Ordering::Relaxed);
        let free = self.free_bytes.load(Ordering::Relaxed).saturating_add(prunable + old_bytes + spare);
        let left = self.options.bytes_max.saturating_sub(kept);
        let left = left.min(free.saturating_sub(self.options.free_bytes_min));
        Capacity { left, whole: left + kept }
    }

    /// Bytes of the segments' files and of the spare.
    pub(super) fn log_bytes(&self) -> u64 {
        self.view().segments.bytes() + self.spare_bytes.load(Ordering::Relaxed)
    }

    /// Bytes on disk that count towards `bytes_max`.
    pub(super) fn used_bytes(&self) -> u64 {
        self.log_bytes() + self.other_bytes.load(Ordering::Relaxed)
    }

    /// The space that the spool uses.
    pub fn usage(&self) -> Usage {
        let spare = self.spare_bytes.load(Ordering::Relaxed);
        let view = self.view();
        Usage {
            bytes: view.segments.bytes() + spare,
            spare_bytes: spare,
            old_bytes: view.segments.old_bytes(),
            recycles: self.recycles,
            other_bytes: self.other_bytes.load(Ordering::Relaxed),
            bytes_max: self.options.bytes_max,
            segments: view.segments.len(),
            unverified_segments: view.segments.unverified().count(),
            unverified_bytes: view.segments.unverified().map(|segment| segment.len).sum(),
            first: view.segments.oldest().map_or(view.next, |segment| segment.base),
            head: Position(view.next.0 - 1),
            free_bytes: self.free_bytes.load(Ordering::Relaxed),
            window_events: self.window_events.load(Ordering::Relaxed),
        }
    }
}
