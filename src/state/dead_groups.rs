//! Dead letters by their cause: what one mending settles, and one command redrives.
//!
//! An outage or a wrong limit makes thousands of letters whose details differ only in numbers and ids.
//! Letters are of one group if sink, reason and detail are the same but for these.

use std::collections::BTreeMap;

use redb::ReadableTable;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::dead_letters::{INFO, parse};
use super::row::{DeadFilter, DeadLetterInfo};
use super::{State, StateError};
use crate::event::Timestamp;

/// Most groups that are told apart. Details come from services, so they can be of any number.
const GROUPS_MAX: usize = 1000;
/// Shortest run of hexadecimal digits that is taken for an id.
const ID_DIGITS_MIN: usize = 8;
/// Hexadecimal digits of a group's id.
const GROUP_DIGITS: usize = 12;

/// The dead letters of one cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeadGroup {
    /// Names the group in commands: 12 hexadecimal digits, which sink, reason and detail determine.
    pub id: String,
    /// The sink; `None` for quarantined deliveries.
    pub sink: Option<String>,
    /// The reason, one word of a bounded set.
    pub reason: String,
    /// What happened, with `N` for numbers and ids.
    pub detail: String,
    /// The event type, if all of them have the same.
    #[serde(rename = "type")]
    pub event_type: Option<String>,
    /// How many dead letters there are.
    pub count: u64,
    /// The bytes of their bodies.
    pub bytes: u64,
    /// When the first of them was first tried.
    pub first: Timestamp,
    /// When the last of them was last tried.
    pub last: Timestamp,
    /// The greatest number among them.
    pub newest: u64,
}

/// Dead letters by their cause, the largest group first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeadGroups {
    /// The groups, 1,000 at most.
    pub groups: Vec<DeadGroup>,
    /// How many letters are in none of them, because there are too many causes.
    pub ungrouped: u64,
}

impl State {
    /// The dead letters that the filter takes, by their cause. Reads the info of each.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn dead_letter_groups(&self, filter: &DeadFilter) -> Result<DeadGroups, StateError> {
        self.file.read(|read| {
            let (mut groups, mut ungrouped) = (BTreeMap::new(), 0);
            for row in read.open_table(INFO)?.iter()? {
                let (id, info) = row?;
                let letter = parse(id.value(), info.value())?;
                if filter.takes(&letter) && !enter(&mut groups, letter) {
                    ungrouped += 1;
                }
            }
            let mut groups: Vec<DeadGroup> = groups.into_values().collect();
            groups.sort_by(|a, b| b.count.cmp(&a.count).then(a.id.cmp(&b.id)));
            Ok(DeadGroups { groups, ungrouped })
        })
    }
}

/// Enters a letter in its group, and says whether there was room for it.
fn enter(groups: &mut BTreeMap<String, DeadGroup>, letter: DeadLetterInfo) -> bool {
    let id = group_of(&letter);
    if !groups.contains_key(&id) && groups.len() >= GROUPS_MAX {
        return false;
    }
    let group = groups.entry(id).or_insert_with_key(|id| DeadGroup {
        id: id.clone(),
        sink: letter.sink.clone(),
        reason: letter.reason.clone(),
        detail: without_numbers(&letter.detail),
        event_type: letter.event_type.clone(),
        count: 0,
        bytes: 0,
        first: letter.first,
        last: letter.last,
        newest: letter.id,
    });
    group.event_type.take_if(|one| Some(one.as_str()) != letter.event_type.as_deref());
    group.count += 1;
    group.bytes = group.bytes.saturating_add(letter.body_bytes);
    group.first = group.first.min(letter.first);
    group.last = group.last.max(letter.last);
    group.newest = group.newest.max(letter.id);
    true
}

/// The id of the group of a letter.
pub(super) fn group_of(letter: &DeadLetterInfo) -> String {
    let mut digest = Sha256::new();
    digest.update([u8::from(letter.sink.is_some())]);
    for text in [letter.sink.as_deref().unwrap_or_default(), &letter.reason, &without_numbers(&letter.detail)]
    {
        digest.update((text.len() as u64).to_le_bytes());
        digest.update(text);
    }
    let mut id = hex::encode(digest.finalize());
    id.truncate(GROUP_DIGITS);
    id
}

