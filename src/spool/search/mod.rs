//! Searching the log: entries by duplicate key, by the beginning of an id, by time or by type.
//!
//! A search reads the segments' files, one after the other, each as it is when the search comes to it; the
//! view's lock is held only to look a segment up. Footers spare reading frames: `keys.rs` finds duplicate
//! keys and moments by them, `pages.rs` goes through the entries. A segment that is pruned meanwhile is
//! passed over. Every call blocks on the disk, and all but a look at the time end within a budget.
//!
//! A wall clock can be set back, and a copy of an event has the arrival of its original: so arrivals need
//! not rise with the positions, and no segment is passed over because of those beside it.

mod blocks;
mod keys;
mod pages;
mod stopped;

use std::collections::BTreeSet;
use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use self::blocks::OpenSegment;
use super::ReadError;
use super::codec::{self, CodecError};
use super::segment::{self, Frame};
use super::segments::{SegmentInfo, before};
use super::shared_log::SharedLog;
use super::stretch::Stretch;
use crate::dedup::DuplicateKey;
use crate::event::{Entry, IdMatch, Position, Timestamp};

/// Finds entries of the log. Clones search the same log.
#[derive(Clone)]
pub struct LogSearch(Arc<SharedLog>);

/// An entry that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchedEntry {
    /// Its position.
    pub position: Position,
    /// Whether it is the first copy, which has a duplicate key: a redriven event is a copy without one.
    pub first_copy: bool,
    /// The entry, in memory of its own.
    pub entry: Entry,
}

/// Which entries are searched for: those that pass all of it. An empty list or set lets every entry pass.
#[derive(Clone, Debug, Default)]
pub struct SearchFor {
    /// Duplicate keys, of which the entry has one.
    pub keys: Vec<DuplicateKey>,
    /// Its id, or the beginning of it.
    pub id: Option<IdMatch>,
    /// Event types. A quarantined delivery has none.
    pub types: BTreeSet<String>,
    /// Families. A quarantined delivery has none.
    pub families: BTreeSet<String>,
    /// Names of sources.
    pub sources: BTreeSet<String>,
    /// When it arrived: not before the first moment, and before the second.
    pub arrived: (Option<Timestamp>, Option<Timestamp>),
    /// Whether copies without a duplicate key are left out.
    pub first_copies_only: bool,
}

/// What a search can cost.
#[derive(Clone, Debug)]
pub struct SearchBudget {
    /// Most entries to return; at least one.
    pub entries_max: usize,
    /// About how many bytes to read from disk before the search ends; one block or footer more is read.
    pub bytes_max: u64,
    /// Ends the search early once it is set.
    pub stop: Arc<AtomicBool>,
}

/// What a search has found.
#[derive(Clone, Debug)]
pub struct SearchPage {
    /// The entries, in the order of the search.
    pub found: Vec<SearchedEntry>,
    /// Where the search goes on: everything up to this position was looked through, or down to it if the
    /// newest entries come first.
    pub through: Position,
    /// About how many bytes were read from disk.
    pub bytes_read: u64,
    /// How many of the positions that were looked through hold no entry that can be read.
    pub lost: u64,
    /// How many positions were passed over because they are not in the log any more, if the oldest entries
    /// come first: removed before the search, or while it went on.
    pub gone: u64,
    /// Duplicate keys of entries that are in the log and cannot be read.
    pub damaged: Vec<DamagedEntry>,
    /// Whether nothing is left to be looked through.
    pub complete: bool,
    /// The earliest arrival among the entries that were looked at.
    pub earliest: Option<Timestamp>,
}

/// An entry whose footer tells of it, and which cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DamagedEntry {
    /// Its duplicate key.
    pub key: DuplicateKey,
    /// The first position of its segment, after which the file is named.
    pub segment: Position,
}

impl SharedLog {
    /// Finds entries of this log.
    pub fn search(self: &Arc<Self>) -> LogSearch {
        LogSearch(Arc::clone(self))
    }
}

impl LogSearch {
    /// The oldest position that is kept; while the log is empty, the position that the next entry gets.
    pub fn first(&self) -> Position {
        self.0.first()
    }

    /// Whether there can be a single-sink entry behind this position.
    pub fn can_have_single_sink_behind(&self, after: Position) -> bool {
        self.0.pass_shared_entries(after) == after
    }

    /// The newest segment that begins before this position.
    fn begun_before(&self, position: Position) -> Option<(SegmentInfo, Position)> {
        let view = self.0.view();
        view.segments.begun_before(position).map(with_last)
    }

    /// The oldest segment that has an entry behind this position.
    fn behind(&self, after: Position) -> Option<(SegmentInfo, Position)> {
        let view = self.0.view();
        view.segments.behind(after).map(with_last)
    }

