//! What would become of a body, if it came signed to a source (pure).

use bytes::Bytes;
use http::HeaderMap;

use super::configuration::{ConfiguredSource, ExplainedConfiguration};
use crate::admit::{AdmissionSource, admit};
use crate::event::{Timestamp, Verdict};
use crate::provider::{BodyLimits, DeliveryRefusal, Receipt, as_if_signed};

/// What would become of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// CloudEvents `id` that it would have.
    pub id: String,
    /// `accepted`, `filtered` or `quarantined`.
    pub verdict: &'static str,
    /// CloudEvents `type`; `None` if it cannot become an event.
    pub event_type: Option<String>,
    /// Why it cannot become an event, in a word and a sentence.
    pub unusable: Option<(String, String)>,
}

/// What would become of a body that comes to a source with these headers and a valid signature. `None` if it
/// is the provider's probe.
///
/// # Errors
/// Why it would be refused even so.
pub fn preview(
    configuration: &ExplainedConfiguration,
    source: &ConfiguredSource,
    (headers, body): (&HeaderMap, Bytes),
    now: Timestamp,
    limits: &BodyLimits,
) -> Result<Option<Preview>, DeliveryRefusal> {
    let verdict = verdict_on(configuration, source, (headers, body), now, limits)?;
    Ok(verdict.map(|verdict| match verdict {
        Verdict::Accept(event) => Preview {
            id: event.id.to_string(),
            verdict: "accepted",
            event_type: Some(event.event_type.to_string()),
            unusable: None,
        },
        Verdict::Filter(filtered) => Preview {
            id: filtered.id.to_string(),
            verdict: "filtered",
            event_type: Some(filtered.event_type.to_string()),
            unusable: None,
        },
        Verdict::Quarantine(quarantined) => Preview {
            id: quarantined.id.to_string(),
            verdict: "quarantined",
            event_type: None,
            unusable: Some((quarantined.reason.to_string(), quarantined.detail.to_string())),
        },
    }))
}

/// The verdict on a body that comes to a source with these headers and a valid signature. `None` if it is the
/// provider's probe.
///
/// # Errors
/// Why it would be refused even so.
pub fn verdict_on(
    configuration: &ExplainedConfiguration,
    source: &ConfiguredSource,
    (headers, body): (&HeaderMap, Bytes),
    now: Timestamp,
    limits: &BodyLimits,
) -> Result<Option<Verdict>, DeliveryRefusal> {
    let definition = &source.definition;
    let Receipt::Verified(verified) = as_if_signed(definition, headers, body, now, limits)? else {
        return Ok(None);
    };
    let (name, event_source) = (source.name.as_str().into(), source.event_source.as_str().into());
    let admission = AdmissionSource::new(definition.clone(), name, event_source);
    Ok(Some(admit(&admission, verified, &configuration.selection.selection)))
}
