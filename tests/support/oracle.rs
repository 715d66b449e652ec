//! The judge: what was promised against what arrived.
//!
//! The ledger is kept by the senders, outside the bridge, and survives its every death. An event
//! is promised from the moment its 2xx was read off the socket; one whose answer never came may
//! have arrived or not, as long as it arrives unharmed and in its place.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Mutex;

use super::signing::sha256;

/// Everything that was sent, and which of it was promised. Shared by all senders.
#[derive(Default)]
pub struct Ledger(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    offered: HashMap<String, Offered>,
    turns: HashMap<String, u64>,
}

struct Offered {
    sha256: [u8; 32],
    key: Option<String>,
    /// Which one of its key this is. One sender owns a key and offers its next event only after
    /// the last was answered, so the order of turns is the order of acceptance.
    turn: u64,
    acknowledged: bool,
}

impl Ledger {
    /// Notes an event before its first attempt leaves.
    pub fn offer(&self, id: &str, key: Option<&str>, body: &[u8]) {
        let mut entries = self.0.lock().unwrap();
        let turn = entries.turns.entry(key.unwrap_or_default().to_owned()).or_default();
        *turn += 1;
        let offered =
            Offered { sha256: sha256(body), key: key.map(Into::into), turn: *turn, acknowledged: false };
        entries.offered.insert(id.to_owned(), offered);
    }

    /// Notes that the 2xx of an event was read off the socket: from now on it is promised.
    pub fn acknowledge(&self, id: &str) {
        let mut entries = self.0.lock().unwrap();
        entries.offered.get_mut(id).expect("an event is offered before it is acknowledged").acknowledged =
            true;
    }

    /// How many events are promised.
    pub fn acknowledged(&self) -> usize {
        self.0.lock().unwrap().offered.values().filter(|offered| offered.acknowledged).count()
    }

    /// The promised events that are not among these.
    pub fn missing<'a>(&self, arrived: impl Iterator<Item = &'a str>) -> Vec<String> {
        let arrived: HashSet<&str> = arrived.collect();
        let entries = self.0.lock().unwrap();
        let promised = entries.offered.iter().filter(|(_, offered)| offered.acknowledged);
        promised.map(|(id, _)| id).filter(|id| !arrived.contains(id.as_str())).cloned().collect()
    }

    /// Compares with what one sink received, each lane in the order of arrival.
    pub fn judge(&self, arrivals: &[Arrival]) -> Judgement {
        let entries = self.0.lock().unwrap();
        let mut judgement = Judgement { arrivals: arrivals.len(), ..Judgement::default() };
        let mut lanes: BTreeMap<&str, Lane<'_>> = BTreeMap::new();
        let mut sequences: HashMap<&str, u64> = HashMap::new();
        for arrival in arrivals {
            let Some(offered) = entries.offered.get(&arrival.id) else {
                judgement.spurious.push(arrival.id.clone());
                continue;
            };
            if offered.sha256 != arrival.sha256 || offered.key != arrival.key {
                judgement.corrupted.push(arrival.id.clone());
            }
            let lane = lanes.entry(&arrival.lane).or_default();
            judgement.deepest_rewind = judgement.deepest_rewind.max(lane.rewind(arrival.sequence));
            // One event, one place in the spool; a second place would be a second acceptance.
            if *sequences.entry(&arrival.id).or_insert(arrival.sequence) != arrival.sequence {
                judgement.accepted_twice.push(arrival.id.clone());
            }
            if !lane.seen.insert(&arrival.id) {
                judgement.duplicates += 1;
            } else if !lane.in_order(offered) {
                judgement.out_of_order.push(arrival.id.clone());
            }
        }
        drop(entries);
        judgement.missing = self.missing(sequences.keys().copied());
        judgement.acknowledged = self.acknowledged();
        judgement
    }
}

/// One event as a sink's reader found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// What the sink keeps in order: a topic of files, a partition of a topic.
    pub lane: String,
    /// The CloudEvents id.
    pub id: String,
    /// The CloudEvents type.
    pub event_type: String,
    /// The partition key, if there is one.
    pub key: Option<String>,
    /// The place in the spool.
    pub sequence: u64,
    /// The digest of the data, byte for byte.
    pub sha256: [u8; 32],
}

