//! How far all readers of the spool have durably got: what is behind the last of them may go.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::event::Position;
use crate::spool::Spool;

/// One reader's part in the settlement.
#[derive(Clone)]
pub struct Share {
    all: Arc<Mutex<Vec<Position>>>,
    index: usize,
    spool: Spool,
}

/// A share for each reader, by its committed cursor. They are made together, so that none can be
/// forgotten while another one settles; what all have passed already is settled at once.
pub fn shares(spool: &Spool, committed: &[Position]) -> Vec<Share> {
    committed.iter().min().into_iter().for_each(|slowest| spool.settle(*slowest));
    let all = Arc::new(Mutex::new(committed.to_vec()));
    (0..committed.len()).map(|index| Share { all: Arc::clone(&all), index, spool: spool.clone() }).collect()
}

impl Share {
    /// The cursor of this reader that is known to be durable.
    pub fn cursor(&self) -> Position {
        self.all()[self.index]
    }

    /// Notes that this reader's cursor is durable up to here, and settles what all have passed.
    pub fn commit(&self, cursor: Position) {
        let slowest = {
            let mut all = self.all();
            all[self.index] = cursor;
            all.iter().min().copied()
        };
        if let Some(slowest) = slowest {
            self.spool.settle(slowest);
        }
    }
    fn all(&self) -> MutexGuard<'_, Vec<Position>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
