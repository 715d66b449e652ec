//! A spool on a simulated disk, and what its callers were promised.
//!
//! Every event has a number from which all of it follows, so a record read back tells which event it
//! has to be, byte for byte. [`World::check`] holds the spool against every promise it ever made.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fanbridge::clock::{Moment, Steady};
use fanbridge::dedup::DuplicateKey;
use fanbridge::dedup::DuplicatesOptions;
use fanbridge::event::{
    Entry, Event, EventTime, Fingerprint, HeaderClaims, Position, Quarantined, Timestamp,
};
use fanbridge::spool::{
    Append, AppendError, Appended, Committer, LockedDir, Recovery, SharedLog, SpoolError, SpoolOptions,
};
use fanbridge::telemetry::Metrics;
use tokio::sync::oneshot;

use crate::sim::{Dice, Fate, SimDisk};

pub const DIR: &str = "/spool";

/// The wall clock's seconds when a world begins.
const EPOCH_SECONDS: i64 = 1_800_000_000;

pub fn options() -> SpoolOptions {
    SpoolOptions {
        bytes_max: 1 << 20,
        free_bytes_min: 0,
        segment_bytes: 4096,
        retain: Duration::from_secs(50),
        duplicates: DuplicatesOptions {
            window: Duration::from_secs(100),
            events_max: 1000,
            ..Default::default()
        },
        tail_bytes_max: 2000,
        answer_within: Duration::from_secs(60),
        ..SpoolOptions::default()
    }
}

/// The event with this number, which arrived at that second. Some tell under which configuration they were
/// admitted, and some do not.
pub fn entry(number: u64, second: i64) -> Entry {
    let configuration = (!number.is_multiple_of(3)).then_some(Fingerprint([number as u8; 6]));
    entry_under(configuration, number, second)
}

/// The event with this number as it is in a log of a former format.
pub fn former_entry(number: u64) -> Entry {
    entry_under(None, number, 0)
}

fn entry_under(configuration: Option<Fingerprint>, number: u64, second: i64) -> Entry {
    let length = number.wrapping_mul(7919) % 700;
    let body: Vec<u8> = (0..length).map(|at| (number.wrapping_mul(31) + at * at) as u8).collect();
    let arrived = Timestamp((EPOCH_SECONDS + second) * 1_000_000_000);
    if number % 5 == 4 {
        return Entry::from(Quarantined {
            id: format!("{number}").into(),
            source: "/test/default".into(),
            provider: "test".into(),
            source_name: "test".into(),
            reason: "json".into(),
            detail: "expected a value".into(),
            stated: HeaderClaims { signed_id: Some("msg".into()), ..HeaderClaims::default() },
            arrived,
            configuration,
            body: Bytes::from(body),
        });
    }
    Entry::from(Event {
        id: format!("{number}").into(),
        source: "/test/default".into(),
        event_type: "thing.happened".into(),
        provider: "test".into(),
        family: "thing".into(),
        source_name: "test".into(),
        key: number.is_multiple_of(2).then(|| "key".into()),
        subject: None,
        time: EventTime::Inferred(arrived),
        arrived,
        configuration,
        extensions: vec![("webhookid".into(), "w".into())],
        only_sink: None,
        body: Bytes::from(body),
    })
}

pub fn number_of(entry: &Entry) -> u64 {
    let id = match entry {
        Entry::Event(event) => &event.id,
        Entry::Quarantined(delivery) => &delivery.id,
    };
    id.parse().expect("ids are numbers")
}

fn arrived_of(entry: &Entry) -> i64 {
    let arrived = match entry {
        Entry::Event(event) => event.arrived,
        Entry::Quarantined(delivery) => delivery.arrived,
    };
    arrived.unix_seconds() - EPOCH_SECONDS
}

pub fn key(number: u64) -> DuplicateKey {
    let of = if number % 5 == 4 { DuplicateKey::of_letter } else { DuplicateKey::of };
    of("/test/default", &number.to_string())
}

/// How the disk makes room for what is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Files {
    /// Every segment's file grows.
    Grow,
    /// A segment is written over the file of a former one, if there is one.
    AreWrittenOver,
}

impl Files {
    pub const ALL: [Self; 2] = [Self::Grow, Self::AreWrittenOver];
}