    /// Opens the file of a segment that accounts for positions up to this one. `None` if nothing in it can
    /// be read: its header is lost, or it was pruned meanwhile.
    fn open(&self, (info, through): (SegmentInfo, Position)) -> Result<Option<OpenSegment>, ReadError> {
        let base = info.base;
        let Some(stretch) = Stretch::behind(&self.0.dir, &info, before(base), through) else {
            return Ok(None);
        };
        let opened = self.0.disk.open_read(&stretch.path).and_then(|file| {
            stretch.is_in(&*file)?;
            Ok(OpenSegment { info, stretch, file })
        });
        self.unless_pruned(base, opened)
    }

    /// What was read of a segment. `None` if it was pruned meanwhile: its file can be gone, or hold another
    /// segment.
    fn unless_pruned<T>(&self, base: Position, read: io::Result<T>) -> Result<Option<T>, ReadError> {
        if self.0.view().segments.at(base).is_none() {
            return Ok(None);
        }
        let path = segment::path(&self.0.dir, base);
        read.map(Some).map_err(|source| ReadError::Io { path, source })
    }
}

/// A segment, and the last position that it accounts for.
fn with_last((segment, next): (&SegmentInfo, Option<Position>)) -> (SegmentInfo, Position) {
    (segment.clone(), next.map_or(segment.last, before))
}

impl SearchedEntry {
    /// The entry of a frame, in memory of its own: a frame keeps alive all that was read with it.
    fn of(frame: &Frame) -> Result<Self, CodecError> {
        Ok(Self {
            position: frame.header.position,
            first_copy: frame.header.key.is_some(),
            entry: codec::decode(Bytes::copy_from_slice(&frame.payload))?,
        })
    }
}

impl SearchFor {
    /// The frame's entry if it is searched for.
    fn entry_of(&self, frame: &Frame) -> Result<Option<SearchedEntry>, CodecError> {
        let (since, until) = self.arrived;
        let arrived = frame.header.arrived;
        let passes = since.is_none_or(|since| arrived >= since)
            && until.is_none_or(|until| arrived < until)
            && (!self.first_copies_only || frame.header.key.is_some())
            && (self.keys.is_empty() || frame.key().is_some_and(|key| self.keys.contains(&key)));
        if !passes || !self.takes(&codec::decode(frame.payload.clone())?) {
            return Ok(None);
        }
        SearchedEntry::of(frame).map(Some)
    }

    fn takes(&self, entry: &Entry) -> bool {
        let (id, source, event_type, family) = match entry {
            Entry::Event(event) => {
                (&event.id, &event.source_name, Some(&event.event_type), Some(&event.family))
            }
            Entry::Quarantined(delivery) => (&delivery.id, &delivery.source_name, None, None),
        };
        let is_among = |wanted: &BTreeSet<String>, text: Option<&str>| {
            wanted.is_empty() || text.is_some_and(|text| wanted.contains(text))
        };
        self.id.as_ref().is_none_or(|wanted| wanted.matches(id))
            && is_among(&self.sources, Some(source))
            && is_among(&self.types, event_type.map(|text| &**text))
            && is_among(&self.families, family.map(|text| &**text))
    }
}

impl SearchBudget {
    /// A budget that nobody ends early.
    pub fn new(entries_max: usize, bytes_max: u64) -> Self {
        Self { entries_max, bytes_max, stop: Arc::default() }
    }

    /// Whether a search that has come so far has to end. It gets on by one block or footer in any case.
    fn is_spent(&self, page: &SearchPage) -> bool {
        self.stop.load(Ordering::Relaxed) || (page.bytes_read > 0 && page.bytes_read >= self.bytes_max)
    }

    fn is_full(&self, page: &SearchPage) -> bool {
        page.found.len() >= self.entries_max.max(1)
    }
}

impl SearchPage {
    /// The page of a search that begins at this position.
    fn new(at: Position) -> Self {
        Self {
            found: Vec::new(),
            through: at,
            bytes_read: 0,
            lost: 0,
            gone: 0,
            damaged: Vec::new(),
            complete: false,
            earliest: None,
        }
    }

    /// Passes over positions that are not in the log any more.
    fn pass_gone(&mut self, through: Position) {
        if through > self.through {
            self.gone += through.0 - self.through.0;
            self.through = through;
        }
    }

    fn note_arrival(&mut self, arrived: Timestamp) {
        self.earliest = Some(self.earliest.map_or(arrived, |earliest| earliest.min(arrived)));
    }

    /// Counts those of the lost positions that were looked through.
    fn note_lost<'gaps>(&mut self, gaps: impl Iterator<Item = &'gaps RangeInclusive<u64>>) {
        self.lost += gaps.map(|gap| gap.end() - gap.start() + 1).sum::<u64>();
    }
}
