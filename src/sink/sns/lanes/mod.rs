//! The records that wait to be published to SNS, by lane, and the choice of the next batch (pure).
//!
//! A lane is a topic and a partition key; a record without a key has a lane of its own. A lane has at
//! most one record on its way: neither the entries of a batch nor the requests to a standard topic
//! keep an order, and one entry can fail while a later one succeeds. So a batch holds one record each
//! of up to ten lanes, and a failed record is repeated before any later record of its lane.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytestring::ByteString;

use crate::event::Record;
use crate::sink::outcomes::BatchNumber;

/// Most entries in a batch, by the limits of SNS.
pub(super) const ENTRIES_MAX: usize = 10;
/// How long a batch that is not full waits for more records while another request to its topic is on
/// its way. From 1,000 records/s on, ten lanes fill a batch within this time, and a request takes
/// longer.
const FILL_WAIT: Duration = Duration::from_millis(10);

/// A record that was handed over and has no outcome yet.
#[derive(Debug)]
pub(super) struct Waiting {
    pub record: Arc<Record>,
    /// The batch in which the record was handed over, and its index there: its outcome goes there.
    pub batch: BatchNumber,
    pub index: usize,
    /// Upper bound of the record's size as an SNS message, in bytes.
    pub bytes: usize,
    /// How often the record's own entry has failed.
    pub failures: u32,
    /// Whether the record has to travel alone, so that a refusal is certainly about it.
    pub alone: bool,
}

/// A batch that was sent as one request and has no answer yet.
#[derive(Debug)]
pub(super) struct OutgoingBatch {
    pub topic: Arc<str>,
    pub records: Vec<Waiting>,
    pub at: Instant,
    topic_index: usize,
    /// The lane of each record, by index.
    lanes: Vec<usize>,
}

/// What happens to a record that has come back, and to its lane.
#[derive(Debug)]
pub(super) enum AfterResponse {
    /// The record has its outcome: the lane's next record can leave.
    Settled,
    /// The record goes back to the dispatcher, with all later records of its lane.
    GivenUp,
    /// The record is repeated after this rest, before any later record of its lane.
    Again(Duration),
}

/// All records that wait, by topic and lane.
#[derive(Debug)]
pub(super) struct SnsLanes {
    topics: Vec<TopicLanes>,
    by_name: HashMap<Arc<str>, usize>,
    /// Index of the topic that is asked first for the next batch, so that topics take turns.
    turn: usize,
    /// Largest batch in bytes.
    batch_bytes_max: usize,
}

#[derive(Debug)]
struct TopicLanes {
    name: Arc<str>,
    lanes: Vec<SnsLane>,
    free: Vec<usize>,
    by_key: HashMap<ByteString, usize>,
    /// Lanes whose first record can leave, and since when.
    ready: VecDeque<(usize, Instant)>,
    /// Lanes whose first record is repeated, and when.
    resting: BTreeSet<(Instant, usize)>,
    /// Number of requests on their way.
    out: usize,
    /// Set after a failed request: one request at a time until one succeeds.
    wary: bool,
}

#[derive(Debug, Default)]
struct SnsLane {
    key: Option<ByteString>,
    waiting: VecDeque<Waiting>,
    /// Whether its first record is on its way.
    out: bool,
}

impl SnsLanes {
    /// No lanes. `batch_bytes_max` bounds a batch in bytes.
    pub fn new(batch_bytes_max: usize) -> Self {
        Self { topics: Vec::new(), by_name: HashMap::new(), turn: 0, batch_bytes_max }
    }

    /// Puts a record at the end of its lane.
    pub fn push(&mut self, waiting: Waiting, now: Instant) {
        let index = self.topic(&waiting.record.topic);
        let topic = &mut self.topics[index];
        let key = waiting.record.event.key.clone();
        let known = key.as_ref().and_then(|key| topic.by_key.get(key)).copied();
        let lane = known.unwrap_or_else(|| topic.open_lane(key, now));
        topic.lanes[lane].waiting.push_back(waiting);
    }

    /// The next batch that is allowed to leave now.
    pub fn next(&mut self, now: Instant) -> Option<OutgoingBatch> {
        let count = self.topics.len();
        for step in 0..count {
            let index = (self.turn + step) % count;
            let topic = &mut self.topics[index];
            topic.wake(now);
            if let Some(entries) = topic.entries(now, self.batch_bytes_max) {
                self.turn = index + 1;
                return Some(topic.depart(index, entries, now));
            }
        }
        None
    }

    /// When [`SnsLanes::next`] has to be called again if no record arrives and no request returns
    /// before.
    pub fn wake_at(&self) -> Option<Instant> {
        self.topics.iter().filter_map(TopicLanes::wake_at).min()
    }

    /// Takes a finished batch, with what happens to each of its records. Returns the records that
    /// stood after one that was given up: they are given up too.
    pub fn take_back(
        &mut self,
        departure: OutgoingBatch,
        returns: Vec<AfterResponse>,
        now: Instant,
    ) -> Vec<Waiting> {
        let topic = &mut self.topics[departure.topic_index];
        topic.out -= 1;
        let mut behind = Vec::new();
        for ((lane, waiting), what) in departure.lanes.into_iter().zip(departure.records).zip(returns) {
            topic.lanes[lane].out = false;
            match what {
                AfterResponse::Settled => topic.go_on(lane, now),
                AfterResponse::GivenUp => {
                    behind.extend(topic.lanes[lane].waiting.drain(..));
                    topic.go_on(lane, now);
                }
                AfterResponse::Again(rest) => {
                    topic.lanes[lane].waiting.push_front(waiting);
                    topic.resting.insert((now + rest, lane));
                }
            }
        }
        behind
    }

