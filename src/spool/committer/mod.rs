//! The group-commit step: many appends, one write, one fdatasync, then all the answers.
//!
//! A plain struct that a thread calls; it reads no clock and starts nothing, so a simulated disk can
//! drive it call by call (only the time an fdatasync takes is measured). Nothing is answered before its bytes are durable. A group is stored or
//! refused as one where the disk is concerned. When there is no room it cuts back to the durable
//! length and carries on later; when the disk cannot be trusted (a failed fsync, a failed cut) it
//! never writes again. It keeps no queue and decides nothing about when groups form.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::failure::SpoolFailure;
use super::frame::{self, FRAME_HEADER_BYTES, Seed};
use super::segment::{self, HEADER_BYTES, Header};
use super::segments::SegmentInfo;
use super::shared_log::{AppendGate, SharedLog};
use super::tail::Block;
use super::{AppendError, Appended, RECORD_BYTES_MAX};
use crate::clock::{Moment, Steady};
use crate::dedup::DuplicateKey;
use crate::dedup::local::{KeySighting, LocalWindow};
use crate::disk::named_file::NamedFile;
use crate::disk::{DiskFile, is_full, write_all_at};
use crate::event::{Entry, Position};
use crate::scarce::Scarce;

mod capacity;
mod commit_error;
mod file_check;

use commit_error::{CommitError, not_now_or_broken};
use file_check::Displaced;

/// The answer to an append.
pub type AppendReply = Result<Appended, AppendError>;

/// One waiting append.
#[derive(Debug)]
pub struct Append {
    /// What to store.
    pub entry: Entry,
    /// Recognises later copies, if they are to be.
    pub duplicate: Option<DuplicateKey>,
    /// Where the answer goes. Nobody need be there any more.
    pub answer: oneshot::Sender<AppendReply>,
}

/// Writes groups of appends. There is one per spool.
pub struct Committer {
    shared: Arc<SharedLog>,
    window: LocalWindow,
    active: Option<Active>,
    /// A file without records that has the next segment's name.
    leftover: bool,
    /// When the free space was last looked at.
    free_sampled: Option<Steady>,
    /// The disk said that it is full, so until when to refuse, and why.
    retry: Option<(Steady, AppendGate)>,
    failed: bool,
    /// Behind which segment the next look at the files goes on.
    looked_at: Position,
    /// Since when the system has not said whether a file is there.
    unseen_since: Option<Steady>,
}

/// The segment that is being written.
struct Active {
    file: Arc<dyn DiskFile>,
    place: Arc<NamedFile>,
    seed: Seed,
    /// Bytes that are durable: where the next group goes, and where a failed one is cut off.
    durable_len: u64,
}

impl Active {
    /// Takes back what was written behind what counts. Durably: were the cut lost to a power cut, refused
    /// records could come back at positions that the next segment has given to others.
    fn cut(&self) -> Result<(), CommitError> {
        let cut = self.file.truncate(self.durable_len).and_then(|()| self.file.sync_data());
        cut.map_err(|error| CommitError::broken(format!("cannot take a failed write back: {error}")))
    }
}

/// A group on its way to the disk.
struct Staged {
    bytes: Vec<u8>,
    first: Position,
    /// Where each record begins in `bytes`; its position is `first` and its place in here.
    offsets: Vec<usize>,
    /// The newest that is not for every sink.
    apart: Option<Position>,
    /// The keys of the records, if anybody else is to know them.
    keys: Vec<DuplicateKey>,
    answers: Vec<(oneshot::Sender<AppendReply>, Appended)>,
}

impl Committer {
    pub(super) fn new(shared: Arc<SharedLog>, window: LocalWindow, leftover: bool) -> Self {
        Self {
            shared,
            window,
            active: None,
            leftover,
            free_sampled: None,
            retry: None,
            failed: false,
            looked_at: Position(0),
            unseen_since: None,
        }
    }

    /// Stores a group and answers all of it. Empties `group`.
    pub fn commit(&mut self, group: &mut Vec<Append>, now: Moment) {
        self.window.expire(now.steady);
        self.answer_known(group);
        if !group.is_empty() {
            self.store(group, now);
            self.refresh_gate(now);
        }
    }

    /// Answers what the window knows to be durable; the rest stays.
    fn answer_known(&self, group: &mut Vec<Append>) {
        let known = |append: &mut Append| {
            let durable = |key| self.window.sighting(key) == KeySighting::Durable;
            !self.failed && append.duplicate.is_some_and(durable)
        };
        let mut keys = Vec::new();
        for append in group.extract_if(.., known) {
            keys.extend(append.duplicate);
            reply(append.answer, Ok(Appended::Duplicate));
        }
        // Whoever shares the window may not have heard of it when it became durable.
        if let Some(others) = self.shared.durable_keys.get() {
            others.tell(keys);
        }
    }