/// A detail with `N` for each number and each id.
fn without_numbers(detail: &str) -> String {
    let is_of_word = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let (mut text, mut rest) = (String::with_capacity(detail.len()), detail);
    while !rest.is_empty() {
        let word = rest.len() - rest.trim_start_matches(is_of_word).len();
        word_without_numbers(&rest[..word], &mut text);
        rest = &rest[word..];
        let other = rest.find(is_of_word).unwrap_or(rest.len());
        text.push_str(&rest[..other]);
        rest = &rest[other..];
    }
    // A number with its thousands apart, a fraction, an address.
    while text.contains("N,N") || text.contains("N.N") {
        text = text.replace("N,N", "N").replace("N.N", "N");
    }
    text
}

fn word_without_numbers(word: &str, text: &mut String) {
    if is_id(word) {
        text.push('N');
        return;
    }
    for (at, part) in word.split('-').enumerate() {
        if at > 0 {
            text.push('-');
        }
        if is_id(part) {
            text.push('N');
            continue;
        }
        let mut in_number = false;
        for character in part.chars() {
            let is_digit = character.is_ascii_digit();
            match (is_digit, in_number) {
                (true, true) => {}
                (true, false) => text.push('N'),
                (false, _) => text.push(character),
            }
            in_number = is_digit;
        }
    }
}

/// Whether it is a digest, a UUID or the like.
fn is_id(word: &str) -> bool {
    let digits = word.bytes().filter(|byte| *byte != b'-');
    let is_hex = digits.clone().all(|byte| byte.is_ascii_hexdigit());
    is_hex && digits.count() >= ID_DIGITS_MIN && word.bytes().any(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Position;

    fn letter(id: u64, reason: &str, detail: &str, event_type: &str) -> DeadLetterInfo {
        DeadLetterInfo {
            id,
            sink: Some("lake".into()),
            reason: reason.into(),
            detail: detail.into(),
            attempts: 1,
            first: Timestamp(id as i64),
            last: Timestamp(10 + id as i64),
            position: Position(id),
            topic: None,
            event_id: String::new(),
            event_type: Some(event_type.into()),
            source: String::new(),
            body_bytes: 100,
            replay_id: None,
        }
    }

    #[test]
    fn numbers_and_ids_make_no_other_cause() {
        for (detail, cause) in [
            ("a record of 1,812 bytes, at most 1000", "a record of N bytes, at most N"),
            ("p3@42 of stream.video.call", "pN@N of stream.video.call"),
            ("sha256-9f2c81aa03be4711 is known", "shaN-N is known"),
            ("request 0b3c11aa-9a2f-4c1e-beef-00aa11bb22cc failed", "request N failed"),
            ("127.0.0.1:9092: refused", "N:N: refused"),
            ("12.5 s", "N s"),
            ("größer als 5 \u{2192} nein", "größer als N \u{2192} nein"),
            ("deadbeef is a word", "deadbeef is a word"),
            ("-", "-"),
            ("", ""),
        ] {
            assert_eq!(without_numbers(detail), cause);
        }
    }

    #[test]
    fn letters_of_one_cause_are_one_group_whatever_their_numbers_are() {
        let mut groups = BTreeMap::new();
        for id in 1..=100 {
            let detail = format!("a record of {} bytes", 1000 + id);
            assert!(enter(&mut groups, letter(id, "too_large", &detail, "call.created")));
        }
        enter(&mut groups, letter(101, "invalid_record", "a record of 5 bytes", "call.created"));
        let quarantined =
            DeadLetterInfo { sink: None, ..letter(102, "too_large", "a record of 1 bytes", "") };
        enter(&mut groups, quarantined);
        assert_eq!(groups.len(), 3);
        let largest = groups.values().max_by_key(|group| group.count).expect("a group");
        assert_eq!((largest.count, largest.bytes, largest.newest), (100, 10_000, 100));
        assert_eq!((largest.first, largest.last), (Timestamp(1), Timestamp(110)));
        assert_eq!(largest.event_type.as_deref(), Some("call.created"));
        assert_eq!((largest.detail.as_str(), largest.id.len()), ("a record of N bytes", GROUP_DIGITS));

        let id = largest.id.clone();
        enter(&mut groups, letter(103, "too_large", "a record of 7 bytes", "call.ended"));
        assert_eq!((groups[&id].count, &groups[&id].event_type), (101, &None), "of two types");
    }

    #[test]
    fn causes_without_number_take_bounded_memory() {
        let mut groups = BTreeMap::new();
        let mut word = |number: u64| {
            let detail: String = number.to_string().chars().map(|c| char::from(c as u8 + 49)).collect();
            enter(&mut groups, letter(number, "failed", &detail, "t"))
        };
        let grouped = (0..2000).filter(|number| word(*number)).count();
        assert_eq!(grouped, GROUPS_MAX);
        assert!(word(5), "a letter of a known cause still is in its group");
    }
}
