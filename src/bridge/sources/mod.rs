//! The sources: some are endpoints of the public listener, the others poll a queue. A change of the
//! configuration swaps them: what can fail is prepared first, and then all of them are swapped at once.
//!
//! A source that stays as it is keeps its secrets with their former versions, its counts and its bounds, and
//! only gets another intake. Every delivery is judged by one configuration: that of the endpoint that it
//! found, or, of a queue's message, that of its receive.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use bytestring::ByteString;
use tokio::time::Instant;

use super::BridgeError;
use super::parts::Parts;
use super::readmission::CurrentRules;
use super::summary::ConfigurationView;
use crate::ack::AwaitedSinks;
use crate::admin::AdminState;
use crate::aws::Aws;
use crate::config::Config;
use crate::health::{Health, SourceStatus};
use crate::provider::BodyLimits;
use crate::source::front::{Front, OpenFront};
use crate::source::http::tls::{ReadCertificate, Tls};
use crate::source::import::Imports;
use crate::source::sns::{SnsClients, SnsSourceOptions};
use crate::source::sqs::{QueueClients, QueueIntake, SqsOptions, SqsSource};
use crate::source::{Channel, Intake, SourceIntake, SourceOptions};
use crate::telemetry::{Metrics, Source};

/// All sources of a bridge.
pub(super) struct Sources {
    surroundings: Surroundings,
    front: OpenFront,
    intake: Intake,
    imports: Arc<Imports>,
    running: BTreeMap<ByteString, RunningSource>,
    /// Receive from queues.
    pollers: Parts,
    /// Follow the secrets.
    secrets: Parts,
}

/// What all sources need to be made, whatever is configured.
pub(super) struct Surroundings {
    pub(super) limits: BodyLimits,
    pub(super) aws: Aws,
    pub(super) metrics: Arc<Metrics>,
    pub(super) health: Arc<Health>,
    pub(super) awaited: AwaitedSinks,
    /// The certificate of the public listener, which is read again with each change.
    pub(super) tls: Option<Tls>,
    /// Is told of each change, and so are these rules.
    pub(super) admin: AdminState,
    pub(super) rules: CurrentRules,
}

struct RunningSource {
    source: Arc<SourceIntake>,
    queue: Option<RunningQueue>,
}

struct RunningQueue {
    status: Arc<SourceStatus>,
    intake: QueueIntake,
}

/// Sources that can be swapped in. As long as they are not, nothing has changed.
pub(super) struct PreparedSources {
    intake: Intake,
    sources: Vec<PreparedSource>,
    certificate: Option<ReadCertificate>,
    view: ConfigurationView,
}

enum PreparedSource {
    /// The source of this name stays as it is.
    Kept(ByteString),
    /// The source is new, or takes the place of one of its name.
    Made(Box<(SourceOptions, PreparedChannel)>),
}

enum PreparedChannel {
    Webhook,
    Sns(SnsSourceOptions, SnsClients),
    Sqs(SqsOptions, Box<QueueClients>),
}

impl Sources {
    /// No sources yet, behind this front.
    pub(super) fn new(front: OpenFront, intake: Intake, surroundings: Surroundings) -> Self {
        Self {
            imports: Arc::new(Imports::new(intake.clone(), surroundings.limits)),
            surroundings,
            front,
            intake,
            running: BTreeMap::new(),
            pollers: Parts::new("a source that polls"),
            secrets: Parts::new("the reader of secrets"),
        }
    }

    /// What takes saved bodies in.
    pub(super) fn imports(&self) -> Arc<Imports> {
        Arc::clone(&self.imports)
    }

