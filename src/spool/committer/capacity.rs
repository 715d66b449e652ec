//! Bounds: how much may still be written, what gives way first, and when the gate is shut.
//!
//! Two bounds hold: bytes of the spool, and bytes free on the file system. Settled segments are kept
//! for replay only while there is room; they give way, oldest first, before anything is refused. A
//! record that is not settled never does, unless all who have not got it would rather do without than
//! have the spool refuse others. The gate shuts one group before the bound, so that what is
//! already on its way in still fits, and opens by itself.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::file_check::{LOOKS_AT_ONCE, Looked};
use super::{CommitError, Committer};
use crate::clock::{Moment, Steady};
use crate::event::Position;
use crate::spool::segment;
use crate::spool::shared_log::AppendGate;
use crate::spool::writer::GROUP_BYTES_MAX;

/// How long a look at the free space holds good.
const FREE_SAMPLE_EVERY: Duration = Duration::from_millis(100);

impl Committer {
    /// Does what is due without anybody asking: prunes what retention is past, and looks whether
    /// the gate can be opened.
    pub fn tick(&mut self, now: Moment) {
        if self.failed {
            return;
        }
        self.window.expire(now.steady);
        let looked = self.shared.verify_files(self.looked_at, LOOKS_AT_ONCE);
        match looked.map_err(|displaced| self.bear(displaced, now)) {
            Ok(looked) => self.note_looked(looked, now),
            // Nothing is pruned from a directory of which nobody knows what is in it.
            Err(trouble) => {
                self.handle(trouble, now);
                return self.refresh_gate(now);
            }
        }
        while self.oldest_is_past_retention(now.steady) && self.prune_oldest(self.shared.released()) {}
        self.refresh_gate(now);
    }

    /// Notes how far a look has got. If the newest segment is gone, another one has to tell how far the
    /// positions have got.
    fn note_looked(&mut self, looked: Looked, now: Moment) {
        (self.looked_at, self.unseen_since) = (looked.through, None);
        if looked.newest_is_gone
            && let Err(CommitError::Broken(reason)) = self.begin_segment(now)
        {
            self.fail(reason);
        }
    }

    fn oldest_is_past_retention(&self, now: Steady) -> bool {
        let options = &self.shared.options;
        let horizon = now.minus(options.retain.max(options.window));
        let view = self.shared.view();
        view.catalogue.prunable(self.shared.released()).is_some_and(|segment| segment.newest < horizon)
    }

    /// Has the oldest segment give way, if it may: one that somebody still waits for only where so many
    /// bytes can be had that way, because a backlog that goes for nothing helps nobody.
    pub(super) fn prune_in_need(&mut self, bytes: u64) -> bool {
        let helps = self.shared.capacity().left >= bytes;
        let through = if helps { self.shared.prunable_in_need() } else { self.shared.released() };
        self.prune_oldest(through)
    }

