//! Looks for the events that can be meant: in the log, and among the dead letters.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use super::document::LookedThrough;
use super::{ExplainError, ExplainScope, Explainer};
use crate::dedup::DuplicateKey;
use crate::event::{BODY_SCHEME, Entry, IdMatch, Position, Timestamp};
use crate::spool::{SearchBudget, SearchFor, SearchPage, SearchedEntry};
use crate::state::DeadLetterInfo;

/// Most bytes of the log that are read to find duplicate keys: the footers of more than 150 GiB of events.
const KEY_BYTES_MAX: u64 = 4 << 30;
/// Most bytes of the log that are read to find the beginning of an id.
const PREFIX_BYTES_MAX: u64 = 1 << 30;
/// Most entries whose ids begin as was asked, to tell one event from several.
const PREFIX_ENTRIES_MAX: usize = 64;
/// Most entries that are in memory at once while the copies of an event are looked for.
const COPIES_PAGE: usize = 16;
/// Most dead letters of one explanation.
const LETTERS_MAX: usize = 100;

/// What there is of one event.
#[derive(Debug, Default)]
pub(super) struct OneEvent {
    pub(super) entries: Vec<SearchedEntry>,
    /// Newest first.
    pub(super) letters: Vec<DeadLetterInfo>,
    /// The segment in which its entry is damaged.
    pub(super) damaged_in: Option<Position>,
}

/// Events by CloudEvents `id` and `source`.
pub(super) type Events = BTreeMap<(String, String), OneEvent>;

impl Explainer {
    /// The events with this id, or whose ids begin so.
    pub(super) fn by_id(
        &self,
        id: &IdMatch,
        scope: &ExplainScope,
        looked: &mut LookedThrough,
    ) -> Result<Events, ExplainError> {
        let whole = [id.as_str().to_owned(), format!("{BODY_SCHEME}{}", id.as_str())];
        let sources = self.configuration.event_sources(scope.source.as_deref());
        let named = sources.iter().flat_map(|source| whole.iter().map(|id| (id.as_str(), *source)));
        let keys: BTreeMap<[u8; 16], (&str, &str)> = named
            .flat_map(|(id, source)| {
                let keys = [DuplicateKey::of(source, id), DuplicateKey::of_letter(source, id)];
                keys.map(|key| (key.0, (id, source)))
            })
            .collect();
        let wanted: Vec<DuplicateKey> = keys.keys().copied().map(DuplicateKey).collect();
        let page = self.search.by_key(&wanted, scope.since, &budget(usize::MAX, KEY_BYTES_MAX, scope))?;
        let mut events = Events::new();
        for damaged in &page.damaged {
            if let Some((id, source)) = keys.get(&damaged.key.0) {
                let event = events.entry(((*id).to_owned(), (*source).to_owned())).or_default();
                event.damaged_in = Some(damaged.segment);
            }
        }
        self.add_page(&mut events, page, scope, looked);
        for letter in self.state.dead_letters_of(id, LETTERS_MAX)? {
            if sources.contains(letter.source.as_str()) || scope.source.is_none() {
                let name = (letter.event_id.clone(), letter.source.clone());
                events.entry(name).or_default().letters.push(letter);
            }
        }
        if events.keys().any(|(event_id, _)| id.is_whole(event_id)) {
            return Ok(events);
        }
        let begins_so = SearchFor {
            id: Some(id.clone()),
            arrived: (scope.since, None),
            sources: scope.source.iter().cloned().collect(),
            ..SearchFor::default()
        };
        let budget = budget(PREFIX_ENTRIES_MAX, PREFIX_BYTES_MAX, scope);
        let page = self.search.newest_first(&begins_so, Position(u64::MAX), &budget)?;
        self.add_page(&mut events, page, scope, looked);
        Ok(events)
    }

