//! The configurations under which events were admitted, with what each lets through. The table is made by the
//! first: a release that does not know it leaves it alone.
//!
//! A configuration is kept for as long as an event that can still be read was admitted under it. Deliveries
//! that were begun before a configuration can be appended behind its head, so the 64 newest are kept in any
//! case, and each one until what came before the head of the 64th behind it is gone from the log.

use std::collections::BTreeMap;

use redb::{ReadableTable, TableDefinition, TableError};
use serde::{Deserialize, Serialize};

use super::{State, StateError, corrupted};
use crate::event::{Fingerprint, Position, Timestamp};
use crate::selection::Selection;

/// Number, ascending in the order in which they began → [`ConfigurationRow`] as JSON.
const CONFIGURATIONS: TableDefinition<u64, &[u8]> = TableDefinition::new("configurations");
/// How many of the newest are kept in any case.
const KEPT_MIN: usize = 64;
/// Most that are kept.
pub const CONFIGURATIONS_MAX: usize = 1024;

/// What a configuration lets through, and when it began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigurationRow {
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
    /// When it began, for the last time.
    pub began: Timestamp,
    /// The head of the log then.
    pub head: Position,
    /// Which types the bridge takes.
    pub select: Selection,
    /// Which of them each sink takes.
    pub sinks: BTreeMap<String, Selection>,
}

/// What is done with a configuration for which there is no room, because events in the log were admitted
/// under as many others as are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// It is not noted.
    Refuse,
    /// The oldest one is forgotten: its events are judged by the rules of now.
    ForgetOldest,
}

/// What became of a configuration that begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BegunConfiguration {
    /// It is noted. The one that was forgotten for it although events can have been admitted under it.
    Noted(Option<Fingerprint>),
    /// There is no room for it.
    Full,
}

impl State {
    /// The configurations that are kept, in the order in which they began for the last time. One whose row
    /// cannot be read, such as that of a later release, is passed over.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn configurations(&self) -> Result<Vec<ConfigurationRow>, StateError> {
        self.file.read(|read| {
            let table = match read.open_table(CONFIGURATIONS) {
                Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
                table => table?,
            };
            let mut rows = Vec::new();
            for row in table.iter()? {
                rows.extend(serde_json::from_slice(row?.1.value()).ok());
            }
            Ok(rows)
        })
    }

    /// The configuration with this fingerprint, if it is kept.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn configuration(&self, fingerprint: Fingerprint) -> Result<Option<ConfigurationRow>, StateError> {
        Ok(self.configurations()?.into_iter().find(|row| row.fingerprint == fingerprint))
    }

    /// Notes a configuration before the first event is admitted under it, and forgets those of which the log
    /// has no event any more: `first` is the oldest position that it still has.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn begin_configuration(
        &self,
        begun: &ConfigurationRow,
        first: Position,
        when_full: WhenFull,
    ) -> Result<BegunConfiguration, StateError> {
        let row = serde_json::to_vec(begun);
        self.file.write(&[], |write| {
            let row = row.as_deref().map_err(|error| corrupted(format!("configuration: {error}")))?;
            let mut table = write.open_table(CONFIGURATIONS)?;
            // A row that cannot be read counts as one, and holds nothing back.
            let mut known = Vec::new();
            for row in table.iter()? {
                let (number, row) = row?;
                known.push((number.value(), serde_json::from_slice::<ConfigurationRow>(row.value()).ok()));
            }
            let number = known.last().map_or(0, |(number, _)| *number) + 1;
            let is_same = |row: &Option<ConfigurationRow>| {
                row.as_ref().is_some_and(|row| row.fingerprint == begun.fingerprint)
            };
            let (same, others): (Vec<_>, Vec<_>) = known.into_iter().partition(|(_, row)| is_same(row));
            let heads: Vec<Option<Position>> = others
                .iter()
                .map(|(_, row)| row.as_ref().map(|row| row.head))
                .chain([Some(begun.head)])
                .collect();
            let mut forgotten = unneeded(&heads, first);
            let mut given_up = None;
            if heads.len() - forgotten > CONFIGURATIONS_MAX {
                if when_full == WhenFull::Refuse {
                    return Ok(BegunConfiguration::Full);
                }
                given_up = others[forgotten].1.as_ref().map(|row| row.fingerprint);
                forgotten += 1;
            }
            for (number, _) in same.iter().chain(&others[..forgotten]) {
                table.remove(number)?;
            }
            table.insert(number, row)?;
            Ok(BegunConfiguration::Noted(given_up))
        })
    }
}

