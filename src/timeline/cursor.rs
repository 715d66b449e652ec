//! How far a reader has read the timeline.

use std::fmt;
use std::str::FromStr;

/// How far a reader has read the timeline of one start of the bridge: `1a2b3c4d.812` as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimelineCursor {
    /// Which start it is; random and never 0.
    pub epoch: u32,
    /// The number of the last step that the reader has passed; 0 for none.
    pub number: u64,
}

/// A text that is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a cursor as an earlier answer gave it, such as `1a2b3c4d.812`")]
pub struct TimelineCursorError;

impl fmt::Display for TimelineCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}.{}", self.epoch, self.number)
    }
}

impl FromStr for TimelineCursor {
    type Err = TimelineCursorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let cursor = text.split_once('.').and_then(|(epoch, number)| {
            Some(Self { epoch: u32::from_str_radix(epoch, 16).ok()?, number: number.parse().ok()? })
        });
        // Only what is written as a cursor is written: neither signs nor leading zeros lead anywhere.
        cursor.filter(|cursor| cursor.to_string() == text).ok_or(TimelineCursorError)
    }
}
