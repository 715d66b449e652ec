//! Diagnoses a signature: why a recorded delivery is refused, and what would make it valid.
//!
//! [`diagnose`] asks the check that the source makes, and if that refuses the delivery, it looks for what was
//! signed: with another secret, over another body, in another form. Invariant: a cause is named only if a
//! signature matched under it, or if the delivery shows it without any key. What is computed is bounded. The
//! search does no I/O, reads no clock, and its result has no part of a secret, a body or a signature.

mod bodies;
mod facts;
mod fault;
mod keys;
mod offered;
mod rewrite;
mod search;
mod texts;

use bytes::Bytes;
use http::HeaderMap;

pub use self::bodies::BodyChange;
pub use self::facts::DeliveryFact;
pub use self::fault::{NotLivePeriod, SecretOwner, SignatureFault, TimeFault};
pub use self::keys::SecretChange;
pub use self::offered::{OfferFault, offered_form, signature_form};
pub use self::rewrite::JsonStyle;
pub use self::search::Tried;
pub use self::texts::TextFault;

use self::bodies::SignedBodies;
use self::keys::SigningKeys;
use self::search::{SignatureMatch, SignatureSearch, TryBudget};
use super::body::BodyLimits;
use super::definition::Definition;
use super::scheme::HmacScheme;
use super::secret::SigningSecret;
use super::{DeliveryClaim, DeliveryRefusal, Receipt, claim, verify};
use crate::event::{Delivery, Timestamp};

/// A secret of the configuration, and whose it is.
#[derive(Clone, Debug)]
pub struct Candidate<'a> {
    /// The source that lists it.
    pub source: &'a str,
    /// The definition of the source's provider.
    pub definition: &'a Definition,
    /// The secret's reference.
    pub name: String,
    /// The secret.
    pub secret: &'a SigningSecret,
    /// Whether the source is the one for which the delivery is diagnosed.
    pub own: bool,
}

/// A delivery as somebody recorded it.
#[derive(Clone, Copy, Debug)]
pub struct RecordedDelivery<'a> {
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Its body as it was sent.
    pub body: &'a Bytes,
    /// The moment for which it is diagnosed.
    pub at: Timestamp,
}

/// The bounds of a source's bodies.
#[derive(Clone, Copy, Debug)]
pub struct DeliverySizes {
    /// Largest body as sent, in bytes.
    pub sent_bytes_max: usize,
    /// The limits on decompression.
    pub inflate: BodyLimits,
}

/// What is known of a delivery's signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Diagnosis {
    /// The source takes the delivery.
    Valid {
        /// The reference of the secret that verified it; `None` if the source verifies nothing.
        secret: Option<String>,
        /// Sender's clock minus the moment of the check in seconds, if the signature covers a timestamp.
        skew_seconds: Option<i64>,
    },
    /// The source answers it as the provider's probe.
    Probe,
    /// The source refuses it for what is wrong with it.
    Explained {
        /// The reason in the metrics.
        reason: &'static str,
        /// Everything that is wrong, all of which has to be mended.
        faults: Vec<SignatureFault>,
    },
    /// The source refuses it, and no signature matched whatever was tried.
    Unexplained {
        /// The reason in the metrics.
        reason: &'static str,
        /// What the delivery shows without any key.
        facts: Vec<SignatureFault>,
        /// How much was tried.
        tried: Tried,
    },
}