    fn store(&mut self, group: &mut Vec<Append>, now: Moment) {
        let seed = match self.segment(now) {
            Ok(seed) => seed,
            Err(trouble) => {
                let refusal = self.handle(trouble, now);
                return group.drain(..).for_each(|append| reply(append.answer, Err(refusal)));
            }
        };
        let staged = self.stage(group, seed, now);
        if staged.answers.is_empty() {
            return;
        }
        match self.write(&staged.bytes, now) {
            Ok(()) => self.publish(staged, now),
            Err(trouble) => {
                self.window.roll_back();
                let refusal = self.handle(trouble, now);
                staged.answers.into_iter().for_each(|(answer, _)| reply(answer, Err(refusal)));
            }
        }
    }

    /// The seed of the segment to write to; begins one if need be.
    fn segment(&mut self, now: Moment) -> Result<Seed, CommitError> {
        let segment_bytes = self.shared.options.segment_bytes;
        match &self.active {
            _ if self.failed => Err(CommitError::broken("the spool has failed before")),
            Some(active) if active.durable_len < segment_bytes => Ok(active.seed),
            _ => self.begin_segment(now),
        }
    }

    /// Makes the next segment, durable with its directory entry before anything is written to it.
    fn begin_segment(&mut self, now: Moment) -> Result<Seed, CommitError> {
        self.active = None;
        let base = self.shared.view().next;
        let id = RandomState::new().build_hasher().finish();
        let header = Header { id, base, created: now.wall };
        let (disk, dir) = (Arc::clone(&self.shared.disk), self.shared.dir.clone());
        let file = loop {
            match segment::create(&*disk, &dir, &header, self.leftover) {
                Ok(file) => break file,
                Err(error) if is_full(&error) => {
                    self.leftover = true;
                    if !self.prune_in_need(HEADER_BYTES) {
                        return Err(CommitError::Full(self.why_full(now)));
                    }
                }
                Err(error) => {
                    // What there is of the file by now is used again.
                    self.leftover = true;
                    return Err(not_now_or_broken("cannot make a segment", &error));
                }
            }
        };
        // Descriptors are what opening takes; a failed fsync is believed in nothing.
        let undurable = |error: io::Error| match Scarce::of(&error) {
            Some(Scarce::Descriptors) => CommitError::Full(AppendGate::Descriptors),
            _ => CommitError::broken(format!("cannot make a new segment durable: {error}")),
        };
        self.leftover = true;
        file.sync_all().and_then(|()| disk.sync_dir(&dir)).map_err(undurable)?;
        let file: Arc<dyn DiskFile> = file.into();
        let path = segment::path(&dir, base);
        let place = NamedFile::of(disk, self.shared.dir_id, path, Arc::clone(&file))
            .map_err(|error| CommitError::broken(format!("cannot look at a new segment: {error}")))?;
        let (seed, place) = (header.seed(), Arc::new(place));
        let mut segment = SegmentInfo::new(base, Some(seed), now.steady);
        segment.id = Some(place.id());
        self.shared.view().catalogue.push(segment);
        self.shared.set_open(Arc::clone(&place));
        self.spend_free(HEADER_BYTES);
        self.active = Some(Active { file, place, seed, durable_len: HEADER_BYTES });
        self.leftover = false;
        Ok(seed)
    }

    /// Encodes what is new and fits, and sets aside the copies of what is in this very group.
    fn stage(&mut self, group: &mut Vec<Append>, seed: Seed, now: Moment) -> Staged {
        let capacity = group.iter().map(|append| weight(&append.entry)).sum();
        let mut staged = Staged {
            bytes: Vec::with_capacity(capacity),
            first: self.shared.view().next,
            offsets: Vec::with_capacity(group.len()),
            apart: None,
            keys: Vec::new(),
            answers: Vec::with_capacity(group.len()),
        };
        let mut room = self.capacity();
        let is_shared = self.shared.durable_keys.get().is_some();
        for Append { entry, duplicate, answer } in group.drain(..) {
            if duplicate.is_some_and(|key| self.window.sighting(key) == KeySighting::Staged) {
                staged.answers.push((answer, Appended::Duplicate));
                continue;
            }
            let start = staged.bytes.len();
            let position = Position(staged.first.0 + staged.offsets.len() as u64);
            let frame_len = frame::encode(&entry, position, duplicate, seed, &mut staged.bytes);
            let refusal = if frame_len > FRAME_HEADER_BYTES + RECORD_BYTES_MAX {
                Some(AppendError::TooLarge)
            } else if staged.bytes.len() as u64 > room {
                let gate = self.free_capacity(staged.bytes.len() as u64, now);
                room = self.capacity();
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
                staged.apart = Some(position);
            }
            staged.answers.push((answer, Appended::Stored(position)));
            duplicate.into_iter().for_each(|key| self.window.stage(key));
            staged.keys.extend(duplicate.filter(|_| is_shared));
        }
        staged
    }