    /// Prepares the sources of a configuration, which are to be swapped in. Those of which `unchanged` says
    /// so, by their names, stay as they are; a source is unchanged only if its provider's definition is, too.
    ///
    /// # Errors
    /// When an SNS source is wanted and no certificate authority is trusted, or when the certificate of the
    /// public listener cannot be used.
    pub(super) async fn prepare(
        &self,
        config: &Config,
        unchanged: &(dyn Fn(&str) -> bool + Sync),
    ) -> Result<PreparedSources, BridgeError> {
        let certificate = self.read_certificate().await?;
        let mut sources = Vec::with_capacity(config.sources.len());
        for options in config.sources.iter().cloned() {
            sources.push(if self.running.contains_key(&options.name) && unchanged(&options.name) {
                PreparedSource::Kept(options.name)
            } else {
                let channel = self.prepare_channel(&options.channel).await?;
                PreparedSource::Made(Box::new((options, channel)))
            });
        }
        let intake = self.intake.clone().under(config.selection.clone(), config.fingerprint);
        Ok(PreparedSources { intake, sources, certificate, view: ConfigurationView::of(config) })
    }

    async fn read_certificate(&self) -> Result<Option<ReadCertificate>, BridgeError> {
        let Some(tls) = self.surroundings.tls.clone() else { return Ok(None) };
        match tokio::task::spawn_blocking(move || tls.read_again()).await {
            Ok(read) => Ok(Some(read?)),
            Err(broken) => std::panic::resume_unwind(broken.into_panic()),
        }
    }

    async fn prepare_channel(&self, channel: &Channel) -> Result<PreparedChannel, BridgeError> {
        let aws = &self.surroundings.aws;
        Ok(match channel {
            Channel::Webhook => PreparedChannel::Webhook,
            Channel::Sns(topics) => PreparedChannel::Sns(topics.clone(), SnsClients::new(topics, aws).await?),
            Channel::Sqs(queue) => {
                PreparedChannel::Sqs(queue.clone(), Box::new(QueueClients::new(queue, aws).await))
            }
        })
    }

    /// Swaps the prepared sources in, and ends those that are gone. Whoever asks for the configuration gets
    /// the new one from now on. A delivery that was begun before goes on as it began; a queue that is gone or
    /// changed is left once the messages in hand are finished.
    pub(super) fn swap(&mut self, prepared: PreparedSources) {
        let PreparedSources { intake, sources, certificate, view } = prepared;
        let mut next = NextSources {
            front: self.front.begin(intake.clone()),
            imports: Imports::new(intake.clone(), self.surroundings.limits),
            running: BTreeMap::new(),
            statuses: Vec::new(),
            begun: Vec::new(),
        };
        for source in sources {
            match source {
                PreparedSource::Kept(name) => self.keep(&mut next, name, &intake),
                PreparedSource::Made(made) => self.make(&mut next, *made, &intake),
            }
        }
        let NextSources { front, imports, running, statuses, begun } = next;
        self.front.swap(front);
        self.imports = Arc::new(imports);
        if let (Some(tls), Some(certificate)) = (&self.surroundings.tls, certificate) {
            tls.take(certificate);
        }
        let Surroundings { health, admin, rules, .. } = &self.surroundings;
        health.replace_sources(statuses);
        rules.replace(view.rules);
        admin.reconfigure(view.summary, Arc::clone(&self.imports), SystemTime::now().into());
        // What is still in `self.running` is gone or replaced.
        let before = std::mem::replace(&mut self.running, running);
        self.leave(&before);
        for (name, queue) in begun {
            self.begin(&name, queue);
        }
        self.intake = intake;
    }

    /// Takes a source over as it is.
    fn keep(&mut self, next: &mut NextSources, name: ByteString, intake: &Intake) {
        let Some(kept) = self.running.remove(&name) else { return };
        next.front.keep(&name);
        next.imports.add(&kept.source, &self.surroundings.metrics);
        if let Some(RunningQueue { status, intake: queue }) = &kept.queue {
            queue.replace(intake.clone());
            next.statuses.push(Arc::clone(status));
        }
        next.running.insert(name, kept);
    }

