//! One thread's connections, driven by one epoll: send what is due, count what is answered.
//!
//! A connection is in the list of those with room as long as it can take one more request.

use anyhow::Context;
use hdrhistogram::Histogram;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::body::{Bodies, Id};
use crate::connection::{Connection, Pending, Target};
use crate::pace::{Due, Pace};

const EVENTS_AT_ONCE: usize = 256;
/// How long the last answers are waited for, and how often a deadline is looked at.
const GRACE: Duration = Duration::from_secs(15);
const LOOK: Duration = Duration::from_millis(100);

/// What one lane counted.
pub struct Tally {
    /// Nanoseconds from due to answered.
    pub latency: Histogram<u64>,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Requests without an answer.
    pub errors: u64,
    /// Connections that took up a former session of TLS.
    pub resumed: u64,
    /// The ids answered 2xx, if they are kept.
    pub ledger: Option<Vec<Id>>,
    /// When the last answer came.
    pub ended: Instant,
}

impl Tally {
    /// Nothing counted yet.
    pub fn new(ledger: bool) -> anyhow::Result<Self> {
        Ok(Self {
            latency: latency_histogram()?,
            statuses: BTreeMap::new(),
            errors: 0,
            resumed: 0,
            ledger: ledger.then(Vec::new),
            ended: Instant::now(),
        })
    }

    /// Counts an answer that came now.
    pub fn answered(&mut self, request: &Pending, status: u16, now: Instant) {
        self.ended = now;
        *self.statuses.entry(status).or_default() += 1;
        let nanos = u64::try_from((now - request.due).as_nanos()).unwrap_or(u64::MAX);
        self.latency.saturating_record(nanos);
        if let (Some(ledger), 200..=299) = (&mut self.ledger, status) {
            ledger.push(request.id);
        }
    }
}

/// One thread's connections.
pub struct Lane {
    epoll: OwnedFd,
    connections: Vec<Connection>,
    with_room: Vec<usize>,
    bodies: Bodies,
    tally: Tally,
    answered: Vec<(Pending, u16)>,
}

impl Lane {
    /// Opens the connections with these numbers.
    pub fn open(
        target: &Arc<Target>,
        numbers: Range<usize>,
        bodies: Bodies,
        ledger: bool,
    ) -> anyhow::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let connections = numbers
            .map(|number| Connection::open(target, number, &bodies))
            .collect::<io::Result<Vec<_>>>()
            .with_context(|| format!("cannot connect to {}", target.to))?;
        for (index, connection) in connections.iter().enumerate() {
            watch(&epoll, index, connection)?;
        }
        let with_room = (0..connections.len()).rev().collect();
        let tally = Tally::new(ledger)?;
        Ok(Self { epoll, connections, with_room, bodies, tally, answered: Vec::new() })
    }

    /// Sends until the pace has no more and everything on the wire is answered.
    pub fn run(mut self, mut pace: Pace<'_>) -> anyhow::Result<Tally> {
        let mut ready = Vec::with_capacity(EVENTS_AT_ONCE);
        let mut over = None;
        loop {
            let wait = self.send_due(&mut pace, &mut over)?;
            if let Some(since) = over {
                let on_the_wire: usize = self.connections.iter().map(Connection::pending).sum();
                if on_the_wire == 0 || Instant::now() - since > GRACE {
                    self.tally.errors += on_the_wire as u64;
                    return Ok(self.tally);
                }
            }
            let wait = Timespec { tv_sec: 0, tv_nsec: i64::from(wait.min(LOOK).subsec_nanos()) };
            epoll::wait(&self.epoll, spare_capacity(&mut ready), Some(&wait))?;
            let now = Instant::now();
            for event in ready.drain(..) {
                self.receive(usize::try_from(event.data.u64())?, now)?;
            }
        }
    }

    /// Gives every connection with room what is due, and says how long to wait for more.
    fn send_due(&mut self, pace: &mut Pace<'_>, over: &mut Option<Instant>) -> anyhow::Result<Duration> {
        let mut due_now = Vec::new();
        while let Some(index) = self.with_room.pop() {
            due_now.clear();
            let room = self.connections[index].room();
            let mut wait = None;
            while due_now.len() < room && wait.is_none() {
                match pace.due(Instant::now()) {
                    Due::Now(number, due) => due_now.push((number, due)),
                    Due::In(time) => wait = Some(time),
                    Due::Never => {
                        over.get_or_insert_with(Instant::now);
                        wait = Some(LOOK);
                    }
                }
            }
            if !due_now.is_empty() && self.connections[index].send(&mut self.bodies, &due_now).is_err() {
                self.replace(index)?;
            }
            if self.connections[index].room() > 0 {
                self.with_room.push(index);
            }
            if let Some(wait) = wait {
                return Ok(wait);
            }
        }
        Ok(LOOK)
    }

    fn receive(&mut self, index: usize, now: Instant) -> anyhow::Result<()> {
        let connection = &mut self.connections[index];
        let was_full = connection.room() == 0;
        let received = connection.receive(&mut self.answered);
        for (request, status) in self.answered.drain(..) {
            self.tally.answered(&request, status, now);
        }
        if received.is_err() {
            self.replace(index)?;
        }
        if was_full && self.connections[index].room() > 0 {
            self.with_room.push(index);
        }
        Ok(())
    }

    /// Counts the requests that were lost and connects anew; a server that is gone ends the run.
    fn replace(&mut self, index: usize) -> anyhow::Result<()> {
        self.tally.errors += self.connections[index].pending() as u64;
        self.connections[index].reopen().context("the server is gone")?;
        Ok(watch(&self.epoll, index, &self.connections[index])?)
    }
}

/// From a microsecond to two minutes, in nanoseconds, to three digits.
pub fn latency_histogram() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1_000, 120_000_000_000, 3)?)
}

/// A closed socket leaves the epoll by itself, so a reopened connection is simply added.
fn watch(epoll: &OwnedFd, index: usize, connection: &Connection) -> io::Result<()> {
    let data = epoll::EventData::new_u64(index as u64);
    Ok(epoll::add(epoll, connection.socket(), data, epoll::EventFlags::IN)?)
}
