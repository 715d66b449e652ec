//! What waits to be published, lane by lane, and what leaves next (pure).
//!
//! A lane is a topic and a partition key; a record without a key has a lane of its own. A lane has
//! at most one record on its way, because neither the entries of a batch nor the requests of a
//! standard topic keep an order, and one entry may fail beside a later one that does not. So a
//! batch holds one record each of up to ten lanes, and a record that failed is repeated before
//! anything behind it.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytestring::ByteString;

use crate::event::Record;
use crate::sink::in_flight::BatchNumber;

/// The most entries in a batch, by the service.
pub(super) const ENTRIES_MAX: usize = 10;
/// How long a batch that is not full waits for more while another one of its topic is on its way.
/// Then ten lanes fill a batch from 1,000 records a second on, and a request takes longer than that.
const LINGER: Duration = Duration::from_millis(10);

/// A record that was handed over and has no fate yet.
#[derive(Debug)]
pub(super) struct Waiting {
    pub record: Arc<Record>,
    /// Where its outcome belongs: the batch it was handed over in, and its place there.
    pub batch: BatchNumber,
    pub index: usize,
    /// The most bytes that it can have as a message.
    pub bytes: usize,
    /// How often it has failed by itself.
    pub failures: u32,
    /// Whether it travels alone, so that a refusal is about it.
    pub alone: bool,
}

/// A batch on its way.
#[derive(Debug)]
pub(super) struct Departure {
    pub topic: Arc<str>,
    pub records: Vec<Waiting>,
    pub at: Instant,
    topic_index: usize,
    /// Each record's lane.
    lanes: Vec<usize>,
}

/// What becomes of a record that has come back, and of its lane.
#[derive(Debug)]
pub(super) enum Return {
    /// It has its fate: the lane goes on.
    Settled,
    /// It goes to the dispatcher, and all that is behind it in its lane with it.
    GivenUp,
    /// It is repeated, before anything behind it, after this rest.
    Again(Duration),
}

/// Everything that waits.
#[derive(Debug)]
pub(super) struct Lanes {
    topics: Vec<Topic>,
    by_name: HashMap<Arc<str>, usize>,
    /// The topic that is asked first for what leaves next.
    turn: usize,
    /// The most bytes of a batch.
    batch_bytes_max: usize,
}

#[derive(Debug)]
struct Topic {
    name: Arc<str>,
    lanes: Vec<Lane>,
    free: Vec<usize>,
    by_key: HashMap<ByteString, usize>,
    /// Lanes whose first record may leave, and since when.
    ready: VecDeque<(usize, Instant)>,
    /// Lanes whose first record is to be repeated, and when.
    resting: BTreeSet<(Instant, usize)>,
    /// Requests on their way.
    out: usize,
    /// The last request failed: one at a time until one succeeds.
    wary: bool,
}

#[derive(Debug, Default)]
struct Lane {
    key: Option<ByteString>,
    waiting: VecDeque<Waiting>,
    /// Its first record is on its way.
    out: bool,
}

impl Lanes {
    /// No lanes; a batch has at most so many bytes.
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

    /// The next batch that may leave now.
    pub fn next(&mut self, now: Instant) -> Option<Departure> {
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

    /// When [`Lanes::next`] should be asked again, if nothing comes back or in before.
    pub fn wake_at(&self) -> Option<Instant> {
        self.topics.iter().filter_map(Topic::wake_at).min()
    }

    /// Takes a batch back, with a return for each of its records. What it returns itself stood
    /// behind a record that was given up, and is given up, too.
    pub fn take_back(&mut self, departure: Departure, returns: Vec<Return>, now: Instant) -> Vec<Waiting> {
        let topic = &mut self.topics[departure.topic_index];
        topic.out -= 1;
        let mut behind = Vec::new();
        for ((lane, waiting), what) in departure.lanes.into_iter().zip(departure.records).zip(returns) {
            topic.lanes[lane].out = false;
            match what {
                Return::Settled => topic.go_on(lane, now),
                Return::GivenUp => {
                    behind.extend(topic.lanes[lane].waiting.drain(..));
                    topic.go_on(lane, now);
                }
                Return::Again(rest) => {
                    topic.lanes[lane].waiting.push_front(waiting);
                    topic.resting.insert((now + rest, lane));
                }
            }
        }
        behind
    }

    /// Takes out everything of a topic that is not on its way.
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

    /// Sends one request of the topic at a time until [`Lanes::trust`]. Whether it was so before.
    pub fn distrust(&mut self, name: &str) -> bool {
        let index = self.topic_index(name);
        index.is_some_and(|index| std::mem::replace(&mut self.topics[index].wary, true))
    }

    /// Sends as many requests of the topic as may be.
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
        self.topics.push(Topic::new(Arc::clone(name)));
        self.by_name.insert(Arc::clone(name), self.topics.len() - 1);
        self.topics.len() - 1
    }
}

impl Topic {
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
            self.lanes.push(Lane::default());
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

    /// Lets a lane's next record leave, or closes the lane if there is none.
    fn go_on(&mut self, lane: usize, now: Instant) {
        match self.lanes[lane].waiting.is_empty() {
            true => self.close_lane(lane),
            false => self.ready.push_back((lane, now)),
        }
    }

    /// Ends the rests that are over.
    fn wake(&mut self, now: Instant) {
        while let Some((at, lane)) = self.resting.first().copied().filter(|(at, _)| *at <= now) {
            self.resting.pop_first();
            self.ready.push_back((lane, at));
        }
    }

    /// How many entries the next batch has, if one may leave now.
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
        (is_full || self.out == 0 || now >= *since + LINGER).then_some(entries)
    }

    fn depart(&mut self, topic_index: usize, entries: usize, now: Instant) -> Departure {
        let lanes: Vec<usize> = self.ready.drain(..entries).map(|(lane, _)| lane).collect();
        let take = |lane: &usize| {
            let lane = &mut self.lanes[*lane];
            lane.out = true;
            lane.waiting.pop_front().expect("a ready lane has a record")
        };
        let records = lanes.iter().map(take).collect();
        self.out += 1;
        Departure { topic: Arc::clone(&self.name), records, at: now, topic_index, lanes }
    }

    fn wake_at(&self) -> Option<Instant> {
        let rested = self.resting.first().map(|(at, _)| *at);
        let lingered = self.ready.front().map(|(_, since)| *since + LINGER);
        let lingered = lingered.filter(|_| !(self.wary && self.out > 0));
        rested.into_iter().chain(lingered).min()
    }
}

#[cfg(test)]
mod tests;