/// What a lane has seen so far.
#[derive(Default)]
struct Lane<'a> {
    seen: BTreeSet<&'a str>,
    newest: u64,
    last_turns: HashMap<&'a str, u64>,
}

impl<'a> Lane<'a> {
    /// How far back an arrival goes behind the newest of its lane, in places of the spool.
    fn rewind(&mut self, sequence: u64) -> u64 {
        self.newest = self.newest.max(sequence);
        self.newest - sequence
    }

    /// Whether a first occurrence comes after all earlier ones of its key. No key, no promise.
    fn in_order(&mut self, offered: &'a Offered) -> bool {
        let Some(key) = &offered.key else { return true };
        let last = self.last_turns.entry(key).or_default();
        let in_order = offered.turn > *last;
        *last = offered.turn.max(*last);
        in_order
    }
}

/// The comparison's result.
#[derive(Debug, Default)]
pub struct Judgement {
    /// Events that were promised.
    pub acknowledged: usize,
    /// What arrived, repetitions included.
    pub arrivals: usize,
    /// Promised, never arrived.
    pub missing: Vec<String>,
    /// Arrived, never sent.
    pub spurious: Vec<String>,
    /// Arrived with other bytes or another key.
    pub corrupted: Vec<String>,
    /// First occurrences that came after a later one of their key.
    pub out_of_order: Vec<String>,
    /// Events that hold two places in the spool: a retry was taken for a new event.
    pub accepted_twice: Vec<String>,
    /// Arrivals beyond the first of each event.
    pub duplicates: usize,
    /// The farthest that a lane went back, in places of the spool.
    pub deepest_rewind: u64,
}

impl Judgement {
    /// Holds the run to the promise.
    ///
    /// # Panics
    /// When anything is missing, spurious, corrupted or out of order; when there are more than
    /// `window` duplicates for each of `crashes`; when a lane went back by more than `window`.
    #[track_caller]
    pub fn assert_kept(&self, crashes: usize, window: usize) {
        println!("judged: {self}");
        for (what, ids) in [
            ("missing", &self.missing),
            ("spurious", &self.spurious),
            ("corrupted", &self.corrupted),
            ("out of order", &self.out_of_order),
            ("accepted twice", &self.accepted_twice),
        ] {
            assert!(
                ids.is_empty(),
                "{} {what}, for example {:?}; {self}",
                ids.len(),
                &ids[..ids.len().min(3)]
            );
        }
        assert!(
            self.duplicates <= crashes * window,
            "more duplicates than {crashes} crashes x {window}; {self}"
        );
        assert!(self.deepest_rewind <= window as u64, "a rewind deeper than the window of {window}; {self}");
    }
}

