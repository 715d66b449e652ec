//! What the last steps tell of an event (pure). A restart forgets them.

use std::collections::BTreeMap;

use super::sinks::{HeldFact, PublishedFact};
use crate::event::Timestamp;
use crate::health::HeldStatus;
use crate::timeline::{PublishedStep, Step, StepKind, TakenAs, TakenStep};

/// Filtered deliveries by CloudEvents `id` and `source`, each with the moment of its newest copy.
pub(super) type FilteredDeliveries = BTreeMap<(String, String), (Timestamp, TakenStep)>;

/// The last steps of one event, by their moments.
#[derive(Clone, Debug, Default)]
pub(super) struct Remembered(Vec<Step>);

impl Remembered {
    /// Of these steps, those that are about the event with this id that a source of this name took in.
    pub(super) fn of(mut steps: Vec<Step>, id: &str, intake: Option<&str>) -> Self {
        steps.retain(|step| match &step.kind {
            StepKind::Published(published) => {
                published.id == id && intake.is_none_or(|intake| published.source == intake)
            }
            _ => false,
        });
        Self(steps)
    }

    /// That a sink has the event: the last time that it was published there.
    pub(super) fn published(&self, sink: &str) -> Option<PublishedFact> {
        self.0.iter().rev().find_map(|step| match &step.kind {
            StepKind::Published(published) if published.sink == sink => Some(fact(step.at, published)),
            _ => None,
        })
    }
}

/// The deliveries among these steps that the selection filtered, of one source or of all.
pub(super) fn filtered(steps: Vec<Step>, source: Option<&str>) -> FilteredDeliveries {
    let filtered = steps.into_iter().filter_map(|step| match step.kind {
        StepKind::Taken(taken)
            if taken.verdict == TakenAs::Filtered && source.is_none_or(|source| taken.source == source) =>
        {
            Some(((taken.id.clone(), taken.event_source.clone()), (step.at, taken)))
        }
        _ => None,
    });
    filtered.collect()
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
    }
}