    /// Removes and returns the topic's records that are not on their way.
    pub fn drain(&mut self, name: &str) -> Vec<Waiting> {
        let Some(topic) = self.by_name.get(name).map(|index| &mut self.topics[*index]) else {
            return Vec::new();
        };
        let ready = topic.ready.drain(..).map(|(lane, _)| lane);
        let idle: Vec<usize> =
            ready.chain(std::mem::take(&mut topic.resting).into_iter().map(|(_, lane)| lane)).collect();
        let drained = topic.lanes.iter_mut().flat_map(|lane| lane.waiting.drain(..)).collect();
        idle.into_iter().for_each(|lane| topic.close_lane(lane));
        drained
    }

    /// Limits the topic to one request at a time until [`SnsLanes::trust`]. Returns whether it already
    /// was.
    pub fn distrust(&mut self, name: &str) -> bool {
        let index = self.topic_index(name);
        index.is_some_and(|index| std::mem::replace(&mut self.topics[index].wary, true))
    }

    /// Lifts the limit of one request at a time from the topic.
    pub fn trust(&mut self, name: &str) {
        if let Some(index) = self.topic_index(name) {
            self.topics[index].wary = false;
        }
    }

    fn topic_index(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    fn topic(&mut self, name: &Arc<str>) -> usize {
        if let Some(index) = self.topic_index(name) {
            return index;
        }
        self.topics.push(TopicLanes::new(Arc::clone(name)));
        self.by_name.insert(Arc::clone(name), self.topics.len() - 1);
        self.topics.len() - 1
    }
}

impl TopicLanes {
    fn new(name: Arc<str>) -> Self {
        Self {
            name,
            lanes: Vec::new(),
            free: Vec::new(),
            by_key: HashMap::new(),
            ready: VecDeque::new(),
            resting: BTreeSet::new(),
            out: 0,
            wary: false,
        }
    }

    fn open_lane(&mut self, key: Option<ByteString>, now: Instant) -> usize {
        let lane = self.free.pop().unwrap_or_else(|| {
            self.lanes.push(SnsLane::default());
            self.lanes.len() - 1
        });
        if let Some(key) = &key {
            self.by_key.insert(key.clone(), lane);
        }
        self.lanes[lane].key = key;
        self.ready.push_back((lane, now));
        lane
    }

    fn close_lane(&mut self, lane: usize) {
        if let Some(key) = self.lanes[lane].key.take() {
            self.by_key.remove(&key);
        }
        self.free.push(lane);
    }

    /// Makes the lane's next record ready, or closes the lane if there is none.
    fn go_on(&mut self, lane: usize, now: Instant) {
        match self.lanes[lane].waiting.is_empty() {
            true => self.close_lane(lane),
            false => self.ready.push_back((lane, now)),
        }
    }

    /// Makes the lanes ready whose rest is over.
    fn wake(&mut self, now: Instant) {
        while let Some((at, lane)) = self.resting.first().copied().filter(|(at, _)| *at <= now) {
            self.resting.pop_first();
            self.ready.push_back((lane, at));
        }
    }

    /// Number of records in the next batch, if one can leave now.
    fn entries(&self, now: Instant, bytes_max: usize) -> Option<usize> {
        let (_, since) = self.ready.front()?;
        if self.wary && self.out > 0 {
            return None;
        }
        let (mut entries, mut bytes, mut is_full) = (0, 0, false);
        for (lane, _) in &self.ready {
            let Some(first) = self.lanes[*lane].waiting.front() else { continue };
            bytes += first.bytes;
            if entries > 0 && (bytes > bytes_max || first.alone) {
                is_full = true;
                break;
            }
            entries += 1;
            is_full = first.alone || entries == ENTRIES_MAX;
            if is_full {
                break;
            }
        }
        (is_full || self.out == 0 || now >= *since + FILL_WAIT).then_some(entries)
    }

    fn depart(&mut self, topic_index: usize, entries: usize, now: Instant) -> OutgoingBatch {
        let lanes: Vec<usize> = self.ready.drain(..entries).map(|(lane, _)| lane).collect();
        let take = |lane: &usize| {
            let lane = &mut self.lanes[*lane];
            lane.out = true;
            lane.waiting.pop_front().expect("a ready lane has a record")
        };
        let records = lanes.iter().map(take).collect();
        self.out += 1;
        OutgoingBatch { topic: Arc::clone(&self.name), records, at: now, topic_index, lanes }
    }

    fn wake_at(&self) -> Option<Instant> {
        let rested = self.resting.first().map(|(at, _)| *at);
        let lingered = self.ready.front().map(|(_, since)| *since + FILL_WAIT);
        let lingered = lingered.filter(|_| !(self.wary && self.out > 0));
        rested.into_iter().chain(lingered).min()
    }
}

#[cfg(test)]
mod tests;
