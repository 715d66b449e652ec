//! The last steps of an explained event as lines of text (pure).

use crate::explain::cause::plural;
use crate::timeline::{Step, StepKind};

/// Most steps that the text has; the JSON document has all.
const SHOWN_MAX: usize = 6;

/// The last steps: the time of day of each, and what happened. The first line says how many came before them.
pub(super) fn last(steps: &[Step]) -> Vec<(String, String)> {
    let before = steps.len().saturating_sub(SHOWN_MAX);
    let more = (before > 0).then(|| ("…".to_owned(), format!("{} before", plural(before as u64, "step"))));
    let shown = steps[before..].iter().map(|step| (step.at.time_of_day(), words(step)));
    more.into_iter().chain(shown).collect()
}

fn words(step: &Step) -> String {
    match &step.kind {
        StepKind::Taken(taken) => {
            let micros = taken.taken_us;
            format!(
                "{} by {} in {}.{} ms",
                step.kind.word().as_str(),
                taken.source,
                micros / 1000,
                micros / 100 % 10
            )
        }
        StepKind::Refused(refused) => format!("answered {}: {}", refused.status, refused.reason),
        StepKind::Unanswered(unanswered) => {
            format!("not durable after {} ms, when its sender was gone", unanswered.waited_ms)
        }
        StepKind::Published(published) => {
            let copy = if published.replay { " (replayed)" } else { "" };
            let (topic, placement) = (&published.topic, published.placement);
            format!("{} has it: {topic} {placement} +{} ms{copy}", published.sink, published.after_ms)
        }
        StepKind::Held(held) => {
            format!("{} holds {}: {}, attempt {}", held.sink, held.topic, held.reason, held.attempt)
        }
        StepKind::Rejected(rejected) => format!("{} rejected it: {}", rejected.sink, rejected.reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Timestamp;
    use crate::timeline::UnansweredStep;

    #[test]
    fn the_last_steps_are_shown_and_the_others_counted() {
        let step = |number: u64| Step {
            number,
            at: Timestamp(number as i64 * 1_000_000_000),
            kind: StepKind::Unanswered(UnansweredStep {
                source: "a".into(),
                id: "e".into(),
                event_type: "t".into(),
                waited_ms: number as u32,
            }),
        };
        let steps: Vec<Step> = (1..=9).map(step).collect();
        let lines = last(&steps);
        assert_eq!(lines.len(), SHOWN_MAX + 1);
        assert_eq!(lines[0], ("…".to_owned(), "3 steps before".to_owned()));
        let expected = ("00:00:09".to_owned(), "not durable after 9 ms, when its sender was gone".to_owned());
        assert_eq!(lines[SHOWN_MAX], expected);
        assert_eq!(last(&steps[..2]).len(), 2);
        assert!(last(&[]).is_empty());
    }
}
