//! The same steady load in rounds, some of which a neighbour spoils: does it make others wait?
//!
//! Other programs come and go on the machine, and with ten of them beside two cores a round's p99 is
//! anything from 4 to 300 ms, with nothing spoilt. So rounds are compared in pairs, the first clean one
//! with the first spoilt one and so on, and a neighbour is in the way only if the spoilt one is the
//! slower of nearly every pair.

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
const FLOOR: Duration = Duration::from_millis(1);

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

/// What was measured with and without the neighbour.
#[derive(Clone, Copy, Debug)]
pub struct Comparison {
    /// The median of the rounds' p99.
    clean: Duration,
    spoilt: Duration,
    pairs: usize,
    /// Pairs whose spoilt round is the slower one, by more than is allowed.
    slower: usize,
}

impl Rounds {
    /// None yet, against the bridge at a port.
    pub fn new(port: u16) -> Self {
        Self { ledger: Arc::default(), port, rounds: Vec::new(), sent: 0 }
    }

    /// One round that does not count.
    pub fn warm_up(&mut self, length: Duration) {
        self.one(false, length);
        self.rounds.pop();
    }

    /// So many rounds; every delivery has to be answered 2xx. At last there have to be as many spoilt
    /// rounds as clean ones.
    pub fn run(&mut self, count: usize, spoilt: bool, length: Duration) {
        (0..count).for_each(|_| self.one(spoilt, length));
    }

    fn one(&mut self, spoilt: bool, length: Duration) {
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
        let p99s = |spoilt| {
            let rounds = self.rounds.iter().filter(|round| round.spoilt == spoilt);
            rounds.map(|round| quantile(latencies(round), 0.99)).collect::<Vec<_>>()
        };
        let [clean, spoilt] = [false, true].map(p99s);
        assert_eq!(clean.len(), spoilt.len(), "rounds of both kinds make pairs");
        let slower = spoilt.iter().zip(&clean).filter(|(spoilt, clean)| is_slower(**spoilt, **clean)).count();
        let pairs = clean.len();
        Comparison { clean: quantile(clean, 0.5), spoilt: quantile(spoilt, 0.5), pairs, slower }
    }
}

fn is_slower(spoilt: Duration, clean: Duration) -> bool {
    spoilt > clean.mul_f64(1.0 + SHARE_MAX) + FLOOR
}

impl Comparison {
    /// Whether the neighbour makes no difference that counts, going by medians or by pairs.
    pub fn is_alike(&self) -> bool {
        !is_slower(self.spoilt, self.clean) || self.slower * 2 <= self.pairs
    }

    /// Whether the neighbour makes others wait: three pairs in four say so. Of fifteen pairs that
    /// fall as coins do, as many do once in sixty times.
    pub fn is_in_the_way(&self) -> bool {
        !self.is_alike() && self.slower * 4 >= self.pairs * 3
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { clean, spoilt, pairs, slower } = self;
        write!(
            f,
            "p99 {clean:.1?}, beside stalled sinks {spoilt:.1?} (medians); slower in {slower} pairs of {pairs}"
        )
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

    fn pairs(p99_ms: &[(u64, u64)]) -> Comparison {
        let round = |spoilt, ms: u64| Round {
            spoilt,
            answers: (1..=100).map(|n| Duration::from_millis(if n > 97 { ms } else { 1 })).collect(),
            ids: Vec::new(),
        };
        let rounds = p99_ms.iter().flat_map(|(clean, spoilt)| [round(true, *spoilt), round(false, *clean)]);
        Rounds { rounds: rounds.collect(), ..Rounds::new(0) }.answers()
    }

    #[test]
    fn what_nearly_every_pair_shows_is_the_neighbours_and_anything_else_the_machines() {
        for quiet in
            [&[(5, 5), (5, 6), (6, 900)], &[(100, 111), (100, 112), (100, 111)], &[(900, 5), (5, 90), (7, 8)]]
        {
            assert!(pairs(quiet).is_alike() && !pairs(quiet).is_in_the_way(), "{quiet:?}");
        }
        for spoilt in [&[(5, 11), (5, 12), (6, 900)], &[(100, 116), (100, 116), (100, 116)]] {
            assert!(!pairs(spoilt).is_alike() && pairs(spoilt).is_in_the_way(), "{spoilt:?}");
        }
        let doubtful = pairs(&[(5, 90), (5, 90), (90, 90), (90, 90), (5, 90)]);
        assert!(!doubtful.is_alike() && !doubtful.is_in_the_way());
    }
}
