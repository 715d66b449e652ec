//! Reading the log: from memory at the tail, from disk before it, and never the whole backlog at once.
//!
//! A call looks the position up under the view's lock and reads without it. Every position between `after`
//! and `through` of a batch either has an entry there or is counted as damaged, so a reader can neither stall
//! at damage nor pass it unnoticed. Only durable bytes are ever read.

use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use super::segment::{Found, Scanner};
use super::segments::before;
use super::shared_log::{Life, SharedLog};
use super::stretch::Stretch;
use super::tail::Block;
use super::{EntryBatch, ReadError, codec};
use crate::disk::DiskFile;
use crate::event::{Entry, Position};

/// Bytes read from disk at once.
const CHUNK_BYTES: usize = 1 << 20;

/// Where the entries behind a position are.
enum Stored {
    Memory(Vec<Block>),
    Disk(Stretch),
    /// Nowhere: up to this position there is no entry to be read.
    Gone(Position),
}

/// Which entries a reader wants.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    All,
    SingleSink,
}

/// How much more a batch takes in.
struct Limits {
    entries: usize,
    bytes: usize,
    wanted: Wanted,
}

/// A batch in the making.
struct Gathering {
    entries: Vec<(Position, Entry)>,
    /// The last position that was accounted for.
    last: Position,
    /// Positions that have no entry.
    gaps: Vec<RangeInclusive<u64>>,
    wanted: Wanted,
}

impl SharedLog {
    /// The entries behind `after`, up to the limits but at least one. Waits until there is one, or until one
    /// is known to be missing.
    pub(super) async fn read(
        self: &Arc<Self>,
        after: Position,
        entries_max: usize,
        bytes_max: usize,
    ) -> Result<EntryBatch, ReadError> {
        self.wait_behind(&self.head, after).await?;
        let limits = Limits { entries: entries_max.max(1), bytes: bytes_max, wanted: Wanted::All };
        self.read_behind(after, limits).await
    }

    /// The same for single-sink entries: waits until there can be one.
    pub(super) async fn read_single_sink(
        self: &Arc<Self>,
        after: Position,
        entries_max: usize,
        bytes_max: usize,
    ) -> Result<EntryBatch, ReadError> {
        self.wait_behind(&self.single_sink, after).await?;
        let limits = Limits { entries: entries_max.max(1), bytes: bytes_max, wanted: Wanted::SingleSink };
        self.read_behind(after, limits).await
    }

    async fn read_behind(self: &Arc<Self>, after: Position, limits: Limits) -> Result<EntryBatch, ReadError> {
        match self.place(after, limits.bytes) {
            Stored::Memory(blocks) => Ok(read_memory(&blocks, after, limits)),
            Stored::Gone(through) => Ok(nothing(after, through)),
            Stored::Disk(stretch) => {
                let reader = Arc::clone(self);
                let read = move || reader.read_disk(&stretch, after, limits);
                // The task is never aborted; it can only end early with the runtime or by a panic.
                tokio::task::spawn_blocking(read).await.unwrap_or(Err(ReadError::Stopped))
            }
        }
    }

    /// As [`super::Spool::read`], for callers without a runtime: returns `None` instead of waiting.
    pub fn read_now(
        &self,
        after: Position,
        entries_max: usize,
        bytes_max: usize,
    ) -> Result<Option<EntryBatch>, ReadError> {
        if self.head() <= after {
            return Ok(None);
        }
        let limits = Limits { entries: entries_max.max(1), bytes: bytes_max, wanted: Wanted::All };
        match self.place(after, bytes_max) {
            Stored::Memory(blocks) => Ok(Some(read_memory(&blocks, after, limits))),
            Stored::Gone(through) => Ok(Some(nothing(after, through))),
            Stored::Disk(stretch) => self.read_disk(&stretch, after, limits).map(Some),
        }
    }

    /// Waits until a watched position is greater than `after`.
    async fn wait_behind(&self, newest: &watch::Sender<Position>, after: Position) -> Result<(), ReadError> {
        let mut newest = newest.subscribe();
        let mut life = self.life.subscribe();
        tokio::select! {
            biased;
            Ok(_) = newest.wait_for(|newest| *newest > after) => Ok(()),
            _ = life.wait_for(|life| *life != Life::Running) => Err(ReadError::Stopped),
        }
    }

    fn place(&self, after: Position, bytes_max: usize) -> Stored {
        let view = self.view();
        let blocks = view.tail.behind(after, bytes_max);
        if !blocks.is_empty() {
            return Stored::Memory(blocks);
        }
        let Some((segment, next_base)) = view.segments.behind(after) else {
            return Stored::Gone(Position(view.next.0 - 1));
        };
        let through = next_base.map_or(segment.last, before);
        let stretch = Stretch::behind(&self.dir, segment, after, through);
        stretch.map_or(Stored::Gone(through), Stored::Disk)
    }

    fn read_disk(
        &self,
        stretch: &Stretch,
        after: Position,
        mut limits: Limits,
    ) -> Result<EntryBatch, ReadError> {
        limits.bytes = limits.bytes.min(CHUNK_BYTES);
        let read = self.disk.open_read(&stretch.path).and_then(|file| {
            stretch.is_in(&*file)?;
            scan(&*file, stretch, after, limits)
        });
        let batch = read.or_else(|error| self.without(stretch, after).ok_or(error));
        let gathered = batch.map_err(|source| ReadError::Io { path: stretch.path.clone(), source })?;
        self.count_lost(stretch.base, &gathered.gaps);
        Ok(gathered.batch(after))
    }

