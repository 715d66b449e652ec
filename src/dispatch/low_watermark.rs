//! The durable cursors of all readers of the log. Segments that all cursors have passed are released. If
//! the spool is full, segments can be removed that all readers without `on_full: detach_sink` have passed.

use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;

use crate::event::Position;
use crate::spool::Spool;

/// A reader's durable cursor, and whether a full spool waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReaderPosition {
    /// The reader's committed cursor.
    pub cursor: Position,
    /// Whether the reader skips records rather than hold a full spool back (`on_full: detach_sink`).
    pub detaches: bool,
}

/// One reader's handle on the durable cursors.
#[derive(Clone)]
pub struct CursorHandle {
    all: Arc<Mutex<Vec<ReaderPosition>>>,
    index: usize,
    spool: Spool,
}

/// One handle for each reader. They are made together, so that no reader is forgotten while another
/// one commits. Records that all readers have passed are released at once.
pub fn shares(spool: &Spool, readers: &[ReaderPosition]) -> Vec<CursorHandle> {
    settle(spool, readers);
    let all = Arc::new(Mutex::new(readers.to_vec()));
    (0..readers.len())
        .map(|index| CursorHandle { all: Arc::clone(&all), index, spool: spool.clone() })
        .collect()
}

impl CursorHandle {
    /// The durable cursor of this reader.
    pub fn cursor(&self) -> Position {
        self.all()[self.index].cursor
    }

    /// Notes that this reader's cursor is durable up to here, and releases the records that all readers
    /// have passed.
    pub fn commit(&self, cursor: Position) {
        let mut all = self.all();
        all[self.index].cursor = cursor;
        settle(&self.spool, &all);
    }

    fn all(&self) -> MutexGuard<'_, Vec<ReaderPosition>> {
        self.all.lock()
    }
}

fn settle(spool: &Spool, readers: &[ReaderPosition]) {
    let slowest = readers.iter().map(|reader| reader.cursor).min();
    slowest.into_iter().for_each(|cursor| spool.release(cursor));
    let slowest = readers.iter().filter(|reader| !reader.detaches).map(|reader| reader.cursor).min();
    slowest.into_iter().for_each(|cursor| spool.allow_pruning_in_need(cursor));
}
