//! What one sink has accepted, as far as answers to providers need to know it (pure).
//!
//! All up to the settled prefix was accepted, except for what is remembered: events that the sink rejected,
//! by their duplicate keys, and stretches of the log of which nobody can tell, because the sink skipped
//! records there or did not yet take them. What is forgotten for want of room is in doubt, too. So a standing
//! of accepted is never a guess.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use crate::dedup::DuplicateKey;
use crate::event::Position;

/// Most rejected events that are remembered, at about 40 bytes of memory each.
const REJECTED_MAX: usize = 1 << 16;

/// Where an event is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sought {
    /// It is the record at this position.
    At(Position),
    /// It is somewhere up to this position: a duplicate whose first copy is in the log.
    Through(Position),
}

/// What is known of an event in one sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The sink has it.
    Accepted,
    /// The sink has rejected it: it is a dead letter, unless it was redriven and is on its way again.
    Rejected,
    /// Nobody can tell whether the sink has it.
    Doubtful,
    /// The sink has not settled it yet.
    Pending,
}

/// The outcome of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// The sink has the record. The key is given if rejected events are remembered.
    Accepted(Option<DuplicateKey>),
    /// The record becomes a dead letter.
    Rejected(DuplicateKey),
}

/// Up to this position nobody can tell which events the sink has, for as long as a duplicate of one of them
/// can come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Doubt {
    through: Position,
    until: Instant,
}

/// What one sink has accepted.
#[derive(Debug, Default)]
pub(super) struct Acceptances {
    /// The end of the settled prefix.
    settled: Position,
    /// The accepted records behind the settled prefix; a dispatcher bounds how many there can be.
    ahead: BTreeSet<Position>,
    /// The rejected events, each with the position of its last record that was rejected.
    rejected: HashMap<DuplicateKey, Position>,
    doubt: Option<Doubt>,
}

impl Acceptances {
    /// What is known of the event with this key.
    pub(super) fn standing(&self, sought: Sought, key: DuplicateKey, now: Instant) -> Standing {
        let rejected = self.rejected.get(&key);
        let in_doubt = self.doubt.filter(|doubt| now < doubt.until);
        match sought {
            Sought::At(position) if self.ahead.contains(&position) => Standing::Accepted,
            // A letter of an earlier copy says nothing of this one.
            Sought::At(position) if rejected.is_some_and(|at| *at >= position) => Standing::Rejected,
            Sought::Through(_) if rejected.is_some() => Standing::Rejected,
            Sought::At(end) | Sought::Through(end) if end > self.settled => Standing::Pending,
            Sought::At(position) if in_doubt.is_some_and(|doubt| position <= doubt.through) => {
                Standing::Doubtful
            }
            Sought::Through(_) if in_doubt.is_some() => Standing::Doubtful,
            Sought::At(_) | Sought::Through(_) => Standing::Accepted,
        }
    }

    /// The end of the settled prefix.
    pub(super) fn settled(&self) -> Position {
        self.settled
    }

    /// How many rejected events are remembered.
    pub(super) fn rejected(&self) -> usize {
        self.rejected.len()
    }

    /// Notes the outcome of a record. Beyond the bound all rejected events are forgotten and in doubt, until
    /// `until`.
    pub(super) fn settle(&mut self, position: Position, outcome: Settled, until: Instant) {
        match outcome {
            Settled::Accepted(key) => {
                if position > self.settled {
                    self.ahead.insert(position);
                }
                // However often it was rejected before: the sink has it now.
                key.map(|key| self.rejected.remove(&key));
            }
            Settled::Rejected(key) => {
                // Of two copies that were rejected the later one counts, whichever is told first.
                let last = self.rejected.entry(key).or_insert(position);
                *last = position.max(*last);
                if self.rejected.len() > REJECTED_MAX {
                    let through = self.rejected.drain().map(|(_, at)| at).max();
                    through.into_iter().for_each(|through| self.doubt(through, until));
                }
            }
        }
    }

    /// Notes that all up to here was settled or skipped.
    pub(super) fn pass(&mut self, settled: Position) {
        if settled > self.settled {
            self.settled = settled;
            self.ahead = self.ahead.split_off(&settled.next());
        }
    }

    /// Notes that nobody can tell which events up to here the sink has. No duplicate of them comes from
    /// `until` on.
    pub(super) fn doubt(&mut self, through: Position, until: Instant) {
        let before = self.doubt.unwrap_or(Doubt { through, until });
        self.doubt = Some(Doubt { through: before.through.max(through), until: before.until.max(until) });
    }

