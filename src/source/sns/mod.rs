//! The SNS source: topics deliver over HTTP to `/in/{source}`, and the signature of a message is checked
//! before anything in the message is believed.
//!
//! The checks go from cheap to costly. The head is checked before the body is read. Then the message
//! alone is checked: its form, its topic against the configured list, the URL of its certificate against
//! the only form that SNS writes, its age. Only then is a certificate fetched, and only the signature
//! proves the message genuine. A subscription is confirmed through the service's API; no URL in a message
//! is ever followed. Overload is answered 503 and never 4xx, because SNS gives up on a message at 4xx.

mod certificate;
mod certificates;
mod claim;
mod envelope;
mod fetch;
pub mod options;
mod origin;
mod passwords;
mod raw;
mod subscription;

pub use options::{CertificateDouble, RawDelivery, SnsSourceOptions};

use std::pin::pin;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use bytestring::ByteString;
use http::{HeaderMap, Request, Response};
use http_body::Body;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

pub use self::fetch::TrustError;
pub(in crate::source) use self::subscription::Subscriptions;

use self::certificates::Certificates;
use self::claim::{SignatureClaim, TOPIC_HEADER, other_topic, stated_kind, stated_topic};
use self::envelope::{Envelope, EnvelopeKind, Reading};
use self::fetch::{CertificateError, Fetcher};
use self::passwords::Passwords;
use super::answer::{DeliveryBounds, Received, Refused, answer};
use super::http::body_budget::BodyPermit;
use super::http::networks::stranger;
use super::refusals::Evidence;
use super::traced::SentContext;
use super::turns::Weight;
use super::{Circumstances, Intake, SourceIntake};
use crate::aws::Aws;
use crate::aws::arn::TopicArn;
use crate::event::{Delivery, HeaderClaims, Timestamp, Verified, single_header};
use crate::provider::{decode_message, message_heaviness, topic_extensions};
use crate::telemetry::{LogLimit, Metrics, Shown, SourceOutcome};

/// The header with a raw delivery's message id.
const MESSAGE_ID_HEADER: &str = "x-amz-sns-message-id";

/// One SNS source: the endpoint to which its topics deliver.
#[derive(Clone)]
pub(super) struct SnsSource {
    source: Arc<SourceIntake>,
    intake: Intake,
    bounds: Arc<DeliveryBounds>,
    config: SnsSourceOptions,
    passwords: Passwords,
    certificates: Certificates,
    subscriptions: Subscriptions,
    changes: Family<SourceOutcome, Counter>,
    log_limit: Arc<LogLimit>,
}

/// What an SNS source asks other hosts with.
pub struct SnsClients {
    fetcher: Fetcher,
    subscriptions: Subscriptions,
}

impl SnsClients {
    /// Clients for a source with these options. They make no call yet.
    ///
    /// # Errors
    /// When no certificate authority is trusted.
    pub async fn new(options: &SnsSourceOptions, aws: &Aws) -> Result<Self, TrustError> {
        let fetcher = Fetcher::new(options.certificate_double.as_ref())?;
        Ok(Self { fetcher, subscriptions: Subscriptions::new(&options.topics, aws).await })
    }
}

impl SnsSource {
    pub(super) fn new(
        config: SnsSourceOptions,
        clients: SnsClients,
        source: Arc<SourceIntake>,
        intake: Intake,
        bounds: Arc<DeliveryBounds>,
        metrics: &Metrics,
    ) -> Self {
        let SnsClients { fetcher, subscriptions } = clients;
        Self {
            certificates: Certificates::new(source.name(), fetcher, metrics.sns_certificates.clone()),
            passwords: Passwords::new(config.raw.clone()),
            subscriptions,
            changes: metrics.subscriptions_of(source.name(), &["confirmed", "failed", "refused", "ended"]),
            log_limit: Arc::default(),
            source,
            intake,
            bounds,
            config,
        }
    }

    /// The same endpoint, whose deliveries another intake takes.
    pub(super) fn taken_by(&self, intake: Intake) -> Self {
        Self { intake, ..self.clone() }
    }

    /// The same source in the place of a former one of its name: it keeps the certificates that were fetched,
    /// and takes a former password for ten more minutes.
    pub(super) fn in_place_of(self, former: &Self, now: Timestamp) -> Self {
        let passwords = self.passwords.in_place_of(&former.passwords, now);
        let is_fetched_alike = self.config.certificate_double == former.config.certificate_double;
        let certificates = if is_fetched_alike { former.certificates.clone() } else { self.certificates };
        Self { passwords, certificates, ..self }
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
        answer(&self.source, &self.intake, &evidence, receiving).await
    }

    async fn receive<B: Body<Data = Bytes>>(
        &self,
        evidence: &Evidence<'_>,
        body: B,
    ) -> Result<Received, Refused> {
        let headers = evidence.headers;
        self.judge_head(headers)?;
        let (delivery, permit) = self.bounds.read(&self.intake, &self.source, headers, body).await?;
        self.bounds.in_time(pin!(self.take(delivery, permit, evidence))).await
    }