    /// Takes the oldest segment off the disk, if it holds nothing behind `through`. The cursors that
    /// count are durably past it; one directory sync per file keeps the order of disappearance, so a
    /// power cut leaves no hole.
    fn prune_oldest(&mut self, through: Position) -> bool {
        if self.failed {
            return false;
        }
        let pruned = {
            let mut view = self.shared.view();
            view.catalogue.prunable(through).is_some().then(|| view.catalogue.pop_oldest()).flatten()
        };
        let Some(segment) = pruned else { return false };
        let (from, last) = (segment.base.max(self.shared.released().next()), segment.last);
        let path = segment::path(&self.shared.dir, segment.base);
        match self.shared.disk.remove(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, path = %path.display(), "cannot remove a segment that is past");
                self.shared.view().catalogue.restore_oldest(segment);
                return false;
            }
            _ => {}
        }
        if let Err(error) = self.shared.disk.sync_dir(&self.shared.dir) {
            self.fail(format!("cannot make a removal durable: {error}"));
        }
        self.free_sampled = None;
        if from <= last {
            tracing::error!(
                from = from.0,
                to = last.0,
                "no room: these give way, and a sink with `on_full: detach_sink` that has not got them yet does not"
            );
        }
        !self.failed
    }

    /// Bytes that may still be written.
    pub(super) fn capacity(&self) -> u64 {
        self.capacity_by_bytes_max().min(self.capacity_by_free_bytes())
    }

    fn capacity_by_bytes_max(&self) -> u64 {
        let used = self.shared.view().catalogue.bytes() + self.shared.other_bytes.load(Ordering::Relaxed);
        self.shared.options.bytes_max.saturating_sub(used)
    }

    fn capacity_by_free_bytes(&self) -> u64 {
        self.shared.free_bytes.load(Ordering::Relaxed).saturating_sub(self.shared.options.free_bytes_min)
    }

    /// Makes room for that many bytes, if segments that may go can, or says what stands in the way.
    pub(super) fn free_capacity(&mut self, bytes: u64, now: Moment) -> Result<(), AppendGate> {
        loop {
            self.sample_free(now.steady);
            let gate = if bytes > self.capacity_by_bytes_max() {
                AppendGate::BytesMax
            } else if bytes > self.capacity_by_free_bytes() {
                AppendGate::FreeBytes
            } else {
                return Ok(());
            };
            if !self.prune_in_need(bytes) {
                return Err(gate);
            }
        }
    }

    /// Opens or shuts the gate, as there is room for another group or not.
    pub(super) fn refresh_gate(&mut self, now: Moment) {
        if self.failed {
            return;
        }
        let gate = match self.retry {
            Some((until, gate)) if now.steady < until => gate,
            _ => {
                self.retry = None;
                self.group_capacity(now).err().unwrap_or(AppendGate::Open)
            }
        };
        let bytes = self.shared.view().catalogue.bytes();
        self.shared.metrics.spool_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.shared.window_events.store(self.window.len(), Ordering::Relaxed);
        self.shared.set_gate(gate);
    }

    fn group_capacity(&mut self, now: Moment) -> Result<(), AppendGate> {
        let bytes = (GROUP_BYTES_MAX as u64).min(self.shared.options.bytes_max / 8);
        let short = self.free_capacity(bytes, now);
        if short.is_ok() || !self.newest_may_go() {
            return short;
        }
        // All that is left may go but for being in the newest segment, which has to stay until another
        // one is there to tell how far the positions have got.
        match self.begin_segment(now) {
            Ok(_) => self.free_capacity(bytes, now),
            Err(CommitError::Full(gate)) => Err(gate),
            Err(CommitError::Broken(reason)) => {
                self.fail(reason);
                Err(AppendGate::Failed)
            }
        }
    }

    fn newest_may_go(&self) -> bool {
        let dispensable = self.shared.prunable_in_need();
        let view = self.shared.view();
        view.catalogue.newest().is_some_and(|newest| !newest.is_empty() && newest.last <= dispensable)
    }

    /// Which kind of full the disk is.
    pub(super) fn why_full(&mut self, now: Moment) -> AppendGate {
        match self.shared.disk.free(&self.shared.dir) {
            Ok(free) if free.inodes == Some(0) => AppendGate::Inodes,
            _ => {
                self.free_sampled = None;
                self.sample_free(now.steady);
                AppendGate::DiskFull
            }
        }
    }

    fn sample_free(&mut self, now: Steady) {
        if self.free_sampled.is_some_and(|at| now < at.plus(FREE_SAMPLE_EVERY)) {
            return;
        }
        match self.shared.disk.free(&self.shared.dir) {
            Ok(free) => self.shared.free_bytes.store(free.bytes, Ordering::Relaxed),
            Err(error) => tracing::warn!(%error, "cannot tell the free space of the spool's file system"),
        }
        self.free_sampled = Some(now);
    }

    /// Counts bytes off the free space until the next look at it.
    pub(super) fn spend_free(&self, bytes: u64) {
        let free = self.shared.free_bytes.load(Ordering::Relaxed);
        self.shared.free_bytes.store(free.saturating_sub(bytes), Ordering::Relaxed);
    }
}
