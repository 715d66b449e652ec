//! The metrics of one source. Handles whose labels are known are looked up once, at the start.
//!
//! A look-up by labels costs a lock and an allocation for each label, which is too much for every
//! delivery. Event families are few and come from the catalogue, so their handles are looked up when a
//! family is first seen, and kept.

use parking_lot::{Mutex, RwLock};
use std::hash::BuildHasher;
use std::time::Duration;

use bytestring::ByteString;
use foldhash::HashMap;
use foldhash::quality::RandomState;
use http::StatusCode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use super::DeliveryFate;
use crate::event::Event;
use crate::provider::Definition;
use crate::telemetry::{
    DurationHistogram, FloatGauge, LogLimit, Metrics, Source, SourceCode, SourceFamilyVerdict, SourceReason,
    TraceId,
};

/// The status codes that a source answers with.
const CODES: [StatusCode; 10] = [
    StatusCode::OK,
    StatusCode::BAD_REQUEST,
    StatusCode::UNAUTHORIZED,
    StatusCode::FORBIDDEN,
    StatusCode::METHOD_NOT_ALLOWED,
    StatusCode::REQUEST_TIMEOUT,
    StatusCode::PAYLOAD_TOO_LARGE,
    StatusCode::UNSUPPORTED_MEDIA_TYPE,
    StatusCode::INTERNAL_SERVER_ERROR,
    StatusCode::SERVICE_UNAVAILABLE,
];

/// How many unsigned ids are remembered, to notice their reuse.
const IDS_REMEMBERED: usize = 1024;

/// The metrics of one source.
#[derive(Debug)]
pub(super) struct SourceMetrics {
    name: String,
    answers: [Counter; CODES.len()],
    ack_duration: DurationHistogram,
    refused: Family<SourceReason, Counter>,
    events: Family<SourceFamilyVerdict, Counter>,
    families: RwLock<HashMap<ByteString, [Counter; DeliveryFate::ALL.len()]>>,
    clock_skew: FloatGauge,
    keyless: Counter,
    id_reuse: Counter,
    stored_again: Counter,
    log_limit: LogLimit,
    id_hash: RandomState,
    ids: Mutex<UnsignedIds>,
}

impl SourceMetrics {
    pub(super) fn new(name: &str, metrics: &Metrics) -> Self {
        let source = || Source { source: name.into() };
        let answers = CODES.map(|code| {
            let labels = SourceCode { source: name.into(), code: code.as_str().into() };
            metrics.requests.get_or_create_owned(&labels)
        });
        Self {
            name: name.into(),
            answers,
            ack_duration: metrics.ack_duration.get_or_create_owned(&source()),
            refused: metrics.refused.clone(),
            events: metrics.events.clone(),
            families: RwLock::default(),
            clock_skew: metrics.clock_skew.get_or_create_owned(&source()),
            keyless: metrics.keyless.get_or_create_owned(&source()),
            id_reuse: metrics.id_reuse.get_or_create_owned(&source()),
            stored_again: metrics.ack.stored_again.get_or_create_owned(&source()),
            log_limit: LogLimit::default(),
            id_hash: RandomState::default(),
            ids: Mutex::new(UnsignedIds::new()),
        }
    }

    /// Counts a request that was answered with this status.
    pub(super) fn answered(&self, code: StatusCode) {
        debug_assert!(CODES.contains(&code), "{code} is not counted");
        if let Some(index) = CODES.iter().position(|known| *known == code) {
            self.answers[index].inc();
        }
    }

    /// Observes how long a delivery took to be acknowledged, and which trace it has.
    pub(super) fn acknowledged(&self, after: Duration, trace: Option<TraceId>) {
        self.ack_duration.observe_traced(after.as_secs_f64(), || trace);
    }

