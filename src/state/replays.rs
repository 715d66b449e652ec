//! The replays: which delivered events are sent to a sink again, and how far that has got. The table is made
//! by the first replay: a release that does not know it leaves it alone.

use std::collections::BTreeSet;

use redb::{ReadableTable, ReadableTableMetadata, TableDefinition, TableError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CURSORS, State, StateError, corrupted};
use crate::event::{Position, Timestamp};

/// Number → [`ReplayRow`] as JSON.
const REPLAYS: TableDefinition<u64, &[u8]> = TableDefinition::new("replays");
/// Most replays that are remembered: the oldest that has ended gives way.
const ROWS_MAX: u64 = 1_000;
/// Who waits for space, as far as replays do.
const WRITER: &[&str] = &["(replays)"];

/// Which delivered events are meant: those that pass all of it. An empty list lets every event pass.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReplaySelection {
    /// Events that arrived at this moment or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Events that arrived before this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Event types.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub types: BTreeSet<String>,
    /// Families.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub families: BTreeSet<String>,
    /// Names of sources.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub sources: BTreeSet<String>,
    /// Whole ids of events.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub ids: BTreeSet<String>,
}

/// How a replay is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReplayState {
    /// It sends, or waits until it can.
    #[default]
    Running,
    /// The sink has passed the last copy.
    Done,
    /// A person ended it.
    Cancelled,
    /// It cannot go on.
    Stopped,
}

/// A replay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReplayRow {
    /// Its number: numbers ascend and are never used again.
    #[serde(default)]
    pub id: u64,
    /// CloudEvents extension `replayid` of its events: 12 hexadecimal digits.
    pub replay_id: String,
    /// The sink that gets the events.
    pub sink: String,
    /// Which events.
    pub events: ReplaySelection,
    /// CloudEvents `source` of the events that are named by their ids, also if it is not configured any more.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub ids_of: BTreeSet<String>,
    /// Whether events go to the sink that its own selection does not take.
    #[serde(default)]
    pub select_all: bool,
    /// Most events in a second.
    pub rate: u32,
    /// How it is.
    pub state: ReplayState,
    /// Why it was stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// It looks through what is behind this position of the log …
    pub begun_at: Position,
    /// … up to this one, which the sink had passed: what is behind it comes there without a replay.
    pub end: Position,
    /// How far it has looked.
    pub read: Position,
    /// The position of its first copy; 0 without any.
    #[serde(default)]
    pub first: Position,
    /// The position of its last copy; 0 without any.
    pub last: Position,
    /// How many events it has sent.
    pub sent: u64,
    /// How many the sink's selection does not take.
    pub not_selected: u64,
    /// How many entries were gone or damaged before it had looked at them.
    pub lost: u64,
    /// When it was begun.
    pub created: Timestamp,
    /// When this was written.
    pub changed: Timestamp,
}

impl State {
    /// All replays that are remembered, oldest first. One whose row cannot be read, such as that of a later
    /// release, is passed over: deliveries must not wait for it.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn replays(&self) -> Result<Vec<ReplayRow>, StateError> {
        Ok(self.replay_rows()?.into_iter().filter_map(|(_, row)| row).collect())
    }

    /// The numbers of the replays whose rows cannot be read.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn unreadable_replays(&self) -> Result<Vec<u64>, StateError> {
        let unreadable = |(id, row): (u64, Option<ReplayRow>)| row.is_none().then_some(id);
        Ok(self.replay_rows()?.into_iter().filter_map(unreadable).collect())
    }

    fn replay_rows(&self) -> Result<Vec<(u64, Option<ReplayRow>)>, StateError> {
        self.file.read(|read| {
            let table = match read.open_table(REPLAYS) {
                Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
                table => table?,
            };
            let mut rows = Vec::new();
            for row in table.iter()? {
                let (id, row) = row?;
                rows.push((id.value(), parse(id.value(), row.value()).ok()));
            }
            Ok(rows)
        })
    }

    /// The replay of this number.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn replay(&self, id: u64) -> Result<Option<ReplayRow>, StateError> {
        self.file.read(|read| {
            let table = match read.open_table(REPLAYS) {
                Err(TableError::TableDoesNotExist(_)) => return Ok(None),
                table => table?,
            };
            table.get(id)?.map(|row| parse(id, row.value())).transpose()
        })
    }

    /// Adds a replay, and returns its number. Where too many are remembered, one gives way that has ended:
    /// the oldest whose sink has passed its copies, for a dispatcher passes over those of a cancelled one by
    /// its row.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn add_replay(&self, replay: &ReplayRow) -> Result<u64, StateError> {
        self.file.write(&[], |write| {
            let mut table = write.open_table(REPLAYS)?;
            let id = table.last()?.map_or(0, |(id, _)| id.value()) + 1;
            if table.len()? >= ROWS_MAX {
                let cursors = write.open_table(CURSORS)?;
                let mut ended = [None, None];
                for row in table.iter()? {
                    let (id, row) = row?;
                    // One that cannot be read runs nowhere.
                    let replay = parse(id.value(), row.value()).ok();
                    if replay.as_ref().is_some_and(|replay| replay.state == ReplayState::Running) {
                        continue;
                    }
                    let is_unread = match replay.filter(|replay| replay.state != ReplayState::Done) {
                        Some(row) => cursors.get(&*row.sink)?.is_some_and(|at| at.value().0 < row.last.0),
                        None => false,
                    };
                    ended[usize::from(is_unread)].get_or_insert(id.value());
                    if !is_unread {
                        break;
                    }
                }
                let [passed, unread] = ended;
                passed.or(unread).map(|id| table.remove(id).map(drop)).transpose()?;
            }
            table.insert(id, render(replay)?.as_slice())?;
            Ok(id)
        })
    }

    /// Writes how a replay is now. The caller tries again for as long as there is no room.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn record_replay(&self, replay: &ReplayRow) -> Result<(), StateError> {
        self.write_replay(WRITER, replay)
    }

    /// Writes that a replay has ended, for a caller that does not try again.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn end_replay(&self, replay: &ReplayRow) -> Result<(), StateError> {
        self.write_replay(&[], replay)
    }

    fn write_replay(&self, who: &[&str], replay: &ReplayRow) -> Result<(), StateError> {
        self.file.write(who, |write| {
            write.open_table(REPLAYS)?.insert(replay.id, render(replay)?.as_slice())?;
            Ok(())
        })
    }
}

fn parse(id: u64, row: &[u8]) -> Result<ReplayRow, redb::Error> {
    let replay = serde_json::from_slice(row).map_err(|error| corrupted(format!("replay {id}: {error}")))?;
    Ok(ReplayRow { id, ..replay })
}

fn render(replay: &ReplayRow) -> Result<Vec<u8>, redb::Error> {
    serde_json::to_vec(replay).map_err(|error| corrupted(format!("replay {}: {error}", replay.id)))
}
