//! The group-commit step: many appends, one write, one fdatasync, then all the answers.
//!
//! The committer is a plain struct that a thread calls. It reads no clock (it only measures how long an
//! fdatasync takes) and starts nothing, so tests with a simulated disk can drive it call by call. No append
//! is answered before its bytes are durable. The disk stores or refuses a group as a whole. When there is
//! no capacity, the committer cuts the segment back to the durable length and carries on later; when the
//! disk cannot be trusted (a failed fsync, a failed cut), it never writes again. It keeps no queue and does
//! not decide when groups form.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::{oneshot, watch};

use super::failure::SpoolFailure;
use super::footer::FooterDraft;
use super::frame::{self, FRAME_HEADER_BYTES, Seed};
use super::segment::HEADER_BYTES;
use super::shared_log::{AppendGate, SharedLog};
use super::tail::Block;
use super::{AppendError, Appended, ENTRY_BYTES_MAX};
use crate::clock::{Moment, Steady};
use crate::dedup::DuplicateKey;
use crate::dedup::local::{KeySighting, LocalWindow};
use crate::disk::is_full;
use crate::event::{Entry, Position, Timestamp};
use crate::scarce::Scarce;
use crate::telemetry::Episode;

mod active;
mod capacity;
mod commit_error;
mod file_check;
mod pages;
mod roll;
mod spare;

use active::Active;
use commit_error::CommitError;
use file_check::Displaced;
use spare::Spare;

pub(super) use spare::SPARE_FILE;

/// The answer to an append.
pub type AppendReply = Result<Appended, AppendError>;

/// One waiting append.
#[derive(Debug)]
pub struct Append {
    /// What to store.
    pub entry: Entry,
    /// The key by which later copies are recognised; `None` if they need not be.
    pub duplicate: Option<DuplicateKey>,
    /// Whether the other replicas are told that the key is durable.
    pub confirm: bool,
    /// Where the answer goes. The receiver can be gone by then.
    pub answer: oneshot::Sender<AppendReply>,
}

/// Writes groups of appends. There is one per spool.
pub struct Committer {
    shared: Arc<SharedLog>,
    window: LocalWindow,
    active: Option<Active>,
    /// What the footer of the newest segment is made of, if an earlier process left that segment without one.
    unclosed: Option<FooterDraft>,
    /// Whether there is a file without entries that has the next segment's name.
    leftover: bool,
    /// The file in which the next segment is begun.
    spare: Option<Spare>,
    /// When the free space was last read.
    free_sampled: Option<Steady>,
    /// The time in which the free space cannot be read, by the system's error.
    free_unknown: Episode<String>,
    /// The time in which a segment's file cannot be removed, by the system's error.
    unremovable: Episode<String>,
    /// The time in which there is no space for footers.
    no_footers: Episode<()>,
    /// Until when appends are refused, and why, after a write found the disk full.
    retry: Option<(Steady, AppendGate)>,
    failed: bool,
    /// The base of the segment behind which the next check of the files goes on.
    looked_at: Position,
    /// When the system first did not say whether a file is there; `None` while it does.
    unseen_since: Option<Steady>,
}

/// A group that is encoded and not yet written.
struct Staged {
    bytes: Vec<u8>,
    first: Position,
    /// Where each entry begins in `bytes`; an entry's position is `first` plus its index here.
    offsets: Vec<usize>,
    /// The newest position with a single-sink entry.
    single_sink: Option<Position>,
    /// The duplicate key and the arrival of each entry.
    keys: Vec<StagedKey>,
    answers: Vec<(oneshot::Sender<AppendReply>, Appended)>,
}

/// What the footer and the duplicate windows are told of an entry.
struct StagedKey {
    key: Option<DuplicateKey>,
    arrived: Timestamp,
    /// Whether the shared duplicate window is told as soon as the entry is durable.
    confirm: bool,
}

impl Committer {
    pub(super) fn new(
        shared: Arc<SharedLog>,
        window: LocalWindow,
        leftover: bool,
        unclosed: Option<FooterDraft>,
    ) -> Self {
        Self {
            shared,
            window,
            active: None,
            unclosed,
            leftover,
            spare: None,
            free_sampled: None,
            free_unknown: Episode::reminding(),
            unremovable: Episode::reminding(),
            no_footers: Episode::default(),
            retry: None,
            failed: false,
            looked_at: Position(0),
            unseen_since: None,
        }
    }

    /// Stores a group and answers every append in it. Empties `group`.
    pub fn commit(&mut self, group: &mut Vec<Append>, now: Moment) {
        self.window.expire(now.steady);
        self.forget_lost();
        self.answer_known(group);
        if !group.is_empty() {
            self.store(group, now);
            self.refresh_gate(now);
        }
    }

    /// Takes the keys of entries that were found lost out of the window, before anything is answered by it.
    fn forget_lost(&mut self) {
        let lost = std::mem::take(&mut *self.shared.lost_keys.lock());
        lost.into_iter().for_each(|key| self.window.forget(key));
    }

