//! `fanbridge spool`: verifies the log of a stopped bridge. This file parses arguments and prints;
//! the spool finds the damage and judges it.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Subcommand;

use super::run::failure;
use super::{ConfigArgs, Exit, Failure, chain, configuration_to_look, notice};
use crate::disk::RealDisk;
use crate::event::Position;
use crate::explain::cause::plural;
use crate::sink::SinkOptions;
use crate::spool::verify::{
    CursorClaim, CursorReport, FooterState, SegmentReport, SpoolReport, SpoolVerdict, verify,
};
use crate::state::{CursorOwner, FILE_NAME, State, StateError};

/// Verifies the log on disk.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Read the whole log of a stopped bridge and report damage: exit code 0 clean, 1 damaged or not known
    /// to be clean, 75 in use.
    Verify(VerifyArgs),
}

#[derive(Debug, clap::Args)]
struct VerifyArgs {
    /// Directory of the spool; the configured one if left out. A configuration named beside it tells
    /// which sinks still exist
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
/// Exit code 1 if entries are damaged or missing, or if that cannot be told; 75 if a bridge has the spool,
/// 78 if a later release wrote it, 74 if it cannot be read or does not exist.
pub fn run(args: &Args) -> Result<(), Failure> {
    let Verb::Verify(VerifyArgs { dir, config, wait_seconds }) = &args.verb;
    let (dir, sinks) = match dir {
        Some(dir) => (dir.clone(), sinks_beside(config, dir)),
        None => {
            let config = configuration_to_look(config)?;
            (config.spool.dir, Some(ConfiguredSinks { sinks: config.sinks, are_of_this_spool: true }))
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
    let exit = account_to(cursors, sinks.as_ref(), &mut report);
    // A closed pipe, as of `| head`, is not an error.
    let _ = print(&report, &mut io::stdout().lock());
    if report.is_clean() { Ok(()) } else { Err(Failure::new(exit, "")) }
}

/// The sinks that a configuration names.
struct ConfiguredSinks {
    sinks: Vec<SinkOptions>,
    /// Whether the configuration has the verified directory as its spool. Otherwise it can be that of another
    /// bridge, as `FANBRIDGE_CONFIG` often is: a sink that it does not name can still exist.
    are_of_this_spool: bool,
}

/// The sinks of the configuration named beside a directory; a log can be verified without one.
fn sinks_beside(config: &ConfigArgs, dir: &Path) -> Option<ConfiguredSinks> {
    let file = config.config.as_ref()?;
    let config = match configuration_to_look(config) {
        Ok(config) => config,
        Err(failure) => {
            notice(format_args!("{failure}: which sinks exist is not known"));
            return None;
        }
    };
    let are_of_this_spool = is_same_dir(&config.spool.dir, dir);
    if !are_of_this_spool {
        notice(format_args!(
            "{} configures the spool {}, and {} is verified: a sink that the configuration does not name, or \
             that it lets detach, can be another in the bridge of this spool",
            file.display(),
            config.spool.dir.display(),
            dir.display()
        ));
    }
    Some(ConfiguredSinks { sinks: config.sinks, are_of_this_spool })
}

fn is_same_dir(one: &Path, other: &Path) -> bool {
    let canonical = |dir: &Path| dir.canonicalize().ok();
    one == other || canonical(one).is_some_and(|one| canonical(other) == Some(one))
}

/// Compares the log with the stored cursors: the log must reach the furthest cursor, and must have all
/// entries after the cursor of each reader that it is kept for. Returns the exit code for a log with
/// problems; cursors that cannot be read count as one.
fn account_to(
    cursors: Result<Vec<(String, Position)>, StateError>,
    sinks: Option<&ConfiguredSinks>,
    report: &mut SpoolReport,
) -> Exit {
    let (problem, exit) = match cursors {
        Ok(cursors) => {
            let furthest = cursors.iter().map(|(_, cursor)| *cursor).max();
            furthest.into_iter().for_each(|cursor| report.account_to(cursor));
            for (reader, cursor) in cursors {
                if let Some(claim) = claim(&reader, sinks) {
                    report.account_from(reader, cursor, claim);
                }
            }
            return Exit::Failed;
        }
        Err(StateError::Missing(_)) if report.entries() == 0 => return Exit::Failed,
        Err(error @ (StateError::Missing(_) | StateError::Damaged { .. })) => (error, Exit::Failed),
        Err(error @ StateError::Locked(_)) => (error, Exit::Temporary),
        Err(error @ StateError::Newer { .. }) => (error, Exit::Config),
        Err(error) => (error, Exit::Io),
    };
    report.problems.push(format!("the cursors of the sinks cannot be read: {}", chain(&problem)));
    exit
}

/// Whether the log is kept for the reader of this name; `None` of a note that the bridge makes for itself.
fn claim(reader: &str, sinks: Option<&ConfiguredSinks>) -> Option<CursorClaim> {
    let reader = match CursorOwner::of(reader) {
        CursorOwner::Sink(name) => name,
        CursorOwner::Quarantine => return Some(CursorClaim::Waits),
        CursorOwner::RemovedSink(_) | CursorOwner::Acceptance { .. } | CursorOwner::Unknown => return None,
    };
    let Some(ConfiguredSinks { sinks, are_of_this_spool }) = sinks else { return Some(CursorClaim::Unknown) };
    Some(match sinks.iter().find(|sink| sink.name == reader) {
        Some(sink) if !sink.detaches => CursorClaim::Waits,
        _ if !are_of_this_spool => CursorClaim::Unknown,
        Some(_) => CursorClaim::GivesWay,
        None => CursorClaim::Gone,
    })
}

fn print(report: &SpoolReport, out: &mut impl Write) -> io::Result<()> {
    for segment in &report.segments {
        print_segment(segment, out)?;
    }
    for missing in &report.missing {
        writeln!(out, "missing: positions {} to {}", missing.start(), missing.end())?;
    }
    for cursor in &report.cursors {
        print_cursor(cursor, out)?;
    }
    for problem in &report.problems {
        writeln!(out, "{problem}")?;
    }
    let verdict = match report.verdict() {
        SpoolVerdict::Clean => "clean",
        SpoolVerdict::Unknown => "not known to be clean",
        SpoolVerdict::Damaged => "damaged",
    };
    let (entries, bytes) = (report.entries(), report.bytes());
    let segments = plural(report.segments.len() as u64, "segment");
    let entries = if entries == 1 { "1 entry".into() } else { format!("{entries} entries") };
    writeln!(out, "{verdict}: {segments}, {entries}, {bytes} bytes")
}

fn print_cursor(cursor: &CursorReport, out: &mut impl Write) -> io::Result<()> {
    let CursorReport { reader, at, claim, undelivered } = cursor;
    write!(out, "cursor of `{reader}`: at {}", at.0)?;
    let note = match claim {
        CursorClaim::Waits | CursorClaim::Unknown => "",
        CursorClaim::GivesWay => ", and what gives way is not kept for it (`on_full: detach_sink`)",
        CursorClaim::Gone => ", and it is no longer configured",
    };
    writeln!(out, "{note}")?;
    let Some(range) = undelivered else { return Ok(()) };
    let (from, to) = (range.start(), range.end());
    match claim {
        CursorClaim::Waits => {
            writeln!(out, "  undelivered: positions {from} to {to} are gone, and it has not got past them")
        }
        CursorClaim::Unknown => writeln!(
            out,
            "  positions {from} to {to} are gone, and it has not got past them: undelivered if it is still a \
             sink, which the configuration tells (--config FILE)"
        ),
        CursorClaim::GivesWay | CursorClaim::Gone => {
            writeln!(out, "  positions {from} to {to} are gone, and it will not get them")
        }
    }
}

fn print_segment(segment: &SegmentReport, out: &mut impl Write) -> io::Result<()> {
    let SegmentReport { path, positions, entries, bytes, damaged, torn_tail, repeated, footer } = segment;
    let name = path.file_name().unwrap_or_default().display();
    match positions {
        Some(span) => write!(out, "{name}: positions {} to {}", span.start(), span.end())?,
        None => write!(out, "{name}: no positions")?,
    }
    writeln!(out, ", {entries} entries, {bytes} bytes")?;
    for range in damaged {
        writeln!(out, "  damaged: bytes {} to {}", range.start, range.end)?;
    }
    if let Some(range) = torn_tail {
        writeln!(
            out,
            "  torn tail: bytes {} to {} are an unfinished entry, which the next start cuts off",
            range.start, range.end
        )?;
    }
    if *repeated > 0 {
        writeln!(out, "  repeated: {repeated} entries have positions that other entries have")?;
    }
    if let FooterState::Damaged(range) = footer {
        writeln!(
            out,
            "  footer damaged: bytes {} to {} hold no entry; each start reads this segment as a whole, and \
             nothing is lost",
            range.start, range.end
        )?;
    }
    Ok(())
}
