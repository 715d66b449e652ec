//! Capacity: how much can still be written, what is pruned first, and when the append gate is shut.
//!
//! Two bounds hold: `bytes_max` of the spool, and `free_bytes_min` of the file system. Files count as long as
//! they are, with the old bytes in them that are to be written over. The spare is given up first. Released
//! segments are kept for replay only while there is capacity; they are pruned, oldest first, before any
//! append is refused. A segment that is not released is pruned only if every sink that still needs it has
//! `on_full: detach_sink`. The gate shuts one group before the bound, so that the appends already on their
//! way still fit, and it opens by itself.

use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::file_check::{LOOKS_AT_ONCE, Looked};
use super::spare::Spare;
use super::{CommitError, Committer};
use crate::clock::{Moment, Steady};
use crate::event::Position;
use crate::spool::segment::{self, HEADER_BYTES};
use crate::spool::segments::{SegmentInfo, before};
use crate::spool::shared_log::AppendGate;
use crate::spool::writer::GROUP_BYTES_MAX;

/// How often the free space of the file system is read.
const FREE_SAMPLE_EVERY: Duration = Duration::from_millis(100);

/// What is kept of a segment that is pruned.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keep {
    Nothing,
    /// Its file, as the spare, if it is good for that.
    Spare,
}

impl Committer {
    /// Does the periodic work: checks files, prunes segments that are past retention, and looks whether the
    /// gate can be opened.
    pub fn tick(&mut self, now: Moment) {
        if self.failed {
            return;
        }
        self.window.expire(now.steady);
        self.forget_lost();
        let unverified = self.shared.usage().unverified_bytes;
        self.shared.metrics.spool_unverified.set(i64::try_from(unverified).unwrap_or(i64::MAX));
        let looked = self.shared.verify_files(self.looked_at, LOOKS_AT_ONCE);
        match looked.map_err(|displaced| self.on_displaced(displaced, now)) {
            Ok(looked) => self.note_looked(looked, now),
            // Nothing is pruned from a directory whose content is not known for certain.
            Err(error) => {
                self.handle(error, now);
                return self.refresh_gate(now);
            }
        }
        while self.oldest_is_past_retention(now.steady) && self.prune_released() {}
        self.refresh_gate(now);
    }

    /// Notes how far a check of the files has got. If the newest segment is gone, a new one is begun, because
    /// the newest segment's name tells the next start how far the positions have got.
    fn note_looked(&mut self, looked: Looked, now: Moment) {
        (self.looked_at, self.unseen_since) = (looked.through, None);
        if looked.newest_is_gone
            && let Err(CommitError::Broken(reason)) = self.begin_segment(now)
        {
            self.fail(reason);
        }
    }

    pub(super) fn oldest_is_past_retention(&self, now: Steady) -> bool {
        let options = &self.shared.options;
        let horizon = now.minus(options.retain.max(options.duplicates.window));
        let view = self.shared.view();
        view.segments.prunable(self.shared.removable_by_age()).is_some_and(|segment| segment.newest < horizon)
    }

    /// Prunes the oldest segment, if that is allowed, and keeps no spare of it. One that is not released is
    /// pruned only if pruning can free that many bytes in all, because otherwise a backlog would be lost for
    /// nothing.
    pub(super) fn prune_in_need(&mut self, bytes: u64) -> bool {
        let helps = self.shared.capacity().left >= bytes;
        let through = if helps { self.shared.prunable_in_need() } else { self.shared.released() };
        self.prune(through, Keep::Nothing)
    }

    /// Prunes the oldest segment, if every cursor has passed it, and keeps its file if there is no spare.
    pub(super) fn prune_released(&mut self) -> bool {
        let keep = if self.shared.recycles && self.spare.is_none() { Keep::Spare } else { Keep::Nothing };
        self.prune(self.shared.released(), keep)
    }