    /// Answers the appends whose keys the duplicate window knows to be durable; the others stay in the group.
    fn answer_known(&self, group: &mut Vec<Append>) {
        let known = |append: &mut Append| {
            let durable = |key| self.window.sighting(key) == KeySighting::Durable;
            !self.failed && append.duplicate.is_some_and(durable)
        };
        let mut keys = Vec::new();
        for append in group.extract_if(.., known) {
            keys.extend(append.duplicate.filter(|_| append.confirm));
            reply(append.answer, Ok(Appended::Duplicate));
        }
        // The shared window can have missed these keys when their events became durable.
        if let Some(others) = self.shared.durable_keys.get() {
            others.confirm(keys);
        }
    }

    fn store(&mut self, group: &mut Vec<Append>, now: Moment) {
        let seed = match self.segment(now) {
            Ok(seed) => seed,
            Err(error) => {
                let refusal = self.handle(error, now);
                return group.drain(..).for_each(|append| reply(append.answer, Err(refusal)));
            }
        };
        let staged = self.stage(group, seed, now);
        if staged.answers.is_empty() {
            return;
        }
        match self.write(&staged.bytes, now) {
            Ok(()) => self.make_visible(staged, now),
            Err(error) => {
                self.window.roll_back();
                let refusal = self.handle(error, now);
                staged.answers.into_iter().for_each(|(answer, _)| reply(answer, Err(refusal)));
            }
        }
    }

    /// The seed of the segment to write to. Begins a segment if there is none or it is full.
    fn segment(&mut self, now: Moment) -> Result<Seed, CommitError> {
        let segment_bytes = self.shared.options.segment_bytes;
        match &self.active {
            _ if self.failed => Err(CommitError::broken("the spool has failed already")),
            Some(active) if active.durable_len < segment_bytes => Ok(active.seed),
            _ => self.begin_segment(now),
        }
    }

    /// Encodes the entries that are new and fit. Copies of an entry in the same group wait for its outcome.
    fn stage(&mut self, group: &mut Vec<Append>, seed: Seed, now: Moment) -> Staged {
        let capacity = group.iter().map(|append| weight(&append.entry)).sum();
        let mut staged = Staged {
            bytes: Vec::with_capacity(capacity),
            first: self.shared.view().next,
            offsets: Vec::with_capacity(group.len()),
            single_sink: None,
            keys: Vec::with_capacity(group.len()),
            answers: Vec::with_capacity(group.len()),
        };
        let mut left = self.capacity();
        for Append { entry, duplicate, confirm, answer } in group.drain(..) {
            if duplicate.is_some_and(|key| self.window.sighting(key) == KeySighting::Staged) {
                staged.answers.push((answer, Appended::Duplicate));
                continue;
            }
            let start = staged.bytes.len();
            let position = Position(staged.first.0 + staged.offsets.len() as u64);
            let frame_len = frame::encode(&entry, position, duplicate, seed, &mut staged.bytes);
            let refusal = if frame_len > FRAME_HEADER_BYTES + ENTRY_BYTES_MAX {
                Some(AppendError::TooLarge)
            } else if staged.bytes.len() as u64 > left {
                let gate = self.free_capacity(staged.bytes.len() as u64, now);
                left = self.capacity();
                gate.err().map(|gate| AppendError::Full { reason: gate.reason() })
            } else {
                None
            };
            if let Some(refusal) = refusal {
                staged.bytes.truncate(start);
                reply(answer, Err(refusal));
                continue;
            }
            staged.offsets.push(start);
            if entry.is_single_sink() {
                staged.single_sink = Some(position);
            }
            staged.answers.push((answer, Appended::Stored(position)));
            duplicate.into_iter().for_each(|key| self.window.stage(key));
            staged.keys.push(StagedKey { key: duplicate, arrived: entry.arrived(), confirm });
        }
        staged
    }