/// An opened spool without a thread.
pub struct Opened {
    pub committer: Committer,
    pub reader: Arc<SharedLog>,
}

pub struct World {
    pub disk: SimDisk,
    pub options: SpoolOptions,
    pub metrics: Arc<Metrics>,
    pub opened: Option<Opened>,
    /// What was promised: which event stands at which position.
    pub promised: BTreeMap<u64, u64>,
    /// At which second each event was stored.
    pub arrived: BTreeMap<u64, i64>,
    /// How far every cursor is.
    pub settled: u64,
    /// Seconds since the world began, and when the spool was opened.
    pub second: i64,
    opened_at: i64,
    next_number: u64,
}

impl World {
    pub fn new(options: SpoolOptions) -> Self {
        Self {
            disk: SimDisk::default(),
            options,
            metrics: Arc::new(Metrics::new()),
            opened: None,
            promised: BTreeMap::new(),
            arrived: BTreeMap::new(),
            settled: 0,
            second: 0,
            opened_at: 0,
            next_number: 0,
        }
    }

    /// A world whose spool is open.
    pub fn open_new(options: SpoolOptions) -> Self {
        Self::open_on(Files::Grow, options)
    }

    /// The same on a disk that writes like that.
    pub fn open_on(files: Files, options: SpoolOptions) -> Self {
        let mut world = Self::new(options);
        if files == Files::AreWrittenOver {
            world.disk.write_in_place();
        }
        world.open().expect("an empty directory opens");
        world
    }

    pub fn now(&self) -> Moment {
        let wall = Timestamp((EPOCH_SECONDS + self.second) * 1_000_000_000);
        Moment { wall, steady: Steady((self.second - self.opened_at) * 1_000_000_000) }
    }

    pub fn open(&mut self) -> Result<Recovery, SpoolError> {
        self.opened = None;
        self.opened_at = self.second;
        let disk = Arc::new(self.disk.clone());
        let metrics = Arc::clone(&self.metrics);
        let (committer, reader, recovery) = Committer::open(
            LockedDir::take(Path::new(DIR), disk)?,
            self.options.clone(),
            metrics,
            self.now(),
        )?;
        reader.release(Position(self.settled));
        reader.resume_after(Position(self.settled));
        self.opened = Some(Opened { committer, reader });
        Ok(recovery)
    }

    /// Stops the spool in order.
    pub fn stop(&mut self) {
        if let Some(mut opened) = self.opened.take() {
            opened.committer.close();
        }
    }

    /// Bytes of all files of segments and of the spare, as they are on the disk.
    pub fn segment_bytes(&self) -> u64 {
        self.disk.logs().iter().map(|path| self.disk.contents(path).len() as u64).sum()
    }

    pub fn opened(&mut self) -> &mut Opened {
        self.opened.as_mut().expect("the spool is open")
    }

    pub fn reader(&self) -> &SharedLog {
        &self.opened.as_ref().expect("the spool is open").reader
    }

    /// Appends that many new events as one group.
    pub fn append(&mut self, count: u64) -> Vec<Result<Appended, AppendError>> {
        let numbers: Vec<u64> = (self.next_number..self.next_number + count).collect();
        self.next_number += count;
        self.append_numbers(&numbers)
    }

    /// Appends these events as one group, and remembers what is promised.
    pub fn append_numbers(&mut self, numbers: &[u64]) -> Vec<Result<Appended, AppendError>> {
        let (second, now) = (self.second, self.now());
        let mut group = Vec::new();
        let mut answers = Vec::new();
        for &number in numbers {
            let (answer, answered) = oneshot::channel();
            group.push(Append {
                entry: entry(number, second),
                duplicate: Some(key(number)),
                confirm: true,
                answer,
            });
            answers.push(answered);
        }
        self.opened().committer.commit(&mut group, now);
        let answers: Vec<_> = answers.iter_mut().map(|answer| answer.try_recv().expect("answered")).collect();
        for (number, answer) in numbers.iter().zip(&answers) {
            if let Ok(Appended::Stored(position)) = answer {
                self.arrived.insert(*number, second);
                self.promised.insert(position.0, *number);
            }
        }
        answers
    }

