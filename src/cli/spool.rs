//! `fanbridge spool`: verifies the log of a stopped bridge. This file parses arguments and prints;
//! the spool finds the damage and judges it.

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

/// Verifies the log on disk.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Read the whole log of a stopped bridge and report damage: exit code 0 clean, 1 damaged, 75 in
    /// use.
    Verify(VerifyArgs),
}

#[derive(Debug, clap::Args)]
struct VerifyArgs {
    /// Directory of the spool; the configured one if left out
    dir: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigArgs,
    /// How long to wait for a bridge that is shutting down
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    wait_seconds: u64,
}

/// Runs the verb.
///
/// # Errors
/// Exit code 1 if records are damaged or missing, 75 if a bridge has the spool, 78 if a later release
/// wrote it, 74 if it cannot be read or does not exist.
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
    // Read before the log, which only grows: a cursor read now cannot be ahead of the log read after
    // it.
    let cursors = State::cursors_left(&dir.join(FILE_NAME));
    let mut report = verify(&dir, &disk).map_err(|error| failure(error.into()))?;
    let cursors = match cursors {
        // `verify` has waited until no other process had the spool.
        Err(StateError::Locked(_)) => State::cursors_left(&dir.join(FILE_NAME)),
        read => read,
    };
    let exit = account_to(cursors, waiting.as_deref(), &mut report);
    // A closed pipe, as of `| head`, is not an error.
    let _ = print(&report, &mut io::stdout().lock());
    if report.is_clean() { Ok(()) } else { Err(Failure::new(exit, "")) }
}

/// Compares the log with the stored cursors: the log must reach the furthest cursor, and must have
/// all records after the cursor of each sink. `waiting` names the sinks that do not skip records
/// (`on_full: block`), if the configuration was read. Returns the exit code for a log with problems;
/// cursors that cannot be read count as one.
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
                // A name in parentheses is a cursor of the bridge itself, not of a sink.
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
    report.problems.push(format!("the cursors of the sinks cannot be read: {problem}"));
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
            "undelivered: positions {from} to {to} are missing, and sink `{sink}` has not delivered them \
             (ignore this if the sink is no longer configured, or has `on_full: detach_sink`)"
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
        writeln!(
            out,
            "  torn tail: bytes {} to {} are an unfinished record, which the next start cuts off",
            range.start, range.end
        )?;
    }
    if *repeated > 0 {
        writeln!(out, "  repeated: {repeated} records have positions that other records have")?;
    }
    Ok(())
}
