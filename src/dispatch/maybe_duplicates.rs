//! Counts the records that a sink might get a second time, because a dispatcher before had them (pure).
//!
//! What a dispatcher of an earlier process has published is not known: it can be as many records as can be
//! unsettled. Of a dispatcher of this process it is, and one that settled all that it published leaves none.

use crate::event::Position;

/// The records that might have been published before: as many as can be unsettled, up to a position.
#[derive(Clone, Copy, Debug)]
pub struct MaybeDuplicates {
    left: usize,
    through: Position,
    /// The newest record that was published since.
    published: Position,
}

impl MaybeDuplicates {
    /// The possible duplicates after a restart that found the log's newest record at `head`.
    pub fn new(records_max: usize, head: Position) -> Self {
        Self { left: records_max, through: head, published: Position(0) }
    }

    /// Whether the next record for this sink is a possible duplicate.
    pub fn take(&mut self, position: Position) -> bool {
        let is_one = self.left > 0 && position <= self.through;
        self.left -= usize::from(is_one);
        is_one
    }

    /// Notes that records up to this one are published.
    pub fn publish(&mut self, position: Position) {
        self.published = self.published.max(position);
    }

    /// Those of the dispatcher that comes next, which begins behind what this one has settled.
    pub fn of_the_next(&self, records_max: usize) -> Self {
        let before = if self.left > 0 { self.through } else { Position(0) };
        Self::new(records_max, before.max(self.published))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(mut suspects: MaybeDuplicates, positions: impl Iterator<Item = u64>) -> usize {
        positions.filter(|position| suspects.take(Position(*position))).count()
    }

    #[test]
    fn the_next_dispatcher_suspects_what_was_published_and_is_not_settled_and_nothing_else() {
        let mut first = MaybeDuplicates::new(100, Position(0));
        first.publish(Position(7));
        first.publish(Position(5));
        assert_eq!(counted(first.of_the_next(100), 8..50), 0, "all that was published was settled");
        assert_eq!(counted(first.of_the_next(100), 4..50), 4);
        assert_eq!(counted(first.of_the_next(2), 4..50), 2, "more cannot be unsettled");
        let second = first.of_the_next(100);
        assert_eq!(counted(second.of_the_next(100), 4..50), 4, "the second one has published none of them");
    }

    #[test]
    fn what_a_restart_makes_suspect_stays_so_until_as_many_have_passed_as_it_can_be() {
        let mut first = MaybeDuplicates::new(3, Position(20));
        assert!(first.take(Position(1)));
        first.publish(Position(1));
        assert_eq!(counted(first.of_the_next(3), 2..50), 3);
        assert!(first.take(Position(2)) && first.take(Position(3)));
        first.publish(Position(3));
        assert_eq!(counted(first.of_the_next(3), 4..50), 0, "no more can have been published");
    }
}
