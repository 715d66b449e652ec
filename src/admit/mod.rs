//! Admission: the decision about an authentic delivery.
//!
//! [`admit`] consumes a [`Verified`] delivery and accepts, filters or quarantines it. It never
//! refuses one, because the sender of an authentic delivery cannot change its content. Pure: the same
//! delivery gets the same verdict whenever it is sent.

use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;

use crate::event::{Event, Filtered, Quarantined, Verdict, Verified};
use crate::provider::{
    Definition, SUBSCRIPTION_CONFIRMATION, UNSUBSCRIBE_CONFIRMATION, Unusable, letter_id, normalise, salvage,
};
use crate::selection::Selection;

/// The part of a source that admission needs.
#[derive(Clone, Debug)]
pub struct AdmissionSource {
    definition: Arc<Definition>,
    source_name: ByteString,
    event_source: ByteString,
}

impl AdmissionSource {
    /// The source of this name. Its events carry this CloudEvents `source`: `/{provider}/{app}`.
    pub fn new(definition: Arc<Definition>, source_name: ByteString, event_source: ByteString) -> Self {
        Self { definition, source_name, event_source }
    }

    /// The definition of the source's provider: signatures and body layout.
    pub fn definition(&self) -> &Definition {
        &self.definition
    }

    /// Name of the source from the configuration.
    pub fn source_name(&self) -> &ByteString {
        &self.source_name
    }

    /// The CloudEvents `source` of its events.
    pub fn event_source(&self) -> &ByteString {
        &self.event_source
    }

    /// Quarantines an authentic message of a queue or of SNS whose body cannot be decoded.
    pub fn undecodable(&self, verified: Verified, word: &'static str) -> Verdict {
        self.quarantine(verified, word, format!("the message cannot be decoded: {word}"))
    }

    /// Quarantines an authentic delivery. Its body is kept, except for values that might have to be
    /// redacted. `word` is a reason from a fixed list, and `detail` contains no part of the body.
    pub fn quarantine(&self, verified: Verified, word: &'static str, detail: String) -> Verdict {
        let body = salvage(&verified.body, self.definition.redactions());
        self.quarantined(verified, word, detail, body)
    }

    /// Quarantines a delivery with the part of its body to keep. The id is made of the whole body.
    fn quarantined(&self, verified: Verified, word: &'static str, detail: String, body: Bytes) -> Verdict {
        Verdict::Quarantine(Arc::new(Quarantined {
            id: letter_id(&self.definition, &verified),
            source: self.event_source.clone(),
            provider: self.definition.provider.clone(),
            source_name: self.source_name.clone(),
            reason: ByteString::from_static(word),
            detail: detail.into(),
            stated: verified.stated,
            arrived: verified.arrived,
            configuration: None,
            body,
        }))
    }
}

/// Decides about an authentic delivery.
pub fn admit(source: &AdmissionSource, verified: Verified, selection: &Selection) -> Verdict {
    decide(source, verified, None, selection)
}

fn decide(
    source: &AdmissionSource,
    verified: Verified,
    known_as: Option<&ByteString>,
    selection: &Selection,
) -> Verdict {
    let facts = match normalise(&source.definition, &verified, known_as) {
        Ok(facts) => facts,
        Err(Unusable { word, detail, body }) => {
            return source.quarantined(verified, word, detail, body);
        }
    };
    if !selection.takes(&facts.event_type) {
        return Verdict::Filter(Filtered {
            id: facts.id,
            event_type: facts.event_type,
            family: facts.family,
        });
    }
    Verdict::Accept(Arc::new(Event {
        id: facts.id,
        source: source.event_source.clone(),
        event_type: facts.event_type,
        provider: source.definition.provider.clone(),
        family: facts.family,
        source_name: source.source_name.clone(),
        subject: facts.key.clone(),
        key: facts.key,
        time: facts.time,
        arrived: verified.arrived,
        configuration: None,
        extensions: verified.stated.extensions,
        only_sink: None,
        body: facts.body,
    }))
}

/// Decides about a quarantined delivery again. If its id is made of its body, the id stays: it was
/// made of the whole body, of which perhaps only a part is kept.
pub fn readmit(source: &AdmissionSource, quarantined: &Quarantined, selection: &Selection) -> Verdict {
    // A topic's request to a queue never becomes an event, and its detail says what to do.
    if [SUBSCRIPTION_CONFIRMATION, UNSUBSCRIBE_CONFIRMATION].contains(&&*quarantined.reason) {
        return Verdict::Quarantine(quarantined.clone().into());
    }
    let verified = Verified {
        body: quarantined.body.clone(),
        stated: quarantined.stated.clone(),
        secret: 0,
        skew_seconds: None,
        arrived: quarantined.arrived,
    };
    decide(source, verified, Some(&quarantined.id), selection)
}

#[cfg(test)]
mod tests;
