//! How far the readers of the spool have durably got: what is behind the last of them may go, and in
//! need what is behind the last of those that hold it back.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::event::Position;
use crate::spool::Spool;

/// Where a reader stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its committed cursor.
    pub cursor: Position,
    /// Whether it would rather miss events than hold a full spool back.
    pub detaches: bool,
}

/// One reader's part in the settlement.
#[derive(Clone)]
pub struct Share {
    all: Arc<Mutex<Vec<Standing>>>,
    index: usize,
    spool: Spool,
}

/// A share for each reader. They are made together, so that none can be forgotten while another one
/// settles; what all have passed already is settled at once.
pub fn shares(spool: &Spool, readers: &[Standing]) -> Vec<Share> {
    settle(spool, readers);
    let all = Arc::new(Mutex::new(readers.to_vec()));
    (0..readers.len()).map(|index| Share { all: Arc::clone(&all), index, spool: spool.clone() }).collect()
}

impl Share {
    /// The cursor of this reader that is known to be durable.
    pub fn cursor(&self) -> Position {
        self.all()[self.index].cursor
    }

    /// Notes that this reader's cursor is durable up to here, and settles what all have passed.
    pub fn commit(&self, cursor: Position) {
        let mut all = self.all();
        all[self.index].cursor = cursor;
        settle(&self.spool, &all);
    }

    fn all(&self) -> MutexGuard<'_, Vec<Standing>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn settle(spool: &Spool, readers: &[Standing]) {
    let slowest = readers.iter().map(|reader| reader.cursor).min();
    slowest.into_iter().for_each(|cursor| spool.settle(cursor));
    let slowest = readers.iter().filter(|reader| !reader.detaches).map(|reader| reader.cursor).min();
    slowest.into_iter().for_each(|cursor| spool.dispense_with(cursor));
}
