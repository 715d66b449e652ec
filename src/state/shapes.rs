//! The shapes of the event types, and how each has changed. The table is made by the first shape: a release
//! that does not know it leaves it alone. A row that cannot be read is passed over, because a shape is learnt
//! anew from the next events.

use redb::{ReadableTable, ReadableTableMetadata, TableDefinition, TableError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{State, StateError, TYPE_NAME_BYTES_MAX, corrupted};
use crate::event::Timestamp;
use crate::shape::{SHAPE_BYTES_MAX, Shape, ShapeNews};

/// Provider and type → [`KnownShape`] as JSON.
const SHAPES: TableDefinition<(&str, &str), &[u8]> = TableDefinition::new("shapes");
/// Who waits for space, as far as shapes do.
const WRITER: &[&str] = &["(shapes)"];
/// Most types whose shape is kept.
pub const SHAPES_MAX: usize = 2_000;
/// Most bytes of one row (32 KiB).
const ROW_BYTES_MAX: usize = 32 << 10;
/// Most changes of one type that are kept: the oldest gives way.
const CHANGES_MAX: usize = 32;
/// Bytes of a change in JSON, besides its path and its id.
const CHANGE_BYTES: usize = 96;
/// Most bytes of the changes of one type.
const CHANGES_BYTES_MAX: usize = ROW_BYTES_MAX - SHAPE_BYTES_MAX - 1024;

/// A change of a type's shape, and the event that showed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChangeShown {
    /// Where: a JSON pointer. `*` stands for every item of an array, and for every member of a map.
    pub path: String,
    /// What is different there.
    pub what: ShapeNews,
    /// The id of the event that showed it.
    pub id: String,
    /// When that event arrived.
    pub at: Timestamp,
}

impl ChangeShown {
    fn bytes(&self) -> usize {
        // An id has printable ASCII only, of which two characters are escaped.
        self.path.len() + 2 * self.id.len() + CHANGE_BYTES
    }
}

/// What is known of the JSON of one type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownShape {
    /// The members and their kinds.
    pub shape: Shape,
    /// Its last changes, oldest first.
    pub changes: Vec<ChangeShown>,
}

impl KnownShape {
    /// Adds a change; the oldest ones give way.
    pub fn note(&mut self, change: ChangeShown) {
        self.changes.push(change);
        let mut bytes: usize = self.changes.iter().map(ChangeShown::bytes).sum();
        let mut count = self.changes.len();
        let mut gone = 0;
        while count > CHANGES_MAX || bytes > CHANGES_BYTES_MAX {
            bytes -= self.changes[gone].bytes();
            (gone, count) = (gone + 1, count - 1);
        }
        self.changes.drain(..gone);
    }

    /// At least as many bytes as the row has.
    pub fn bytes(&self) -> usize {
        self.shape.bytes() + self.changes.iter().map(ChangeShown::bytes).sum::<usize>()
    }
}

/// The shape of one type, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShapeRow {
    /// The provider's name.
    pub provider: String,
    /// The type.
    pub event_type: String,
    /// What is known of it.
    pub known: KnownShape,
}

impl State {
    /// All shapes, by provider and type.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn shapes(&self) -> Result<Vec<ShapeRow>, StateError> {
        self.file.read(|read| {
            let table = match read.open_table(SHAPES) {
                Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
                table => table?,
            };
            let mut rows = Vec::new();
            for row in table.iter()? {
                let (key, row) = row?;
                let (provider, event_type) = key.value();
                if let Ok(known) = serde_json::from_slice(row.value()) {
                    let (provider, event_type) = (provider.to_owned(), event_type.to_owned());
                    rows.push(ShapeRow { provider, event_type, known });
                }
            }
            Ok(rows)
        })
    }

    /// The shape of one type, if one is known.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn shape(&self, provider: &str, event_type: &str) -> Result<Option<KnownShape>, StateError> {
        self.file.read(|read| {
            let table = match read.open_table(SHAPES) {
                Err(TableError::TableDoesNotExist(_)) => return Ok(None),
                table => table?,
            };
            let row = table.get((provider, event_type))?;
            Ok(row.and_then(|row| serde_json::from_slice(row.value()).ok()))
        })
    }

    /// Writes shapes, each in place of what was known of its type. What is beyond a bound is left out.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn record_shapes(&self, shapes: &[(&str, &str, &KnownShape)]) -> Result<(), StateError> {
        self.file.write(WRITER, |write| {
            let mut table = write.open_table(SHAPES)?;
            for (provider, event_type, known) in shapes {
                let row = serde_json::to_vec(known)
                    .map_err(|error| corrupted(format!("shape of `{event_type}`: {error}")))?;
                let is_new = table.get((*provider, *event_type))?.is_none();
                let has_room = !is_new || table.len()? < SHAPES_MAX as u64;
                if has_room && row.len() <= ROW_BYTES_MAX && event_type.len() <= TYPE_NAME_BYTES_MAX {
                    table.insert((*provider, *event_type), row.as_slice())?;
                }
            }
            Ok(())
        })
    }
}
