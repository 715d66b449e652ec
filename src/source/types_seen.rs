//! Counts the event types seen and their verdicts, in memory, until they are written to the state.
//!
//! Sources note every type here, whether or not it is in a catalogue, so that a person can see which
//! types are filtered. A task of the bridge drains the counts and writes them to the state. Types come
//! from the wire, so their number is bounded: events of further types are counted as other. A type in a
//! catalogue always has room. Noting a type takes a lock for a short time and does no I/O.

use parking_lot::{Mutex, MutexGuard};
use std::collections::hash_map::Entry;

use bytestring::ByteString;
use foldhash::HashMap;

use super::DeliveryFate;
use crate::event::Timestamp;
use crate::state::{OTHER_TYPE, TypeSeen};

/// Most types outside of all catalogues that are remembered between two drains.
const TYPES_MAX: usize = 4096;

/// Tells whether a provider's catalogue has a type: `(provider, type)`.
pub type Catalogued = Box<dyn Fn(&str, &str) -> bool + Send + Sync>;

/// Event types since the last drain.
pub struct TypesSeen {
    seen: Mutex<Seen>,
    catalogued: Catalogued,
}

impl Default for TypesSeen {
    /// An empty count, with no catalogue.
    fn default() -> Self {
        Self::new(Box::new(|_, _| false))
    }
}

#[derive(Debug, Default)]
struct Seen {
    types: HashMap<ByteString, HashMap<ByteString, Sightings>>,
    /// How many of `types` are in no catalogue.
    count: usize,
    /// Events of the types that had no room, by provider.
    others: HashMap<ByteString, Sightings>,
}

/// How often events of a type came since the last drain, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sightings {
    /// When the first of these events came.
    pub first: Timestamp,
    /// When the last of these events came.
    pub last: Timestamp,
    /// How many events were accepted.
    pub accepted: u64,
    /// How many events the selection filtered.
    pub filtered: u64,
    /// How many deliveries were duplicates.
    pub duplicates: u64,
}

/// The types seen between two drains.
#[derive(Debug, Default)]
pub struct Drained {
    /// Provider, type and counts.
    pub types: Vec<(ByteString, ByteString, Sightings)>,
    /// Provider and counts of all types that had no room.
    pub others: Vec<(ByteString, Sightings)>,
}

impl Drained {
    /// The rows for the state: one for each provider, type and verdict.
    pub fn to_rows(&self) -> Vec<TypeSeen> {
        let types = self.types.iter().map(|(provider, event_type, seen)| (provider, &**event_type, seen));
        let others = self.others.iter().map(|(provider, seen)| (provider, OTHER_TYPE, seen));
        let rows = types.chain(others).flat_map(|(provider, event_type, sightings)| {
            let Sightings { first, last, accepted, filtered, duplicates } = *sightings;
            let counts = [
                (DeliveryFate::Accepted, accepted),
                (DeliveryFate::Filtered, filtered),
                (DeliveryFate::Duplicate, duplicates),
            ];
            counts.into_iter().filter(|(_, count)| *count > 0).map(move |(fate, count)| TypeSeen {
                provider: provider.to_string(),
                event_type: event_type.to_owned(),
                verdict: fate.as_str().to_owned(),
                count,
                first,
                last,
            })
        });
        rows.collect()
    }
}

impl TypesSeen {
    /// An empty count.
    pub fn new(catalogued: Catalogued) -> Self {
        Self { seen: Mutex::default(), catalogued }
    }

    /// Whether a provider's catalogue has a type.
    pub fn is_catalogued(&self, provider: &str, event_type: &str) -> bool {
        (self.catalogued)(provider, event_type)
    }

    /// Counts one event of a type.
    pub fn seen(&self, provider: &str, event_type: &str, fate: DeliveryFate, when: Timestamp) {
        let mut seen = self.lock();
        if let Some(sightings) = seen.types.get_mut(provider).and_then(|types| types.get_mut(event_type)) {
            sightings.add(fate, when);
        } else if seen.has_room_for(self.is_catalogued(provider, event_type)) {
            let mut sightings = Sightings::begun(when);
            sightings.add(fate, when);
            // Copied, because the type's text is part of a body and would keep the whole body in memory.
            seen.types.entry(provider.into()).or_default().insert(event_type.into(), sightings);
        } else {
            let others = seen.others.entry(provider.into());
            others.or_insert_with(|| Sightings::begun(when)).add(fate, when);
        }
    }

    /// Takes out everything that was counted since the last drain.
    pub fn drain(&self) -> Drained {
        let seen = std::mem::take(&mut *self.lock());
        let types = seen.types.into_iter().flat_map(|(provider, types)| {
            types.into_iter().map(move |(event_type, sightings)| (provider.clone(), event_type, sightings))
        });
        Drained { types: types.collect(), others: seen.others.into_iter().collect() }
    }

    /// Adds drained counts again that could not be written.
    pub fn put_back(&self, drained: Drained) {
        let mut seen = self.lock();
        for (provider, event_type, sightings) in drained.types {
            if let Some(noted) = seen.types.get_mut(&provider).and_then(|types| types.get_mut(&event_type)) {
                noted.merge(sightings);
            } else if seen.has_room_for(self.is_catalogued(&provider, &event_type)) {
                seen.types.entry(provider).or_default().insert(event_type, sightings);
            } else {
                seen.put_back_other(provider, sightings);
            }
        }
        for (provider, sightings) in drained.others {
            seen.put_back_other(provider, sightings);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock()
    }
}

impl Seen {
    /// Whether there is room for one more type; if so, the type is counted among those remembered.
    fn has_room_for(&mut self, catalogued: bool) -> bool {
        let free = catalogued || self.count < TYPES_MAX;
        self.count += usize::from(free && !catalogued);
        free
    }

