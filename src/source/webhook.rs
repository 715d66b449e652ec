//! The webhook source: a signed request becomes a delivery, and its verdict the answer.
//!
//! The order of the checks matters. A delivery that offers no signature, cannot be stored now or states
//! too large a length is refused before its body is read. The signature is checked before anything reads
//! the body's content. The answer 200 comes after [`Intake::receive`] has returned. An authentic delivery
//! is never refused for its content. The content type is not checked, because providers differ. The reason
//! for a 401 goes to the metrics and not to the caller.

use std::pin::pin;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Body;

use super::answer::{DeliveryBounds, PROBE, Received, Refused, answer};
use super::http::body_budget::BodyPermit;
use super::http::problem::Unproven;
use super::refusals::Evidence;
use super::secrets::Live;
use super::traced::SentContext;
use super::turns::Weight;
use super::{Intake, SourceIntake};
use crate::event::Delivery;
use crate::provider::{
    DeliveryClaim, DeliveryRefusal, Receipt, body_heaviness, body_heaviness_max, claim, verify,
};

/// One webhook source: the endpoint to which its provider posts.
pub(super) struct Webhook {
    source: Arc<SourceIntake>,
    intake: Intake,
    bounds: Arc<DeliveryBounds>,
}

impl Webhook {
    pub(super) fn new(source: Arc<SourceIntake>, intake: Intake, bounds: Arc<DeliveryBounds>) -> Self {
        Self { source, intake, bounds }
    }

    /// The same endpoint, whose deliveries another intake takes.
    pub(super) fn taken_by(&self, intake: Intake) -> Self {
        Self::new(Arc::clone(&self.source), intake, Arc::clone(&self.bounds))
    }

    pub(super) fn source(&self) -> &SourceIntake {
        &self.source
    }

    pub(super) async fn answer<B, R>(&self, request: Request<B>) -> Response<R>
    where
        B: Body<Data = Bytes>,
        R: From<Bytes>,
    {
        let (head, body) = request.into_parts();
        let evidence = Evidence::new(&self.source, &head.headers, &body);
        let receiving = pin!(self.receive(&evidence, body));
        let mut response = answer(&self.source, &self.intake, &evidence, receiving).await;
        if !self.source.definition.is_verified() {
            response.extensions_mut().insert(Unproven);
        }
        response
    }

    async fn receive<B: Body<Data = Bytes>>(
        &self,
        evidence: &Evidence<'_>,
        body: B,
    ) -> Result<Received, Refused> {
        // One set of secrets for the whole delivery: it was signed before its headers arrived.
        let (headers, secrets) = (evidence.headers, self.source.secrets.now());
        let (delivery, permit) = match self.claim(headers, &body, &secrets)? {
            DeliveryClaim::Signed => self.bounds.read(&self.intake, &self.source, headers, body).await?,
            DeliveryClaim::Unsigned => self.bounds.read_probe(headers, body, self.unsigned()).await?,
        };
        self.bounds.in_time(pin!(self.take(delivery, permit, secrets, evidence))).await
    }

    /// Checks what the headers alone can show.
    fn claim(&self, headers: &HeaderMap, body: &impl Body, secrets: &Live) -> Result<DeliveryClaim, Refused> {
        let SourceIntake { definition, .. } = &*self.source;
        let claim = claim(definition, secrets.all(), headers, SystemTime::now().into());
        claim.map_err(|refusal| match (self.refused(refusal), body.is_end_stream()) {
            (Refused::Unauthenticated(word), false) => Refused::Unread(word),
            (refused, _) => refused,
        })
    }

    /// Verifies a delivery and makes it durable.
    async fn take(
        &self,
        delivery: Delivery<'_>,
        mut permit: BodyPermit<'_>,
        secrets: Arc<Live>,
        evidence: &Evidence<'_>,
    ) -> Result<Received, Refused> {
        let SourceIntake { definition, metrics, .. } = &*self.source;
        let inflate = self.bounds.inflate_of(&self.source);
        let (likely, at_most) =
            (body_heaviness(&delivery.body), body_heaviness_max(&delivery.body, &inflate));
        let verifying = || {
            // The body's bytes are shared, not copied.
            let sent = self.intake.steps.is_on().then(|| delivery.body.clone());
            let verified = verify(definition, secrets.all(), delivery, &inflate);
            if let (Err(_), Some(sent)) = (&verified, sent) {
                evidence.digest(&sent);
            }
            verified
        };
        let verified = match self.intake.work_unproven(Weight { likely, at_most }, verifying).await? {
            Ok(Receipt::Verified(verified)) => verified,
            Ok(Receipt::Probe) => return Ok(Received::Other(PROBE)),
            Err(refusal) => {
                // Once clocks differ so far that no delivery is accepted, only this shows the skew.
                if let DeliveryRefusal::OutOfTime { skew_seconds, .. } = refusal {
                    metrics.skewed(skew_seconds);
                }
                return Err(self.refused(refusal));
            }
        };
        if definition.is_verified() {
            permit.prove();
        }
        let secret = secrets.used(verified.secret);
        if let Some(seconds) = verified.skew_seconds {
            metrics.skewed(seconds);
        }
        // The body can be larger now, because it was inflated.
        permit.grow_to(verified.body.len())?;
        let sent = || match definition.is_verified() {
            true => SentContext::of_request(evidence.headers),
            false => SentContext::of_stranger(),
        };
        let receiving = self.intake.receive(&self.source, verified, Some(secret), sent);
        Ok(Received::Answer(receiving.await?))
    }

    /// The reason for refusing a request without a signature.
    fn unsigned(&self) -> &'static str {
        if self.lacks_secret() { "no_secret" } else { "missing_signature" }
    }

    /// A source that lacks its secret has no other reason to refuse: its provider probes before it shows the
    /// secret.
    fn refused(&self, refusal: DeliveryRefusal) -> Refused {
        match self.lacks_secret() {
            true => Refused::Unauthenticated(self.unsigned()),
            false => refusal.into(),
        }
    }

    fn lacks_secret(&self) -> bool {
        self.source.definition.is_verified() && self.source.secrets.is_empty()
    }
}
