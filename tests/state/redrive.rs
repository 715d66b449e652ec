//! Redriving: what a sink refused goes back for that sink, what was quarantined is admitted again.

use std::sync::Arc;

use fanbridge::dead_letter::{Choice, REDRIVEN_EXTENSION, Readmit};
use fanbridge::dedup::DuplicateKey;
use fanbridge::event::{Filtered, Verdict};
use fanbridge::spool::Appended;
use fanbridge::state::DeadFilter;

use crate::bench::{Bench, event, letter, never, refused, unusable};

fn all() -> Choice {
    Choice::Matching { filter: DeadFilter::default(), after: 0, through: u64::MAX, limit: 1000 }
}

#[tokio::test]
async fn a_refused_event_goes_back_for_its_sink_alone_and_is_no_dead_letter_any_more() {
    let bench = Bench::new();
    bench.bury(vec![refused("lake", 1), refused("billing", 2)]);

    let report = bench.redrive(never()).run(Choice::Ids(vec![2, 1, 1, 77])).await.unwrap();

    assert_eq!((report.redriven, report.kept.len(), report.stopped), (2, 0, None));
    assert_eq!(bench.ids(), [0_u64; 0]);
    let spooled = bench.spooled().await;
    assert_eq!(spooled.len(), 2);
    let expected = event("evt-1", "call.ring");
    assert_eq!(spooled[0].only_sink.as_deref(), Some("lake"));
    assert_eq!(spooled[1].only_sink.as_deref(), Some("billing"));
    assert!(spooled[0].extensions.contains(&(REDRIVEN_EXTENSION.into(), "1".into())));
    assert_eq!((&spooled[0].id, &spooled[0].body), (&expected.id, &expected.body));
    assert_eq!((&spooled[0].key, &spooled[0].time), (&expected.key, &expected.time));
}

#[tokio::test]
async fn an_event_that_is_redriven_again_is_marked_once() {
    let bench = Bench::new();
    let mut again = event("evt-1", "call.ring");
    again.extensions.push((REDRIVEN_EXTENSION.into(), "1".into()));
    again.only_sink = Some("lake".into());
    bench.bury(vec![letter(Some("lake"), 1, "too_large", again.into())]);

    bench.redrive(never()).run(all()).await.unwrap();

    let spooled = bench.spooled().await;
    let marks = spooled[0].extensions.iter().filter(|(name, _)| name == REDRIVEN_EXTENSION).count();
    assert_eq!(marks, 1);
}

#[tokio::test]
async fn a_letter_of_a_sink_that_is_gone_is_kept_and_not_lost() {
    let bench = Bench::new();
    bench.bury(vec![refused("retired", 1)]);

    let report = bench.redrive(never()).run(all()).await.unwrap();

    assert_eq!((report.redriven, report.kept[0].reason.as_str()), (0, "unknown_sink"));
    assert_eq!(bench.letters()[0].reason, "unknown_sink");
    assert!(bench.spooled().await.is_empty());
}

#[tokio::test]
async fn a_quarantined_delivery_that_is_usable_now_goes_to_every_sink() {
    let bench = Bench::new();
    bench.bury(vec![unusable(1)]);
    let readmit: Readmit = Arc::new(|delivery| {
        let mut accepted = event("evt-9", "call.ring");
        accepted.body = delivery.body.clone();
        Verdict::Accept(accepted.into())
    });

    let report = bench.redrive(readmit).run(all()).await.unwrap();

    assert_eq!((report.redriven, bench.ids().len()), (1, 0));
    let spooled = bench.spooled().await;
    assert_eq!((spooled[0].only_sink.clone(), &spooled[0].body[..]), (None, &b"{"[..]));
    assert!(spooled[0].extensions.iter().any(|(name, _)| name == REDRIVEN_EXTENSION));
}

/// Takes every delivery for the event of this id.
fn as_event(id: &'static str) -> Readmit {
    Arc::new(move |_| Verdict::Accept(event(id, "call.ring").into()))
}

/// What the provider's own delivery of that event becomes in the spool.
async fn sent_by_the_provider(bench: &Bench, id: &str) -> Appended {
    let key = DuplicateKey::of("/stream/default", id);
    bench.spool.append(event(id, "call.ring").into(), Some(key)).await.unwrap()
}

#[tokio::test]
async fn a_letter_whose_event_came_by_another_way_is_taken_away_and_counted() {
    let bench = Bench::new();
    bench.bury(vec![unusable(1)]);
    assert!(matches!(sent_by_the_provider(&bench, "evt-9").await, Appended::Stored(_)));

    let report = bench.redrive(as_event("evt-9")).run(all()).await.unwrap();

    assert_eq!((report.redriven, report.already_delivered, report.kept.len()), (0, 1, 0));
    assert_eq!(bench.ids(), [0_u64; 0]);
    assert_eq!(bench.spooled().await.len(), 1);
}

