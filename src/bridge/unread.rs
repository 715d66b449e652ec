//! How long the events of a paused sink wait. Its dispatcher reads nothing, so it does not know.

use crate::health::{Health, SinkStatus};
use crate::spool::{SearchBudget, SearchFor, Spool};

/// About how many bytes a look reads: the entry behind a cursor is in the first block.
const LOOK_BYTES: u64 = 1 << 20;

/// Tells each paused sink when the entry behind its cursor arrived. Blocks on the disk, once for each cursor.
pub(super) fn look_behind_cursors(health: &Health, spool: &Spool) {
    let is_asked = |sink: &SinkStatus| {
        sink.paused().is_some() && sink.lag_records() > 0 && sink.unread_since(sink.cursor()).is_none()
    };
    for sink in health.sinks().iter().filter(|sink| is_asked(sink)) {
        let cursor = sink.cursor();
        // A copy has the arrival of its original, which says nothing about the sink.
        let wanted = SearchFor { first_copies_only: true, ..SearchFor::default() };
        let budget = SearchBudget::new(1, LOOK_BYTES);
        let search = spool.search().oldest_first(&wanted, cursor, spool.head(), &budget);
        // What cannot be read now is looked for again in the next round.
        if let Some(first) = search.ok().and_then(|page| page.found.into_iter().next()) {
            sink.leave_unread(cursor, first.entry.arrived());
        }
    }
}
