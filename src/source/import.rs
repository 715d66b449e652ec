//! Takes bodies in by the front of a source that an operator has saved: of an outage, or of a failover.
//!
//! From the verdict on such a body goes the way of a delivery: the same id, the same selection, the same
//! duplicate window. It has no proof of its sender, so this is for operators only, and what becomes of it
//! says why it came: [`IMPORT_EXTENSION`]. Nothing waits for the sinks that `ack.after` names, because no
//! provider waits for an answer.

use bytes::Bytes;
use bytestring::ByteString;
use foldhash::HashMap;
use futures_util::future::join_all;
use http::HeaderMap;
use prometheus_client::metrics::counter::Counter;

use super::answer::{PROBE, Refused};
use super::refusals::RefusalLimit;
use super::{Circumstances, DeliveryFate, Intake, SourceIntake};
use crate::event::{HeaderClaims, IMPORT_EXTENSION, Timestamp, Verdict};
use crate::provider::{BodyLimits, DeliveryRefusal, Receipt, as_if_signed, body_heaviness_max, plain_body};
use crate::telemetry::{Metrics, Source};

/// Bytes of decoded bodies from which a wave is complete: they are stored before the next body is decoded,
/// because one body can inflate to more than all others.
const WAVE_BYTES_MAX: usize = 4 << 20;

/// What takes bodies in for each source.
pub struct Imports {
    intake: Intake,
    limits: BodyLimits,
    sources: HashMap<ByteString, ImportSource>,
}

/// A source as bodies are imported by it.
struct ImportSource {
    source: SourceIntake,
    /// The bounds of a body after decompression.
    limits: BodyLimits,
    imported: Counter,
}

/// A body that an operator has, plain or gzip.
#[derive(Debug)]
pub struct SavedBody {
    /// The headers with which it was sent, as far as they are known. No signature is looked at.
    pub headers: HeaderMap,
    /// Its bytes.
    pub body: Bytes,
}

/// What became of a body, or would become of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImportedBody {
    /// It is taken in, or filtered.
    Taken {
        /// What became of it.
        fate: DeliveryFate,
        /// The id of the event or of the quarantined delivery; a copy, for a part of a body keeps it whole.
        id: String,
        /// Why it is quarantined: a word from a fixed list.
        reason: Option<ByteString>,
    },
    /// It is not taken in. The word is one of `refused_total`.
    Refused(&'static str),
}

/// A text that cannot be a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a reason of 1 to 255 printable ASCII characters, because events carry it")]
pub struct ReasonError;

/// Why bodies are imported: 1 to 255 printable ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportReason(ByteString);

