//! Answers SNS topics that ask, by a message in the queue, whether they may deliver to it. Topics of
//! other accounts do so. A listed topic is confirmed through the service's API, and never by the URL in
//! the message. The question of any other topic becomes a dead letter that says what to do.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use super::message::Question;
use crate::aws::arn::TopicArn;
use crate::source::sns::Subscriptions;
use crate::telemetry::{LogLimit, Metrics, Shown, SourceOutcome};

/// What became of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QuestionOutcome {
    /// The topic delivers here from now on.
    Confirmed,
    /// The service did not take the confirmation now: the message with the question comes back.
    Failed,
    /// The service refuses the confirmation for good, with this code.
    Refused(&'static str),
    /// The topic is not listed under `confirm_topics`.
    NotListed,
}

/// Answers the topics that ask to deliver to one queue.
pub(super) struct TopicQuestions {
    source: String,
    topics: Vec<TopicArn>,
    subscriptions: Subscriptions,
    changes: Family<SourceOutcome, Counter>,
    log_limit: LogLimit,
}

impl TopicQuestions {
    pub(super) fn new(
        source: &str,
        topics: Vec<TopicArn>,
        subscriptions: Subscriptions,
        metrics: &Metrics,
    ) -> Self {
        Self {
            source: source.to_owned(),
            subscriptions,
            topics,
            changes: metrics.subscriptions_of(source, &["confirmed", "failed", "refused"]),
            log_limit: LogLimit::default(),
        }
    }

    pub(super) async fn answer(&self, question: &Question) -> QuestionOutcome {
        let source = &*self.source;
        let Some(topic) = self.topics.iter().find(|topic| *topic.as_str() == *question.topic) else {
            self.changed("refused");
            return QuestionOutcome::NotListed;
        };
        match self.subscriptions.confirm(topic, &question.token).await {
            Ok(()) => {
                tracing::info!(source, %topic, "subscription confirmed: the topic delivers to this queue");
                self.changed("confirmed");
                QuestionOutcome::Confirmed
            }
            Err(unconfirmed) => {
                if let Some(unsaid) = self.log_limit.admit(topic.as_str()) {
                    let problem = Shown(&unconfirmed.problem);
                    tracing::error!(
                        source,
                        %topic,
                        unsaid,
                        "the topic's subscription of this source's queue cannot be confirmed: {problem}"
                    );
                }
                self.changed(if unconfirmed.refused.is_some() { "refused" } else { "failed" });
                unconfirmed.refused.map_or(QuestionOutcome::Failed, QuestionOutcome::Refused)
            }
        }
    }

    fn changed(&self, outcome: &str) {
        let labels = SourceOutcome { source: self.source.clone(), outcome: outcome.into() };
        self.changes.get_or_create(&labels).inc();
    }
}
