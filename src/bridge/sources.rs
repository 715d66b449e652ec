//! Starts the sources: some are endpoints of the public listener, the others poll a queue.

use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::BridgeError;
use super::task::Task;
use crate::ack::AwaitedSinks;
use crate::aws::Aws;
use crate::health::Health;
use crate::provider::BodyLimits;
use crate::source::front::Front;
use crate::source::import::Imports;
use crate::source::secrets::follow_all;
use crate::source::sqs::SqsSource;
use crate::source::{Channel, SourceOptions};
use crate::source::{Intake, SourceIntake};
use crate::telemetry::Metrics;

/// All sources of a bridge.
pub(super) struct Sources {
    /// The endpoints of the sources that are posted to; they do not listen yet.
    pub(super) front: Front,
    /// What takes in saved bodies.
    pub(super) imports: Imports,
    /// The running sources that poll a queue.
    pub(super) pollers: JoinSet<()>,
    /// Reads the files of signing secrets again and again.
    pub(super) secrets: Task,
    /// Tells the polling sources to end when it is dropped.
    pub(super) polling: DropGuard,
}

/// What all sources need to be made.
pub(super) struct Wiring<'a> {
    pub(super) intake: &'a Intake,
    pub(super) limits: BodyLimits,
    pub(super) aws: &'a Aws,
    pub(super) metrics: &'a Metrics,
    pub(super) awaited: &'a AwaitedSinks,
}

impl Wiring<'_> {
    /// Adds the sources that are posted to to the front, and starts those that poll.
    ///
    /// # Errors
    /// When an SNS source is configured and no certificate authority is trusted.
    pub(super) async fn start(
        self,
        configured: Vec<SourceOptions>,
        mut front: Front,
        health: &Health,
    ) -> Result<Sources, BridgeError> {
        let Self { intake, limits, aws, metrics, awaited } = self;
        let (mut pollers, polling) = (JoinSet::new(), CancellationToken::new());
        let (mut files, mut imports) = (Vec::new(), Imports::new(intake.clone(), limits));
        for source in configured {
            let channel = source.channel.clone();
            let ack = awaited.after(&source.ack);
            // What polls a queue holds no connection, and its receives bound it.
            let polls = matches!(channel, Channel::Sqs(_));
            let ack = ack.map(|ack| if polls { ack.unbounded() } else { ack });
            let source = SourceIntake::new(source, metrics).awaiting(ack);
            files.extend(source.secret_files(metrics));
            imports.add(&source, metrics);
            match channel {
                Channel::Webhook => front.add_webhook(source),
                Channel::Sns(topics) => front.add_sns(topics, source, aws, metrics).await?,
                Channel::Sqs(queue) => {
                    let status = health.add_source(source.name());
                    let queue =
                        SqsSource::new(queue, source, intake.clone(), limits, aws, status, metrics).await;
                    pollers.spawn(queue.run(polling.clone()));
                }
            }
        }
        let secrets = Task::spawn("the reader of secrets", |stop| follow_all(files, stop));
        Ok(Sources { front, imports, pollers, secrets, polling: polling.drop_guard() })
    }
}
