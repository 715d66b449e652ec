use super::*;
use crate::event::Position;
use crate::testing::events::event;

const BYTES_MAX: usize = 1000;

fn waiting(topic: &str, key: Option<&'static str>, position: u64) -> Waiting {
    let mut event = event("");
    event.key = key.map(Into::into);
    let record = Arc::new(Record { position: Position(position), topic: topic.into(), event: event.into() });
    Waiting { record, batch: 0, index: 0, bytes: 1, failures: 0, alone: false }
}

fn keyed(key: &'static str, position: u64) -> Waiting {
    waiting("t", Some(key), position)
}

fn positions(records: &[Waiting]) -> Vec<u64> {
    records.iter().map(|waiting| waiting.record.position.0).collect()
}

/// Lanes with these records in them.
fn lanes(records: impl IntoIterator<Item = Waiting>, now: Instant) -> SnsLanes {
    let mut lanes = SnsLanes::new(BYTES_MAX);
    records.into_iter().for_each(|waiting| lanes.push(waiting, now));
    lanes
}

/// Takes a batch back whose records all have their fate.
fn settled(lanes: &mut SnsLanes, departure: OutgoingBatch, now: Instant) {
    let returns = departure.records.iter().map(|_| AfterResponse::Settled).collect();
    assert!(lanes.take_back(departure, returns, now).is_empty());
}

#[test]
fn a_batch_holds_one_record_of_each_key_and_the_next_ones_wait_for_it() {
    let now = Instant::now();
    let mut lanes = lanes([keyed("a", 1), keyed("a", 2), keyed("b", 3), keyed("a", 4)], now);
    let first = lanes.next(now).expect("it leaves");
    assert_eq!(positions(&first.records), [1, 3]);
    assert!(lanes.next(now + Duration::from_secs(9)).is_none(), "both keys are on their way");
    settled(&mut lanes, first, now);
    assert_eq!(positions(&lanes.next(now).expect("it leaves").records), [2]);
}

#[test]
fn records_without_a_key_do_not_wait_for_each_other() {
    let now = Instant::now();
    let mut lanes = lanes((1..=13).map(|position| waiting("t", None, position)), now);
    assert_eq!(lanes.next(now).expect("it leaves").records.len(), ENTRIES_MAX);
    assert_eq!(positions(&lanes.next(now + FILL_WAIT).expect("it leaves").records), [11, 12, 13]);
}

#[test]
fn what_does_not_fill_a_batch_waits_a_moment_while_another_is_on_its_way() {
    let now = Instant::now();
    let mut lanes = lanes([keyed("a", 1)], now);
    let first = lanes.next(now).expect("nothing to wait for");
    lanes.push(keyed("b", 2), now);
    assert!(lanes.next(now).is_none());
    assert_eq!(lanes.wake_at(), Some(now + FILL_WAIT));
    let second = lanes.next(now + FILL_WAIT).expect("it has waited");
    assert_eq!(positions(&second.records), [2]);
    settled(&mut lanes, first, now);
    settled(&mut lanes, second, now);
    lanes.push(keyed("c", 3), now);
    assert!(lanes.next(now).is_some(), "nothing is on its way any more");
}

#[test]
fn topics_do_not_share_a_batch_and_take_turns() {
    let now = Instant::now();
    let of = |topic: &'static str| (0..20).map(move |position| waiting(topic, None, position));
    let mut lanes = lanes(of("t").chain(of("u")), now);
    let order: Vec<_> = std::iter::from_fn(|| lanes.next(now)).map(|departure| departure.topic).collect();
    assert_eq!(order.iter().map(|topic| &**topic).collect::<Vec<_>>(), ["t", "u", "t", "u"]);
}

#[test]
fn a_batch_stays_within_the_bytes_and_a_record_beyond_them_travels_by_itself() {
    let now = Instant::now();
    let sized = |position, bytes| Waiting { bytes, ..waiting("t", None, position) };
    let mut lanes = lanes([sized(1, 600), sized(2, 400), sized(3, 1), sized(4, 5000), sized(5, 1)], now);
    let mut left = Vec::new();
    while let Some(departure) = lanes.next(now + FILL_WAIT) {
        left.push(positions(&departure.records));
    }
    assert_eq!(left, [vec![1, 2], vec![3], vec![4], vec![5]]);
}