    /// Writes the bytes behind what is durable, and makes them durable.
    fn write(&mut self, bytes: &[u8], now: Moment) -> Result<(), CommitError> {
        loop {
            let Some(active) = self.active.as_mut().filter(|_| !self.failed) else {
                return Err(CommitError::broken("the spool failed while the group was staged"));
            };
            let Err(error) = write_all_at(&*active.file, bytes, active.durable_len) else {
                let begun = Instant::now();
                let synced = active.file.sync_data();
                self.shared.metrics.spool_fsync.observe(begun.elapsed().as_secs_f64());
                synced
                    .map_err(|error| CommitError::broken(format!("cannot make events durable: {error}")))?;
                let before = active.durable_len;
                active.durable_len += bytes.len() as u64;
                // Durable in a file that has lost its name is not durable.
                let Err(displaced) = file_check::displaced(&active.place, active.durable_len) else {
                    return Ok(());
                };
                if matches!(displaced, Displaced::Unseen { .. }) {
                    active.durable_len = before;
                    active.cut()?;
                }
                return Err(self.bear(displaced, now));
            };
            let scarce = Scarce::of(&error);
            if !is_full(&error) && scarce.is_none() {
                return Err(CommitError::broken(format!("cannot write to a segment: {error}")));
            }
            active.cut()?;
            if let Some(scarce) = scarce {
                return Err(CommitError::Full(scarce.into()));
            }
            if error.kind() == io::ErrorKind::FileTooLarge && active.durable_len > HEADER_BYTES {
                // This file may grow no more, but another may.
                self.active = None;
                return Err(CommitError::Full(AppendGate::DiskFull));
            }
            if !self.prune_in_need(bytes.len() as u64) {
                return Err(CommitError::Full(self.why_full(now)));
            }
        }
    }

    /// The group is durable: lets readers see it and remembers its keys, then answers.
    fn publish(&mut self, staged: Staged, now: Moment) {
        let Staged { bytes, first, offsets, apart, keys, answers } = staged;
        let written = bytes.len() as u64;
        let last = Position(first.0 + offsets.len() as u64 - 1);
        self.window.commit(now.steady);
        {
            let mut view = self.shared.view();
            view.catalogue.grow_newest(|segment| {
                for (position, &offset) in (first.0..).zip(&offsets) {
                    segment.note(Position(position), segment.len + offset as u64);
                }
                segment.len += written;
                segment.newest = now.steady;
            });
            view.tail.push(Block { first, last, bytes: Bytes::from(bytes) });
            view.next = last.next();
        }
        self.spend_free(written);
        if let Some(apart) = apart {
            self.shared.apart.send_replace(apart);
        }
        self.shared.head.send_replace(last);
        if let Some(others) = self.shared.durable_keys.get() {
            others.tell(keys);
        }
        answers.into_iter().for_each(|(answer, appended)| reply(answer, Ok(appended)));
    }

    /// Looks at every file of the spool, and fails if one is not what it was.
    pub(super) fn look_over_all(&mut self) {
        if !self.failed
            && let Err(failure) = self.shared.verify_all_files()
        {
            self.fail(failure);
        }
    }

    /// Writes no more. What was not made durable is cut off as well as may be, so that the next
    /// start does not take the page cache's word for what is on the disk.
    fn fail(&mut self, failure: impl Into<SpoolFailure>) {
        self.failed = true;
        if let Some(active) = self.active.take() {
            // One that others have cut short is not made longer again.
            let is_short = active.file.len().is_ok_and(|len| len < active.durable_len);
            let cut = if is_short { Ok(()) } else { active.file.truncate(active.durable_len) };
            if let Err(error) = cut {
                tracing::error!(%error, "cannot cut a segment back to what is durable");
            }
        }
        self.shared.fail(failure.into());
    }
}

/// About how many bytes an entry becomes, for grouping and for setting memory aside.
pub(super) fn weight(entry: &Entry) -> usize {
    let body = match entry {
        Entry::Event(event) => &event.body,
        Entry::Quarantined(quarantined) => &quarantined.body,
    };
    body.len() + 512
}

fn reply(to: oneshot::Sender<AppendReply>, answer: AppendReply) {
    // Whoever asked may have gone; what was decided stands all the same.
    let _ = to.send(answer);
}
