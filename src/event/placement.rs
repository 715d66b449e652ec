//! Where a sink has put a record.

use std::fmt;

/// Bytes of a message id: a UUID.
const MESSAGE_ID_BYTES: usize = 16;
/// Where the hyphens of a UUID's text stand.
const HYPHENS: [usize; 4] = [8, 13, 18, 23];
/// How the name of a topic's file ends.
const FILE_ENDING: &str = ".jsonl";

/// Where a sink has put a record, as far as it says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Placement {
    /// The sink does not say.
    #[default]
    Unstated,
    /// A partition of a Kafka topic, and the offset in it.
    Offset {
        /// The partition's number.
        partition: i32,
        /// The record's offset, counted from 0.
        offset: i64,
    },
    /// The id that SNS gave the message, which is a UUID.
    Message([u8; MESSAGE_ID_BYTES]),
    /// A line of a topic's file.
    Line {
        /// The file's number, from its name.
        file: u64,
        /// Bytes in front of the line.
        offset: u64,
    },
}

impl Placement {
    /// An offset that a broker has reported. librdkafka reports a negative one when the broker said that it
    /// had the record already: then the place is not known.
    pub fn offset(partition: i32, offset: i64) -> Self {
        match partition >= 0 && offset >= 0 {
            true => Self::Offset { partition, offset },
            false => Self::Unstated,
        }
    }

    /// A message by its id, if that has the form of a UUID with lower-case digits.
    pub fn message(text: &str) -> Self {
        let is_hyphenated = text.len() == 36
            && text.bytes().enumerate().all(|(at, byte)| match HYPHENS.contains(&at) {
                true => byte == b'-',
                false => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
            });
        let mut id = [0; MESSAGE_ID_BYTES];
        let digits: String = text.chars().filter(|&c| c != '-').collect();
        match is_hyphenated && hex::decode_to_slice(digits, &mut id).is_ok() {
            true => Self::Message(id),
            false => Self::Unstated,
        }
    }

    /// The name of a topic's file by its number: `00000001.jsonl`.
    pub fn file_name(number: u64) -> String {
        format!("{number:08}{FILE_ENDING}")
    }

    /// The number of a topic's file by its name; `None` if the name is not of this form.
    pub fn file_number(name: &str) -> Option<u64> {
        name.strip_suffix(FILE_ENDING)?.parse().ok()
    }
}

impl fmt::Display for Placement {
    /// `p1@42`, the UUID, `00000001.jsonl@1234`; nothing if the place is not stated.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unstated => Ok(()),
            Self::Offset { partition, offset } => write!(f, "p{partition}@{offset}"),
            Self::Message(id) => {
                let digits = hex::encode(id);
                let (a, b, c, d, e) =
                    (&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]);
                write!(f, "{a}-{b}-{c}-{d}-{e}")
            }
            Self::Line { file, offset } => write!(f, "{}@{offset}", Self::file_name(*file)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placement_is_written_as_people_look_for_it() {
        let uuid = "0b3c1f00-9d1e-5a77-8f43-4402cbd1e0aa";
        assert_eq!(Placement::message(uuid).to_string(), uuid);
        assert_eq!(Placement::offset(1, 42).to_string(), "p1@42");
        assert_eq!(Placement::offset(0, 0).to_string(), "p0@0");
        assert_eq!(Placement::Line { file: 1, offset: 1234 }.to_string(), "00000001.jsonl@1234");
        assert_eq!(Placement::Unstated.to_string(), "");
    }

    #[test]
    fn what_a_sink_does_not_say_is_no_placement() {
        assert_eq!(Placement::offset(0, -1001), Placement::Unstated);
        assert_eq!(Placement::offset(-1, 7), Placement::Unstated);
        let others = [
            "",
            "msg-1",
            "0b3c1f009d1e5a778f434402cbd1e0aa",
            "0b3c1f00-9d1e-5a77-8f43-4402cbd1e0ag",
            "0B3C1F00-9D1E-5A77-8F43-4402CBD1E0AA",
            "0b3c1f00-9d1e-5a77-8f434-402cbd1e0aa",
            "0b3c1f00-9d1e-5a77-8f43-4402cbd1e0aa0",
        ];
        for text in others {
            assert_eq!(Placement::message(text), Placement::Unstated, "{text:?}");
        }
    }
}
