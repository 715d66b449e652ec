//! What librdkafka calls back: a record's delivery report, a log line, numbers, a token request.
//!
//! All of it runs on the line's own thread, so a report costs a lock and no allocation. Log lines
//! are limited per kind: a broker that flaps must not fill a disk.

use std::collections::HashMap;
use std::error::Error;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::Message;
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel as Level;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{DeliveryResult, ProducerContext};
use serde::Deserialize;

use super::apart::Apart;
use super::{oauth, outcome};
use crate::event::Outcome;
use crate::sink::in_flight::{BatchNumber, InFlight};

/// The shortest time between two log lines of one kind.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

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
    pub token_file: Option<PathBuf>,
    pub log_limit: LogLimit,
}

impl LineContext {
    /// What an error means for a record of this topic.
    pub fn outcome_of(&self, code: RDKafkaErrorCode, topic: &str) -> Outcome {
        let judgement = outcome::judge(code);
        if judgement.sets_apart() {
            self.apart.add(topic);
        }
        judgement.outcome(code, self.alone)
    }
}

impl ProducerContext for LineContext {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, place: usize) {
        let outcome = match result {
            Ok(_) => Outcome::Accepted,
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
        let Some(unsaid) = self.log_limit.admit(kind) else { return };
        let sink = &*self.sink;
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
        // Each of these also comes as a log line with more detail, bar the ones that end a producer.
        let Some(unsaid) = self.log_limit.admit("ERROR") else { return };
        tracing::warn!(sink = &*self.sink, unsaid, "kafka: {error}: {reason}");
    }

    fn generate_oauth_token(&self, _config: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        let file = self.token_file.as_deref().ok_or("`sasl.oauthbearer.token.file` is not set")?;
        oauth::token_from(file).map_err(|problem| {
            tracing::error!(sink = &*self.sink, "kafka: {problem}");
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

/// Lets one line of a kind through per interval and counts the others.
#[derive(Default)]
pub(super) struct LogLimit {
    /// By kind, which librdkafka has a few dozen of: when the last line was let through, and how
    /// many were not since.
    kinds: Mutex<HashMap<String, (Instant, u64)>>,
}

impl LogLimit {
    /// Whether a line of this kind is due, and how many were left out before it.
    fn admit(&self, kind: &str) -> Option<u64> {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        match kinds.get_mut(kind) {
            Some((said, unsaid)) if now.duration_since(*said) < LOG_INTERVAL => {
                *unsaid += 1;
                None
            }
            Some(entry) => Some(std::mem::replace(entry, (now, 0)).1),
            None => {
                kinds.insert(kind.to_owned(), (now, 0));
                Some(0)
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_of_line_that_repeats_is_said_once_and_counted() {
        let limit = LogLimit::default();
        assert_eq!(limit.admit("FAIL"), Some(0));
        assert_eq!(limit.admit("FAIL"), None);
        assert_eq!(limit.admit("GETPID"), Some(0));
        limit.kinds.lock().unwrap().get_mut("FAIL").unwrap().0 -= LOG_INTERVAL;
        assert_eq!(limit.admit("FAIL"), Some(1));
    }
}
