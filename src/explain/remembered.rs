//! What the last steps tell of an event (pure). A restart forgets them.

use std::collections::BTreeMap;

use super::document::ExplainedSink;
use super::sinks::{HeldFact, PublishedFact};
use crate::event::{Position, Timestamp};
use crate::health::HeldStatus;
use crate::timeline::{HeldStep, PublishedStep, Step, StepKind, TakenAs, TakenStep, UnansweredStep};

/// Deliveries by CloudEvents `id` and `source`, each with the moment of its newest copy. The `source` of one
/// that nobody waited for is empty: its step does not say it.
pub(super) type TakenDeliveries = BTreeMap<(String, String), (Timestamp, TakenDelivery)>;

/// A delivery that the log has no entry of.
#[derive(Clone, Debug)]
pub(super) enum TakenDelivery {
    Decided(TakenStep),
    Unanswered(UnansweredStep),
}

/// The last steps of one event, by their moments.
#[derive(Clone, Debug, Default)]
pub(super) struct Remembered(Vec<Step>);

impl Remembered {
    /// Of these steps, those that are about the event with this CloudEvents `id` and `source` that a source
    /// of this name took in.
    pub(super) fn of(mut steps: Vec<Step>, (id, source): (&str, &str), intake: Option<&str>) -> Self {
        let is_its = |from: &str| intake.is_none_or(|intake| from == intake);
        steps.retain(|step| match &step.kind {
            StepKind::Taken(taken) => taken.id == id && taken.event_source == source,
            StepKind::Unanswered(unanswered) => unanswered.id == id && is_its(&unanswered.source),
            StepKind::Published(published) => published.id == id && is_its(&published.source),
            StepKind::Rejected(rejected) => rejected.id == id && is_its(&rejected.source),
            // It is of the topic and of positions around the event's.
            StepKind::Held(_) => true,
            StepKind::Refused(_) => false,
        });
        Self(steps)
    }

    /// That a sink has the event whose entry is at this position: the last time that it was published there,
    /// by a replay or else.
    pub(super) fn published(
        &self,
        sink: &str,
        entry: Option<Position>,
        by_replay: bool,
    ) -> Option<PublishedFact> {
        let last = self.last(|published| published.sink == sink && published.replay == by_replay)?;
        // A copy of the event can also be one that a repeated delivery has brought.
        let is_redriven =
            !by_replay && entry.is_some_and(|entry| last.position > entry) && !self.was_taken(last.position);
        let redriven = is_redriven.then_some(last.position);
        Some(PublishedFact { redriven, rejected: redriven.and_then(|_| self.rejected(sink)), ..last })
    }

    /// That a sink has a replay's copy, which is behind the one position and not behind the other.
    pub(super) fn replayed(
        &self,
        sink: &str,
        (after, through): (Position, Position),
    ) -> Option<PublishedFact> {
        self.last(|published| {
            let is_of_it = after < published.position && published.position <= through;
            published.replay && published.sink == sink && is_of_it
        })
    }

    fn last(&self, is_it: impl Fn(&PublishedStep) -> bool) -> Option<PublishedFact> {
        self.0.iter().rev().find_map(|step| match &step.kind {
            StepKind::Published(published) if is_it(published) => Some(fact(step.at, published)),
            _ => None,
        })
    }

    /// Whether a delivery of the event was stored at this position.
    fn was_taken(&self, position: Position) -> bool {
        let is_there = |step: &Step| match &step.kind {
            StepKind::Taken(taken) => taken.position == Some(position),
            _ => false,
        };
        self.0.iter().any(is_there)
    }

    /// Why a sink rejected the event when it did so last, in one word.
    fn rejected(&self, sink: &str) -> Option<String> {
        self.0.iter().rev().find_map(|step| match &step.kind {
            StepKind::Rejected(rejected) if rejected.sink == sink => Some(rejected.reason.clone()),
            _ => None,
        })
    }

    /// How many more deliveries of the event came.
    pub(super) fn duplicates(&self) -> u64 {
        let is_duplicate = |step: &&Step| match &step.kind {
            StepKind::Taken(taken) => taken.verdict == TakenAs::Duplicate,
            _ => false,
        };
        self.0.iter().filter(is_duplicate).count() as u64
    }

