//! The bytes of a step in memory (pure).
//!
//! ```text
//! length 4 │ number 8 │ moment 8 │ word 1 │ position 8 │ source, sink, id, type │ the rest, by word
//! ```
//!
//! Integers are little-endian; a text is its length in two bytes and its bytes, and what is optional has a
//! byte 0 or 1 in front. The bytes never leave the process, so they have no version. Every text is cut at a
//! bound, so no note is longer than [`NOTE_BYTES_MAX`]. [`super::raw_note`] reads them.

use super::step::{HeldStep, PublishedStep, RefusedStep, RejectedStep, StepWord, TakenStep, UnansweredStep};
use crate::event::{Placement, Position, Timestamp};

/// Most bytes of a note.
pub(super) const NOTE_BYTES_MAX: usize = 4 << 10;
/// Most bytes of a text other than an id or a detail.
const TEXT_BYTES_MAX: usize = 255;
/// Most bytes of an event's id.
const ID_BYTES_MAX: usize = 300;
/// Most bytes of a detail.
const DETAIL_BYTES_MAX: usize = 256;
/// Most headers of a refused delivery, and most bytes of their names and values.
const HEADERS_MAX: u8 = 40;
const HEADERS_BYTES_MAX: usize = 2 << 10;

/// Where the parts of the head begin, and where it ends.
pub(super) const NUMBER_AT: usize = 4;
pub(super) const MOMENT_AT: usize = 12;
pub(super) const WORD_AT: usize = 20;
pub(super) const POSITION_AT: usize = 21;
pub(super) const HEAD_BYTES: usize = 29;

/// What a note is about: the parts of a step by which readers choose.
struct Subject<'s> {
    word: StepWord,
    position: Position,
    source: &'s str,
    sink: &'s str,
    id: &'s str,
    event_type: &'s str,
}

/// A step that can be written as a note.
pub(super) trait Noteworthy {
    /// The step's note, without a number, is appended to these bytes.
    fn write(&self, at: Timestamp, bytes: &mut Vec<u8>);
}

fn write(bytes: &mut Vec<u8>, at: Timestamp, subject: &Subject<'_>, rest: impl FnOnce(&mut Vec<u8>)) {
    let start = bytes.len();
    bytes.extend_from_slice(&[0; MOMENT_AT]);
    bytes.extend_from_slice(&at.0.to_le_bytes());
    bytes.push(subject.word as u8);
    bytes.extend_from_slice(&subject.position.0.to_le_bytes());
    put_text(bytes, subject.source, TEXT_BYTES_MAX);
    put_text(bytes, subject.sink, TEXT_BYTES_MAX);
    put_text(bytes, subject.id, ID_BYTES_MAX);
    put_text(bytes, subject.event_type, TEXT_BYTES_MAX);
    rest(bytes);
    let length = (bytes.len() - start) as u32;
    bytes[start..start + NUMBER_AT].copy_from_slice(&length.to_le_bytes());
}

fn put_text(bytes: &mut Vec<u8>, text: &str, bytes_max: usize) {
    let cut = &text.as_bytes()[..text.floor_char_boundary(bytes_max)];
    bytes.extend_from_slice(&(cut.len() as u16).to_le_bytes());
    bytes.extend_from_slice(cut);
}

fn put_option<T>(bytes: &mut Vec<u8>, value: Option<T>, put: impl FnOnce(&mut Vec<u8>, T)) {
    bytes.push(u8::from(value.is_some()));
    if let Some(value) = value {
        put(bytes, value);
    }
}

fn put_placement(bytes: &mut Vec<u8>, placement: Placement) {
    match placement {
        Placement::Unstated => bytes.push(0),
        Placement::Offset { partition, offset } => {
            bytes.push(1);
            bytes.extend_from_slice(&partition.to_le_bytes());
            bytes.extend_from_slice(&offset.to_le_bytes());
        }
        Placement::Message(id) => {
            bytes.push(2);
            bytes.extend_from_slice(&id);
        }
        Placement::Line { file, offset } => {
            bytes.push(3);
            bytes.extend_from_slice(&file.to_le_bytes());
            bytes.extend_from_slice(&offset.to_le_bytes());
        }
    }
}

/// The headers that fit; how many these are is written in front of them.
fn put_headers<T: AsRef<str>>(bytes: &mut Vec<u8>, headers: &[(T, T)]) {
    let count_at = bytes.len();
    bytes.push(0);
    let mut room = HEADERS_BYTES_MAX;
    for (name, value) in headers {
        let (name, value) = (name.as_ref(), value.as_ref());
        let left = room.checked_sub(name.len().min(TEXT_BYTES_MAX) + value.len().min(TEXT_BYTES_MAX));
        let Some(left) = left.filter(|_| bytes[count_at] < HEADERS_MAX) else { return };
        room = left;
        bytes[count_at] += 1;
        put_text(bytes, name, TEXT_BYTES_MAX);
        put_text(bytes, value, TEXT_BYTES_MAX);
    }
}