/// Diagnoses a delivery to a source of this definition. The candidates are all secrets of the configuration.
pub fn diagnose(
    definition: &Definition,
    candidates: &[Candidate<'_>],
    recorded: &RecordedDelivery<'_>,
    sizes: &DeliverySizes,
) -> Diagnosis {
    let own: Vec<&Candidate<'_>> = candidates.iter().filter(|candidate| candidate.own).collect();
    let secrets: Vec<SigningSecret> = own.iter().map(|candidate| candidate.secret.clone()).collect();
    let refusal = match check(definition, &secrets, recorded, sizes) {
        Ok(Receipt::Probe) => return Diagnosis::Probe,
        Ok(Receipt::Verified(verified)) => {
            let verifies = definition.is_verified();
            let secret = own.get(verified.secret).filter(|_| verifies).map(|one| one.name.clone());
            return Diagnosis::Valid { secret, skew_seconds: verified.skew_seconds };
        }
        Err(refusal) => refusal,
    };
    let facts = facts::facts(definition, candidates, recorded, sizes, &refusal);
    let reason = reason(&refusal, own.is_empty(), recorded, sizes);
    let mut budget = TryBudget::new();
    let faults = definition
        .signature
        .hmac
        .as_ref()
        .map(|scheme| Inquiry { definition, scheme, candidates, recorded, sizes }.faults(&facts, &mut budget))
        // Without a signature, what the delivery shows is all there is.
        .unwrap_or_else(|| Some(facts.iter().cloned().map(SignatureFault::Fact).collect()));
    match faults.filter(|faults| !faults.is_empty()) {
        Some(faults) => Diagnosis::Explained { reason, faults },
        None => {
            let facts = facts.into_iter().map(SignatureFault::Fact).collect();
            Diagnosis::Unexplained { reason, facts, tried: budget.tried() }
        }
    }
}

/// The check that a source makes: the headers, the size of the body, then all of it.
fn check(
    definition: &Definition,
    secrets: &[SigningSecret],
    recorded: &RecordedDelivery<'_>,
    sizes: &DeliverySizes,
) -> Result<Receipt, DeliveryRefusal> {
    claim(definition, secrets, recorded.headers, recorded.at)?;
    if recorded.body.len() > sizes.sent_bytes_max {
        return Err(DeliveryRefusal::TooLarge);
    }
    let delivery = Delivery { headers: recorded.headers, body: recorded.body.clone(), arrived: recorded.at };
    verify(definition, secrets, delivery, &sizes.inflate)
}

/// The reason for the refusal as the metrics have it.
fn reason(
    refusal: &DeliveryRefusal,
    without_secret: bool,
    recorded: &RecordedDelivery<'_>,
    sizes: &DeliverySizes,
) -> &'static str {
    match refusal {
        DeliveryRefusal::TooLarge if recorded.body.len() > sizes.sent_bytes_max => "body_bytes",
        _ if without_secret => "no_secret",
        DeliveryRefusal::TooLarge => "inflated_bytes",
        refusal => refusal.word(),
    }
}

/// A delivery that was refused, and what it is compared with.
struct Inquiry<'a> {
    definition: &'a Definition,
    scheme: &'a HmacScheme,
    candidates: &'a [Candidate<'a>],
    recorded: &'a RecordedDelivery<'a>,
    sizes: &'a DeliverySizes,
}

/// Another source whose check accepts the signature.
struct OtherSource<'a> {
    candidate: &'a Candidate<'a>,
    /// What is wrong with the timestamp there.
    time: Option<TimeFault>,
}

