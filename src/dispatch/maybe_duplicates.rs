//! Counts the records that a restart might publish a second time (pure).

use crate::event::Position;

/// The records that might have been published before a restart: as many as can be unsettled, of those
/// that were in the log at the start.
pub struct MaybeDuplicates {
    left: usize,
    through: Position,
}

impl MaybeDuplicates {
    /// The possible duplicates after a restart that found the log's newest record at `head`.
    pub fn new(records_max: usize, head: Position) -> Self {
        Self { left: records_max, through: head }
    }

    /// Whether the next record for this sink is a possible duplicate.
    pub fn take(&mut self, position: Position) -> bool {
        let is_one = self.left > 0 && position <= self.through;
        self.left -= usize::from(is_one);
        is_one
    }
}