    /// Counts a delivery that was refused before admission; `reason` is from a fixed list. Any sender can
    /// cause refusals, so each reason is logged once a minute.
    pub(super) fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&SourceReason { source: self.name.clone(), reason: reason.into() }).inc();
        if let Some(unsaid) = self.log_limit.admit(reason) {
            tracing::warn!(
                source = self.name,
                reason,
                unsaid,
                "the source refused a delivery for this reason"
            );
        }
    }

    /// Sets the difference between a delivery's signed timestamp and this machine's clock, in seconds.
    pub(super) fn skewed(&self, seconds: i64) {
        self.clock_skew.set(seconds as f64);
    }

    /// Counts an event of this family and its verdict.
    pub(super) fn event(&self, family: &ByteString, fate: DeliveryFate) {
        let families = self.families.read();
        if let Some(counters) = families.get(family) {
            counters[fate as usize].inc();
            return;
        }
        drop(families);
        let counters = DeliveryFate::ALL.map(|verdict| {
            self.events.get_or_create_owned(&SourceFamilyVerdict {
                source: self.name.clone(),
                family: family.to_string(),
                verdict: verdict.as_str().into(),
            })
        });
        counters[fate as usize].inc();
        let mut families = self.families.write();
        families.insert(ByteString::from(&**family), counters);
    }

    /// Notes what is remarkable about an event that was accepted: that it has no partition key, and that the
    /// unsigned id of its delivery is used again.
    pub(super) fn accepted(&self, definition: &Definition, event: &Event) {
        if event.key.is_none() {
            self.keyless.inc();
        }
        if let Some(unsigned) = definition.delivery_id(&event.extensions) {
            let body = definition.identifies_deliveries().then_some(&*event.body);
            self.unsigned_id(unsigned, &event.id, body);
        }
    }

    /// Counts a duplicate whose event was stored once more.
    pub(super) fn stored_again(&self) {
        self.stored_again.inc();
    }

    /// Notes an accepted event whose delivery carried this unsigned id, and counts a reuse: the id with
    /// another event, or, where the id is the event's identity, the body with another id. `body` is given
    /// in that case only.
    fn unsigned_id(&self, unsigned: &str, event: &str, body: Option<&[u8]>) {
        let (unsigned, event) = (self.id_hash.hash_one(unsigned), self.id_hash.hash_one(event));
        let body = body.map(|body| self.id_hash.hash_one(body));
        let mut ids = self.ids.lock();
        let by_id = ids.reused(unsigned, event);
        let by_body = body.is_some_and(|body| ids.reused(body, unsigned));
        drop(ids);
        if by_id || by_body {
            self.id_reuse.inc();
        }
    }
}

/// Hashes of recent unsigned ids with the event that each stood for, and of bodies with the id that each
/// came with. A pair replaces another one in the same slot.
#[derive(Debug)]
struct UnsignedIds {
    slots: Vec<(u64, u64)>,
}

impl UnsignedIds {
    fn new() -> Self {
        Self { slots: vec![(0, 0); IDS_REMEMBERED] }
    }

    /// Whether `what` stood for another thing before; from now on it stands for `stands_for`.
    fn reused(&mut self, what: u64, stands_for: u64) -> bool {
        let slot = &mut self.slots[what as usize % IDS_REMEMBERED];
        let before = std::mem::replace(slot, (what, stands_for));
        before.0 == what && before.1 != stands_for
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unsigned_id_that_stands_for_another_event_is_noticed() {
        let mut ids = UnsignedIds::new();
        let (delivery, event, other) = (1, 2, 3);
        assert!(!ids.reused(delivery, event));
        assert!(!ids.reused(delivery, event), "a retry");
        assert!(ids.reused(delivery, other));
    }

    #[test]
    fn what_is_counted_shows_in_the_metrics() {
        let metrics = Metrics::new();
        let counted = SourceMetrics::new("front", &metrics);
        counted.answered(StatusCode::OK);
        counted.refused("missing");
        for _ in 0..2 {
            counted.event(&"video.call".into(), DeliveryFate::Filtered);
        }
        let text = metrics.render();
        for line in [
            r#"fanbridge_requests_total{source="front",code="200"} 1"#,
            r#"fanbridge_refused_total{source="front",reason="missing"} 1"#,
            r#"fanbridge_events_total{source="front",family="video.call",verdict="filtered"} 2"#,
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}