impl<T: AsRef<str>> Noteworthy for TakenStep<T> {
    fn write(&self, at: Timestamp, bytes: &mut Vec<u8>) {
        let subject = Subject {
            word: self.verdict.into(),
            position: self.position.unwrap_or_default(),
            source: self.source.as_ref(),
            sink: "",
            id: self.id.as_ref(),
            event_type: self.event_type.as_ref(),
        };
        write(bytes, at, &subject, |bytes| {
            bytes.push(self.decided_by as u8);
            put_text(bytes, self.reason.as_ref(), TEXT_BYTES_MAX);
            put_text(bytes, self.event_source.as_ref(), TEXT_BYTES_MAX);
            put_text(bytes, self.family.as_ref(), TEXT_BYTES_MAX);
            put_option(bytes, self.key.as_ref(), |bytes, key| put_text(bytes, key.as_ref(), TEXT_BYTES_MAX));
            bytes.extend_from_slice(&self.bytes.to_le_bytes());
            put_option(bytes, self.secret.as_ref(), |bytes, secret| {
                put_text(bytes, secret.as_ref(), TEXT_BYTES_MAX);
            });
            put_option(bytes, self.configuration, |bytes, configuration| {
                bytes.extend_from_slice(&configuration)
            });
            bytes.extend_from_slice(&self.taken_us.to_le_bytes());
        });
    }
}

impl<T: AsRef<str>> Noteworthy for RefusedStep<T> {
    fn write(&self, at: Timestamp, bytes: &mut Vec<u8>) {
        let (word, position, source) = (StepWord::Refused, Position::default(), self.source.as_ref());
        let subject = Subject { word, position, source, sink: "", id: "", event_type: "" };
        write(bytes, at, &subject, |bytes| {
            bytes.extend_from_slice(&self.request.to_le_bytes());
            bytes.extend_from_slice(&self.status.to_le_bytes());
            put_text(bytes, self.reason.as_ref(), TEXT_BYTES_MAX);
            put_option(bytes, self.bytes, |bytes, count| bytes.extend_from_slice(&count.to_le_bytes()));
            put_option(bytes, self.sha256, |bytes, digest| bytes.extend_from_slice(&digest));
            put_headers(bytes, &self.headers);
            bytes.extend_from_slice(&self.unsaid.to_le_bytes());
        });
    }
}

impl<T: AsRef<str>> Noteworthy for UnansweredStep<T> {
    fn write(&self, at: Timestamp, bytes: &mut Vec<u8>) {
        let subject = Subject {
            word: StepWord::Unanswered,
            position: Position::default(),
            source: self.source.as_ref(),
            sink: "",
            id: self.id.as_ref(),
            event_type: self.event_type.as_ref(),
        };
        write(bytes, at, &subject, |bytes| bytes.extend_from_slice(&self.waited_ms.to_le_bytes()));
    }
}

impl<T: AsRef<str>> Noteworthy for PublishedStep<T> {
    fn write(&self, at: Timestamp, bytes: &mut Vec<u8>) {
        let subject = Subject {
            word: StepWord::Published,
            position: self.position,
            source: self.source.as_ref(),
            sink: self.sink.as_ref(),
            id: self.id.as_ref(),
            event_type: self.event_type.as_ref(),
        };
        write(bytes, at, &subject, |bytes| {
            put_text(bytes, self.topic.as_ref(), TEXT_BYTES_MAX);
            put_placement(bytes, self.placement);
            bytes.extend_from_slice(&self.attempts.to_le_bytes());
            bytes.extend_from_slice(&self.after_ms.to_le_bytes());
            bytes.push(u8::from(self.replay));
        });
    }
}

impl<T: AsRef<str>> Noteworthy for HeldStep<T> {
    fn write(&self, at: Timestamp, bytes: &mut Vec<u8>) {
        let (word, position, sink) = (StepWord::Held, self.first, self.sink.as_ref());
        let subject = Subject { word, position, source: "", sink, id: "", event_type: "" };
        write(bytes, at, &subject, |bytes| {
            bytes.extend_from_slice(&self.last.0.to_le_bytes());
            put_text(bytes, self.topic.as_ref(), TEXT_BYTES_MAX);
            put_text(bytes, self.reason.as_ref(), TEXT_BYTES_MAX);
            put_text(bytes, self.detail.as_ref(), DETAIL_BYTES_MAX);
            bytes.extend_from_slice(&self.records.to_le_bytes());
            bytes.extend_from_slice(&self.attempt.to_le_bytes());
        });
    }
}

impl<T: AsRef<str>> Noteworthy for RejectedStep<T> {
    fn write(&self, at: Timestamp, bytes: &mut Vec<u8>) {
        let subject = Subject {
            word: StepWord::Rejected,
            position: self.position,
            source: self.source.as_ref(),
            sink: self.sink.as_ref(),
            id: self.id.as_ref(),
            event_type: self.event_type.as_ref(),
        };
        write(bytes, at, &subject, |bytes| {
            put_text(bytes, self.topic.as_ref(), TEXT_BYTES_MAX);
            put_text(bytes, self.reason.as_ref(), TEXT_BYTES_MAX);
            put_text(bytes, self.detail.as_ref(), DETAIL_BYTES_MAX);
            bytes.extend_from_slice(&self.attempts.to_le_bytes());
        });
    }
}
