use super::*;
use crate::event::{Event, EventTime, Timestamp};

/// A record with nothing in it but a topic and a key.
pub(in crate::sink) fn record(topic: &str, key: Option<&str>) -> Arc<Record> {
    Arc::new(Record {
        position: Position(1),
        topic: topic.into(),
        event: Arc::new(Event {
            id: "id".into(),
            source: "/stream/default".into(),
            event_type: "call.ring".into(),
            provider: "stream".into(),
            family: "video".into(),
            source_name: "stream-video".into(),
            key: key.map(Into::into),
            subject: None,
            time: EventTime::Inferred(Timestamp(0)),
            arrived: Timestamp(0),
            configuration: None,
            extensions: Vec::new(),
            only_sink: None,
            body: bytes::Bytes::from_static(b"{}"),
        }),
    })
}

/// Records of one topic with these positions and keys.
fn records(places: &[(u64, &str)]) -> Vec<Arc<Record>> {
    let place = |(position, key): &(u64, &str)| {
        let event = record("t", Some(key)).event.clone();
        Arc::new(Record { position: Position(*position), topic: "t".into(), event })
    };
    places.iter().map(place).collect()
}

fn again() -> Outcome {
    Outcome::retry(Cause::UNKNOWN_TOPIC, "")
}

/// Opens, settles and seals a batch.
fn settled(outcomes: &Arc<OutcomeTable>, places: &[(u64, &str)], results: Vec<Outcome>) -> Publication {
    let (number, publication) = outcomes.open(&records(places));
    for (index, outcome) in results.into_iter().enumerate() {
        outcomes.settle(number, index, outcome);
    }
    outcomes.seal(number);
    publication
}

/// Which positions of a batch that is handed over now are held.
fn held_of(outcomes: &Arc<OutcomeTable>, places: &[(u64, &str)]) -> Vec<u64> {
    let records = records(places);
    let (number, publication) = outcomes.open(&records);
    let held = records.iter().filter(|record| outcomes.is_held(record));
    let held = held.map(|record| record.position.0).collect();
    (0..places.len()).for_each(|index| outcomes.settle(number, index, Outcome::ACCEPTED));
    outcomes.seal(number);
    drop(publication);
    held
}

fn poll_once(publication: Pin<&mut Publication>) -> Poll<Vec<Outcome>> {
    publication.poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test]
async fn outcomes_stand_in_the_batchs_order_whatever_the_order_of_reports() {
    let outcomes = Arc::new(OutcomeTable::default());
    let (number, publication) = outcomes.open(&records(&[(1, "a"), (2, "b"), (3, "c")]));
    outcomes.settle(number, 2, Outcome::rejected(Cause::TOO_LARGE, ""));
    outcomes.seal(number);
    outcomes.settle(number, 0, Outcome::ACCEPTED);
    outcomes.settle(number, 1, again());
    assert_eq!(publication.await, [Outcome::ACCEPTED, again(), Outcome::rejected(Cause::TOO_LARGE, "")]);
}

#[tokio::test]
async fn a_batch_is_not_reported_before_its_last_record_and_its_seal() {
    let outcomes = Arc::new(OutcomeTable::default());
    let (number, publication) = outcomes.open(&records(&[(1, "a")]));
    let mut publication = std::pin::pin!(publication);
    assert!(poll_once(publication.as_mut()).is_pending());
    outcomes.settle(number, 0, Outcome::ACCEPTED);
    assert!(poll_once(publication.as_mut()).is_pending());
    outcomes.seal(number);
    assert!(poll_once(publication.as_mut()).is_ready());
}

#[tokio::test]
async fn what_is_known_of_a_batch_is_counted_and_taken_before_the_rest_is() {
    let outcomes = Arc::new(OutcomeTable::default());
    let places = [(1, "a"), (2, "b"), (3, "c"), (4, "d"), (5, "b"), (6, "c")];
    let (number, publication) = outcomes.open(&records(&places));
    outcomes.seal(number);
    assert_eq!(publication.settled(), 0);
    let accepted = || Outcome::ACCEPTED;
    let fates =
        [(0, accepted()), (3, again()), (4, accepted()), (5, Outcome::rejected(Cause::TOO_LARGE, ""))];
    fates.into_iter().for_each(|(index, fate)| outcomes.settle(number, index, fate));
    assert_eq!(publication.settled(), 3, "one goes again, and two are not known");
    let known = publication.known();
    assert_eq!(known[..4], [Some(accepted()), None, None, Some(again())]);
    assert_eq!(known[4], Some(accepted()));
    assert_eq!(known[5], Some(Outcome::rejected(Cause::TOO_LARGE, "")));
    [1, 2].into_iter().for_each(|index| outcomes.settle(number, index, accepted()));
    assert_eq!(outcomes.open(&records(&[(7, "a")])).0, number, "the rest is reported to nobody");
}