    /// Writes the bytes behind the durable length, and makes them durable.
    fn write(&mut self, bytes: &[u8], now: Moment) -> Result<(), CommitError> {
        loop {
            let Some(active) = self.active.as_mut().filter(|_| !self.failed) else {
                return Err(CommitError::broken("the spool failed while the group was staged"));
            };
            let Err(error) = active.write(bytes) else {
                let begun = Instant::now();
                let synced = active.file.sync_data();
                self.shared.metrics.spool_fsync.observe(begun.elapsed().as_secs_f64());
                synced
                    .map_err(|error| CommitError::broken(format!("cannot make events durable: {error}")))?;
                // Bytes in a file that has lost its name are not durable: the group is refused, and what is
                // put back is without it.
                let (before, written) = (active.durable_len, bytes.len() as u64);
                let after = active.file_len_after(written);
                let Err(displaced) = file_check::displaced(&active.named, before, after) else {
                    active.extend(written);
                    return Ok(());
                };
                if matches!(displaced, Displaced::Unseen { .. }) {
                    self.cut()?;
                }
                return Err(self.on_displaced(displaced, now));
            };
            let scarce = Scarce::of(&error);
            if !is_full(&error) && scarce.is_none() {
                return Err(CommitError::broken(format!("cannot write to a segment: {error}")));
            }
            self.cut()?;
            if let Some(scarce) = scarce {
                return Err(CommitError::Full(scarce.into()));
            }
            if error.kind() == io::ErrorKind::FileTooLarge {
                // This file cannot grow any more, but another can, unless the group alone is too large.
                self.active.take_if(|active| active.durable_len > HEADER_BYTES);
                return Err(CommitError::Full(AppendGate::DiskFull));
            }
            if !self.give_up_spare() && !self.prune_in_need(bytes.len() as u64) {
                return Err(CommitError::Full(self.why_full(now)));
            }
        }
    }

    /// Cuts the newest segment behind its durable length.
    fn cut(&mut self) -> Result<(), CommitError> {
        let Some(active) = &mut self.active else { return Ok(()) };
        active.cut()?;
        self.shared.view().segments.grow_newest(|segment| segment.old_bytes = 0);
        self.free_sampled = None;
        Ok(())
    }

    /// Shows a durable group to the readers, remembers its keys, and answers its appends.
    fn make_visible(&mut self, staged: Staged, now: Moment) {
        let Staged { bytes, first, offsets, single_sink, keys, answers } = staged;
        let written = bytes.len() as u64;
        let last = Position(first.0 + offsets.len() as u64 - 1);
        self.window.commit(now.steady);
        if let Some(active) = &mut self.active {
            keys.iter().for_each(|staged| active.draft.note(staged.key, staged.arrived));
        }
        let grown = {
            let mut view = self.shared.view();
            let bytes_before = view.segments.bytes();
            view.segments.grow_newest(|segment| {
                for (position, &offset) in (first.0..).zip(&offsets) {
                    segment.note(Position(position), segment.len + offset as u64);
                }
                segment.len += written;
                segment.old_bytes = segment.old_bytes.saturating_sub(written);
                segment.newest = now.steady;
            });
            view.tail.push(Block::new(first, last, Bytes::from(bytes)));
            view.next = last.next();
            self.shared.assert_positions(&view);
            view.segments.bytes() - bytes_before
        };
        self.spend_free(grown);
        // Whoever looks sees the group from here on.
        if let Some(single_sink) = single_sink {
            move_unannounced(&self.shared.single_sink, single_sink);
        }
        move_unannounced(&self.shared.head, last);
        if let Some(others) = self.shared.durable_keys.get() {
            others.confirm(
                keys.into_iter().filter(|staged| staged.confirm).filter_map(|staged| staged.key).collect(),
            );
        }
        answers.into_iter().for_each(|(answer, appended)| reply(answer, Ok(appended)));
        // Readers are woken after the answers, because they would take the cores from those.
        if single_sink.is_some() {
            announce(&self.shared.single_sink);
        }
        announce(&self.shared.head);
    }

    /// Checks every file of the spool, and fails the spool if one was changed.
    pub(super) fn verify_all_files(&mut self) {
        if !self.failed
            && let Err(failure) = self.shared.verify_all_files()
        {
            self.fail(failure);
        }
    }

    /// Fails the spool: nothing is written any more. What was not made durable is cut off if possible,
    /// because the next start could read it from the page cache though it is not on the disk.
    fn fail(&mut self, failure: impl Into<SpoolFailure>) {
        self.failed = true;
        if let Some(active) = self.active.take() {
            // A file that somebody else has shortened is not made longer again.
            let is_short = active.file.len().is_ok_and(|len| len < active.durable_len);
            let cut = if is_short { Ok(()) } else { active.file.truncate(active.durable_len) };
            if let Err(error) = cut {
                tracing::error!(%error, "cannot cut the newest segment back to its durable length");
            }
        }
        self.shared.fail(failure.into());
    }
}

/// An estimate of an entry's encoded bytes, for grouping and for allocating memory.
pub(super) fn weight(entry: &Entry) -> usize {
    let body = match entry {
        Entry::Event(event) => &event.body,
        Entry::Quarantined(quarantined) => &quarantined.body,
    };
    body.len() + 512
}

/// Moves a position, and wakes nobody who waits for it.
fn move_unannounced(moved: &watch::Sender<Position>, to: Position) {
    moved.send_if_modified(|position| {
        *position = to;
        false
    });
}

/// Wakes those who wait for a position that has moved.
fn announce(moved: &watch::Sender<Position>) {
    moved.send_modify(|_| {});
}

fn reply(to: oneshot::Sender<AppendReply>, answer: AppendReply) {
    // The receiver can be gone; the outcome of the append stands all the same.
    let _ = to.send(answer);
}
