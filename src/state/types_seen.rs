//! The event types that arrived, with counts by verdict.
//!
//! Type names come from senders, so their number and length are bounded: types beyond the bounds are
//! counted together under [`OTHER_TYPE`].

use redb::{ReadableTable, TableDefinition, WriteTransaction};

use super::row::TypeSeen;
use super::{META, State, StateError};
use crate::event::Timestamp;

/// How many distinct types outside the catalogues are remembered, over all providers.
pub const TYPE_NAMES_MAX: u64 = 10_000;
/// The longest type name to remember, in bytes; the longest that a provider documents has 52.
pub const TYPE_NAME_BYTES_MAX: usize = 256;
/// The name under which all types beyond the bounds are counted.
pub const OTHER_TYPE: &str = "other";

/// Provider, type and verdict → count, and when the first and the last delivery arrived.
const TYPES: TableDefinition<(&str, &str, &str), (u64, i64, i64)> = TableDefinition::new("types_seen");

impl State {
    /// Adds the counts since the last call to those in the file.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn record_types(&self, seen: &[TypeSeen]) -> Result<(), StateError> {
        self.record_types_beside(seen, &|_, _| false)
    }

    /// As [`Self::record_types`], but types in a provider's catalogue keep their names beyond the bounds.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn record_types_beside(
        &self,
        seen: &[TypeSeen],
        catalogued: &dyn Fn(&str, &str) -> bool,
    ) -> Result<(), StateError> {
        self.file.write(&["(types seen)"], |write| {
            let mut meta = write.open_table(META)?;
            let mut types = write.open_table(TYPES)?;
            let mut names = meta.get("type_names")?.map_or(0, |names| names.value());
            for TypeSeen { provider, event_type, verdict, count, first, last } in seen {
                let provider = provider.as_str();
                let mut name = event_type.as_str();
                let from = (provider, name, "");
                let known = types
                    .range(from..)?
                    .next()
                    .transpose()?
                    .is_some_and(|(key, _)| (key.value().0, key.value().1) == (provider, name));
                if !known && !catalogued(provider, name) {
                    if names >= TYPE_NAMES_MAX || name.len() > TYPE_NAME_BYTES_MAX {
                        name = OTHER_TYPE;
                    } else {
                        names += 1;
                    }
                }
                let key = (provider, name, verdict.as_str());
                let (so_far, oldest, newest) =
                    types.get(key)?.map_or((0, i64::MAX, i64::MIN), |row| row.value());
                types
                    .insert(key, (so_far.saturating_add(*count), oldest.min(first.0), newest.max(last.0)))?;
            }
            meta.insert("type_names", names)?;
            Ok(())
        })
    }

    /// All types seen, by provider, type and verdict.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn types_seen(&self) -> Result<Vec<TypeSeen>, StateError> {
        self.file.read(|read| {
            let mut seen = Vec::new();
            for row in read.open_table(TYPES)?.iter()? {
                let (key, value) = row?;
                let (provider, event_type, verdict) = key.value();
                let (count, first, last) = value.value();
                seen.push(TypeSeen {
                    provider: provider.to_owned(),
                    event_type: event_type.to_owned(),
                    verdict: verdict.to_owned(),
                    count,
                    first: Timestamp(first),
                    last: Timestamp(last),
                });
            }
            Ok(seen)
        })
    }
}

pub(super) fn create_tables(write: &WriteTransaction) -> Result<(), redb::Error> {
    write.open_table(TYPES)?;
    Ok(())
}
