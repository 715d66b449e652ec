//! Explains a delivery that the log has no entry of, from the last steps: a filtered one, an event whose
//! entry is gone, a copy of what is gone, and one that is not durable yet.

use super::asked::AskedEvent;
use super::cause;
use super::document::{ExplainedEvent, ExplainedVerdict, Explanation, HowMany, KnownFrom, LookedThrough};
use super::event::{STEPS_MAX, without_event};
use super::remembered::{TakenDeliveries, TakenDelivery, without_entry};
use super::{ExplainError, ExplainScope, Explainer};
use crate::event::{Fingerprint, Timestamp};
use crate::timeline::{DecidedBy, TakenAs, TakenStep};

impl Explainer {
    /// Explains a delivery of which the log has nothing, if the last steps know it.
    pub(super) fn of_taken(
        &self,
        asked: &AskedEvent,
        scope: &ExplainScope,
        looked: LookedThrough,
    ) -> Result<Explanation, ExplainError> {
        let source = scope.source.as_deref();
        let mut known = match asked {
            AskedEvent::Id(id) => without_entry(self.timeline.about(id, &[]), source, self.search.first()),
            AskedEvent::Position(_) | AskedEvent::Request(_) => TakenDeliveries::new(),
        };
        if let AskedEvent::Id(id) = asked
            && known.keys().any(|(known_id, _)| id.is_whole(known_id))
        {
            known.retain(|(known_id, _), _| id.is_whole(known_id));
        }
        let count = known.len();
        let Some(((id, source), (at, delivery))) = known.pop_first() else {
            let told = cause::of_nothing(&looked);
            return Ok(without_event(asked, HowMany::None, looked, told));
        };
        if count > 1 {
            return Ok(without_event(asked, HowMany::Several, looked, cause::of_several(count)));
        }
        let explanation = match delivery {
            TakenDelivery::Decided(taken) if taken.verdict == TakenAs::Accepted => {
                return self.of_gone(asked, (id, source), (at, taken), scope, looked);
            }
            TakenDelivery::Decided(taken) => self.of_decided(asked, (id, source), (at, taken), looked),
            TakenDelivery::Unanswered(unanswered) => {
                let configured = self.configuration.source(&unanswered.source);
                Explanation {
                    event: Some(ExplainedEvent {
                        source: configured.map(|known| known.event_source.clone()).unwrap_or_default(),
                        id,
                        event_type: Some(unanswered.event_type),
                        intake: Some(unanswered.source),
                        ..ExplainedEvent::default()
                    }),
                    ..without_event(asked, HowMany::One, looked, cause::of_unanswered(unanswered.waited_ms))
                }
            }
        };
        Ok(self.with_steps(explanation))
    }

    /// Explains an event that was accepted, and whose entry the log does not have any more.
    fn of_gone(
        &self,
        asked: &AskedEvent,
        (id, source): (String, String),
        (at, taken): (Timestamp, TakenStep),
        scope: &ExplainScope,
        looked: LookedThrough,
    ) -> Result<Explanation, ExplainError> {
        let provider = self.configuration.source(&taken.source).map(|known| &known.definition.provider);
        let provider = provider.map(ToString::to_string);
        let event = ExplainedEvent {
            position: taken.position.map(|position| position.0),
            provider,
            ..of_step(id, source, at, taken)
        };
        let remembered = self.remembered(&event);
        let sinks = self.sinks(&event, None, (&[], &remembered), scope)?;
        let verdict = ExplainedVerdict {
            word: "accepted".into(),
            rule: None,
            line: None,
            reason: None,
            detail: None,
            at: event.arrived.clone(),
            known_from: KnownFrom::Timeline,
        };
        let explanation = Explanation {
            command: sinks.iter().find_map(|sink| sink.command.clone()),
            event: Some(event),
            verdict: Some(verdict),
            sinks,
            ..without_event(asked, HowMany::One, looked, cause::of_several(1))
        };
        self.concluded(explanation, remembered)
    }

    /// Explains a delivery that was filtered, or is a copy of what the log does not have.
    fn of_decided(
        &self,
        asked: &AskedEvent,
        (id, source): (String, String),
        (at, taken): (Timestamp, TakenStep),
        looked: LookedThrough,
    ) -> Explanation {
        let is_filtered = taken.verdict == TakenAs::Filtered;
        let rule = is_filtered.then(|| self.configuration.selection.rule(&taken.event_type));
        let told = match is_filtered {
            true => cause::of_filtered(&taken.event_type, &self.configuration),
            false => cause::of_lost_copy(taken.decided_by == DecidedBy::SeenElsewhere),
        };
        let arrived = Some(at.to_rfc3339());
        Explanation {
            event: Some(of_step(id, source, at, taken)),
            verdict: Some(ExplainedVerdict {
                word: if is_filtered { "filtered" } else { "duplicate" }.into(),
                line: rule.as_ref().and_then(|rule| rule.line.clone()),
                rule: rule.map(|rule| rule.rule),
                reason: None,
                detail: None,
                at: arrived,
                known_from: KnownFrom::Timeline,
            }),
            ..without_event(asked, HowMany::One, looked, told)
        }
    }

    /// An explanation with what the last steps have of its event.
    fn with_steps(&self, mut explanation: Explanation) -> Explanation {
        if let Some(event) = &explanation.event {
            explanation.steps = self.remembered(event).into_newest(STEPS_MAX, &explanation.sinks);
        }
        explanation
    }
}

/// What the step of a delivery tells of its event.
fn of_step(id: String, source: String, at: Timestamp, taken: TakenStep) -> ExplainedEvent {
    ExplainedEvent {
        id,
        source,
        event_type: Some(taken.event_type),
        family: Some(taken.family),
        intake: Some(taken.source),
        key: taken.key,
        arrived: Some(at.to_rfc3339()),
        configuration: taken.configuration.map(Fingerprint),
        bytes: Some(taken.bytes.into()),
        ..ExplainedEvent::default()
    }
}