    pub fn settle(&mut self, through: u64) {
        self.settled = self.settled.max(through);
        let settled = Position(self.settled);
        self.reader().release(settled);
    }

    pub fn tick(&mut self) {
        let now = self.now();
        self.opened().committer.tick(now);
    }

    /// All that can be read, and how many positions were counted as damaged.
    pub fn read_all(&self) -> (Vec<(u64, Entry)>, u64) {
        self.read_all_by(7, 3000)
    }

    pub fn read_all_by(&self, records_max: usize, bytes_max: usize) -> (Vec<(u64, Entry)>, u64) {
        let reader = self.reader();
        let mut after = Position(reader.first().0 - 1);
        let mut entries = Vec::new();
        let mut damaged = 0;
        while let Some(batch) = reader.read_now(after, records_max, bytes_max).expect("the disk can be read")
        {
            assert!(batch.through > after, "a reader gets on");
            assert!(batch.entries.len() <= records_max);
            let accounted = batch.entries.len() as u64 + batch.damaged;
            assert_eq!(batch.through.0 - after.0, accounted, "every position is an entry or damaged");
            entries.extend(batch.entries.into_iter().map(|(position, entry)| (position.0, entry)));
            damaged += batch.damaged;
            after = batch.through;
        }
        assert_eq!(after, reader.head(), "a reader gets to the head");
        (entries, damaged)
    }

    /// Holds the spool against all promises. Returns the positions counted as damaged.
    pub fn check(&mut self) -> u64 {
        let first = self.reader().first().0;
        assert!(first <= self.settled + 1, "nothing unsettled is pruned: {first} {}", self.settled);
        let (entries, damaged) = self.read_all();
        let mut last = (0, None);
        let mut there = BTreeMap::new();
        for (position, found) in &entries {
            let number = number_of(found);
            assert_eq!(*found, entry(number, arrived_of(found)), "a record is whole");
            assert!(*position > last.0 && last.1.is_none_or(|before| number > before), "order is kept");
            last = (*position, Some(number));
            there.insert(*position, number);
        }
        for (position, number) in self.promised.range(first..) {
            assert_eq!(there.get(position), Some(number), "what was promised at {position} is there");
        }
        // A file that was begun and not taken into use holds at most a header. There can be two: one that a
        // start found without an entry at positions which a cursor has passed, and one for want of space.
        let (used, on_disk) = (self.reader().usage().bytes, self.segment_bytes());
        assert!(
            used <= on_disk && on_disk <= used + 2 * 1024,
            "{used} bytes are accounted for, of {on_disk}"
        );
        self.check_duplicates(&entries);
        damaged
    }

    /// As [`World::check`], for a spool that takes nothing any more.
    pub fn check_reads(&self) {
        let (entries, _) = self.read_all();
        let read: Vec<(u64, u64)> = entries.iter().map(|(at, entry)| (*at, number_of(entry))).collect();
        assert_eq!(read, self.promised.clone().into_iter().collect::<Vec<_>>());
    }

    /// Every record within the window is recognised when it comes again.
    fn check_duplicates(&mut self, entries: &[(u64, Entry)]) {
        let since = self.second - self.options.duplicates.window.as_secs() as i64;
        let recent: Vec<u64> = entries
            .iter()
            .filter(|(_, entry)| arrived_of(entry) >= since)
            .map(|(_, entry)| number_of(entry))
            .collect();
        let kept = recent.len().saturating_sub(self.options.duplicates.events_max);
        let recent = &recent[kept..];
        if !recent.is_empty() {
            let answers = self.append_numbers(recent);
            let all = BTreeSet::from([true]);
            let duplicates: BTreeSet<bool> =
                answers.iter().map(|answer| *answer == Ok(Appended::Duplicate)).collect();
            assert_eq!(duplicates, all, "a copy is recognised: {answers:?}");
        }
    }

    /// The power is cut and comes back; the spool has to open by itself, with all that was promised.
    pub fn crash_and_recover(&mut self, fate: Fate, dice: &mut Dice) -> Recovery {
        self.disk.crash(fate, dice);
        let recovery = self.open().expect("a spool opens after a power cut");
        assert_eq!(self.disk.segments(), self.disk.logs(), "no spare is left over");
        self.check();
        recovery
    }
}
