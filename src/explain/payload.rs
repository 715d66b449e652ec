//! The body of an explained event, for where it is allowed to be shown.

use bytes::Bytes;

use super::document::Explanation;
use super::{ExplainError, ExplainScope, Explainer};
use crate::event::{Entry, Position};
use crate::spool::{SearchBudget, SearchFor, codec};

/// Most bytes of the log that are read to find one entry.
const READ_BYTES_MAX: u64 = 1 << 30;

impl Explainer {
    /// The body of an event that is in the log or a dead letter; `None` if it is in neither any more. Blocks
    /// on the disk.
    ///
    /// # Errors
    /// When log or state cannot be read.
    pub fn body(
        &self,
        explanation: &Explanation,
        scope: &ExplainScope,
    ) -> Result<Option<Bytes>, ExplainError> {
        let Some(event) = &explanation.event else { return Ok(None) };
        let is_it = |entry: &Entry| match entry {
            Entry::Event(found) => *found.id == *event.id && *found.source == *event.source,
            Entry::Quarantined(found) => *found.id == *event.id && *found.source == *event.source,
        };
        if let Some(position) = event.position.map(Position) {
            let budget = SearchBudget { stop: scope.stop.clone(), ..SearchBudget::new(1, READ_BYTES_MAX) };
            let before = Position(position.0.saturating_sub(1));
            let page = self.search.oldest_first(&SearchFor::default(), before, position, &budget)?;
            if let Some(found) = page.found.into_iter().find(|found| is_it(&found.entry)) {
                return Ok(Some(body(found.entry)));
            }
        }
        for letter in &explanation.dead_letters {
            let payload = self.state.dead_letter(letter.id)?.map(|(_, payload)| payload);
            if let Some(entry) = payload.and_then(|payload| codec::decode(payload).ok()).filter(is_it) {
                return Ok(Some(body(entry)));
            }
        }
        Ok(None)
    }
}

fn body(entry: Entry) -> Bytes {
    match entry {
        Entry::Event(event) => event.body.clone(),
        Entry::Quarantined(delivery) => delivery.body.clone(),
    }
}
