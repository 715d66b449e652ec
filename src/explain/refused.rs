//! Explains a request that was refused, by the number that its sender was given.

use std::time::SystemTime;

use super::Explainer;
use super::asked::AskedEvent;
use super::cause;
use super::cause::plural;
use super::document::{ExplainedVerdict, Explanation, HowMany, KnownFrom, LookedThrough};
use super::event::without_event;
use crate::event::Timestamp;
use crate::problem::RequestNumber;
use crate::timeline::StepKind;

impl Explainer {
    /// Explains a refused request. Only the last steps know of it.
    pub(super) fn request(&self, asked: &AskedEvent, number: RequestNumber) -> Explanation {
        let looked = LookedThrough {
            log_through: Timestamp::from(SystemTime::now()).to_rfc3339(),
            log_first: self.search.first().0,
            complete: true,
            ..LookedThrough::default()
        };
        let step = self.timeline.refused(number.0);
        let Some((step, refused)) = step.as_ref().and_then(|step| match &step.kind {
            StepKind::Refused(refused) => Some((step, refused)),
            _ => None,
        }) else {
            let told = cause::of_unknown_request(self.timeline.usage().is_on);
            return without_event(asked, HowMany::None, looked, told);
        };
        let furthest = self.health.sinks().into_iter().max_by_key(|sink| sink.lag_records());
        let behind = furthest.filter(|sink| sink.lag_records() > 0);
        let behind = behind.map(|sink| (sink.name().to_owned(), sink.lag_records()));
        let told = cause::of_refused(refused, &self.configuration, behind);
        let bytes = refused.bytes.map(|bytes| format!(", {}", plural(bytes, "byte"))).unwrap_or_default();
        Explanation {
            verdict: Some(ExplainedVerdict {
                word: "refused".into(),
                rule: None,
                line: None,
                reason: Some(refused.reason.clone()),
                detail: Some(format!("answered {}{bytes}", refused.status)),
                at: Some(step.at.to_rfc3339()),
                known_from: KnownFrom::Timeline,
            }),
            steps: vec![step.clone()],
            ..without_event(asked, HowMany::One, looked, told)
        }
    }
}
