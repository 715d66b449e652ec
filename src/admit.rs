//! The heart: what becomes of an authentic delivery.
//!
//! [`admit`] consumes a [`Verified`] delivery and decides: accept, filter or quarantine. It never
//! refuses, because the sender of an authentic delivery can do nothing about its content. Pure: the
//! same delivery gets the same verdict today and on the day it is sent again.

use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;

use crate::event::{Event, Filtered, Quarantined, Verdict, Verified};
use crate::provider::{
    Definition, SUBSCRIPTION_CONFIRMATION, UNSUBSCRIBE_CONFIRMATION, Unusable, letter_id, normalise, salvage,
};
use crate::selection::Selection;

/// A source as admission sees it.
#[derive(Clone, Debug)]
pub struct SourceView {
    definition: Arc<Definition>,
    intake: ByteString,
    event_source: ByteString,
}

impl SourceView {
    /// The source of this name, whose events carry this CloudEvents `source`: `/{provider}/{app}`.
    pub fn new(definition: Arc<Definition>, intake: ByteString, event_source: ByteString) -> Self {
        Self { definition, intake, event_source }
    }

    /// How the source's provider signs and what its bodies look like.
    pub fn definition(&self) -> &Definition {
        &self.definition
    }

    /// The source's name.
    pub fn intake(&self) -> &ByteString {
        &self.intake
    }

    /// An authentic message for the dead letters whose body cannot be decoded, whichever way it came.
    pub fn undecodable(&self, verified: Verified, word: &'static str) -> Verdict {
        self.quarantine(verified, word, format!("the message cannot be decoded: {word}"))
    }

    /// An authentic delivery for the dead letters, with its body as it came but for the values that may
    /// have to be redacted: `word` is short and from a fixed list, `detail` holds no part of the body.
    pub fn quarantine(&self, verified: Verified, word: &'static str, detail: String) -> Verdict {
        let body = salvage(&verified.body, self.definition.redactions());
        self.quarantined(verified, word, detail, body)
    }

    /// The same, with what is kept of the body. It is known by all of it.
    fn quarantined(&self, verified: Verified, word: &'static str, detail: String, body: Bytes) -> Verdict {
        Verdict::Quarantine(Quarantined {
            id: letter_id(&self.definition, &verified),
            source: self.event_source.clone(),
            provider: self.definition.provider.clone(),
            intake: self.intake.clone(),
            reason: ByteString::from_static(word),
            detail: detail.into(),
            stated: verified.stated,
            arrived: verified.arrived,
            body,
        })
    }
}

/// Decides what becomes of an authentic delivery.
pub fn admit(source: &SourceView, verified: Verified, selection: &Selection) -> Verdict {
    decide(source, verified, None, selection)
}

fn decide(
    source: &SourceView,
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
    Verdict::Accept(Event {
        id: facts.id,
        source: source.event_source.clone(),
        event_type: facts.event_type,
        provider: source.definition.provider.clone(),
        family: facts.family,
        intake: source.intake.clone(),
        subject: facts.key.clone(),
        key: facts.key,
        time: facts.time,
        arrived: verified.arrived,
        extensions: verified.stated.extensions,
        only_sink: None,
        body: facts.body,
    })
}

/// Decides about a quarantined delivery again. What is known by its body is known by all of it, also
/// by what is no longer kept of it.
pub fn readmit(source: &SourceView, quarantined: &Quarantined, selection: &Selection) -> Verdict {
    // What a topic asked of a queue is no event by any definition, and its reason says what to do.
    if [SUBSCRIPTION_CONFIRMATION, UNSUBSCRIBE_CONFIRMATION].contains(&&*quarantined.reason) {
        return Verdict::Quarantine(quarantined.clone());
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