#[test]
fn a_record_that_is_repeated_stays_before_the_rest_of_its_key_and_holds_up_no_other() {
    let now = Instant::now();
    let mut lanes = lanes([keyed("a", 1), keyed("a", 2), keyed("b", 3), keyed("b", 4)], now);
    let first = lanes.next(now).expect("it leaves");
    let rest = Duration::from_millis(100);
    assert!(lanes.take_back(first, vec![AfterResponse::Again(rest), AfterResponse::Settled], now).is_empty());
    let second = lanes.next(now).expect("b goes on");
    assert_eq!(positions(&second.records), [4]);
    settled(&mut lanes, second, now);
    assert!(lanes.next(now).is_none(), "a rests");
    assert_eq!(lanes.wake_at(), Some(now + rest));
    assert_eq!(positions(&lanes.next(now + rest).expect("it has rested").records), [1]);
}

#[test]
fn what_stands_behind_a_record_that_is_given_up_is_given_up_too() {
    let now = Instant::now();
    let mut lanes = lanes([keyed("a", 1), keyed("a", 2), keyed("b", 3), keyed("a", 4), keyed("b", 5)], now);
    let first = lanes.next(now).expect("it leaves");
    let behind = lanes.take_back(first, vec![AfterResponse::GivenUp, AfterResponse::Settled], now);
    assert_eq!(positions(&behind), [2, 4]);
    assert_eq!(positions(&lanes.next(now).expect("b goes on").records), [5]);
}

#[test]
fn a_record_that_travels_alone_has_no_company_before_or_behind_it() {
    let now = Instant::now();
    let alone = |position| Waiting { alone: true, ..waiting("t", None, position) };
    let mut lanes = lanes([waiting("t", None, 1), alone(2), alone(3), waiting("t", None, 4)], now);
    let left: Vec<_> =
        std::iter::from_fn(|| lanes.next(now + FILL_WAIT)).map(|left| positions(&left.records)).collect();
    assert_eq!(left, [vec![1], vec![2], vec![3], vec![4]]);
}

#[test]
fn a_topic_in_doubt_has_one_request_at_a_time_and_others_do_not_mind() {
    let now = Instant::now();
    let of = |topic: &'static str| (0..30).map(move |position| waiting(topic, None, position));
    let mut lanes = lanes(of("t").chain(of("u")), now);
    assert!(!lanes.distrust("t"));
    assert!(lanes.distrust("t"));
    let left: Vec<_> = std::iter::from_fn(|| lanes.next(now)).collect();
    let of_t = left.iter().filter(|departure| &*departure.topic == "t").count();
    assert_eq!((of_t, left.len()), (1, 4));
    assert_eq!(lanes.wake_at(), None, "only its answer lets it go on");
    lanes.trust("t");
    assert_eq!(std::iter::from_fn(|| lanes.next(now)).count(), 2);
}

#[test]
fn a_drained_topic_keeps_what_is_on_its_way_and_no_lane() {
    let now = Instant::now();
    let mut lanes = lanes([keyed("a", 1), keyed("a", 2), waiting("u", Some("a"), 3)], now);
    let first = lanes.next(now).expect("it leaves");
    lanes.push(keyed("b", 4), now);
    let mut drained = positions(&lanes.drain("t"));
    drained.sort_unstable();
    assert_eq!(drained, [2, 4]);
    assert!(lanes.drain("unknown").is_empty());
    settled(&mut lanes, first, now);
    lanes.push(keyed("a", 5), now);
    lanes.push(keyed("b", 6), now);
    let left: Vec<_> = std::iter::from_fn(|| lanes.next(now)).map(|left| positions(&left.records)).collect();
    assert_eq!(left, [vec![3], vec![5, 6]]);
    assert_eq!(lanes.topics[0].lanes.len(), 2, "lanes are used again");
}