impl Inquiry<'_> {
    /// What is wrong, `None` if no signature matched.
    fn faults(&self, facts: &[DeliveryFact], budget: &mut TryBudget) -> Option<Vec<SignatureFault>> {
        let RecordedDelivery { headers, body, at } = *self.recorded;
        let keys = SigningKeys::new(self.candidates, at);
        let offered = offered::offered(headers);
        let (texts, described) = texts::texts(self.scheme, headers);
        let bodies = SignedBodies::new(body, self.definition.gzip, self.sizes.inflate);
        let (offered, keys, texts, bodies) = (&offered, &keys, &texts, &bodies);
        let search = SignatureSearch { scheme: self.scheme, offered, keys, texts, described, bodies };
        let elsewhere = self.elsewhere(budget);
        let owners = |others: &[&OtherSource<'_>]| {
            let mut owners: Vec<SecretOwner> = others.iter().map(|one| owner(one.candidate)).collect();
            owners.dedup();
            owners
        };
        if let Some(found) = search.own(budget) {
            let mut faults = self.explain(&found, facts);
            let takes = |other: &&OtherSource<'_>| other.time.is_none() && other.candidate.secret.is_live(at);
            let taking: Vec<&OtherSource<'_>> = elsewhere.iter().filter(takes).collect();
            if !taking.is_empty() {
                faults.push(SignatureFault::TakenElsewhere { owners: owners(&taking) });
            }
            return Some(faults);
        }
        if let Some(first) = elsewhere.first() {
            let provider = &first.candidate.definition.provider;
            let same: Vec<&OtherSource<'_>> =
                elsewhere.iter().filter(|other| other.candidate.definition.provider == *provider).collect();
            let provider = (*provider != self.definition.provider).then(|| provider.to_string());
            let other = SignatureFault::OtherSource { owners: owners(&same), provider };
            let time = first.time.map(SignatureFault::Time);
            return Some(std::iter::once(other).chain(time).chain(length(facts)).collect());
        }
        Some(self.explain(&search.anything(budget)?, facts))
    }

    /// The other sources whose check accepts the signature, with any of their secrets and at any moment.
    fn elsewhere(&self, budget: &mut TryBudget) -> Vec<OtherSource<'_>> {
        let others = self.candidates.iter().filter(|one| !one.own && one.definition.is_verified());
        let accepts = |candidate| self.other_source(candidate, budget);
        others.filter_map(accepts).collect()
    }

    fn other_source<'a>(
        &self,
        candidate: &'a Candidate<'a>,
        budget: &mut TryBudget,
    ) -> Option<OtherSource<'a>> {
        // Without its period, because the signature is in question and not the moment.
        let secret = [SigningSecret::from_key(candidate.secret.key().to_vec())];
        let RecordedDelivery { headers, body, at } = *self.recorded;
        let definition = candidate.definition;
        let is_signed = matches!(claim(definition, &secret, headers, at), Ok(DeliveryClaim::Signed));
        if !is_signed || !budget.takes_signature(body.len()) {
            return None;
        }
        match check(definition, &secret, self.recorded, self.sizes) {
            Ok(Receipt::Verified(_)) => Some(OtherSource { candidate, time: None }),
            Ok(Receipt::Probe) => None,
            Err(refusal) => {
                let time = time_fault(definition.signature.hmac.as_ref()?, &refusal)?;
                // Of a timestamp that is no number it is not known whether the signature was compared.
                (time != TimeFault::NoNumber).then_some(OtherSource { candidate, time: Some(time) })
            }
        }
    }

    /// What a match shows, together with the facts that it does not explain.
    fn explain(&self, found: &SignatureMatch<'_>, facts: &[DeliveryFact]) -> Vec<SignatureFault> {
        let mut shown = self.key_faults(found);
        shown.extend(found.offered.faults(self.scheme).into_iter().map(SignatureFault::Offer));
        shown.extend(found.text.faults.iter().cloned().map(SignatureFault::Text));
        shown.extend((found.change != BodyChange::AsItIs).then_some(SignatureFault::Body(found.change)));
        let skew = self.scheme.skew(found.text.timestamp.as_deref(), self.recorded.at);
        let time = skew.err().and_then(|refusal| time_fault(self.scheme, &refusal));
        shown.extend(time.map(SignatureFault::Time));
        let is_explained = !shown.is_empty();
        let is_not_live = shown.iter().any(|fault| matches!(fault, SignatureFault::NotLive { .. }));
        let stays = |fact: &&DeliveryFact| match fact {
            DeliveryFact::NoneLive => !is_not_live,
            // What was signed is known, so it does not matter.
            DeliveryFact::NotCompressed => false,
            fact => !(is_explained && fact.is_explained_by_a_match()),
        };
        let facts = facts.iter().filter(stays).cloned().map(SignatureFault::Fact);
        shown.into_iter().chain(facts).collect()
    }

    fn key_faults(&self, found: &SignatureMatch<'_>) -> Vec<SignatureFault> {
        let key = found.key;
        let candidate = &self.candidates[key.candidate];
        let also: Vec<SecretOwner> = key.also.iter().map(|number| owner(&self.candidates[*number])).collect();
        let change = key.change.clone();
        if !candidate.own {
            let owners = std::iter::once(owner(candidate)).chain(also).collect();
            return vec![SignatureFault::OtherSecret { owners, change }];
        }
        let name = candidate.name.clone();
        let mut faults = Vec::new();
        if change != SecretChange::AsItIs {
            faults.push(SignatureFault::Secret { name: name.clone(), change, also: also.clone() });
        }
        if let Some(period) = not_live(candidate.secret, self.recorded.at) {
            faults.push(SignatureFault::NotLive { name, period, also });
        }
        faults
    }
}

fn owner(candidate: &Candidate<'_>) -> SecretOwner {
    SecretOwner { source: candidate.source.into(), secret: candidate.name.clone() }
}

/// When the secret is valid, if it is not at this moment.
fn not_live(secret: &SigningSecret, at: Timestamp) -> Option<NotLivePeriod> {
    match (secret.start(), secret.end()) {
        _ if secret.is_live(at) => None,
        (_, Some(end)) if secret.is_over(at) => Some(NotLivePeriod::Ended(end.to_rfc3339())),
        (start, _) => start.map(|start| NotLivePeriod::Begins(start.to_rfc3339())),
    }
}

/// What a refusal behind a signature that matched says of the timestamp.
fn time_fault(scheme: &HmacScheme, refusal: &DeliveryRefusal) -> Option<TimeFault> {
    match refusal {
        DeliveryRefusal::Unauthenticated("timestamp_in_milliseconds") => Some(TimeFault::Milliseconds),
        DeliveryRefusal::Unauthenticated("malformed_timestamp") => Some(TimeFault::NoNumber),
        DeliveryRefusal::OutOfTime { skew_seconds, .. } => {
            let tolerance_seconds = scheme.timestamp.as_ref().map_or(0, |rule| rule.tolerance_seconds);
            Some(TimeFault::OutOfTime { skew_seconds: *skew_seconds, tolerance_seconds })
        }
        _ => None,
    }
}

/// Of the facts, that the body is not as long as the headers say.
fn length(facts: &[DeliveryFact]) -> impl Iterator<Item = SignatureFault> {
    let lengths = facts.iter().filter(|fact| matches!(fact, DeliveryFact::OtherLength { .. }));
    lengths.cloned().map(SignatureFault::Fact)
}

#[cfg(test)]
mod tests;
