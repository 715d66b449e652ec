//! How somebody names the event that is asked about (pure).

use std::fmt;
use std::str::FromStr;

use crate::event::{IdMatch, IdMatchError, Position};
use crate::problem::RequestNumber;

const POSITION: &str = "position:";
const REQUEST: &str = "request:";
/// What stands in front of it in the `instance` of a problem document.
const URN: &str = "urn:fanbridge:";

/// The event that is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AskedEvent {
    /// By its id, or the beginning of it.
    Id(IdMatch),
    /// By its position in the log: `position:42`.
    Position(Position),
    /// By the number of a request that was refused: `request:5f1c0a9b8e7d6c5a`.
    Request(RequestNumber),
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
    /// There is no number of a request behind `request:`.
    #[error("expected the 16 hexadecimal digits of a request behind `{REQUEST}`")]
    Request,
}

impl FromStr for AskedEvent {
    type Err = AskedEventError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(number) = text.strip_prefix(POSITION) {
            let position = number.parse().ok().filter(|number| *number > 0 && *number < u64::MAX);
            return position.map(|number| Self::Position(Position(number))).ok_or(AskedEventError::Position);
        }
        if let Some(number) = text.strip_prefix(URN).unwrap_or(text).strip_prefix(REQUEST) {
            return number.parse::<RequestNumber>().map(Self::Request).map_err(|_| AskedEventError::Request);
        }
        Ok(Self::Id(text.parse()?))
    }
}

impl fmt::Display for AskedEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => f.write_str(id.as_str()),
            Self::Position(position) => write!(f, "{POSITION}{position}"),
            Self::Request(request) => write!(f, "{REQUEST}{request}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_named_by_its_id_or_its_position() {
        for text in ["sha256-9f2c81aa", "evt_1", "position:42", "request:00ff0a9b8e7d6c5a"] {
            let asked: AskedEvent = text.parse().expect("it names an event");
            assert_eq!(asked.to_string(), text);
        }
        assert!(matches!("position:42".parse(), Ok(AskedEvent::Position(Position(42)))));
        for text in ["position:", "position:0", "position:x", "position:18446744073709551615"] {
            assert_eq!(text.parse::<AskedEvent>(), Err(AskedEventError::Position), "{text}");
        }
        let instance: AskedEvent = "urn:fanbridge:request:00ff0a9b8e7d6c5a".parse().expect("a request");
        assert_eq!(instance.to_string(), "request:00ff0a9b8e7d6c5a");
        for text in ["request:", "request:12", "request:00ff0a9b8e7d6c5x", "request:+0ff0a9b8e7d6c5a"] {
            assert_eq!(text.parse::<AskedEvent>(), Err(AskedEventError::Request), "{text}");
        }
        assert!(matches!("9f2".parse::<AskedEvent>(), Err(AskedEventError::Id(_))));
    }
}
