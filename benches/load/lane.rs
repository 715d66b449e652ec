//! One thread's connections, driven by one epoll: send what is due, count what is answered.

use anyhow::Context;
use hdrhistogram::Histogram;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::body::{Bodies, Id};
use crate::connection::{Connection, Progress};
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
    /// The ids answered 2xx, if they are kept.
    pub ledger: Option<Vec<Id>>,
    /// When the last answer came.
    pub ended: Instant,
}

/// One thread's connections.
pub struct Lane {
    epoll: OwnedFd,
    connections: Vec<Connection>,
    idle: Vec<usize>,
    bodies: Bodies,
    tally: Tally,
}

impl Lane {
    /// Opens `connections` connections to `path` at `to`.
    pub fn open(
        to: SocketAddr,
        path: &str,
        connections: usize,
        bodies: Bodies,
        ledger: bool,
    ) -> anyhow::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let connections = (0..connections)
            .map(|_| Connection::open(to, path, &bodies))
            .collect::<io::Result<Vec<_>>>()
            .with_context(|| format!("cannot connect to {to}"))?;
        for (index, connection) in connections.iter().enumerate() {
            watch(&epoll, index, connection)?;
        }
        let tally = Tally {
            latency: latency_histogram()?,
            statuses: BTreeMap::new(),
            errors: 0,
            ledger: ledger.then(Vec::new),
            ended: Instant::now(),
        };
        let idle = (0..connections.len()).rev().collect();
        Ok(Self { epoll, connections, idle, bodies, tally })
    }

    /// Sends until the pace has no more and everything on the wire is answered.
    pub fn run(mut self, mut pace: Pace<'_>) -> anyhow::Result<Tally> {
        let mut ready = Vec::with_capacity(EVENTS_AT_ONCE);
        let mut over = None;
        loop {
            let wait = self.send_due(&mut pace, &mut over)?;
            if let Some(since) = over {
                let on_the_wire = self.connections.iter().filter(|connection| connection.busy()).count();
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

    /// Gives every idle connection what is due, and says how long to wait for more.
    fn send_due(&mut self, pace: &mut Pace<'_>, over: &mut Option<Instant>) -> anyhow::Result<Duration> {
        while let Some(index) = self.idle.pop() {
            match pace.due(Instant::now()) {
                Due::Now(number, due) => {
                    if self.connections[index].send(&mut self.bodies, number, due).is_err() {
                        self.broken(index)?;
                    }
                }
                Due::In(wait) => {
                    self.idle.push(index);
                    return Ok(wait);
                }
                Due::Never => {
                    self.idle.push(index);
                    over.get_or_insert_with(Instant::now);
                    return Ok(LOOK);
                }
            }
        }
        Ok(LOOK)
    }

    fn receive(&mut self, index: usize, now: Instant) -> anyhow::Result<()> {
        match self.connections[index].receive() {
            Ok(Progress::Partial) => {}
            Ok(Progress::Answered(request, status)) => {
                self.idle.push(index);
                self.tally.ended = now;
                *self.tally.statuses.entry(status).or_default() += 1;
                let nanos = u64::try_from((now - request.due).as_nanos()).unwrap_or(u64::MAX);
                self.tally.latency.saturating_record(nanos);
                if let (Some(ledger), 200..=299) = (&mut self.tally.ledger, status) {
                    ledger.push(request.id);
                }
            }
            Err(_) => self.broken(index)?,
        }
        Ok(())
    }

    /// Counts the request that was lost and connects anew; a server that is gone ends the run.
    fn broken(&mut self, index: usize) -> anyhow::Result<()> {
        self.tally.errors += u64::from(self.connections[index].busy());
        self.connections[index].reopen().context("the server is gone")?;
        watch(&self.epoll, index, &self.connections[index])?;
        self.idle.push(index);
        Ok(())
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
