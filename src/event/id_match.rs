//! Which events somebody asks for, by their id or its beginning.

use std::str::FromStr;

/// The scheme in front of ids that are made of a body: people leave it out when they type a beginning.
pub const BODY_SCHEME: &str = "sha256-";
/// Shortest beginning of an id: four hexadecimal digits tell thousands of events apart.
const CHARS_MIN: usize = 4;
/// Longest id that an event can have, in bytes.
const ID_BYTES_MAX: usize = 254;

/// The ids that somebody asks for: those that begin with a text, with or without `sha256-`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdMatch(String);

/// A text that is no beginning of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the beginning of an id has {CHARS_MIN} characters at least and {ID_BYTES_MAX} bytes at most")]
pub struct IdMatchError;

impl FromStr for IdMatch {
    type Err = IdMatchError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text.strip_prefix(BODY_SCHEME).unwrap_or(text);
        let is_beginning = rest.chars().count() >= CHARS_MIN && text.len() <= ID_BYTES_MAX;
        if is_beginning { Ok(Self(text.to_owned())) } else { Err(IdMatchError) }
    }
}

impl IdMatch {
    /// What was asked for.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this id begins with it.
    pub fn matches(&self, id: &str) -> bool {
        id.starts_with(&self.0) || id.strip_prefix(BODY_SCHEME).is_some_and(|rest| rest.starts_with(&self.0))
    }

    /// Whether this id is all of it, and no other can be meant.
    pub fn is_whole(&self, id: &str) -> bool {
        id == self.0 || id.strip_prefix(BODY_SCHEME) == Some(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_of_an_id_matches_with_and_without_its_scheme() {
        for (asked, id, matches, whole) in [
            ("9f2c", "sha256-9f2c81aa", true, false),
            ("sha256-9f2c", "sha256-9f2c81aa", true, false),
            ("sha256-9f2c81aa", "sha256-9f2c81aa", true, true),
            ("9f2c81aa", "sha256-9f2c81aa", true, true),
            ("evt_1", "evt_123", true, false),
            ("evt_123", "evt_123", true, true),
            ("2c81", "sha256-9f2c81aa", false, false),
            ("sha256-9f2c", "9f2c81aa", false, false),
            ("evt_1234", "evt_123", false, false),
        ] {
            let asked: IdMatch = asked.parse().expect("a beginning");
            assert_eq!((asked.matches(id), asked.is_whole(id)), (matches, whole), "{asked:?} {id}");
        }
    }

    #[test]
    fn what_could_be_any_event_is_refused() {
        let long = "x".repeat(255);
        for text in ["", "9f2", "sha256-", "sha256-9f2", &long] {
            assert_eq!(text.parse::<IdMatch>(), Err(IdMatchError), "{text:?}");
        }
    }
}
