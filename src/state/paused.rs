//! The sinks that are paused, with the reason. The table is made by the first pause: a release that does not
//! know it leaves it alone.

use redb::{ReadableTable, TableDefinition, TableError};
use serde::{Deserialize, Serialize};

use super::{State, StateError, corrupted};
use crate::event::Timestamp;

/// Sink → [`PausedSince`] as JSON.
const PAUSED: TableDefinition<&str, &[u8]> = TableDefinition::new("paused");

/// Since when a sink is paused, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PausedSince {
    /// When it was paused.
    pub since: Timestamp,
    /// What the person who paused it gave as the reason.
    pub reason: String,
}

impl PausedSince {
    /// Of a row that cannot be read, such as one of a later release.
    fn unknown() -> Self {
        Self { since: Timestamp(0), reason: "unknown: the row in the state file cannot be read".into() }
    }
}

impl State {
    /// The sinks that are paused, including those that are no longer configured.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn paused(&self) -> Result<Vec<(String, PausedSince)>, StateError> {
        self.file.read(|read| {
            let table = match read.open_table(PAUSED) {
                Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
                table => table?,
            };
            let mut paused = Vec::new();
            for row in table.iter()? {
                let (sink, since) = row?;
                // That it is paused is known; nothing else of the row decides anything.
                let since = serde_json::from_slice(since.value()).unwrap_or_else(|_| PausedSince::unknown());
                paused.push((sink.value().to_owned(), since));
            }
            Ok(paused)
        })
    }

    /// Notes that a sink is paused.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn pause(&self, sink: &str, paused: &PausedSince) -> Result<(), StateError> {
        self.file.write(&[], |write| {
            let row = serde_json::to_vec(paused)
                .map_err(|error| corrupted(format!("paused sink `{sink}`: {error}")))?;
            write.open_table(PAUSED)?.insert(sink, row.as_slice())?;
            Ok(())
        })
    }

    /// Notes that a sink is paused no longer.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn resume(&self, sink: &str) -> Result<(), StateError> {
        self.file.write(&[], |write| {
            write.open_table(PAUSED)?.remove(sink)?;
            Ok(())
        })
    }
}
