//! What the writer and the readers of a spool share.
//!
//! The writer changes, the readers look: the picture of the directory and the tail under one short
//! lock that is never held across I/O or an await, the rest in atomics and watches. The directory's
//! lock lives here, so it is held while anybody can still write or read.

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
use crate::dedup::shared::DurableKeys;
use crate::disk::named_file::NamedFile;
use crate::disk::outstanding::Outstanding;
use crate::disk::{Disk, DiskLock, FileId};
use crate::event::Position;
use crate::scarce::Scarce;
use crate::telemetry::Metrics;

/// Whether appends are taken, and if not, why. From [`Gate::Closing`] on it is for good.
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

/// How long the gate has to stay open to be told as open again. Close to a bound it opens and shuts
/// with every group.
const OPEN_TOLD_AFTER: Duration = Duration::from_secs(5);

/// What the log says of the gate: one line when it shuts, one when it has been open for a while.
#[derive(Debug, Default)]
struct GateLog {
    told_shut: bool,
    open_since: Option<Instant>,
}

impl GateLog {
    /// What is to be told, if anything is. For good it is closed by others, and they say so.
    fn news(&mut self, gate: AppendGate, now: Instant) -> Option<AppendGate> {
        match gate {
            AppendGate::Closing | AppendGate::Failed => None,
            AppendGate::Open if !self.told_shut => None,
            AppendGate::Open => {
                let since = *self.open_since.get_or_insert(now);
                self.told_shut = now.duration_since(since) < OPEN_TOLD_AFTER;
                (!self.told_shut).then_some(gate)
            }
            shut => {
                self.open_since = None;
                (!std::mem::replace(&mut self.told_shut, true)).then_some(shut)
            }
        }
    }
}

/// How a spool ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Running,
    Closed,
    Failed(SpoolFailure),
}

/// What is durable, and where it is found.
#[derive(Debug)]
pub(super) struct View {
    pub(super) catalogue: Segments,
    pub(super) tail: Tail,
    /// The position that the next record gets.
    pub(super) next: Position,
}

