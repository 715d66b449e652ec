//! One sink that answers to providers wait for: its dispatcher tells what is settled, and deliveries wait.
//!
//! Those that wait stand in the order of the log. A dispatcher that tells a batch takes out the ones that it
//! settles and wakes each of them once; nobody polls, and nobody is woken for what others wait for. The lock
//! is held for moments and never across an await.

use std::collections::BTreeMap;
use std::mem::replace;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use tokio::sync::oneshot;
use tokio::time::timeout_at;

use super::acceptances::{Acceptances, Settled, Sought, Standing};
use super::fingerprint;
use crate::dedup::DuplicateKey;
use crate::event::{Event, Position, Record};
use crate::selection::Selection;
use crate::telemetry::{Metrics, Sink};

/// A sink that answers wait for.
#[derive(Debug)]
pub struct AwaitedSink {
    name: String,
    selection: Selection,
    /// How long a duplicate of an event can come.
    window: Duration,
    most: WaitingBounds,
    inner: Mutex<Inner>,
    /// How many rejected events are remembered, to be read without the lock.
    rejected: AtomicUsize,
    waiting: Gauge,
    late: Counter,
    wait: Histogram,
}

/// Most deliveries over HTTP that wait for one sink at a time, and most bytes of their bodies.
#[derive(Clone, Copy, Debug)]
pub struct WaitingBounds {
    deliveries: usize,
    bytes: usize,
}

impl WaitingBounds {
    /// A quarter of the connections and of the memory for bodies, so that a sink that is away leaves the
    /// rest to sources that do not wait for it.
    pub fn of(connections_max: usize, in_flight_bytes_max: usize) -> Self {
        Self { deliveries: connections_max.div_ceil(4), bytes: in_flight_bytes_max / 4 }
    }
}

#[derive(Debug, Default)]
struct Inner {
    acceptances: Acceptances,
    /// The deliveries that count towards the bounds and wait now, and the bytes of their bodies.
    waiting: usize,
    waiting_bytes: usize,
    /// Number of the last delivery that began to wait, which tells those at one position apart.
    last: u64,
    /// Those that wait for the record at their position.
    exact: BTreeMap<Place, Waiter>,
    /// Those that wait until all up to their position is settled.
    through: BTreeMap<Place, Waiter>,
}

type Place = (Position, u64);

#[derive(Debug)]
struct Waiter {
    key: DuplicateKey,
    answer: oneshot::Sender<Standing>,
}

impl AwaitedSink {
    /// A sink of this name that takes what this selection takes. A duplicate of an event can come for as long
    /// as `window`.
    pub(super) fn new(
        name: &str,
        selection: Selection,
        window: Duration,
        most: WaitingBounds,
        metrics: &Metrics,
    ) -> Self {
        let sink = Sink { sink: name.to_owned() };
        Self {
            name: name.to_owned(),
            selection,
            // The local window keeps a key up to one 128th longer.
            window: window.saturating_add(window / 64),
            most,
            inner: Mutex::default(),
            rejected: AtomicUsize::new(0),
            waiting: metrics.ack.waiting.get_or_create_owned(&sink),
            late: metrics.ack.late.get_or_create_owned(&sink),
            wait: metrics.ack.wait.get_or_create_owned(&sink),
        }
    }

    /// The sink's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The first four bytes of a hash of what the sink takes.
    pub fn fingerprint(&self) -> [u8; 4] {
        fingerprint::of(&self.selection)
    }

    /// Which events the sink takes.
    pub fn selection(&self) -> &Selection {
        &self.selection
    }

    /// Begins behind the sink's cursor, with the events that it rejected before, each with its position. Of
    /// events up to `doubt` nobody can tell whether the sink has them.
    pub fn begin(
        &self,
        cursor: Position,
        doubt: Option<Position>,
        rejected: impl IntoIterator<Item = (DuplicateKey, Position)>,
    ) {
        let mut inner = self.inner.lock();
        let acceptances = &mut inner.acceptances;
        let until = self.doubt_until();
        doubt.into_iter().for_each(|through| acceptances.doubt(through, until));
        rejected.into_iter().for_each(|(key, at)| acceptances.settle(at, Settled::Rejected(key), until));
        acceptances.pass(cursor);
        self.rejected.store(acceptances.rejected(), Ordering::Relaxed);
    }

    /// Forgets that the sink rejected an event, because a person dropped the dead letter at this position.
    pub fn forget(&self, key: DuplicateKey, position: Position) {
        let mut inner = self.inner.lock();
        inner.acceptances.forget(key, position);
        self.rejected.store(inner.acceptances.rejected(), Ordering::Relaxed);
    }