    /// Refuses what the head alone shows to be unwanted, before the body is read. A head proves nothing: the
    /// body and its signature are checked later.
    fn judge_head(&self, headers: &HeaderMap) -> Result<(), Refused> {
        let kind = stated_kind(headers).ok_or(Refused::Unread("message_type"))?;
        if raw::is_marked(headers) {
            return self.raw_topic(headers).map(drop);
        }
        if stated_topic(headers, &self.config.topics).is_none() {
            let refused = Refused::Forbidden(other_topic(kind));
            self.report_refusal(refused, kind, single_header(headers, TOPIC_HEADER).unwrap_or("none"));
            return Err(refused);
        }
        Ok(())
    }

    async fn take(
        &self,
        delivery: Delivery<'_>,
        permit: BodyPermit<'_>,
        evidence: &Evidence<'_>,
    ) -> Result<Received, Refused> {
        let Delivery { headers, body, arrived } = delivery;
        if raw::is_marked(headers) {
            return self.take_raw(headers, body, arrived, permit).await;
        }
        let reading = || Envelope::read(&body);
        let refused = match self.intake.work_unproven(Weight::plain(body.len()), reading).await? {
            Reading::Envelope(envelope) => match self.verify(&envelope, headers, arrived).await {
                Ok(topic) => return self.take_envelope(*envelope, topic, (arrived, &body), permit).await,
                Err(refused) => {
                    self.report_refusal(refused, envelope.kind, &envelope.topic_arn);
                    refused
                }
            },
            Reading::Forged(reason) => Refused::Forbidden(reason),
            Reading::Other => return self.take_raw(headers, body, arrived, permit).await,
        };
        // Strangers take no turn for what is not noted.
        if self.intake.steps.is_on() && evidence.noted().is_some() {
            // Without a turn for it there is no digest, and the same answer.
            let _ = self.intake.work_unproven(Weight::plain(body.len()), || evidence.digest(&body)).await;
        }
        Err(refused)
    }

    async fn take_envelope(
        &self,
        envelope: Envelope,
        topic: &TopicArn,
        (arrived, posted): (Timestamp, &[u8]),
        mut permit: BodyPermit<'_>,
    ) -> Result<Received, Refused> {
        permit.prove();
        match envelope.kind {
            EnvelopeKind::Notification => {
                let extensions = topic_extensions(topic.as_str(), Some(&envelope.message_id));
                self.keep(envelope.message, extensions, (arrived, posted), permit).await
            }
            EnvelopeKind::SubscriptionConfirmation => self.confirm(topic, envelope.token.as_deref()).await,
            EnvelopeKind::UnsubscribeConfirmation => Ok(self.note_end(topic)),
        }
    }

    /// Checks that an envelope is genuine; returns the topic that sent it.
    async fn verify(
        &self,
        envelope: &Envelope,
        headers: &HeaderMap,
        arrived: Timestamp,
    ) -> Result<&TopicArn, Refused> {
        let claim =
            SignatureClaim::read(envelope, headers, arrived, &self.config).map_err(Refused::Forbidden)?;
        let stranger = stranger().map(|network| network.site());
        let certificate = self.certificates.get(&claim.certificate, stranger, arrived).await?;
        let signed = || certificate.has_signed(&envelope.signed_text(), &claim);
        let signed = self.intake.work_unproven(Weight::plain(envelope.message.len()), signed).await?;
        signed.then_some(claim.topic).ok_or(Refused::Forbidden("signature"))
    }

    /// Takes a raw delivery, which has a password in place of a signature.
    async fn take_raw(
        &self,
        headers: &HeaderMap,
        body: Bytes,
        arrived: Timestamp,
        mut permit: BodyPermit<'_>,
    ) -> Result<Received, Refused> {
        let topic = self.raw_topic(headers)?;
        permit.prove();
        let extensions = topic_extensions(topic.as_str(), single_header(headers, MESSAGE_ID_HEADER));
        match ByteString::try_from(body.clone()) {
            Ok(message) => self.keep(message, extensions, (arrived, &[]), permit).await,
            // A body that is not UTF-8 cannot be an event: admission quarantines it.
            Err(_) => self.admit(body, extensions, (arrived, &[])).await,
        }
    }

    /// The listed topic that a raw delivery comes from, if the delivery carries the password.
    fn raw_topic(&self, headers: &HeaderMap) -> Result<&TopicArn, Refused> {
        if self.config.raw.is_none() {
            return Err(Refused::Unread("not_an_envelope"));
        }
        if !self.passwords.know(headers, SystemTime::now().into()) {
            return Err(Refused::Challenged("password"));
        }
        let topic = stated_topic(headers, &self.config.topics);
        let topic = topic.ok_or(Refused::Forbidden(other_topic(EnvelopeKind::Notification)));
        let stated = single_header(headers, TOPIC_HEADER).unwrap_or("none");
        topic.inspect_err(|refused| self.report_refusal(*refused, EnvelopeKind::Notification, stated))
    }