/// The reading side of a spool that has been opened, and what it shares with the writing side.
/// [`super::Spool`] is built on it; by itself it is what tests drive without a thread.
pub struct SharedLog {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) dir: PathBuf,
    pub(super) dir_id: FileId,
    pub(super) options: SpoolOptions,
    pub(super) metrics: Arc<Metrics>,
    pub(super) head: watch::Sender<Position>,
    /// The newest position that may hold what is not for every sink; known before `head` gets there.
    pub(super) apart: watch::Sender<Position>,
    pub(super) life: watch::Sender<Life>,
    pub(super) settled: AtomicU64,
    pub(super) dispensable: AtomicU64,
    pub(super) other_bytes: AtomicU64,
    pub(super) free_bytes: AtomicU64,
    pub(super) window_events: AtomicUsize,
    /// Who else is to know what is durable, if anybody is.
    pub(super) durable_keys: OnceLock<DurableKeys>,
    view: Mutex<View>,
    gate: AtomicU8,
    gate_log: Mutex<GateLog>,
    pub(super) lock: Box<dyn DiskLock>,
    /// The segment that was begun last, open as long as anybody may have to look for it.
    open: Mutex<Option<Arc<NamedFile>>>,
    /// What the writer has the disk do.
    pub(super) outstanding: Outstanding,
    pub(super) lost: Lost,
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
        Self {
            disk,
            dir,
            dir_id,
            options,
            metrics,
            head: watch::Sender::new(head),
            // What was there before has not been looked at.
            apart: watch::Sender::new(head),
            life: watch::Sender::new(Life::Running),
            settled: AtomicU64::new(0),
            dispensable: AtomicU64::new(0),
            other_bytes: AtomicU64::new(0),
            free_bytes: AtomicU64::new(u64::MAX),
            window_events: AtomicUsize::new(0),
            durable_keys: OnceLock::new(),
            view: Mutex::new(view),
            gate: AtomicU8::new(AppendGate::Open as u8),
            gate_log: Mutex::default(),
            lock,
            open: Mutex::default(),
            outstanding: Outstanding::default(),
            lost: Lost::default(),
        }
    }

    /// The view, for a moment. A panic elsewhere cannot leave it half changed.
    pub(super) fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock()
    }

    /// The segment that was begun last in this life, if one was.
    pub(super) fn open(&self) -> Option<Arc<NamedFile>> {
        self.open.lock().clone()
    }

    /// Notes which segment was begun last.
    pub(super) fn set_open(&self, place: Arc<NamedFile>) {
        *self.open.lock() = Some(place);
    }

    pub(super) fn gate(&self) -> AppendGate {
        AppendGate::ALL[usize::from(self.gate.load(Ordering::Relaxed)) % AppendGate::ALL.len()]
    }

    /// Opens or closes the gate; one that is closed for good stays closed.
    pub(super) fn set_gate(&self, gate: AppendGate) {
        let for_good = |gate: u8| gate >= AppendGate::Closing as u8;
        // An error is no failure: what is closed for good was not changed.
        let _ = self.gate.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
            (!for_good(held) || gate == AppendGate::Failed).then_some(gate as u8)
        });
        self.tell_gate(gate);
    }

    fn tell_gate(&self, gate: AppendGate) {
        let news = self.gate_log.lock().news(gate, Instant::now());
        match news {
            Some(AppendGate::Open) => tracing::info!("the spool takes events again"),
            Some(short @ (AppendGate::Descriptors | AppendGate::Memory)) => tracing::error!(
                reason = short.reason(),
                "the spool takes no events: deliveries are answered 503 until the system gives it a file \
                 descriptor (LimitNOFILE, ulimit -n, fs.file-max) or memory again"
            ),
            Some(AppendGate::Unseen) => tracing::error!(
                reason = AppendGate::Unseen.reason(),
                "the spool takes no events: deliveries are answered 503 until the system says again whether its \
                 files are there"
            ),
            Some(shut) => tracing::error!(
                reason = shut.reason(),
                bytes = self.view().catalogue.bytes(),
                other_bytes = self.other_bytes.load(Ordering::Relaxed),
                bytes_max = self.options.bytes_max,
                free_bytes = self.free_bytes.load(Ordering::Relaxed),
                free_bytes_min = self.options.free_bytes_min,
                "the spool takes no events: deliveries are answered 503 until there is room"
            ),
            None => {}
        }
    }

    /// Stops everything: no append is taken again. The first reason stays.
    pub(super) fn fail(&self, failure: SpoolFailure) {
        self.set_gate(AppendGate::Failed);
        self.life.send_if_modified(|life| {
            let running = *life == Life::Running;
            if running {
                tracing::error!(reason = %failure, "the spool has failed and takes no more events");
                *life = Life::Failed(failure);
            }
            running
        });
    }

    /// Every cursor is durably at or past this position.
    pub fn release(&self, through: Position) {
        self.settled.fetch_max(through.0, Ordering::Relaxed);
    }

    /// What is up to this position may give way in need, though some cursor is before it.
    pub fn allow_pruning_in_need(&self, through: Position) {
        self.dispensable.fetch_max(through.0, Ordering::Relaxed);
    }

    /// How many bytes the owner's other files in the directory take; they count as the spool's.
    pub fn set_other_bytes(&self, bytes: u64) {
        self.other_bytes.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn released(&self) -> Position {
        Position(self.settled.load(Ordering::Relaxed))
    }

    /// How far what is kept may give way to what comes.
    pub(super) fn prunable_in_need(&self) -> Position {
        self.released().max(Position(self.dispensable.load(Ordering::Relaxed)))
    }

    /// Never gives a position up to this one again. If the log ends before it, its newest segments are
    /// gone: counted like any other that is missing.
    pub fn resume_after(&self, cursor: Position) {
        let mut view = self.view();
        if view.next <= cursor {
            tracing::error!(
                from = view.next.0,
                to = cursor.0,
                "the log ends before a cursor: its newest records are missing"
            );
            self.metrics.spool_corrupt.inc_by(self.lost.add(&(view.next.0..=cursor.0), 0));
            view.next = cursor.next();
            self.head.send_replace(cursor);
        }
    }

    /// The newest durable position.
    pub fn head(&self) -> Position {
        *self.head.borrow()
    }

    /// How far a reader gets that only looks for what is not for every sink, without reading: to the
    /// head if there is nothing behind `after`, else nowhere.
    pub(super) fn pass_shared_records(&self, after: Position) -> Position {
        // In this order: of all up to this head it is known for whom they are.
        let head = self.head();
        if *self.apart.borrow() <= after { head.max(after) } else { after }
    }

    /// The oldest position that is kept; the next one to be given while nothing is.
    pub fn first(&self) -> Position {
        let view = self.view();
        view.catalogue.oldest().map_or(view.next, |segment| segment.base)
    }

    /// What may still be written once everything that may has given way.
    pub(super) fn capacity(&self) -> Capacity {
        let (bytes, prunable) = {
            let view = self.view();
            (view.catalogue.bytes(), view.catalogue.prunable_bytes(self.prunable_in_need()))
        };
        let kept = bytes - prunable + self.other_bytes.load(Ordering::Relaxed);
        let free = self.free_bytes.load(Ordering::Relaxed).saturating_add(prunable);
        let left = self.options.bytes_max.saturating_sub(kept);
        let left = left.min(free.saturating_sub(self.options.free_bytes_min));
        Capacity { left, whole: left + kept }
    }

    /// What the spool takes up.
    pub fn usage(&self) -> Usage {
        let view = self.view();
        Usage {
            bytes: view.catalogue.bytes(),
            other_bytes: self.other_bytes.load(Ordering::Relaxed),
            bytes_max: self.options.bytes_max,
            segments: view.catalogue.len(),
            first: view.catalogue.oldest().map_or(view.next, |segment| segment.base),
            head: Position(view.next.0 - 1),
            free_bytes: self.free_bytes.load(Ordering::Relaxed),
            window_events: self.window_events.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_that_opens_and_shuts_is_told_shut_once_and_open_once_it_stays_so() {
        let mut log = GateLog::default();
        let at = |seconds| Instant::now() + Duration::from_secs(seconds);
        assert_eq!(log.news(AppendGate::Open, at(0)), None);
        assert_eq!(log.news(AppendGate::DiskFull, at(1)), Some(AppendGate::DiskFull));
        assert_eq!(log.news(AppendGate::Open, at(2)), None, "it may shut again");
        assert_eq!(log.news(AppendGate::DiskFull, at(4)), None);
        assert_eq!(log.news(AppendGate::Open, at(10)), None);
        assert_eq!(log.news(AppendGate::Open, at(16)), Some(AppendGate::Open));
        assert_eq!(log.news(AppendGate::Open, at(17)), None);
    }
}