    /// Removes the oldest segment's file, or makes it the spare, if the segment holds nothing behind
    /// `through`. The cursors of all sinks that do not detach are durably past it. The directory is synced
    /// after every file, so that segments disappear in order and a power cut leaves no gap.
    fn prune(&mut self, through: Position, keep: Keep) -> bool {
        if self.failed {
            return false;
        }
        let pruned = {
            let mut view = self.shared.view();
            view.segments.prunable(through).is_some().then(|| view.segments.pop_oldest()).flatten()
        };
        debug_assert!(pruned.as_ref().is_none_or(|segment| segment.last <= through), "beyond {through:?}");
        let Some(segment) = pruned else { return false };
        let (from, last) = (segment.base.max(self.shared.released().next()), segment.last);
        let path = segment::path(&self.shared.dir, segment.base);
        let spare = match self.take_away(&path, &segment, keep) {
            Ok(spare) => spare,
            Err(error) => {
                self.shared.view().segments.restore_oldest(segment);
                self.note_unremovable(&path, &error);
                return false;
            }
        };
        if let Some(seconds) = self.unremovable.over(Instant::now()).map(|end| end.seconds()) {
            tracing::info!(seconds, "the files of prunable segments can be removed again");
        }
        if let Err(error) = self.shared.disk.sync_dir(&self.shared.dir) {
            let path = path.display();
            self.fail(format!("cannot make the removal of segment {path} durable: {error}"));
        } else if spare.is_some() {
            self.set_spare(spare);
        }
        self.free_sampled = None;
        if from <= last {
            tracing::error!(
                from = from.0,
                to = last.0,
                "spool full: entries {}-{} were pruned before every sink with `on_full: detach_sink` had \
                 delivered them; those sinks skip them",
                from.0,
                last.0
            );
        }
        !self.failed
    }

    /// Takes a segment's name from its file: makes the file the spare, if it is to be kept and good for that,
    /// and removes it otherwise.
    fn take_away(&self, path: &Path, segment: &SegmentInfo, keep: Keep) -> io::Result<Option<Spare>> {
        let disk = &self.shared.disk;
        // A second name can be that of a backup, which must stay what it is.
        if keep == Keep::Spare
            && let Some(spare) = Spare::of(segment, self.shared.options.segment_bytes)
            && disk.look(path).is_ok_and(|found| found.names == 1)
            && disk.rename(path, &self.spare_path()).is_ok()
        {
            return Ok(Some(spare));
        }
        match disk.remove(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(None),
        }
    }

    /// Says that the file of a pruned segment cannot be removed, when that begins.
    pub(super) fn note_unremovable(&mut self, path: &Path, error: &io::Error) {
        if let Some(news) = self.unremovable.happens(error.to_string(), Instant::now()) {
            let (seconds, path) = (news.seconds(), path.display());
            tracing::warn!(
                seconds,
                %error,
                %path,
                "cannot remove a prunable segment's file: trying again later"
            );
        }
    }

    /// Bytes that can still be written without pruning.
    pub(super) fn capacity(&self) -> u64 {
        self.capacity_by_bytes_max().min(self.capacity_by_free_bytes())
    }

    /// What is written over old bytes of the newest segment's file takes nothing that is not taken already.
    fn capacity_by_bytes_max(&self) -> u64 {
        (self.shared.options.bytes_max + self.old_bytes()).saturating_sub(self.shared.used_bytes())
    }

    fn capacity_by_free_bytes(&self) -> u64 {
        let free = self.shared.free_bytes.load(Ordering::Relaxed).saturating_add(self.old_bytes());
        free.saturating_sub(self.shared.options.free_bytes_min)
    }

    fn old_bytes(&self) -> u64 {
        self.shared.view().segments.old_bytes()
    }

    /// Whether more is taken than may be, which other files and other programs can bring about.
    fn is_over_a_bound(&self) -> bool {
        let options = &self.shared.options;
        self.shared.used_bytes() > options.bytes_max
            || self.shared.free_bytes.load(Ordering::Relaxed) < options.free_bytes_min
    }

    /// The bound that keeps that many bytes from being written.
    fn short_of(&self, bytes: u64) -> Option<AppendGate> {
        if bytes > self.capacity_by_bytes_max() {
            return Some(AppendGate::BytesMax);
        }
        (bytes > self.capacity_by_free_bytes()).then_some(AppendGate::FreeBytes)
    }

    /// Gives up old bytes that no bound allows for any more, and prunes, until that many bytes can be
    /// written. If that cannot be, returns the bound that is in the way.
    pub(super) fn free_capacity(&mut self, bytes: u64, now: Moment) -> Result<(), AppendGate> {
        loop {
            self.sample_free(now.steady);
            let short = self.short_of(bytes);
            if (short.is_some() || self.is_over_a_bound()) && self.give_up_spare() {
                continue;
            }
            if self.is_over_a_bound() && self.cut_old_bytes() {
                continue;
            }
            let Some(gate) = short else { return Ok(()) };
            if !self.prune_in_need(bytes) {
                return Err(gate);
            }
        }
    }

