//! Records to publish, what a reader finds of them, and a dispatcher's patience in between.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use fanbridge::event::{Event, EventTime, Position, Record, Timestamp};
use fanbridge::sink::{Cause, Outcome, Reason, Sink};
use serde_json::value::RawValue;

/// A published record as a reader finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub key: Option<String>,
    /// CloudEvents attributes by name, and `content-type`.
    pub attributes: BTreeMap<String, String>,
    pub body: Bytes,
}

impl Seen {
    pub fn sequence(&self) -> u64 {
        self.attributes["sequence"].parse().unwrap()
    }

    /// What a structured CloudEvent says.
    pub fn structured(document: &str) -> Self {
        let mut members: BTreeMap<String, Box<RawValue>> = serde_json::from_str(document).unwrap();
        let body = match (members.remove("data"), members.remove("data_base64")) {
            // Cut out of the text: a parser would leave out the blanks around it.
            (Some(_), None) => {
                let (_, rest) =
                    document.split_once(r#""datacontenttype":"application/json","data":"#).unwrap();
                rest.strip_suffix('}').unwrap().to_owned().into()
            }
            (None, Some(bytes)) => {
                STANDARD.decode(serde_json::from_str::<String>(bytes.get()).unwrap()).unwrap().into()
            }
            both => panic!("exactly one of data and data_base64: {both:?}"),
        };
        let text = |raw: &RawValue| serde_json::from_str(raw.get()).unwrap_or_else(|_| raw.get().to_owned());
        let attributes: BTreeMap<String, String> =
            members.iter().map(|(name, raw)| (name.clone(), text(raw))).collect();
        Self { key: attributes.get("partitionkey").cloned(), attributes, body }
    }
}

/// Reads a topic from its beginning.
pub trait Reader {
    /// All records of the topic, once there are at least `count`; panics if that takes too long.
    fn read(&self, topic: &str, count: usize) -> Vec<Seen>;
}

/// A record whose body names its position.
pub fn record(topic: &str, position: u64, key: Option<&str>) -> Arc<Record> {
    Arc::new(Record {
        position: Position(position),
        topic: topic.into(),
        event: Arc::new(Event {
            id: format!("id-{position}").into(),
            source: "/stream/default".into(),
            event_type: "call.ring".into(),
            provider: "stream".into(),
            family: "video".into(),
            source_name: "stream-video".into(),
            key: key.map(Into::into),
            subject: key.map(Into::into),
            time: EventTime::Stated("2025-11-21T07:20:00.123456789Z".into()),
            arrived: Timestamp(1_763_709_600_000_000_000),
            configuration: None,
            extensions: vec![("webhookid".into(), "w-1".into())],
            only_sink: None,
            body: format!(r#"{{"type":"call.ring", "n":{position}}}"#).into(),
        }),
    })
}

/// A record whose body is JSON of this many bytes, of the kind that no codec makes much smaller.
pub fn large_record(topic: &str, position: u64, key: &str, bytes: usize) -> Arc<Record> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut state = 1_u64;
    let noise = (0..bytes - 8).map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(DIGITS[(state >> 58) as usize])
    });
    let mut record = record(topic, position, Some(key));
    let event = Arc::make_mut(&mut Arc::make_mut(&mut record).event);
    event.body = format!(r#"{{"x":"{}"}}"#, noise.collect::<String>()).into();
    record
}

/// How many copies there are beyond the first of each record.
///
/// Asserts that it is these records, no others, and that the first ones of each key ascend.
pub fn copies_of_all_in_order(seen: &[Seen], records: impl Iterator<Item = u64>) -> u64 {
    let mut last_by_key = BTreeMap::new();
    let mut known = BTreeSet::new();
    for one in seen.iter().filter(|one| known.insert(one.sequence())) {
        let last = last_by_key.insert(one.key.clone(), one.sequence());
        assert!(last < Some(one.sequence()), "{:?}: {} after {last:?}", one.key, one.sequence());
    }
    let records: BTreeSet<u64> = records.collect();
    let differ: Vec<_> = known.symmetric_difference(&records).take(10).collect();
    assert!(differ.is_empty(), "missing, or never published: {differ:?}, and maybe more");
    (seen.len() - known.len()) as u64
}

/// Asserts that these are the outcomes of so many records, and that each was accepted, wherever it is.
#[track_caller]
pub fn assert_all_accepted(outcomes: &[Outcome], count: usize) {
    assert_eq!(outcomes.len(), count, "{outcomes:?}");
    assert!(outcomes.iter().all(Outcome::is_accepted), "{outcomes:?}");
}

/// Asserts that a batch of one key goes again, for the reason `word`.
///
/// That is the first record's reason. Each one behind it has the same, or was held: the client may
/// report the first while the batch is still being handed over.
pub fn assert_put_off(outcomes: &[Outcome], word: &str) {
    for (index, outcome) in outcomes.iter().enumerate() {
        let expected = |reason: &Reason| reason.word() == word || (index > 0 && reason.cause == Cause::HELD);
        assert!(matches!(outcome, Outcome::Retry(reason) if expected(reason)), "{index}: {outcomes:?}");
    }
}

/// Publishes as a dispatcher does: what goes again is published again, in order, until every
/// record is accepted or rejected. Returns the last outcomes and every reason to go again.
pub async fn publish_until_settled(sink: &dyn Sink, batch: Vec<Arc<Record>>) -> (Vec<Outcome>, Vec<Reason>) {
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut settled: Vec<Option<Outcome>> = vec![None; batch.len()];
    let mut reasons = Vec::new();
    while settled.iter().any(Option::is_none) {
        assert!(Instant::now() < deadline, "not settled: {reasons:?}");
        let open: Vec<usize> = (0..batch.len()).filter(|index| settled[*index].is_none()).collect();
        let outcomes = sink.publish(open.iter().map(|index| batch[*index].clone()).collect()).await;
        assert_eq!(outcomes.len(), open.len());
        for (index, outcome) in open.into_iter().zip(outcomes) {
            match outcome {
                Outcome::Retry(reason) => reasons.push(reason),
                outcome => settled[index] = Some(outcome),
            }
        }
        // A dispatcher backs off; without that, a held topic would be asked for in a busy loop.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    (settled.into_iter().flatten().collect(), reasons)
}
