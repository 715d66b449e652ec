//! What librdkafka calls back: a record's delivery report, a log line, numbers, a token request.
//!
//! All of it runs on the line's own thread, so a report costs a lock and no allocation. Log lines
//! are limited per kind: a broker that flaps must not fill a disk.

use std::error::Error;
use std::sync::Arc;

use rdkafka::Message;
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel as Level;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{DeliveryResult, ProducerContext};
use serde::Deserialize;

use super::apart::Apart;
use super::complaint::{self, Complaint};
use super::oauth;
use super::outcome::{self, Journey};
use crate::config::BearerToken;
use crate::event::Outcome;
use crate::sink::in_flight::{BatchNumber, InFlight};
use crate::telemetry::{LogLimit, Shown};

const _: () = assert!(usize::BITS == 64, "a batch number and an index share a pointer");
const INDEX_BITS: u32 = 24;

/// A record's place in its batch as the one word that librdkafka carries for us.
pub(super) fn place(batch: BatchNumber, index: usize) -> usize {
    debug_assert!(index < 1 << INDEX_BITS);
    batch << INDEX_BITS | index
}

/// The context of one line.
pub(super) struct LineContext {
    pub sink: Arc<str>,
    pub alone: bool,
    pub in_flight: Arc<InFlight>,
    pub apart: Arc<Apart>,
    pub complaint: Arc<Complaint>,
    pub token: Option<BearerToken>,
    pub log_limit: LogLimit,
}

impl LineContext {
    /// What an error means for a record of this topic.
    pub fn outcome_of(&self, code: RDKafkaErrorCode, topic: &str) -> Outcome {
        let judgement = outcome::judge(code);
        let journey = match self.alone {
            true => Journey::Alone { others_pass: self.apart.takes_some(topic) },
            false => Journey::InCompany,
        };
        if judgement.sets_apart() {
            self.apart.add(topic);
        }
        judgement.outcome(code, journey)
    }
}

impl ProducerContext for LineContext {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, place: usize) {
        let outcome = match result {
            Ok(message) => {
                if self.alone {
                    self.apart.note_taken(message.topic());
                }
                Outcome::Accepted
            }
            Err((error, message)) => {
                let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
                self.outcome_of(code, message.topic())
            }
        };
        self.in_flight.settle(place >> INDEX_BITS, place & ((1 << INDEX_BITS) - 1), outcome);
    }
}

impl ClientContext for LineContext {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: Level, kind: &str, line: &str) {
        // A property that this sink sets itself, so nothing that anybody could change.
        if line.contains("enable.gapless.guarantee is experimental") {
            return;
        }
        if let Some(reason) = complaint::in_log_line(level, kind, line) {
            self.complaint.note(None, reason);
        }
        let Some(unsaid) = self.log_limit.admit(kind) else { return };
        let (sink, line) = (&*self.sink, Shown(line));
        match level {
            Level::Emerg | Level::Alert | Level::Critical | Level::Error => {
                tracing::error!(sink, kind, unsaid, "kafka: {line}");
            }
            Level::Warning => tracing::warn!(sink, kind, unsaid, "kafka: {line}"),
            Level::Notice | Level::Info => tracing::info!(sink, kind, unsaid, "kafka: {line}"),
            Level::Debug => tracing::debug!(sink, kind, unsaid, "kafka: {line}"),
        }
    }

    fn stats_raw(&self, json: &[u8]) {
        if let Ok(Numbers { msg_cnt, msg_size, txmsgs, tx }) = serde_json::from_slice(json) {
            tracing::debug!(
                sink = &*self.sink,
                queued = msg_cnt,
                queued_bytes = msg_size,
                published = txmsgs,
                requests = tx,
                "kafka producer"
            );
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // Each of these also comes as a log line, bar the ones that end a producer, and many times
        // a second: kept for whoever asks why the sink gives no answer.
        tracing::debug!(sink = &*self.sink, "kafka: {error}: {}", Shown(reason));
        self.complaint.note(error.rdkafka_error_code(), reason);
    }

    fn generate_oauth_token(&self, _config: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        oauth::token(self.token.as_ref().ok_or(oauth::NO_TOKEN)?).map_err(|problem| {
            // librdkafka asks again every ten seconds, and repeats an error only when it changes.
            self.complaint.note(Some(RDKafkaErrorCode::Authentication), &problem);
            if let Some(unsaid) = self.log_limit.admit("TOKEN") {
                tracing::error!(sink = &*self.sink, unsaid, "kafka: {problem}");
            }
            problem.into()
        })
    }
}

/// The numbers that are looked at, of the many that librdkafka keeps.
#[derive(Deserialize)]
struct Numbers {
    msg_cnt: u64,
    msg_size: u64,
    txmsgs: u64,
    tx: u64,
}
