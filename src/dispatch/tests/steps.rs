//! What a dispatcher notes in the timeline.

use super::slow::Slow;
use super::*;
use crate::event::{Placement, Timestamp};
use crate::telemetry::TimelineMetrics;
use crate::timeline::{Collector, HeldStep, StepFilter, StepKind, Timeline, TimelineOptions};

/// A timeline that somebody looks at.
struct Looked {
    timeline: Timeline,
    collector: Collector,
}

impl Looked {
    fn new() -> (Self, TimelineWriter) {
        let (timeline, writer, collector) =
            Timeline::new(&TimelineOptions::default(), TimelineMetrics::new());
        (Self { timeline, collector }, writer)
    }

    fn kinds(&mut self) -> Vec<StepKind> {
        self.collector.collect();
        let steps = self.timeline.newest(None, &StepFilter::default(), 10_000).steps;
        steps.into_iter().map(|step| step.kind).collect()
    }

    fn held(&mut self) -> Vec<HeldStep> {
        let held = |kind| match kind {
            StepKind::Held(held) => held,
            other => panic!("{other:?}"),
        };
        self.kinds().into_iter().map(held).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_settled_of_a_publication_that_never_resolved_is_noted_at_the_stop() {
    let bench = Bench::new();
    bench.append_many(20, &of_family("a")).await;
    bench.spool.close().await;
    let sink = Slow::up_to(9, |position| match position {
        3 => Some(Outcome::Rejected(trouble())),
        _ => Some(Outcome::Accepted(Placement::offset(0, position as i64))),
    });
    let (mut looked, writer) = Looked::new();
    let (stop, cut) = (CancellationToken::new(), CancellationToken::new());
    stop.cancel();
    let dispatcher = bench.dispatcher(sink, Selection::All).noting(writer);
    dispatcher.run(stop, cut).await.expect("no error");
    let kinds = looked.kinds();
    assert_eq!(kinds.len(), 9, "{kinds:?}");
    for (position, kind) in (1..).zip(kinds) {
        match kind {
            StepKind::Published(step) if position != 3 => {
                assert_eq!((step.position, &*step.sink, &*step.topic), (Position(position), "lake", "a"));
                assert_eq!((step.placement.to_string(), step.attempts), (format!("p0@{position}"), 1));
            }
            StepKind::Rejected(step) if position == 3 => {
                assert_eq!((step.position, &*step.reason), (Position(3), "unknown_topic"));
            }
            other => panic!("{position}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn how_often_a_record_was_published_is_noted_with_it_and_each_attempt_that_failed_is_one_step() {
    let bench = Bench::new();
    bench.append_many(50, &of_family("a")).await;
    let sink = Scripted::new(|_, offered| match offered {
        0 | 1 => Outcome::Retry(trouble()),
        _ => Outcome::ACCEPTED,
    });
    let (mut looked, writer) = Looked::new();
    let (stop, cut) = (CancellationToken::new(), CancellationToken::new());
    let dispatcher = bench.dispatcher(sink.clone(), Selection::All).noting(writer);
    let running = tokio::spawn(dispatcher.run(stop.clone(), cut.clone()));
    tokio::time::timeout(LIMIT, async {
        while bench.cursor() < Position(50) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("the sink takes them in time");
    stop.cancel();
    cut.cancel();
    running.await.expect("no panic").expect("no error");
    let (mut published, mut held) = (Vec::new(), Vec::new());
    for kind in looked.kinds() {
        match kind {
            StepKind::Published(step) => published.push(step),
            StepKind::Held(step) => held.push(step),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(published.len(), 50);
    assert!(published.iter().all(|step| step.attempts >= 3 && !step.replay), "{published:?}");
    assert_eq!((held[0].first, held[0].attempt, &*held[0].reason), (Position(1), 1, "unknown_topic"));
    let records: u32 = held.iter().map(|step| step.records).sum();
    let offers: u32 = (1..=50).map(|position| sink.offers(position)).sum();
    assert_eq!(records, offers - 50, "each that failed is in one of them");
    assert!(held.len() < 20, "{held:?}");
}

#[test]
fn one_publication_notes_no_more_held_topics_than_somebody_reads() {
    let (mut looked, writer) = Looked::new();
    let steps = SinkSteps::new("lake", writer);
    let mut of_publication = steps.open(Timestamp(1));
    for position in 1..=1000 {
        let topic = format!("t{}", position % 100).into();
        let record = Record { position: Position(position), topic, event: of_family("a").into() };
        let cause = if position % 2 == 0 { Cause::UNKNOWN_TOPIC } else { Cause::HELD };
        of_publication.held(&record, &Reason::new(cause, "d"), 1);
    }
    of_publication.end();
    let held = looked.held();
    assert_eq!(held.len(), 64);
    assert!(held.iter().all(|step| step.records == 10), "{held:?}");
    assert_eq!((held[0].first, held[0].last), (Position(1), Position(901)));
}