impl ImportReason {
    /// This text as a reason.
    ///
    /// # Errors
    /// When no attribute of an event can have it, or it is blank.
    pub fn new(text: &str) -> Result<Self, ReasonError> {
        HeaderClaims::value(text.trim()).map(Self).ok_or(ReasonError)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A body with its verdict.
struct DecidedBody {
    verdict: Verdict,
    about: Circumstances,
}

impl DecidedBody {
    fn reason(&self) -> Option<ByteString> {
        match &self.verdict {
            Verdict::Quarantine(quarantined) => Some(quarantined.reason.clone()),
            Verdict::Accept(_) | Verdict::Filter(_) => None,
        }
    }
}

impl SourceIntake {
    /// The same source without a provider that waits for an answer.
    fn to_import(&self) -> Self {
        Self {
            name: self.name.clone(),
            definition: self.definition.clone(),
            secrets: self.secrets.clone(),
            view: self.view.clone(),
            metrics: self.metrics.clone(),
            refusals: RefusalLimit::new(),
            body_bytes_max: self.body_bytes_max,
            ack: None,
        }
    }
}

impl Imports {
    /// Imports without sources, into this intake. `limits` are the bounds of bodies after decompression.
    pub fn new(intake: Intake, limits: BodyLimits) -> Self {
        Self { intake, limits, sources: HashMap::default() }
    }

    /// Adds a source.
    pub fn add(&mut self, source: &SourceIntake, metrics: &Metrics) {
        let inflated_bytes_max = self.limits.inflated_bytes_max.max(source.body_bytes_max.unwrap_or(0));
        let limits = BodyLimits { inflated_bytes_max, ..self.limits };
        let imported = metrics.imported.get_or_create_owned(&Source { source: source.name.to_string() });
        let source = ImportSource { source: source.to_import(), limits, imported };
        self.sources.insert(source.source.name.clone(), source);
    }

    /// The names of the sources, by name.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.sources.keys().map(|name| &**name).collect();
        names.sort_unstable();
        names
    }

    /// Takes bodies in, in their order, and returns what became of each. A body that is refused does not keep
    /// the others out. `None` if there is no such source.
    pub async fn take(
        &self,
        source: &str,
        reason: &ImportReason,
        bodies: Vec<SavedBody>,
        now: Timestamp,
    ) -> Option<Vec<ImportedBody>> {
        let source = self.sources.get(source)?;
        let mut taken = Vec::with_capacity(bodies.len());
        let mut bodies = bodies.into_iter();
        loop {
            let (mut wave, mut bytes) = (Vec::new(), 0);
            while bytes < WAVE_BYTES_MAX
                && let Some(body) = bodies.next()
            {
                let decided = self.decide(source, reason, body, now).await;
                bytes += decided.as_ref().map_or(0, |decided| decided.about.bytes);
                wave.push(decided);
            }
            if wave.is_empty() {
                return Some(taken);
            }
            taken.extend(join_all(wave.into_iter().map(|decided| self.store(source, decided))).await);
        }
    }

    /// What would become of bodies. Nothing is stored, counted or noted, and the duplicate window is not
    /// asked. `None` if there is no such source.
    pub async fn preview(
        &self,
        source: &str,
        reason: &ImportReason,
        bodies: Vec<SavedBody>,
        now: Timestamp,
    ) -> Option<Vec<ImportedBody>> {
        let source = self.sources.get(source)?;
        let mut previews = Vec::with_capacity(bodies.len());
        for body in bodies {
            previews.push(match self.decide(source, reason, body, now).await {
                Ok(decided) => preview(decided),
                Err(word) => ImportedBody::Refused(word),
            });
        }
        Some(previews)
    }

    /// The verdict on a body.
    ///
    /// # Errors
    /// The word for why it would be refused as a delivery with a valid signature, too.
    async fn decide(
        &self,
        source: &ImportSource,
        reason: &ImportReason,
        body: SavedBody,
        arrived: Timestamp,
    ) -> Result<DecidedBody, &'static str> {
        let weight = body_heaviness_max(&body.body, &source.limits);
        self.intake.work(weight, || self.verdict(source, reason, body, arrived)).await
    }

    fn verdict(
        &self,
        ImportSource { source, limits, .. }: &ImportSource,
        reason: &ImportReason,
        SavedBody { headers, body }: SavedBody,
        arrived: Timestamp,
    ) -> Result<DecidedBody, &'static str> {
        let word = |refusal: DeliveryRefusal| Refused::from(refusal).reason();
        let body = plain_body(body, limits).map_err(word)?;
        let receipt = as_if_signed(&source.definition, &headers, body, arrived, limits).map_err(word)?;
        let Receipt::Verified(mut verified) = receipt else { return Err(PROBE) };
        verified.stated.extensions.push((IMPORT_EXTENSION.into(), reason.0.clone()));
        let about = Circumstances { arrived, bytes: verified.body.len(), secret: None, trace: None };
        Ok(DecidedBody { verdict: self.intake.admit(source, verified), about })
    }

    async fn store(
        &self,
        ImportSource { source, imported, .. }: &ImportSource,
        decided: Result<DecidedBody, &'static str>,
    ) -> ImportedBody {
        let decided = match decided {
            Ok(decided) => decided,
            Err(word) => return ImportedBody::Refused(word),
        };
        let reason = decided.reason();
        match self.intake.keep(source, decided.verdict, decided.about).await {
            Ok(taken) => {
                if matches!(taken.fate, DeliveryFate::Accepted | DeliveryFate::Quarantined) {
                    imported.inc();
                }
                ImportedBody::Taken { fate: taken.fate, id: taken.id.to_string(), reason }
            }
            Err(unavailable) => ImportedBody::Refused(Refused::from(unavailable).reason()),
        }
    }
}

fn preview(decided: DecidedBody) -> ImportedBody {
    let reason = decided.reason();
    let (fate, id) = match decided.verdict {
        Verdict::Accept(event) => (DeliveryFate::Accepted, event.id.to_string()),
        Verdict::Filter(filtered) => (DeliveryFate::Filtered, filtered.id.to_string()),
        Verdict::Quarantine(quarantined) => (DeliveryFate::Quarantined, quarantined.id.to_string()),
    };
    ImportedBody::Taken { fate, id, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_what_an_attribute_can_be() {
        assert_eq!(ImportReason::new(" outage of 6 am ").map(|reason| reason.0), Ok("outage of 6 am".into()));
        for text in ["", "  ", "two\nlines", "späť", &"x".repeat(256)] {
            assert_eq!(ImportReason::new(text), Err(ReasonError), "{text}");
        }
    }
}