    /// Whether each sink that has the event got it once, as far as is remembered.
    pub(super) fn was_published_once(&self) -> bool {
        let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
        for step in &self.0 {
            if let StepKind::Published(published) = &step.kind
                && !published.replay
            {
                *counts.entry(&published.sink).or_default() += published.attempts;
            }
        }
        !counts.is_empty() && counts.values().all(|count| *count == 1)
    }

    /// The newest of the steps, by their moments. Of those that say that a topic is held, those of the topics
    /// to which the event goes.
    pub(super) fn into_newest(self, most: usize, rows: &[ExplainedSink]) -> Vec<Step> {
        let mut steps = self.0;
        let goes_there = |held: &HeldStep| {
            rows.iter().any(|row| row.sink == held.sink && row.topic.as_ref() == Some(&held.topic))
        };
        steps.retain(|step| match &step.kind {
            StepKind::Held(held) => goes_there(held),
            _ => true,
        });
        let first = steps.len().saturating_sub(most);
        steps.drain(..first);
        steps
    }
}

/// Of these steps, those of deliveries of which the log has nothing, of one source or of all: filtered ones,
/// events whose entries were before `first` and are gone, copies of what is gone, and those whose sender was
/// gone before they were durable.
pub(super) fn without_entry(steps: Vec<Step>, source: Option<&str>, first: Position) -> TakenDeliveries {
    let mut taken = TakenDeliveries::new();
    for step in steps {
        let (name, of_source, known) = match step.kind {
            StepKind::Taken(delivery) if has_no_entry(&delivery, first) => {
                let name = (delivery.id.clone(), delivery.event_source.clone());
                (name, delivery.source.clone(), TakenDelivery::Decided(delivery))
            }
            StepKind::Unanswered(delivery) => {
                let name = (delivery.id.clone(), String::new());
                (name, delivery.source.clone(), TakenDelivery::Unanswered(delivery))
            }
            _ => continue,
        };
        // What became of an event tells more than that a copy of it came.
        let is_copy = |known: &TakenDelivery| match known {
            TakenDelivery::Decided(delivery) => delivery.verdict == TakenAs::Duplicate,
            TakenDelivery::Unanswered(_) => false,
        };
        let tells_less = is_copy(&known) && taken.get(&name).is_some_and(|(_, before)| !is_copy(before));
        if !tells_less && source.is_none_or(|source| of_source == source) {
            taken.insert(name, (step.at, known));
        }
    }
    // What was decided in the end tells more than that it took long.
    let decided: Vec<String> =
        taken.keys().filter(|(_, source)| !source.is_empty()).map(|(id, _)| id.clone()).collect();
    taken.retain(|(id, source), _| !source.is_empty() || !decided.contains(id));
    taken
}

/// Whether the log has nothing of a delivery, or has nothing any more.
fn has_no_entry(delivery: &TakenStep, first: Position) -> bool {
    match delivery.verdict {
        TakenAs::Filtered | TakenAs::Duplicate => true,
        TakenAs::Accepted => delivery.position.is_some_and(|position| position < first),
        TakenAs::Quarantined => false,
    }
}

/// The topics that a sink holds.
pub(super) fn held(topics: Vec<HeldStatus>, now: Timestamp) -> Vec<HeldFact> {
    let fact = |held: HeldStatus| HeldFact {
        topic: held.topic,
        reason: held.reason.to_owned(),
        detail: held.detail,
        attempts: Some(held.attempts),
        since: Some(held.since),
        next_in_ms: held.next.map(|next| (next.seconds_since(now) * 1e3) as u64),
    };
    topics.into_iter().map(fact).collect()
}

fn fact(at: Timestamp, published: &PublishedStep) -> PublishedFact {
    PublishedFact {
        topic: published.topic.clone(),
        placement: published.placement,
        at,
        after_ms: u64::from(published.after_ms),
        attempts: published.attempts,
        position: published.position,
        redriven: None,
        rejected: None,
    }
}
