//! Which records a restart may publish a second time (pure): counted, because nobody can tell.

use crate::event::Position;

/// The records that may have been published before a restart: as many as a window holds, of those
/// that were in the log by then.
pub struct Suspects {
    left: usize,
    through: Position,
}

impl Suspects {
    /// The suspects of a restart that found the log ending at `head`.
    pub fn new(records_max: usize, head: Position) -> Self {
        Self { left: records_max, through: head }
    }

    /// Whether the next record that this sink takes is one of them.
    pub fn take(&mut self, position: Position) -> bool {
        let is_one = self.left > 0 && position <= self.through;
        self.left -= usize::from(is_one);
        is_one
    }
}
