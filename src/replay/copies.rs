//! The copies that a replay appends: for one sink alone, in the order of the log.

use std::collections::hash_map::RandomState;
use std::future::poll_fn;
use std::hash::{BuildHasher, Hasher};
use std::pin::Pin;
use std::task::Poll;

use crate::event::{Event, Position, REDRIVEN_EXTENSION, REPLAY_EXTENSION};
use crate::spool::{AppendError, Appended, Spool};

/// A name for a new replay that no other one has: 12 hexadecimal digits.
pub(super) fn new_replay_id() -> String {
    format!("{:012x}", RandomState::new().build_hasher().finish() & 0xffff_ffff_ffff)
}

/// The copy of an event for one sink.
pub(super) fn copy_of(event: &Event, sink: &str, replay_id: &str) -> Event {
    let mut extensions = event.extensions.clone();
    extensions.retain(|(name, _)| *name != REPLAY_EXTENSION && *name != REDRIVEN_EXTENSION);
    extensions.push((REPLAY_EXTENSION.into(), replay_id.into()));
    Event { only_sink: Some(sink.into()), extensions, ..event.clone() }
}

/// What became of copies that were appended together.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct AppendedCopies {
    /// How many of them, from the first on, are durable or will never be.
    pub(super) done: usize,
    /// How many of those will never be: they are too large with the extension.
    pub(super) refused: u64,
    /// The positions of the first and of the last one.
    pub(super) first: Option<Position>,
    pub(super) last: Option<Position>,
    /// Why the one behind them is not durable.
    pub(super) failed: Option<AppendError>,
}

/// Appends copies in their order, as one group or few. Where one fails for now, it and those behind it have
/// to be appended again: some of these can be in the log already.
pub(super) async fn append(spool: &Spool, copies: Vec<Event>) -> AppendedCopies {
    let append = |copy: Event| {
        let spool = spool.clone();
        async move { spool.append(copy.into(), None).await }
    };
    let mut appended = AppendedCopies::default();
    for outcome in in_order(copies.into_iter().map(append).collect()).await {
        match outcome {
            Ok(Appended::Stored(position)) => {
                appended.first = appended.first.or(Some(position));
                appended.last = Some(position);
            }
            // A copy has no duplicate key.
            Ok(Appended::Duplicate | Appended::StoredElsewhere) => {}
            Err(AppendError::TooLarge) => appended.refused += 1,
            Err(error) => {
                appended.failed = Some(error);
                return appended;
            }
        }
        appended.done += 1;
    }
    appended
}

/// Waits for all of these. Each is begun before the next one, so that appends enter the log in their order.
async fn in_order<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut waiting: Vec<Option<Pin<Box<F>>>> =
        futures.into_iter().map(|future| Some(Box::pin(future))).collect();
    let mut outcomes: Vec<Option<F::Output>> = waiting.iter().map(|_| None).collect();
    poll_fn(move |context| {
        for (future, outcome) in waiting.iter_mut().zip(&mut outcomes) {
            let Some(running) = future else { continue };
            if let Poll::Ready(done) = running.as_mut().poll(context) {
                (*future, *outcome) = (None, Some(done));
            }
        }
        match outcomes.iter().all(Option::is_some) {
            true => Poll::Ready(outcomes.iter_mut().filter_map(Option::take).collect()),
            false => Poll::Pending,
        }
    })
    .await
}
