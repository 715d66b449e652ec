//! The callbacks of librdkafka: delivery reports, log lines, statistics and requests for a token.
//!
//! They run on the thread of the producer's [`SupervisedProducer`](super::producer::SupervisedProducer), so a
//! delivery report costs one lock and no allocation. The client's own log lines are at level `debug`: when
//! trouble begins or ends, the dispatcher logs one line about the sink.

use std::error::Error;
use std::sync::Arc;

use rdkafka::Message;
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel as Level;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{DeliveryResult, ProducerContext};
use serde::Deserialize;

use super::BearerToken;
use super::complaint::{self, Complaint};
use super::isolated_topics::IsolatedTopics;
use super::oauth;
use super::outcome::{self, Journey};
use super::reach::Reach;
use crate::event::Placement;
use crate::sink::Outcome;
use crate::sink::outcomes::{BatchNumber, OutcomeTable};
use crate::telemetry::{LogLimit, Shown};

const _: () = assert!(usize::BITS == 64, "a batch number and an index share a pointer");
const INDEX_BITS: u32 = 24;

/// A record's batch number and index, packed into the one word that librdkafka returns with the
/// report.
pub(super) fn place(batch: BatchNumber, index: usize) -> usize {
    debug_assert!(index < 1 << INDEX_BITS);
    batch << INDEX_BITS | index
}

/// The state that all producers of one sink share.
#[derive(Clone)]
pub(super) struct SinkContext {
    pub sink: Arc<str>,
    pub outcomes: Arc<OutcomeTable>,
    pub isolated: Arc<IsolatedTopics>,
    pub complaint: Arc<Complaint>,
    pub reach: Arc<Reach>,
    pub token: Option<BearerToken>,
}

impl SinkContext {
    /// The initial state of the sink of this name.
    pub fn new(sink: &str, token: Option<BearerToken>) -> Self {
        Self {
            sink: sink.into(),
            outcomes: Arc::default(),
            isolated: Arc::default(),
            complaint: Arc::default(),
            reach: Arc::default(),
            token,
        }
    }

    /// A function that makes the context of each producer, one after the other.
    pub fn contexts(&self, single: bool) -> impl Fn() -> CallbackContext + Send + Sync + use<> {
        let common = self.clone();
        move || CallbackContext { common: common.clone(), single, log_limit: LogLimit::default() }
    }
}

/// The context of one producer.
pub(super) struct CallbackContext {
    pub common: SinkContext,
    single: bool,
    log_limit: LogLimit,
}

impl CallbackContext {
    /// The outcome of a record of this topic that got this error.
    pub fn outcome_of(&self, code: RDKafkaErrorCode, topic: &str) -> Outcome {
        let journey = match self.single {
            true => Journey::Single { others_pass: self.common.isolated.takes_some(topic) },
            false => Journey::Batched,
        };
        outcome::judge(code).outcome(code, journey)
    }
}

impl ProducerContext for CallbackContext {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, place: usize) {
        let settle = |outcome| {
            self.common.outcomes.settle(place >> INDEX_BITS, place & ((1 << INDEX_BITS) - 1), outcome);
        };
        match result {
            Ok(message) => {
                if self.single {
                    self.common.isolated.note_taken(message.topic());
                }
                settle(Outcome::Accepted(Placement::offset(message.partition(), message.offset())));
            }
            Err((error, message)) => {
                let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
                settle(self.outcome_of(code, message.topic()));
                // Only now: whoever sees that the topic is isolated sees the failure, too.
                if outcome::judge(code).isolates_topic() {
                    self.common.isolated.add(message.topic());
                }
            }
        }
    }
}

impl ClientContext for CallbackContext {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: Level, kind: &str, line: &str) {
        // fanbridge sets this property itself, so the warning asks nothing of the operator.
        if line.contains("enable.gapless.guarantee is experimental") {
            return;
        }
        if let Some(reason) = complaint::in_log_line(level, kind, line) {
            self.common.complaint.note(None, reason);
        }
        let (sink, line) = (&*self.common.sink, Shown(line));
        // Properties that contradict each other: no other message reports that.
        if kind == "CONFWARN" {
            tracing::warn!(sink, "the Kafka client warns about the configured properties: {line}");
        } else {
            tracing::debug!(sink, kind, ?level, "Kafka client: {line}");
        }
    }

    fn stats_raw(&self, json: &[u8]) {
        if let Ok(Numbers { msg_cnt, msg_size, txmsgs, tx }) = serde_json::from_slice(json) {
            tracing::debug!(
                sink = &*self.common.sink,
                queued = msg_cnt,
                queued_bytes = msg_size,
                published = txmsgs,
                requests = tx,
                "statistics of the Kafka producer"
            );
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // Such errors come many times a second: they explain a sink that gives no answer.
        tracing::debug!(sink = &*self.common.sink, "Kafka client: {error}: {}", Shown(reason));
        self.common.complaint.note(error.rdkafka_error_code(), reason);
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            self.common.reach.doubt();
        }
    }

    fn generate_oauth_token(&self, _config: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        oauth::token(self.common.token.as_ref().ok_or(oauth::NO_TOKEN)?).map_err(|problem| {
            // librdkafka asks again every ten seconds, and reports an error only when it changes.
            self.common.complaint.note(Some(RDKafkaErrorCode::Authentication), &problem);
            if let Some(unsaid) = self.log_limit.admit("TOKEN") {
                tracing::error!(
                    sink = &*self.common.sink,
                    unsaid,
                    "the sink has no valid OAuth token for its Kafka brokers: {problem}"
                );
            }
            problem.into()
        })
    }
}

/// The logged ones of librdkafka's statistics.
#[derive(Deserialize)]
struct Numbers {
    msg_cnt: u64,
    msg_size: u64,
    txmsgs: u64,
    tx: u64,
}
