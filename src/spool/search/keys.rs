//! Finding entries by duplicate key, and positions by time: in the footers, as far as there are any.

use std::collections::{BTreeMap, HashSet};
use std::io;

use super::blocks::OpenSegment;
use super::{DamagedEntry, LogSearch, SearchBudget, SearchPage, SearchedEntry};
use crate::dedup::DuplicateKey;
use crate::event::{Position, Timestamp};
use crate::spool::ReadError;
use crate::spool::footer::{END_BYTES, Footer, FooterKeys};
use crate::spool::segment::Frame;
use crate::spool::segments::before;

/// What there is of the keys in a segment: the newest entry with each, `None` if it cannot be read.
type Hits = BTreeMap<[u8; 16], Option<SearchedEntry>>;

impl LogSearch {
    /// The newest entry with each of these duplicate keys, newest first. Segments in which nothing has
    /// arrived since a moment are passed over.
    ///
    /// # Errors
    /// The disk cannot be read.
    pub fn by_key(
        &self,
        keys: &[DuplicateKey],
        since: Option<Timestamp>,
        budget: &SearchBudget,
    ) -> Result<SearchPage, ReadError> {
        let mut page = SearchPage::new(Position(u64::MAX));
        let mut wanted: HashSet<DuplicateKey> = keys.iter().copied().collect();
        while !wanted.is_empty()
            && let Some(segment) = self.begun_before(page.through)
        {
            if budget.is_spent(&page) {
                return Ok(page);
            }
            let base = segment.0.base;
            if let Some(segment) = self.open(segment)? {
                let hits = look_up(&segment, &wanted, since, budget, &mut page);
                match self.unless_pruned(base, hits)? {
                    Some(Some(hits)) => take_hits(hits, base, &mut wanted, &mut page),
                    Some(None) => return Ok(page),
                    None => {}
                }
            }
            page.through = base;
        }
        page.complete = true;
        Ok(page)
    }

    /// A position behind which every entry is that arrived at this moment or later; the next one is the
    /// first of them.
    ///
    /// # Errors
    /// The disk cannot be read.
    pub fn position_at(&self, moment: Timestamp) -> Result<Position, ReadError> {
        let mut through = before(self.0.first());
        while let Some(segment) = self.behind(through) {
            let (base, last) = (segment.0.base, segment.1);
            if let Some(segment) = self.open(segment)?
                && let Some(Some(first)) = self.unless_pruned(base, first_since(&segment, moment))?
            {
                return Ok(before(first));
            }
            through = through.max(last);
        }
        Ok(through)
    }
}

/// Looks the keys up in a segment; `None` if the search has to end before it is through.
fn look_up(
    segment: &OpenSegment,
    wanted: &HashSet<DuplicateKey>,
    since: Option<Timestamp>,
    budget: &SearchBudget,
    page: &mut SearchPage,
) -> io::Result<Option<Hits>> {
    if let Some(footer) = segment.footer()? {
        page.bytes_read += END_BYTES.min(segment.info.len);
        if since.is_some_and(|since| footer.newest < since) {
            return Ok(Some(Hits::new()));
        }
        page.bytes_read += footer.keys_bytes();
        if let Some(keys) = segment.keys(&footer)? {
            return by_footer(segment, (&footer, &keys), wanted, page).map(Some);
        }
    }
    by_frames(segment, wanted, budget, page)
}

/// Looks the keys up in the footer, and reads the frames that it tells of.
fn by_footer(
    segment: &OpenSegment,
    (footer, keys): (&Footer, &FooterKeys),
    wanted: &HashSet<DuplicateKey>,
    page: &mut SearchPage,
) -> io::Result<Hits> {
    let mut numbers = Vec::new();
    for (number, (key, arrived)) in (0_u64..).zip(keys.iter()) {
        page.note_arrival(arrived);
        if wanted.contains(&key) {
            numbers.push((number, key));
        }
    }
    // Each entry without a key shifts those behind it by one position.
    let (base, keyless) = (segment.info.base.0, footer.keyless(segment.info.base));
    let mut hits = Hits::new();
    for (number, key) in numbers.into_iter().rev() {
        let hit = hits.entry(key.0).or_default();
        if hit.is_some() {
            continue;
        }
        let first = Position(base + number);
        let block = segment.block(first, footer.last.min(Position(first.0 + keyless)));
        page.bytes_read += block.len();
        let mut frames = segment.frames(&block);
        while hit.is_none()
            && let Some(frame) = frames.next()?
        {
            let is_it = frame.key() == Some(key);
            *hit = is_it.then(|| SearchedEntry::of(&frame).ok()).flatten();
        }
    }
    Ok(hits)
}

/// Looks the keys up in the frames of a segment without a good footer.
fn by_frames(
    segment: &OpenSegment,
    wanted: &HashSet<DuplicateKey>,
    budget: &SearchBudget,
    page: &mut SearchPage,
) -> io::Result<Option<Hits>> {
    let mut hits = Hits::new();
    let hit = |frame: &Frame| frame.key().filter(|key| wanted.contains(key));
    for block in segment.blocks() {
        if budget.is_spent(page) {
            return Ok(None);
        }
        page.bytes_read += block.len();
        let mut frames = segment.frames(&block);
        while let Some(frame) = frames.next()? {
            page.note_arrival(frame.header.arrived);
            if let Some(DuplicateKey(key)) = hit(&frame) {
                hits.insert(key, SearchedEntry::of(&frame).ok());
            }
        }
        page.note_lost(frames.gaps.iter());
    }
    Ok(Some(hits))
}

/// Takes what a segment holds over into the page.
fn take_hits(hits: Hits, base: Position, wanted: &mut HashSet<DuplicateKey>, page: &mut SearchPage) {
    let at = page.found.len();
    for (key, entry) in hits {
        let key = DuplicateKey(key);
        match entry {
            Some(entry) => {
                wanted.remove(&key);
                page.found.push(entry);
            }
            // An earlier copy can still be read.
            None => page.damaged.push(DamagedEntry { key, segment: base }),
        }
    }
    page.found[at..].sort_by_key(|entry| std::cmp::Reverse(entry.position));
}

/// The position of the segment's first entry that arrived at this moment or later.
fn first_since(segment: &OpenSegment, moment: Timestamp) -> io::Result<Option<Position>> {
    if let Some(footer) = segment.footer()? {
        if footer.newest < moment {
            return Ok(None);
        }
        if footer.keyless(segment.info.base) == 0
            && let Some(keys) = segment.keys(&footer)?
        {
            let mut positions = (segment.info.base.0..).zip(keys.iter());
            let first = positions.find(|(_, (_, arrived))| *arrived >= moment);
            return Ok(first.map(|(position, _)| Position(position)));
        }
    }
    for block in segment.blocks() {
        let mut frames = segment.frames(&block);
        while let Some(frame) = frames.next()? {
            if frame.header.arrived >= moment {
                return Ok(Some(frame.header.position));
            }
        }
    }
    Ok(None)
}
