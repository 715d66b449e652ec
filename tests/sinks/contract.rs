//! What every sink promises, whatever it writes to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fanbridge::event::{EventTime, Record, Timestamp};
use fanbridge::sink::{Outcome, Sink};

use crate::seen::{Reader, Seen, assert_all_accepted, publish_until_settled, record};

/// A topic that exists, is empty, and is used by one test.
pub type Topic<'a> = &'a str;

pub async fn a_keys_records_keep_their_order_across_pipelined_batches(
    sink: &dyn Sink,
    reader: &dyn Reader,
    topic: Topic<'_>,
) {
    const BATCHES: u64 = 40;
    const BATCH: u64 = 50;
    let key = |position: u64| format!("key-{}", position % 7);
    let publications: Vec<_> = (0..BATCHES)
        .map(|batch| {
            let positions = batch * BATCH..(batch + 1) * BATCH;
            sink.publish(positions.map(|position| record(topic, position, Some(&key(position)))).collect())
        })
        .collect();
    for publication in publications {
        assert_all_accepted(&publication.await, BATCH as usize);
    }
    let seen = reader.read(topic, (BATCHES * BATCH) as usize);
    let mut by_key: BTreeMap<_, Vec<u64>> = BTreeMap::new();
    for one in &seen {
        by_key.entry(one.key.clone()).or_default().push(one.sequence());
    }
    assert_eq!(seen.len() as u64, BATCHES * BATCH);
    for (key, sequences) in by_key {
        assert!(sequences.is_sorted(), "{key:?}: {sequences:?}");
    }
    assert_eq!(seen.iter().map(Seen::sequence).collect::<BTreeSet<_>>().len() as u64, BATCHES * BATCH);
}

pub async fn a_body_and_its_attributes_arrive_as_they_left(
    sink: &dyn Sink,
    reader: &dyn Reader,
    topic: Topic<'_>,
) {
    let mut sent = record(topic, 18_446_744_073_709_551_615, Some("schlüssel:1"));
    let body = r#" {"n":12345678901234567890123,"d":0.1000000000000000055511151231257827,"e":1e400,"z":-0,
        "u":"\u0000\ud83d\ude00 ü","k":{"k":[ ]}} "#;
    let event = Arc::make_mut(&mut Arc::make_mut(&mut sent).event);
    event.body = body.into();
    event.event_type = "call.\"ring\"\u{2028}<script>".into();
    event.time = EventTime::Inferred(Timestamp(1_763_709_600_123_000_000));
    assert_all_accepted(&sink.publish(vec![sent]).await, 1);
    let seen = reader.read(topic, 1).remove(0);
    assert_eq!(seen.body, body);
    assert_eq!(seen.key.as_deref(), Some("schlüssel:1"));
    let expected = [
        ("family", "video"),
        ("id", "id-18446744073709551615"),
        ("intake", "stream-video"),
        ("partitionkey", "schlüssel:1"),
        ("provider", "stream"),
        ("recordedtime", "2025-11-21T07:20:00Z"),
        ("sequence", "18446744073709551615"),
        ("source", "/stream/default"),
        ("specversion", "1.0"),
        ("subject", "schlüssel:1"),
        ("time", "2025-11-21T07:20:00.123Z"),
        ("timeinferred", "true"),
        ("type", "call.\"ring\"\u{2028}<script>"),
        ("webhookid", "w-1"),
    ];
    for (name, value) in expected {
        assert_eq!(seen.attributes.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert_eq!(seen.attributes.len(), expected.len() + 1, "{:?}", seen.attributes);
}

pub async fn a_record_without_a_key_stays_without(sink: &dyn Sink, reader: &dyn Reader, topic: Topic<'_>) {
    assert_all_accepted(&sink.publish(vec![record(topic, 1, None)]).await, 1);
    let seen = reader.read(topic, 1).remove(0);
    assert_eq!(seen.key, None);
    assert!(!seen.attributes.contains_key("partitionkey"));
}

pub async fn a_refused_record_is_rejected_and_its_neighbours_are_accepted(
    sink: &dyn Sink,
    reader: &dyn Reader,
    topic: Topic<'_>,
    refused: Arc<Record>,
    word: &str,
) {
    let mut batch: Vec<_> = (0..9).map(|position| record(topic, position, Some("key"))).collect();
    batch.insert(4, refused);
    let (outcomes, _) = publish_until_settled(sink, batch).await;
    for (index, outcome) in outcomes.iter().enumerate() {
        match outcome {
            Outcome::Rejected(reason) => assert_eq!((index, reason.word()), (4, word), "{reason:?}"),
            outcome => assert!(index != 4 && outcome.is_accepted(), "{index}: {outcome:?}"),
        }
    }
    let mut last_first: Vec<u64> = Vec::new();
    for sequence in reader.read(topic, 9).iter().map(Seen::sequence) {
        // What goes again may repeat the end, so only each record's first copy is looked at.
        if !last_first.contains(&sequence) {
            last_first.push(sequence);
        }
    }
    assert_eq!(last_first, (0..9).collect::<Vec<_>>());
}

pub async fn what_is_settled_is_counted_and_known_while_nobody_waits_for_it(
    sink: &dyn Sink,
    topic: Topic<'_>,
) {
    const BATCH: usize = 20;
    let publication = sink.publish((0..BATCH as u64).map(|n| record(topic, n, Some("key"))).collect());
    let deadline = Instant::now() + Duration::from_secs(30);
    while publication.settled() < BATCH {
        assert!(Instant::now() < deadline, "{} of {BATCH} are settled", publication.settled());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let known: Vec<_> = publication.known().into_iter().flatten().collect();
    assert_all_accepted(&known, BATCH);
}

pub async fn an_empty_batch_has_no_outcomes(sink: &dyn Sink) {
    assert_eq!(sink.publish(Vec::new()).await, []);
}

pub async fn a_dropped_publication_withdraws_nothing(sink: &dyn Sink, reader: &dyn Reader, topic: Topic<'_>) {
    drop(sink.publish(vec![record(topic, 1, Some("key"))]));
    assert_all_accepted(&sink.publish(vec![record(topic, 2, Some("key"))]).await, 1);
    let sequences: Vec<_> = reader.read(topic, 2).iter().map(Seen::sequence).collect();
    assert_eq!(sequences, [1, 2]);
}
