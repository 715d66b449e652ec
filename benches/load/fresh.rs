//! A new connection for each request, as providers do that keep none: one thread's.

use anyhow::Context;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use crate::body::Bodies;
use crate::connection::{Connection, Pending, Target};
use crate::lane::Tally;
use crate::pace::{Due, Pace};

/// Connects, asks and reads to the end, until the pace has no more. The time of an answer counts from before
/// the connection.
pub fn run(
    target: &Arc<Target>,
    number: usize,
    mut bodies: Bodies,
    mut pace: Pace<'_>,
) -> anyhow::Result<Tally> {
    let mut tally = Tally::new(false)?;
    let mut answered = Vec::new();
    loop {
        let (event, due) = match pace.due(Instant::now()) {
            Due::Now(event, due) => (event, due),
            Due::In(wait) => {
                std::thread::sleep(wait);
                continue;
            }
            Due::Never => return Ok(tally),
        };
        let connection = Connection::open(target, number, &bodies);
        let mut connection = connection.with_context(|| format!("cannot connect to {}", target.to))?;
        tally.resumed += u64::from(connection.is_resumed());
        let asked = connection.send(&mut bodies, &[(event, due)]);
        match asked.and_then(|()| read_to_end(&mut connection, &mut answered)) {
            Ok(()) => {
                let now = Instant::now();
                answered.drain(..).for_each(|(request, status)| tally.answered(&request, status, now));
            }
            Err(_) => tally.errors += 1,
        }
    }
}

/// The server closes the connection, as it was asked to: so the port is not kept from the next one.
fn read_to_end(connection: &mut Connection, answered: &mut Vec<(Pending, u16)>) -> io::Result<()> {
    while connection.pending() > 0 {
        connection.receive(answered)?;
    }
    match connection.receive(answered) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
        Err(error) => Err(error),
        Ok(()) => Ok(()),
    }
}
