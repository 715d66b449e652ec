//! The same steady load in rounds, some of which a neighbour spoils: does it make others wait?
//!
//! The rounds alternate, and it is their medians that are compared, because other programs come
//! and go on the machine: what they do to one round they do to its neighbours as well.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::client::Client;
use super::load::{Delivery, TYPES};
use super::oracle::Ledger;

/// Connections that send at the same time.
const SENDERS: u32 = 4;
/// How often each sends: together 320 events/s, a few percent of what the bridge takes.
const EVERY: Duration = Duration::from_micros(12_500);
/// A spoilt round may be slower by this part.
const SHARE_MAX: f64 = 0.10;
/// And by this, whatever the part: with load, bridge and broker on two cores, one time slice or one
/// collection of the broker's garbage moves a p99 of a few milliseconds by as much, with nothing spoilt.
const FLOOR: Duration = Duration::from_millis(5);

/// All rounds so far.
pub struct Rounds {
    /// Every promise of every round.
    pub ledger: Arc<Ledger>,
    port: u16,
    rounds: Vec<Round>,
    sent: u64,
}

struct Round {
    spoilt: bool,
    /// From the moment when a delivery was due: one that waits for its sender has waited, too.
    answers: Vec<Duration>,
    ids: Vec<String>,
}

/// What was measured with and without the neighbour: the median of the rounds' p99.
#[derive(Clone, Copy, Debug)]
pub struct Comparison {
    clean: Duration,
    spoilt: Duration,
    rounds: usize,
}

impl Rounds {
    /// None yet, against the bridge at a port.
    pub fn new(port: u16) -> Self {
        Self { ledger: Arc::default(), port, rounds: Vec::new(), sent: 0 }
    }

    /// One round that does not count.
    pub fn warm_up(&mut self, length: Duration) {
        self.run(false, length);
        self.rounds.pop();
    }

    /// One round; every delivery has to be answered 2xx.
    pub fn run(&mut self, spoilt: bool, length: Duration) {
        let count = (length.as_nanos() / EVERY.as_nanos()) as u64;
        let start = Instant::now() + EVERY;
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| {
                let (ledger, port) = (Arc::clone(&self.ledger), self.port);
                let first = self.sent + u64::from(sender) * count;
                let start = start + EVERY / SENDERS * sender;
                std::thread::spawn(move || send(port, sender, start, first..first + count, &ledger))
            })
            .collect();
        self.sent += u64::from(SENDERS) * count;
        let sent = senders.into_iter().flat_map(|sender| sender.join().expect("every delivery is taken"));
        let (ids, answers) = sent.unzip();
        self.rounds.push(Round { spoilt, answers, ids });
    }

    /// How long deliveries waited for their answer.
    pub fn answers(&self) -> Comparison {
        self.compare(|round| round.answers.clone())
    }

    /// How long events took to arrive, by their ids.
    ///
    /// # Panics
    /// When one is missing.
    pub fn arrivals(&self, took: &HashMap<String, Duration>) -> Comparison {
        self.compare(|round| round.ids.iter().map(|id| took[id]).collect())
    }

    fn compare(&self, latencies: impl Fn(&Round) -> Vec<Duration>) -> Comparison {
        let median = |spoilt| {
            let rounds = self.rounds.iter().filter(|round| round.spoilt == spoilt);
            quantile(rounds.map(|round| quantile(latencies(round), 0.99)).collect(), 0.5)
        };
        Comparison { clean: median(false), spoilt: median(true), rounds: self.rounds.len() }
    }
}

impl Comparison {
    /// Whether the neighbour makes no difference that counts.
    pub fn is_alike(&self) -> bool {
        self.spoilt <= self.clean.mul_f64(1.0 + SHARE_MAX) + FLOOR
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { clean, spoilt, rounds } = self;
        write!(f, "p99 {clean:.1?}, beside a stalled sink {spoilt:.1?} (medians of {rounds} rounds)")
    }
}

/// One sender's round: each event's id, and how long after it was due its answer came.
fn send(
    port: u16,
    sender: u32,
    start: Instant,
    numbers: std::ops::Range<u64>,
    ledger: &Ledger,
) -> Vec<(String, Duration)> {
    let mut client = Client::new(port);
    let mut due = start;
    let mut sent = Vec::new();
    for number in numbers {
        let key = format!("default:round-{sender}-{}", number % 4);
        let event_type = TYPES[number as usize % TYPES.len()];
        let delivery = Delivery::new(event_type, &key, number, 400);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        delivery.hand_over(&mut client, ledger);
        sent.push((delivery.id, due.elapsed()));
        due += EVERY;
    }
    sent
}

/// The smallest latency that this part of all do not exceed.
fn quantile(mut latencies: Vec<Duration>, part: f64) -> Duration {
    latencies.sort();
    let rank = (latencies.len() as f64 * part).ceil() as usize;
    latencies[rank.saturating_sub(1)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(clean_ms: &[u64], spoilt_ms: &[u64]) -> Comparison {
        let round = |spoilt, ms: u64| Round {
            spoilt,
            answers: (1..=100).map(|n| Duration::from_millis(if n > 97 { ms } else { 1 })).collect(),
            ids: Vec::new(),
        };
        let clean = clean_ms.iter().map(|ms| round(false, *ms));
        let rounds = clean.chain(spoilt_ms.iter().map(|ms| round(true, *ms))).collect();
        Rounds { rounds, ..Rounds::new(0) }.answers()
    }

    #[test]
    fn one_bad_round_is_the_machines_and_most_of_them_are_the_neighbours() {
        assert!(rounds(&[5, 5, 6], &[5, 6, 900]).is_alike());
        assert!(rounds(&[100, 100, 100], &[114, 114, 114]).is_alike());
        assert!(!rounds(&[100, 100, 100], &[116, 116, 116]).is_alike());
        assert!(!rounds(&[5, 5, 6], &[5, 900, 900]).is_alike());
    }
}