/// How many of the configurations that began with these heads, the oldest first, are not needed any more.
fn unneeded(heads: &[Option<Position>], first: Position) -> usize {
    let is_gone = |head: &Option<Position>| head.is_some_and(|head| head < first);
    heads.iter().skip(KEPT_MIN).take_while(|head| is_gone(head)).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::bench::Bench;

    fn row(number: u64, head: u64) -> ConfigurationRow {
        let mut fingerprint = [0; 6];
        fingerprint.copy_from_slice(&number.to_le_bytes()[..6]);
        ConfigurationRow {
            fingerprint: Fingerprint(fingerprint),
            began: Timestamp(7),
            head: Position(head),
            select: Selection::All,
            sinks: [("lake".to_owned(), Selection::Only(["call.ended".to_owned()].into()))].into(),
        }
    }

    fn begin(state: &State, row: &ConfigurationRow, first: u64, when_full: WhenFull) -> BegunConfiguration {
        state.begin_configuration(row, Position(first), when_full).expect("there is room")
    }

    fn numbers(state: &State) -> Vec<u64> {
        let rows = state.configurations().expect("readable");
        let number = |row: &ConfigurationRow| {
            row.fingerprint.0.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
        };
        rows.iter().map(number).collect()
    }

    #[test]
    fn a_configuration_is_read_as_it_was_written_and_one_that_begins_again_is_the_newest() {
        let bench = Bench::new();
        let state = &bench.state;
        assert_eq!(state.configurations().expect("readable"), []);
        for number in [1, 2, 1] {
            begin(state, &row(number, number), 1, WhenFull::Refuse);
        }
        assert_eq!(state.configurations().expect("readable"), [row(2, 2), row(1, 1)]);
        assert_eq!(state.configuration(row(2, 0).fingerprint).expect("readable"), Some(row(2, 2)));
        assert_eq!(state.configuration(row(3, 0).fingerprint).expect("readable"), None);
    }

    #[test]
    fn the_newest_are_kept_and_older_ones_while_the_log_has_events_of_theirs() {
        let bench = Bench::new();
        let state = &bench.state;
        for number in 0..100 {
            begin(state, &row(number, number * 10), 1, WhenFull::Refuse);
        }
        assert_eq!(numbers(state), (0..100).collect::<Vec<_>>(), "the log has all its events");
        // Up to position 700 the log has nothing any more: configuration 71 began behind that.
        begin(state, &row(100, 1000), 701, WhenFull::Refuse);
        assert_eq!(numbers(state), (7..=100).collect::<Vec<_>>(), "64 are between 6 and 70");
        begin(state, &row(101, 1010), 10_000, WhenFull::Refuse);
        assert_eq!(numbers(state), (38..=101).collect::<Vec<_>>(), "the 64 newest");
    }

    #[test]
    fn without_room_a_configuration_is_refused_or_the_oldest_is_forgotten() {
        let bench = Bench::new();
        let state = &bench.state;
        let max = CONFIGURATIONS_MAX as u64;
        state
            .file
            .write(&[], |write| {
                let mut table = write.open_table(CONFIGURATIONS)?;
                for number in 0..max {
                    let json = serde_json::to_vec(&row(number, number)).expect("JSON");
                    table.insert(number, json.as_slice())?;
                }
                Ok(())
            })
            .expect("there is room");
        assert_eq!(begin(state, &row(max, max), 1, WhenFull::Refuse), BegunConfiguration::Full);
        assert_eq!(numbers(state).len(), CONFIGURATIONS_MAX);
        let known = begin(state, &row(5, max), 1, WhenFull::Refuse);
        assert_eq!(known, BegunConfiguration::Noted(None), "one that is known takes no room");
        let begun = begin(state, &row(max, max), 1, WhenFull::ForgetOldest);
        assert_eq!(begun, BegunConfiguration::Noted(Some(row(0, 0).fingerprint)));
        assert_eq!((numbers(state).len(), numbers(state)[0]), (CONFIGURATIONS_MAX, 1));
    }
}
