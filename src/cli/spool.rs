//! `fanbridge spool`: looks after a stopped bridge's log. Reads and prints; what is found, and what it
//! means, is the spool's business.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;

use super::run::failure;
use super::{ConfigArgs, Exit, Failure, configuration};
use crate::event::Position;
use crate::spool::disk::RealDisk;
use crate::spool::state::{FILE_NAME, State, StateError};
use crate::spool::verify::{Report, SegmentReport, verify};

/// Looks after the log on disk.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Read a stopped spool whole and report damage: exit code 0 clean, 1 damaged, 75 in use.
    Verify(VerifyArgs),
}

#[derive(Debug, clap::Args)]
struct VerifyArgs {
    /// The spool's directory; the configured one if left out
    dir: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigArgs,
    /// How long to wait for a bridge that is still shutting down
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    wait_seconds: u64,
}

/// Runs the verb.
///
/// # Errors
/// Exit code 1 if there is damage or something is missing, 75 if a bridge has the spool, 78 if a later
/// release wrote it, 74 if it cannot be read or there is none.
pub fn run(args: &Args) -> Result<(), Failure> {
    let Verb::Verify(VerifyArgs { dir, config, wait_seconds }) = &args.verb;
    let (dir, waiting) = match dir {
        Some(dir) => (dir.clone(), None::<Vec<String>>),
        None => {
            let config = configuration(config)?;
            let waiting = config.sinks.iter().filter(|sink| !sink.detaches).map(|sink| sink.name.clone());
            (config.spool.dir, Some(waiting.collect()))
        }
    };
    let disk = RealDisk::waiting(Duration::from_secs(*wait_seconds));
    // Before the log, which only grows: what is behind its end now was there.
    let cursors = State::cursors_left(&dir.join(FILE_NAME));
    let mut report = verify(&dir, &disk).map_err(|error| failure(error.into()))?;
    let cursors = match cursors {
        // It was waited for until nobody had it any more.
        Err(StateError::Locked(_)) => State::cursors_left(&dir.join(FILE_NAME)),
        read => read,
    };
    let exit = account_to(cursors, waiting.as_deref(), &mut report);
    // A reader that has seen enough, such as `head`, may close the pipe.
    let _ = print(&report, &mut io::stdout().lock());
    if report.is_clean() { Ok(()) } else { Err(Failure::new(exit, "")) }
}

/// Compares the log with the cursors beside it: what the furthest has passed was there, and what is
/// behind the cursor of a sink must be. `waiting` are the sinks whose events the spool keeps for them, if
/// that is known. Says with what code to end if something is wrong: what cannot be told is no good.
fn account_to(
    cursors: Result<Vec<(String, Position)>, StateError>,
    waiting: Option<&[String]>,
    report: &mut Report,
) -> Exit {
    let (problem, exit) = match cursors {
        Ok(cursors) => {
            let furthest = cursors.iter().map(|(_, cursor)| *cursor).max();
            furthest.into_iter().for_each(|cursor| report.account_to(cursor));
            for (sink, cursor) in cursors {
                // The log is kept for sinks; other names are notes of the bridge's own.
                let waits = waiting.map_or(!sink.starts_with('('), |waiting| waiting.contains(&sink));
                if waits {
                    report.account_from(&sink, cursor);
                }
            }
            return Exit::Failed;
        }
        Err(StateError::Missing(_)) if report.records() == 0 => return Exit::Failed,
        Err(error @ (StateError::Missing(_) | StateError::Damaged { .. })) => (error, Exit::Failed),
        Err(error @ StateError::Locked(_)) => (error, Exit::Temporary),
        Err(error @ StateError::Newer { .. }) => (error, Exit::Config),
        Err(error) => (error, Exit::Io),
    };
    report.problems.push(format!("how far the sinks have got cannot be told: {problem}"));
    exit
}

fn print(report: &Report, out: &mut impl Write) -> io::Result<()> {
    for segment in &report.segments {
        print_segment(segment, out)?;
    }
    for missing in &report.missing {
        writeln!(out, "missing: positions {} to {}", missing.start(), missing.end())?;
    }
    for (sink, range) in &report.undelivered {
        let (from, to) = (range.start(), range.end());
        writeln!(
            out,
            "undelivered: positions {from} to {to} are gone, and sink `{sink}` has not got them (unless it is \
             no longer configured, or gives way with `on_full: detach_sink`)"
        )?;
    }
    for problem in &report.problems {
        writeln!(out, "{problem}")?;
    }
    let verdict = if report.is_clean() { "clean" } else { "damaged" };
    let (segments, records, bytes) = (report.segments.len(), report.records(), report.bytes());
    writeln!(out, "{verdict}: {segments} segments, {records} records, {bytes} bytes")
}

fn print_segment(segment: &SegmentReport, out: &mut impl Write) -> io::Result<()> {
    let SegmentReport { path, positions, records, bytes, damaged, torn_tail, repeated } = segment;
    let name = path.file_name().unwrap_or_default().display();
    match positions {
        Some(span) => write!(out, "{name}: positions {} to {}", span.start(), span.end())?,
        None => write!(out, "{name}: no positions")?,
    }
    writeln!(out, ", {records} records, {bytes} bytes")?;
    for range in damaged {
        writeln!(out, "  damaged: bytes {} to {}", range.start, range.end)?;
    }
    if let Some(range) = torn_tail {
        writeln!(out, "  torn tail: bytes {} to {}, cut off at the next start", range.start, range.end)?;
    }
    if *repeated > 0 {
        writeln!(out, "  repeated: {repeated} records at positions that other records have")?;
    }
    Ok(())
}
