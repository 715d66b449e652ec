//! Which steps a reader wants (pure).

use super::raw_note::RawNote;
use super::step::StepWord;
use crate::event::IdMatch;

/// Which steps a reader wants: those that pass every part that is set.
#[derive(Clone, Debug, Default)]
pub struct StepFilter {
    /// Steps of deliveries of this source, and of its events in the sinks. A held step is of no source.
    pub source: Option<String>,
    /// Steps of events of this type.
    pub event_type: Option<String>,
    /// Steps of this word.
    pub verdict: Option<StepWord>,
    /// Steps in this sink.
    pub sink: Option<String>,
    /// Steps of events with these ids.
    pub id: Option<IdMatch>,
    /// Steps that an operator has to look at.
    pub failed: bool,
}

impl StepFilter {
    /// Whether the step of this note passes. Nothing is decoded.
    pub(super) fn passes(&self, note: RawNote<'_>) -> bool {
        let word = note.word();
        if (self.failed && !word.is_failure()) || self.verdict.is_some_and(|wanted| wanted != word) {
            return false;
        }
        let texts = note.texts();
        let is = |wanted: &Option<String>, text: &[u8]| {
            wanted.as_ref().is_none_or(|wanted| wanted.as_bytes() == text)
        };
        is(&self.source, texts.source)
            && is(&self.sink, texts.sink)
            && is(&self.event_type, texts.event_type)
            && self.id.as_ref().is_none_or(|wanted| has_id(texts.id, wanted))
    }
}

/// Whether these are the bytes of an id that is wanted.
pub(super) fn has_id(id: &[u8], wanted: &IdMatch) -> bool {
    std::str::from_utf8(id).is_ok_and(|id| wanted.matches(id))
}
