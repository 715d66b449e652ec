//! Reads the notes of steps (pure).
//!
//! A reader goes from note to note by their length, chooses by what stands in front of the rest, and decodes
//! only what it has chosen: a busy timeline has a hundred thousand notes, and a reader wants a hundred.

use super::notes::{HEAD_BYTES, MOMENT_AT, NUMBER_AT, POSITION_AT, WORD_AT};
use super::step::{
    DecidedBy, HeldStep, PublishedStep, RefusedStep, RejectedStep, Step, StepKind, StepWord, TakenAs,
    TakenStep, UnansweredStep,
};
use crate::event::{Placement, Position, Timestamp};

/// Why what was written can be read.
const WHOLE: &str = "a note has all that was written into it";

/// One note, as it lies in memory.
#[derive(Clone, Copy)]
pub(super) struct RawNote<'n>(&'n [u8]);

/// The texts of a note by which readers choose.
pub(super) struct SubjectTexts<'n> {
    pub(super) source: &'n [u8],
    pub(super) sink: &'n [u8],
    pub(super) id: &'n [u8],
    pub(super) event_type: &'n [u8],
}

/// The notes that lie one behind the other in these bytes.
pub(super) fn notes_in(mut bytes: &[u8]) -> impl Iterator<Item = RawNote<'_>> {
    std::iter::from_fn(move || {
        let length = u32::from_le_bytes(*bytes.first_chunk()?) as usize;
        let (note, rest) = bytes.split_at_checked(length)?;
        bytes = rest;
        Some(RawNote(note))
    })
}

/// The notes of several sequences, by a key in whose order each of them is. Of equals the one of the earlier
/// sequence comes first.
pub(super) fn merged<'n, K: Ord>(
    sequences: impl IntoIterator<Item = impl Iterator<Item = RawNote<'n>>>,
    key: impl Fn(RawNote<'n>) -> K,
) -> impl Iterator<Item = RawNote<'n>> {
    let mut sequences: Vec<_> = sequences.into_iter().map(Iterator::peekable).collect();
    std::iter::from_fn(move || {
        let firsts = sequences.iter_mut().filter_map(|notes| Some((key(*notes.peek()?), notes)));
        let (_, notes) = firsts.min_by(|(one, _), (other, _)| one.cmp(other))?;
        notes.next()
    })
}