impl std::fmt::Display for Judgement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} acknowledged, {} arrived: {} missing, {} spurious, {} corrupted, {} out of order, \
             {} accepted twice, {} duplicates, deepest rewind {}",
            self.acknowledged,
            self.arrivals,
            self.missing.len(),
            self.spurious.len(),
            self.corrupted.len(),
            self.out_of_order.len(),
            self.accepted_twice.len(),
            self.duplicates,
            self.deepest_rewind,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three events of one key, promised, and what a faultless sink shows for them.
    fn three_kept_promises() -> (Ledger, Vec<Arrival>) {
        let ledger = Ledger::default();
        let arrivals = (1..=3).map(|turn| {
            let (id, body) = (format!("event-{turn}"), format!("body-{turn}"));
            ledger.offer(&id, Some("call-a"), body.as_bytes());
            ledger.acknowledge(&id);
            let key = Some("call-a".into());
            let sha256 = sha256(body.as_bytes());
            Arrival { lane: "topic".into(), id, event_type: "t".into(), key, sequence: turn, sha256 }
        });
        let arrivals = arrivals.collect();
        (ledger, arrivals)
    }

    fn is_condemned(judgement: &Judgement, crashes: usize, window: usize) -> bool {
        let judgement = std::panic::AssertUnwindSafe(judgement);
        std::panic::catch_unwind(|| judgement.assert_kept(crashes, window)).is_err()
    }

    #[test]
    fn a_faultless_run_is_acquitted() {
        let (ledger, arrivals) = three_kept_promises();
        ledger.judge(&arrivals).assert_kept(0, 0);
    }

    #[test]
    fn a_promised_event_that_never_arrived_is_missing() {
        let (ledger, mut arrivals) = three_kept_promises();
        arrivals.remove(1);
        let judgement = ledger.judge(&arrivals);
        assert_eq!(judgement.missing, ["event-2"]);
        assert!(is_condemned(&judgement, 9, 9));
    }

    #[test]
    fn an_unanswered_event_may_arrive_or_not() {
        let (ledger, mut arrivals) = three_kept_promises();
        ledger.offer("event-4", Some("call-a"), b"body-4");
        ledger.judge(&arrivals).assert_kept(0, 0);
        arrivals.push(Arrival {
            id: "event-4".into(),
            sequence: 4,
            sha256: sha256(b"body-4"),
            ..arrivals[0].clone()
        });
        ledger.judge(&arrivals).assert_kept(0, 0);
    }

    #[test]
    fn an_event_that_nobody_sent_is_spurious() {
        let (ledger, mut arrivals) = three_kept_promises();
        arrivals.push(Arrival { id: "event-9".into(), ..arrivals[0].clone() });
        let judgement = ledger.judge(&arrivals);
        assert_eq!(judgement.spurious, ["event-9"]);
        assert!(is_condemned(&judgement, 9, 9));
    }

    #[test]
    fn other_bytes_or_another_key_are_corruption() {
        let (ledger, arrivals) = three_kept_promises();
        let mut bent = arrivals.clone();
        bent[1].sha256 = sha256(b"body-2 ");
        assert_eq!(ledger.judge(&bent).corrupted, ["event-2"]);
        assert!(is_condemned(&ledger.judge(&bent), 9, 9));
        let mut rekeyed = arrivals;
        rekeyed[2].key = None;
        assert_eq!(ledger.judge(&rekeyed).corrupted, ["event-3"]);
    }

    #[test]
    fn a_first_occurrence_behind_a_later_one_of_its_key_is_out_of_order() {
        let (ledger, mut arrivals) = three_kept_promises();
        arrivals.swap(0, 1);
        let judgement = ledger.judge(&arrivals);
        assert_eq!(judgement.out_of_order, ["event-1"]);
        assert!(is_condemned(&judgement, 9, 9));
    }

    #[test]
    fn keys_and_lanes_have_no_order_among_each_other() {
        let (ledger, mut arrivals) = three_kept_promises();
        ledger.offer("other", Some("call-b"), b"other");
        ledger.acknowledge("other");
        let other = Arrival {
            id: "other".into(),
            key: Some("call-b".into()),
            sequence: 4,
            sha256: sha256(b"other"),
            ..arrivals[0].clone()
        };
        arrivals.insert(0, other);
        arrivals[1].lane = "second topic".into();
        arrivals.swap(1, 2);
        assert!(ledger.judge(&arrivals).out_of_order.is_empty());
    }

    #[test]
    fn a_repeated_suffix_is_in_order_and_within_the_window() {
        let (ledger, arrivals) = three_kept_promises();
        let repeated: Vec<_> = arrivals.iter().chain(&arrivals[1..]).cloned().collect();
        let judgement = ledger.judge(&repeated);
        assert_eq!((judgement.duplicates, judgement.deepest_rewind), (2, 1));
        judgement.assert_kept(1, 2);
    }

    #[test]
    fn more_repetitions_than_the_crashes_explain_are_condemned() {
        let (ledger, arrivals) = three_kept_promises();
        let repeated: Vec<_> = arrivals.iter().chain(&arrivals).cloned().collect();
        let judgement = ledger.judge(&repeated);
        assert!(is_condemned(&judgement, 0, 3), "there was no crash");
        assert!(is_condemned(&judgement, 1, 2), "the window holds two");
        assert!(is_condemned(&judgement, 3, 1), "a rewind by two is deeper than a window of one");
        judgement.assert_kept(1, 3);
    }

    #[test]
    fn an_event_at_two_places_of_the_spool_was_accepted_twice() {
        let (ledger, mut arrivals) = three_kept_promises();
        arrivals.push(Arrival { sequence: 4, ..arrivals[2].clone() });
        let judgement = ledger.judge(&arrivals);
        assert_eq!(judgement.accepted_twice, ["event-3"]);
        assert!(is_condemned(&judgement, 9, 9));
    }
}