    /// Counts the positions of a segment that have turned out to hold no entry that can be read.
    pub(super) fn count_lost(&self, base: Position, gaps: &[RangeInclusive<u64>]) {
        // Positions before the segment were pruned, or were counted as missing at start. The segment itself
        // can have been pruned since the look-up.
        let first = self.first();
        let kept = base.max(first).0;
        for gap in gaps {
            // Another reader can have counted it before.
            let new = self.lost.add(&(kept.max(*gap.start())..=*gap.end()), first.0);
            self.metrics.spool_corrupt.inc_by(new);
        }
    }

    /// The batch for a segment that cannot be read. If it was pruned since the look-up, its file is gone or
    /// is written over, and the reader passes over what was pruned. If somebody removed it, there is no
    /// batch: the reader must not pass what it held, and the writer finds the same and fails the spool.
    fn without(&self, stretch: &Stretch, after: Position) -> Option<Gathering> {
        let first = self.first();
        let through = Position(first.0.saturating_sub(1)).max(after.next());
        (first > stretch.base).then(|| Gathering::new(Wanted::All, after).through(through))
    }
}

/// The batch of a reader that finds no entry up to `through`.
fn nothing(after: Position, through: Position) -> EntryBatch {
    Gathering::new(Wanted::All, after).through(through).batch(after)
}

fn read_memory(blocks: &[Block], after: Position, limits: Limits) -> EntryBatch {
    match limits.wanted {
        Wanted::All => read_shared(blocks, after, limits),
        Wanted::SingleSink => read_single_sink(blocks, after, limits),
    }
}

/// Reads all entries, which the blocks have decoded for every reader.
fn read_shared(blocks: &[Block], after: Position, mut limits: Limits) -> EntryBatch {
    let mut gathering = Gathering::new(limits.wanted, after);
    for entry in blocks.iter().flat_map(Block::entries).filter(|entry| entry.position > after) {
        if !limits.admit(entry.payload_len, gathering.last == after) {
            break;
        }
        gathering.take_decoded(entry.position, entry.entry.clone());
    }
    gathering.batch(after)
}

/// Reads single-sink entries, and decodes no others.
fn read_single_sink(blocks: &[Block], after: Position, mut limits: Limits) -> EntryBatch {
    let mut gathering = Gathering::new(limits.wanted, after);
    let frames = blocks.iter().flat_map(Block::frames).filter(|(header, _)| header.position > after);
    for (header, payload) in frames {
        if !limits.admit(payload.len(), gathering.last == after) {
            break;
        }
        gathering.take(header.position, payload);
    }
    gathering.batch(after)
}

fn scan(
    file: &dyn DiskFile,
    stretch: &Stretch,
    after: Position,
    mut limits: Limits,
) -> io::Result<Gathering> {
    let mut gathering = Gathering::new(limits.wanted, after);
    let mut through = after;
    let chunk_bytes = limits.bytes.clamp(64 * 1024, CHUNK_BYTES);
    let mut scanner = Scanner::new(file, stretch.seed, stretch.offset..stretch.end, chunk_bytes);
    while let Some(found) = scanner.next()? {
        let Found::Frame(frame) = found else { continue };
        // Only positions of this segment count, and only while they rise: so readers get entries in order
        // whatever is on disk.
        if frame.header.position <= through || frame.header.position > stretch.through {
            continue;
        }
        if !limits.admit(frame.payload.len(), through == after) {
            return Ok(gathering);
        }
        through = frame.header.position;
        gathering.take(through, frame.payload);
    }
    Ok(gathering.through(stretch.through))
}

impl Limits {
    /// Whether one more entry fits, which is then counted. The first always fits.
    fn admit(&mut self, bytes: usize, first: bool) -> bool {
        if !first && (self.entries == 0 || self.bytes < bytes) {
            return false;
        }
        self.entries = self.entries.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
        true
    }
}

impl Gathering {
    /// The empty batch of a reader that has read up to `after`.
    fn new(wanted: Wanted, after: Position) -> Self {
        Self { entries: Vec::new(), last: after, gaps: Vec::new(), wanted }
    }

    fn take(&mut self, position: Position, payload: Bytes) {
        if self.wanted == Wanted::SingleSink && !codec::is_single_sink(&payload) {
            self.account_to(before(position));
            self.last = position;
        } else {
            self.take_decoded(position, codec::decode(payload).ok());
        }
    }

    /// Takes the entry at this position, or counts it as a gap if it could not be decoded.
    fn take_decoded(&mut self, position: Position, entry: Option<Entry>) {
        if let Some(entry) = entry {
            self.account_to(before(position));
            self.entries.push((position, entry));
        } else {
            self.account_to(position);
        }
        self.last = position;
    }

    /// Counts the positions up to this one that have no entry so far as gaps.
    fn account_to(&mut self, position: Position) {
        if position > self.last {
            self.gaps.push(self.last.0 + 1..=position.0);
            self.last = position;
        }
    }

    fn through(mut self, through: Position) -> Self {
        self.account_to(through);
        self
    }

    /// The finished batch for a reader that had read up to `after`.
    fn batch(self, after: Position) -> EntryBatch {
        let damaged = self.gaps.iter().map(|gap| gap.end() - gap.start() + 1).sum();
        EntryBatch { entries: self.entries, through: self.last.max(after), damaged }
    }
}