    fn put_back_other(&mut self, provider: ByteString, sightings: Sightings) {
        match self.others.entry(provider) {
            Entry::Occupied(mut noted) => noted.get_mut().merge(sightings),
            Entry::Vacant(entry) => drop(entry.insert(sightings)),
        }
    }
}

impl Sightings {
    fn begun(first: Timestamp) -> Self {
        Self { first, last: first, accepted: 0, filtered: 0, duplicates: 0 }
    }

    fn merge(&mut self, other: Self) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.accepted += other.accepted;
        self.filtered += other.filtered;
        self.duplicates += other.duplicates;
    }

    fn add(&mut self, fate: DeliveryFate, when: Timestamp) {
        self.last = self.last.max(when);
        match fate {
            DeliveryFate::Accepted => self.accepted += 1,
            DeliveryFate::Filtered => self.filtered += 1,
            DeliveryFate::Duplicate => self.duplicates += 1,
            // A quarantined delivery has no type that can be trusted.
            DeliveryFate::Quarantined => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_takes_what_was_noted_and_leaves_nothing() {
        let types = TypesSeen::default();
        types.seen("stream", "call.ring", DeliveryFate::Accepted, Timestamp(1));
        types.seen("stream", "call.ring", DeliveryFate::Filtered, Timestamp(2));
        let drained = types.drain();
        let sightings =
            Sightings { first: Timestamp(1), last: Timestamp(2), accepted: 1, filtered: 1, duplicates: 0 };
        assert_eq!(drained.types, [("stream".into(), "call.ring".into(), sightings)]);
        assert!(types.drain().types.is_empty());
    }

    #[test]
    fn a_flood_of_invented_types_is_counted_and_takes_no_more_room() {
        let types = TypesSeen::default();
        for n in 0..TYPES_MAX + 7 {
            types.seen("stream", &format!("made.up.{n}"), DeliveryFate::Accepted, Timestamp(1));
        }
        types.seen("stream", "made.up.0", DeliveryFate::Accepted, Timestamp(2));
        let drained = types.drain();
        assert_eq!(drained.types.len(), TYPES_MAX);
        let rows = drained.to_rows();
        let other = rows.iter().find(|row| row.event_type == OTHER_TYPE).expect("what found no room is kept");
        assert_eq!((&*other.provider, &*other.verdict, other.count), ("stream", "accepted", 7));
    }

    #[test]
    fn a_catalogued_type_finds_room_behind_a_flood_of_invented_ones() {
        let types = TypesSeen::new(Box::new(|provider, name| provider == "stream" && name == "call.ring"));
        let flood = || {
            for n in 0..TYPES_MAX + 7 {
                types.seen("stream", &format!("made.up.{n}"), DeliveryFate::Accepted, Timestamp(1));
            }
        };
        flood();
        types.seen("stream", "call.ring", DeliveryFate::Accepted, Timestamp(2));
        types.seen("other", "call.ring", DeliveryFate::Accepted, Timestamp(2));
        let drained = types.drain();
        let noted = |drained: &Drained| {
            drained.types.iter().filter(|(_, name, _)| name == "call.ring").map(|row| row.0.clone()).collect()
        };
        let only: Vec<ByteString> = noted(&drained);
        assert_eq!(only, ["stream"]);
        flood();
        types.put_back(drained);
        let drained = types.drain();
        assert_eq!((noted(&drained), drained.types.len()), (only, TYPES_MAX + 1));
    }

    #[test]
    fn what_could_not_be_kept_is_put_back_and_adds_up_with_what_came_meanwhile() {
        let types = TypesSeen::default();
        types.seen("stream", "call.ring", DeliveryFate::Accepted, Timestamp(1));
        types.seen("stream", "call.ended", DeliveryFate::Filtered, Timestamp(2));
        let drained = types.drain();
        types.seen("stream", "call.ring", DeliveryFate::Duplicate, Timestamp(5));
        types.put_back(drained);
        let mut drained = types.drain().types;
        drained.sort_by(|a, b| a.1.cmp(&b.1));
        let zero = Sightings::begun(Timestamp(2));
        let ended = Sightings { filtered: 1, ..zero };
        let ring = Sightings { first: Timestamp(1), last: Timestamp(5), accepted: 1, duplicates: 1, ..zero };
        let expected = [("call.ended", ended), ("call.ring", ring)];
        assert_eq!(drained, expected.map(|(name, seen)| ("stream".into(), name.into(), seen)));
    }

    #[test]
    fn what_finds_no_room_when_it_is_put_back_is_counted_as_other() {
        let types = TypesSeen::default();
        let flood = |from: usize| {
            for n in from..from + TYPES_MAX + 1 {
                types.seen("stream", &format!("made.up.{n}"), DeliveryFate::Accepted, Timestamp(1));
            }
        };
        flood(0);
        let drained = types.drain();
        flood(TYPES_MAX + 1);
        types.put_back(drained);
        let drained = types.drain();
        let others: u64 = drained.others.iter().map(|(_, seen)| seen.accepted).sum();
        assert_eq!((drained.types.len(), others), (TYPES_MAX, TYPES_MAX as u64 + 2));
    }
}