    /// Begins to wait for an event. Where `bytes` of a body wait with it, it does not wait while too many
    /// do: that it is not settled yet is told at once.
    pub(super) fn seek(self: &Arc<Self>, sought: Sought, key: DuplicateKey, bytes: Option<usize>) -> Seeking {
        let mut inner = self.inner.lock();
        match inner.acceptances.standing(sought, key, Instant::now()) {
            Standing::Pending if bytes.is_some_and(|bytes| inner.is_full(self.most, bytes)) => {
                self.late.inc();
                Seeking::Known(Standing::Pending)
            }
            Standing::Pending => {
                inner.waiting += usize::from(bytes.is_some());
                inner.waiting_bytes += bytes.unwrap_or(0);
                inner.last += 1;
                let number = inner.last;
                let (answer, answered) = oneshot::channel();
                let waiter = Waiter { key, answer };
                match sought {
                    Sought::At(position) => inner.exact.insert((position, number), waiter),
                    Sought::Through(position) => inner.through.insert((position, number), waiter),
                };
                self.waiting.inc();
                Seeking::Waits(Ticket { sink: Arc::clone(self), sought, number, bytes, answered })
            }
            standing => Seeking::Known(standing),
        }
    }

    /// Notes outcomes of records and the end of the settled prefix, and wakes whoever waits for them.
    fn tell(&self, outcomes: &mut Vec<(Position, Settled)>, settled: Position) {
        let (now, until) = (Instant::now(), self.doubt_until());
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        for (position, outcome) in &*outcomes {
            inner.acceptances.settle(*position, *outcome, until);
        }
        for (position, _) in outcomes.drain(..) {
            while let Some((&place, _)) = inner.exact.range((position, 0)..=(position, u64::MAX)).next() {
                if let Some(waiter) = inner.exact.remove(&place) {
                    let standing = inner.acceptances.standing(Sought::At(position), waiter.key, now);
                    // The one that waited can have given up at this moment.
                    let _ = waiter.answer.send(standing);
                }
            }
        }
        if settled > inner.acceptances.settled() {
            inner.acceptances.pass(settled);
            // Records that the sink was never given are among these.
            let exact = passed(&mut inner.exact, settled).into_iter();
            let exact = exact.map(|((position, _), waiter)| (Sought::At(position), waiter));
            let through = passed(&mut inner.through, settled).into_iter();
            let through = through.map(|((position, _), waiter)| (Sought::Through(position), waiter));
            for (sought, waiter) in exact.chain(through) {
                let _ = waiter.answer.send(inner.acceptances.standing(sought, waiter.key, now));
            }
        }
        self.rejected.store(inner.acceptances.rejected(), Ordering::Relaxed);
    }

    fn missed(&self, through: Position) {
        self.inner.lock().acceptances.doubt(through, self.doubt_until());
    }

    fn doubt_until(&self) -> Instant {
        let now = Instant::now();
        // Ten years, the longest window, can be beyond what the clock can say.
        now.checked_add(self.window).unwrap_or(now + Duration::from_secs(365 * 86_400))
    }
}

impl Inner {
    /// Whether no delivery with a body of this size may wait besides those that do. One always may.
    fn is_full(&self, most: WaitingBounds, bytes: usize) -> bool {
        let too_large = self.waiting_bytes.saturating_add(bytes) > most.bytes;
        self.waiting > 0 && (self.waiting >= most.deliveries || too_large)
    }
}

/// Takes out whoever waits for a position up to this one.
fn passed(waiting: &mut BTreeMap<Place, Waiter>, settled: Position) -> BTreeMap<Place, Waiter> {
    let later = waiting.split_off(&(settled.next(), 0));
    replace(waiting, later)
}

/// What a sink says of an event, now or later.
#[derive(Debug)]
pub(super) enum Seeking {
    Known(Standing),
    Waits(Ticket),
}

impl Seeking {
    /// What is known of the event once the sink has settled it; [`Standing::Pending`] if it has not by the
    /// deadline.
    pub(super) async fn standing(self, deadline: tokio::time::Instant) -> Standing {
        let mut ticket = match self {
            Self::Known(standing) => return standing,
            Self::Waits(ticket) => ticket,
        };
        let begun = Instant::now();
        match timeout_at(deadline, &mut ticket.answered).await {
            Ok(Ok(standing)) => {
                ticket.sink.wait.observe(begun.elapsed().as_secs_f64());
                standing
            }
            // Without a dispatcher, nobody answers any more.
            Ok(Err(_)) | Err(_) => {
                ticket.sink.late.inc();
                Standing::Pending
            }
        }
    }
}