    /// Cuts the newest segment's file behind its frames, and says whether there was anything to cut.
    fn cut_old_bytes(&mut self) -> bool {
        if self.failed || self.active.as_ref().is_none_or(|active| active.old_bytes() == 0) {
            return false;
        }
        if let Err(CommitError::Broken(failure)) = self.cut() {
            self.fail(failure);
        }
        !self.failed
    }

    /// Whether a footer of that many bytes can be written and leaves enough for the header of the next
    /// segment and a group in it. Prunes released segments for that, but only if they are enough, and never
    /// more of them than should be: space can come back late, and history is worth more than a footer.
    pub(super) fn has_capacity_for_footer(&mut self, footer_bytes: u64) -> bool {
        let bytes = footer_bytes + HEADER_BYTES + self.group_reserve();
        self.read_free();
        if bytes > self.capacity() && self.give_up_spare() {
            self.read_free();
        }
        let mut short = bytes.saturating_sub(self.capacity());
        let through = {
            let view = self.shared.view();
            let closed = view.segments.newest().map_or(Position(0), |newest| before(newest.base));
            let through = self.shared.released().min(closed);
            if view.segments.prunable_bytes(through) < short {
                return false;
            }
            through
        };
        while short > 0 {
            let oldest = self.shared.view().segments.prunable(through).map_or(0, SegmentInfo::file_len);
            if !self.prune(through, Keep::Nothing) {
                return false;
            }
            short = short.saturating_sub(oldest);
        }
        self.read_free();
        self.capacity() >= bytes
    }

    /// The bytes for which there has to be capacity while the gate is open.
    pub(super) fn group_reserve(&self) -> u64 {
        (GROUP_BYTES_MAX as u64).min(self.shared.options.bytes_max / 8)
    }

    /// Opens the gate if there is capacity for another group, and shuts it otherwise.
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
        let bytes = self.shared.log_bytes();
        self.shared.metrics.spool_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.shared.window_events.store(self.window.len(), Ordering::Relaxed);
        self.shared.set_gate(gate);
    }

    fn group_capacity(&mut self, now: Moment) -> Result<(), AppendGate> {
        let bytes = self.group_reserve();
        let short = self.free_capacity(bytes, now);
        if short.is_ok() || !self.newest_is_prunable() {
            return short;
        }
        // All that is left could be pruned, but it is in the newest segment. That one stays until there is a
        // newer one whose name tells how far the positions have got. It is pruned then, so it gets no footer.
        self.cut_old_bytes();
        (self.active, self.unclosed) = (None, None);
        match self.begin_segment(now) {
            Ok(_) => self.free_capacity(bytes, now),
            Err(CommitError::Full(gate)) => Err(gate),
            Err(CommitError::Broken(reason)) => {
                self.fail(reason);
                Err(AppendGate::Failed)
            }
        }
    }

    fn newest_is_prunable(&self) -> bool {
        let prunable = self.shared.prunable_in_need();
        let view = self.shared.view();
        view.segments.newest().is_some_and(|newest| !newest.is_empty() && newest.last <= prunable)
    }

    /// Whether the disk is out of inodes or out of bytes.
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
        self.read_free();
        self.free_sampled = Some(now);
    }

    pub(super) fn read_free(&mut self) {
        match self.shared.disk.free(&self.shared.dir) {
            Ok(free) => {
                self.shared.free_bytes.store(free.bytes, Ordering::Relaxed);
                if let Some(end) = self.free_unknown.over(Instant::now()) {
                    let seconds = end.seconds();
                    tracing::info!(seconds, "the free space of the spool's file system can be read again");
                }
            }
            Err(error) => {
                if let Some(news) = self.free_unknown.happens(error.to_string(), Instant::now()) {
                    let seconds = news.seconds();
                    tracing::warn!(seconds, %error, "cannot read the free space of the spool's file system");
                }
            }
        }
    }

    /// Subtracts the bytes by which files have grown from the free space, until it is read again.
    pub(super) fn spend_free(&self, bytes: u64) {
        let free = self.shared.free_bytes.load(Ordering::Relaxed);
        self.shared.free_bytes.store(free.saturating_sub(bytes), Ordering::Relaxed);
    }
}