    /// Makes a published message durable. `posted` is the envelope that it came in, if it came in one.
    async fn keep(
        &self,
        message: ByteString,
        extensions: Vec<(ByteString, ByteString)>,
        (arrived, posted): (Timestamp, &[u8]),
        mut permit: BodyPermit<'_>,
    ) -> Result<Received, Refused> {
        let decoding = || decode_message(message.clone(), &self.bounds.inflate_of(&self.source));
        match self.intake.work(message_heaviness(&message), decoding).await {
            Ok(body) => {
                drop(message);
                permit.grow_to(body.len())?;
                self.admit(body, extensions, (arrived, posted)).await
            }
            Err(refusal) => {
                let verified = verified(message.into_bytes(), extensions, arrived);
                self.quarantine(verified, refusal.word()).await
            }
        }
    }

    /// Quarantines, undecoded, an authentic message that cannot be decoded.
    async fn quarantine(&self, verified: Verified, word: &'static str) -> Result<Received, Refused> {
        let (arrived, bytes) = (verified.arrived, verified.body.len());
        let deciding = || self.source.view.undecodable(verified, word);
        let verdict = self.intake.work(bytes, deciding).await;
        let about = Circumstances { arrived, bytes, secret: None, trace: None };
        Ok(Received::Answer(self.intake.keep(&self.source, verdict, about).await?))
    }

    async fn admit(
        &self,
        body: Bytes,
        extensions: Vec<(ByteString, ByteString)>,
        (arrived, posted): (Timestamp, &[u8]),
    ) -> Result<Received, Refused> {
        let verified = verified(body, extensions, arrived);
        let sent = || SentContext::of_envelope(posted);
        Ok(Received::Answer(self.intake.receive(&self.source, verified, None, sent).await?))
    }

    async fn confirm(&self, topic: &TopicArn, token: Option<&str>) -> Result<Received, Refused> {
        let source: &str = self.source.name();
        match self.subscriptions.confirm(topic, token.unwrap_or_default()).await {
            Ok(()) => {
                tracing::info!(source, %topic, "subscription confirmed: the topic delivers to this source");
                self.changed("confirmed");
                Ok(Received::Other("confirmed"))
            }
            Err(unconfirmed) => {
                if let Some(unsaid) = self.log_limit.admit(topic.as_str()) {
                    let problem = Shown(&unconfirmed.problem);
                    tracing::error!(
                        source,
                        %topic,
                        unsaid,
                        "the topic's subscription to this source cannot be confirmed: {problem}"
                    );
                }
                self.changed("failed");
                Err(Refused::Unavailable("confirmation"))
            }
        }
    }

    /// Reports that a topic no longer delivers to this source; a person decides whether that was intended.
    fn note_end(&self, topic: &TopicArn) -> Received {
        let source: &str = self.source.name();
        if let Some(unsaid) = self.log_limit.admit("ended") {
            tracing::warn!(
                source,
                %topic,
                unsaid,
                "subscription ended: the topic no longer delivers to this source. If that was not \
                 intended, subscribe it again"
            );
        }
        self.changed("ended");
        Received::Other("unsubscribed")
    }

    /// Counts a subscription that was refused, and logs a topic that is not listed: this log line is the
    /// only place that names it, and the operator may have to list it. Anybody can post such a message with
    /// any name.
    fn report_refusal(&self, refused: Refused, kind: EnvelopeKind, arn: &str) {
        if kind == EnvelopeKind::SubscriptionConfirmation && matches!(refused, Refused::Forbidden(_)) {
            self.changed("refused");
        }
        let Refused::Forbidden(reason @ ("other_topic" | "subscription_of_other_topic")) = refused else {
            return;
        };
        if let Some(unsaid) = self.log_limit.admit(reason) {
            let (source, topic): (&str, _) = (self.source.name(), Shown(arn));
            tracing::warn!(
                source, %topic, reason, unsaid,
                "a message was refused because its topic is not listed for this source (anybody can write \
                 such a message): if the topic is yours, add it to `sns.topics`"
            );
        }
    }

    fn changed(&self, outcome: &str) {
        let labels = SourceOutcome { source: self.source.name().to_string(), outcome: outcome.into() };
        self.changes.get_or_create(&labels).inc();
    }
}

impl From<CertificateError> for Refused {
    fn from(error: CertificateError) -> Self {
        match error {
            CertificateError::Unavailable(reason) => Self::Unavailable(reason),
            CertificateError::Untrusted(reason) => Self::Forbidden(reason),
        }
    }
}

/// A message that SNS, or the password of a raw delivery, vouches for.
fn verified(body: Bytes, extensions: Vec<(ByteString, ByteString)>, arrived: Timestamp) -> Verified {
    let stated = HeaderClaims { extensions, ..HeaderClaims::default() };
    Verified { body, stated, secret: 0, skew_seconds: None, arrived }
}

#[cfg(test)]
mod tests;
