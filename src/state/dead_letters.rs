//! The tables of the dead letters: info, payload, origin, and running totals.
//!
//! Info and payload are in separate tables, so that a listing reads no payloads. Every change of a dead
//! letter changes its total in the same transaction, so that counting all of them reads only the totals.

use bytes::Bytes;
use redb::{ReadableTable, Table, TableDefinition, WriteTransaction};

use super::row::{DeadCount, DeadFilter, DeadLetterInfo, NewDeadLetter, Reassessment};
use super::{META, State, StateError, corrupted};
use crate::event::IdMatch;
use crate::spool::codec;

/// Number → [`DeadLetterInfo`] as JSON.
pub(super) const INFO: TableDefinition<u64, &[u8]> = TableDefinition::new("dead_letters");
/// Number → the checksum of the encoded entry, and the entry: a damaged payload is never redriven.
const PAYLOAD: TableDefinition<u64, (u32, &[u8])> = TableDefinition::new("dead_letter_payloads");
/// Sink and position → number: by this a repeated commit finds the letters that it has stored before.
const ORIGIN: TableDefinition<Origin, u64> = TableDefinition::new("dead_letter_origins");
/// Sink and reason → the number of dead letters, and the bytes of their payloads.
const TOTALS: TableDefinition<(Option<&str>, &str), (u64, u64)> = TableDefinition::new("dead_letter_totals");
type Origin = (Option<&'static str>, u64);
type Totals<'txn> = Table<'txn, (Option<&'static str>, &'static str), (u64, u64)>;

impl State {
    /// The dead letters that the filter takes, without their payloads, in ascending order behind the number
    /// `after`, at most `limit` of them.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn dead_letters(
        &self,
        filter: &DeadFilter,
        after: u64,
        limit: usize,
    ) -> Result<Vec<DeadLetterInfo>, StateError> {
        self.file.read(|read| {
            let mut letters = Vec::new();
            for row in read.open_table(INFO)?.range(after.saturating_add(1)..)? {
                if letters.len() >= limit {
                    break;
                }
                let (id, info) = row?;
                let letter = parse(id.value(), info.value())?;
                if filter.takes(&letter) {
                    letters.push(letter);
                }
            }
            Ok(letters)
        })
    }

    /// The dead letters of events with this id, or whose ids begin so, newest first and at most `limit` of
    /// them. Reads the info of each.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn dead_letters_of(&self, id: &IdMatch, limit: usize) -> Result<Vec<DeadLetterInfo>, StateError> {
        self.file.read(|read| {
            let mut letters = Vec::new();
            for row in read.open_table(INFO)?.iter()?.rev() {
                if letters.len() >= limit {
                    break;
                }
                let (number, info) = row?;
                let letter = parse(number.value(), info.value())?;
                if id.matches(&letter.event_id) {
                    letters.push(letter);
                }
            }
            Ok(letters)
        })
    }

    /// How many dead letters the filter takes, behind the number `after` and up to `through`, at most
    /// `limit`; and the greatest number among them. Reads the info of each.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn count_dead_letters(
        &self,
        filter: &DeadFilter,
        after: u64,
        through: u64,
        limit: usize,
    ) -> Result<(u64, u64), StateError> {
        self.file.read(|read| {
            let (mut count, mut last) = (0, 0);
            for row in read.open_table(INFO)?.range(after.saturating_add(1)..)? {
                let (id, info) = row?;
                if id.value() > through || count >= limit as u64 {
                    break;
                }
                if filter.takes(&parse(id.value(), info.value())?) {
                    (count, last) = (count + 1, id.value());
                }
            }
            Ok((count, last))
        })
    }

    /// A dead letter with its payload, the encoded entry.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn dead_letter(&self, id: u64) -> Result<Option<(DeadLetterInfo, Bytes)>, StateError> {
        self.file.read(|read| {
            let Some(info) = read.open_table(INFO)?.get(id)? else {
                return Ok(None);
            };
            let row = read.open_table(PAYLOAD)?.get(id)?;
            let row = row.ok_or_else(|| corrupted(format!("dead letter {id} has no payload")))?;
            let (checksum, payload) = row.value();
            if checksum != crc32c::crc32c(payload) {
                return Err(corrupted(format!(
                    "the payload of dead letter {id} does not match its checksum"
                )));
            }
            let payload = Bytes::copy_from_slice(payload);
            Ok(Some((parse(id, info.value())?, payload)))
        })
    }

    /// Removes dead letters for good, and returns the numbers of those that existed.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn remove_dead_letters(&self, ids: &[u64]) -> Result<Vec<u64>, StateError> {
        let removed = self.file.write(&[], |write| {
            let mut info = write.open_table(INFO)?;
            let mut payloads = write.open_table(PAYLOAD)?;
            let mut origins = write.open_table(ORIGIN)?;
            let mut totals = write.open_table(TOTALS)?;
            let mut removed = Vec::with_capacity(ids.len());
            for &id in ids {
                let Some(letter) = info.remove(id)?.map(|row| parse(id, row.value())).transpose()? else {
                    continue;
                };
                let bytes = payloads.remove(id)?.map_or(0, |payload| payload.value().1.len() as u64);
                origins.remove((letter.sink.as_deref(), letter.position.0))?;
                take_off(&mut totals, letter.sink.as_deref(), &letter.reason, bytes)?;
                removed.push(id);
            }
            Ok(removed)
        })?;
        self.reclaim()?;
        Ok(removed)
    }

    /// Sets the new reasons of dead letters that were tried again and stay.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn reassess_dead_letters(&self, outcomes: &[Reassessment]) -> Result<(), StateError> {
        self.file.write(&[], |write| {
            let mut info = write.open_table(INFO)?;
            let payloads = write.open_table(PAYLOAD)?;
            let mut totals = write.open_table(TOTALS)?;
            for Reassessment { id, reason, detail, at } in outcomes {
                let Some(mut letter) = info.get(id)?.map(|row| parse(*id, row.value())).transpose()? else {
                    continue;
                };
                let bytes = payloads.get(id)?.map_or(0, |payload| payload.value().1.len() as u64);
                take_off(&mut totals, letter.sink.as_deref(), &letter.reason, bytes)?;
                add_up(&mut totals, letter.sink.as_deref(), reason, bytes)?;
                letter.reason.clone_from(reason);
                letter.detail.clone_from(detail);
                letter.attempts = letter.attempts.saturating_add(1);
                letter.last = *at;
                info.insert(id, render(&letter)?.as_slice())?;
            }
            Ok(())
        })
    }

    /// How many dead letters there are, by sink and reason. Reads only the totals.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn dead_letter_counts(&self) -> Result<Vec<DeadCount>, StateError> {
        self.file.read(|read| {
            let mut counts = Vec::new();
            for row in read.open_table(TOTALS)?.iter()? {
                let (key, total) = row?;
                let (sink, reason) = key.value();
                let (count, bytes) = total.value();
                counts.push(DeadCount {
                    sink: sink.map(str::to_owned),
                    reason: reason.to_owned(),
                    count,
                    bytes,
                });
            }
            Ok(counts)
        })
    }
}

