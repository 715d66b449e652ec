//! Webhooks: a request becomes a delivery, and its fate an answer.
//!
//! The order is the point: a delivery that offers no signature, could not be stored, or is too large,
//! is turned away before its body is read; the signature comes before anything looks into the body;
//! 200 comes after [`Intake::receive`] returned. Authentic deliveries are never refused for what they
//! contain. The content type is not judged, because providers vary; the reason for a 401 goes to
//! the metrics and not to the caller.

use std::pin::pin;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;

use super::answer::{DeliveryBounds, PROBE, Received, Refused, answer};
use super::http::body_budget::BodyPermit;
use super::http::problem::Unproven;
use super::http::turns::Weight;
use super::secrets::Live;
use super::{Intake, SourceIntake};
use crate::event::Delivery;
use crate::provider::{
    DeliveryClaim, DeliveryRefusal, Receipt, body_heaviness, body_heaviness_max, claim, verify,
};

/// One source's way in by webhook.
pub(super) struct Webhook {
    source: SourceIntake,
    intake: Intake,
    bounds: Arc<DeliveryBounds>,
}

impl Webhook {
    pub(super) fn new(source: SourceIntake, intake: Intake, bounds: Arc<DeliveryBounds>) -> Self {
        Self { source, intake, bounds }
    }

    pub(super) fn source(&self) -> &SourceIntake {
        &self.source
    }

    pub(super) async fn answer<B, R>(&self, request: Request<B>) -> Response<R>
    where
        B: Body<Data = Bytes>,
        R: From<Bytes>,
    {
        let mut response = answer(&self.source, pin!(self.receive(request))).await;
        if !self.source.definition.is_verified() {
            response.extensions_mut().insert(Unproven);
        }
        response
    }

    async fn receive<B: Body<Data = Bytes>>(&self, request: Request<B>) -> Result<Received, Refused> {
        // The secrets of one moment, for all of it: the sender signed before its headers came.
        let secrets = self.source.secrets.now();
        let (delivery, share) = match self.claim(&request, &secrets)? {
            DeliveryClaim::Signed => self.bounds.read(&self.intake, &self.source, request).await?,
            DeliveryClaim::Unsigned => self.bounds.read_probe(request, self.unsigned()).await?,
        };
        self.bounds.in_time(self.take(delivery, share, &secrets)).await
    }

    /// Judges by the headers what can be judged by them.
    fn claim<B: Body>(&self, request: &Request<B>, secrets: &Live) -> Result<DeliveryClaim, Refused> {
        let SourceIntake { definition, .. } = &self.source;
        let claim = claim(definition, secrets.all(), request.headers(), SystemTime::now().into());
        claim.map_err(|refusal| match (self.refused(refusal), request.body().is_end_stream()) {
            (Refused::Unauthenticated(word), false) => Refused::Unread(word),
            (refused, _) => refused,
        })
    }

    /// Verifies a delivery and makes it durable.
    async fn take(
        &self,
        delivery: Delivery,
        mut share: BodyPermit<'_>,
        secrets: &Live,
    ) -> Result<Received, Refused> {
        let SourceIntake { definition, tally, .. } = &self.source;
        let inflate = self.bounds.inflate_of(&self.source);
        let (likely, at_most) =
            (body_heaviness(&delivery.body), body_heaviness_max(&delivery.body, &inflate));
        let verifying = || verify(definition, secrets.all(), delivery, &inflate);
        let verified = match self.intake.work_unproven(Weight { likely, at_most }, verifying).await? {
            Ok(Receipt::Verified(verified)) => verified,
            Ok(Receipt::Probe) => return Ok(Received::Other(PROBE)),
            Err(refusal) => {
                // Clocks that are apart show only here once nothing is accepted any more.
                if let DeliveryRefusal::OutOfTime { skew_seconds, .. } = refusal {
                    tally.skewed(skew_seconds);
                }
                return Err(self.refused(refusal));
            }
        };
        if definition.is_verified() {
            share.prove();
        }
        secrets.used(verified.secret);
        if let Some(seconds) = verified.skew_seconds {
            tally.skewed(seconds);
        }
        // It may have been inflated.
        share.grow_to(verified.body.len())?;
        Ok(Received::Answer(self.intake.receive(&self.source, verified).await?))
    }

    /// The word for what carries no signature. The provider may be probing before it tells its secret:
    /// then nothing else is known yet.
    fn unsigned(&self) -> &'static str {
        if self.source.secrets.is_empty() { "no_secret" } else { "missing_signature" }
    }

    fn refused(&self, refusal: DeliveryRefusal) -> Refused {
        match self.source.secrets.is_empty() {
            true => Refused::Unauthenticated(self.unsigned()),
            false => refusal.into(),
        }
    }
}