/// The place of a delivery among those that wait; it is given up when this is dropped.
#[derive(Debug)]
pub(super) struct Ticket {
    sink: Arc<AwaitedSink>,
    sought: Sought,
    number: u64,
    bytes: Option<usize>,
    answered: oneshot::Receiver<Standing>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.sink.waiting.dec();
        let mut inner = self.sink.inner.lock();
        inner.waiting -= usize::from(self.bytes.is_some());
        inner.waiting_bytes -= self.bytes.unwrap_or(0);
        match self.sought {
            Sought::At(position) => inner.exact.remove(&(position, self.number)),
            Sought::Through(position) => inner.through.remove(&(position, self.number)),
        };
    }
}

/// What a dispatcher has to tell those that wait for its sink: outcomes are gathered, and told together.
#[derive(Debug)]
pub struct Settlements {
    sink: Arc<AwaitedSink>,
    outcomes: Vec<(Position, Settled)>,
    /// Whether an outcome that is not told yet is a rejection.
    rejects: bool,
    told: Position,
}

impl Settlements {
    /// Nothing to tell yet.
    pub fn new(sink: Arc<AwaitedSink>) -> Self {
        Self { sink, outcomes: Vec::new(), rejects: false, told: Position(0) }
    }

    /// The sink that they are of.
    pub fn sink(&self) -> &AwaitedSink {
        &self.sink
    }

    /// Notes that the sink accepted a record.
    pub fn accepted(&mut self, record: &Record) {
        // The key is a hash, which is worth making only while there is a rejected event to compare it with.
        let compares = self.rejects || self.sink.rejected.load(Ordering::Relaxed) > 0;
        let key = compares.then(|| key_of(&record.event));
        self.outcomes.push((record.position, Settled::Accepted(key)));
    }

    /// Notes that the sink rejected a record.
    pub fn rejected(&mut self, record: &Record) {
        self.rejects = true;
        self.outcomes.push((record.position, Settled::Rejected(key_of(&record.event))));
    }

    /// Notes that the sink skips records up to here, which are no longer in the log. They must not be passed
    /// before this is noted.
    pub fn missed(&self, through: Position) {
        self.sink.missed(through);
    }

    /// Tells what was noted, and the end of the settled prefix.
    pub fn tell(&mut self, settled: Position) {
        if !self.outcomes.is_empty() || settled > self.told {
            self.sink.tell(&mut self.outcomes, settled);
            (self.told, self.rejects) = (settled, false);
        }
    }
}