pub(super) fn create_tables(write: &WriteTransaction) -> Result<(), redb::Error> {
    write.open_table(INFO)?;
    write.open_table(PAYLOAD)?;
    write.open_table(ORIGIN)?;
    write.open_table(TOTALS)?;
    Ok(())
}

/// Adds the dead letters that are not stored yet.
pub(super) fn add<'a>(
    write: &WriteTransaction,
    letters: impl Iterator<Item = &'a NewDeadLetter>,
) -> Result<(), redb::Error> {
    let mut meta = write.open_table(META)?;
    let mut info = write.open_table(INFO)?;
    let mut payloads = write.open_table(PAYLOAD)?;
    let mut origins = write.open_table(ORIGIN)?;
    let mut totals = write.open_table(TOTALS)?;
    let mut id = meta.get("last_dead_letter")?.map_or(0, |last| last.value());
    let mut payload = Vec::new();
    for letter in letters {
        let origin = (letter.sink.as_deref(), letter.position.0);
        if origins.get(origin)?.is_some() {
            continue;
        }
        id += 1;
        payload.clear();
        codec::encode(&letter.entry, &mut payload);
        info.insert(id, render(&letter.info(id))?.as_slice())?;
        payloads.insert(id, (crc32c::crc32c(&payload), payload.as_slice()))?;
        origins.insert(origin, id)?;
        add_up(&mut totals, letter.sink.as_deref(), &letter.reason, payload.len() as u64)?;
    }
    meta.insert("last_dead_letter", id)?;
    Ok(())
}

fn add_up(totals: &mut Totals<'_>, sink: Option<&str>, reason: &str, bytes: u64) -> Result<(), redb::Error> {
    let (count, sum) = totals.get((sink, reason))?.map_or((0, 0), |total| total.value());
    totals.insert((sink, reason), (count + 1, sum.saturating_add(bytes)))?;
    Ok(())
}

fn take_off(
    totals: &mut Totals<'_>,
    sink: Option<&str>,
    reason: &str,
    bytes: u64,
) -> Result<(), redb::Error> {
    let (count, sum) = totals.get((sink, reason))?.map_or((0, 0), |total| total.value());
    if count > 1 {
        totals.insert((sink, reason), (count - 1, sum.saturating_sub(bytes)))?;
    } else {
        totals.remove((sink, reason))?;
    }
    Ok(())
}

pub(super) fn parse(id: u64, row: &[u8]) -> Result<DeadLetterInfo, redb::Error> {
    let letter = serde_json::from_slice(row).map_err(|e| corrupted(format!("dead letter {id}: {e}")))?;
    Ok(DeadLetterInfo { id, ..letter })
}

fn render(letter: &DeadLetterInfo) -> Result<Vec<u8>, redb::Error> {
    serde_json::to_vec(letter).map_err(|e| corrupted(format!("dead letter {}: {e}", letter.id)))
}