#[tokio::test]
async fn what_a_provider_sends_behind_the_redrive_of_the_same_event_is_a_duplicate() {
    let bench = Bench::new();
    bench.bury(vec![unusable(1)]);

    let report = bench.redrive(as_event("evt-9")).run(all()).await.unwrap();

    assert_eq!((report.redriven, report.already_delivered), (1, 0));
    assert_eq!(sent_by_the_provider(&bench, "evt-9").await, Appended::Duplicate);
    assert_eq!(bench.spooled().await.len(), 1);
}

#[tokio::test]
async fn two_letters_of_one_event_deliver_it_once() {
    let bench = Bench::new();
    bench.bury(vec![unusable(1), unusable(2)]);

    let report = bench.redrive(as_event("evt-9")).run(all()).await.unwrap();

    assert_eq!((report.redriven, report.already_delivered), (1, 1));
    assert_eq!((bench.ids().len(), bench.spooled().await.len()), (0, 1));
}

#[tokio::test]
async fn an_event_that_its_sink_refused_goes_back_although_the_duplicate_window_knows_it() {
    let bench = Bench::new();
    assert!(matches!(sent_by_the_provider(&bench, "evt-1").await, Appended::Stored(_)));
    bench.bury(vec![refused("lake", 1)]);

    let report = bench.redrive(never()).run(all()).await.unwrap();

    assert_eq!((report.redriven, report.already_delivered), (1, 0));
    assert_eq!(bench.spooled().await[1].only_sink.as_deref(), Some("lake"));
}

#[tokio::test]
async fn a_quarantined_delivery_that_stays_unusable_takes_todays_reason() {
    let bench = Bench::new();
    bench.bury(vec![unusable(1)]);
    let readmit: Readmit = Arc::new(|delivery| {
        let mut again = delivery.clone();
        again.reason = "no_type".into();
        again.detail = "no type at /type".into();
        Verdict::Quarantine(again.into())
    });

    let report = bench.redrive(readmit).run(all()).await.unwrap();

    assert_eq!((report.redriven, report.kept[0].reason.as_str()), (0, "no_type"));
    let kept = &bench.letters()[0];
    assert_eq!((kept.reason.as_str(), kept.attempts), ("no_type", 2));
    assert!(kept.last > kept.first);
}

#[tokio::test]
async fn a_quarantined_delivery_that_is_not_selected_now_stays() {
    let bench = Bench::new();
    bench.bury(vec![unusable(1)]);
    let readmit: Readmit = Arc::new(|delivery| {
        Verdict::Filter(Filtered {
            id: delivery.id.clone(),
            event_type: "call.ring".into(),
            family: "video.call".into(),
        })
    });

    let report = bench.redrive(readmit).run(all()).await.unwrap();

    assert_eq!(report.kept[0].reason, "not_selected");
    assert_eq!(bench.ids(), [1]);
    assert!(bench.spooled().await.is_empty());
}

#[tokio::test]
async fn a_redrive_by_filter_takes_what_matches_and_ends_where_it_was_told() {
    let bench = Bench::new();
    bench.bury((1..=6).map(|n| refused(if n % 2 == 0 { "lake" } else { "billing" }, n)).collect());
    let filter = DeadFilter { sink: Some("lake".into()), ..DeadFilter::default() };
    let redrive = bench.redrive(never());

    let choice = Choice::Matching { filter: filter.clone(), after: 0, through: 4, limit: 1 };
    let first = redrive.run(choice).await.unwrap();
    let choice = Choice::Matching { filter: filter.clone(), after: 2, through: 4, limit: 9 };
    let second = redrive.run(choice).await.unwrap();
    let choice = Choice::Matching { filter, after: 4, through: 4, limit: 9 };
    let third = redrive.run(choice).await.unwrap();

    assert_eq!([first.last, second.last, third.last], [Some(2), Some(4), None]);
    assert_eq!(bench.ids(), [1, 3, 5, 6]);
}

#[tokio::test]
async fn a_spool_that_cannot_store_leaves_the_letters_as_they_were() {
    let bench = Bench::new();
    bench.bury((1..=3).map(|n| refused("lake", n)).collect());
    bench.spool.close().await;

    let report = bench.redrive(never()).run(all()).await.unwrap();

    assert_eq!((report.redriven, report.kept.len()), (0, 0));
    assert!(report.stopped.is_some());
    assert_eq!(bench.ids(), [1, 2, 3]);
    assert!(bench.letters().iter().all(|letter| letter.reason == "too_large"));
}

#[tokio::test]
async fn two_redrives_of_the_same_letters_deliver_them_once() {
    let bench = Bench::new();
    bench.bury((1..=100).map(|n| refused("lake", n)).collect());
    let redrive = bench.redrive(never());

    let (one, other) = tokio::join!(redrive.run(all()), redrive.run(all()));

    assert_eq!(one.unwrap().redriven + other.unwrap().redriven, 100);
    assert_eq!(bench.spooled().await.len(), 100);
    assert_eq!(bench.ids(), [0_u64; 0]);
}
