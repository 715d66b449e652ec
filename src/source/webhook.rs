//! Webhooks: a request becomes a delivery, and its fate an answer.
//!
//! The order is the point: a delivery that could not be stored, or is too large, is turned away
//! before its body is read; the signature comes before anything looks into the body; 200 comes
//! after [`Intake::receive`] returned. Authentic deliveries are never refused for what they
//! contain. The content type is not judged, because providers vary; the reason for a 401 goes to
//! the metrics and not to the caller.

use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;

use super::answer::{Bounds, Received, Refused, answer};
use super::body::Share;
use super::{Intake, SourceIntake};
use crate::event::Delivery;
use crate::provider::{Receipt, Refusal, body_heaviness, verify};

/// One source's way in by webhook.
pub(super) struct Webhook {
    source: SourceIntake,
    intake: Intake,
    bounds: Arc<Bounds>,
}

impl Webhook {
    pub(super) fn new(source: SourceIntake, intake: Intake, bounds: Arc<Bounds>) -> Self {
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
        answer(&self.source, pin!(self.receive(request))).await
    }

    async fn receive<B: Body<Data = Bytes>>(&self, request: Request<B>) -> Result<Received, Refused> {
        let (delivery, share) = self.bounds.read(&self.intake, &self.source, request).await?;
        self.bounds.in_time(self.take(delivery, share)).await
    }

    /// Verifies a delivery and makes it durable.
    async fn take(&self, delivery: Delivery, mut share: Share<'_>) -> Result<Received, Refused> {
        let SourceIntake { definition, secrets, tally, .. } = &self.source;
        let heaviness = body_heaviness(&delivery.body);
        let inflate = self.bounds.inflate_of(&self.source);
        let verifying = || verify(definition, secrets, delivery, &inflate);
        let verified = match self.intake.work(heaviness, verifying).await {
            Ok(Receipt::Verified(verified)) => verified,
            Ok(Receipt::Probe) => return Ok(Received::Other("probe")),
            // The provider may be probing before it tells its secret: nothing else is known yet.
            Err(_) if secrets.is_empty() => return Err(Refused::Unauthenticated("no_secret")),
            Err(refusal) => {
                // Clocks that are apart show only here once nothing is accepted any more.
                if let Refusal::OutOfTime { skew_seconds, .. } = refusal {
                    tally.skewed(skew_seconds);
                }
                return Err(refusal.into());
            }
        };
        tally.secret_used(verified.secret);
        if let Some(seconds) = verified.skew_seconds {
            tally.skewed(seconds);
        }
        // It may have been inflated.
        share.grow_to(verified.body.len())?;
        Ok(Received::Answer(self.intake.receive(&self.source, verified).await?))
    }
}
