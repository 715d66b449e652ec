//! A sink that settles one record after the other: a publication resolves long after its first
//! record has its fate.

use super::*;

/// How long the sink takes for a record.
const PACE: Duration = Duration::from_millis(100);

/// Settles a record each [`PACE`], one after the other.
pub struct Slow {
    ledger: Arc<Ledger>,
    work: tokio::sync::mpsc::UnboundedSender<(usize, usize, Position)>,
}

impl Slow {
    /// Settles what stands at or before this position, by its fate; one without stays unsettled.
    pub fn up_to(last: u64, fate: impl Fn(u64) -> Option<Outcome> + Send + 'static) -> Arc<Self> {
        let ledger: Arc<Ledger> = Arc::default();
        let (work, mut waiting) = tokio::sync::mpsc::unbounded_channel::<(usize, usize, Position)>();
        let settling = Arc::clone(&ledger);
        tokio::spawn(async move {
            while let Some((number, index, position)) = waiting.recv().await {
                if position.0 > last {
                    return std::future::pending().await;
                }
                tokio::time::sleep(PACE).await;
                if let Some(outcome) = fate(position.0) {
                    settling.settle(number, index, outcome);
                }
            }
        });
        Arc::new(Self { ledger, work })
    }
}

impl Sink for Slow {
    fn publish(&self, batch: Vec<Arc<Record>>) -> Publication {
        let (number, publication) = self.ledger.open(&batch);
        for (index, record) in batch.iter().enumerate() {
            self.work.send((number, index, record.position)).expect("somebody settles");
        }
        self.ledger.seal(number);
        publication
    }
}

fn accepted(_: u64) -> Option<Outcome> {
    Some(Outcome::ACCEPTED)
}

/// A log of so many events that is closed, and a dispatcher's end that was told to stop at once.
async fn stopped(bench: &Bench, events: u64, sink: Arc<Slow>, cut_after: Option<Duration>) -> Duration {
    bench.append_many(events, &of_family("a")).await;
    bench.spool.close().await;
    let (stop, cut) = (CancellationToken::new(), CancellationToken::new());
    stop.cancel();
    let begun = Instant::now();
    let running = tokio::spawn(bench.dispatcher(sink, Selection::All).run(stop, cut.clone()));
    if let Some(time) = cut_after {
        tokio::time::sleep(time).await;
        cut.cancel();
    }
    running.await.expect("no panic").expect("no error");
    begun.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_stopping_dispatcher_waits_for_a_sink_that_settles_slowly_until_all_is_settled() {
    let bench = Bench::new();
    let took = stopped(&bench, 100, Slow::up_to(100, accepted), None).await;
    assert!(took >= 100 * PACE, "it ended after {took:?}");
    assert_eq!(bench.cursor(), Position(100));
}

#[tokio::test(start_paused = true)]
async fn a_stopping_dispatcher_gives_up_on_a_sink_that_settles_no_more_and_keeps_all_that_was() {
    let bench = Bench::new();
    let took = stopped(&bench, 100, Slow::up_to(60, accepted), None).await;
    let patience = took - 60 * PACE;
    assert!(patience >= STALL_AT_STOP - REPORT_EVERY, "gave up after {patience:?}");
    assert!(patience <= STALL_AT_STOP + 2 * REPORT_EVERY, "gave up after {patience:?}");
    assert_eq!(bench.cursor(), Position(60));
}

#[tokio::test(start_paused = true)]
async fn a_dispatcher_that_is_cut_short_keeps_what_was_settled_of_a_publication_that_is_not_resolved() {
    let bench = Bench::new();
    let sink = Slow::up_to(100, |position| match position {
        3 => Some(Outcome::Rejected(trouble())),
        10 => None,
        _ => Some(Outcome::ACCEPTED),
    });
    let took = stopped(&bench, 100, sink, Some(50 * PACE)).await;
    assert!(took < 60 * PACE, "it ended after {took:?}");
    assert_eq!(bench.cursor(), Position(9), "nothing behind the one that is not known");
    let dead = bench.state.dead_letters(&DeadFilter::default(), 0, 10).expect("readable");
    assert_eq!(dead.iter().map(|letter| letter.position).collect::<Vec<_>>(), [Position(3)]);
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_settles_slowly_is_not_taken_for_one_that_gives_no_answer() {
    let bench = Bench::new();
    bench.append_many(400, &of_family("a")).await;
    let (stop, cut) = (CancellationToken::new(), CancellationToken::new());
    let sink = Slow::up_to(300, accepted);
    let running = tokio::spawn(bench.dispatcher(sink, Selection::All).run(stop, cut.clone()));
    let status = &bench.health.sinks()[0];
    let begun = Instant::now();
    while begun.elapsed() < 300 * PACE {
        tokio::time::sleep(PACE).await;
        assert_eq!(status.trouble(), None, "after {:?}", begun.elapsed());
    }
    tokio::time::sleep(gauges::SILENCE_MAX + 2 * REPORT_EVERY).await;
    assert!(status.trouble().is_some_and(|trouble| trouble.starts_with("no_answer")));
    cut.cancel();
    running.await.expect("no panic").expect("no error");
    assert_eq!(bench.cursor(), Position(300));
    assert!(status.trouble().is_some(), "a stop does not make it well");
}

/// What was said of the sink while it ran for so long, each once and in order.
async fn said(sink: Arc<Slow>, time: Duration) -> Vec<Option<String>> {
    let bench = Bench::new();
    bench.append_many(40, &of_family("a")).await;
    let (stop, cut) = (CancellationToken::new(), CancellationToken::new());
    let running = tokio::spawn(bench.dispatcher(sink, Selection::All).run(stop, cut.clone()));
    let (status, begun) = (&bench.health.sinks()[0], Instant::now());
    let mut said = Vec::new();
    while begun.elapsed() < time {
        tokio::time::sleep(Duration::from_millis(5)).await;
        said.push(status.trouble());
        said.dedup();
    }
    cut.cancel();
    running.await.expect("no panic").expect("no error");
    said
}

fn failed() -> Option<Outcome> {
    Some(Outcome::retry(Cause::SERVICE_ERROR, "500"))
}

#[tokio::test(start_paused = true)]
async fn one_request_that_fails_among_others_is_no_trouble() {
    let first = std::sync::atomic::AtomicBool::new(true);
    let sink = Slow::up_to(40, move |position| match position {
        20 if first.swap(false, Ordering::Relaxed) => failed(),
        _ => Some(Outcome::ACCEPTED),
    });
    assert_eq!(said(sink, 80 * PACE).await, [None]);
}

#[tokio::test(start_paused = true)]
async fn requests_that_fail_for_a_second_are_trouble() {
    let sink = Slow::up_to(40, |_| failed());
    assert_eq!(said(sink, 120 * PACE).await, [None, Some("service_error: a: 500".into())]);
}
