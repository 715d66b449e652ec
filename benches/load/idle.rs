//! Connections that have nothing to say most of the time.

use anyhow::Context;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::body::Bodies;
use crate::connection::{Connection, Target};

/// How many are opened together.
const TOGETHER: usize = 64;
/// How long nothing is asked after that, so that what opening them has caused is over: each connection is
/// looked at once more when its next head would be late, which is after 5 s.
const SETTLE: Duration = Duration::from_secs(6);
/// The first number of their events: no other event has one so large.
const NUMBERS_FROM: u64 = 1 << 48;

/// Connections that are kept open, each with one request that was answered.
pub struct Idle(Vec<Connection>);

impl Idle {
    /// Opens so many, and prints it if there are any.
    ///
    /// # Errors
    /// When one cannot be opened, or an event is not accepted.
    pub fn open(target: &Arc<Target>, count: usize, bodies: &mut Bodies) -> anyhow::Result<Self> {
        let mut open: Vec<Connection> = Vec::with_capacity(count);
        let mut answered = Vec::new();
        while open.len() < count {
            let first = open.len();
            for number in first..count.min(first + TOGETHER) {
                let connection = Connection::open(target, number, bodies);
                let mut connection = connection.with_context(|| format!("only {number} connections"))?;
                connection.send(bodies, &[(NUMBERS_FROM + number as u64, Instant::now())])?;
                open.push(connection);
            }
            for connection in &mut open[first..] {
                while connection.pending() > 0 {
                    connection.receive(&mut answered)?;
                }
            }
            let refused = answered.drain(..).find(|(_, status)| !(200..300).contains(status));
            anyhow::ensure!(
                refused.is_none(),
                "an event was answered {:?}",
                refused.map(|(_, status)| status)
            );
        }
        if count > 0 {
            println!(r#"{{"idle":{count}}}"#);
            std::thread::sleep(SETTLE);
        }
        Ok(Self(open))
    }

    /// How many the server has not closed.
    pub fn still_open(&self) -> usize {
        let is_open = |connection: &Connection| {
            let socket = connection.socket();
            let peeked = socket.set_nonblocking(true).and_then(|()| socket.peek(&mut [0]));
            // Bytes that wait are TLS's own, such as tickets for a later session.
            peeked.map_or_else(|error| error.kind() == io::ErrorKind::WouldBlock, |bytes| bytes > 0)
        };
        self.0.iter().filter(|connection| is_open(connection)).count()
    }
}