fn key_of(event: &Event) -> DuplicateKey {
    DuplicateKey::of(&event.source, &event.id)
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;
    use crate::testing::events::event;

    const WITHIN: Duration = Duration::from_secs(4);

    fn sink() -> (Arc<AwaitedSink>, Settlements) {
        let window = Duration::from_secs(60);
        let most = WaitingBounds { deliveries: 3, bytes: 1000 };
        let sink = Arc::new(AwaitedSink::new("lake", Selection::All, window, most, &Metrics::new()));
        (Arc::clone(&sink), Settlements::new(sink))
    }

    fn record(position: u64) -> Record {
        let id = format!("id-{position}").into();
        Record { position: Position(position), topic: "t".into(), event: Event { id, ..event("k") }.into() }
    }

    fn key(number: u64) -> DuplicateKey {
        key_of(&record(number).event)
    }

    fn deadline() -> tokio::time::Instant {
        tokio::time::Instant::now() + WITHIN
    }

    #[tokio::test(start_paused = true)]
    async fn ten_thousand_that_wait_are_each_woken_when_their_record_is_settled() {
        const ALL: u64 = 10_000;
        let (sink, mut settlements) = sink();
        let seeking: Vec<_> = (1..=ALL)
            .map(|position| sink.seek(Sought::At(Position(position)), key(position), None))
            .collect();
        assert_eq!(sink.waiting.get(), ALL as i64);
        let waiting = tokio::spawn(join_all(seeking.into_iter().map(|seeking| seeking.standing(deadline()))));
        for batch in 0..ALL / 100 {
            let positions = batch * 100 + 1..=(batch + 1) * 100;
            positions.clone().filter(|at| at % 10 > 0).for_each(|at| settlements.accepted(&record(at)));
            positions.clone().filter(|at| at % 10 == 0).for_each(|at| settlements.rejected(&record(at)));
            settlements.tell(Position(*positions.end()));
            tokio::task::yield_now().await;
        }
        let standings = waiting.await.expect("no panic");
        for (position, standing) in (1..=ALL).zip(standings) {
            let expected = if position % 10 == 0 { Standing::Rejected } else { Standing::Accepted };
            assert_eq!(standing, expected, "{position}");
        }
        assert_eq!((sink.waiting.get(), sink.late.get()), (0, 0));
        let inner = sink.inner.lock();
        assert!(inner.exact.is_empty() && inner.through.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_in_vain_is_told_at_the_deadline_and_leaves_nothing_behind() {
        let (sink, mut settlements) = sink();
        let begun = tokio::time::Instant::now();
        for sought in [Sought::At(Position(2)), Sought::Through(Position(2))] {
            let waits = sink.seek(sought, key(2), None).standing(deadline());
            settlements.accepted(&record(1));
            settlements.tell(Position(1));
            assert_eq!(waits.await, Standing::Pending);
        }
        assert_eq!((begun.elapsed(), sink.late.get(), sink.waiting.get()), (WITHIN * 2, 2, 0));
        drop(sink.seek(Sought::At(Position(2)), key(2), None));
        assert_eq!(sink.waiting.get(), 0, "a sender that hung up");
        let inner = sink.inner.lock();
        assert!(inner.exact.is_empty() && inner.through.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn beyond_the_bounds_nobody_waits_and_whoever_is_done_makes_room() {
        let (sink, mut settlements) = sink();
        let seek = |at, bytes| sink.seek(Sought::At(Position(at)), key(at), bytes);
        let is_told = |seeking| matches!(seeking, Seeking::Known(Standing::Pending));
        let first = seek(1, Some(5000));
        assert!(!is_told(first), "one may always wait, and is gone again");
        let mut waiting = vec![seek(1, Some(400)), seek(2, Some(400))];
        assert!(is_told(seek(3, Some(400))), "too many bytes");
        waiting.push(seek(3, Some(200)));
        assert!(is_told(seek(4, Some(0))), "too many deliveries");
        assert_eq!((sink.waiting.get(), sink.late.get()), (3, 2));
        waiting.push(seek(4, None));
        settlements.accepted(&record(1));
        settlements.tell(Position(1));
        assert!(matches!(seek(1, Some(400)), Seeking::Known(Standing::Accepted)), "no wait is needed");
        drop(waiting);
        let inner = sink.inner.lock();
        assert_eq!((inner.waiting, inner.waiting_bytes, sink.waiting.get()), (0, 0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_rejection_is_told_at_once_and_a_duplicate_of_the_event_is_refused_until_it_is_accepted() {
        let (sink, mut settlements) = sink();
        let waits = sink.seek(Sought::At(Position(2)), key(2), None);
        settlements.rejected(&record(2));
        settlements.tell(Position(0));
        assert_eq!(waits.standing(deadline()).await, Standing::Rejected, "the first is still out");
        let duplicate = |at| sink.seek(Sought::Through(Position(at)), key(2), None).standing(deadline());
        assert_eq!(duplicate(2).await, Standing::Rejected);
        settlements.accepted(&record(1));
        settlements.tell(Position(2));
        assert_eq!(duplicate(2).await, Standing::Rejected);

        // Redriven: the same event at another position.
        let again = Record { position: Position(3), ..record(2) };
        let waits = sink.seek(Sought::Through(Position(3)), key(3), None).standing(deadline());
        settlements.accepted(&again);
        settlements.tell(Position(3));
        assert_eq!((waits.await, duplicate(3).await), (Standing::Accepted, Standing::Accepted));
    }

    #[tokio::test(start_paused = true)]
    async fn a_record_that_the_sink_was_never_given_is_not_taken_for_accepted() {
        let (sink, mut settlements) = sink();
        let waits = [1, 2].map(|at| sink.seek(Sought::At(Position(at)), key(at), None).standing(deadline()));
        settlements.missed(Position(2));
        settlements.accepted(&record(2));
        settlements.tell(Position(2));
        assert_eq!(join_all(waits).await, [Standing::Doubtful, Standing::Accepted]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_sink_begins_with_what_it_rejected_before_and_with_what_nobody_can_tell() {
        let (sink, _) = sink();
        sink.begin(Position(9), None, [(key(4), Position(4))]);
        let standing =
            |number| sink.seek(Sought::Through(Position(9)), key(number), None).standing(deadline());
        assert_eq!((standing(4).await, standing(5).await), (Standing::Rejected, Standing::Accepted));
        sink.forget(key(4), Position(4));
        assert_eq!(standing(4).await, Standing::Accepted, "a person dropped its letter");
        sink.begin(Position(9), Some(Position(9)), []);
        assert_eq!(standing(5).await, Standing::Doubtful);
    }
}