#[tokio::test]
async fn only_the_lane_behind_a_record_that_goes_again_is_held_and_only_until_that_is_handed_over() {
    let outcomes = Arc::new(OutcomeTable::default());
    let publication = settled(&outcomes, &[(5, "a")], vec![again()]);
    assert_eq!(held_of(&outcomes, &[(4, "a"), (6, "a"), (7, "b")]), [6]);
    publication.await;
    assert_eq!(held_of(&outcomes, &[(6, "a")]), [6], "that its outcome was taken changes nothing");
    assert!(held_of(&outcomes, &[(5, "a"), (6, "a")]).is_empty());
    assert!(outcomes.batches().failed.is_empty());
}

#[tokio::test]
async fn a_topic_is_known_to_be_held_behind_its_first_failed_record_with_a_key_or_without() {
    let outcomes = Arc::new(OutcomeTable::default());
    let failed = [record("t", None), records(&[(7, "a")]).remove(0)];
    let (number, _publication) = outcomes.open(&failed);
    let at = |position: u64| records(&[(position, "b")]).remove(0);
    (0..2).for_each(|index| outcomes.settle(number, index, again()));
    assert!(outcomes.is_topic_held(&at(2)) && !outcomes.is_topic_held(&at(1)));
    assert!(!outcomes.is_topic_held(&record("other", Some("a"))));
    let (_, _again) = outcomes.open(&failed[..1]);
    assert!(outcomes.is_topic_held(&at(8)) && !outcomes.is_topic_held(&at(6)), "behind the second");
    let (_, _again) = outcomes.open(&failed[1..]);
    assert!(!outcomes.is_topic_held(&at(8)));
}

#[tokio::test]
async fn a_dispatcher_that_never_pauses_gets_the_lowest_record_of_a_lane_through() {
    let outcomes = Arc::new(OutcomeTable::default());
    let first = settled(&outcomes, &[(1, "a")], vec![again()]);
    let second = settled(&outcomes, &[(2, "a")], vec![held()]);
    first.await;
    assert_eq!(held_of(&outcomes, &[(1, "a"), (3, "a")]), [3]);
    let third = settled(&outcomes, &[(3, "a")], vec![held()]);
    second.await;
    assert_eq!(held_of(&outcomes, &[(2, "a"), (4, "a")]), [4]);
    third.await;
    assert!(held_of(&outcomes, &[(3, "a"), (4, "a")]).is_empty());
}

#[tokio::test]
async fn a_batch_handed_over_before_the_dispatcher_knew_stays_held_after_it_does() {
    let outcomes = Arc::new(OutcomeTable::default());
    let failed = settled(&outcomes, &[(1, "a")], vec![again()]);
    let late = records(&[(2, "a")]);
    let (waiting, publication) = outcomes.open(&late);
    assert_eq!(failed.await, [again()]);
    assert!(outcomes.is_held(&late[0]));
    outcomes.settle(waiting, 0, held());
    outcomes.seal(waiting);
    assert_eq!(publication.await, [held()]);
    assert!(held_of(&outcomes, &[(1, "a"), (2, "a")]).is_empty());
}

#[tokio::test]
async fn an_abandoned_batch_holds_nothing_and_makes_room_once_it_is_reported() {
    let outcomes = Arc::new(OutcomeTable::default());
    let (number, publication) = outcomes.open(&records(&[(1, "a")]));
    drop(publication);
    outcomes.settle(number, 0, again());
    outcomes.seal(number);
    assert!(held_of(&outcomes, &[(2, "a")]).is_empty());
    assert_eq!(outcomes.open(&records(&[(3, "a")])).0, number);
}
