//! Where each reader of the spool goes on after a start, and what the log tells about it.
//!
//! Behind its committed cursor; a sink that is new, with the next event. That there is no cursor at
//! all means that the state was lost, if the spool holds anything: then everybody begins with the
//! oldest record, because what was delivered is not known, and a duplicate is better than a loss.
//! Every way in which an event could be missed by a change of configuration is one warning.

use std::collections::BTreeMap;

use super::quarantine;
use crate::event::Position;
use crate::spool::Spool;
use crate::spool::state::{Progress, State, StateError};

/// The cursors of the readers with these names, in their order. Those of new readers are committed
/// together, so that a crash in between cannot make a lost state look like a new sink.
///
/// # Errors
/// When the state cannot be used.
pub fn cursors(names: &[&str], spool: &Spool, state: &State) -> Result<Vec<Position>, StateError> {
    let known: BTreeMap<String, Position> = state.cursors()?.into_iter().collect();
    // The last position that is no longer kept, and the last one that is.
    let (gone, newest) = (Position(spool.first().0.saturating_sub(1)), spool.head());
    if known.is_empty() && newest > gone {
        tracing::warn!(
            records = newest.0 - gone.0,
            "no cursor is known: all that the spool holds is delivered, perhaps again"
        );
    }
    warn_of_left_behind(names, &known, gone, newest);
    // The quarantine begins with the oldest in any case: nobody else looks after those.
    let begin = |name: &str| if known.is_empty() || name == quarantine::CURSOR { gone } else { newest };
    let (mut cursors, mut new) = (Vec::with_capacity(names.len()), Vec::new());
    for name in names {
        let cursor = match known.get(*name) {
            Some(cursor) => {
                warn_of_gap(name, *cursor, gone);
                // The spool never gives a position up to a cursor again; this is for certainty.
                (*cursor).min(newest)
            }
            None => {
                new.push(Progress { sink: (*name).to_owned(), cursor: begin(name), dead: Vec::new() });
                begin(name)
            }
        };
        cursors.push(cursor);
    }
    if !new.is_empty() {
        state.commit(&new)?;
    }
    Ok(cursors)
}

/// Warns of sinks that were removed or renamed while they were behind, as long as the spool still
/// holds what they have not got.
fn warn_of_left_behind(names: &[&str], known: &BTreeMap<String, Position>, gone: Position, newest: Position) {
    let left = known.iter().filter(|(name, _)| !names.contains(&name.as_str()));
    for (name, cursor) in left.filter(|(_, cursor)| (gone..newest).contains(cursor)) {
        tracing::warn!(
            sink = name,
            records = newest.0 - cursor.0,
            "a sink that is no longer configured has not got these: under its old name it goes on with them"
        );
    }
}

fn warn_of_gap(name: &str, cursor: Position, gone: Position) {
    if cursor < gone {
        tracing::error!(
            sink = name,
            records = gone.0 - cursor.0,
            "records behind this sink's cursor are gone: it cannot deliver those that were for it"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::tests::bench::Bench;
    use crate::event::tests::event;

    const NAMES: [&str; 2] = ["lake", quarantine::CURSOR];

    /// A spool with this many records, and a state that knows no cursor.
    async fn spooled(records: u64) -> Bench {
        let bench = Bench::new();
        for _ in 0..records {
            bench.append(event("k")).await;
        }
        bench
    }

    #[tokio::test]
    async fn a_state_that_was_lost_makes_every_sink_begin_with_the_oldest_record() {
        let Bench { spool, state, .. } = &spooled(3).await;
        assert_eq!(cursors(&NAMES, spool, state).expect("readable"), [Position(0), Position(0)]);
        assert_eq!(state.cursors().expect("readable").len(), 2, "both are kept, at once");
    }

    #[tokio::test]
    async fn a_new_sink_beside_a_known_one_begins_with_the_next_event() {
        let Bench { spool, state, .. } = &spooled(3).await;
        let known = Progress { sink: "lake".into(), cursor: Position(2), dead: Vec::new() };
        state.commit(&[known]).expect("writable");
        let found = cursors(&["lake", "new", quarantine::CURSOR], spool, state).expect("readable");
        assert_eq!(found, [Position(2), Position(3), Position(0)]);
    }
}
