//! Where lately stored events are in the log (pure).
//!
//! A provider that was answered 503 sends the event again, and the duplicate window does not say where the
//! first copy is. With its position the repetition waits for that one record, and not for all that have come
//! since.

use std::collections::{HashMap, VecDeque};

use crate::dedup::DuplicateKey;
use crate::event::Position;

/// Most events that are remembered, at about 100 bytes of memory each.
const EVENTS_MAX: usize = 1 << 16;

/// The positions of the events that were stored last.
#[derive(Debug, Default)]
pub(super) struct KnownPositions {
    positions: HashMap<DuplicateKey, Position>,
    /// In the order in which they were noted.
    noted: VecDeque<(DuplicateKey, Position)>,
}

impl KnownPositions {
    /// Notes where the newest copy of an event is. Beyond the bound the oldest is forgotten.
    pub(super) fn note(&mut self, key: DuplicateKey, position: Position) {
        self.positions.insert(key, position);
        self.noted.push_back((key, position));
        if self.noted.len() > EVENTS_MAX
            && let Some((key, position)) = self.noted.pop_front()
            && self.get(key) == Some(position)
        {
            self.positions.remove(&key);
        }
    }

    /// Where the newest copy of an event is, if that is known.
    pub(super) fn get(&self, key: DuplicateKey) -> Option<Position> {
        self.positions.get(&key).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> DuplicateKey {
        DuplicateKey((number as u128).to_le_bytes())
    }

    #[test]
    fn the_newest_copy_of_an_event_counts_and_the_oldest_events_are_forgotten() {
        let mut known = KnownPositions::default();
        known.note(key(0), Position(1));
        known.note(key(0), Position(2));
        assert_eq!(known.get(key(0)), Some(Position(2)));
        (1..EVENTS_MAX).for_each(|number| known.note(key(number), Position(number as u64 + 2)));
        assert_eq!(known.get(key(0)), Some(Position(2)), "only its older copy is forgotten");
        known.note(key(EVENTS_MAX), Position(9));
        assert_eq!((known.get(key(0)), known.get(key(1))), (None, Some(Position(3))));
        assert_eq!((known.positions.len(), known.noted.len()), (EVENTS_MAX, EVENTS_MAX));
    }
}