    /// The event at a position of the log.
    pub(super) fn at_position(
        &self,
        position: Position,
        scope: &ExplainScope,
        looked: &mut LookedThrough,
    ) -> Result<Events, ExplainError> {
        let before = Position(position.0.saturating_sub(1));
        let budget = budget(1, PREFIX_BYTES_MAX, scope);
        let mut page = self.search.oldest_first(&SearchFor::default(), before, position, &budget)?;
        let mut events = Events::new();
        let Some(there) = page.found.pop() else {
            self.add_page(&mut events, page, scope, looked);
            return Ok(events);
        };
        let name = name_of(&there.entry);
        // An id that is too short to be asked for has no more than its entry.
        if let Ok(id) = name.0.parse::<IdMatch>() {
            events = self.by_id(&id, scope, looked)?;
            events.retain(|known, _| *known == name);
        }
        let event = events.entry(name).or_default();
        event.entries.retain(|entry| entry.position != position);
        event.entries.insert(0, there);
        Ok(events)
    }

    /// Adds what a search has found.
    fn add_page(
        &self,
        events: &mut Events,
        page: SearchPage,
        scope: &ExplainScope,
        looked: &mut LookedThrough,
    ) {
        looked.complete &= page.complete;
        looked.lost = looked.lost.max(page.lost);
        let earliest = page.earliest.map(Timestamp::to_rfc3339);
        looked.log_from = looked.log_from.take().or(earliest);
        for found in page.found {
            let intake = match &found.entry {
                Entry::Event(event) => &event.source_name,
                Entry::Quarantined(delivery) => &delivery.source_name,
            };
            if scope.source.as_ref().is_none_or(|wanted| *wanted == **intake) {
                events.entry(name_of(&found.entry)).or_default().entries.push(found);
            }
        }
    }

    /// Copies of an event that wait behind the cursors of the sinks that they are for: the newest position
    /// for each sink. `None` if there is too much to look through.
    pub(super) fn waiting_copies(
        &self,
        (id, source): (&str, &str),
        lowest: Position,
        scope: &ExplainScope,
    ) -> Result<Option<BTreeMap<String, Position>>, ExplainError> {
        let mut copies = BTreeMap::new();
        if !self.search.can_have_single_sink_behind(lowest) {
            return Ok(Some(copies));
        }
        let Ok(wanted) = id.parse::<IdMatch>() else { return Ok(None) };
        let wanted = SearchFor { id: Some(wanted), ..SearchFor::default() };
        let (mut after, mut bytes_read) = (lowest, 0);
        while bytes_read < PREFIX_BYTES_MAX {
            let budget = budget(COPIES_PAGE, PREFIX_BYTES_MAX - bytes_read, scope);
            let page = self.search.oldest_first(&wanted, after, Position(u64::MAX), &budget)?;
            for SearchedEntry { position, entry, .. } in page.found {
                if let Entry::Event(event) = entry
                    && (&*event.id, &*event.source) == (id, source)
                    && let Some(sink) = &event.only_sink
                    // Replays tell of their copies themselves.
                    && event.replay_id().is_none()
                {
                    copies.insert(sink.to_string(), position);
                }
            }
            if page.complete {
                return Ok(Some(copies));
            }
            if scope.stop.load(Ordering::Relaxed) || page.through == after {
                return Ok(None);
            }
            (after, bytes_read) = (page.through, bytes_read + page.bytes_read);
        }
        Ok(None)
    }
}

fn budget(entries_max: usize, bytes_max: u64, scope: &ExplainScope) -> SearchBudget {
    SearchBudget { stop: scope.stop.clone(), ..SearchBudget::new(entries_max, bytes_max) }
}

/// CloudEvents `id` and `source` of an entry.
pub(super) fn name_of(entry: &Entry) -> (String, String) {
    match entry {
        Entry::Event(event) => (event.id.to_string(), event.source.to_string()),
        Entry::Quarantined(delivery) => (delivery.id.to_string(), delivery.source.to_string()),
    }
}