    /// Makes a source, which begins with the swap.
    fn make(
        &self,
        next: &mut NextSources,
        (options, channel): (SourceOptions, PreparedChannel),
        intake: &Intake,
    ) {
        let Surroundings { limits, metrics, awaited, .. } = &self.surroundings;
        let (name, ack) = (options.name.clone(), awaited.after(&options.ack));
        // What polls a queue holds no connection, and its receives bound it.
        let polls = matches!(channel, PreparedChannel::Sqs(..));
        let ack = ack.map(|ack| if polls { ack.unbounded() } else { ack });
        let source = match self.running.get(&name) {
            Some(former) => former.source.replaced_by(options, metrics, SystemTime::now().into()),
            None => SourceIntake::new(options, metrics),
        };
        let source = Arc::new(source.awaiting(ack));
        next.imports.add(&source, metrics);
        let (mut queue, mut poller) = (None, None);
        match channel {
            PreparedChannel::Webhook => next.front.add_webhook(Arc::clone(&source)),
            PreparedChannel::Sns(topics, clients) => {
                next.front.add_sns(topics, clients, Arc::clone(&source), metrics);
            }
            PreparedChannel::Sqs(options, clients) => {
                let status = Arc::new(SourceStatus::new(&name));
                next.statuses.push(Arc::clone(&status));
                let (source, status_of) = (Arc::clone(&source), Arc::clone(&status));
                let made =
                    SqsSource::new(options, *clients, source, intake.clone(), *limits, status_of, metrics);
                queue = Some(RunningQueue { status, intake: made.intake() });
                poller = Some(made);
            }
        }
        next.begun.push((name.clone(), poller));
        next.running.insert(name, RunningSource { source, queue });
    }

    /// Ends what former sources run and no source of their name goes on with, and removes what the metrics
    /// say of how they stand. What they have counted stays.
    fn leave(&mut self, before: &BTreeMap<ByteString, RunningSource>) {
        let metrics = &self.surroundings.metrics;
        for (name, former) in before {
            let now = self.running.get(name);
            if former.queue.is_some() && now.is_none_or(|now| now.queue.is_none()) {
                self.pollers.end(name);
                SqsSource::remove_gauges(name, metrics);
            }
            self.secrets.end(name);
            if now.is_none() {
                metrics.clock_skew.remove(&Source { source: name.to_string() });
            }
        }
    }

    /// Begins to follow the secrets of a new source, and to receive from its queue.
    fn begin(&mut self, name: &ByteString, queue: Option<SqsSource>) {
        if let Some(queue) = queue {
            self.pollers.begin(name, |stop| queue.run(stop));
        }
        let source = self.running.get(name).map(|running| &running.source);
        let Surroundings { aws, metrics, .. } = &self.surroundings;
        if let Some(watch) = source.and_then(|source| source.secret_watch(aws, metrics)) {
            self.secrets.begin(name, |stop| watch.run(stop));
        }
    }

    /// Resolves if a part of a source ends without being told to.
    pub(super) async fn broken(&mut self) -> BridgeError {
        tokio::select! {
            broken = self.pollers.broken() => broken,
            broken = self.secrets.broken() => broken,
        }
    }

    /// Tells the sources that poll to receive nothing more.
    pub(super) fn end_polling(&mut self) {
        self.pollers.end_all();
    }

    /// Ends all sources. Messages that a polling source has not finished by the deadline come back from its
    /// queue.
    ///
    /// # Errors
    /// When a part of one panics.
    pub(super) async fn end(self, deadline: Instant) -> Result<(), BridgeError> {
        let ended = self.secrets.ended(deadline).await;
        ended.and(self.pollers.ended(deadline).await)
    }

    /// How many tasks poll and follow secrets.
    #[cfg(test)]
    pub(super) fn tasks(&mut self) -> (usize, usize) {
        (self.pollers.tasks(), self.secrets.tasks())
    }
}

/// Sources while they are swapped in.
struct NextSources {
    front: Front,
    imports: Imports,
    running: BTreeMap<ByteString, RunningSource>,
    /// Of the sources that poll, in the order of the configuration.
    statuses: Vec<Arc<SourceStatus>>,
    /// The sources that begin, with what polls if they do.
    begun: Vec<(ByteString, Option<SqsSource>)>,
}

#[cfg(test)]
mod tests;