impl<'n> RawNote<'n> {
    /// The bytes of the note.
    pub(super) fn bytes(self) -> &'n [u8] {
        self.0
    }

    /// The step's number.
    pub(super) fn number(self) -> u64 {
        u64::from_le_bytes(self.part(NUMBER_AT))
    }

    /// When the step happened.
    pub(super) fn at(self) -> Timestamp {
        Timestamp(i64::from_le_bytes(self.part(MOMENT_AT)))
    }

    /// The word for the step.
    pub(super) fn word(self) -> StepWord {
        let [code] = self.part(WORD_AT);
        StepWord::ALL[usize::from(code)]
    }

    /// The texts by which readers choose.
    pub(super) fn texts(self) -> SubjectTexts<'n> {
        self.split().0
    }

    /// Whether the step is about one of these positions. A held step is about all from its first to its last.
    pub(super) fn concerns(self, positions: &[Position]) -> bool {
        let first = self.position();
        let last = match self.word() {
            StepWord::Held => self.split().1.position(),
            _ => first,
        };
        first != Position::default() && positions.iter().any(|position| (first..=last).contains(position))
    }

    /// The step.
    pub(super) fn decode(self) -> Step {
        #[cfg(test)]
        DECODED.set(DECODED.get() + 1);
        let (texts, mut rest) = self.split();
        let kind = match self.word() {
            StepWord::Accepted => self.taken(TakenAs::Accepted, &texts, &mut rest),
            StepWord::Filtered => self.taken(TakenAs::Filtered, &texts, &mut rest),
            StepWord::Duplicate => self.taken(TakenAs::Duplicate, &texts, &mut rest),
            StepWord::Quarantined => self.taken(TakenAs::Quarantined, &texts, &mut rest),
            StepWord::Refused => refused(&texts, &mut rest),
            StepWord::Unanswered => StepKind::Unanswered(UnansweredStep {
                source: text(texts.source),
                id: text(texts.id),
                event_type: text(texts.event_type),
                waited_ms: rest.u32(),
            }),
            StepWord::Published => self.published(&texts, &mut rest),
            StepWord::Held => self.held(&texts, &mut rest),
            StepWord::Rejected => self.rejected(&texts, &mut rest),
        };
        Step { number: self.number(), at: self.at(), kind }
    }

    fn part<const N: usize>(self, at: usize) -> [u8; N] {
        *self.0[at..].first_chunk().expect(WHOLE)
    }

    fn position(self) -> Position {
        Position(u64::from_le_bytes(self.part(POSITION_AT)))
    }

    fn split(self) -> (SubjectTexts<'n>, Rest<'n>) {
        let mut rest = Rest(&self.0[HEAD_BYTES..]);
        let [source, sink, id, event_type] = std::array::from_fn(|_| rest.text_bytes());
        (SubjectTexts { source, sink, id, event_type }, rest)
    }

    fn taken(self, verdict: TakenAs, texts: &SubjectTexts<'_>, rest: &mut Rest<'_>) -> StepKind {
        let position = self.position();
        // In the order in which they are written.
        StepKind::Taken(TakenStep {
            source: text(texts.source),
            verdict,
            decided_by: DecidedBy::ALL[usize::from(rest.u8())],
            reason: rest.text(),
            id: text(texts.id),
            event_source: rest.text(),
            event_type: text(texts.event_type),
            family: rest.text(),
            key: rest.option(Rest::text),
            bytes: rest.u32(),
            position: (position != Position::default()).then_some(position),
            secret: rest.option(Rest::text),
            configuration: rest.option(Rest::array),
            taken_us: rest.u32(),
        })
    }

    fn published(self, texts: &SubjectTexts<'_>, rest: &mut Rest<'_>) -> StepKind {
        StepKind::Published(PublishedStep {
            source: text(texts.source),
            sink: text(texts.sink),
            topic: rest.text(),
            id: text(texts.id),
            event_type: text(texts.event_type),
            position: self.position(),
            placement: rest.placement(),
            attempts: rest.u32(),
            after_ms: rest.u32(),
            replay: rest.u8() == 1,
        })
    }

    fn held(self, texts: &SubjectTexts<'_>, rest: &mut Rest<'_>) -> StepKind {
        let last = rest.position();
        StepKind::Held(HeldStep {
            sink: text(texts.sink),
            topic: rest.text(),
            reason: rest.text(),
            detail: rest.text(),
            records: rest.u32(),
            first: self.position(),
            last,
            attempt: rest.u32(),
        })
    }

    fn rejected(self, texts: &SubjectTexts<'_>, rest: &mut Rest<'_>) -> StepKind {
        StepKind::Rejected(RejectedStep {
            source: text(texts.source),
            sink: text(texts.sink),
            topic: rest.text(),
            id: text(texts.id),
            event_type: text(texts.event_type),
            position: self.position(),
            reason: rest.text(),
            detail: rest.text(),
            attempts: rest.u32(),
        })
    }
}

fn refused(texts: &SubjectTexts<'_>, rest: &mut Rest<'_>) -> StepKind {
    let request = rest.u64();
    let status = u16::from_le_bytes(rest.array());
    let reason = rest.text();
    let (bytes, sha256) = (rest.option(Rest::u64), rest.option(Rest::array));
    let headers = (0..rest.u8()).map(|_| (rest.text(), rest.text())).collect();
    let (source, unsaid) = (text(texts.source), rest.u32());
    StepKind::Refused(RefusedStep { source, request, status, reason, bytes, sha256, headers, unsaid })
}

fn text(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).expect("a text is cut between its characters").to_owned()
}

/// What of a note is still to be read.
struct Rest<'n>(&'n [u8]);

impl<'n> Rest<'n> {
    fn array<const N: usize>(&mut self) -> [u8; N] {
        let (array, rest) = self.0.split_first_chunk().expect(WHOLE);
        self.0 = rest;
        *array
    }

    fn u8(&mut self) -> u8 {
        let [byte] = self.array();
        byte
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    fn position(&mut self) -> Position {
        Position(self.u64())
    }

    fn text_bytes(&mut self) -> &'n [u8] {
        let length = usize::from(u16::from_le_bytes(self.array()));
        let (text, rest) = self.0.split_at_checked(length).expect(WHOLE);
        self.0 = rest;
        text
    }

    fn text(&mut self) -> String {
        text(self.text_bytes())
    }

    fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.u8() == 1).then(|| read(self))
    }

    fn placement(&mut self) -> Placement {
        match self.u8() {
            1 => Placement::Offset {
                partition: i32::from_le_bytes(self.array()),
                offset: i64::from_le_bytes(self.array()),
            },
            2 => Placement::Message(self.array()),
            3 => Placement::Line { file: self.u64(), offset: self.u64() },
            _ => Placement::Unstated,
        }
    }
}

#[cfg(test)]
thread_local! {
    /// How many notes this thread has decoded.
    pub(super) static DECODED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}
