//! How somebody names the event that is asked about (pure).

use std::fmt;
use std::str::FromStr;

use crate::event::{IdMatch, IdMatchError, Position};

const POSITION: &str = "position:";
const REQUEST: &str = "request:";

/// The event that is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AskedEvent {
    /// By its id, or the beginning of it.
    Id(IdMatch),
    /// By its position in the log: `position:42`.
    Position(Position),
    /// A refused delivery, by the number in its answer: `request:5f1c…`, 16 hexadecimal digits.
    Request(u64),
}

/// A text that names no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskedEventError {
    /// It is too short or too long for an id.
    #[error(transparent)]
    Id(#[from] IdMatchError),
    /// There is no number behind `position:`.
    #[error("expected the number of an entry of the log behind `{POSITION}`, counted from 1")]
    Position,
    /// There are no digits behind `request:`.
    #[error("expected 16 hexadecimal digits behind `{REQUEST}`, as in the answer to the request")]
    Request,
}

impl FromStr for AskedEvent {
    type Err = AskedEventError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(number) = text.strip_prefix(POSITION) {
            let position = number.parse().ok().filter(|number| *number > 0 && *number < u64::MAX);
            return position.map(|number| Self::Position(Position(number))).ok_or(AskedEventError::Position);
        }
        if let Some(digits) = text.strip_prefix(REQUEST) {
            let is_whole = digits.len() == 16 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            let number = is_whole.then(|| u64::from_str_radix(digits, 16).ok()).flatten();
            return number.map(Self::Request).ok_or(AskedEventError::Request);
        }
        Ok(Self::Id(text.parse()?))
    }
}

impl fmt::Display for AskedEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => f.write_str(id.as_str()),
            Self::Position(position) => write!(f, "{POSITION}{position}"),
            Self::Request(number) => write!(f, "{REQUEST}{number:016x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_named_by_its_id_its_position_or_the_number_of_its_request() {
        for text in ["sha256-9f2c81aa", "evt_1", "position:42", "request:5f1c00000000abcd"] {
            let asked: AskedEvent = text.parse().expect("it names an event");
            assert_eq!(asked.to_string(), text);
        }
        assert!(matches!("position:42".parse(), Ok(AskedEvent::Position(Position(42)))));
        for text in ["position:", "position:0", "position:x", "position:18446744073709551615"] {
            assert_eq!(text.parse::<AskedEvent>(), Err(AskedEventError::Position), "{text}");
        }
        for text in ["request:", "request:5f1c", "request:5f1c00000000abcg"] {
            assert_eq!(text.parse::<AskedEvent>(), Err(AskedEventError::Request), "{text}");
        }
        assert!(matches!("9f2".parse::<AskedEvent>(), Err(AskedEventError::Id(_))));
    }
}