    /// Forgets the rejection of an event, if this position is that of its last letter.
    pub(super) fn forget(&mut self, key: DuplicateKey, position: Position) {
        if self.rejected.get(&key) == Some(&position) {
            self.rejected.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn key(number: u64) -> DuplicateKey {
        DuplicateKey(u128::from(number).to_le_bytes())
    }

    /// What is known of the record at a position, whose key is that number.
    fn at(known: &Acceptances, position: u64, now: Instant) -> Standing {
        known.standing(Sought::At(Position(position)), key(position), now)
    }

    fn through(known: &Acceptances, head: u64, number: u64, now: Instant) -> Standing {
        known.standing(Sought::Through(Position(head)), key(number), now)
    }

    #[test]
    fn a_record_is_accepted_as_soon_as_it_is_settled_and_a_duplicate_once_all_before_it_is() {
        let (mut known, now) = (Acceptances::default(), Instant::now());
        known.settle(Position(2), Settled::Accepted(None), now);
        assert_eq!((at(&known, 1, now), at(&known, 2, now)), (Standing::Pending, Standing::Accepted));
        assert_eq!(through(&known, 2, 2, now), Standing::Pending, "it may be the first");
        known.settle(Position(1), Settled::Accepted(None), now);
        known.pass(Position(2));
        assert_eq!((at(&known, 1, now), at(&known, 2, now)), (Standing::Accepted, Standing::Accepted));
        assert_eq!(through(&known, 2, 2, now), Standing::Accepted);
        assert!(known.ahead.is_empty(), "what the prefix has passed takes no memory");
    }

    #[test]
    fn a_rejected_event_is_never_accepted_until_a_later_copy_of_it_is() {
        let (mut known, now) = (Acceptances::default(), Instant::now());
        known.settle(Position(1), Settled::Rejected(key(1)), now);
        assert_eq!(at(&known, 1, now), Standing::Rejected, "at once");
        known.pass(Position(5));
        assert_eq!(
            (at(&known, 1, now), through(&known, 5, 1, now)),
            (Standing::Rejected, Standing::Rejected)
        );
        assert_eq!(through(&known, 5, 2, now), Standing::Accepted, "another event");

        // The event is redriven, or sent again after the duplicate window.
        let again = Sought::At(Position(6));
        assert_eq!(known.standing(again, key(1), now), Standing::Pending, "the letter is of another copy");
        known.settle(Position(6), Settled::Accepted(Some(key(1))), now);
        known.pass(Position(6));
        assert_eq!((known.standing(again, key(1), now), known.rejected()), (Standing::Accepted, 0));
        assert_eq!(through(&known, 6, 1, now), Standing::Accepted);
    }

    #[test]
    fn a_dropped_letter_is_forgotten_and_one_that_was_rejected_again_is_not() {
        let (mut known, now) = (Acceptances::default(), Instant::now());
        known.settle(Position(1), Settled::Rejected(key(1)), now);
        known.settle(Position(3), Settled::Rejected(key(1)), now);
        known.pass(Position(3));
        known.forget(key(1), Position(1));
        assert_eq!(through(&known, 3, 1, now), Standing::Rejected);
        known.forget(key(1), Position(3));
        assert_eq!(through(&known, 3, 1, now), Standing::Accepted);
    }

    #[test]
    fn what_was_skipped_is_in_doubt_for_as_long_as_a_duplicate_of_it_can_come() {
        let (mut known, now) = (Acceptances::default(), Instant::now());
        let until = now + Duration::from_secs(60);
        known.doubt(Position(4), until);
        known.settle(Position(3), Settled::Accepted(None), now);
        assert_eq!(at(&known, 3, now), Standing::Accepted, "its outcome is known");
        known.pass(Position(6));
        assert_eq!((at(&known, 4, now), at(&known, 5, now)), (Standing::Doubtful, Standing::Accepted));
        assert_eq!(through(&known, 6, 9, now), Standing::Doubtful, "it may be any of them");
        assert_eq!(through(&known, 6, 9, until), Standing::Accepted);
        known.doubt(Position(2), now);
        assert_eq!(at(&known, 4, now), Standing::Doubtful, "a smaller doubt takes nothing back");
    }

    #[test]
    fn more_rejected_events_than_are_remembered_are_in_doubt_and_not_accepted() {
        let (mut known, now) = (Acceptances::default(), Instant::now());
        let until = now + Duration::from_secs(60);
        let all = REJECTED_MAX as u64 + 1;
        (1..=all).for_each(|number| known.settle(Position(number), Settled::Rejected(key(number)), until));
        known.pass(Position(all));
        assert_eq!(known.rejected(), 0);
        for number in [1, all] {
            assert_eq!(at(&known, number, now), Standing::Doubtful);
            assert_eq!(through(&known, all, number, now), Standing::Doubtful);
        }
    }

    /// What becomes of a record, and by how many others it is settled later than its place says.
    fn fate() -> impl Strategy<Value = (u64, Fate, usize)> {
        let fate =
            prop_oneof![3 => Just(Fate::Accepted), 2 => Just(Fate::Rejected), 1 => Just(Fate::Skipped)];
        (0..5_u64, fate, 0..6_usize)
    }

    #[derive(Clone, Copy, Debug)]
    enum Fate {
        Accepted,
        Rejected,
        Skipped,
    }

    proptest! {
        /// A few events, each at several positions: sent again, redriven, or stored once more.
        #[test]
        fn whatever_a_sink_does_no_event_counts_as_accepted_that_it_does_not_have(
            fates in proptest::collection::vec(fate(), 1..40),
        ) {
            let (mut known, now) = (Acceptances::default(), Instant::now());
            let until = now + Duration::from_secs(60);
            let mut order: Vec<usize> = (0..fates.len()).collect();
            order.sort_by_key(|index| index + fates[*index].2);
            let (mut has, mut settled) = (BTreeSet::new(), vec![false; fates.len()]);
            for index in order {
                let (number, fate, _) = fates[index];
                let position = Position(index as u64 + 1);
                match fate {
                    Fate::Accepted => {
                        let compared = (known.rejected() > 0).then(|| key(number));
                        known.settle(position, Settled::Accepted(compared), until);
                        has.insert(number);
                    }
                    Fate::Rejected => known.settle(position, Settled::Rejected(key(number)), until),
                    Fate::Skipped => known.doubt(position, until),
                }
                settled[index] = true;
                let prefix = settled.iter().take_while(|settled| **settled).count() as u64;
                known.pass(Position(prefix));
                for (at, (number, ..)) in (1..).zip(&fates) {
                    let exact = known.standing(Sought::At(Position(at)), key(*number), now);
                    prop_assert!(exact != Standing::Accepted || has.contains(number), "{number} at {at}");
                    let head = Position(fates.len() as u64);
                    let duplicate = known.standing(Sought::Through(head), key(*number), now);
                    prop_assert!(duplicate != Standing::Accepted || has.contains(number), "{number}");
                }
            }
        }
    }
}
